// One broker per test file: the one named by LEVERET_TEST_URL, or a private `leveret --ephemeral` on a free port.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import amqp from 'amqplib';

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 20_000;
const KEPT_LOG_LINES = 200;

// For `describe` and `test`: tests of a file share its broker and run side by side; none may hang.
export const TOGETHER = { concurrency: 8, timeout: 90_000 };

// For tests of features Leveret does not have yet: options that skip them unless another broker is named.
export const notYet = (feature) => ({ skip: process.env.LEVERET_TEST_URL ? false : `Leveret has no ${feature} yet` });

class Broker {
  constructor(url, child, log, addresses = {}) {
    this.url = url;
    this.addresses = addresses;
    this.child = child;
    this.log = log;
  }

  // The URL with query parameters such as heartbeat or frameMax.
  urlWith(parameters) {
    const url = new URL(this.url);
    for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, String(value));
    return url.href;
  }

  async stop() {
    if (!this.child) return;
    const kill = setTimeout(() => this.child.kill('SIGKILL'), STOP_DEADLINE_MS);
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await exited;
    }
    clearTimeout(kill);
    const how = { code: this.child.exitCode, signal: this.child.signalCode };
    assert.deepEqual(how, { code: 0, signal: null }, `the broker's exit; its last log lines:\n${this.log.join('\n')}`);
  }
}

// The fields of a line of the log; none if it is no such line.
function fieldsOf(line) {
  try {
    const entry = JSON.parse(line);
    return { ...entry, ...entry?.fields };
  } catch {
    return {};
  }
}

async function startBroker(settings) {
  if (process.env.LEVERET_TEST_URL) return new Broker(process.env.LEVERET_TEST_URL, null, []);
  const binary = process.env.LEVERET_BIN ?? path.join(REPOSITORY, 'target/release/leveret');
  // Every LEVERET_* variable is a setting to the broker, also those that are meant for the tests.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LEVERET_')));
  env.LEVERET_HTTP_LISTEN = '127.0.0.1:0';
  env.LEVERET_PROMETHEUS_LISTEN = '127.0.0.1:0';
  const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const child = spawn(binary, ['--ephemeral', '--listen', '127.0.0.1:0', '--log-format', 'json', ...set], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log = [];
  // The address for each protocol.
  const addresses = {};
  await new Promise((resolve, reject) => {
    const fail = (reason) => {
      child.kill('SIGKILL');
      reject(new Error(`${binary}: ${reason}\n${log.join('\n')}`));
    };
    const deadline = setTimeout(() => fail('it did not listen in time'), START_DEADLINE_MS);
    child.once('error', (error) => fail(error.message));
    child.once('close', (code, signal) => fail(`it ended before it listened (${code ?? signal})`));
    // The lines are read to the end, or the broker would block on a full pipe.
    readline.createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      if (log.length > KEPT_LOG_LINES) log.shift();
      const { message, protocol, address } = fieldsOf(line);
      if (message === 'listening') addresses[protocol] = address;
      if (message === 'ready') {
        clearTimeout(deadline);
        resolve();
      }
    });
  });
  return new Broker(`amqp://guest:guest@${addresses.amqp}`, child, log, addresses);
}

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
