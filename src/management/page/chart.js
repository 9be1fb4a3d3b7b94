// Charts of the samples that the broker keeps.

import { h, put } from './dom.js';
import { byteRate, bytes } from './format.js';

const HEIGHT = 170;
const KEPT = 'leveret.range';

// Steps of an axis of bytes.
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

// How far back, and how far apart, in seconds: of everything together, and of one queue and the like, of which the broker keeps
// fewer samples. More than it keeps would be drawn as stairs.
const RANGES = [
  { id: '1m', text: '1 min', title: 'the last minute', age: 60, step: 5, stepOfOne: 5 },
  { id: '10m', text: '10 min', title: 'the last 10 minutes', age: 600, step: 10, stepOfOne: 10 },
  { id: '1h', text: '1 h', title: 'the last hour', age: 3600, step: 60, stepOfOne: 120 },
];

let chosen = RANGES.find(({ id }) => id === localStorage.getItem(KEPT)) ?? RANGES[1];

// What of the past the broker is asked for: `lengths`, `msg_rates`, `data_rates` or `node_stats`.
export const past = (...families) => asked(families, chosen.step);

// The same of one thing.
export const pastOfOne = (...families) => asked(families, chosen.stepOfOne);

const asked = (families, step) => families.map((family) => `${family}_age=${chosen.age}&${family}_incr=${step}`).join('&');

// Chooses how far back charts go. All of them do.
export function ranges(changed) {
  const choose = (range) => () => {
    chosen = range;
    localStorage.setItem(KEPT, range.id);
    show();
    changed();
  };
  const buttons = RANGES.map((range) => h('button', { type: 'button', onclick: choose(range), title: `Charts of ${range.title}` }, range.text));
  const show = () => buttons.forEach((button, index) => button.setAttribute('aria-pressed', String(RANGES[index] === chosen)));
  show();
  return h('div.ranges', { role: 'group', 'aria-label': 'How far back charts go' }, buttons);
}

// A chart. `series`: `label`, `of` (told => details with `samples`), `rate` if it is to be how fast a count changes, and
// `dashed` if it often lies over another one. `format` writes its values.
export class Chart {
  #series;
  #format;
  #plot = null;
  #data = [[]];
  #values = [];
  #area = h('div.plot');
  #sized = new ResizeObserver(() => this.#resize());

  constructor(title, series, format) {
    this.#series = series;
    this.#format = format;
    const legend = series.map(({ label, dashed }, index) => {
      const value = h('span.value', '–');
      this.#values.push(value);
      return h('li', h(`span.mark.series-${index + 1}${dashed ? '.dashed' : ''}`), h('span', label), value);
    });
    this.#area.setAttribute('role', 'img');
    this.#area.setAttribute('aria-label', `Chart of ${title.toLowerCase()}; the figures now are in its legend`);
    this.node = h('figure.chart.card', h('figcaption', title), this.#area, h('ul.legend', legend));
    this.#sized.observe(this.#area);
    charts.add(this);
  }

  // Draws what the broker told.
  update(told) {
    const columns = this.#series.map(({ of, rate }) => points(of(told), rate));
    const times = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
    this.#data = [times.map((time) => time / 1000), ...columns.map((column) => times.map((time) => column.get(time) ?? null))];
    this.#draw();
  }

  #draw() {
    if (!this.#plot) this.#make();
    if (!this.#plot) return;
    // Until there are samples enough, the time is the axis all the same.
    const now = this.#data[0].at(-1) ?? Date.now() / 1000;
    this.#plot.batch(() => {
      this.#plot.setData(this.#data, false);
      this.#plot.setScale('x', { min: now - chosen.age, max: now });
    });
    this.#tell(this.#plot.cursor.idx);
  }

  #tell(index) {
    this.#values.forEach((value, of) => {
      const column = this.#data[of + 1] ?? [];
      put(value, this.#format(column[index ?? column.length - 1] ?? null));
    });
  }

  #make() {
    const width = this.#area.clientWidth;
    if (width === 0) return;
    const colour = (element) => getComputedStyle(element).color;
    const marks = [...this.node.querySelectorAll('.mark')].map(colour);
    const [ink, rule] = [colour(this.node.querySelector('figcaption')), getComputedStyle(this.node).borderTopColor];
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, ticks: { show: false }, grid: { stroke: rule, width: 1 } };
    const isBytes = this.#format === bytes || this.#format === byteRate;
    const options = {
      width,
      height: HEIGHT,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, sync: { key: 'leveret' }, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: true, auto: false }, y: { range: (_, low, high) => [0, Math.max(isBytes ? 4096 : 4, (high ?? 0) * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 30, gap: 9, space: 80, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 68, space: 28, incrs: isBytes ? BINARY : undefined, values: (_, ticks) => ticks.map((tick) => this.#format(tick)) },
      ],
      series: [{}, ...marks.map((stroke, index) => line(this.#series[index], stroke, index === 0 && marks.length <= 2))],
      hooks: { setCursor: [(plot) => this.#tell(plot.cursor.idx)] },
    };
    this.#plot = new window.uPlot(options, this.#data, this.#area);
  }

  #resize() {
    const width = this.#area.clientWidth;
    if (width > 0 && this.#plot && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    else if (!this.#plot) this.#draw();
  }

  // Draws anew in other colours.
  paint() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#draw();
  }

  // Nobody looks at it any more.
  end() {
    this.#sized.disconnect();
    this.#plot?.destroy();
  }
}

// A time on the axis. Seconds are told where it is short.
function clock(seconds) {
  const second = chosen.age > 60 ? undefined : '2-digit';
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second, hourCycle: 'h23' });
}

// How a series is drawn. Where there are few, the first one is filled faintly.
function line({ label, dashed }, stroke, isFilled) {
  const fill = isFilled ? stroke.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.1)') : undefined;
  return { label, stroke, fill, width: dashed ? 1.5 : 2, dash: dashed ? [5, 5] : undefined, spanGaps: true, points: { show: false } };
}

// The samples by their times. Of a count that only goes up, how fast it did.
function points(details, rate) {
  const samples = [...(details?.samples ?? [])].sort((a, b) => a.timestamp - b.timestamp);
  if (!rate) return new Map(samples.map(({ timestamp, sample }) => [timestamp, sample]));
  const between = samples.slice(1).map(({ timestamp, sample }, index) => {
    const before = samples[index];
    return [timestamp, Math.max(0, ((sample - before.sample) * 1000) / (timestamp - before.timestamp))];
  });
  return new Map(between);
}

const charts = new Set();

// Has all charts take over the colours of now.
export function repaint() {
  charts.forEach((chart) => chart.paint());
}

// Ends the charts of a view that was left.
export function tidy() {
  for (const chart of charts) {
    if (chart.node.isConnected) continue;
    chart.end();
    charts.delete(chart);
  }
}
