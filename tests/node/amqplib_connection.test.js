// amqplib: how connections and channels are opened, kept alive and ended.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import amqp from 'amqplib';
import { brokerForThisFile, closed, eventually, openChannel, queueExists, TOGETHER, unique } from './broker.js';

const broker = brokerForThisFile();

// Connects with options that must be refused and gives the reason.
async function refusal(url) {
  const connection = await amqp.connect(url).catch((error) => error);
  if (connection instanceof Error) return connection.message;
  await connection.close();
  return assert.fail('the broker accepted the connection');
}

describe('amqplib connections', TOGETHER, () => {
  test('the server tells who it is and what it can do', async (t) => {
    const connection = await broker.connect(t);
    const properties = connection.connection.serverProperties;
    for (const name of ['product', 'version', 'platform']) assert.equal(typeof properties[name], 'string', name);
    for (const name of [
      'publisher_confirms',
      'exchange_exchange_bindings',
      'basic.nack',
      'consumer_cancel_notify',
      'connection.blocked',
      'authentication_failure_close',
      'per_consumer_qos',
    ]) {
      assert.equal(properties.capabilities[name], true, name);
    }
  });

  test('channelMax 0 and frameMax 0 leave the choice to the server', async (t) => {
    const connection = await broker.connect(t, { channelMax: 0, frameMax: 0 });
    assert.ok(connection.connection.channelMax >= 2047);
    assert.ok(connection.connection.frameMax >= 131072);
    const channel = await openChannel(connection, true);
    const queue = unique('limits');
    await channel.assertQueue(queue, { exclusive: true });
    channel.sendToQueue(queue, Buffer.alloc(300_000, 7));
    await channel.waitForConfirms();
    assert.equal((await channel.get(queue)).content.length, 300_000);
  });

  test('a connection with heartbeat 1 stays open while nothing is said', async (t) => {
    const connection = await broker.connect(t, { heartbeat: 1 });
    assert.equal(connection.connection.heartbeat, 1);
    const channel = await openChannel(connection);
    // amqplib gives up after two seconds without a frame, and so may the broker after three.
    await pause(4_500);
    assert.deepEqual(connection.errors, []);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  });

  test('a client that stops its heartbeats is cut off', async (t) => {
    const connection = await broker.connect(t, { heartbeat: 1 });
    const started = Date.now();
    connection.connection.heartbeater.clear();
    await closed(connection);
    const seconds = (Date.now() - started) / 1000;
    assert.ok(seconds >= 1.5 && seconds < 15, `after ${seconds} s`);
  });

  test('heartbeat 0 turns heartbeats off', async (t) => {
    const connection = await broker.connect(t, { heartbeat: 0 });
    assert.equal(connection.connection.heartbeat, 0);
    const channel = await openChannel(connection);
    await channel.assertQueue('', { exclusive: true });
  });

  test('frameMax 4096 splits bodies both ways', async (t) => {
    const connection = await broker.connect(t, { frameMax: 4096 });
    assert.equal(connection.connection.frameMax, 4096);
    const channel = await openChannel(connection, true);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const sizes = [4087, 4088, 4089, 8176, 8177, 100_003];
    for (const size of sizes) channel.sendToQueue(queue, Buffer.alloc(size, size % 251));
    await channel.waitForConfirms();
    for (const size of sizes) {
      const message = await channel.get(queue, { noAck: true });
      assert.ok(message.content.equals(Buffer.alloc(size, size % 251)), `${size} bytes`);
    }
  });

  test('a large message from a wide connection reaches a narrow one', async (t) => {
    const wide = await broker.confirmChannel(t);
    const narrow = await broker.channel(t, { frameMax: 4096 });
    const queue = unique('narrow');
    await narrow.assertQueue(queue, { durable: false, autoDelete: true });
    const body = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 253));
    wide.sendToQueue(queue, body);
    await wide.waitForConfirms();
    assert.ok((await narrow.get(queue, { noAck: true })).content.equals(body));
    await narrow.deleteQueue(queue);
  });

  test('two hundred channels work at once', async (t) => {
    const connection = await broker.connect(t);
    const channels = await Promise.all(Array.from({ length: 200 }, () => openChannel(connection, true)));
    const queues = await Promise.all(
      channels.map(async (channel, i) => {
        const { queue } = await channel.assertQueue('', { exclusive: true });
        channel.sendToQueue(queue, Buffer.from(`message ${i}`));
        await channel.waitForConfirms();
        return queue;
      }),
    );
    assert.equal(new Set(queues).size, 200);
    const bodies = await Promise.all(
      channels.map(async (channel, i) => (await channel.get(queues[(i + 1) % 200], { noAck: true })).content.toString()),
    );
    assert.deepEqual(bodies, Array.from({ length: 200 }, (_, i) => `message ${(i + 1) % 200}`));
    await Promise.all(channels.map((channel) => channel.close()));
    const again = await openChannel(connection);
    assert.equal((await again.checkQueue(queues[0])).messageCount, 0);
  });

  test('a channel number is free again after its channel was closed', async (t) => {
    const connection = await broker.connect(t);
    for (let round = 0; round < 50; round++) {
      const channel = await openChannel(connection);
      assert.equal(channel.ch, 1);
      await channel.close();
    }
  });

  test('channelMax is kept', async (t) => {
    const connection = await broker.connect(t, { channelMax: 3 });
    assert.equal(connection.connection.channelMax, 3);
    for (let i = 0; i < 3; i++) await openChannel(connection);
    await assert.rejects(openChannel(connection), /No channels left/);
  });

  test('a wrong password is refused with 403', async () => {
    const url = new URL(broker.url);
    url.password = 'wrong';
    const reason = await refusal(url.href);
    assert.match(reason, /403/);
    assert.match(reason, /ACCESS.REFUSED/);
  });

  // amqplib does not tell the code here; the @cloudamqp/amqp-client suite looks at it.
  test('an unknown virtual host is refused', async () => {
    const url = new URL(broker.url);
    url.pathname = `/${unique('vhost')}`;
    assert.match(await refusal(url.href), /ConnectionClose/);
  });

  test('the default virtual host has the name /', async (t) => {
    const url = new URL(broker.url);
    url.pathname = '/%2F';
    const connection = await amqp.connect(url.href);
    t.after(() => connection.close());
    await openChannel(connection);
  });

  test('PLAIN and AMQPLAIN both work', async () => {
    for (const mechanism of ['plain', 'amqplain']) {
      const credentials = amqp.credentials[mechanism]('guest', 'guest');
      const connection = await amqp.connect(broker.url, { credentials });
      await openChannel(connection);
      await connection.close();
    }
  });

  test('client properties of every kind are taken', async () => {
    const clientProperties = {
      connection_name: unique('connection'),
      nested: { list: [1, 'two', { three: 3.5 }, null, true], empty: {} },
    };
    const connection = await amqp.connect(broker.url, { clientProperties });
    await openChannel(connection);
    await connection.close();
  });

  test('a new secret is acknowledged', async (t) => {
    const connection = await broker.connect(t);
    const done = once(connection, 'update-secret-ok');
    await connection.updateSecret(Buffer.from('a new secret'), 'it was time');
    await done;
    await openChannel(connection);
  });

  test('closing a connection ends its exclusive queues before the answer', async (t) => {
    const other = await broker.connect(t);
    const connection = await amqp.connect(broker.url);
    const queue = unique('exclusive');
    await (await openChannel(connection)).assertQueue(queue, { exclusive: true });
    await connection.close();
    assert.equal(await queueExists(other, queue), false);
  });

  test('a connection that breaks gives its messages back', async (t) => {
    const other = await broker.channel(t);
    const connection = await broker.connect(t);
    const channel = await openChannel(connection, true);
    const queue = unique('broken');
    await channel.assertQueue(queue, { durable: true });
    for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from(`${i}`), { persistent: true });
    await channel.waitForConfirms();
    for (let i = 0; i < 5; i++) await channel.get(queue);
    connection.connection.stream.destroy(new Error('cut by the test'));
    await eventually('the messages are ready again', async () => (await other.checkQueue(queue)).messageCount === 5);
    for (let i = 0; i < 5; i++) {
      const message = await other.get(queue, { noAck: true });
      assert.equal(message.content.toString(), `${i}`);
      assert.equal(message.fields.redelivered, true);
    }
    await other.deleteQueue(queue);
  });

  test('something that does not speak AMQP is told the version and cut off', async () => {
    const { hostname, port } = new URL(broker.url);
    const socket = net.connect(Number(port), hostname);
    const received = [];
    socket.on('data', (bytes) => received.push(bytes));
    // RabbitMQ resets the connection.
    socket.on('error', () => {});
    socket.write('GET /abc');
    await closed(socket);
    assert.equal(Buffer.concat(received).subarray(0, 4).toString(), 'AMQP');
  });
});
