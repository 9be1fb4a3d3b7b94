// All exchanges, of one vhost or of all.

import { ask, path } from '../api.js';
import { formDialog } from '../dialog.js';
import { rate } from '../format.js';
import { badge, button, exchangeLink, heading, notice, vhostBelow } from '../parts.js';
import { session } from '../session.js';
import { Table } from '../table.js';

const rateOf = (key) => (exchange) => rate(exchange.message_stats?.[`${key}_details`]?.rate ?? 0);

function columns() {
  return [
    { id: 'name', title: 'Name', sort: 'name', kind: 'long', fields: ['name', 'vhost'], show: (exchange) => [exchangeLink(exchange.vhost, exchange.name), vhostBelow(exchange.vhost)] },
    session.vhost === '' && { id: 'vhost', title: 'Vhost', sort: 'vhost', minor: true, fields: ['vhost'], show: (exchange) => exchange.vhost },
    { id: 'type', title: 'Type', sort: 'type', fields: ['type'], show: (exchange) => badge(exchange.type) },
    { id: 'features', title: 'Features', minor: true, fields: ['durable', 'auto_delete', 'internal', 'arguments', 'policy'], show: features },
    { id: 'in', title: 'In', sort: 'message_stats.publish_in_details.rate', number: true, fields: ['message_stats'], show: rateOf('publish_in') },
    { id: 'out', title: 'Out', sort: 'message_stats.publish_out_details.rate', number: true, minor: true, fields: ['message_stats'], show: rateOf('publish_out') },
  ];
}

// What an exchange is, in short.
export function features({ durable, auto_delete: autoDelete, internal, arguments: given = {}, policy }) {
  return [
    durable && badge('D', '', 'durable'),
    autoDelete && badge('AD', '', 'deleted with its last binding'),
    internal && badge('I', '', 'internal: nobody publishes to it'),
    Object.keys(given).length > 0 && badge('Args', '', JSON.stringify(given)),
    policy && badge(policy, 'policy', 'its policy'),
  ];
}

export function exchanges({ scope }) {
  const table = new Table({
    id: 'exchanges',
    label: 'Exchanges',
    columns: columns(),
    key: (exchange) => JSON.stringify([exchange.vhost, exchange.name]),
    noted: true,
    sort: 'name',
    empty: 'There are no exchanges.',
    changed: () => anew(),
  });
  const base = session.vhost === '' ? 'exchanges' : path('exchanges', session.vhost);
  const anew = scope.watch(() => `${base}?${table.query}`, (page) => table.showPage(page), { failed: (error) => table.fail(error) });
  const add = button('Add exchange', () => addExchange(anew), { kind: 'primary', sign: 'plus' });
  return { title: 'Exchanges', content: [heading('Exchanges', { actions: [add] }).node, table.node] };
}

function addExchange(done) {
  const fields = [
    { name: 'vhost', label: 'Vhost', type: 'select', options: session.vhosts, value: session.vhost || '/' },
    { name: 'name', label: 'Name', required: true },
    { name: 'type', label: 'Type', type: 'select', options: ['direct', 'fanout', 'topic', 'headers'] },
    { name: 'durable', label: 'Durable', type: 'check', value: true },
    { name: 'auto_delete', label: 'Deleted with its last binding', type: 'check' },
    { name: 'internal', label: 'Internal', type: 'check', hint: 'Only exchanges that it is bound to pass messages on to it.' },
    { name: 'arguments', label: 'Arguments', type: 'pairs', hint: 'such as alternate-exchange' },
  ];
  const submit = async ({ vhost, name, ...body }) => {
    await ask('PUT', `exchanges/${path(vhost, name)}`, { body });
    notice(`Exchange ${name} is there.`);
    done();
  };
  formDialog('Add exchange', fields, { action: 'Add', submit });
}
