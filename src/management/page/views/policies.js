// Policies, and those of operators.

import { ask, path } from '../api.js';
import { confirm, formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { count } from '../format.js';
import { button, heading, notice, pairs, section, vhostBelow } from '../parts.js';
import { may, session } from '../session.js';
import { Table } from '../table.js';

const APPLY = [['all', 'queues and exchanges'], ['queues', 'queues'], ['classic_queues', 'classic queues'], ['quorum_queues', 'quorum queues'], ['exchanges', 'exchanges']];

export function policies({ scope }) {
  const own = policyTable('policies', 'Policies', may('policymaker'), scope);
  const operators = policyTable('operator-policies', 'Operator policies', may('administrator'), scope);
  const about = h('p.faint', 'One policy holds for a queue or exchange: that of the highest priority whose pattern is in its name. Of operator policies the lower limit holds.');
  return {
    title: 'Policies',
    content: [heading('Policies').node, about, section('Policies', own), section('Operator policies', operators)],
  };
}

function policyTable(kind, label, governs, scope) {
  const table = new Table({
    id: kind,
    label,
    columns: [
      { id: 'name', title: 'Name', kind: 'long', sort: (policy) => policy.name, show: (policy) => [h('strong', policy.name), vhostBelow(policy.vhost)] },
      session.vhost === '' && { id: 'vhost', title: 'Vhost', minor: true, sort: (policy) => policy.vhost, show: (policy) => policy.vhost },
      { id: 'pattern', title: 'Pattern', kind: 'long', sort: (policy) => policy.pattern, show: (policy) => [h('code', policy.pattern), h('div.phone', pairs(policy.definition))] },
      { id: 'apply', title: 'For', minor: true, sort: (policy) => policy['apply-to'], show: (policy) => new Map(APPLY).get(policy['apply-to']) ?? policy['apply-to'] },
      { id: 'definition', title: 'Sets', minor: true, kind: 'long', show: (policy) => pairs(policy.definition) },
      { id: 'priority', title: 'Priority', number: true, minor: true, sort: (policy) => policy.priority, show: (policy) => count(policy.priority) },
      governs && { id: 'act', title: '', kind: 'act', show: (policy) => [button('Edit', () => edit(kind, policy, anew), { kind: 'small' }), button('Delete', () => remove(kind, policy, anew), { kind: 'small' })] },
    ],
    key: (policy) => JSON.stringify([policy.vhost, policy.name]),
    sort: 'name',
    empty: 'There are none.',
    tools: [governs && button('Add', () => edit(kind, null, anew), { kind: 'small', sign: 'plus' })],
    changed: () => table.showAll(all),
  });
  let all = [];
  const anew = scope.watch(session.vhost === '' ? kind : path(kind, session.vhost), (told) => {
    all = told;
    table.showAll(all, (policy) => policy.name);
  });
  return table.node;
}

// Adds a policy, or changes one.
function edit(kind, policy, done) {
  const fields = [
    policy === null && { name: 'vhost', label: 'Vhost', type: 'select', options: session.vhosts, value: session.vhost || '/' },
    policy === null && { name: 'name', label: 'Name', required: true },
    { name: 'pattern', label: 'Pattern', value: policy?.pattern, hint: 'a regular expression; empty is every name' },
    { name: 'apply', label: 'For', type: 'select', options: APPLY, value: policy?.['apply-to'] ?? 'queues' },
    { name: 'priority', label: 'Priority', type: 'number', value: policy?.priority ?? 0, required: true },
    { name: 'definition', label: 'Sets', type: 'pairs', value: policy?.definition, hint: 'such as max-length, message-ttl, dead-letter-exchange, delivery-limit' },
  ];
  const submit = async ({ vhost = policy?.vhost, name = policy?.name, pattern, apply, priority, definition }) => {
    const body = { pattern, definition, priority, 'apply-to': apply };
    const take = (response) => response.headers.get('leveret-unheeded');
    const unheeded = await ask('PUT', path(kind, vhost, name), { body, take });
    if (unheeded) notice(`Policy ${name} is kept. Of what it sets, this makes no difference here: ${unheeded}.`, 'warn');
    else notice(`Policy ${name} holds.`);
    done();
  };
  formDialog(policy === null ? 'Add policy' : `Edit ${policy.name}`, fields, { action: policy === null ? 'Add' : 'Save', submit });
}

function remove(kind, { vhost, name }, done) {
  confirm(`Delete policy ${name}?`, 'What it sets does not hold any more.', 'Delete', async () => {
    await ask('DELETE', path(kind, vhost, name));
    notice(`Policy ${name} is deleted.`);
    done();
  });
}
