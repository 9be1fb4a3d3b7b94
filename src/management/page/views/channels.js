// Channels, and one of them.

import { path } from '../api.js';
import { Chart, pastOfOne, ranges } from '../chart.js';
import { h } from '../dom.js';
import { compact, count, moment, rate, yes } from '../format.js';
import { badge, channelLink, connectionLink, exchangeLink, facts, heading, queueLink, section, state, tiles } from '../parts.js';
import { session } from '../session.js';
import { Table } from '../table.js';

const rateOf = (key) => (channel) => rate(channel.message_stats?.[`${key}_details`]?.rate ?? 0);

// Those of channels of one connection, or of many.
export function channelColumns() {
  return [
    { id: 'name', title: 'Channel', sort: 'name', kind: 'long', fields: ['name'], show: (channel) => channelLink(channel.name) },
    { id: 'user', title: 'User', sort: 'user', minor: true, fields: ['user'], show: (channel) => channel.user },
    { id: 'mode', title: 'Mode', minor: true, fields: ['confirm', 'transactional'], show: (channel) => [channel.confirm && badge('C', '', 'confirms'), channel.transactional && badge('T', '', 'transactional')] },
    { id: 'state', title: 'State', sort: 'state', minor: true, fields: ['state'], show: (channel) => state(channel.state) },
    { id: 'consumers', title: 'Consumers', sort: 'consumer_count', number: true, minor: true, fields: ['consumer_count'], show: (channel) => count(channel.consumer_count) },
    { id: 'prefetch', title: 'Prefetch', sort: 'prefetch_count', number: true, minor: true, fields: ['prefetch_count'], show: (channel) => count(channel.prefetch_count) },
    { id: 'unacked', title: 'Unacked', sort: 'messages_unacknowledged', number: true, fields: ['messages_unacknowledged'], show: (channel) => count(channel.messages_unacknowledged) },
    { id: 'unconfirmed', title: 'Unconfirmed', sort: 'messages_unconfirmed', number: true, minor: true, optional: true, fields: ['messages_unconfirmed'], show: (channel) => count(channel.messages_unconfirmed) },
    { id: 'publish', title: 'Published', sort: 'message_stats.publish_details.rate', number: true, fields: ['message_stats'], show: rateOf('publish') },
    { id: 'deliver', title: 'Delivered', sort: 'message_stats.deliver_get_details.rate', number: true, minor: true, fields: ['message_stats'], show: rateOf('deliver_get') },
    { id: 'ack', title: 'Acknowledged', sort: 'message_stats.ack_details.rate', number: true, minor: true, fields: ['message_stats'], show: rateOf('ack') },
  ];
}

export function channels({ scope }) {
  const vhost = session.vhost === '' && { id: 'vhost', title: 'Vhost', sort: 'vhost', minor: true, fields: ['vhost'], show: (channel) => channel.vhost };
  const [name, ...others] = channelColumns();
  const table = new Table({
    id: 'channels',
    label: 'Channels',
    columns: [name, vhost, ...others],
    key: (channel) => channel.name,
    noted: true,
    sort: 'name',
    empty: 'There are no channels.',
    changed: () => anew(),
  });
  const base = session.vhost === '' ? 'channels' : `vhosts/${path(session.vhost)}/channels`;
  const anew = scope.watch(() => `${base}?${table.query}`, (page) => table.showPage(page), { failed: (error) => table.fail(error) });
  return { title: 'Channels', content: [heading('Channels').node, table.node] };
}

export function channel({ names: [name], scope }) {
  const base = path('channels', name);
  const again = () => anew();
  const head = heading(name, { of: 'Channel', actions: [ranges(again)] });
  const figures = tiles(['publish', 'Published'], ['deliver', 'Delivered'], ['unacked', 'Unacknowledged'], ['unconfirmed', 'Unconfirmed']);
  const flow = new Chart('Messages a second', FLOW, rate);
  const about = facts(...FACTS);
  const [to, from] = [h('div'), h('div')];
  const published = countTable('channel.publishes', 'Exchanges', 'publish', 'It has published to no exchange.', ({ exchange }) => exchangeLink(exchange.vhost, exchange.name));
  const delivered = countTable('channel.deliveries', 'Queues', 'deliver_get', 'It was given nothing of any queue.', ({ queue }) => queueLink(queue.vhost, queue.name));
  to.append(published.node);
  from.append(delivered.node);
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const show = (told) => {
    trouble.hidden = true;
    head.mark(state(told.state), told.confirm && badge('confirms'), told.transactional && badge('transactional'));
    const stats = told.message_stats ?? {};
    figures.update('publish', rate(stats.publish_details?.rate ?? 0), `${count(stats.publish ?? 0)} in all`);
    figures.update('deliver', rate(stats.deliver_get_details?.rate ?? 0), `${count(stats.deliver_get ?? 0)} in all`);
    figures.update('unacked', compact(told.messages_unacknowledged));
    figures.update('unconfirmed', compact(told.messages_unconfirmed));
    flow.update(stats);
    about.update(told);
    published.update(told.publishes ?? []);
    delivered.update(told.deliveries ?? []);
  };
  const failed = (error) => {
    trouble.textContent = error.status === 404 ? 'It is closed.' : error.message;
    trouble.hidden = false;
  };
  const anew = scope.watch(() => `${base}?${pastOfOne('msg_rates')}`, show, { failed });
  const content = [head.node, trouble, figures.node, flow.node, section('About', about.node), section('Published to', to), section('Delivered from', from)];
  return { title: name, content };
}

const FLOW = [
  { label: 'Published', of: (told) => told.publish_details, rate: true },
  { label: 'Delivered', of: (told) => told.deliver_get_details, rate: true },
  { label: 'Acknowledged', of: (told) => told.ack_details, rate: true, dashed: true },
  { label: 'Confirmed', of: (told) => told.confirm_details, rate: true, dashed: true },
];

const FACTS = [
  ['Connection', (told) => connectionLink(told.connection_details.name)],
  ['User', (told) => told.user],
  ['Vhost', (told) => told.vhost],
  ['Confirms', (told) => yes(told.confirm)],
  ['Transactional', (told) => yes(told.transactional)],
  ['Consumers', (told) => count(told.consumer_count)],
  ['Prefetch of a consumer', (told) => (told.prefetch_count > 0 ? count(told.prefetch_count) : 'no limit')],
  ['Prefetch of the channel', (told) => (told.global_prefetch_count > 0 ? count(told.global_prefetch_count) : 'no limit')],
  ['Not committed', (told) => (told.transactional ? `${count(told.messages_uncommitted)} messages, ${count(told.acks_uncommitted)} acknowledgements` : null)],
  ['Idle since', (told) => (told.idle_since ? moment(Date.parse(told.idle_since)) : null)],
];

// What a channel counts for each exchange or queue.
function countTable(id, label, key, empty, link) {
  const name = (row) => (row.exchange ?? row.queue).name;
  const table = new Table({
    id,
    label,
    columns: [
      { id: 'name', title: 'Name', kind: 'long', sort: name, show: link },
      { id: 'count', title: 'Messages', number: true, sort: (row) => row.stats[key] ?? 0, show: (row) => count(row.stats[key] ?? 0) },
      { id: 'rate', title: 'Rate', number: true, sort: (row) => row.stats[`${key}_details`]?.rate ?? 0, show: (row) => rate(row.stats[`${key}_details`]?.rate ?? 0) },
    ],
    key: name,
    search: false,
    sort: 'name',
    empty,
    changed: () => table.showAll(rows),
  });
  let rows = [];
  const update = (told) => {
    rows = told;
    table.showAll(told);
  };
  return { node: table.node, update };
}
