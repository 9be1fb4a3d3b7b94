// All queues, of one vhost or of all.

import { ask, path } from '../api.js';
import { formDialog } from '../dialog.js';
import { bytes, count, rate } from '../format.js';
import { badge, button, heading, notice, queueLink, state, vhostBelow } from '../parts.js';
import { session } from '../session.js';
import { Table } from '../table.js';

const rateOf = (key) => (queue) => rate(queue.message_stats?.[`${key}_details`]?.rate ?? 0);

function columns() {
  return [
    { id: 'name', title: 'Name', sort: 'name', kind: 'long', fields: ['name', 'vhost'], show: (queue) => [queueLink(queue.vhost, queue.name), vhostBelow(queue.vhost)] },
    session.vhost === '' && { id: 'vhost', title: 'Vhost', sort: 'vhost', minor: true, fields: ['vhost'], show: (queue) => queue.vhost },
    { id: 'type', title: 'Type', sort: 'type', minor: true, fields: ['type'], show: (queue) => badge(queue.type) },
    { id: 'features', title: 'Features', minor: true, fields: ['durable', 'auto_delete', 'exclusive', 'arguments', 'policy'], show: features },
    { id: 'state', title: 'State', sort: 'state', minor: true, fields: ['state'], show: (queue) => state(queue.state) },
    { id: 'ready', title: 'Ready', sort: 'messages_ready', number: true, fields: ['messages_ready'], show: (queue) => count(queue.messages_ready) },
    { id: 'unacked', title: 'Unacked', sort: 'messages_unacknowledged', number: true, fields: ['messages_unacknowledged'], show: (queue) => count(queue.messages_unacknowledged) },
    { id: 'messages', title: 'Total', sort: 'messages', number: true, minor: true, fields: ['messages'], show: (queue) => count(queue.messages) },
    { id: 'in', title: 'In', sort: 'message_stats.publish_details.rate', number: true, minor: true, fields: ['message_stats'], show: rateOf('publish') },
    { id: 'out', title: 'Out', sort: 'message_stats.deliver_get_details.rate', number: true, minor: true, fields: ['message_stats'], show: rateOf('deliver_get') },
    { id: 'ack', title: 'Ack', sort: 'message_stats.ack_details.rate', number: true, minor: true, optional: true, fields: ['message_stats'], show: rateOf('ack') },
    { id: 'consumers', title: 'Consumers', sort: 'consumers', number: true, minor: true, fields: ['consumers'], show: (queue) => count(queue.consumers) },
    { id: 'bytes', title: 'Size', sort: 'message_bytes', number: true, minor: true, optional: true, fields: ['message_bytes'], show: (queue) => bytes(queue.message_bytes) },
    { id: 'memory', title: 'Memory', sort: 'memory', number: true, minor: true, optional: true, fields: ['memory'], show: (queue) => bytes(queue.memory) },
  ];
}

// What a queue is, in short. Words for what the letters mean come with them.
export function features({ durable, auto_delete: autoDelete, exclusive, arguments: given = {}, policy }) {
  return [
    durable && badge('D', '', 'durable'),
    autoDelete && badge('AD', '', 'deleted with its last consumer'),
    exclusive && badge('Excl', '', 'of one connection'),
    Object.keys(given).length > 0 && badge('Args', '', JSON.stringify(given)),
    policy && badge(policy, 'policy', 'its policy'),
  ];
}

export function queues({ scope }) {
  const table = new Table({
    id: 'queues',
    label: 'Queues',
    columns: columns(),
    key: (queue) => JSON.stringify([queue.vhost, queue.name]),
    noted: true,
    sort: 'name',
    empty: 'There are no queues yet.',
    changed: () => anew(),
  });
  const base = session.vhost === '' ? 'queues' : path('queues', session.vhost);
  const anew = scope.watch(() => `${base}?${table.query}`, (page) => table.showPage(page), { failed: (error) => table.fail(error) });
  const add = button('Add queue', () => addQueue(anew), { kind: 'primary', sign: 'plus' });
  return { title: 'Queues', content: [heading('Queues', { actions: [add] }).node, table.node] };
}

function addQueue(done) {
  const fields = [
    { name: 'vhost', label: 'Vhost', type: 'select', options: session.vhosts, value: session.vhost || '/' },
    { name: 'name', label: 'Name', required: true },
    { name: 'type', label: 'Type', type: 'select', options: ['classic', 'quorum'] },
    { name: 'durable', label: 'Durable', type: 'check', value: true },
    { name: 'auto_delete', label: 'Deleted with its last consumer', type: 'check' },
    { name: 'arguments', label: 'Arguments', type: 'pairs', hint: 'such as x-max-length, x-message-ttl, x-dead-letter-exchange' },
  ];
  const submit = async ({ vhost, name, type, durable, auto_delete, arguments: given }) => {
    await ask('PUT', `queues/${path(vhost, name)}`, { body: { durable, auto_delete, arguments: { 'x-queue-type': type, ...given } } });
    notice(`Queue ${name} is there.`);
    done();
  };
  formDialog('Add queue', fields, { action: 'Add', submit });
}
