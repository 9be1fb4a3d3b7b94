// amqplib: exchanges, bindings and where a message goes.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { brokerForThisFile, failsWith, openChannel, text, TOGETHER, unique } from './broker.js';

const broker = brokerForThisFile();

// An exclusive queue bound once per [routing key, arguments] of `bindings`.
async function boundQueue(channel, exchange, ...bindings) {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const [key, args] of bindings) await channel.bindQueue(queue, exchange, key, args);
  return queue;
}

// Everything that is in a queue now, as strings.
async function drain(channel, queue) {
  const bodies = [];
  for (let message = await channel.get(queue, { noAck: true }); message; ) {
    bodies.push(text(message));
    message = await channel.get(queue, { noAck: true });
  }
  return bodies;
}

async function exchangeOf(channel, type, options = { durable: false, autoDelete: true }) {
  return (await channel.assertExchange(unique(type), type, options)).exchange;
}

describe('amqplib exchanges', TOGETHER, () => {
  test('direct: the routing key must be equal', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'direct');
    const both = await boundQueue(channel, exchange, ['red'], ['blue']);
    const red = await boundQueue(channel, exchange, ['red']);
    for (const key of ['red', 'blue', 'Red', 'red.', '']) channel.publish(exchange, key, Buffer.from(key));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, both), ['red', 'blue']);
    assert.deepEqual(await drain(channel, red), ['red']);
  });

  test('fanout: the routing key does not matter and a queue gets one copy', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'fanout');
    const queues = [
      await boundQueue(channel, exchange, ['']),
      await boundQueue(channel, exchange, ['some'], ['other']),
      await boundQueue(channel, exchange, ['third']),
    ];
    channel.publish(exchange, 'any', Buffer.from('one'));
    channel.publish(exchange, '', Buffer.from('two'));
    await channel.waitForConfirms();
    for (const queue of queues) assert.deepEqual(await drain(channel, queue), ['one', 'two']);
  });

  test('topic: * is one word, # any number of them', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'topic');
    const keys = ['', 'a', 'b', 'a.b', 'a.b.c', 'x.a', 'x.a.y', 'x.y.a.z', 'a..b', 'x.a.a'];
    const expected = {
      '#': keys,
      '*': ['a', 'b'],
      'a.*': ['a.b'],
      'a.#': ['a', 'a.b', 'a.b.c', 'a..b'],
      '#.a': ['a', 'x.a', 'x.a.a'],
      '#.a.#': ['a', 'a.b', 'a.b.c', 'x.a', 'x.a.y', 'x.y.a.z', 'a..b', 'x.a.a'],
      '*.a.*': ['x.a.y', 'x.a.a'],
      'a.*.b': ['a..b'],
      'a.#.b': ['a.b', 'a..b'],
      '*.#': keys.filter((key) => key !== ''),
      'a.b': ['a.b'],
    };
    const queues = {};
    for (const pattern of Object.keys(expected)) queues[pattern] = await boundQueue(channel, exchange, [pattern]);
    for (const key of keys) channel.publish(exchange, key, Buffer.from(key));
    await channel.waitForConfirms();
    for (const [pattern, matching] of Object.entries(expected)) {
      assert.deepEqual(await drain(channel, queues[pattern]), matching, `pattern ${pattern}`);
    }
  });

  test('topic: a queue with several matching bindings gets one copy, and unbinding one leaves the others', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'topic');
    const queue = await boundQueue(channel, exchange, ['news.#'], ['*.sport'], ['news.sport']);
    channel.publish(exchange, 'news.sport', Buffer.from('first'));
    await channel.unbindQueue(queue, exchange, 'news.#');
    channel.publish(exchange, 'news.sport', Buffer.from('second'));
    channel.publish(exchange, 'news.weather', Buffer.from('third'));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['first', 'second']);
  });

  test('headers: x-match all and any compare values, not texts', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'headers');
    const queues = {
      all: await boundQueue(channel, exchange, ['', { 'x-match': 'all', kind: 'report', size: 3 }]),
      any: await boundQueue(channel, exchange, ['', { 'x-match': 'any', kind: 'report', size: 3 }]),
      implied: await boundQueue(channel, exchange, ['', { kind: 'report', size: 3 }]),
      everything: await boundQueue(channel, exchange, ['', { 'x-match': 'all' }]),
    };
    const send = (name, headers) => channel.publish(exchange, 'ignored', Buffer.from(name), { headers });
    send('both', { kind: 'report', size: 3, more: true });
    send('kind', { kind: 'report', size: 4 });
    send('text', { kind: 'x', size: '3' });
    send('wide', { kind: 'report', size: { '!': 'int64', value: 3 } });
    send('bare', undefined);
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queues.all), ['both', 'wide']);
    assert.deepEqual(await drain(channel, queues.implied), ['both', 'wide']);
    assert.deepEqual(await drain(channel, queues.any), ['both', 'kind', 'wide']);
    assert.deepEqual(await drain(channel, queues.everything), ['both', 'kind', 'text', 'wide', 'bare']);
  });

  test('the default exchange goes to the queue of that name', async (t) => {
    const channel = await broker.confirmChannel(t);
    const { queue } = await channel.assertQueue(unique('default'), { exclusive: true });
    channel.publish('', queue, Buffer.from('direct'));
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.equal(message.fields.exchange, '');
    assert.equal(message.fields.routingKey, queue);
  });

  test('the predeclared exchanges are there', async (t) => {
    const channel = await broker.channel(t);
    for (const name of ['amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match']) {
      await channel.checkExchange(name);
    }
    await channel.assertExchange('amq.topic', 'topic', { durable: true });
  });

  test('an exchange bound to an exchange passes messages on', async (t) => {
    const channel = await broker.confirmChannel(t);
    const source = await exchangeOf(channel, 'topic');
    const middle = await exchangeOf(channel, 'direct');
    const end = await exchangeOf(channel, 'fanout');
    const queue = await boundQueue(channel, end, ['']);
    await channel.bindExchange(middle, source, 'order.*');
    await channel.bindExchange(end, middle, 'order.new');
    for (const key of ['order.new', 'order.old', 'other.new']) channel.publish(source, key, Buffer.from(key));
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.equal(text(message), 'order.new');
    assert.equal(message.fields.exchange, source);
    assert.equal(await channel.get(queue), false);

    await channel.unbindExchange(middle, source, 'order.*');
    // Its last binding as source is gone, and it is auto-delete.
    await failsWith(404, channel, () => channel.checkExchange(source));
  });

  test('bindings in a circle deliver once', async (t) => {
    const channel = await broker.confirmChannel(t);
    const [one, two] = [await exchangeOf(channel, 'fanout'), await exchangeOf(channel, 'fanout')];
    const queue = await boundQueue(channel, two, ['']);
    await channel.bindExchange(two, one, '');
    await channel.bindExchange(one, two, '');
    channel.publish(one, '', Buffer.from('round'));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['round']);
    await channel.deleteExchange(one);
    await channel.deleteExchange(two);
  });

  test('an alternate exchange takes what nothing else takes', async (t) => {
    const channel = await broker.confirmChannel(t);
    const fallback = await exchangeOf(channel, 'fanout');
    const rest = await boundQueue(channel, fallback, ['']);
    const { exchange } = await channel.assertExchange(unique('alternate'), 'direct', {
      durable: false,
      autoDelete: true,
      alternateExchange: fallback,
    });
    const known = await boundQueue(channel, exchange, ['known']);
    const returned = [];
    channel.on('return', (message) => returned.push(message));
    for (const key of ['known', 'unknown']) channel.publish(exchange, key, Buffer.from(key), { mandatory: true });
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, known), ['known']);
    const message = await channel.get(rest, { noAck: true });
    assert.equal(text(message), 'unknown');
    assert.equal(message.fields.exchange, exchange);
    assert.deepEqual(returned, []);
  });

  test('a mandatory message without a queue comes back before its confirm', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'direct', { durable: false });
    const events = [];
    channel.on('return', (message) => events.push(message));
    const options = { mandatory: true, messageId: 'm-1', headers: { reason: 'nobody' }, contentType: 'text/plain' };
    channel.publish(exchange, 'nowhere', Buffer.from('come back'), options, (error) => events.push(error ?? 'confirmed'));
    channel.publish(exchange, 'nowhere', Buffer.from('lost'), {}, (error) => events.push(error ?? 'confirmed'));
    channel.publish('', unique('missing'), Buffer.alloc(0), { mandatory: true });
    await channel.waitForConfirms();
    assert.equal(events.length, 4);
    const [first, ...others] = events;
    assert.equal(first.fields.replyCode, 312);
    assert.equal(first.fields.replyText, 'NO_ROUTE');
    assert.equal(first.fields.exchange, exchange);
    assert.equal(first.fields.routingKey, 'nowhere');
    assert.equal(text(first), 'come back');
    assert.equal(first.properties.messageId, 'm-1');
    assert.equal(first.properties.contentType, 'text/plain');
    assert.deepEqual({ ...first.properties.headers }, { reason: 'nobody' });
    assert.equal(others.filter((event) => event === 'confirmed').length, 2);
    assert.equal(others.find((event) => event !== 'confirmed').content.length, 0);
    await channel.deleteExchange(exchange);
  });

  test('an auto-delete exchange lives until its last binding goes', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const { exchange } = await channel.assertExchange(unique('auto'), 'topic', { durable: true, autoDelete: true });
    await channel.checkExchange(exchange);
    const one = await boundQueue(channel, exchange, ['one']);
    const two = await boundQueue(channel, exchange, ['two']);
    await channel.deleteQueue(one);
    await channel.checkExchange(exchange);
    await channel.deleteQueue(two);
    await failsWith(404, channel, () => channel.checkExchange(exchange));
  });

  test('deleting an exchange: if unused, and twice', async (t) => {
    const connection = await broker.connect(t);
    const exchange = unique('unused');
    const channel = await openChannel(connection);
    await channel.assertExchange(exchange, 'direct', { durable: false });
    const queue = await boundQueue(channel, exchange, ['key']);
    const other = await openChannel(connection);
    await failsWith(406, other, () => other.deleteExchange(exchange, { ifUnused: true }));
    await channel.unbindQueue(queue, exchange, 'key');
    await channel.deleteExchange(exchange, { ifUnused: true });
    await channel.deleteExchange(exchange);
  });

  test('binding twice, and unbinding what is not bound, is no error', async (t) => {
    const channel = await broker.confirmChannel(t);
    const exchange = await exchangeOf(channel, 'direct', { durable: false });
    const queue = await boundQueue(channel, exchange, ['key'], ['key']);
    channel.publish(exchange, 'key', Buffer.from('once'));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['once']);
    await channel.unbindQueue(queue, exchange, 'key');
    await channel.unbindQueue(queue, exchange, 'key');
    await channel.unbindQueue(queue, exchange, 'never bound', { some: 'argument' });
    channel.publish(exchange, 'key', Buffer.from('gone'));
    await channel.waitForConfirms();
    assert.equal(await channel.get(queue), false);
    await channel.deleteExchange(exchange);
  });

  test('an internal exchange takes messages only from other exchanges', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection, true);
    const inner = await exchangeOf(channel, 'fanout', { durable: false, internal: true });
    const outer = await exchangeOf(channel, 'fanout', { durable: false });
    const queue = await boundQueue(channel, inner, ['']);
    await channel.bindExchange(inner, outer, '');
    channel.publish(outer, '', Buffer.from('through'));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['through']);
    const other = await openChannel(connection);
    const error = once(other, 'error');
    other.publish(inner, '', Buffer.from('straight'));
    assert.equal((await error)[0].code, 403);
    await channel.deleteExchange(outer);
    await channel.deleteExchange(inner);
  });

  test('the sender can name more routing keys with CC and BCC', async (t) => {
    const channel = await broker.confirmChannel(t);
    const queues = [];
    for (let i = 0; i < 3; i++) queues.push((await channel.assertQueue('', { exclusive: true })).queue);
    const [to, cc, bcc] = queues;
    channel.sendToQueue(to, Buffer.from('copy'), { CC: [cc], BCC: [bcc, to] });
    await channel.waitForConfirms();
    for (const queue of queues) {
      const message = await channel.get(queue, { noAck: true });
      assert.equal(message.fields.routingKey, to);
      assert.deepEqual({ ...message.properties.headers }, { CC: [cc] });
      assert.equal(await channel.get(queue), false);
    }
  });
});
