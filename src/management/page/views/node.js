// The node: what it has, and how its storage does.

import { Chart, past, ranges } from '../chart.js';
import { h, put } from '../dom.js';
import { byteRate, bytes, compact, count, duration, milliseconds, moment, rate } from '../format.js';
import { badge, facts, heading, section, tiles } from '../parts.js';

// Metrics are asked for less often than they are counted anew.
const METRICS_EVERY = 5000;

export function node({ scope }) {
  const again = () => anew();
  const head = heading('Node', { actions: [ranges(again)] });
  const figures = tiles(['uptime', 'Up for'], ['memory', 'Memory'], ['disk', 'Disk free'], ['files', 'Open files'], ['sockets', 'Sockets'], ['sync', 'Sync, on average']);
  const memory = new Chart('Memory', [{ label: 'Used', of: (told) => told.mem_used_details }], bytes);
  const journal = new Chart('Journal written a second', [{ label: 'Written', of: (told) => told.io_write_bytes_details, rate: true }], byteRate);
  const syncs = new Chart('Journal, times a second', [
    { label: 'Writes', of: (told) => told.io_write_count_details, rate: true },
    { label: 'Syncs', of: (told) => told.io_sync_count_details, rate: true },
    { label: 'Reads', of: (told) => told.io_read_count_details, rate: true },
  ], rate);
  const churn = new Chart('Coming and going, a second', [
    { label: 'Connections', of: (told) => told.connection_created_details, rate: true },
    { label: 'Channels', of: (told) => told.channel_created_details, rate: true },
    { label: 'Queues', of: (told) => told.queue_created_details, rate: true },
  ], rate);
  const about = facts(...FACTS);
  const storage = PARTS_OF_STORAGE.map(([, ...rows]) => facts(...rows));
  const sync = h('div');
  const anew = scope.watch(() => `nodes?${past('node_stats')}`, ([told]) => {
    head.mark(badge(told.name));
    showFigures(figures, told);
    [memory, journal, syncs, churn].forEach((chart) => chart.update(told));
    about.update(told);
  });
  scope.watch('../metrics', (text) => {
    const metrics = read(text);
    storage.forEach((part) => part.update(metrics));
    put(sync, histogram(metrics, 'leveret_journal_sync_seconds'));
  }, { every: METRICS_EVERY, take: (response) => response.text() });
  return {
    title: 'Node',
    content: [
      head.node,
      figures.node,
      h('div.charts', memory.node, journal.node, syncs.node, churn.node),
      h('div.parts', PARTS_OF_STORAGE.map(([title], index) => section(title, storage[index].node))),
      section('How long syncs of the journal took', sync),
      section('About', about.node),
    ],
  };
}

function showFigures({ update }, told) {
  update('uptime', duration(told.uptime), `process ${told.os_pid}`);
  update('memory', bytes(told.mem_used), told.mem_alarm ? 'alarm: publishers wait' : `alarm at ${bytes(told.mem_limit)}`, told.mem_limit > 0 ? told.mem_used / told.mem_limit : null);
  const isKept = told.disk_free > 0 || told.disk_free_limit > 0;
  update('disk', isKept ? bytes(told.disk_free) : '–', told.disk_free_alarm ? 'alarm: publishers wait' : isKept ? `alarm below ${bytes(told.disk_free_limit)}` : 'nothing is kept on a disk');
  update('files', count(told.fd_used), `of ${compact(told.fd_total)}`, told.fd_total > 0 ? told.fd_used / told.fd_total : null);
  update('sockets', count(told.sockets_used), `of ${compact(told.sockets_total)}`, told.sockets_total > 0 ? told.sockets_used / told.sockets_total : null);
  update('sync', told.io_sync_count > 0 ? milliseconds(told.io_sync_avg_time) : '–', `${rate(told.io_sync_count_details.rate)}, ${count(told.io_sync_count)} in all`);
}

const FACTS = [
  ['Version', (told) => told.applications.map(({ name, version }) => `${name} ${version}`).join(', ')],
  ['Processors', (told) => count(told.processors)],
  ['Data', (told) => told.db_dir || 'in memory only'],
  ['Configuration', (told) => told.config_files.join(', ') || 'none'],
  ['Log', (told) => told.log_files.join(', ') || 'standard error'],
  ['Logins', (told) => told.auth_mechanisms.map(({ name }) => name).join(', ')],
];

// A number of Prometheus's by its name, in words; left out where it is not told.
const value = (name, format) => (metrics) => (metrics.has(name) ? format(metrics.get(name)) : null);

const seconds = (number) => milliseconds(number * 1000);

const LAST = 'leveret_checkpoint_last_timestamp_seconds';

const PARTS_OF_STORAGE = [
  [
    'Journal',
    ['State', (metrics) => (metrics.get('leveret_journal_failed') > 0 ? badge('failed: nothing is durable any more', 'bad') : badge('well', 'good'))],
    ['Files', value('leveret_journal_files', count)],
    ['On disk', value('leveret_journal_file_bytes', bytes)],
    ['Records', value('leveret_journal_records_total', count)],
    ['Written', value('leveret_journal_written_bytes_total', bytes)],
    ['Groups written', value('leveret_journal_write_seconds_count', count)],
    ['Syncs', value('leveret_journal_sync_seconds_count', count)],
    ['Size of the disk', value('leveret_disk_size_bytes', (size) => (size > 0 ? bytes(size) : 'none'))],
  ],
  [
    'Segments',
    ['Files', value('leveret_segment_files', count)],
    ['On disk', value('leveret_segment_bytes', bytes)],
    ['Still needed', needed],
    ['Written', value('leveret_segment_written_bytes_total', bytes)],
    ['Messages paged out', value('leveret_messages_paged_out_total', count)],
    ['Messages read back', value('rabbitmq_queue_disk_reads_total', count)],
    ['Memory freed', value('leveret_memory_relief_bytes_total', bytes)],
  ],
  [
    'Checkpoints',
    ['Done', value('leveret_checkpoint_seconds_count', count)],
    ['Last', (metrics) => (metrics.has(LAST) ? moment(metrics.get(LAST) * 1000) : 'none yet')],
    ['It took', value('leveret_checkpoint_last_seconds', seconds)],
    ['It wrote to segments', value('leveret_checkpoint_last_written_bytes', bytes)],
    ['All together', value('leveret_checkpoint_seconds_sum', seconds)],
  ],
];

// How much of the segments is of messages that are there.
function needed(metrics) {
  const [all, part] = ['leveret_segment_bytes', 'leveret_segment_needed_bytes'].map((name) => metrics.get(name));
  return all > 0 ? `${bytes(part)}, ${Math.round((100 * part) / all)} %` : bytes(part);
}

// The samples of Prometheus's text, by their names and labels as they stand there.
function read(text) {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(samples.map((line) => {
    const end = line.lastIndexOf(' ');
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

// A histogram as bars: how many were in each span.
function histogram(metrics, name) {
  const bound = new RegExp(`^${name}_bucket\\{le="([^"]+)"\\}$`);
  const found = [...metrics].map(([key, number]) => [bound.exec(key)?.[1], number]).filter(([le]) => le !== undefined);
  const spans = found.map(([le, number], index) => [le, number - (found[index - 1]?.[1] ?? 0)]);
  const all = metrics.get(`${name}_count`) ?? 0;
  if (all === 0) return h('p.faint', 'There was none yet.');
  const most = Math.max(...spans.map(([, number]) => number));
  const words = (le) => (le === '+Inf' ? 'longer' : `up to ${span(le)}`);
  // The bound that so large a part of all does not go beyond.
  const within = (part) => words(found.find(([, number]) => number >= part * all)[0]);
  const told = h('p.faint', `Half of them took ${within(0.5)}, 99 of 100 ${within(0.99)}.`);
  const rows = spans.map(([le, number]) => h('li', h('span.label', words(le)), bar(words(le), number, most), h('span.number', count(number))));
  return [told, h('ul.bars', rows)];
}

function bar(label, number, most) {
  const length = h('span');
  length.style.width = `${(100 * number) / most}%`;
  return h('div.length', { role: 'meter', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': String(most), 'aria-valuenow': String(number) }, length);
}

const span = (le) => (Number(le) < 1 ? `${Number(le) * 1000} ms` : `${le} s`);
