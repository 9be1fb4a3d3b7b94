// amqplib: what is inside messages, how many there may be, and whether they are safe.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { brokerForThisFile, consumeInto, openChannel, text, TOGETHER, unique } from './broker.js';

const broker = brokerForThisFile();
const MIB = 1024 * 1024;

// Bytes that differ everywhere, the same for the same size.
function pattern(size) {
  const bytes = Buffer.allocUnsafe(size);
  let state = size | 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

// Sends one message through a queue and gives it back.
async function roundTrip(channel, body, options) {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, body, options);
  await channel.waitForConfirms();
  return channel.get(queue, { noAck: true });
}

// Publishes as fast as the socket takes it.
async function publishAll(channel, queue, bodies, options) {
  for (const body of bodies) {
    if (!channel.sendToQueue(queue, body, options)) await new Promise((resolve) => channel.once('drain', resolve));
  }
}

describe('amqplib messages', TOGETHER, () => {
  test('headers of all types come back as they were', async (t) => {
    const channel = await broker.confirmChannel(t);
    const headers = {
      yes: true,
      no: false,
      int8: { '!': 'int8', value: -128 },
      uint8: { '!': 'uint8', value: 255 },
      int16: { '!': 'int16', value: -32768 },
      uint16: { '!': 'uint16', value: 65535 },
      int32: { '!': 'int32', value: -2147483648 },
      uint32: { '!': 'uint32', value: 4294967295 },
      int64: { '!': 'int64', value: -4503599627370496 },
      float: { '!': 'float', value: 0.5 },
      double: 1.7976931348623157e308,
      small: -1.25,
      decimal: { '!': 'decimal', value: { places: 2, digits: 31415 } },
      text: 'Grüße, 世界 🐇',
      empty: '',
      bytes: Buffer.from([0, 206, 255, 1]),
      time: { '!': 'timestamp', value: 1_700_000_000 },
      nothing: null,
      list: [1, 'two', [3, [4]], { five: 5 }, null, true, -6.5],
      emptyList: [],
      table: { a: { b: { c: [{ d: 'deep' }] } } },
      emptyTable: {},
      'a key with spaces ü': 1,
    };
    const message = await roundTrip(channel, Buffer.from('x'), { headers });
    const plain = JSON.parse(JSON.stringify(message.properties.headers, (_, value) => value));
    const expected = {};
    for (const [key, value] of Object.entries(headers)) {
      const kept = ['decimal', 'timestamp'].includes(value?.['!']);
      expected[key] = value?.['!'] && !kept ? value.value : value;
    }
    assert.deepEqual(plain, JSON.parse(JSON.stringify(expected)));
    assert.deepEqual(Object.keys(message.properties.headers), Object.keys(headers));
    assert.ok(Buffer.isBuffer(message.properties.headers.bytes));
  });

  test('all properties come back as they were', async (t) => {
    const channel = await broker.confirmChannel(t);
    const message = await roundTrip(channel, Buffer.from('{}'), {
      contentType: 'application/json',
      contentEncoding: 'identity',
      headers: { one: 1 },
      deliveryMode: 2,
      priority: 9,
      correlationId: 'c'.repeat(255),
      replyTo: 'answers',
      expiration: '60000',
      messageId: 'id-1',
      timestamp: 1_700_000_000,
      type: 'order',
      userId: 'guest',
      appId: 'tests',
    });
    assert.deepEqual({ ...message.properties, headers: { ...message.properties.headers } }, {
      contentType: 'application/json',
      contentEncoding: 'identity',
      headers: { one: 1 },
      deliveryMode: 2,
      priority: 9,
      correlationId: 'c'.repeat(255),
      replyTo: 'answers',
      expiration: '60000',
      messageId: 'id-1',
      timestamp: 1_700_000_000,
      type: 'order',
      userId: 'guest',
      appId: 'tests',
      clusterId: undefined,
    });
  });

  test('a message without properties has none afterwards', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { properties } = await roundTrip(channel, Buffer.from('bare'), { persistent: undefined });
    for (const [name, value] of Object.entries(properties)) {
      // amqplib itself always sends an empty header table and a delivery mode.
      if (name === 'headers') assert.deepEqual({ ...value }, {});
      else if (name !== 'deliveryMode') assert.equal(value, undefined, name);
    }
  });

  test('an empty body', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const consumer = await consumeInto(channel, queue, { noAck: true });
    for (const body of ['', 'something', '']) channel.sendToQueue(queue, Buffer.from(body));
    assert.deepEqual((await consumer.take(3)).map(text), ['', 'something', '']);
    channel.sendToQueue(queue, Buffer.alloc(0), { persistent: true });
    await channel.waitForConfirms();
    assert.equal((await consumer.next()).content.length, 0);
  });

  for (const [name, size] of [['1 MiB', MIB], ['10 MiB', 10 * MIB]]) {
    test(`a message of ${name}`, async (t) => {
      const channel = await broker.confirmChannel(t);
      const { queue } = await channel.assertQueue('', { exclusive: true });
      const body = pattern(size);
      for (const persistent of [false, true]) channel.sendToQueue(queue, body, { persistent });
      await channel.waitForConfirms();
      const consumer = await consumeInto(channel, queue);
      for (const message of await consumer.take(2)) {
        assert.equal(message.content.length, size);
        assert.equal(digest(message.content), digest(body));
        channel.ack(message);
      }
    });
  }

  test('sizes around the limits of frames', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const frame = 131072 - 8;
    const sizes = [1, 2, 255, 256, 4095, 4096, 16383, 16384, 65535, 65536, frame - 1, frame, frame + 1, 2 * frame, 2 * frame + 1];
    for (const size of sizes) channel.sendToQueue(queue, pattern(size));
    await channel.waitForConfirms();
    const consumer = await consumeInto(channel, queue, { noAck: true });
    for (const size of sizes) {
      const { content } = await consumer.next();
      assert.equal(content.length, size);
      assert.ok(content.equals(pattern(size)), `${size} bytes`);
    }
  });

  test('twenty thousand small messages arrive in order', async (t) => {
    const connection = await broker.connect(t);
    const [publisher, receiver] = [await openChannel(connection), await openChannel(connection)];
    const { queue } = await receiver.assertQueue('', { exclusive: true });
    const consumer = await consumeInto(receiver, queue, { noAck: true });
    const bodies = Array.from({ length: 20_000 }, (_, i) => Buffer.from(`${i}`));
    await publishAll(publisher, queue, bodies);
    for (let i = 0; i < bodies.length; i++) assert.equal(text(await consumer.next()), `${i}`);
  });

  test('five thousand persistent messages with a prefetch and acknowledgements', async (t) => {
    const publisher = await broker.confirmChannel(t);
    const receiver = await broker.channel(t);
    const queue = unique('persistent');
    await receiver.assertQueue(queue, { durable: true });
    await receiver.prefetch(50);
    const consumer = await consumeInto(receiver, queue);
    const sent = publishAll(publisher, queue, Array.from({ length: 5_000 }, (_, i) => Buffer.from(`${i}`)), { persistent: true });
    for (let i = 0; i < 5_000; i++) {
      const message = await consumer.next();
      assert.equal(text(message), `${i}`);
      if (i % 10 === 9) receiver.ack(message, true);
    }
    await sent;
    await publisher.waitForConfirms();
    assert.deepEqual(await receiver.deleteQueue(queue), { messageCount: 0 });
  });

  test('confirms: many in flight, each answered once', async (t) => {
    const channel = await broker.confirmChannel(t);
    const queue = unique('confirms');
    await channel.assertQueue(queue, { durable: true });
    const answers = new Map();
    for (let i = 0; i < 2_000; i++) {
      const answered = (error) => answers.set(i, (answers.get(i) ?? []).concat(error ?? 'ack'));
      channel.publish('', i % 5 === 4 ? unique('nowhere') : queue, Buffer.from(`${i}`), { persistent: i % 2 === 0 }, answered);
    }
    await channel.waitForConfirms();
    assert.equal(answers.size, 2_000);
    for (const [i, answer] of answers) assert.deepEqual(answer, ['ack'], `message ${i}`);
    assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 1_600 });
  });

  test('confirms: several publishers into one queue', async (t) => {
    const connection = await broker.connect(t);
    const main = await openChannel(connection);
    const { queue } = await main.assertQueue('', { exclusive: true });
    await Promise.all(
      Array.from({ length: 10 }, async (_, who) => {
        const channel = await openChannel(connection, true);
        for (let i = 0; i < 100; i++) channel.sendToQueue(queue, Buffer.from(`${who} ${i}`));
        await channel.waitForConfirms();
      }),
    );
    const consumer = await consumeInto(main, queue, { noAck: true });
    const next = new Array(10).fill(0);
    for (const message of await consumer.take(1_000)) {
      const [who, i] = text(message).split(' ').map(Number);
      assert.equal(i, next[who]++);
    }
  });

  test('RPC with a queue for the answers', async (t) => {
    const client = await broker.channel(t);
    const server = await broker.channel(t);
    const requests = unique('rpc');
    await server.assertQueue(requests, { exclusive: true });
    await server.consume(requests, (message) => {
      const { replyTo, correlationId } = message.properties;
      server.sendToQueue(replyTo, Buffer.from(`${Number(text(message)) ** 2}`), { correlationId });
      server.ack(message);
    });
    const { queue } = await client.assertQueue('', { exclusive: true });
    const answers = await consumeInto(client, queue, { noAck: true });
    for (let i = 0; i < 20; i++) {
      client.sendToQueue(requests, Buffer.from(`${i}`), { replyTo: queue, correlationId: `call ${i}` });
    }
    for (const answer of await answers.take(20)) {
      const i = Number(answer.properties.correlationId.slice('call '.length));
      assert.equal(text(answer), `${i * i}`);
    }
  });

  test('RPC with direct reply-to', async (t) => {
    const client = await broker.channel(t);
    const server = await broker.channel(t);
    const requests = unique('direct');
    await server.assertQueue(requests, { exclusive: true });
    await server.consume(
      requests,
      (message) => {
        assert.match(message.properties.replyTo, /^amq\.rabbitmq\.reply-to\..+/);
        const { correlationId } = message.properties;
        server.sendToQueue(message.properties.replyTo, Buffer.from(`to ${text(message)}`), { correlationId });
      },
      { noAck: true },
    );
    const answers = await consumeInto(client, 'amq.rabbitmq.reply-to', { noAck: true });
    const replyTo = 'amq.rabbitmq.reply-to';
    for (let i = 0; i < 10; i++) client.sendToQueue(requests, Buffer.from(`${i}`), { replyTo, correlationId: `${i}` });
    for (const [i, answer] of (await answers.take(10)).entries()) {
      assert.equal(answer.properties.correlationId, `${i}`);
      assert.equal(text(answer), `to ${i}`);
      assert.equal(answer.fields.exchange, '');
    }
  });

  test('publishing and consuming on one channel at once', async (t) => {
    const channel = await broker.channel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const consumer = await consumeInto(channel, queue);
    channel.sendToQueue(queue, Buffer.from('0'));
    for (let i = 0; i < 500; i++) {
      const message = await consumer.next();
      assert.equal(text(message), `${i}`);
      channel.ack(message);
      channel.sendToQueue(queue, Buffer.from(`${i + 1}`));
    }
  });

  test('messages on many channels of one connection do not get mixed up', async (t) => {
    const connection = await broker.connect(t, { frameMax: 4096 });
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const channel = await openChannel(connection);
        const { queue } = await channel.assertQueue('', { exclusive: true });
        const consumer = await consumeInto(channel, queue, { noAck: true });
        const body = pattern(10_000 + 997 * i);
        for (let n = 0; n < 10; n++) channel.sendToQueue(queue, body);
        for (const message of await consumer.take(10)) assert.ok(message.content.equals(body));
      }),
    );
  });
});
