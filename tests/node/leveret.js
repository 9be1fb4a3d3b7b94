// A private `leveret` on free ports, or the broker that LEVERET_TEST_URL names. Needs no package.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 20_000;
const KEPT_LOG_LINES = 200;

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

// Starts it with settings by their names. Without a directory for its data it keeps them in memory.
export async function startBroker(settings = {}) {
  if (process.env.LEVERET_TEST_URL) return new Broker(process.env.LEVERET_TEST_URL, null, []);
  const binary = process.env.LEVERET_BIN ?? path.join(REPOSITORY, 'target/release/leveret');
  // Every LEVERET_* variable is a setting to the broker, also those that are meant for the tests.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LEVERET_')));
  env.LEVERET_HTTP_LISTEN = '127.0.0.1:0';
  env.LEVERET_PROMETHEUS_LISTEN = '127.0.0.1:0';
  const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const kept = 'storage.data_dir' in settings ? [] : ['--ephemeral'];
  const child = spawn(binary, [...kept, '--listen', '127.0.0.1:0', '--log-format', 'json', ...set], {
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
