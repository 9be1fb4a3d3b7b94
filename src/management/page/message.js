// Messages: publishing one, and looking at some.

import { ask, path } from './api.js';
import { form, formDialog } from './dialog.js';
import { h, put } from './dom.js';
import { bytes, count, exchangeName } from './format.js';
import { badge, notice, pairs } from './parts.js';

// Most of a message's body that is shown, in bytes.
const MOST_SHOWN = 50_000;

const PROPERTIES = ['content_type', 'content_encoding', 'correlation_id', 'reply_to', 'expiration', 'message_id', 'type', 'user_id', 'app_id'];

// A form that publishes to an exchange.
export function publishForm(vhost, exchange, routingKey = '', done = () => {}) {
  const fields = [
    exchange === '' ? null : { name: 'routing_key', label: 'Routing key', value: routingKey },
    { name: 'persistent', label: 'Persistent', type: 'check', value: true },
    { name: 'payload', label: 'Payload', type: 'area' },
    { name: 'encoding', label: 'Payload is', type: 'select', options: [['string', 'text'], ['base64', 'base64']] },
    { name: 'content_type', label: 'Content type', hint: 'such as application/json' },
    { name: 'headers', label: 'Headers', type: 'pairs' },
    { name: 'properties', label: 'Other properties', type: 'pairs', hint: PROPERTIES.slice(1).join(', ') + ', priority, timestamp' },
  ];
  const submit = async ({ routing_key = routingKey, persistent, payload, encoding, content_type, headers, properties }) => {
    const body = {
      routing_key,
      payload,
      payload_encoding: encoding,
      properties: { ...properties, delivery_mode: persistent ? 2 : 1, headers, ...(content_type && { content_type }) },
    };
    const { routed } = await ask('POST', `exchanges/${path(vhost, exchange || 'amq.default')}/publish`, { body });
    notice(routed ? 'Published.' : 'Published, but routed to no queue.', routed ? 'good' : 'warn');
    done();
  };
  return form(fields, { action: 'Publish', submit });
}

const ENDS = [
  ['ack_requeue_true', 'put back'],
  ['reject_requeue_true', 'put back, and count as failed'],
  ['ack_requeue_false', 'remove'],
  ['reject_requeue_false', 'reject: dead-letter or drop'],
];

// A form that gets messages of a queue, and shows them below.
export function getForm(vhost, queue, done = () => {}) {
  const shown = h('div.messages', { role: 'region', 'aria-label': 'Messages', 'aria-live': 'polite' });
  const fields = [
    { name: 'count', label: 'Messages', type: 'number', value: 1, required: true },
    { name: 'ackmode', label: 'Afterwards', type: 'select', options: ENDS },
  ];
  const get = async ({ count: wanted, ackmode }) => {
    const body = { count: wanted, ackmode, encoding: 'auto', truncate: MOST_SHOWN };
    const messages = await ask('POST', `queues/${path(vhost, queue)}/get`, { body });
    shown.replaceChildren(...(messages.length > 0 ? messages.map(message) : [h('p.faint', 'The queue has no message that is ready.')]));
    done();
  };
  const submit = async (values) => {
    if (values.ackmode.endsWith('requeue_true')) return get(values);
    // What is removed is gone, also if nobody looks at the answer.
    const removal = { action: 'Remove', danger: true, submit: () => get(values) };
    formDialog('Remove messages?', [], { ...removal, text: `Up to ${count(values.count)} messages are taken out of ${queue} and shown here once.` });
  };
  return h('div', form(fields, { action: 'Get', submit }), shown);
}

function message(told, index) {
  const { headers, ...properties } = told.properties ?? {};
  const isCut = told.payload_bytes > MOST_SHOWN;
  return h(
    'article.message',
    h('header', h('strong', `Message ${index + 1}`), told.redelivered && badge('redelivered', 'warn'), h('span.faint', `${bytes(told.payload_bytes)} · ${count(told.message_count)} more in the queue`)),
    h(
      'dl.facts',
      h('div', h('dt', 'Exchange'), h('dd', exchangeName(told.exchange))),
      h('div', h('dt', 'Routing key'), h('dd', told.routing_key)),
      h('div', h('dt', 'Properties'), h('dd', pairs(properties))),
      h('div', h('dt', 'Headers'), h('dd', pairs(headers))),
    ),
    payload(told),
    isCut && h('p.faint', `The first ${bytes(MOST_SHOWN)} are shown.`),
  );
}

// The body, in the ways it can be read.
function payload({ payload: body, payload_encoding: encoding }) {
  const ways = [];
  if (encoding === 'string') {
    const pretty = prettied(body);
    if (pretty !== null) ways.push(['Pretty', () => pretty]);
    ways.push(['Text', () => body], ['Base64', () => base64(body)]);
  } else {
    ways.push(['Base64', () => body], ['Hex', () => hex(body)]);
  }
  const shown = h('pre', { tabindex: '0', 'aria-label': 'Payload' });
  const show = (index) => () => {
    put(shown, ways[index][1]());
    buttons.forEach((button, of) => button.setAttribute('aria-pressed', String(of === index)));
  };
  const buttons = ways.map(([text], index) => h('button', { type: 'button', onclick: show(index) }, text));
  show(0)();
  return h('div.payload', h('div.ranges', { role: 'group', 'aria-label': 'How the payload is shown' }, buttons), shown);
}

// JSON with a line for each value. Its words stay as they are: large numbers would not survive being read.
function prettied(text) {
  try {
    const value = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
  } catch {
    return null;
  }
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const words = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g);
  const spaced = words.map((word, index) => {
    if (word === ',') return `,${line()}`;
    if (word === ':') return ': ';
    if (word === '{' || word === '[') {
      if (words[index + 1] === (word === '{' ? '}' : ']')) return word;
      depth += 1;
      return word + line();
    }
    if (word !== '}' && word !== ']') return word;
    if (words[index - 1] === (word === '}' ? '{' : '[')) return word;
    depth -= 1;
    return line() + word;
  });
  return spaced.join('');
}

function base64(text) {
  const codes = Array.from(new TextEncoder().encode(text), (code) => String.fromCharCode(code));
  return btoa(codes.join(''));
}

function hex(text) {
  const codes = Array.from(atob(text), (code) => code.charCodeAt(0).toString(16).padStart(2, '0'));
  const lines = [];
  for (let begin = 0; begin < codes.length; begin += 16) lines.push(codes.slice(begin, begin + 16).join(' '));
  return lines.join('\n');
}
