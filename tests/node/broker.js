// One broker per test file: the one named by LEVERET_TEST_URL, or a private `leveret --ephemeral` on a free port.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before } from 'node:test';
import amqp from 'amqplib';
import { startBroker } from './leveret.js';

const STOP_DEADLINE_MS = 20_000;

// For `describe` and `test`: tests of a file share its broker and run side by side; none may hang.
export const TOGETHER = { concurrency: 8, timeout: 90_000 };

// For tests of features Leveret does not have yet: options that skip them unless another broker is named.
export const notYet = (feature) => ({ skip: process.env.LEVERET_TEST_URL ? false : `Leveret has no ${feature} yet` });

// Starts the broker before the tests of the calling file and stops it after them. The result is filled in by then.
export function brokerForThisFile(settings = {}) {
  const holder = {};
  before(async () => {
    holder.broker = await startBroker(settings);
  });
  after(() => holder.broker?.stop());
  return {
    get url() {
      return holder.broker.url;
    },
    urlWith: (parameters) => holder.broker.urlWith(parameters),

    // Where it listens, by protocol. Empty for a broker that ran before.
    get addresses() {
      return holder.broker.addresses;
    },

    // An amqplib connection that ends with the test `t`. Connection errors are kept in `errors`.
    async connect(t, parameters = {}) {
      const connection = await amqp.connect(holder.broker.urlWith(parameters), { noDelay: true });
      connection.errors = [];
      connection.on('error', (error) => connection.errors.push(error));
      t.after(() => endOf(connection));
      return connection;
    },

    // A channel on a connection of its own. Channel errors are kept in `errors`.
    async channel(t, parameters = {}) {
      return openChannel(await this.connect(t, parameters));
    },

    async confirmChannel(t, parameters = {}) {
      return openChannel(await this.connect(t, parameters), true);
    },
  };
}

// Closes a connection, politely as long as somebody answers.
async function endOf(connection) {
  const { stream } = connection.connection;
  if (stream.destroyed) return;
  const patience = setTimeout(() => stream.destroy(new Error('no answer to connection.close')), STOP_DEADLINE_MS);
  await Promise.race([connection.close().catch(() => {}), closed(connection)]);
  clearTimeout(patience);
}

// Resolves once a connection or channel is closed; unlike `once` of node:events it does not mind errors before that.
export function closed(emitter) {
  return new Promise((resolve) => emitter.once('close', resolve));
}

// A channel whose errors are kept in `errors` instead of ending the process.
export async function openChannel(connection, confirm = false) {
  const channel = await (confirm ? connection.createConfirmChannel() : connection.createChannel());
  channel.errors = [];
  channel.on('error', (error) => channel.errors.push(error));
  return channel;
}

// A name no other test uses.
export function unique(what) {
  return `node.${what}.${randomUUID()}`;
}

// Values that arrive one by one and are awaited one by one.
export class Inbox {
  #values = [];
  #waiting = [];

  push(value) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  next() {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  get length() {
    return this.#values.length;
  }
}

// A consumer whose deliveries (and a cancellation, as null) go to an inbox.
export async function consumeInto(channel, queue, options) {
  const inbox = new Inbox();
  inbox.tag = (await channel.consume(queue, (message) => inbox.push(message), options)).consumerTag;
  return inbox;
}

// Runs an operation that must end its channel with `code`; gives the error back.
export async function failsWith(code, channel, operation) {
  const end = closed(channel);
  const error = await operation().then(
    () => assert.fail(`expected channel error ${code}`),
    (reason) => reason,
  );
  await end;
  assert.equal(error.code, code, error.message);
  return error;
}

// Asks again until the answer is true: for effects the protocol does not acknowledge.
export async function eventually(what, question) {
  const deadline = Date.now() + 20_000;
  while (!(await question())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Whether a queue is there, asked on a channel of its own since a missing one closes the channel.
export async function queueExists(connection, queue) {
  const channel = await openChannel(connection);
  try {
    await channel.checkQueue(queue);
  } catch (error) {
    assert.equal(error.code, 404, error.message);
    return false;
  }
  await channel.close();
  return true;
}

export const text = (message) => message.content.toString();
