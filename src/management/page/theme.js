// Light or dark, as it was chosen here before; else as the system has it. Runs before anything is shown, so that nothing flashes.
'use strict';
{
  const chosen = localStorage.getItem('leveret.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}
