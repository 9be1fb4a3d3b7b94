// The node: what it has, and how its storage does.

import { Chart, past, ranges } from '../chart.js';
import { h, put } from '../dom.js';
import { byteRate, bytes, compact, count, duration, milliseconds, rate } from '../format.js';
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
  const storage = facts(...STORAGE);
  const sync = h('div');
  const anew = scope.watch(() => `nodes?${past('node_stats')}`, ([told]) => {
    head.mark(badge(told.name));
    showFigures(figures, told);
    [memory, journal, syncs, churn].forEach((chart) => chart.update(told));
    about.update(told);
  });
  scope.watch('../metrics', (text) => {
    const metrics = read(text);
    storage.update(metrics);
    put(sync, histogram(metrics, 'leveret_journal_sync_seconds'));
  }, { every: METRICS_EVERY, take: (response) => response.text() });
  return {
    title: 'Node',
    content: [
      head.node,
      figures.node,
      h('div.charts', memory.node, journal.node, syncs.node, churn.node),
      section('Storage', storage.node),
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

const value = (name, format) => (metrics) => (metrics.has(name) ? format(metrics.get(name)) : null);

const STORAGE = [
  ['State', (metrics) => (metrics.get('leveret_journal_failed') > 0 ? badge('failed: nothing is durable any more', 'bad') : badge('well', 'good'))],
  ['Journal records', value('leveret_journal_records_total', count)],
  ['Journal written', value('leveret_journal_written_bytes_total', bytes)],
  ['Groups written', value('leveret_journal_write_seconds_count', count)],
  ['Syncs', value('leveret_journal_sync_seconds_count', count)],
  ['Checkpoints', value('leveret_checkpoint_seconds_count', count)],
  ['Messages paged out', value('leveret_messages_paged_out_total', count)],
  ['Memory freed by that', value('leveret_memory_relief_bytes_total', bytes)],
  ['Disk', value('leveret_disk_size_bytes', plainBytes)],
];

function plainBytes(size) {
  return size > 0 ? bytes(size) : 'none';
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
  const words = (le) => (le === '+Inf' ? 'longer' : `up to ${milliseconds(Number(le) * 1000)}`);
  const rows = spans.map(([le, number]) => h('li', h('span.label', words(le)), h('meter', { min: '0', max: String(most), value: number, 'aria-label': words(le) }), h('span.number', count(number))));
  return h('ul.bars', rows);
}
