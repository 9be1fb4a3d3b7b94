// The whole broker at a glance.

import { Chart, past, ranges } from '../chart.js';
import { h } from '../dom.js';
import { bytes, byteRate, compact, count, rate } from '../format.js';
import { badge, heading, section, tiles } from '../parts.js';
import { may } from '../session.js';

export function overview({ scope }) {
  const monitors = may('monitoring');
  const figures = tiles(
    ['publish', 'Published'],
    ['deliver', 'Delivered'],
    ['queued', 'Queued', '#/queues'],
    ['connections', 'Connections', '#/connections'],
    monitors && ['journal', 'Journal'],
    monitors && ['memory', 'Memory'],
    monitors && ['disk', 'Disk'],
    ['queues', 'Queues', '#/queues'],
  );
  const flow = new Chart('Messages a second', FLOW, rate);
  const depth = new Chart('Messages in queues', DEPTH, compact);
  const journal = monitors && new Chart('Journal written a second', JOURNAL, byteRate);
  const memory = monitors && new Chart('Memory', MEMORY, bytes);
  const whereabouts = h('ul.plain');
  const head = heading('Overview', { actions: [ranges(() => asked.forEach((anew) => anew()))] });
  const asked = [
    scope.watch(
      () => `overview?${past('lengths', 'msg_rates')}`,
      (told) => {
        showTotals(figures, told);
        flow.update(told.message_stats);
        depth.update(told.queue_totals);
        head.mark(badge(`${told.product_name} ${told.product_version}`), badge(told.cluster_name));
        whereabouts.replaceChildren(...(told.listeners ?? []).map(listener));
      },
    ),
  ];
  if (monitors) {
    const showNode = ([node]) => {
      showResources(figures, node);
      journal.update(node);
      memory.update(node);
    };
    asked.push(scope.watch(() => `nodes?${past('node_stats')}`, showNode));
  }
  return {
    title: 'Overview',
    content: [
      head.node,
      figures.node,
      h('div.charts', flow.node, depth.node, monitors && [journal.node, memory.node]),
      monitors && section('Listeners', whereabouts),
    ].filter(Boolean),
  };
}

const FLOW = [
  { label: 'Published', of: (told) => told.publish_details, rate: true },
  { label: 'Delivered', of: (told) => told.deliver_get_details, rate: true },
  { label: 'Acknowledged', of: (told) => told.ack_details, rate: true, dashed: true },
  { label: 'Confirmed', of: (told) => told.confirm_details, rate: true, dashed: true },
];

const DEPTH = [
  { label: 'Ready', of: (told) => told.messages_ready_details },
  { label: 'Unacknowledged', of: (told) => told.messages_unacknowledged_details },
];

const JOURNAL = [{ label: 'Written', of: (told) => told.io_write_bytes_details, rate: true }];

const MEMORY = [{ label: 'Used', of: (told) => told.mem_used_details }];

function showTotals({ update }, told) {
  const { message_stats: stats = {}, queue_totals: totals = {}, object_totals: objects } = told;
  update('publish', rate(stats.publish_details?.rate ?? 0), `${count(stats.publish ?? 0)} in all`);
  update('deliver', rate(stats.deliver_get_details?.rate ?? 0), `${count(stats.deliver_get ?? 0)} in all`);
  update('queued', compact(totals.messages ?? 0), `${compact(totals.messages_unacknowledged ?? 0)} unacknowledged`);
  update('connections', count(objects.connections), `${count(objects.channels)} channels, ${count(objects.consumers)} consumers`);
  update('queues', count(objects.queues), `${count(objects.exchanges)} exchanges`);
}

function showResources({ update }, node) {
  update('journal', byteRate(node.io_write_bytes_details.rate), `${rate(node.io_sync_count_details.rate)} syncs`);
  const memory = node.mem_alarm ? 'alarm: publishers wait' : `alarm at ${bytes(node.mem_limit)}`;
  update('memory', bytes(node.mem_used), memory, node.mem_limit > 0 ? node.mem_used / node.mem_limit : null);
  if (node.disk_free === 0 && node.disk_free_limit === 0) update('disk', '–', 'nothing is kept on a disk');
  else update('disk', bytes(node.disk_free), node.disk_free_alarm ? 'alarm: publishers wait' : `free; alarm below ${bytes(node.disk_free_limit)}`);
}

function listener({ protocol, ip_address: address, port }) {
  return h('li', badge(protocol), ' ', h('code', `${address.includes(':') ? `[${address}]` : address}:${port}`));
}
