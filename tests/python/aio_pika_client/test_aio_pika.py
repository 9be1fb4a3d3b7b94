"""aio-pika: robust connections, confirms, transactions, iterators, RPC."""

import asyncio
import uuid

import aio_pika
import aio_pika.exceptions
import aio_pika.patterns
import pytest
from aiormq.exceptions import ChannelPreconditionFailed, DeliveryError

from support.broker import free_port
from support.deadline import eventually_async


@pytest.fixture
async def connection(broker):
    """A plain connection, closed after the test."""
    connection = await aio_pika.connect(broker.url())
    yield connection
    await connection.close()


@pytest.fixture
async def channel(connection):
    """A channel with confirms, aio-pika's default."""
    return await connection.channel()


async def test_iterator_consumer(channel, name):
    queue = await channel.declare_queue(name("q"), durable=True)
    for number in range(20):
        await channel.default_exchange.publish(aio_pika.Message(str(number).encode(), delivery_mode=2), queue.name)
    bodies = []
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                bodies.append(int(message.body))
            if len(bodies) == 20:
                break
    assert bodies == list(range(20))
    assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 0


async def test_process_requeues_when_the_body_of_the_block_raises(channel, name):
    queue = await channel.declare_queue(name("q"), durable=True)
    await channel.default_exchange.publish(aio_pika.Message(b"once more"), queue.name)
    message = await queue.get(timeout=5)
    with pytest.raises(RuntimeError):
        async with message.process(requeue=True):
            raise RuntimeError
    again = await queue.get(timeout=5)
    assert (again.body, again.redelivered) == (b"once more", True)
    await again.ack()
    assert await queue.get(fail=False) is None


async def test_many_publishes_at_once_are_all_confirmed(channel, name):
    queue = await channel.declare_queue(name("q"), durable=True)
    publish = channel.default_exchange.publish
    confirms = await asyncio.gather(
        *[publish(aio_pika.Message(str(n).encode(), delivery_mode=2), queue.name) for n in range(500)]
    )
    assert len(confirms) == 500
    assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 500
    assert (await queue.purge()).message_count == 500


async def test_an_unroutable_message_raises(connection, name):
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    with pytest.raises(DeliveryError):
        await channel.default_exchange.publish(aio_pika.Message(b"back"), name("nowhere"), mandatory=True)


async def test_transaction(connection, name):
    channel = await connection.channel(publisher_confirms=False)
    queue = await channel.declare_queue(name("q"), durable=True)
    publish = channel.default_exchange.publish

    async with channel.transaction():
        await publish(aio_pika.Message(b"kept"), queue.name)
    with pytest.raises(RuntimeError):
        async with channel.transaction():
            await publish(aio_pika.Message(b"dropped"), queue.name)
            raise RuntimeError
    message = await queue.get(timeout=5, no_ack=True)
    assert message.body == b"kept"
    assert await queue.get(fail=False) is None


async def test_transaction_by_hand(connection, name):
    channel = await connection.channel(publisher_confirms=False)
    queue = await channel.declare_queue(name("q"), durable=True)
    transaction = channel.transaction()
    await transaction.select()
    for turn in range(4):
        await channel.default_exchange.publish(aio_pika.Message(str(turn).encode()), queue.name)
        await (transaction.commit() if turn % 2 else transaction.rollback())
    assert [(await queue.get(timeout=5, no_ack=True)).body for _ in range(2)] == [b"1", b"3"]
    assert await queue.get(fail=False) is None


async def test_headers_and_properties(channel, name):
    queue = await channel.declare_queue(name("q"), durable=True)
    sent = aio_pika.Message(
        b"{}",
        headers={"n": 1, "big": 2**40, "text": "häder", "list": [1, {"a": "two"}], "yes": True},
        content_type="application/json",
        priority=3,
        correlation_id="c",
        expiration=60,
        message_id="m",
        type="t",
        app_id="suite",
    )
    await channel.default_exchange.publish(sent, queue.name)
    got = await queue.get(timeout=5)
    assert got.headers["big"] == 2**40
    assert got.headers["text"] == "häder"
    assert got.headers["list"] == [1, {"a": "two"}]
    assert (got.content_type, got.priority, got.correlation_id, got.message_id) == ("application/json", 3, "c", "m")
    assert got.expiration == 60
    await got.ack()


async def test_topic_exchange_with_two_queues(channel, name):
    exchange = await channel.declare_exchange(name("x"), aio_pika.ExchangeType.TOPIC, auto_delete=True)
    queues = [await channel.declare_queue(exclusive=True) for _ in range(2)]
    await queues[0].bind(exchange, "a.*")
    await queues[1].bind(exchange, "#")
    for key in ("a.b", "c"):
        await exchange.publish(aio_pika.Message(key.encode()), key)
    assert (await queues[0].get(timeout=5, no_ack=True)).body == b"a.b"
    assert [(await queues[1].get(timeout=5, no_ack=True)).body for _ in range(2)] == [b"a.b", b"c"]
    await queues[0].unbind(exchange, "a.*")


async def test_a_channel_error_is_the_callers_and_another_channel_works(connection, name):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("q"), durable=True)
    with pytest.raises(ChannelPreconditionFailed):
        await channel.declare_queue(queue.name, durable=False)
    other = await connection.channel()
    assert (await other.declare_queue(queue.name, durable=True)).name == queue.name


async def test_rpc_pattern(broker, connection, name):
    method = name("add")

    async def add(*, a, b):
        return a + b

    async def fail():
        raise ValueError("no")

    server = await aio_pika.connect_robust(broker.url())
    serving = await aio_pika.patterns.RPC.create(await server.channel())
    await serving.register(method, add, auto_delete=True)
    await serving.register(method + ".fail", fail, auto_delete=True)
    client = await aio_pika.patterns.RPC.create(await connection.channel())
    answers = await asyncio.gather(*[client.call(method, {"a": n, "b": 1}) for n in range(20)])
    assert answers == list(range(1, 21))
    with pytest.raises(ValueError):
        await client.call(method + ".fail")
    await client.close()
    await serving.close()
    await server.close()


async def test_master_and_worker_pattern(broker, connection, name):
    task = name("task")
    done = []

    async def work(*, number):
        done.append(number)

    channel = await connection.channel()
    await channel.set_qos(prefetch_count=2)
    master = aio_pika.patterns.Master(channel)
    worker = await master.create_worker(task, work, auto_delete=True)
    for number in range(10):
        await master.create_task(task, {"number": number})
    await eventually_async(lambda: len(done) == 10, "all tasks are done")
    assert sorted(done) == list(range(10))
    await worker.close()


async def test_heartbeat_of_1_second_keeps_an_idle_connection(broker):
    connection = await aio_pika.connect(broker.url(heartbeat=1))
    channel = await connection.channel()
    await asyncio.sleep(4.5)
    await channel.declare_queue(exclusive=True)
    await connection.close()


async def test_robust_connection_on_a_living_broker(broker, name):
    connection = await aio_pika.connect_robust(broker.url())
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name("q"), auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"m"), queue.name)
        assert (await queue.get(timeout=5, no_ack=True)).body == b"m"


@pytest.mark.own_broker
async def test_robust_connection_comes_back_after_a_restart(leveret):
    """Exchange, queue, binding and consumer are there again without a word of the user."""
    broker = leveret(port=free_port())
    connection = await aio_pika.connect_robust(broker.url(reconnect_interval="0.1"), reconnect_interval=0.1)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=5)
    exchange = await channel.declare_exchange("events", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("events.mine", durable=True)
    await queue.bind(exchange, "events.#")
    bodies = []

    async def on_message(message):
        async with message.process():
            bodies.append(message.body.decode())

    await queue.consume(on_message)
    for turn in range(3):
        if turn:
            code = await asyncio.to_thread(broker.stop)
            assert code == 0
            await asyncio.to_thread(broker.start)
        body = f"turn {turn} {uuid.uuid4().hex}"

        async def publish(text=body):
            try:
                await asyncio.wait_for(
                    exchange.publish(aio_pika.Message(text.encode()), "events.new", mandatory=True), 2
                )
            except Exception:  # while the connection is being restored every kind of error may come
                return False
            return True

        for _ in range(100):
            if await publish():
                break
            await asyncio.sleep(0.1)
        await eventually_async(lambda text=body: text in bodies, f"the message of turn {turn}")
    await connection.close()
