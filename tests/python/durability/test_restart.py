"""What is there after a restart, clean or by kill -9, and what is not."""

import pika
import pika.exceptions
import pytest

from durability.backlog import disk_bytes
from durability.link import Link
from support.broker import Leveret
from support.deadline import eventually
from support.messages import PERSISTENT, Consumer, drain, expect_ready, publish, ready
from wire import frames

pytestmark = pytest.mark.own_broker


@pytest.fixture(params=["clean", "kill"])
def restarted(request, on):
    """`restarted(broker)` ends a broker, cleanly and by kill -9, and answers the next one."""

    def restart(broker):
        if request.param == "clean":
            assert broker.stop() == 0
        else:
            broker.kill()
        return on(broker.settings)

    return restart


def channel_of(broker):
    """A channel on a new connection."""
    return pika.BlockingConnection(broker.parameters()).channel()


def is_missing(broker, kind, name):
    """Whether a passive declare says 404."""
    try:
        getattr(channel_of(broker), f"{kind}_declare")(name, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return True
    return False


EXCHANGES = [
    ("direct", {}),
    ("fanout", {}),
    ("topic", {"auto_delete": True}),
    ("headers", {"internal": True}),
    ("direct", {"arguments": {"alternate-exchange": "amq.fanout", "x-any": {"list": [1, "two", None, True]}}}),
]
QUEUE_ARGUMENTS = [
    {},
    {"x-max-length": 1000, "x-overflow": "reject-publish", "x-message-ttl": 10**6},
    {"x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": "dead", "x-max-priority": 5},
    {"x-queue-type": "quorum"},
    {"x-any": {"list": [1, -(2**40), "zwei ö", None, True, {"deep": []}]}},
]


def test_exchanges_come_back_with_type_flags_and_arguments(on, restarted):
    """An equal redeclare is accepted, and every other one refused."""
    broker = on()
    channel = channel_of(broker)
    for number, (kind, options) in enumerate(EXCHANGES):
        channel.exchange_declare(f"e{number}", kind, durable=True, **options)
    broker = restarted(broker)
    channel = channel_of(broker)
    for number, (kind, options) in enumerate(EXCHANGES):
        name = f"e{number}"
        channel.exchange_declare(name, kind, durable=True, **options)
        for wrong in (
            {"exchange_type": "topic" if kind != "topic" else "fanout"},
            {"durable": False},
            {"auto_delete": not options.get("auto_delete", False)},
            {"internal": not options.get("internal", False)},
            {"arguments": {"alternate-exchange": "other"}},
        ):
            with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
                channel_of(broker).exchange_declare(
                    name, **({"exchange_type": kind, "durable": True} | options | wrong)
                )
            assert refused.value.reply_code == 406, (name, wrong)


def test_queues_come_back_with_their_arguments(on, restarted):
    broker = on()
    channel = channel_of(broker)
    for number, arguments in enumerate(QUEUE_ARGUMENTS):
        channel.queue_declare(f"q{number}", durable=True, arguments=arguments)
    channel.queue_declare("auto", durable=True, auto_delete=True)
    broker = restarted(broker)
    channel = channel_of(broker)
    for number, arguments in enumerate(QUEUE_ARGUMENTS):
        channel.queue_declare(f"q{number}", durable=True, arguments=arguments)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            channel_of(broker).queue_declare(f"q{number}", durable=True, arguments=arguments | {"x-expires": 10**7})
        assert refused.value.reply_code == 406
    channel.queue_declare("auto", durable=True, auto_delete=True)
    consumer = Consumer(channel, "auto")
    channel.basic_cancel(consumer.tag)
    assert is_missing(broker, "queue", "auto")


def test_bindings_come_back(on, restarted):
    """Of all types, twice to one queue by several keys, from exchange to exchange, with arguments; and no others."""
    broker = on()
    channel = channel_of(broker)
    for kind in ("direct", "fanout", "topic", "headers"):
        channel.exchange_declare(kind, kind, durable=True)
        channel.queue_declare(kind, durable=True)
    channel.queue_bind("direct", "direct", "a")
    channel.queue_bind("direct", "direct", "b")
    channel.queue_bind("direct", "direct", "gone")
    channel.queue_unbind("direct", "direct", "gone")
    channel.queue_bind("topic", "topic", "a.*.#")
    channel.queue_bind("headers", "headers", "", {"x-match": "all", "n": 1, "text": "ö", "flag": True})
    channel.queue_bind("headers", "headers", "", {"x-match": "any", "other": 7})
    channel.queue_bind("fanout", "fanout", "")
    channel.exchange_bind("fanout", "direct", "to-fanout")
    channel.exchange_bind("headers", "topic", "h.#", {"why": "not"})
    channel.queue_bind("fanout", "amq.topic", "predeclared")
    broker = restarted(broker)
    channel = channel_of(broker)

    def headers(**values):
        return pika.BasicProperties(delivery_mode=2, headers=values)

    publish(channel, "direct", "a", "direct a")
    publish(channel, "direct", "b", "direct b")
    publish(channel, "direct", "gone", "nowhere")
    publish(channel, "direct", "to-fanout", "through two")
    publish(channel, "topic", "a.b", "topic a.b")
    publish(channel, "topic", "a.b.c.d", "topic a.b.c.d")
    publish(channel, "topic", "b", "nowhere")
    publish(channel, "headers", "", "all", properties=headers(n=1, text="ö", flag=True))
    publish(channel, "headers", "", "nowhere", properties=headers(n=1, text="ö"))
    publish(channel, "headers", "", "any", properties=headers(other=7))
    publish(channel, "topic", "h.x", "through headers", properties=headers(other=7))
    publish(channel, "amq.topic", "predeclared", "amq.topic")
    assert {kind: drain(channel, kind) for kind in ("direct", "fanout", "topic", "headers")} == {
        "direct": ["direct a", "direct b"],
        "fanout": ["through two", "amq.topic"],
        "topic": ["topic a.b", "topic a.b.c.d"],
        "headers": ["all", "any", "through headers"],
    }


def test_deleted_definitions_stay_deleted(on, restarted):
    broker = on()
    channel = channel_of(broker)
    channel.exchange_declare("e", "fanout", durable=True)
    channel.queue_declare("q", durable=True)
    channel.queue_bind("q", "e")
    publish(channel, "", "q", "old", properties=PERSISTENT)
    channel.queue_delete("q")
    channel.queue_declare("q", durable=True)
    publish(channel, "e", "", "not bound any more", properties=PERSISTENT)
    channel.exchange_delete("e")
    channel.queue_declare("other", durable=True)
    channel.queue_delete("other")
    broker = restarted(broker)
    assert ready(channel_of(broker), "q") == 0
    assert is_missing(broker, "exchange", "e")
    assert is_missing(broker, "queue", "other")


def test_what_is_not_durable_is_gone(on, restarted):
    """Transient and exclusive queues, transient exchanges, their bindings, and transient messages in durable queues."""
    broker = on()
    channel = channel_of(broker)
    channel.exchange_declare("transient", "fanout")
    channel.exchange_declare("durable", "fanout", durable=True)
    channel.queue_declare("transient")
    channel.queue_declare("exclusive", durable=True, exclusive=True)
    channel.queue_declare("durable", durable=True)
    for queue in ("transient", "exclusive", "durable"):
        channel.queue_bind(queue, "durable")
    channel.queue_bind("durable", "transient")
    channel.confirm_delivery()
    publish(channel, "", "durable", "transient 1")
    publish(channel, "durable", "", "persistent", properties=PERSISTENT)
    publish(channel, "", "durable", "transient 2", properties=pika.BasicProperties(delivery_mode=1))
    broker = restarted(broker)
    assert is_missing(broker, "exchange", "transient")
    assert is_missing(broker, "queue", "transient")
    assert is_missing(broker, "queue", "exclusive")
    channel = channel_of(broker)
    assert drain(channel, "durable") == ["persistent"]
    channel.exchange_declare("transient", "fanout", durable=True)
    publish(channel, "transient", "", "the binding is gone with the exchange")
    assert ready(channel, "durable") == 0


ALL_PROPERTIES = {
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "headers": {"s": "ö", "n": -(2**40), "f": 2.5, "t": True, "v": None, "a": [1, ["x"]], "F": {"deep": {}}},
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "86400000",
    "message_id": "m" * 255,
    "timestamp": 2**63,
    "type": "t",
    "user_id": "guest",
    "app_id": "",
    "cluster_id": "x",
}


def test_messages_come_back_in_order_and_byte_for_byte(on, restarted):
    """Properties of every type in every combination of neighbours, bodies from nothing to many frames."""
    broker = on()
    link = Link((broker.host, broker.port))
    link.call("queue.declare", queue="q", durable=True)
    link.call("confirm.select")
    names = list(ALL_PROPERTIES)
    sent = []
    for number, size in enumerate((0, 1, 100, 4_096, 131_064, 131_065, 1_000_000, 0, *range(200))):
        chosen = [name for place, name in enumerate(names) if (number * 2654435761 >> place) & 1] or names
        values = {name: ALL_PROPERTIES[name] for name in (*chosen, "delivery_mode")}
        body = bytes((number + at) % 251 for at in range(size))
        link.send(frames.method("basic.publish", exchange="", routing_key="q") + frames.header(size, 1, **values))
        for at in range(0, size, 131_064):
            link.send(frames.body(body[at : at + 131_064]))
        sent.append((frames.properties(values), body))
    confirmed = 0
    while confirmed < len(sent):
        method, _ = link.next()
        confirmed = method.number("delivery_tag") if method.args["multiple"] else confirmed + 1
    broker = restarted(broker)
    found = Link((broker.host, broker.port)).all_of("q")
    assert [content.body for _, content in found] == [body for _, body in sent]
    assert [content.raw for _, content in found] == [raw for raw, _ in sent]
    assert not any(redelivered for redelivered, _ in found)


def test_unacked_messages_come_back_to_their_places_as_redelivered(on, restarted):
    broker = on()
    channel = channel_of(broker)
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for number in range(10):
        publish(channel, "", "q", str(number), properties=PERSISTENT)
    consumer = Consumer(channel, "q")
    deliveries = consumer.take(10)
    for number in (1, 4, 5):
        channel.basic_ack(deliveries[number].tag)
    channel.basic_nack(deliveries[2].tag, requeue=True)
    ready(channel, "q")
    broker = restarted(broker)
    found = Link((broker.host, broker.port)).all_of("q")
    assert [int(content.body) for _, content in found] == [0, 2, 3, 6, 7, 8, 9]
    assert all(redelivered for redelivered, _ in found)


def test_what_was_consumed_without_acknowledgement_stays_away(on, restarted):
    broker = on()
    channel = channel_of(broker)
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for number in range(10):
        publish(channel, "", "q", str(number), properties=PERSISTENT)
    assert channel.basic_get("q", auto_ack=True)[2] == b"0"
    consumer = Consumer(channel, "q", auto_ack=True)
    consumer.take(9)
    channel.basic_cancel(consumer.tag)
    # A confirm is certain only after everything before it.
    publish(channel, "", "q", "last", properties=PERSISTENT)
    broker = restarted(broker)
    assert drain(channel_of(broker), "q") == ["last"]


def test_a_purge_stays(on, restarted):
    broker = on()
    channel = channel_of(broker)
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for number in range(300):
        publish(channel, "", "q", str(number), properties=PERSISTENT)
    assert channel.queue_purge("q").method.message_count == 300
    publish(channel, "", "q", "after", properties=PERSISTENT)
    broker = restarted(broker)
    assert drain(channel_of(broker), "q") == ["after"]


def test_many_restarts_change_nothing(on, restarted):
    """Neither content nor files grow by starting, and a new message stands behind the old ones."""
    broker = on()
    channel = channel_of(broker)
    channel.queue_declare("q", durable=True)
    for number in range(16):
        channel = channel_of(broker)
        channel.confirm_delivery()
        publish(channel, "", "q", str(number), properties=PERSISTENT)
        expect_ready(channel, "q", number + 1)
        broker = restarted(broker)

    assert drain(channel_of(broker), "q") == [str(number) for number in range(16)]
    assert not [record for record in broker.records() if record["level"] == "ERROR"]
    # Four journal files that are kept, the next one and two spare ones, of each the 4 MiB that are filled ahead.
    eventually(lambda: disk_bytes(broker.data_dir) <= 29 * 2**20, "a few journal files are left")


def test_a_second_broker_on_the_same_directory_is_refused(on, directory):
    first = on()
    channel = channel_of(first)
    channel.queue_declare("q", durable=True)
    second = Leveret(data_dir=directory)
    second.launch()
    assert second.wait() == 1
    last = second.log_text()
    assert f"{directory} is in use by another process (pid {first.process.pid})" in last, last
    channel.queue_declare("q", durable=True)
    assert first.stop() == 0
    eventually(lambda: on().running(), "the directory is free again")


@pytest.mark.parametrize("sync", ["always", "100ms", "never"])
def test_every_way_of_syncing_survives_kill_9(on, sync):
    settings = {"storage.sync": sync}
    broker = on(settings)
    for round_number in range(4):
        channel = channel_of(broker)
        channel.queue_declare("q", durable=True)
        channel.queue_declare(f"q{round_number}", durable=True)
        channel.confirm_delivery()
        for number in range(20):
            publish(channel, "", "q", f"{round_number}.{number}", properties=PERSISTENT)
        broker.kill()
        broker = on(settings)
    channel = channel_of(broker)
    for round_number in range(4):
        assert ready(channel, f"q{round_number}") == 0
    assert drain(channel, "q") == [f"{outer}.{inner}" for outer in range(4) for inner in range(20)]


def test_an_unknown_way_of_syncing_is_refused(directory):
    broken = Leveret({"storage.sync": "sometimes"}, data_dir=directory)
    broken.launch()
    assert broken.wait() == 1
    assert "storage.sync" in broken.log_text()
