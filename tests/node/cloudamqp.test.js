// @cloudamqp/amqp-client over plain TCP: it asks for frames of 8 KiB, declares in its own way, and shows every reply code.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AMQPClient, AMQPSession } from '@cloudamqp/amqp-client';
import { brokerForThisFile, eventually, Inbox, notYet, TOGETHER, unique } from './broker.js';

const broker = brokerForThisFile();

// A connection that ends with the test. What it complains about is kept in `complaints`.
async function connect(t, parameters = {}) {
  const client = new AMQPClient(broker.urlWith({ name: unique('cloudamqp'), ...parameters }), undefined, null);
  client.complaints = [];
  client.onerror = (error) => client.complaints.push(error);
  await client.connect();
  t.after(() => client.closed || client.close().catch(() => {}));
  return client;
}

async function channel(t, parameters) {
  const opened = await (await connect(t, parameters)).channel();
  opened.onerror = () => {};
  return opened;
}

async function refusal(change) {
  const url = new URL(broker.url);
  change(url);
  const client = new AMQPClient(url.href, undefined, null);
  client.onerror = () => {};
  return client.connect().then(
    () => assert.fail('the broker accepted the connection'),
    (error) => error.message,
  );
}

describe('@cloudamqp/amqp-client', TOGETHER, () => {
  test('publish and consume', async (t) => {
    const ch = await channel(t);
    const queue = await ch.queueDeclare('');
    assert.deepEqual([queue.messageCount, queue.consumerCount], [0, 0]);
    const inbox = new Inbox();
    const consumer = await ch.basicConsume(queue.name, { noAck: false }, (message) => inbox.push(message));
    const timestamp = new Date(1_700_000_000_000);
    await ch.basicPublish('', queue.name, 'hello', { headers: { a: 1, b: [true, null, 'x'] }, timestamp, deliveryMode: 1 });
    const message = await inbox.next();
    assert.equal(message.bodyString(), 'hello');
    assert.deepEqual(message.properties.headers, { a: 1, b: [true, null, 'x'] });
    assert.equal(message.properties.timestamp.getTime(), timestamp.getTime());
    assert.equal(message.redelivered, false);
    await message.ack();
    await consumer.cancel();
    assert.equal((await ch.queueDelete(queue.name)).messageCount, 0);
  });

  for (const frameMax of [8192, 10_000, 131072]) {
    test(`a body of a million bytes with frameMax ${frameMax}`, async (t) => {
      const ch = await channel(t, { frameMax });
      assert.equal(ch.connection.frameMax, frameMax);
      await ch.confirmSelect();
      const { name } = await ch.queueDeclare('');
      const body = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 7) % 256));
      await ch.basicPublish('', name, body);
      const message = await ch.basicGet(name, { noAck: true });
      assert.equal(message.bodySize, body.length);
      assert.ok(Buffer.from(message.body).equals(body));
      assert.equal(await ch.basicGet(name), null);
    });
  }

  test('with a heartbeat of one second the connection stays up', async (t) => {
    const client = await connect(t, { heartbeat: 1 });
    assert.equal(client.heartbeat, 1);
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    assert.equal(client.closed, false);
    assert.deepEqual(client.complaints, []);
    await (await client.channel()).queueDeclare('');
  });

  test('the way a browser dashboard uses it', async (t) => {
    const browser = await channel(t, { frameMax: 8192, heartbeat: 0 });
    const application = await channel(t);
    const exchange = unique('dashboard');
    for (const ch of [application, browser]) await ch.exchangeDeclare(exchange, 'topic', { durable: true, autoDelete: true });
    const inboxes = [];
    for (const name of ['', unique('dashboard.#')]) {
      const queue = await browser.queueDeclare(name, name ? { durable: false, autoDelete: true } : undefined);
      await browser.queueBind(queue.name, exchange, `${exchange}.#`);
      const inbox = new Inbox();
      await browser.basicConsume(queue.name, { noAck: true }, (message) => inbox.push(message));
      inboxes.push(inbox);
    }
    const status = JSON.stringify({ status: 'x'.repeat(10_000) });
    await application.basicPublish(exchange, `${exchange}.app.status`, status, { expiration: '60000' });
    for (const inbox of inboxes) {
      const message = await inbox.next();
      assert.equal(message.bodyString(), status);
      assert.equal(message.routingKey, `${exchange}.app.status`);
    }
  });

  test('confirms tell the sequence number', async (t) => {
    const ch = await channel(t);
    await ch.confirmSelect();
    const { name } = await ch.queueDeclare('');
    const tags = await Promise.all(Array.from({ length: 500 }, (_, i) => ch.basicPublish('', name, `${i}`)));
    assert.deepEqual(tags, Array.from({ length: 500 }, (_, i) => i + 1));
    assert.equal((await ch.queuePurge(name)).messageCount, 500);
  });

  test('a full reject-publish queue answers with a nack', notYet('queue length limits'), async (t) => {
    const ch = await channel(t);
    await ch.confirmSelect();
    const { name } = await ch.queueDeclare('', {}, { 'x-max-length': 2, 'x-overflow': 'reject-publish' });
    await ch.basicPublish('', name, 'one');
    await ch.basicPublish('', name, 'two');
    await assert.rejects(ch.basicPublish('', name, 'three'), /rejected/i);
    await ch.basicGet(name);
    await ch.basicPublish('', name, 'four');
  });

  test('a transaction shows nothing before its commit', async (t) => {
    const ch = await channel(t);
    const { name } = await ch.queueDeclare('');
    await ch.txSelect();
    await ch.basicPublish('', name, 'one');
    await ch.basicPublish('', name, 'two');
    assert.equal((await ch.queueDeclare(name, { passive: true })).messageCount, 0);
    await ch.txCommit();
    assert.equal((await ch.queueDeclare(name, { passive: true })).messageCount, 2);
    await ch.basicPublish('', name, 'never');
    const message = await ch.basicGet(name, { noAck: false });
    await message.ack();
    await ch.txRollback();
    assert.equal((await ch.queueDeclare(name, { passive: true })).messageCount, 1);
    await message.channel.basicAck(message.deliveryTag);
    await ch.txCommit();
    assert.equal(await ch.basicGet(name).then((next) => next.bodyString()), 'two');
    assert.equal(await ch.basicGet(name), null);
  });

  test('a transaction and confirms exclude each other', async (t) => {
    const client = await connect(t);
    for (const [first, second] of [['txSelect', 'confirmSelect'], ['confirmSelect', 'txSelect']]) {
      const ch = await client.channel();
      ch.onerror = () => {};
      await ch[first]();
      await assert.rejects(ch[second](), /406|cannot switch/);
    }
    const ch = await client.channel();
    ch.onerror = () => {};
    await assert.rejects(ch.txCommit(), /channel is not transactional/);
  });

  test('a mandatory message is returned', async (t) => {
    const ch = await channel(t);
    const returned = new Inbox();
    ch.onReturn = (message) => returned.push(message);
    await ch.basicPublish('amq.direct', unique('nowhere'), 'back', {}, true);
    const message = await returned.next();
    assert.equal(message.replyCode, 312);
    assert.equal(message.replyText, 'NO_ROUTE');
    assert.equal(message.bodyString(), 'back');
  });

  test('exchange to exchange bindings', async (t) => {
    const ch = await channel(t);
    await ch.confirmSelect();
    const [source, target] = [unique('source'), unique('target')];
    for (const exchange of [source, target]) await ch.exchangeDeclare(exchange, 'fanout', { durable: false });
    const { name } = await ch.queueDeclare('');
    await ch.queueBind(name, target, '');
    await ch.exchangeBind(target, source);
    await ch.basicPublish(source, '', 'through');
    assert.equal((await ch.basicGet(name)).bodyString(), 'through');
    await ch.exchangeUnbind(target, source);
    await ch.basicPublish(source, '', 'not through');
    assert.equal(await ch.basicGet(name), null);
    for (const exchange of [source, target]) await ch.exchangeDelete(exchange);
  });

  test('nack, reject and recover', async (t) => {
    const ch = await channel(t);
    await ch.confirmSelect();
    const { name } = await ch.queueDeclare('');
    for (const body of ['0', '1', '2', '3']) await ch.basicPublish('', name, body);
    const get = async () => {
      const message = await ch.basicGet(name, { noAck: false });
      return message && [message, `${message.bodyString()} ${message.redelivered}`];
    };
    const [[zero], [one], [two]] = [await get(), await get(), await get()];
    await one.nack(true);
    await two.reject(false);
    assert.equal((await get())[1], '1 true');
    await zero.nack(true, true);
    await ch.basicRecover(true);
    assert.deepEqual([(await get())[1], (await get())[1], (await get())[1]], ['0 true', '1 true', '3 false']);
    assert.equal(await get(), null);
  });

  test('flow can be switched on', async (t) => {
    const ch = await channel(t);
    assert.equal(await ch.basicFlow(true), true);
  });

  test('a wrong password is refused with 403, an unknown virtual host with 530', async () => {
    const password = await refusal((url) => {
      url.password = 'wrong';
    });
    assert.match(password, /ACCESS_REFUSED/);
    assert.match(password, /403/);
    const vhost = unique('vhost');
    const unknown = await refusal((url) => {
      url.pathname = `/${vhost}`;
    });
    assert.match(unknown, /530/);
    assert.ok(unknown.includes(`vhost ${vhost} not found`), unknown);
  });

  for (const [what, code, operation] of [
    ['an immediate publish', 540, (ch) => ch.basicPublish('', 'q', 'now', {}, false, true)],
    ['a prefetch size', 540, (ch) => ch.basicQos(1, 1)],
    ['recover without requeue', 540, (ch) => ch.basicRecover(false)],
  ]) {
    test(`${code} ends the connection: ${what}`, async (t) => {
      const ch = await channel(t);
      const answer = operation(ch).catch((error) => error.message);
      await eventually('the connection is closed', () => ch.connection.closed);
      await answer;
      const said = ch.connection.complaints.map((error) => error.message).join('; ');
      assert.match(said, new RegExp(`${code}|NOT_IMPLEMENTED`), said);
    });
  }

  test('update-secret with an empty reason', async (t) => {
    const client = await connect(t);
    await client.updateSecret('secret', '');
    await (await client.channel()).queueDeclare('');
  });

  test('a session: queues, exchanges and subscriptions', async (t) => {
    const session = await AMQPSession.connect(broker.url, { logger: null });
    t.after(() => session.stop());
    const queue = await session.queue(unique('session'), { durable: true, autoDelete: false });
    const topic = await session.topicExchange(unique('topic'), { durable: false, autoDelete: true });
    await queue.bind(topic, 'a.*');
    await topic.publish('one', { routingKey: 'a.b' });
    await queue.publish('two');
    const inbox = new Inbox();
    const subscription = await queue.subscribe({ prefetch: 1 }, (message) => inbox.push(message.bodyString()));
    assert.deepEqual(await inbox.take(2), ['one', 'two']);
    await subscription.cancel();
    await queue.delete();
  });

  test('a session: RPC over direct reply-to', async (t) => {
    const session = await AMQPSession.connect(broker.url, { logger: null });
    t.after(() => session.stop());
    const service = unique('service');
    const server = await session.rpcServer(service, (message) => `${message.bodyString()}!`);
    const client = await session.rpcClient();
    for (const word of ['hello', 'again']) assert.equal((await client.call(service, word, { timeout: 20_000 })).bodyString(), `${word}!`);
    await server.close();
    await (await session.queue(service)).delete();
  });
});
