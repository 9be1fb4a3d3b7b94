// Parts that views are made of.

import { h, put, icon } from './dom.js';
import { at } from './place.js';
import { exchangeName, plain } from './format.js';
import { session } from './session.js';

// The head of a view: its title, what it is of, and what can be done.
export function heading(title, { of = null, actions = [], tags = [] } = {}) {
  const marks = h('span.marks', tags);
  const node = h('header.heading', h('div', h('h1', { tabindex: '-1' }, title), of && h('p.of', of), marks), h('div.actions', actions));
  return { node, mark: (...wanted) => put(marks, ...wanted) };
}

// A part of a view under a title of its own.
export function section(title, ...content) {
  return h('section.card', h('h2', title), content);
}

// One that is closed at first, for what is rarely needed.
export function folded(title, ...content) {
  return h('details.card', h('summary', h('h2', title)), h('div.folded', content));
}

export function button(text, onclick, { kind = '', sign = null } = {}) {
  return h(`button.button${kind && `.${kind}`}`, { type: 'button', onclick }, sign && icon(sign), text);
}

export function badge(text, kind = '', title = null) {
  return h(`span.badge${kind && `.${kind}`}`, { title }, text);
}

// A few figures side by side: `[id, label, link]` each. `update` takes the id's figure, and words below it.
export function tiles(...wanted) {
  const shown = new Map();
  const make = ([id, label, link]) => {
    const [figure, words, meter] = [h('span.figure', '–'), h('span.words'), h('span.meter', h('span'))];
    meter.hidden = true;
    shown.set(id, { figure, words, meter });
    return h(link ? 'a.tile' : 'div.tile', link ? { href: link, 'data-tile': id } : { 'data-tile': id }, h('span.label', label), figure, words, meter);
  };
  const made = wanted.filter(Boolean).map(make);
  const node = h(`div.tiles.of-${made.length}`, made);
  // `part` is how full it is, from 0 to 1, if it can be.
  const update = (id, figure, words = '', part = null) => {
    const tile = shown.get(id);
    put(tile.figure, figure);
    put(tile.words, words);
    tile.meter.hidden = part === null;
    if (part === null) return;
    tile.meter.firstChild.style.width = `${Math.round(Math.min(1, Math.max(0, part)) * 100)}%`;
    tile.meter.classList.toggle('full', part > 0.9);
  };
  return { node, update };
}

// Facts of a thing: `[label, of => content]` each. Those whose content is null are left out.
export function facts(...wanted) {
  const rows = wanted.map(([label, content]) => {
    const value = h('dd');
    return { row: h('div', h('dt', label), value), value, content };
  });
  const node = h('dl.facts', rows.map(({ row }) => row));
  const update = (of) => {
    for (const { row, value, content } of rows) {
      const shown = content(of);
      row.hidden = shown === null || shown === undefined;
      if (!row.hidden) put(value, shown);
    }
  };
  return { node, update };
}

// An object of JSON: arguments, headers, what a policy sets.
export function pairs(object, none = 'none') {
  const entries = Object.entries(object ?? {});
  if (entries.length === 0) return h('span.faint', none);
  return h('ul.pairs', entries.map(([key, value]) => h('li', h('span.key', key, ':'), ' ', h('span.value', plain(value)))));
}

export const queueLink = (vhost, name) => h('a.name', { href: at('queues', vhost, name) }, name);

// The default exchange, whose name is empty, has this one in paths.
export const exchangeLink = (vhost, name) => h('a.name', { href: at('exchanges', vhost, name || 'amq.default') }, exchangeName(name));

export const connectionLink = (name) => h('a.name', { href: at('connections', name) }, named(name));

export const channelLink = (name, text = name) => h('a.name', { href: at('channels', name) }, named(text));

// A name of a connection or channel, whose arrow no line breaks.
const named = (name) => name.split(/(->)/).map((part) => (part === '->' ? h('span.whole', part) : part));

// The vhost of something below its name, on a phone, which has no room for a column of vhosts.
export const vhostBelow = (vhost) => session.vhost === '' && h('span.under.phone', vhost);

// The state of something, with a colour of its own if all is not well.
export function state(text) {
  const kind = { running: 'good', idle: '', flow: 'warn', blocked: 'warn', blocking: 'warn' }[text] ?? 'bad';
  return badge(text ?? 'unknown', text ? kind : '');
}

const notices = h('div.notices', { role: 'status', 'aria-live': 'polite' });

// Where notices are. It is there before there is one, so that they are read out.
export const noticeArea = () => notices;

// Says what was done or refused, for a while.
export function notice(text, kind = 'good') {
  const shown = h(`div.notice.${kind}`, h('span', text), h('button.plain', { type: 'button', 'aria-label': 'Dismiss', onclick: () => shown.remove() }, icon('close')));
  notices.append(shown);
  setTimeout(() => shown.remove(), kind === 'bad' ? 12_000 : 5000);
}
