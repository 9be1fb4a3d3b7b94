"""Exchange types and bindings as a protocol primer shows them."""

import pika
import pika.exceptions
import pytest

from support.messages import bound_queue, drain, expect_ready, publish


def test_direct_logs_reach_the_queues_bound_with_their_severity(channel, name):
    logs = name("direct_logs")
    channel.exchange_declare(logs, "direct")
    everything = bound_queue(channel, logs, "info", "warning", "error")
    errors = bound_queue(channel, logs, "error")
    for severity in ("info", "warning", "error", "debug"):
        publish(channel, logs, severity, severity)
    assert drain(channel, everything) == ["info", "warning", "error"]
    assert drain(channel, errors) == ["error"]


KEYS = [
    "service1.db.update",
    "service1.cache.update",
    "service1",
    "service1.db.update.done",
    "service2.critical.disk",
    "service1.critical.update",
    "critical.disk",
    "",
    "service1..update",
]
TOPICS = {
    "service1.*.update": [
        "service1.db.update",
        "service1.cache.update",
        "service1.critical.update",
        "service1..update",
    ],
    "service1.#": [
        "service1.db.update",
        "service1.cache.update",
        "service1",
        "service1.db.update.done",
        "service1.critical.update",
        "service1..update",
    ],
    "*.critical.*": ["service2.critical.disk", "service1.critical.update"],
    "#": KEYS,
    "*": ["service1"],
    "#.update": ["service1.db.update", "service1.cache.update", "service1.critical.update", "service1..update"],
    "#.critical.#": ["service2.critical.disk", "service1.critical.update", "critical.disk"],
    "service1.*.*.*": ["service1.db.update.done"],
    "service1.db.update": ["service1.db.update"],
    "*.#.*.update": ["service1.db.update", "service1.cache.update", "service1.critical.update", "service1..update"],
}


@pytest.mark.parametrize("pattern", TOPICS)
def test_topic_pattern(channel, name, pattern):
    exchange = name("topic_logs")
    channel.exchange_declare(exchange, "topic")
    queue = bound_queue(channel, exchange, pattern)
    for key in KEYS:
        publish(channel, exchange, key, key)
    assert drain(channel, queue) == TOPICS[pattern]


def test_topic_gives_one_copy_to_a_queue_with_several_matching_bindings(channel, name):
    exchange = name("topic_logs")
    channel.exchange_declare(exchange, "topic")
    queue = bound_queue(channel, exchange, "service1.*.update", "service1.#", "#", "service1.db.update")
    publish(channel, exchange, "service1.db.update", "one")
    assert drain(channel, queue) == ["one"]


def test_fanout_alerts_reach_every_queue_whatever_the_key(channel, name):
    alerts = name("alerts")
    channel.exchange_declare(alerts, "fanout")
    queues = [bound_queue(channel, alerts, key) for key in ("", "ignored", "other")]
    publish(channel, alerts, "some.key", "fire")
    publish(channel, alerts, "", "flood")
    for queue in queues:
        assert drain(channel, queue) == ["fire", "flood"]


HEADERS = [
    # arguments of the binding, headers of the message, whether they match
    ({"x-match": "all", "format": "pdf", "type": "report"}, {"format": "pdf", "type": "report"}, True),
    ({"x-match": "all", "format": "pdf", "type": "report"}, {"format": "pdf", "type": "report", "extra": 1}, True),
    ({"x-match": "all", "format": "pdf", "type": "report"}, {"format": "pdf"}, False),
    ({"format": "pdf", "type": "report"}, {"format": "pdf", "type": "log"}, False),
    ({"format": "pdf"}, {"format": "pdf"}, True),
    ({"x-match": "any", "format": "pdf", "type": "log"}, {"format": "pdf", "type": "report"}, True),
    ({"x-match": "any", "format": "pdf", "type": "log"}, {"format": "zip", "type": "report"}, False),
    ({"x-match": "any"}, {"format": "pdf"}, False),
    ({"x-match": "all"}, {"format": "pdf"}, True),
    ({"x-match": "all"}, None, True),
    ({"x-match": "all", "format": "pdf"}, None, False),
    ({"x-match": "all", "n": 1}, {"n": 1}, True),
    ({"x-match": "all", "n": 1}, {"n": 2**40}, False),
    ({"x-match": "all", "n": 1}, {"n": "1"}, False),
    ({"x-match": "all", "present": None}, {"present": "anything"}, True),
    ({"x-match": "all", "present": None}, {"absent": "anything"}, False),
    ({"x-match": "all", "x-skipped": "1", "format": "pdf"}, {"format": "pdf"}, True),
    ({"x-match": "all-with-x", "x-kept": "1", "format": "pdf"}, {"format": "pdf"}, False),
    ({"x-match": "any-with-x", "x-kept": "1", "format": "pdf"}, {"x-kept": "1"}, True),
    ({"x-match": "all", "flag": True}, {"flag": True}, True),
    ({"x-match": "all", "flag": True}, {"flag": False}, False),
]


@pytest.mark.parametrize("arguments,headers,matches", HEADERS)
def test_headers_exchange(channel, name, arguments, headers, matches):
    exchange = name("documents")
    channel.exchange_declare(exchange, "headers")
    queue = bound_queue(channel, exchange, "", arguments=arguments)
    publish(channel, exchange, "whatever", "m", properties=pika.BasicProperties(headers=headers))
    assert drain(channel, queue) == (["m"] if matches else [])


def test_the_default_exchange_routes_to_the_queue_of_that_name(channel, name):
    queue = name("q")
    channel.queue_declare(queue, auto_delete=True)
    publish(channel, "", queue, "direct")
    assert drain(channel, queue) == ["direct"]


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"])
def test_predeclared_exchanges_are_there(channel, exchange):
    channel.exchange_declare(exchange, passive=True)


def test_equal_redeclare_of_an_exchange_and_of_a_predeclared_one(channel, name):
    exchange = name("x")
    for _ in range(2):
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=True)
    channel.exchange_declare("amq.topic", "topic", durable=True)


def test_passive_declare_ignores_the_other_fields(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.exchange_declare(exchange, "fanout", passive=True)


def test_bindings_between_exchanges(channel, name):
    source, destination = name("source"), name("destination")
    channel.exchange_declare(source, "topic")
    channel.exchange_declare(destination, "fanout")
    channel.exchange_bind(destination, source, "stock.#")
    queue = bound_queue(channel, destination, "")
    publish(channel, source, "stock.usd", "yes")
    publish(channel, source, "weather", "no")
    assert drain(channel, queue) == ["yes"]
    channel.exchange_unbind(destination, source, "stock.#")
    publish(channel, source, "stock.usd", "late")
    assert drain(channel, queue) == []


def test_a_cycle_of_exchanges_gives_each_queue_one_copy(channel, name):
    ring = [name("ring") for _ in range(3)]
    for exchange in ring:
        channel.exchange_declare(exchange, "fanout")
    for index, exchange in enumerate(ring):
        channel.exchange_bind(ring[(index + 1) % 3], exchange)
    queues = [bound_queue(channel, exchange, "") for exchange in ring]
    publish(channel, ring[0], "", "round")
    for queue in queues:
        assert drain(channel, queue) == ["round"]


def test_a_queue_reached_on_two_ways_gets_one_copy(channel, name):
    top, left, right = name("top"), name("left"), name("right")
    for exchange in (top, left, right):
        channel.exchange_declare(exchange, "fanout")
    channel.exchange_bind(left, top)
    channel.exchange_bind(right, top)
    queue = bound_queue(channel, left, "")
    channel.queue_bind(queue, right)
    publish(channel, top, "", "once")
    assert drain(channel, queue) == ["once"]


def test_alternate_exchange_takes_what_is_not_routed(channel, name):
    orders, unrouted = name("orders"), name("unrouted")
    channel.exchange_declare(unrouted, "fanout")
    channel.exchange_declare(orders, "direct", arguments={"alternate-exchange": unrouted})
    known = bound_queue(channel, orders, "known")
    rest = bound_queue(channel, unrouted, "")
    publish(channel, orders, "known", "a")
    publish(channel, orders, "unknown", "b")
    assert drain(channel, known) == ["a"]
    method, _, body = channel.basic_get(rest, auto_ack=True)
    assert body == b"b"
    assert method.exchange == orders
    assert method.routing_key == "unknown"


def test_alternate_exchange_counts_as_routed_for_mandatory(channel, name):
    orders, unrouted = name("orders"), name("unrouted")
    channel.exchange_declare(unrouted, "fanout")
    channel.exchange_declare(orders, "direct", arguments={"alternate-exchange": unrouted})
    bound_queue(channel, unrouted, "")
    channel.confirm_delivery()
    channel.basic_publish(orders, "unknown", b"b", mandatory=True)


def test_a_missing_alternate_exchange_is_no_error(channel, name):
    orders = name("orders")
    channel.exchange_declare(orders, "direct", arguments={"alternate-exchange": name("missing")})
    channel.confirm_delivery()
    channel.basic_publish(orders, "unknown", b"dropped")
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(orders, "unknown", b"returned", mandatory=True)


def test_a_chain_and_a_loop_of_alternate_exchanges(channel, name):
    first, second = name("first"), name("second")
    channel.exchange_declare(first, "direct", arguments={"alternate-exchange": second})
    channel.exchange_declare(second, "direct", arguments={"alternate-exchange": first})
    queue = bound_queue(channel, second, "key")
    publish(channel, first, "key", "found")
    publish(channel, first, "other", "looped")
    assert drain(channel, queue) == ["found"]


def test_an_internal_exchange_takes_messages_from_other_exchanges_only(channel, connect, name):
    source, inner = name("source"), name("inner")
    channel.exchange_declare(source, "fanout")
    channel.exchange_declare(inner, "fanout", internal=True)
    channel.exchange_bind(inner, source)
    queue = bound_queue(channel, inner, "")
    publish(channel, source, "", "through")
    assert drain(channel, queue) == ["through"]
    other = connect().channel()
    other.confirm_delivery()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        other.basic_publish(inner, "", b"direct")
    assert closed.value.reply_code == 403


def test_binding_twice_is_one_binding(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "direct")
    queue = bound_queue(channel, exchange, "k", "k")
    channel.queue_unbind(queue, exchange, "k")
    publish(channel, exchange, "k", "m")
    expect_ready(channel, queue, 0)


def test_bindings_differ_by_their_arguments(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "headers")
    queue = bound_queue(channel, exchange, "k", arguments={"x-match": "all", "a": 1})
    channel.queue_bind(queue, exchange, "k", {"x-match": "all", "b": 2})
    channel.queue_unbind(queue, exchange, "k", {"x-match": "all", "a": 1})
    publish(channel, exchange, "k", "a", properties=pika.BasicProperties(headers={"a": 1}))
    publish(channel, exchange, "k", "b", properties=pika.BasicProperties(headers={"b": 2}))
    assert drain(channel, queue) == ["b"]


def test_nothing_is_raised_for_what_is_already_so(channel, name):
    """A client that loses its channel over a repeated or missing thing may stay mute for good."""
    exchange, queue, missing = name("x"), name("q"), name("missing")
    channel.exchange_declare(exchange, "topic", durable=True, auto_delete=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_unbind(queue, exchange, "never.bound")
    channel.queue_unbind(queue, missing, "k")
    channel.queue_unbind(missing, exchange, "k")
    channel.exchange_unbind(exchange, missing, "k")
    channel.exchange_unbind(missing, exchange, "k")
    channel.queue_delete(missing)
    channel.exchange_delete(missing)
    channel.exchange_declare(exchange, "topic", durable=True, auto_delete=True)
    channel.queue_declare(queue, durable=True)
    publish(channel, exchange, "nobody.listens", "dropped")
    channel.basic_ack(0, multiple=True)
    channel.basic_cancel("no such tag")
    expect_ready(channel, queue, 0)


class TestAutoDeleteExchange:
    """A durable exchange with auto_delete lives until its last binding goes."""

    @pytest.fixture
    def exchange(self, channel, name):
        exchange = name("nost")
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=True)
        return exchange

    @staticmethod
    def exists(connect, exchange):
        channel = connect().channel()
        try:
            channel.exchange_declare(exchange, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code == 404
            return False
        return True

    def test_it_lives_before_its_first_binding(self, channel, connect, exchange):
        publish(channel, exchange, "k", "nobody")
        assert self.exists(connect, exchange)

    def test_it_goes_with_the_last_unbind(self, channel, connect, exchange, name):
        first, second = name("q"), name("q")
        for queue in (first, second):
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, exchange, "k")
        channel.queue_unbind(first, exchange, "k")
        assert self.exists(connect, exchange)
        channel.queue_unbind(second, exchange, "k")
        assert not self.exists(connect, exchange)

    def test_it_goes_with_queue_delete(self, channel, connect, exchange, name):
        queue = name("q")
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, "k")
        channel.queue_delete(queue)
        assert not self.exists(connect, exchange)

    def test_it_goes_with_an_auto_delete_queue(self, channel, connect, exchange, name):
        queue = name("q")
        channel.queue_declare(queue, auto_delete=True)
        channel.queue_bind(queue, exchange, "k")
        tag = channel.basic_consume(queue, lambda *_: None)
        channel.basic_cancel(tag)
        assert not self.exists(connect, exchange)

    def test_it_goes_with_an_exclusive_queue_and_its_connection(self, channel, connect, exchange):
        owner = connect()
        bound_queue(owner.channel(), exchange, "#")
        assert self.exists(connect, exchange)
        owner.close()
        assert not self.exists(connect, exchange)

    def test_it_goes_when_an_exchange_bound_to_it_is_deleted(self, channel, connect, exchange, name):
        target = name("target")
        channel.exchange_declare(target, "fanout")
        channel.exchange_bind(target, exchange, "k")
        channel.exchange_delete(target)
        assert not self.exists(connect, exchange)

    def test_removing_it_removes_the_exchange_before_it(self, channel, connect, exchange, name):
        upstream = name("upstream")
        channel.exchange_declare(upstream, "fanout", auto_delete=True)
        channel.exchange_bind(exchange, upstream)
        queue = name("q")
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, "k")
        channel.queue_delete(queue)
        assert not self.exists(connect, exchange)
        assert not self.exists(connect, upstream)

    def test_publishing_to_it_afterwards_is_not_found(self, channel, exchange):
        queue = bound_queue(channel, exchange, "k")
        channel.queue_unbind(queue, exchange, "k")
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.basic_publish(exchange, "k", b"late")
        assert closed.value.reply_code == 404

    def test_other_flags_are_refused(self, channel, exchange):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.exchange_declare(exchange, "topic", durable=False, auto_delete=True)
        assert closed.value.reply_code == 406
        assert "inequivalent arg 'durable' for exchange" in closed.value.reply_text


def test_exchange_delete_if_unused(channel, connect, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "direct")
    queue = bound_queue(channel, exchange, "k")
    other = connect().channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        other.exchange_delete(exchange, if_unused=True)
    assert closed.value.reply_code == 406
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)


def test_deleting_an_exchange_removes_its_bindings(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "direct")
    queue = bound_queue(channel, exchange, "k")
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, "direct")
    publish(channel, exchange, "k", "m")
    expect_ready(channel, queue, 0)
