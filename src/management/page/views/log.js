// The end of the log: new lines as they come, those of a level and with a text in them.

import { h, icon, put } from '../dom.js';
import { count } from '../format.js';
import { button, heading } from '../parts.js';
import { current, note } from '../place.js';

// How often it is looked for new lines, in milliseconds.
const EVERY = 1500;

// As many as the broker keeps; older ones go.
const MOST = 1000;

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const KINDS = { error: 'bad', warn: 'warn' };

// Characters that are not seen and may turn the order of others around, as numbers.
const visible = (text) => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);

export function log({ scope }) {
  const { query } = current();
  const state = { text: query.get('q') ?? '', level: LEVELS.includes(query.get('level')) ? query.get('level') : 'trace', isPaused: false };
  // Lines that are known, with their elements; those that came during a pause wait.
  const lines = [];
  let waiting = [];
  let last = 0;

  const list = h('ol.lines', { tabindex: '0', 'aria-label': 'Lines of the log' });
  const said = h('span.said');
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;

  const matches = ({ line, words }) => LEVELS.indexOf(line.level) <= LEVELS.indexOf(state.level) && words.includes(state.text.toLowerCase());
  const follow = h('input', { type: 'checkbox', checked: true, onchange: () => toEnd() });
  const toEnd = () => follow.checked && list.scrollTo({ top: list.scrollHeight });

  const say = () => {
    const shown = lines.filter(({ node }) => !node.hidden).length;
    put(said, `${count(shown)} of ${count(lines.length)} lines`, waiting.length > 0 && `, ${count(waiting.length)} more wait`);
  };

  const add = (more) => {
    if (more.length === 0) return;
    for (const line of more) {
      const entry = { line, words: `${line.target ?? ''} ${line.text}`.toLowerCase(), node: shownLine(line) };
      entry.node.hidden = !matches(entry);
      lines.push(entry);
      list.append(entry.node);
    }
    for (const { node } of lines.splice(0, Math.max(0, lines.length - MOST))) node.remove();
    toEnd();
    say();
  };

  const choose = (wanted) => {
    Object.assign(state, wanted);
    note({ q: state.text, level: state.level === 'trace' ? '' : state.level });
    for (const entry of lines) entry.node.hidden = !matches(entry);
    toEnd();
    say();
  };

  const pause = () => {
    state.isPaused = !state.isPaused;
    pauser.textContent = state.isPaused ? 'Go on' : 'Pause';
    if (state.isPaused) return;
    const more = waiting;
    waiting = [];
    add(more);
    say();
  };

  // Whoever scrolls back wants to read; whoever is at the end again wants to follow.
  list.addEventListener('scroll', () => {
    follow.checked = list.scrollHeight - list.scrollTop - list.clientHeight < 8;
  });

  scope.watch(
    () => `log?after=${last}`,
    (told) => {
      trouble.hidden = true;
      last = told.last;
      const news = told.gap ? [{ level: 'warn', text: 'Lines are missing here: they are not kept any more.' }, ...told.lines] : told.lines;
      put(level, `The log has ${told.level} and worse.`);
      if (state.isPaused) {
        waiting = [...waiting, ...news].slice(-MOST);
        say();
      } else add(news);
    },
    {
      every: EVERY,
      failed: (error) => {
        put(trouble, error.message);
        trouble.hidden = false;
      },
    },
  );

  const pauser = button('Pause', pause);
  const level = h('span.said');
  const search = h('input', { type: 'search', placeholder: 'Search lines', 'aria-label': 'Search lines', 'data-search': true, spellcheck: 'false', value: state.text, oninput: (event) => choose({ text: event.target.value }) });
  const options = LEVELS.map((name) => h('option', { value: name }, { error: 'error', trace: 'all levels' }[name] ?? `${name} and worse`));
  const levels = h('select', { 'aria-label': 'Least severe level', onchange: (event) => choose({ level: event.target.value }) }, options);
  levels.value = state.level;
  say();
  return {
    title: 'Log',
    content: [
      heading('Log', { actions: [pauser] }).node,
      h('div.bar', h('div.search', icon('search'), search), h('div.tools', said, h('label.switch', follow, 'Follow'), levels)),
      trouble,
      h('section.card', { 'aria-label': 'The last lines' }, list),
      level,
    ],
  };
}

function shownLine({ time, level, target, text }) {
  const kind = KINDS[level];
  return h('li', time && h('time', { datetime: time }, time.slice(0, 23).replace('T', ' ')), h(`span.level${kind ? `.${kind}` : ''}`, level), target && h('span.target', target), h('span.text', visible(text)));
}
