// Limits of vhosts and users.

import { ask, path } from '../api.js';
import { confirm, formDialog } from '../dialog.js';
import { count } from '../format.js';
import { button, heading, notice, section } from '../parts.js';
import { may, session } from '../session.js';
import { Table } from '../table.js';

const OF = {
  vhost: { where: 'vhost-limits', label: 'Limits of vhosts', limits: [['max-connections', 'connections'], ['max-queues', 'queues']] },
  user: { where: 'user-limits', label: 'Limits of users', limits: [['max-connections', 'connections'], ['max-channels', 'channels']] },
};

export function limits({ scope }) {
  const content = [heading('Limits').node, section(OF.vhost.label, limitTable('vhost', scope))];
  if (may('administrator')) content.push(section(OF.user.label, limitTable('user', scope)));
  return { title: 'Limits', content };
}

function limitTable(kind, scope) {
  const { where, label, limits } = OF[kind];
  const governs = may('administrator');
  const table = new Table({
    id: where,
    label,
    columns: [
      { id: 'of', title: kind === 'vhost' ? 'Vhost' : 'User', kind: 'long', sort: (row) => row.of, show: (row) => row.of },
      { id: 'limit', title: 'At most', sort: (row) => row.limit, show: (row) => new Map(limits).get(row.limit) ?? row.limit },
      { id: 'value', title: 'Number', number: true, sort: (row) => row.value, show: (row) => (row.value < 0 ? 'no limit' : count(row.value)) },
      governs && { id: 'act', title: '', kind: 'act', show: (row) => button('Clear', () => clear(where, row, anew), { kind: 'small' }) },
    ],
    key: (row) => JSON.stringify([row.of, row.limit]),
    search: false,
    sort: 'of',
    empty: 'There are none.',
    tools: [governs && button('Set limit', () => set(kind, anew), { kind: 'small', sign: 'plus' })],
    changed: () => table.showAll(all),
  });
  let all = [];
  const anew = scope.watch(where, (told) => {
    all = told.flatMap((row) => Object.entries(row.value).map(([limit, value]) => ({ of: row.vhost ?? row.user, limit, value })));
    table.showAll(all);
  });
  return table.node;
}

function set(kind, done) {
  const { where, limits } = OF[kind];
  const fields = [
    kind === 'vhost'
      ? { name: 'of', label: 'Vhost', type: 'select', options: session.vhosts, value: session.vhost || '/' }
      : { name: 'of', label: 'User', required: true },
    { name: 'limit', label: 'At most so many', type: 'select', options: limits },
    { name: 'value', label: 'Number', type: 'number', required: true, hint: 'less than 0 is no limit' },
  ];
  const submit = async ({ of, limit, value }) => {
    await ask('PUT', path(where, of, limit), { body: { value } });
    notice('The limit holds.');
    done();
  };
  formDialog('Set limit', fields, { action: 'Set', submit });
}

function clear(where, { of, limit }, done) {
  confirm('Clear this limit?', `${of} may have as many as there is room for.`, 'Clear', async () => {
    await ask('DELETE', path(where, of, limit));
    notice('The limit is cleared.');
    done();
  });
}
