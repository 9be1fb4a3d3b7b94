// A graph as a picture whose nodes are links.

import { h, svg } from '../dom.js';
import { at } from '../place.js';
import { layersOf } from './layers.js';
import { linesOf } from './model.js';

// Sizes in pixels.
const ROW = 60;
const BOX = 40;
const MARGIN = 16;
// How far what leads from a node to itself goes out, how far beside the middle what leads back is, and how long tips are.
const BOW = 60;
const LANE = 10;
const TIP = 7;
// About how wide a letter is, of names and of what is said in small.
const LETTER = 7.6;
const SMALL_LETTER = 6.4;
const LINE = 13;
// Between two columns, where labels stand.
const GAPS = { least: 90, most: 250 };

// Letters of a name that are shown; all of it is shown to who points at it.
const MOST_LETTERS = 32;

// A place for a graph, in a `vhost`. `show` draws one, with a node that is marked, or says why there is none.
export function graphPlace(label) {
  let graph = null;
  let layers = null;
  const node = h('div.graph.scroll', { tabindex: '0', role: 'group', 'aria-label': label, onkeydown: (event) => walk(event, node, graph, layers) });
  const replace = (content) => {
    if (node.firstChild?.isEqualNode(content)) return;
    const focused = node.contains(document.activeElement) ? document.activeElement.dataset.node : undefined;
    node.replaceChildren(content);
    if (focused !== undefined) find(node, focused)?.focus({ preventScroll: true });
  };
  return {
    node,
    say: (text) => replace(h('p.faint', text)),
    show: (wanted, vhost, marked) => {
      graph = wanted;
      layers = layersOf(graph);
      replace(picture(graph, layers, { vhost, marked, label }));
    },
    // Brings a node to the middle, and moves nothing else of the page.
    reveal: (id) => {
      const [frame, box] = [node.getBoundingClientRect(), find(node, id)?.getBoundingClientRect()];
      if (box) node.scrollBy(box.x + box.width / 2 - frame.x - frame.width / 2, box.y + box.height / 2 - frame.y - frame.height / 2);
    },
  };
}

// A name may have whatever a selector takes for its own.
const find = (place, id) => [...place.querySelectorAll('[data-node]')].find((node) => node.dataset.node === id);

const isNode = (thing) => typeof thing === 'string';

// Arrows go along what leads to a node and from it, and up and down its column.
function walk(event, place, graph, layers) {
  const from = event.target.closest('[data-node]')?.dataset.node;
  const column = layers?.columns.find((things) => things.includes(from))?.filter(isNode);
  if (column === undefined) return;
  const edges = [...graph.edges.values()];
  const row = column.indexOf(from);
  const ways = {
    ArrowLeft: () => edges.find((edge) => edge.to === from)?.from,
    ArrowRight: () => edges.find((edge) => edge.from === from)?.to,
    ArrowUp: () => column[row - 1],
    ArrowDown: () => column[row + 1],
  };
  const to = ways[event.key]?.();
  if (to === undefined) return;
  event.preventDefault();
  find(place, to).focus();
}

function picture(graph, layers, { vhost, marked, label }) {
  const places = placesOf(graph, layers);
  const edges = [...graph.edges.values()].map((edge) => drawnEdge(edge, layers.ways.get(edge), places));
  const nodes = layers.columns.flat().filter(isNode).map((id) => drawnNode(graph.nodes.get(id), places.of.get(id), vhost, id === marked));
  const [width, height] = [Math.ceil(places.width), places.height];
  // Words are above all lines, and nodes above both.
  const parts = [edges.map(({ line }) => line), edges.map(({ words }) => words), nodes];
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': label }, parts);
}

// Where everything is: the left and right edges of each thing in a column, and the middle of its height.
function placesOf(graph, { columns, ways, rowOf, rows }) {
  const gap = gapOf(graph);
  const of = new Map();
  let left = MARGIN;
  for (const things of columns) {
    const right = left + Math.max(80, ...things.filter(isNode).map((id) => widthOf(graph.nodes.get(id))));
    for (const thing of things) of.set(thing, { left, right, y: Math.round(MARGIN + (rowOf.get(thing) + 0.5) * ROW) });
    left = right + gap;
  }
  const bow = ways.size < graph.edges.size ? BOW : 0;
  return { of, width: left - gap + MARGIN + bow, height: Math.ceil(2 * MARGIN + rows * ROW) };
}

function widthOf({ name, detail }) {
  return Math.max(lengthOf(name) * LETTER, lengthOf(detail) * SMALL_LETTER) + 28;
}

// Between two columns: as much as the longest words there need.
function gapOf(graph) {
  const longest = Math.max(0, ...[...graph.edges.values()].flatMap(linesOf).map(lengthOf));
  return Math.min(GAPS.most, Math.max(GAPS.least, longest * SMALL_LETTER + 50));
}

const shortened = (text) => {
  const letters = [...text];
  return letters.length <= MOST_LETTERS ? text : `${letters.slice(0, MOST_LETTERS - 1).join('')}…`;
};

const lengthOf = (text) => [...shortened(text)].length;

function drawnNode({ id, kind, name, detail }, { left, right, y }, vhost, isMarked) {
  const classes = [kind, detail === 'missing' && 'missing', isMarked && 'marked'].filter(Boolean).join('.');
  const middle = (left + right) / 2;
  const link = { href: at(kind === 'queue' ? 'queues' : 'exchanges', vhost, name), 'data-node': id, 'aria-current': isMarked && 'true' };
  return svg(
    `a.${classes}`,
    link,
    svg('title', `${kind === 'queue' ? 'Queue' : 'Exchange'} ${name}${detail && `, ${detail}`}`),
    svg('rect', { x: left, y: y - BOX / 2, width: right - left, height: BOX, rx: kind === 'exchange' ? BOX / 2 : 6 }),
    svg('text', { x: middle, y: detail ? y - 2 : y + 4 }, shortened(name)),
    detail && svg('text.detail', { x: middle, y: y + 13 }, shortened(detail)),
  );
}

function drawnEdge(edge, way, { of }) {
  const route = way === undefined ? loop(of.get(edge.from)) : curve(edge, way, of);
  const [x, y, side] = route.tip;
  const tip = svg('path.tip', { d: `M${x} ${y}l${side} -4v8z` });
  return { line: svg(`g.edge.${edge.why}`, svg('path', { d: route.line }), tip), words: drawnWords(linesOf(edge), route.words) };
}

// From a node to itself: out at the right, and in again.
function loop({ right, y }) {
  const line = `M${right} ${y - LANE}C${right + BOW} ${y - 2 * LANE} ${right + BOW} ${y + 2 * LANE} ${right} ${y + LANE}`;
  return { line, tip: [right, y + LANE, TIP], words: { x: right + BOW * 0.75, y } };
}

// Past all that is between two nodes. Near the end, where curves from one node have parted, it is told what it is.
function curve(edge, way, of) {
  const isBack = way[0] !== edge.from;
  // There may be one in the other direction, beside which this is to be seen.
  const points = way.map((thing) => ({ ...of.get(thing), y: of.get(thing).y + (isBack && isNode(thing) ? LANE : 0) }));
  const steps = points.slice(1).map((next, index) => {
    const last = points[index];
    const half = (last.right + next.left) / 2;
    return `C${half} ${last.y} ${half} ${next.y} ${next.left} ${next.y}${index + 2 < points.length ? `H${next.right}` : ''}`;
  });
  const line = `M${points[0].right} ${points[0].y}${steps.join('')}`;
  const between = (one, two, along, up) => ({ x: one.right + along * (two.left - one.right), y: one.y + up * (two.y - one.y) });
  if (isBack) return { line, tip: [points[0].right, points[0].y, TIP], words: between(points[0], points[1], 0.38, 0.26) };
  const [before, end] = points.slice(-2);
  return { line, tip: [end.left, end.y, -TIP], words: between(before, end, 0.62, 0.74) };
}

function drawnWords(lines, { x, y }) {
  const first = y - (LINE * (lines.length - 1)) / 2 - 3;
  return lines.map((line, row) => svg('text.words', { x, y: first + row * LINE }, svg('title', line), shortened(line)));
}
