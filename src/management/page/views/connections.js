// Connections of clients, and one of them.

import { ask, path } from '../api.js';
import { Chart, pastOfOne, ranges } from '../chart.js';
import { formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { byteRate, bytes, count, moment, plain } from '../format.js';
import { badge, button, connectionLink, facts, heading, notice, pairs, section, state, tiles } from '../parts.js';
import { go } from '../place.js';
import { session } from '../session.js';
import { Table } from '../table.js';
import { channelColumns } from './channels.js';

function columns() {
  return [
    { id: 'name', title: 'Name', sort: 'name', kind: 'long', fields: ['name', 'user_provided_name'], show: named },
    session.vhost === '' && { id: 'vhost', title: 'Vhost', sort: 'vhost', minor: true, fields: ['vhost'], show: (connection) => connection.vhost },
    { id: 'user', title: 'User', sort: 'user', minor: true, fields: ['user'], show: (connection) => connection.user },
    { id: 'state', title: 'State', sort: 'state', fields: ['state'], show: (connection) => state(connection.state) },
    { id: 'tls', title: 'TLS', sort: 'ssl', minor: true, fields: ['ssl', 'ssl_protocol'], show: (connection) => (connection.ssl ? badge(connection.ssl_protocol, 'good') : '–') },
    { id: 'channels', title: 'Channels', sort: 'channels', number: true, minor: true, fields: ['channels'], show: (connection) => count(connection.channels) },
    { id: 'from', title: 'From client', sort: 'recv_oct_details.rate', number: true, fields: ['recv_oct_details'], show: (connection) => byteRate(connection.recv_oct_details?.rate) },
    { id: 'to', title: 'To client', sort: 'send_oct_details.rate', number: true, minor: true, fields: ['send_oct_details'], show: (connection) => byteRate(connection.send_oct_details?.rate) },
    { id: 'client', title: 'Client', minor: true, optional: true, fields: ['client_properties'], show: ({ client_properties: { product, version } = {} }) => [product, version].filter(Boolean).map(plain).join(' ') || '–' },
    { id: 'since', title: 'Since', sort: 'connected_at', minor: true, optional: true, fields: ['connected_at'], show: (connection) => moment(connection.connected_at) },
  ];
}

const named = ({ name, user_provided_name: own }) => [connectionLink(name), own && h('span.under', own)];

export function connections({ scope }) {
  const table = new Table({
    id: 'connections',
    label: 'Connections',
    columns: columns(),
    key: (connection) => connection.name,
    noted: true,
    sort: 'name',
    empty: 'Nobody is connected.',
    changed: () => anew(),
  });
  const base = session.vhost === '' ? 'connections' : `vhosts/${path(session.vhost)}/connections`;
  const anew = scope.watch(() => `${base}?${table.query}`, (page) => table.showPage(page), { failed: (error) => table.fail(error) });
  return { title: 'Connections', content: [heading('Connections').node, table.node] };
}

export function connection({ names: [name], scope }) {
  const base = path('connections', name);
  const again = () => asked.forEach((anew) => anew());
  const head = heading(name, { of: 'Connection', actions: [button('Close', () => close(base, name), { kind: 'danger' }), ranges(again)] });
  const figures = tiles(['from', 'From client'], ['to', 'To client'], ['channels', 'Channels']);
  const flow = new Chart('Bytes a second', FLOW, byteRate);
  const about = facts(...FACTS);
  const channels = new Table({
    id: 'connection.channels',
    label: 'Channels',
    columns: channelColumns(),
    key: (channel) => channel.name,
    search: false,
    sort: 'name',
    empty: 'It has no channels.',
    changed: () => anew(),
  });
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const show = (told) => {
    trouble.hidden = true;
    head.mark(state(told.state), told.ssl && badge('TLS', 'good'));
    figures.update('from', byteRate(told.recv_oct_details.rate), `${bytes(told.recv_oct)} in all`);
    figures.update('to', byteRate(told.send_oct_details.rate), `${bytes(told.send_oct)} in all`);
    figures.update('channels', count(told.channels), `at most ${count(told.channel_max)}`);
    flow.update(told);
    about.update(told);
  };
  const failed = (error) => {
    trouble.textContent = error.status === 404 ? 'It is closed.' : error.message;
    trouble.hidden = false;
  };
  const anew = scope.watch(() => `${base}/channels?${channels.query}`, (page) => channels.showPage(page), { failed: (error) => channels.fail(error) });
  const asked = [anew, scope.watch(() => `${base}?${pastOfOne('data_rates')}`, show, { failed })];
  return {
    title: name,
    content: [head.node, trouble, figures.node, flow.node, section('About', about.node), section('Channels', channels.node)],
  };
}

const FLOW = [
  { label: 'From client', of: (told) => told.recv_oct_details, rate: true },
  { label: 'To client', of: (told) => told.send_oct_details, rate: true },
];

const FACTS = [
  ['Name of its own', (told) => told.user_provided_name],
  ['User', (told) => told.user],
  ['Vhost', (told) => told.vhost],
  ['Protocol', (told) => told.protocol],
  ['Login', (told) => told.auth_mechanism],
  ['Connected', (told) => moment(told.connected_at)],
  ['Heartbeat', (told) => (told.timeout > 0 ? `${told.timeout} s` : 'none')],
  ['Largest frame', (told) => bytes(told.frame_max)],
  ['Encryption', (told) => (told.ssl ? `${told.ssl_protocol}, ${told.ssl_cipher}` : 'none')],
  ['Certificate of the client', (told) => told.peer_cert_subject],
  ['Client', (told) => pairs(told.client_properties)],
];

function close(base, name) {
  const fields = [{ name: 'reason', label: 'Reason, which the client is told' }];
  const submit = async ({ reason }) => {
    // A header is not for every letter.
    const plainReason = reason.replace(/[^\x20-\x7e]/g, '?');
    await ask('DELETE', base, { headers: plainReason ? { 'X-Reason': plainReason } : {} });
    notice(`${name} is closed.`);
    go('connections');
  };
  formDialog('Close this connection?', fields, { action: 'Close', danger: true, submit, text: `${name}: its exclusive queues go with it; what was not acknowledged is delivered again.` });
}
