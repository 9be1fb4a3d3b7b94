// One queue.

import { ask, askLong, path } from '../api.js';
import { Chart, pastOfOne, ranges } from '../chart.js';
import { confirm, formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { bytes, compact, count, moment, rate, yes } from '../format.js';
import { getForm, publishForm } from '../message.js';
import { badge, button, channelLink, connectionLink, facts, folded, heading, notice, pairs, section, state, tiles } from '../parts.js';
import { go } from '../place.js';
import { Table } from '../table.js';
import { bindForm, bindingTable } from './bindings.js';
import { neighbourhood } from './topology.js';

export function queue({ names: [vhost, name], scope }) {
  const base = `queues/${path(vhost, name)}`;
  const again = () => asked.forEach((anew) => anew());
  const head = heading(name, {
    of: `Queue in ${vhost}`,
    actions: [
      button('Move', () => move(base, name, again)),
      button('Purge', () => purge(base, name, again)),
      button('Delete', () => remove(base, name), { kind: 'danger' }),
      ranges(again),
    ],
  });
  const figures = tiles(['ready', 'Ready'], ['unacked', 'Unacknowledged'], ['in', 'Published'], ['out', 'Delivered'], ['consumers', 'Consumers'], ['size', 'Size']);
  const depth = new Chart('Messages', DEPTH, compact);
  const flow = new Chart('Messages a second', FLOW, rate);
  const about = facts(...FACTS);
  const consumers = consumerTable();
  const bindings = bindingTable({ id: 'queue.bindings', label: 'Bindings', side: 'source', empty: 'Nothing is bound to it.', changed: again });
  const near = neighbourhood('queue', vhost, name);
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const show = (told) => {
    trouble.hidden = true;
    head.mark(badge(told.type), state(told.state));
    showFigures(figures, told);
    depth.update(told);
    flow.update(told.message_stats ?? {});
    about.update(told);
    consumers.update(told.consumer_details ?? []);
    near.update({ told });
  };
  const showBindings = (told) => {
    bindings.update(told);
    near.update({ to: told });
  };
  const failed = (error) => {
    trouble.textContent = error.status === 404 ? 'There is no such queue any more.' : error.message;
    trouble.hidden = false;
  };
  const asked = [
    scope.watch(() => `${base}?${pastOfOne('lengths', 'msg_rates')}`, show, { failed }),
    scope.watch(`${base}/bindings`, showBindings),
  ];
  const exchange = [{ name: 'source', label: 'From exchange', required: true }];
  const ends = ({ source }) => ({ source, destination_type: 'queue', destination: name });
  return {
    title: name,
    content: [
      head.node,
      trouble,
      figures.node,
      h('div.charts', depth.node, flow.node),
      section('About', about.node),
      section('Consumers', consumers.node),
      section('Bindings', bindings.node),
      section('Topology', near.node),
      folded('Bind', bindForm(vhost, exchange, ends, again)),
      folded('Publish a message', publishForm(vhost, '', name, again)),
      folded('Get messages', getForm(vhost, name, again)),
    ],
  };
}

const DEPTH = [
  { label: 'Ready', of: (told) => told.messages_ready_details },
  { label: 'Unacknowledged', of: (told) => told.messages_unacknowledged_details },
];

const FLOW = [
  { label: 'Published', of: (told) => told.publish_details, rate: true },
  { label: 'Delivered', of: (told) => told.deliver_get_details, rate: true },
  { label: 'Acknowledged', of: (told) => told.ack_details, rate: true, dashed: true },
  { label: 'Redelivered', of: (told) => told.redeliver_details, rate: true },
];

const FACTS = [
  ['Durable', (told) => yes(told.durable)],
  ['Deleted with its last consumer', (told) => yes(told.auto_delete)],
  ['Exclusive', (told) => (told.owner_pid_details ? connectionLink(told.owner_pid_details.name) : yes(told.exclusive))],
  ['Policy', (told) => told.policy ?? 'none'],
  ['Operator policy', (told) => told.operator_policy],
  ['What policies set', (told) => pairs(told.effective_policy_definition)],
  ['Arguments', (told) => pairs(told.arguments)],
  ['Persistent messages', (told) => count(told.messages_persistent)],
  ['In memory', (told) => `${count(told.messages_ram)} messages, ${bytes(told.message_bytes_ram)}`],
  ['Paged out', (told) => `${count(told.messages_paged_out)} messages, ${bytes(told.message_bytes_paged_out)}`],
  ['Memory', (told) => bytes(told.memory)],
  ['Consumers can take', (told) => (told.consumers > 0 ? `${Math.round((told.consumer_capacity ?? 0) * 100)} % of the time` : null)],
  ['Single active consumer', (told) => told.single_active_consumer_tag],
  ['Delivery limit', (told) => told.delivery_limit],
  ['Dead-lettered, not yet confirmed', (told) => (told.messages_dlx === undefined ? null : count(told.messages_dlx))],
  ['Idle since', (told) => (told.idle_since ? moment(Date.parse(told.idle_since)) : null)],
];

function showFigures({ update }, told) {
  const stats = told.message_stats ?? {};
  update('ready', compact(told.messages_ready), `${count(told.messages)} in all`);
  update('unacked', compact(told.messages_unacknowledged));
  update('in', rate(stats.publish_details?.rate ?? 0), `${count(stats.publish ?? 0)} in all`);
  update('out', rate(stats.deliver_get_details?.rate ?? 0), `${count(stats.deliver_get ?? 0)} in all`);
  update('consumers', count(told.consumers));
  update('size', bytes(told.message_bytes));
}

function consumerTable() {
  const table = new Table({
    id: 'queue.consumers',
    label: 'Consumers',
    columns: [
      { id: 'tag', title: 'Tag', kind: 'long', sort: (consumer) => consumer.consumer_tag, show: (consumer) => consumer.consumer_tag },
      { id: 'channel', title: 'Channel', kind: 'long', show: ({ channel_details: { name } = {} }) => (name ? channelLink(name) : '–') },
      { id: 'user', title: 'User', minor: true, show: ({ channel_details: { user } = {} }) => user ?? '–' },
      { id: 'ack', title: 'Acknowledges', minor: true, show: (consumer) => yes(consumer.ack_required) },
      { id: 'prefetch', title: 'Prefetch', number: true, minor: true, sort: (consumer) => consumer.prefetch_count, show: (consumer) => count(consumer.prefetch_count) },
      { id: 'active', title: 'Active', minor: true, show: (consumer) => yes(consumer.active) },
      { id: 'arguments', title: 'Arguments', minor: true, show: (consumer) => pairs(consumer.arguments, '–') },
    ],
    key: (consumer) => JSON.stringify([consumer.channel_details?.name, consumer.consumer_tag]),
    search: false,
    empty: 'It has no consumers.',
    changed: () => table.showAll(consumers),
  });
  let consumers = [];
  const update = (told) => {
    consumers = told;
    table.showAll(told);
  };
  return { node: table.node, update };
}

function purge(base, name, done) {
  confirm(`Purge ${name}?`, 'All messages that are ready are deleted. Those that consumers have stay.', 'Purge', async () => {
    await ask('DELETE', `${base}/contents`);
    notice(`${name} is purged.`);
    done();
  });
}

function remove(base, name) {
  const fields = [
    { name: 'empty', label: 'Only if it is empty', type: 'check' },
    { name: 'unused', label: 'Only if it has no consumers', type: 'check' },
  ];
  const submit = async ({ empty, unused }) => {
    await ask('DELETE', `${base}?if-empty=${empty}&if-unused=${unused}`);
    notice(`${name} is deleted.`);
    go('queues');
  };
  formDialog(`Delete ${name}?`, fields, { action: 'Delete', danger: true, submit, text: 'The queue goes with its messages and bindings.' });
}

function move(base, name, done) {
  const progress = h('span');
  const submit = async ({ to }) => {
    const { messages } = await askLong('POST', `${base}/move`, { to }, (moved, of) => {
      progress.textContent = ` ${count(moved)} of ${count(of)}`;
    });
    notice(`${count(messages)} messages are moved.`);
    done();
  };
  const text = h('span', `All messages of ${name} that are ready go to the end of another queue of its vhost.`, progress);
  formDialog('Move messages', [{ name: 'to', label: 'To queue', required: true }], { action: 'Move', submit, text });
}
