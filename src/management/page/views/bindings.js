// Bindings, as the views of queues and exchanges show them.

import { ask, path } from '../api.js';
import { confirm, form } from '../dialog.js';
import { button, exchangeLink, notice, pairs, queueLink } from '../parts.js';
import { Table } from '../table.js';

const key = (binding) => JSON.stringify([binding.source, binding.destination_type, binding.destination, binding.properties_key]);

// A list of bindings. `side` is whether their sources or their destinations are told.
export function bindingTable({ id, label, side, empty, changed }) {
  const other = side === 'source' ? source : destination;
  const table = new Table({
    id,
    label,
    columns: [
      { id: side, title: side === 'source' ? 'From' : 'To', sort: (binding) => binding[side], kind: 'long', show: other },
      { id: 'key', title: 'Routing key', sort: (binding) => binding.routing_key, kind: 'long', show: (binding) => binding.routing_key },
      { id: 'arguments', title: 'Arguments', minor: true, show: (binding) => pairs(binding.arguments, '–') },
      { id: 'act', title: '', kind: 'act', show: (binding) => (binding.source === '' ? '' : button('Unbind', () => unbind(binding, changed), { kind: 'small' })) },
    ],
    key,
    sort: side,
    empty,
    changed: () => show(),
  });
  let bindings = [];
  const show = () => table.showAll(bindings, (binding) => `${binding[side]} ${binding.routing_key}`);
  const update = (told) => {
    bindings = told;
    show();
  };
  return { node: table.node, update };
}

const source = ({ vhost, source: name }) => exchangeLink(vhost, name);

const destination = ({ vhost, destination: name, destination_type: type }) =>
  type === 'queue' ? queueLink(vhost, name) : exchangeLink(vhost, name);

const place = ({ vhost, source: from, destination_type: type, destination: to }) =>
  `bindings/${path(vhost)}/e/${path(from)}/${type === 'queue' ? 'q' : 'e'}/${path(to)}`;

function unbind(binding, done) {
  const text = `Messages are no longer routed from ${binding.source} to ${binding.destination} by ${binding.routing_key || 'an empty key'}.`;
  confirm('Unbind?', text, 'Unbind', async () => {
    await ask('DELETE', `${place(binding)}/${path(binding.properties_key)}`);
    notice('Unbound.');
    done();
  });
}

// A form for one more. `ends` makes the binding's ends of what was filled in.
export function bindForm(vhost, fields, ends, done) {
  const all = [
    ...fields,
    { name: 'routing_key', label: 'Routing key' },
    { name: 'arguments', label: 'Arguments', type: 'pairs', hint: 'for headers exchanges, such as x-match' },
  ];
  const submit = async (values) => {
    const { routing_key, arguments: given } = values;
    await ask('POST', place({ vhost, ...ends(values) }), { body: { routing_key, arguments: given } });
    notice('Bound.');
    done();
  };
  return form(all, { action: 'Bind', submit });
}
