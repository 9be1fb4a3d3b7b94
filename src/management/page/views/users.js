// Users, and what they may do in which vhost.

import { ask, path } from '../api.js';
import { confirm, formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { at, go } from '../place.js';
import { badge, button, facts, heading, notice, pairs, section } from '../parts.js';
import { session } from '../session.js';
import { Table } from '../table.js';

const TAGS = ['administrator', 'monitoring', 'policymaker', 'management', 'impersonator'];

export function users({ scope }) {
  const table = new Table({
    id: 'users',
    label: 'Users',
    columns: [
      { id: 'name', title: 'Name', kind: 'long', sort: (user) => user.name, show: (user) => h('a.name', { href: at('users', user.name) }, user.name) },
      { id: 'tags', title: 'Tags', show: (user) => tagBadges(user) },
      { id: 'vhosts', title: 'May enter', minor: true, kind: 'long', show: (user) => vhostsOf(user.name) },
      { id: 'password', title: 'Password', minor: true, show: (user) => user.hashing_algorithm ?? 'none' },
    ],
    key: (user) => user.name,
    noted: true,
    sort: 'name',
    empty: 'There are no users.',
    changed: () => table.showAll(all),
  });
  let all = [];
  let permissions = [];
  const vhostsOf = (name) => permissions.filter(({ user }) => user === name).map(({ vhost }) => badge(vhost));
  const anew = scope.watch('users?columns=name,tags,hashing_algorithm', (told) => {
    all = told;
    table.showAll(all);
  });
  scope.watch('permissions?columns=user,vhost', (told) => {
    permissions = told;
    table.showAll(all);
  });
  const add = button('Add user', () => edit(null, anew), { kind: 'primary', sign: 'plus' });
  return { title: 'Users', content: [heading('Users', { actions: [add] }).node, table.node] };
}

const tagBadges = ({ tags }) => (tags.length > 0 ? tags.map((tag) => badge(tag, tag === 'administrator' ? 'policy' : '')) : h('span.faint', 'none'));

export function user({ names: [name], scope }) {
  let known = { name, tags: [], limits: {} };
  const again = () => asked.forEach((anew) => anew());
  const head = heading(name, {
    of: 'User',
    actions: [
      button('Edit', () => edit(known, again)),
      button('Delete', () => remove(name), { kind: 'danger' }),
    ],
  });
  const about = facts(
    ['Tags', tagBadges],
    ['Password', (told) => told.hashing_algorithm ?? 'none: it logs in by a certificate or a token'],
    ['Connections', ({ limits }) => limits['max-connections'] ?? 'no limit'],
    ['Channels', ({ limits }) => limits['max-channels'] ?? 'no limit'],
  );
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const failed = (error) => {
    trouble.textContent = error.status === 404 ? 'There is no such user any more.' : error.message;
    trouble.hidden = false;
  };
  const show = (told) => {
    trouble.hidden = true;
    known = told;
    about.update(told);
  };
  const permissions = permissionTable(name, false, () => again());
  const topics = permissionTable(name, true, () => again());
  const asked = [
    scope.watch(path('users', name), show, { failed }),
    scope.watch(`${path('users', name)}/permissions`, permissions.update),
    scope.watch(`${path('users', name)}/topic-permissions`, topics.update),
  ];
  return {
    title: name,
    content: [head.node, trouble, section('About', about.node), section('Permissions', permissions.node), section('Topic permissions', topics.node)],
  };
}

// What a user may do in vhosts, or publish and bind by which routing keys of their topic exchanges.
function permissionTable(user, isTopics, done) {
  const pattern = (id, title) => ({ id, title, minor: true, sort: (row) => row[id], show: (row) => (row[id] === '' ? h('span.faint', 'nothing') : h('code', row[id])) });
  // On a phone they are below the vhost.
  const inShort = ({ configure, write, read }) => {
    const all = { ...(isTopics ? {} : { configure }), write, read };
    return h('div.phone', pairs(Object.fromEntries(Object.entries(all).map(([right, of]) => [right, of || 'nothing']))));
  };
  const table = new Table({
    id: isTopics ? 'user.topics' : 'user.permissions',
    label: isTopics ? 'Topic permissions' : 'Permissions',
    columns: [
      { id: 'vhost', title: 'Vhost', kind: 'long', sort: (row) => row.vhost, show: (row) => [row.vhost, inShort(row)] },
      isTopics && { id: 'exchange', title: 'Exchange', sort: (row) => row.exchange, show: (row) => row.exchange || '(default)' },
      !isTopics && pattern('configure', 'Configure'),
      pattern('write', 'Write'),
      pattern('read', 'Read'),
      { id: 'act', title: '', kind: 'act', show: (row) => [button('Edit', () => permit(user, isTopics, row, done), { kind: 'small' }), button('Clear', () => clear(user, isTopics, row, done), { kind: 'small' })] },
    ],
    key: (row) => JSON.stringify([row.vhost, row.exchange]),
    search: false,
    sort: 'vhost',
    empty: isTopics ? 'Routing keys are not looked at.' : 'The user may enter no vhost.',
    tools: [button(isTopics ? 'Set topic permission' : 'Set permission', () => permit(user, isTopics, null, done), { kind: 'small' })],
    changed: () => table.showAll(rows),
  });
  let rows = [];
  const update = (told) => {
    rows = told;
    table.showAll(rows);
  };
  return { node: table.node, update };
}

function permit(user, isTopics, row, done) {
  const hint = 'a regular expression; empty is nothing, .* everything';
  const fields = [
    row === null && { name: 'vhost', label: 'Vhost', type: 'select', options: session.vhosts, value: session.vhost || '/' },
    isTopics && row === null && { name: 'exchange', label: 'Exchange', required: true },
    !isTopics && { name: 'configure', label: 'Configure', value: row?.configure ?? '.*', hint },
    { name: 'write', label: 'Write', value: row?.write ?? '.*', hint },
    { name: 'read', label: 'Read', value: row?.read ?? '.*', hint },
  ];
  const submit = async ({ vhost = row?.vhost, exchange = row?.exchange, ...patterns }) => {
    const body = isTopics ? { exchange, ...patterns } : patterns;
    await ask('PUT', `${isTopics ? 'topic-permissions' : 'permissions'}/${path(vhost, user)}`, { body });
    notice(`${user} has these permissions in ${vhost}.`);
    done();
  };
  formDialog(isTopics ? `Topic permission of ${user}` : `Permission of ${user}`, fields, { action: 'Set', submit });
}

function clear(user, isTopics, { vhost, exchange }, done) {
  const text = isTopics ? `Routing keys of ${exchange} in ${vhost} are not looked at any more.` : `${user} may not enter ${vhost} any more.`;
  confirm('Clear this permission?', text, 'Clear', async () => {
    const where = isTopics ? path('topic-permissions', vhost, user, exchange) : path('permissions', vhost, user);
    await ask('DELETE', where);
    notice('The permission is cleared.');
    done();
  });
}

// Adds a user, or changes one.
function edit(user, done) {
  const isNew = user === null;
  const other = (user?.tags ?? []).filter((tag) => !TAGS.includes(tag));
  const fields = [
    isNew && { name: 'name', label: 'Name', required: true },
    { name: 'password', label: 'Password', type: 'password', autocomplete: 'new-password', required: isNew, hint: isNew ? null : 'empty: it stays' },
    ...TAGS.map((tag) => ({ name: `tag ${tag}`, label: tag, type: 'check', value: user?.tags.includes(tag) })),
    { name: 'other', label: 'Other tags', value: other.join(', '), hint: 'with commas between them' },
  ];
  const submit = async (values) => {
    const name = values.name ?? user.name;
    const tags = [...TAGS.filter((tag) => values[`tag ${tag}`]), ...values.other.split(',').map((tag) => tag.trim()).filter(Boolean)];
    // The first of these fails if the user is there already: nobody is changed by who wants to add.
    if (isNew) await ask('POST', `${path('users', name)}/added`, { body: { password: values.password } });
    else if (values.password) await ask('PUT', `${path('users', name)}/password`, { body: { password: values.password } });
    await ask('PUT', `${path('users', name)}/tags`, { body: { tags } });
    notice(`User ${name} is ${isNew ? 'there' : 'changed'}.`);
    if (isNew) go('users', name);
    done();
  };
  formDialog(isNew ? 'Add user' : `Edit ${user.name}`, fields, { action: isNew ? 'Add' : 'Save', submit });
}

function remove(name) {
  confirm(`Delete user ${name}?`, 'Its connections are closed.', 'Delete', async () => {
    await ask('DELETE', path('users', name));
    notice(`User ${name} is deleted.`);
    go('users');
  });
}
