// amqplib: what ends a channel, what ends a connection, and what goes on afterwards.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { brokerForThisFile, closed, consumeInto, failsWith, openChannel, text, TOGETHER, unique } from './broker.js';

const broker = brokerForThisFile();

// Runs an operation that has no reply and must end its channel with `code`.
async function channelEnds(code, channel, operation) {
  const end = closed(channel);
  operation();
  await end;
  assert.equal(channel.errors.length, 1);
  assert.equal(channel.errors[0].code, code, channel.errors[0].message);
  return channel.errors[0];
}

// Runs an operation that must end the whole connection with `code`.
async function connectionEnds(code, connection, operation) {
  const end = closed(connection);
  const failed = Promise.resolve(operation()).catch(() => {});
  await end;
  await failed;
  assert.equal(connection.errors.length, 1);
  assert.equal(connection.errors[0].code, code, connection.errors[0].message);
  return connection.errors[0];
}

// basic.ack of everything, on channel 99, past amqplib, which would not send it.
function acknowledgeOnChannel99(connection) {
  connection.connection.stream.write(Buffer.from('01 0063 0000000d 003c 0050 0000000000000000 01 ce'.replaceAll(' ', ''), 'hex'));
}

describe('amqplib errors', TOGETHER, () => {
  const missing = unique('missing');
  for (const [what, operation, said] of [
    ['checking a missing queue', (channel) => channel.checkQueue(missing), `no queue '${missing}' in vhost '/'`],
    ['checking a missing exchange', (channel) => channel.checkExchange(missing), `no exchange '${missing}' in vhost '/'`],
    ['consuming from a missing queue', (channel) => channel.consume(missing, () => {}), `no queue '${missing}'`],
    ['getting from a missing queue', (channel) => channel.get(missing), `no queue '${missing}'`],
    ['purging a missing queue', (channel) => channel.purgeQueue(missing), `no queue '${missing}'`],
    ['binding a missing queue', (channel) => channel.bindQueue(missing, 'amq.direct', ''), `no queue '${missing}'`],
    ['binding a missing exchange', (channel) => channel.bindExchange(missing, 'amq.direct', ''), `no exchange '${missing}'`],
  ]) {
    test(`404: ${what}`, async (t) => {
      const channel = await broker.channel(t);
      const error = await failsWith(404, channel, () => operation(channel));
      assert.ok(error.message.includes(`NOT_FOUND - ${said}`), error.message);
    });
  }

  for (const [what, operation] of [
    ['declaring a queue named amq.*', (channel) => channel.assertQueue(`amq.${missing}`)],
    ['declaring an exchange named amq.*', (channel) => channel.assertExchange(`amq.${missing}`, 'direct')],
    ['deleting a predeclared exchange', (channel) => channel.deleteExchange('amq.direct')],
    ['declaring the default exchange', (channel) => channel.assertExchange('', 'direct')],
    ['deleting the default exchange', (channel) => channel.deleteExchange('')],
    [
      'binding to the default exchange',
      async (channel) => channel.bindQueue((await channel.assertQueue('', { exclusive: true })).queue, '', 'key'),
    ],
  ]) {
    test(`403: ${what}`, async (t) => {
      const channel = await broker.channel(t);
      const error = await failsWith(403, channel, () => operation(channel));
      assert.match(error.message, /ACCESS_REFUSED/);
    });
  }

  const invalid = unique('invalid');
  for (const [what, options] of [
    ['a text as x-message-ttl', { 'x-message-ttl': 'soon' }],
    ['a negative x-message-ttl', { 'x-message-ttl': -1 }],
    ['x-expires 0', { 'x-expires': 0 }],
    ['a negative x-max-length', { 'x-max-length': -5 }],
    ['a number as x-dead-letter-exchange', { 'x-dead-letter-exchange': 5 }],
    ['an unknown x-overflow', { 'x-overflow': 'burst' }],
    ['an unknown x-queue-type', { 'x-queue-type': 'imaginary' }],
    ['a dead letter routing key alone', { 'x-dead-letter-routing-key': 'key' }],
  ]) {
    test(`406: ${what}`, async (t) => {
      const channel = await broker.channel(t);
      const declare = () => channel.assertQueue(invalid, { durable: false, autoDelete: true, arguments: options });
      assert.match((await failsWith(406, channel, declare)).message, /PRECONDITION_FAILED/);
    });
  }

  test('406: declaring a queue again with other properties', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const queue = unique('again');
    const declared = { durable: false, autoDelete: false, arguments: { 'x-message-ttl': 60_000 } };
    await channel.assertQueue(queue, declared);
    await channel.assertQueue(queue, { ...declared, arguments: { 'x-message-ttl': { '!': 'int64', value: 60_000 } } });
    for (const [change, said] of [
      [{ durable: true }, `inequivalent arg 'durable' for queue '${queue}' in vhost '/': received 'true' but current is 'false'`],
      [{ autoDelete: true }, `inequivalent arg 'auto_delete' for queue '${queue}'`],
      [{ arguments: { 'x-message-ttl': 1 } }, `inequivalent arg 'x-message-ttl' for queue '${queue}'`],
      [{ arguments: {} }, `inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '/': received none but current is the value '60000'`],
    ]) {
      const other = await openChannel(connection);
      const error = await failsWith(406, other, () => other.assertQueue(queue, { ...declared, ...change }));
      assert.ok(error.message.includes(said), error.message);
    }
    await channel.deleteQueue(queue);
  });

  test('406: declaring an exchange again with other properties', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const exchange = unique('again');
    await channel.assertExchange(exchange, 'direct', { durable: false });
    await channel.assertExchange(exchange, 'direct', { durable: false });
    for (const [type, options, said] of [
      ['fanout', { durable: false }, `inequivalent arg 'type' for exchange '${exchange}' in vhost '/': received 'fanout' but current is 'direct'`],
      ['direct', { durable: true }, `inequivalent arg 'durable' for exchange '${exchange}'`],
      ['direct', { durable: false, autoDelete: true }, `inequivalent arg 'auto_delete' for exchange '${exchange}'`],
      ['direct', { durable: false, internal: true }, `inequivalent arg 'internal' for exchange '${exchange}'`],
    ]) {
      const other = await openChannel(connection);
      const error = await failsWith(406, other, () => other.assertExchange(exchange, type, options));
      assert.ok(error.message.includes(said), error.message);
    }
    await channel.deleteExchange(exchange);
  });

  test('406: an unknown delivery tag', async (t) => {
    const channel = await broker.channel(t);
    const error = await channelEnds(406, channel, () => channel.ack({ fields: { deliveryTag: 77 } }));
    assert.match(error.message, /PRECONDITION_FAILED - unknown delivery tag 77/);
  });

  test('406: acknowledging twice', async (t) => {
    const channel = await broker.channel(t);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('once'));
    const consumer = await consumeInto(channel, queue);
    const message = await consumer.next();
    channel.ack(message);
    await channelEnds(406, channel, () => channel.ack(message));
  });

  test('406: acknowledging on another channel', async (t) => {
    const connection = await broker.connect(t);
    const [one, two] = [await openChannel(connection), await openChannel(connection)];
    const { queue } = await one.assertQueue('', { exclusive: true });
    one.sendToQueue(queue, Buffer.from('mine'));
    const message = await (await consumeInto(one, queue)).next();
    await channelEnds(406, two, () => two.ack(message));
    one.ack(message);
    assert.equal((await one.checkQueue(queue)).messageCount, 0);
  });

  test('404: publishing to a missing exchange', async (t) => {
    const channel = await broker.channel(t);
    const exchange = unique('missing');
    const error = await channelEnds(404, channel, () => channel.publish(exchange, '', Buffer.from('lost')));
    assert.ok(error.message.includes(`NOT_FOUND - no exchange '${exchange}' in vhost '/'`), error.message);
  });

  test('406: an expiration that is no number', async (t) => {
    const channel = await broker.channel(t);
    await channelEnds(406, channel, () => channel.publish('', unique('q'), Buffer.from('x'), { expiration: 'never' }));
  });

  test('406: a user id that is not the user', async (t) => {
    const channel = await broker.channel(t);
    await channelEnds(406, channel, () => channel.publish('', unique('q'), Buffer.from('x'), { userId: 'somebody' }));
  });

  test('an ended channel leaves the connection and its other channels alone', async (t) => {
    const connection = await broker.connect(t);
    const witness = await openChannel(connection);
    const { queue } = await witness.assertQueue('', { exclusive: true });
    const consumer = await consumeInto(witness, queue);
    for (let round = 0; round < 10; round++) {
      const channel = await openChannel(connection, true);
      channel.sendToQueue(queue, Buffer.from(`${round}`));
      await channel.waitForConfirms();
      await failsWith(404, channel, () => channel.checkQueue(unique('missing')));
    }
    for (let round = 0; round < 10; round++) {
      const message = await consumer.next();
      assert.equal(text(message), `${round}`);
      witness.ack(message);
    }
    assert.deepEqual(connection.errors, []);
    assert.deepEqual(witness.errors, []);
    assert.equal((await witness.checkQueue(queue)).messageCount, 0);
  });

  test('a channel that ends gives its messages back and loses its consumers', async (t) => {
    const connection = await broker.connect(t);
    const witness = await openChannel(connection);
    const { queue } = await witness.assertQueue('', { exclusive: true });
    const channel = await openChannel(connection);
    const consumer = await consumeInto(channel, queue);
    witness.sendToQueue(queue, Buffer.from('held'));
    await consumer.next();
    await failsWith(404, channel, () => channel.checkQueue(unique('missing')));
    const again = await (await consumeInto(witness, queue)).next();
    assert.equal(text(again), 'held');
    assert.equal(again.fields.redelivered, true);
    assert.equal((await witness.checkQueue(queue)).consumerCount, 1);
  });

  test('publishes behind an error on their channel are dropped', async (t) => {
    const connection = await broker.connect(t);
    const witness = await openChannel(connection, true);
    const { queue } = await witness.assertQueue('', { exclusive: true });
    const channel = await openChannel(connection);
    await channelEnds(404, channel, () => {
      channel.sendToQueue(queue, Buffer.from('before'));
      channel.publish(unique('missing'), '', Buffer.from('wrong'));
      for (let i = 0; i < 100; i++) channel.sendToQueue(queue, Buffer.from('behind'));
    });
    await witness.waitForConfirms();
    assert.equal(text(await witness.get(queue, { noAck: true })), 'before');
    assert.equal(await witness.get(queue), false);
  });

  test('530 ends the connection: a consumer tag used twice', async (t) => {
    const connection = await broker.connect(t);
    const channel = await openChannel(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.consume(queue, () => {}, { consumerTag: 'mine' });
    // The same tag on another channel is another consumer.
    await (await openChannel(connection)).consume(queue, () => {}, { consumerTag: 'mine' });
    const error = await connectionEnds(530, connection, () => channel.consume(queue, () => {}, { consumerTag: 'mine' }));
    assert.match(error.message, /NOT_ALLOWED - attempt to reuse consumer tag 'mine'/);
  });

  test('504 ends the connection: a method on a channel that is not open', async (t) => {
    const connection = await broker.connect(t);
    await openChannel(connection);
    const error = await connectionEnds(504, connection, () => acknowledgeOnChannel99(connection));
    assert.match(error.message, /CHANNEL_ERROR/);
  });

  test('a connection error ends one connection only', async (t) => {
    const [failing, witness] = [await broker.connect(t), await broker.confirmChannel(t)];
    const queue = unique('survivor');
    await witness.assertQueue(queue, { durable: false, autoDelete: true });
    const channel = await openChannel(failing, true);
    channel.sendToQueue(queue, Buffer.from('kept'));
    await channel.waitForConfirms();
    await channel.get(queue);
    await connectionEnds(504, failing, () => acknowledgeOnChannel99(failing));
    const message = await (await consumeInto(witness, queue, { noAck: true })).next();
    assert.equal(text(message), 'kept');
    assert.equal(message.fields.redelivered, true);
  });
});
