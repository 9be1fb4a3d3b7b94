// The frame of the page: who is logged in, where one can go, and the view of where one is.

import { listeners } from './api.js';
import { repaint, tidy } from './chart.js';
import { h, icon, put } from './dom.js';
import { Scope, refreshAll } from './live.js';
import { notice, noticeArea } from './parts.js';
import { current, go, note } from './place.js';
import { choose, forget, load, logOut, may, placeBefore, session } from './session.js';
import { login } from './views/login.js';
import { NAVIGATION, VIEWS, missing } from './views/all.js';

const THEME = 'leveret.theme';

// How long a lost broker is waited for before it is asked again, in milliseconds.
const RETRY = 2000;

// `isOpen` is whether somebody is logged in and the frame is there.
const page = { isOpen: false, scope: new Scope(), main: h('main', { id: 'main' }), nav: h('nav', { 'aria-label': 'Views' }), view: null };
const banner = h('div.banner', { role: 'alert' });
banner.hidden = true;

function frame() {
  const vhosts = h('select', { 'aria-label': 'Virtual host', onchange: (event) => chooseVhost(event.target.value) });
  page.vhosts = vhosts;
  page.who = h('span.who');
  const menu = h('button.plain.menu', { type: 'button', 'aria-label': 'Menu', 'aria-expanded': 'false', onclick: () => openMenu(!isMenuOpen()) }, icon('menu'));
  page.menu = menu;
  const skip = h('button.skip', { type: 'button', onclick: () => page.main.querySelector('h1')?.focus() }, 'Skip to the content');
  const brand = h('a.brand', { href: '#/overview', 'aria-label': 'Leveret, overview' }, h('span.logo'), h('span', 'Leveret'));
  const bar = h(
    'header.top',
    menu,
    brand,
    h('label.vhost', h('span', 'vhost'), vhosts),
    h('span.space'),
    page.who,
    h('button.plain', { type: 'button', title: 'Light or dark', 'aria-label': 'Switch between light and dark', onclick: toggleTheme }, icon('theme')),
    h('button.plain', { type: 'button', title: 'Log out', 'aria-label': 'Log out', onclick: leave }, icon('out')),
  );
  return [skip, bar, h('div.body', page.nav, page.main)];
}

// On a phone the views are behind a menu. One that is chosen closes it, also the one that is shown.
page.nav.addEventListener('click', (event) => event.target.closest('a') && openMenu(false));

const isMenuOpen = () => page.nav.classList.contains('open');

function openMenu(is) {
  page.nav.classList.toggle('open', is);
  page.menu.setAttribute('aria-expanded', String(is));
}

function toggleTheme() {
  const root = document.documentElement;
  const is = root.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  root.dataset.theme = is === 'dark' ? 'light' : 'dark';
  localStorage.setItem(THEME, root.dataset.theme);
  repaint();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);

function chooseVhost(vhost) {
  choose(vhost);
  show();
}

// Fills in the choice of vhosts, and who is logged in.
export function showSession() {
  const options = [['', 'All'], ...session.vhosts.map((vhost) => [vhost, vhost])];
  put(page.vhosts, options.map(([key, text]) => h('option', { value: key }, text)));
  page.vhosts.value = session.vhost;
  put(page.who, h('strong', session.user), h('span.tags', session.tags.join(', ') || 'no tags'));
}

function showNavigation(name) {
  const links = NAVIGATION.filter(({ level }) => may(level ?? 'management')).map(({ view, text }) =>
    h('li', h('a', { href: `#/${view}`, 'aria-current': view === name && 'page' }, icon(view), text)),
  );
  put(page.nav, h('ul', links));
}

// Shows the view of the place in the address.
function show() {
  page.scope.end();
  page.scope = new Scope();
  document.querySelectorAll('dialog').forEach((dialog) => dialog.close());
  openMenu(false);
  const place = current();
  const [name = 'overview', ...names] = place.names;
  const known = VIEWS.find((view) => view.name === name && view.names === names.length && may(view.level ?? 'management'));
  const shown = (known?.show ?? missing)({ names, scope: page.scope, showSession });
  page.main.replaceChildren(...shown.content);
  tidy();
  document.title = `${shown.title} · Leveret`;
  showNavigation(name);
  // Whoever follows a link starts to read here.
  if (page.view !== null) page.main.querySelector('h1')?.focus({ preventScroll: true });
  if (page.view !== location.hash) scrollTo(0, 0);
  page.view = location.hash;
}

async function leave() {
  try {
    await logOut();
    ended();
  } catch (error) {
    notice(error.message, 'bad');
  }
}

// Nobody is logged in any more.
function ended() {
  forget();
  page.isOpen = false;
  page.scope.end();
  page.view = null;
  document.querySelectorAll('dialog').forEach((dialog) => dialog.close());
  showLogin();
}

function showLogin() {
  document.title = 'Log in · Leveret';
  const word = current().query.get('login');
  if (word !== null) {
    // It is told once. Where somebody wanted to go they go still.
    note({ login: null });
    history.replaceState(null, '', placeBefore() || location.hash);
  }
  document.body.replaceChildren(banner, noticeArea(), login(begin, word));
  tidy();
  document.querySelector('input[name=username]')?.focus();
}

// Somebody is logged in.
function begin() {
  document.body.replaceChildren(banner, noticeArea(), ...frame());
  page.isOpen = true;
  showSession();
  show();
}

listeners.ended = () => page.isOpen && ended();
listeners.reached = () => {
  if (!banner.hidden) refreshAll();
  banner.hidden = true;
};
let retry;
listeners.lost = () => {
  put(banner, 'The broker does not answer. What is shown is what was known last; it is asked again every few seconds.');
  banner.hidden = false;
  clearTimeout(retry);
  // Whoever types a password goes on with that.
  const again = page.isOpen ? refreshAll : document.querySelector('.login') ? () => {} : start;
  retry = setTimeout(again, RETRY);
};

addEventListener('hashchange', () => page.isOpen && show());

// Closes the choices that are open, but for those that somebody is in.
function closeChoices(within) {
  document.querySelectorAll('details.chooser[open]').forEach((chooser) => chooser.contains(within) || (chooser.open = false));
}

addEventListener('click', (event) => closeChoices(event.target));
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    closeChoices(null);
    if (page.isOpen && isMenuOpen()) {
      openMenu(false);
      page.menu.focus();
    }
  }
  const isTyping = event.target.closest('input, textarea, select, dialog');
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  const search = page.main.querySelector('[data-search]');
  if (!search) return;
  event.preventDefault();
  search.focus();
});

async function start() {
  try {
    await load();
    const before = placeBefore();
    if (current().names.length === 0 && before !== '') location.hash = before;
    else if (current().names.length === 0) go('overview');
    begin();
  } catch (error) {
    if (error.status === 401) showLogin();
    else if (!document.body.contains(banner)) document.body.replaceChildren(banner, noticeArea());
  }
}

document.body.append(banner, noticeArea());
start();
