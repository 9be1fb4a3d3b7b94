// amqplib: queues, and how consumers share them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import amqp from 'amqplib';
import {
  brokerForThisFile,
  consumeInto,
  eventually,
  failsWith,
  Inbox,
  openChannel,
  queueExists,
  text,
  TOGETHER,
  unique,
} from './broker.js';

const broker = brokerForThisFile();

async function fill(channel, queue, bodies, options) {
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body), options);
  await channel.waitForConfirms();
}

const numbers = (count) => Array.from({ length: count }, (_, i) => `${i}`);

describe('amqplib queues', TOGETHER, () => {
  test('declare, check, purge and delete count what is ready', async (t) => {
    const channel = await broker.confirmChannel(t);
    const queue = unique('counts');
    assert.deepEqual(await channel.assertQueue(queue, { durable: true }), { queue, messageCount: 0, consumerCount: 0 });
    await fill(channel, queue, numbers(5));
    assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 5, consumerCount: 0 });
    const taken = await channel.get(queue);
    assert.equal(taken.fields.messageCount, 4);
    assert.equal((await channel.checkQueue(queue)).messageCount, 4);
    assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 4 });
    assert.equal(await channel.get(queue), false);
    channel.nack(taken);
    await fill(channel, queue, ['more']);
    const consumer = await consumeInto(channel, queue);
    await consumer.take(2);
    assert.deepEqual(await channel.assertQueue(queue, { durable: true }), { queue, messageCount: 0, consumerCount: 1 });
    await channel.cancel(consumer.tag);
    await fill(channel, queue, numbers(3));
    assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 3 });
    assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 0 });
  });

  test('the server names a queue', async (t) => {
    const channel = await broker.channel(t);
    const [one, two] = [await channel.assertQueue('', { exclusive: true }), await channel.assertQueue('', { exclusive: true })];
    assert.match(one.queue, /^amq\.gen-.+/);
    assert.notEqual(one.queue, two.queue);
    await channel.bindQueue('', 'amq.fanout', '');
    await channel.deleteQueue('');
    await failsWith(404, channel, () => channel.checkQueue(two.queue));
  });

  test('an auto-delete queue goes with its last consumer, and not before the first', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const queue = unique('auto');
    await channel.assertQueue(queue, { durable: false, autoDelete: true });
    assert.equal(await channel.get(queue), false);
    assert.equal(await queueExists(connection, queue), true);
    const [one, two] = [await consumeInto(channel, queue), await consumeInto(channel, queue)];
    await channel.cancel(one.tag);
    assert.equal(await queueExists(connection, queue), true);
    await channel.cancel(two.tag);
    await eventually('the queue is gone', async () => !(await queueExists(connection, queue)));
  });

  test('an exclusive queue belongs to its connection', async (t) => {
    const owner = await broker.connect(t);
    const stranger = await broker.connect(t);
    const queue = unique('exclusive');
    const channel = await openChannel(owner);
    await channel.assertQueue(queue, { exclusive: true });
    await (await openChannel(owner)).checkQueue(queue);
    for (const operation of [
      (other) => other.checkQueue(queue),
      (other) => other.assertQueue(queue, { exclusive: true }),
      (other) => other.consume(queue, () => {}),
      (other) => other.get(queue),
      (other) => other.purgeQueue(queue),
      (other) => other.bindQueue(queue, 'amq.direct', 'key'),
      (other) => other.deleteQueue(queue),
    ]) {
      const other = await openChannel(stranger);
      const error = await failsWith(405, other, () => operation(other));
      assert.match(error.message, /RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/);
    }
    const publisher = await openChannel(stranger, true);
    await fill(publisher, queue, ['from a stranger']);
    assert.equal(text(await channel.get(queue, { noAck: true })), 'from a stranger');
  });

  test('an exclusive consumer keeps others away', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const alone = await consumeInto(channel, queue, { exclusive: true });
    const other = await openChannel(connection);
    const error = await failsWith(403, other, () => other.consume(queue, () => {}));
    assert.match(error.message, /in exclusive use/);
    await channel.cancel(alone.tag);
    await consumeInto(channel, queue);
    const late = await openChannel(connection);
    await failsWith(403, late, () => late.consume(queue, () => {}, { exclusive: true }));
  });

  test('consumers are told when their queue is deleted', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const queue = unique('cancelled');
    await channel.assertQueue(queue, { durable: false });
    const consumers = [await consumeInto(channel, queue), await consumeInto(channel, queue)];
    await (await openChannel(connection)).deleteQueue(queue);
    for (const consumer of consumers) assert.equal(await consumer.next(), null);
    await channel.assertQueue(queue, { exclusive: true });
    assert.deepEqual(channel.errors, []);
  });

  test('a work queue: two workers with prefetch 1 share fairly', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection, true);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(20));
    const done = new Inbox();
    const workers = [];
    for (let i = 0; i < 2; i++) {
      const worker = await openChannel(connection);
      await worker.prefetch(1);
      const state = { handled: 0, unacked: 0 };
      workers.push(state);
      await worker.consume(queue, (message) => {
        state.unacked += 1;
        assert.equal(state.unacked, 1);
        setImmediate(() => {
          state.unacked -= 1;
          state.handled += 1;
          worker.ack(message);
          done.push(text(message));
        });
      });
    }
    const handled = await done.take(20);
    assert.deepEqual(handled.map(Number).sort((a, b) => a - b), numbers(20).map(Number));
    assert.ok(workers[0].handled > 0 && workers[1].handled > 0);
  });

  test('prefetch holds deliveries back until there are acks', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(10));
    await channel.prefetch(3);
    const consumer = await consumeInto(channel, queue);
    const first = await consumer.take(3);
    // Every reply comes after the deliveries that were due before it.
    assert.equal((await channel.checkQueue(queue)).messageCount, 7);
    assert.equal(consumer.length, 0);
    channel.ack(first[1], true);
    const next = await consumer.take(2);
    assert.deepEqual(next.map(text), ['3', '4']);
    assert.equal((await channel.checkQueue(queue)).messageCount, 5);
    channel.ackAll();
    assert.deepEqual((await consumer.take(3)).map(text), ['5', '6', '7']);
  });

  test('a channel-wide prefetch is shared by its consumers', async (t) => {
    const channel = await broker.confirmChannel(t);
    const queues = [];
    for (let i = 0; i < 2; i++) {
      const { queue } = await channel.assertQueue('', { exclusive: true });
      await fill(channel, queue, numbers(5));
      queues.push(queue);
    }
    await channel.prefetch(4, true);
    const inbox = new Inbox();
    for (const queue of queues) await channel.consume(queue, (message) => inbox.push(message));
    await inbox.take(4);
    const ready = async () => (await channel.checkQueue(queues[0])).messageCount + (await channel.checkQueue(queues[1])).messageCount;
    assert.equal(await ready(), 6);
    assert.equal(inbox.length, 0);
    channel.ackAll();
    await inbox.take(4);
    channel.ackAll();
    await inbox.take(2);
    assert.equal(await ready(), 0);
  });

  test('consumers without acks do not count against prefetch', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.prefetch(1);
    const consumer = await consumeInto(channel, queue, { noAck: true });
    await fill(channel, queue, numbers(100));
    assert.deepEqual((await consumer.take(100)).map(text), numbers(100));
  });

  test('messages from before come first, in order, to a slow consumer', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(50));
    await channel.prefetch(1);
    const consumer = await consumeInto(channel, queue);
    for (const body of numbers(50)) channel.sendToQueue(queue, Buffer.from(`late ${body}`));
    const received = [];
    while (received.length < 100) {
      const message = await consumer.next();
      received.push(text(message));
      await new Promise((resolve) => setTimeout(resolve, 1));
      channel.ack(message);
    }
    assert.deepEqual(received, [...numbers(50), ...numbers(50).map((body) => `late ${body}`)]);
  });

  test('a rejected message comes back to its place, marked redelivered', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(4));
    const taken = [];
    for (let i = 0; i < 3; i++) taken.push(await channel.get(queue));
    assert.deepEqual(taken.map((message) => message.fields.redelivered), [false, false, false]);
    channel.nack(taken[1]);
    channel.reject(taken[0], true);
    channel.nack(taken[2], false, false);
    const again = [];
    for (let i = 0; i < 3; i++) again.push(await channel.get(queue));
    assert.deepEqual(again.map(text), ['0', '1', '3']);
    assert.deepEqual(again.map((message) => message.fields.redelivered), [true, true, false]);
    assert.equal(await channel.get(queue), false);
    channel.nackAll();
    assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 3 });
  });

  test('recover brings unacknowledged messages again', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(3));
    const consumer = await consumeInto(channel, queue);
    channel.ack((await consumer.take(3))[1]);
    await channel.recover();
    const again = await consumer.take(2);
    assert.deepEqual(again.map(text), ['0', '2']);
    assert.ok(again.every((message) => message.fields.redelivered));
    channel.ackAll();
    assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  });

  test('what a closed channel did not acknowledge is delivered again', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection, true);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await fill(channel, queue, numbers(5));
    const first = await openChannel(connection);
    const consumer = await consumeInto(first, queue);
    const taken = await consumer.take(5);
    first.ack(taken[0]);
    first.ack(taken[3]);
    await first.close();
    const again = await (await consumeInto(channel, queue)).take(3);
    assert.deepEqual(again.map(text), ['1', '2', '4']);
    assert.ok(again.every((message) => message.fields.redelivered));
  });

  test('a cancelled consumer gets nothing more and may still acknowledge', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const consumer = await consumeInto(channel, queue, { consumerTag: 'named' });
    assert.equal(consumer.tag, 'named');
    await fill(channel, queue, ['seen']);
    const seen = await consumer.next();
    assert.equal(seen.fields.consumerTag, 'named');
    assert.deepEqual(await channel.cancel('named'), { consumerTag: 'named' });
    await fill(channel, queue, ['unseen']);
    channel.ack(seen);
    assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 1, consumerCount: 0 });
    assert.equal(consumer.length, 0);
  });

  test('the consumer with the higher priority is served first', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const low = await consumeInto(channel, queue, { priority: 1 });
    const high = await consumeInto(channel, queue, { priority: 5 });
    await fill(channel, queue, numbers(10));
    assert.deepEqual((await high.take(10)).map(text), numbers(10));
    assert.equal(low.length, 0);
  });

  test('deleting only if unused or empty', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection, true);
    const queue = unique('conditions');
    await channel.assertQueue(queue, { durable: false });
    await fill(channel, queue, ['one']);
    const other = await openChannel(connection);
    await failsWith(406, other, () => other.deleteQueue(queue, { ifEmpty: true }));
    const consumer = await consumeInto(channel, queue);
    await consumer.next();
    const third = await openChannel(connection);
    await failsWith(406, third, () => third.deleteQueue(queue, { ifUnused: true }));
    await channel.cancel(consumer.tag);
    await channel.deleteQueue(queue, { ifUnused: true, ifEmpty: true });
  });

  test('a durable queue and its bindings outlive the connection', async (t) => {
    const queue = unique('durable');
    const first = await amqp.connect(broker.url);
    const channel = await openChannel(first);
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-anything': 'goes' } });
    await channel.bindQueue(queue, 'amq.topic', `${queue}.#`);
    await first.close();
    const later = await broker.confirmChannel(t);
    later.publish('amq.topic', `${queue}.x`, Buffer.from('still here'));
    await later.waitForConfirms();
    assert.equal(text(await later.get(queue, { noAck: true })), 'still here');
    await later.deleteQueue(queue);
  });

  test('one channel serves many consumers', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { exchange } = await channel.assertExchange(unique('many'), 'topic', { durable: true, autoDelete: true });
    const inboxes = [];
    await channel.prefetch(1);
    for (let i = 0; i < 25; i++) {
      const { queue } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(queue, exchange, `app.${i}.*`);
      await channel.bindQueue(queue, exchange, 'app.all.*');
      inboxes.push(await consumeInto(channel, queue));
    }
    for (let i = 0; i < 25; i++) channel.publish(exchange, `app.${i}.status`, Buffer.from(`${i}`));
    channel.publish(exchange, 'app.all.status', Buffer.from('all'));
    await channel.waitForConfirms();
    for (let i = 0; i < 25; i++) assert.equal(text(await inboxes[i].next()), `${i}`);
    channel.ackAll();
    for (const inbox of inboxes) assert.equal(text(await inbox.next()), 'all');
  });
});
