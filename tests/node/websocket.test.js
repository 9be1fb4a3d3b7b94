// @cloudamqp/amqp-client over WebSocket, in the version that pages load today and in the newest, as a page uses it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { AMQPWebSocketClient as Newest } from '@cloudamqp/amqp-client';
import { AMQPWebSocketClient as OfPages } from 'cloudamqp-3.1.1';
import { WebSocket } from 'ws';
import { brokerForThisFile, Inbox, TOGETHER, unique } from './broker.js';

// Browsers have it, and Node has from version 22 on.
globalThis.WebSocket ??= WebSocket;

const broker = brokerForThisFile({ 'listen.websocket': '127.0.0.1:0', 'auth.failed_login_delay': '0s' });
const elsewhere = { skip: process.env.LEVERET_TEST_URL ? 'the broker under test has no WebSocket that is known' : false };
const url = (path = '') => `ws://${broker.addresses.ws}${path}`;

async function connect(t, Client, options = {}) {
  const client = new Client({ url: url('/ws/amqp'), ...options });
  client.onerror = (error) => client.complaints.push(error.message);
  client.complaints = [];
  await client.connect();
  t.after(() => (client.closed ? undefined : client.close()));
  return client;
}

describe('AMQP over WebSocket', { ...TOGETHER, ...elsewhere }, () => {
  for (const [version, Client, frameMax] of [['3.1.1', OfPages, 4096], ['the newest', Newest, 8192]]) {
    test(`a scoreboard with the client ${version}`, async (t) => {
      const client = await connect(t, Client);
      assert.deepEqual([client.frameMax, client.heartbeat], [frameMax, 0]);
      const prefix = unique('scoreboard');
      const page = await client.channel();
      await page.exchangeDeclare(prefix, 'topic', { durable: true, autoDelete: true });
      const inboxes = [];
      for (const [queue, options] of [['', { exclusive: true }], [`${prefix}.#`, { durable: false, autoDelete: true }]]) {
        const { name } = await page.queueDeclare(queue, options);
        await page.queueBind(name, prefix, `${prefix}.#`);
        const inbox = new Inbox();
        await page.basicConsume(name, { noAck: inboxes.length === 0 }, (message) => inbox.push(message));
        inboxes.push(inbox);
      }
      // Published over TCP, larger than many frames and than many messages of the WebSocket.
      const application = await (await broker.connect(t)).createChannel();
      const status = JSON.stringify({ status: 'x'.repeat(300_000) });
      for (let i = 0; i < 5; i += 1) application.publish(prefix, `${prefix}.app.status`, Buffer.from(`${i}${status}`));
      for (const inbox of inboxes) {
        for (const [i, message] of (await inbox.take(5)).entries()) {
          assert.equal(message.bodyString(), `${i}${status}`);
          if (inbox === inboxes[1]) await message.ack();
        }
      }
      await client.updateSecret('a new token', 'renewed');
      assert.deepEqual(client.complaints, []);
    });

    test(`confirms and large bodies both ways with the client ${version}`, async (t) => {
      const channel = await (await connect(t, Client)).channel();
      await channel.confirmSelect();
      const { name } = await channel.queueDeclare('', { exclusive: true });
      const body = Buffer.from(Array.from({ length: 500_000 }, (_, i) => (i * 7) % 256));
      await Promise.all(Array.from({ length: 200 }, (_, i) => channel.basicPublish('', name, `${i}`)));
      await channel.basicPublish('', name, body);
      for (let i = 0; i < 200; i += 1) assert.equal((await channel.basicGet(name)).bodyString(), `${i}`);
      assert.ok(Buffer.from((await channel.basicGet(name)).body).equals(body));
    });
  }

  test('a tab that is closed leaves nothing behind', async (t) => {
    const client = await connect(t, Newest);
    const channel = await client.channel();
    const { name } = await channel.queueDeclare('', { exclusive: true });
    client.socket.close(1001);
    const watcher = await broker.connect(t);
    for (;;) {
      const probe = await watcher.createChannel();
      probe.on('error', () => {});
      const code = await probe.checkQueue(name).then(() => probe.close(), (error) => error.code);
      if (code === 404) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  test('a page with a subprotocol gets it, pings are answered, and text is refused with 1003', async () => {
    for (const protocol of ['amqp', 'amqp-0-9-1']) {
      const socket = new WebSocket(url('/'), [protocol]);
      await once(socket, 'open');
      assert.equal(socket.protocol, protocol);
      socket.ping('hare');
      assert.equal((await once(socket, 'pong'))[0].toString(), 'hare');
      socket.send('AMQP');
      assert.equal((await once(socket, 'close'))[0], 1003);
    }
  });

  test('guest is not for pages from elsewhere', async () => {
    for (const [origin, admitted] of [['https://example.org', false], ['null', false], ['http://localhost:8080', true]]) {
      class Page extends WebSocket {
        constructor(address) {
          super(address, { origin });
        }
      }
      const usual = globalThis.WebSocket;
      globalThis.WebSocket = Page;
      const client = new Newest({ url: url() });
      client.onerror = () => {};
      const connected = client.connect();
      globalThis.WebSocket = usual;
      const told = await connected.then(() => 'connected', (error) => error.message ?? 'refused');
      assert.equal(told === 'connected', admitted, `${origin}: ${told}`);
      if (admitted) await client.close();
    }
  });
});
