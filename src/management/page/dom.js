// Elements made from data. Whatever comes from the broker is text: there is no way from a string to markup here.

const SVG = 'http://www.w3.org/2000/svg';

// An element: `h('a.button', { href: '#/queues', onclick: go }, 'Queues', [more])`. Children are texts, nodes, lists of
// them, or nothing (null, undefined, false). Attributes that are null, undefined or false are left out.
export function h(selector, ...rest) {
  return made((name) => document.createElement(name), selector, rest);
}

// An element of a picture, made alike.
export function svg(selector, ...rest) {
  return made((name) => document.createElementNS(SVG, name), selector, rest);
}

function made(make, selector, rest) {
  const [name, ...classes] = selector.split('.');
  const element = make(name);
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  if (isAttributes(rest[0])) set(element, rest.shift());
  element.append(...nodes(rest));
  return element;
}

function isAttributes(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Node);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked') element[name] = value;
    else if (name === 'href' && !/^(#|blob:)/.test(value)) throw new Error('links stay on this page');
    else element.setAttribute(name, value === true ? '' : value);
  }
}

function nodes(children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return wanted.map((child) => (child instanceof Node ? child : String(child)));
}

// Shows this and nothing else in an element, and touches nothing if it is there already: no jump, no lost selection.
export function put(element, ...content) {
  const wanted = nodes(content);
  const known = element.childNodes;
  const isSame = (node, index) =>
    typeof wanted[index] === 'string'
      ? node.nodeType === Node.TEXT_NODE && node.data === wanted[index]
      : node === wanted[index] || node.isEqualNode(wanted[index]);
  if (known.length === wanted.length && [...known].every(isSame)) return;
  element.replaceChildren(...wanted);
}

// Line drawings, on a grid of 24.
const ICONS = {
  overview: 'M3 12h4l3-8 4 16 3-8h4',
  queues: 'M4 6h16M4 12h16M4 18h10',
  exchanges: 'M4 8h13l-3-3M20 16H7l3 3',
  connections: 'M8 12h8M7 7H6a5 5 0 0 0 0 10h1M17 7h1a5 5 0 0 1 0 10h-1',
  channels: 'M4 4v16M12 4v16M20 4v16',
  users: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 20c1-4 4-6 8-6s7 2 8 6',
  vhosts: 'M12 3l9 5-9 5-9-5zM3 13l9 5 9-5',
  policies: 'M6 3h9l4 4v14H6zM9 12h7M9 16h7',
  limits: 'M4 18a9 9 0 1 1 16 0M12 15l4-5',
  definitions: 'M12 3v12M7 10l5 5 5-5M4 20h16',
  topology: 'M3 9h6v6H3zM15 3h6v6h-6zM15 15h6v6h-6zM9 12h3M15 6h-3v12h3',
  node: 'M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01',
  log: 'M5 4h14v16H5zM8 8h8M8 12h8M8 16h5',
  theme: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  menu: 'M4 7h16M4 12h16M4 17h16',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  search: 'M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14zM16 16l5 5',
  close: 'M6 6l12 12M18 6L6 18',
  plus: 'M12 5v14M5 12h14',
};

// One of the line drawings; it says nothing to who cannot see it.
export function icon(name) {
  return svg('svg.icon', { viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: ICONS[name] }));
}
