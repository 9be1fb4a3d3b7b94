// Tables that stay true: rows keep their places in the document while numbers change. Long lists are searched, sorted and cut
// into pages by the broker, short ones here.

import { h, put, icon } from './dom.js';
import { count } from './format.js';
import { current, note } from './place.js';

const SIZES = [25, 50, 100, 250, 500];
const SIZE = 50;

// Short lists of so many rows are not searched.
const FEW = 10;

// How long somebody may type before it is searched, in milliseconds.
const TYPING = 250;

// `columns`: `id`, `title`, `show` (row => content), and of these what they need: `sort` (the path that the broker sorts by,
// or for a short list a function of the row), `number`, `minor` (not on a phone), `optional` (shown if it is chosen),
// `fields` (what of an object is needed for it). `key` names a row, `name` is the text that is searched.
export class Table {
  #columns;
  #key;
  #kept;
  #rows = new Map();
  #body = h('tbody');
  #head = h('tr');
  #said = h('span.said', { role: 'status' });
  #pager = h('div.pager');
  #trouble = h('p.trouble', { role: 'alert' });
  #changed;
  #hidden;
  #isNoted;
  #empty;
  #pages = 1;
  #label;
  #find = null;

  constructor({ id, label, columns, key, search = true, noted = false, empty, changed, sort = '', desc = false, tools = [] }) {
    this.#columns = columns.filter(Boolean);
    this.#key = key;
    this.#changed = changed;
    this.#isNoted = noted;
    this.#empty = empty;
    this.#kept = `leveret.columns.${id}`;
    this.#hidden = new Set(JSON.parse(localStorage.getItem(this.#kept)) ?? this.#columns.filter((column) => column.optional).map(({ id }) => id));
    const query = noted ? current().query : new URLSearchParams();
    this.state = {
      text: query.get('q') ?? '',
      regex: query.has('regex'),
      sort: query.get('sort') ?? sort,
      desc: query.has('sort') ? query.has('desc') : desc,
      page: Number(query.get('page')) || 1,
      size: SIZES.includes(Number(query.get('size'))) ? Number(query.get('size')) : SIZE,
    };
    this.#trouble.hidden = true;
    this.#label = label;
    const table = h('table', { 'aria-label': label }, h('thead', this.#head), this.#body);
    const chooser = this.#chooser();
    if (search) this.#find = this.#search(label);
    const bar = h('div.bar', this.#find, h('div.tools', search && this.#said, tools, chooser));
    bar.hidden = !search && tools.length === 0 && chooser === null;
    this.node = h('div.listing', bar, this.#trouble, h('div.scroll', { tabindex: '0', role: 'group', 'aria-label': `${label}, table` }, table), this.#pager);
    this.#showHead();
  }

  #search(label) {
    let typing;
    const changed = () => this.#change({ text: input.value, regex: regex.checked, page: 1 });
    const soon = () => {
      clearTimeout(typing);
      typing = setTimeout(changed, TYPING);
    };
    const input = h('input', { type: 'search', placeholder: 'Search names', 'aria-label': `Search ${label.toLowerCase()}`, 'data-search': true, spellcheck: 'false', value: this.state.text, oninput: soon });
    const regex = h('input', { type: 'checkbox', checked: this.state.regex, onchange: changed });
    return h('div.search', icon('search'), input, h('label.switch', regex, 'Regex'));
  }

  #chooser() {
    if (!this.#columns.some((column) => column.optional)) return null;
    const toggle = (column) => (event) => {
      if (event.target.checked) this.#hidden.delete(column.id);
      else this.#hidden.add(column.id);
      localStorage.setItem(this.#kept, JSON.stringify([...this.#hidden]));
      this.#showHead();
      this.#rows.clear();
      this.#body.replaceChildren();
      this.#changed();
    };
    const choices = this.#columns.slice(1).map((column) =>
      h('label', h('input', { type: 'checkbox', checked: !this.#hidden.has(column.id), onchange: toggle(column) }), column.title),
    );
    return h('details.chooser', h('summary.button.small', 'Columns'), h('div.choices', choices));
  }

  get #shown() {
    return this.#columns.filter(({ id }) => !this.#hidden.has(id));
  }

  #showHead() {
    const { sort, desc } = this.state;
    const heads = this.#shown.map((column) => {
      const kind = [column.number && 'number', column.minor && 'minor'].filter(Boolean).join(' ');
      const is = sort === column.id;
      if (!column.sort) return h('th', { class: kind, scope: 'col' }, column.title);
      const onclick = () => this.#change({ sort: column.id, desc: is ? !this.state.desc : Boolean(column.number), page: 1 });
      return h(
        'th',
        { class: kind, scope: 'col', 'aria-sort': is ? (desc ? 'descending' : 'ascending') : 'none' },
        h('button.plain', { type: 'button', onclick }, column.title, h('span.order', { 'aria-hidden': 'true' }, is ? (desc ? '↓' : '↑') : '')),
      );
    });
    const focused = [...this.#head.children].indexOf(document.activeElement?.closest('th'));
    this.#head.replaceChildren(...heads);
    this.#head.children[focused]?.querySelector('button')?.focus();
  }

  #change(wanted) {
    Object.assign(this.state, wanted);
    if (this.#isNoted) {
      const { text, regex, sort, desc, page, size } = this.state;
      note({ q: text, regex: regex && '1', sort, desc: desc && '1', page: page > 1 && page, size: size !== SIZE && size });
    }
    this.#showHead();
    this.#changed();
  }

  // What the broker is asked for the rows that are shown.
  get query() {
    const { text, regex, sort, desc, page, size } = this.state;
    const query = new URLSearchParams({ page, page_size: size });
    if (text) query.set('name', text);
    if (text && regex) query.set('use_regex', 'true');
    const by = this.#columns.find((column) => column.id === sort)?.sort;
    if (by) query.set('sort', by);
    if (by && desc) query.set('sort_reverse', 'true');
    const fields = new Set(this.#shown.flatMap((column) => column.fields ?? []));
    if (fields.size > 0) query.set('columns', [...fields].join(','));
    return query;
  }

  // Shows a page that the broker cut.
  showPage({ items, page, page_size, filtered_count, total_count }) {
    this.#trouble.hidden = true;
    this.#showRows(items);
    this.#showPager(page, page_size, filtered_count, total_count);
  }

  // Shows a short list.
  showAll(all, nameOf = this.#key) {
    const { text, regex, sort, desc, size } = this.state;
    this.#trouble.hidden = true;
    let rows = all;
    if (text) {
      try {
        const pattern = regex && new RegExp(text, 'i');
        rows = rows.filter((row) => (pattern ? pattern.test(nameOf(row)) : nameOf(row).toLowerCase().includes(text.toLowerCase())));
      } catch (error) {
        this.fail(error);
        return;
      }
    }
    const by = this.#columns.find((column) => column.id === sort)?.sort;
    if (by) rows = [...rows].sort((a, b) => compare(by(a), by(b)) * (desc ? -1 : 1));
    const page = Math.min(this.state.page, Math.max(1, Math.ceil(rows.length / size)));
    if (!this.#isNoted && this.#find) this.#find.hidden = all.length <= FEW && text === '';
    this.#showRows(rows.slice((page - 1) * size, page * size));
    this.#showPager(page, size, rows.length, all.length);
  }

  // Says why there are no rows. A page that is not there any more is left.
  fail(error) {
    if (/out of range/i.test(error.message) && this.state.page > 1) {
      this.#change({ page: 1 });
      return;
    }
    this.#trouble.textContent = error.message;
    this.#trouble.hidden = false;
  }

  #showRows(items) {
    const columns = this.#shown;
    const kept = new Map();
    for (const item of items) {
      const key = this.#key(item);
      const row = this.#rows.get(key) ?? this.#row(columns);
      kept.set(key, row);
      columns.forEach((column, index) => put(row.children[index], column.show(item)));
    }
    this.#rows.forEach((row, key) => kept.has(key) || row.remove());
    this.#rows = kept;
    let place = this.#body.firstElementChild;
    for (const row of kept.values()) {
      if (row === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row, place);
    }
    const none = this.#body.querySelector('.none');
    if (items.length > 0) none?.remove();
    else if (!none) this.#body.append(h('tr.none', h('td', { colspan: columns.length }, this.state.text ? 'Nothing of this name.' : this.#empty)));
    else put(none.firstChild, this.state.text ? 'Nothing of this name.' : this.#empty);
  }

  #row(columns) {
    return h('tr', columns.map((column, index) => {
      const kind = [column.number && 'number', column.minor && 'minor', column.kind].filter(Boolean).join(' ');
      return index === 0 ? h('th', { scope: 'row', class: kind }) : h('td', { class: kind });
    }));
  }

  #showPager(page, size, filtered, total) {
    put(this.#said, filtered === total ? count(total) : `${count(filtered)} of ${count(total)}`);
    this.#pages = Math.max(1, Math.ceil(filtered / size));
    this.#pager.hidden = total <= SIZES[0];
    if (this.#pager.childElementCount === 0) {
      const turn = (by) => () => this.#change({ page: Math.min(this.#pages, Math.max(1, this.state.page + by)) });
      const sizes = SIZES.map((of) => h('option', { value: of, selected: of === size }, of));
      this.#pager.append(
        h('button.button.small', { type: 'button', onclick: turn(-1), 'data-page': 'previous' }, 'Previous'),
        h('span.page', { role: 'status' }),
        h('button.button.small', { type: 'button', onclick: turn(1), 'data-page': 'next' }, 'Next'),
        h('label', 'Rows', h('select', { 'aria-label': `Rows of a page of ${this.#label.toLowerCase()}`, onchange: (event) => this.#change({ size: Number(event.target.value), page: 1 }) }, sizes)),
      );
    }
    const [previous, said, next] = this.#pager.children;
    put(said, `${count(Math.min(filtered, (page - 1) * size + 1))}–${count(Math.min(filtered, page * size))} of ${count(filtered)}`);
    previous.disabled = page <= 1;
    next.disabled = page >= this.#pages;
  }
}

function compare(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a ?? '').localeCompare(String(b ?? ''));
}
