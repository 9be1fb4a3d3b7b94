// Virtual hosts.

import { ask, path } from '../api.js';
import { confirm, formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { compact, rate } from '../format.js';
import { badge, button, heading, notice } from '../parts.js';
import { loadVhosts, may } from '../session.js';
import { Table } from '../table.js';

export function vhosts({ scope, showSession }) {
  const again = async () => {
    anew();
    await loadVhosts();
    showSession();
  };
  const governs = may('administrator');
  const table = new Table({
    id: 'vhosts',
    label: 'Virtual hosts',
    columns: [
      { id: 'name', title: 'Name', kind: 'long', sort: (vhost) => vhost.name, show: (vhost) => [h('strong', vhost.name), vhost.description && h('span.under', vhost.description)] },
      { id: 'features', title: 'Features', minor: true, show: features },
      { id: 'ready', title: 'Ready', number: true, sort: (vhost) => vhost.messages_ready ?? 0, show: (vhost) => compact(vhost.messages_ready ?? 0) },
      { id: 'unacked', title: 'Unacked', number: true, minor: true, sort: (vhost) => vhost.messages_unacknowledged ?? 0, show: (vhost) => compact(vhost.messages_unacknowledged ?? 0) },
      { id: 'in', title: 'Published', number: true, minor: true, sort: rateOf('publish'), show: (vhost) => rate(rateOf('publish')(vhost)) },
      { id: 'out', title: 'Delivered', number: true, minor: true, sort: rateOf('deliver_get'), show: (vhost) => rate(rateOf('deliver_get')(vhost)) },
      governs && { id: 'act', title: '', kind: 'act', show: (vhost) => [button('Edit', () => edit(vhost, again), { kind: 'small' }), button('Delete', () => remove(vhost, again), { kind: 'small' })] },
    ],
    key: (vhost) => vhost.name,
    noted: true,
    sort: 'name',
    empty: 'There are no vhosts.',
    changed: () => table.showAll(all),
  });
  let all = [];
  const anew = scope.watch('vhosts', (told) => {
    all = told;
    table.showAll(all);
  });
  const add = governs && button('Add vhost', () => edit(null, again), { kind: 'primary', sign: 'plus' });
  return { title: 'Virtual hosts', content: [heading('Virtual hosts', { actions: [add] }).node, table.node] };
}

const rateOf = (key) => (vhost) => vhost.message_stats?.[`${key}_details`]?.rate ?? 0;

function features(vhost) {
  return [
    vhost.protected_from_deletion && badge('protected', 'good', 'it cannot be deleted'),
    vhost.default_queue_type && vhost.default_queue_type !== 'classic' && badge(vhost.default_queue_type, '', 'type of queues that name none'),
    vhost.tracing && badge('traced', 'warn'),
    (vhost.tags ?? []).map((tag) => badge(tag)),
  ];
}

// Adds a vhost, or changes one.
function edit(vhost, done) {
  const fields = [
    vhost === null && { name: 'name', label: 'Name', required: true },
    { name: 'description', label: 'Description', value: vhost?.description },
    { name: 'tags', label: 'Tags', value: (vhost?.tags ?? []).join(', '), hint: 'with commas between them' },
    { name: 'type', label: 'Type of queues that name none', type: 'select', options: ['classic', 'quorum'], value: vhost?.default_queue_type },
    { name: 'protected', label: 'Protected from deletion', type: 'check', value: vhost?.protected_from_deletion },
  ];
  const submit = async ({ name = vhost?.name, description, tags, type, protected: isProtected }) => {
    const body = { description, tags: words(tags), default_queue_type: type, protected_from_deletion: isProtected };
    await ask('PUT', `vhosts/${path(name)}`, { body });
    notice(`Vhost ${name} is ${vhost === null ? 'there' : 'changed'}.`);
    await done();
  };
  formDialog(vhost === null ? 'Add vhost' : `Edit ${vhost.name}`, fields, { action: vhost === null ? 'Add' : 'Save', submit });
}

const words = (text) => text.split(',').map((word) => word.trim()).filter(Boolean);

function remove({ name }, done) {
  const text = 'It goes with its queues, their messages, its exchanges, policies and permissions. Its connections are closed.';
  confirm(`Delete vhost ${name}?`, text, 'Delete', async () => {
    await ask('DELETE', `vhosts/${path(name)}`);
    notice(`Vhost ${name} is deleted.`);
    await done();
  });
}
