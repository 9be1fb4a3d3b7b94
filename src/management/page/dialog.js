// Forms, and dialogs that ask before something is done.

import { h, icon } from './dom.js';

// The next id of an input.
let ids = 0;

// A form. `fields` have `name`, `label`, and of these what they need: `type` (text, password, number, select, area, check,
// pairs, file), `value`, `options`, `hint`, `required`, `wide`. `submit` takes the values by name, and what it throws is shown.
export function form(fields, { action, danger = false, submit, cancel = null }) {
  const built = fields.filter(Boolean).map(field);
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const send = h(`button.button.${danger ? 'danger' : 'primary'}`, { type: 'submit' }, action);
  const buttons = h('div.buttons', cancel && h('button.button', { type: 'button', onclick: cancel }, 'Cancel'), send);
  const onsubmit = async (event) => {
    event.preventDefault();
    trouble.hidden = true;
    send.disabled = true;
    try {
      await submit(Object.fromEntries(built.map(({ name, read }) => [name, read()])));
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    } finally {
      send.disabled = false;
    }
  };
  return h('form.form', { onsubmit, autocomplete: 'off' }, h('div.fields', built.map(({ node }) => node)), trouble, buttons);
}

function field({ name, label, type = 'text', value = '', options = [], hint = null, required = false, wide = false, autocomplete = null }) {
  ids += 1;
  const id = `field-${ids}`;
  const common = { id, name, required, autocomplete, 'aria-describedby': hint && `${id}-hint` };
  const below = hint && h('span.hint', { id: `${id}-hint` }, hint);
  const labelled = (input, isWide = wide) => h(isWide ? 'div.field.wide' : 'div.field', h('label', { for: id }, label), input, below);
  if (type === 'check') {
    const input = h('input', { ...common, type: 'checkbox', checked: Boolean(value) });
    return { name, read: () => input.checked, node: h('div.field.check', input, h('label', { for: id }, label), below) };
  }
  if (type === 'select') {
    const choices = options.map((option) => (Array.isArray(option) ? option : [option, option]));
    const input = h('select', common, choices.map(([key, text]) => h('option', { value: key, selected: key === value }, text)));
    return { name, read: () => input.value, node: labelled(input) };
  }
  if (type === 'area') {
    const input = h('textarea', { ...common, rows: '5', spellcheck: 'false', value });
    return { name, read: () => input.value, node: labelled(input, true) };
  }
  if (type === 'file') {
    const input = h('input', { ...common, type: 'file' });
    return { name, read: () => input.files[0] ?? null, node: labelled(input) };
  }
  if (type === 'pairs') return pairsField(name, label, value || {}, below);
  if (type === 'number') {
    const input = h('input', { ...common, type, step: 'any', value });
    return { name, read: () => (input.value === '' ? null : input.valueAsNumber), node: labelled(input) };
  }
  const input = h('input', { ...common, type, spellcheck: 'false', value });
  return { name, read: () => input.value, node: labelled(input) };
}

const KINDS = [['text', 'text'], ['number', 'number'], ['flag', 'true/false'], ['json', 'JSON']];

// Keys and values of a table: arguments, headers, what a policy sets.
function pairsField(name, label, value, below) {
  const rows = h('div.rows');
  const add = (key = '', of = '') => {
    const kind = { number: 'number', boolean: 'flag', object: 'json' }[typeof of] ?? 'text';
    const row = h(
      'div.row',
      h('input', { 'aria-label': `${label}: key`, placeholder: 'key', spellcheck: 'false', value: key }),
      h('select', { 'aria-label': `${label}: type of the value` }, KINDS.map(([id, text]) => h('option', { value: id, selected: id === kind }, text))),
      h('input', { 'aria-label': `${label}: value`, placeholder: 'value', spellcheck: 'false', value: kind === 'json' ? JSON.stringify(of) : String(of) }),
      h('button.plain', { type: 'button', 'aria-label': 'Remove this row', onclick: () => row.remove() }, icon('close')),
    );
    rows.append(row);
  };
  Object.entries(value).forEach(([key, of]) => add(key, of));
  const more = h('button.button.small', { type: 'button', onclick: () => { add(); rows.lastChild.firstChild.focus(); } }, icon('plus'), 'Add');
  const read = () => {
    const kept = {};
    for (const row of rows.children) {
      const [key, kind, text] = [...row.children].map((input) => input.value);
      if (key !== '') kept[key] = valueOf(key, kind, text);
    }
    return kept;
  };
  return { name, read, node: h('fieldset.field.wide', h('legend', label), rows, more, below) };
}

function valueOf(key, kind, text) {
  if (kind === 'text') return text;
  try {
    const value = JSON.parse(text);
    const isKind = { number: typeof value === 'number', flag: typeof value === 'boolean', json: true }[kind];
    if (isKind) return value;
  } catch {
    // It is told below.
  }
  throw new Error(`The value of ${key} is not of its type: ${text || 'nothing'}`);
}

// A dialog over the page. It closes by Escape, and gives the focus back to where it was.
export function dialog(title, content) {
  ids += 1;
  const id = `dialog-${ids}`;
  const shown = h('dialog', { 'aria-labelledby': id }, h('h2', { id }, title), content);
  shown.addEventListener('close', () => shown.remove());
  document.body.append(shown);
  shown.showModal();
  return shown;
}

// A dialog with a form. It closes when what was asked for is done.
export function formDialog(title, fields, { action, danger = false, submit, text = null }) {
  const content = form(fields, {
    action,
    danger,
    submit: async (values) => {
      await submit(values);
      shown.close();
    },
    cancel: () => shown.close(),
  });
  const shown = dialog(title, [text && h('p', text), content]);
  return shown;
}

// Asks before something is done that cannot be undone.
export function confirm(title, text, action, submit) {
  return formDialog(title, [], { action, danger: true, submit, text });
}
