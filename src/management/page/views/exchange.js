// One exchange.

import { ask, path } from '../api.js';
import { Chart, pastOfOne, ranges } from '../chart.js';
import { formDialog } from '../dialog.js';
import { h } from '../dom.js';
import { exchangeName, rate, yes } from '../format.js';
import { publishForm } from '../message.js';
import { badge, button, facts, folded, heading, notice, pairs, section } from '../parts.js';
import { go } from '../place.js';
import { bindForm, bindingTable } from './bindings.js';
import { neighbourhood } from './topology.js';

// How paths name the default exchange, whose name is empty.
const DEFAULT = 'amq.default';

export function exchange({ names: [vhost, named], scope }) {
  const name = named === DEFAULT ? '' : named;
  const base = `exchanges/${path(vhost, named)}`;
  const again = () => asked.forEach((anew) => anew());
  const isOwn = name !== '' && !name.startsWith('amq.');
  const head = heading(exchangeName(name), {
    of: `Exchange in ${vhost}`,
    actions: [isOwn && button('Delete', () => remove(base, name), { kind: 'danger' }), ranges(again)],
  });
  const flow = new Chart('Messages a second', FLOW, rate);
  const about = facts(...FACTS);
  const to = bindingTable({ id: 'exchange.to', label: 'Bindings from here', side: 'destination', empty: 'Nothing is bound to it.', changed: again });
  const from = bindingTable({ id: 'exchange.from', label: 'Bindings to here', side: 'source', empty: 'It is bound to no other exchange.', changed: again });
  const near = neighbourhood('exchange', vhost, name);
  const trouble = h('p.trouble', { role: 'alert' });
  trouble.hidden = true;
  const publishing = folded('Publish a message', publishForm(vhost, named, '', again));
  const show = (told) => {
    trouble.hidden = true;
    head.mark(badge(told.type));
    flow.update(told.message_stats ?? {});
    about.update(told);
    near.update({ told });
    publishing.hidden = told.internal;
  };
  const showBindings = (table, side) => (told) => {
    table.update(told);
    near.update({ [side]: told });
  };
  const failed = (error) => {
    trouble.textContent = error.status === 404 ? 'There is no such exchange any more.' : error.message;
    trouble.hidden = false;
  };
  const asked = [
    scope.watch(() => `${base}?${pastOfOne('msg_rates')}`, show, { failed }),
    scope.watch(`${base}/bindings/source`, showBindings(to, 'from')),
    name !== '' && scope.watch(`${base}/bindings/destination`, showBindings(from, 'to')),
  ].filter(Boolean);
  const target = [
    { name: 'type', label: 'To', type: 'select', options: [['queue', 'queue'], ['exchange', 'exchange']] },
    { name: 'destination', label: 'Name', required: true },
  ];
  const ends = ({ type, destination }) => ({ source: name, destination_type: type, destination });
  const content = [
    head.node,
    trouble,
    flow.node,
    section('About', about.node),
    section('Bindings from here', to.node),
    name !== '' && section('Bindings to here', from.node),
    name !== '' && section('Topology', near.node),
    name !== '' && folded('Bind', bindForm(vhost, target, ends, again)),
    publishing,
  ];
  return { title: exchangeName(name), content: content.filter(Boolean) };
}

const FLOW = [
  { label: 'In', of: (told) => told.publish_in_details, rate: true },
  { label: 'Out', of: (told) => told.publish_out_details, rate: true },
];

const FACTS = [
  ['Durable', (told) => yes(told.durable)],
  ['Deleted with its last binding', (told) => yes(told.auto_delete)],
  ['Internal', (told) => yes(told.internal)],
  ['Policy', (told) => told.policy ?? 'none'],
  ['What policies set', (told) => pairs(told.effective_policy_definition)],
  ['Arguments', (told) => pairs(told.arguments)],
];

function remove(base, name) {
  const fields = [{ name: 'unused', label: 'Only if nothing is bound to it', type: 'check' }];
  const submit = async ({ unused }) => {
    await ask('DELETE', `${base}?if-unused=${unused}`);
    notice(`${name} is deleted.`);
    go('exchanges');
  };
  formDialog(`Delete ${name}?`, fields, { action: 'Delete', danger: true, submit, text: 'The exchange goes with its bindings.' });
}
