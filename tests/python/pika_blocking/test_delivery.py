"""Consuming, prefetch, acknowledgements, requeueing."""

import pika
import pika.exceptions
import pytest

from support.deadline import eventually, pump
from support.messages import Consumer, bound_queue, drain, expect_ready, publish, ready


@pytest.fixture
def queue(channel, name):
    """A durable queue."""
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    return queue


def test_work_queue_with_prefetch_1_gives_work_to_whoever_is_free(connect, channel, queue):
    workers = []
    for _ in range(3):
        worker = connect().channel()
        worker.basic_qos(prefetch_count=1)
        workers.append(worker)
    slow = Consumer(workers[0], queue)
    quick = [Consumer(worker, queue, each=lambda c, d: c.basic_ack(d.tag)) for worker in workers[1:]]
    publish(
        channel, "", queue, *[str(number) for number in range(30)], properties=pika.BasicProperties(delivery_mode=2)
    )
    slow.take(1)

    def the_quick_ones_are_done():
        for consumer in quick:
            consumer.channel.connection.process_data_events(time_limit=0)
        return sum(len(consumer.deliveries) for consumer in quick) == 29

    eventually(the_quick_ones_are_done, "the two quick workers do the 29 other tasks")
    slow.channel.connection.process_data_events(time_limit=0)
    assert len(slow.deliveries) == 1
    slow.channel.basic_ack(slow.deliveries[0].tag)
    everything = slow.texts() + quick[0].texts() + quick[1].texts()
    assert sorted(everything, key=int) == [str(number) for number in range(30)]
    for consumer in quick:
        assert consumer.texts() == sorted(consumer.texts(), key=int)


def test_round_robin_between_equal_consumers(connect, channel, queue):
    consumers = [Consumer(connect().channel(), queue, auto_ack=True) for _ in range(2)]
    publish(channel, "", queue, *[str(number) for number in range(10)])
    for consumer in consumers:
        consumer.take(5)
    assert sorted(consumers[0].texts() + consumers[1].texts(), key=int) == [str(number) for number in range(10)]


def test_prefetch_holds_back_what_is_not_acknowledged(channel, queue):
    channel.basic_qos(prefetch_count=3)
    publish(channel, "", queue, *"abcdefg")
    consumer = Consumer(channel, queue)
    consumer.take(3)
    expect_ready(channel, queue, 4)
    assert len(consumer.deliveries) == 3
    channel.basic_ack(consumer.deliveries[1].tag, multiple=True)
    consumer.take(5)
    expect_ready(channel, queue, 2)
    assert consumer.texts() == list("abcde")


def test_prefetch_is_each_consumers_own_and_counts_for_later_consumers_only(channel, queue, name):
    other = name("other")
    channel.queue_declare(other, durable=True)
    channel.basic_qos(prefetch_count=1)
    one = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=2)
    two = Consumer(channel, other)
    publish(channel, "", queue, *"abc")
    publish(channel, "", other, *"abc")
    two.take(2)
    one.take(1)
    expect_ready(channel, queue, 2)
    expect_ready(channel, other, 1)


def test_qos_global_limits_the_channel(channel, queue, name):
    other = name("other")
    channel.queue_declare(other, durable=True)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    consumers = [Consumer(channel, queue), Consumer(channel, other)]
    publish(channel, "", queue, *"abc")
    publish(channel, "", other, *"abc")

    def have():
        return sum(len(consumer.deliveries) for consumer in consumers)

    pump(channel.connection, lambda: have() >= 3, "three deliveries")
    eventually(lambda: ready(channel, queue) + ready(channel, other) == 3, "three messages stay in the queues")
    assert have() == 3
    channel.basic_ack(0, multiple=True)
    pump(channel.connection, lambda: have() >= 6, "the other three")


def test_qos_global_of_0_lifts_the_limit(channel, queue):
    channel.basic_qos(prefetch_count=1, global_qos=True)
    consumer = Consumer(channel, queue)
    publish(channel, "", queue, *"abc")
    consumer.take(1)
    expect_ready(channel, queue, 2)
    channel.basic_qos(prefetch_count=0, global_qos=True)
    channel.basic_ack(1)
    assert [d.text for d in consumer.take(3)] == list("abc")


def test_ack_multiple_settles_everything_up_to_the_tag(channel, queue):
    publish(channel, "", queue, *"abcde")
    consumer = Consumer(channel, queue)
    consumer.take(5)
    channel.basic_ack(consumer.deliveries[2].tag, multiple=True)
    channel.close()
    channel = channel.connection.channel()
    assert drain(channel, queue) == ["d", "e"]


def test_delivery_tags_count_from_1_on_the_channel_for_get_and_deliver(channel, queue):
    publish(channel, "", queue, *"abc")
    method, _, _ = channel.basic_get(queue, auto_ack=True)
    assert method.delivery_tag == 1
    consumer = Consumer(channel, queue, auto_ack=True)
    assert [d.tag for d in consumer.take(2)] == [2, 3]


def test_nack_with_requeue_returns_a_message_to_its_place(channel, queue):
    publish(channel, "", queue, *"abcd")
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(3)]
    channel.basic_nack(tags[1])
    method, _, body = channel.basic_get(queue)
    assert (body, method.redelivered) == (b"b", True)
    channel.basic_nack(method.delivery_tag)
    channel.basic_nack(tags[2], multiple=True)
    seen = [channel.basic_get(queue) for _ in range(4)]
    assert [body for _, _, body in seen] == [b"a", b"b", b"c", b"d"]
    assert [method.redelivered for method, _, _ in seen] == [True, True, True, False]


def test_reject_with_requeue_sets_redelivered(channel, queue):
    publish(channel, "", queue, "a")
    refused = []

    def refuse_once(on, delivery):
        if not delivery.method.redelivered:
            refused.append(delivery.text)
            on.basic_reject(delivery.tag, requeue=True)

    consumer = Consumer(channel, queue, each=refuse_once)
    consumer.take(2)
    assert [d.method.redelivered for d in consumer.deliveries] == [False, True]
    assert refused == ["a"]


@pytest.mark.parametrize("how", ["reject", "nack"])
def test_without_requeue_the_message_is_gone(channel, queue, how):
    publish(channel, "", queue, "a", "b")
    tag = channel.basic_get(queue)[0].delivery_tag
    (channel.basic_reject if how == "reject" else channel.basic_nack)(tag, requeue=False)
    assert drain(channel, queue) == ["b"]


def test_nack_multiple_without_requeue(channel, queue):
    publish(channel, "", queue, *"abc")
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(2)]
    channel.basic_nack(tags[1], multiple=True, requeue=False)
    assert drain(channel, queue) == ["c"]


def test_recover_requeues_everything_unacknowledged(channel, queue):
    publish(channel, "", queue, *"ab")
    for _ in range(2):
        channel.basic_get(queue)
    channel.basic_recover(requeue=True)
    seen = [channel.basic_get(queue) for _ in range(2)]
    assert [(body, method.redelivered) for method, _, body in seen] == [(b"a", True), (b"b", True)]


@pytest.mark.parametrize("what", ["channel", "connection"])
def test_closing_requeues_in_place_and_marks_redelivered(connect, channel, queue, what):
    publish(channel, "", queue, *"abc")
    taker = connect()
    taken = taker.channel()
    for _ in range(2):
        taken.basic_get(queue)
    (taken if what == "channel" else taker).close()
    eventually(lambda: ready(channel, queue) == 3, "the two come back")
    seen = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [(body, method.redelivered) for method, _, body in seen] == [(b"a", True), (b"b", True), (b"c", False)]


def test_cancel_leaves_unacknowledged_messages_with_the_channel(channel, queue):
    channel.basic_qos(prefetch_count=2)
    publish(channel, "", queue, *"abc")
    consumer = Consumer(channel, queue)
    consumer.take(2)
    impl = channel._impl  # BlockingChannel.basic_cancel would nack what it has queued up itself
    channel.basic_cancel(consumer.tag)
    assert impl.is_open
    expect_ready(channel, queue, 1)
    channel.basic_ack(consumer.deliveries[0].tag)
    channel.basic_nack(consumer.deliveries[1].tag)
    assert drain(channel, queue) == ["b", "c"]


def test_get_of_an_empty_queue_and_the_count_of_the_rest(channel, queue):
    assert channel.basic_get(queue) == (None, None, None)
    publish(channel, "", queue, *"abc")
    method, properties, body = channel.basic_get(queue)
    assert (body, method.message_count, method.redelivered) == (b"a", 2, False)
    assert (method.exchange, method.routing_key) == ("", queue)
    assert properties.delivery_mode is None


def test_properties_and_headers_arrive_as_they_were_sent(channel, queue):
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={
            "text": "häder",
            "n": -5,
            "big": 2**40,
            "flag": True,
            "none": None,
            "list": [1, "two", {"three": 3}],
            "table": {"a": {"b": 1}},
        },
        delivery_mode=2,
        priority=7,
        correlation_id="c-1",
        reply_to="answers",
        expiration="60000",
        message_id="m-1",
        timestamp=1_700_000_000,
        type="order",
        user_id="guest",
        app_id="suite",
    )
    channel.basic_publish("", queue, "häuser".encode(), sent)
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    assert properties == sent
    assert body.decode() == "häuser"


def test_client_chosen_consumer_tag(channel, queue):
    consumer = Consumer(channel, queue, consumer_tag="my tag")
    publish(channel, "", queue, "a")
    assert consumer.take(1)[0].method.consumer_tag == "my tag"


def test_the_server_makes_consumer_tags(connect, channel, queue):
    impl = connect().channel()._impl
    tags = []
    impl._send_method(pika.spec.Basic.Consume(queue=queue, consumer_tag=""))
    impl.add_callback(lambda frame: tags.append(frame.method.consumer_tag), [pika.spec.Basic.ConsumeOk])
    eventually(
        lambda: (impl.connection.ioloop.poll(), impl.connection.ioloop.process_timeouts(), tags)[2], "consume-ok"
    )
    assert tags[0].startswith("amq.ctag-")


def test_consumer_is_told_when_its_queue_is_deleted(connect, channel, queue):
    watcher = connect().channel()
    cancelled = []
    watcher.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    consumer = Consumer(watcher, queue)
    channel.queue_delete(queue)
    pump(watcher.connection, lambda: cancelled, "basic.cancel from the broker")
    assert cancelled == [consumer.tag]
    assert watcher.is_open


def test_exclusive_consumer_and_then_a_free_queue(connect, channel, queue):
    consumer = Consumer(channel, queue, exclusive=True)
    other = connect().channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        Consumer(other, queue)
    assert closed.value.reply_code == 403
    assert "in exclusive use" in closed.value.reply_text
    channel.basic_cancel(consumer.tag)
    Consumer(connect().channel(), queue)


def test_consumer_priority_is_accepted(channel, queue):
    consumers = [
        Consumer(channel, queue, auto_ack=True, arguments={"x-priority": priority}) for priority in (-1, 0, 10)
    ]
    publish(channel, "", queue, "a")
    pump(channel.connection, lambda: any(consumer.deliveries for consumer in consumers), "a delivery")


def test_consumer_with_the_higher_priority_is_served_first(channel, queue):
    low = Consumer(channel, queue, auto_ack=True, arguments={"x-priority": 1})
    high = Consumer(channel, queue, auto_ack=True, arguments={"x-priority": 10})
    publish(channel, "", queue, *"abcde")
    high.take(5)
    assert low.deliveries == []


def test_many_consumers_on_one_channel_share_its_tags(channel, name):
    exchange = name("x")
    channel.exchange_declare(exchange, "topic")
    channel.basic_qos(prefetch_count=1)
    queues = [bound_queue(channel, exchange, f"k.{number}") for number in range(20)]
    consumers = [Consumer(channel, queue) for queue in queues]
    for number in range(20):
        publish(channel, exchange, f"k.{number}", str(number))
    pump(channel.connection, lambda: sum(len(c.deliveries) for c in consumers) == 20, "one message for each")
    assert sorted(c.deliveries[0].tag for c in consumers) == list(range(1, 21))
    channel.basic_ack(20, multiple=True)
    for number in range(20):
        publish(channel, exchange, f"k.{number}", "again")
    pump(channel.connection, lambda: sum(len(c.deliveries) for c in consumers) == 40, "a second message for each")


def test_auto_ack_keeps_nothing_unacknowledged(channel, queue):
    publish(channel, "", queue, *"abc")
    consumer = Consumer(channel, queue, auto_ack=True)
    consumer.take(3)
    channel.connection.close()
    assert consumer.texts() == list("abc")


def test_consuming_by_generator_with_an_inactivity_timeout(channel, queue):
    publish(channel, "", queue, *"abc")
    bodies = []
    for method, _, body in channel.consume(queue, inactivity_timeout=0.2):
        if method is None:
            break
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
    assert channel.cancel() == 0
    assert bodies == [b"a", b"b", b"c"]
    expect_ready(channel, queue, 0)


def test_a_consumer_that_does_not_read_leaves_the_others_alone(connect, channel, queue, name):
    """Its messages wait; another consumer of another queue gets all of its own meanwhile."""
    other = name("other")
    channel.queue_declare(other, durable=True)
    stalled = Consumer(connect().channel(), queue)
    body = b"x" * 262_144
    lively = Consumer(connect().channel(), other, auto_ack=True)
    total = 128
    for number in range(total):
        channel.basic_publish("", queue, b"%06d" % number + body)
        channel.basic_publish("", other, b"%06d" % number)
    lively.take(total)
    assert [int(d.body) for d in lively.deliveries] == list(range(total))
    stalled.take(total, seconds=30)
    assert [int(d.body[:6]) for d in stalled.deliveries] == list(range(total))
    stalled.channel.basic_ack(total, multiple=True)
    expect_ready(stalled.channel, queue, 0)


@pytest.mark.own_broker
def test_channel_flow_off_stops_deliveries_until_it_is_on(channel, queue):
    """As the protocol has it; RabbitMQ refuses with 540 instead."""
    consumer = Consumer(channel, queue, auto_ack=True)
    assert channel.flow(False) is False
    publish(channel, "", queue, *"abc")
    expect_ready(channel, queue, 3)
    assert consumer.deliveries == []
    assert channel.flow(True) is True
    assert [d.text for d in consumer.take(3)] == list("abc")
