"""Queues with a limit: what is dropped or refused, and who is told."""

import pika
import pika.exceptions
import pytest

from semantics.queues import got, got_all, refused
from support.deadline import pump
from support.messages import Consumer, bound_queue, expect_ready, publish, ready

FULL_BY = [{"max_length": 3}, {"max_length_bytes": 3}, {"max_length": 3, "max_length_bytes": 300}]


@pytest.fixture
def confirmed(connect):
    """A channel with confirms."""
    channel = connect().channel()
    channel.confirm_delivery()
    return channel


def accepted(channel, queue, *bodies):
    """Which of the messages the broker confirmed."""
    taken = []
    for body in bodies:
        try:
            channel.basic_publish("", queue, body, mandatory=True)
        except pika.exceptions.NackError:
            continue
        taken.append(body)
    return "".join(taken)


@pytest.mark.parametrize("limit", FULL_BY)
@pytest.mark.parametrize("overflow", [{}, {"overflow": "drop-head"}])
def test_the_oldest_are_dropped(confirmed, queue, limit, overflow):
    q = queue(**limit, **overflow)
    assert accepted(confirmed, q, *"abcde") == "abcde"
    assert got_all(confirmed, q, 3) == ["c", "d", "e"]


@pytest.mark.parametrize("limit", FULL_BY)
@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_the_newest_are_refused(confirmed, queue, limit, overflow):
    q = queue(**limit, overflow=overflow)
    assert accepted(confirmed, q, *"abcde") == "abc"
    assert got(confirmed, q).text == "a"
    assert accepted(confirmed, q, *"fg") == "f"
    assert got_all(confirmed, q, 3) == ["b", "c", "f"]


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_only_ready_messages_count(channel, confirmed, queue, overflow):
    q = queue(max_length=2, max_length_bytes=4, overflow=overflow)
    consumer = Consumer(channel, q)
    assert accepted(confirmed, q, "aa", "bb", "cc", "dd") == "aabbccdd"
    consumer.take(4)
    channel.basic_cancel(consumer.tag)
    assert accepted(confirmed, q, "ee", "ff") == "eeff"
    channel.basic_ack(consumer.deliveries[0].tag)
    assert got_all(channel, q, 2) == ["ee", "ff"]


def test_what_comes_back_to_a_full_queue_is_the_oldest(channel, queue):
    q = queue(max_length=2)
    publish(channel, "", q, *"ab")
    a, _ = (got(channel, q, auto_ack=False) for _ in range(2))
    publish(channel, "", q, *"cd")
    expect_ready(channel, q, 2)
    channel.basic_nack(a.tag)
    assert ready(channel, q) == 2
    assert got_all(channel, q, 2) == ["c", "d"]
    channel.basic_nack(0, multiple=True)
    assert got_all(channel, q, 1) == ["b"]


def test_what_comes_back_is_never_refused(channel, queue):
    """A queue that refuses may be longer than its limit then, until somebody has taken some."""
    q = queue(max_length=2, overflow="reject-publish")
    publish(channel, "", q, *"ab")
    for _ in range(2):
        got(channel, q, auto_ack=False)
    publish(channel, "", q, *"cd")
    expect_ready(channel, q, 2)
    channel.basic_nack(0, multiple=True)
    expect_ready(channel, q, 4)
    channel.confirm_delivery()
    assert accepted(channel, q, "e") == ""
    assert got_all(channel, q, 4) == ["a", "b", "c", "d"]


def test_a_queue_for_nothing_has_room_for_who_waits(channel, confirmed, queue):
    q = queue(max_length=0)
    assert accepted(confirmed, q, "a") == "a"
    assert ready(confirmed, q) == 0
    consumer = Consumer(channel, q)
    assert accepted(confirmed, q, "b") == "b"
    assert consumer.take(1)[0].text == "b"


def test_a_message_longer_than_the_limit(confirmed, queue):
    """It pushes out all others, and then itself; or it is refused."""
    dropping, refusing = queue(max_length_bytes=10), queue(max_length_bytes=10, overflow="reject-publish")
    for q in (dropping, refusing):
        assert accepted(confirmed, q, "small") == "small"
    assert accepted(confirmed, dropping, "x" * 11) == "x" * 11
    assert accepted(confirmed, refusing, "x" * 11) == ""
    expect_ready(confirmed, dropping, 0)
    assert accepted(confirmed, refusing, "five!", "", "!") == "five!"
    assert got_all(confirmed, refusing, 3) == ["small", "five!", ""]


def test_messages_without_a_body_have_no_bytes(confirmed, queue):
    q = queue(max_length_bytes=0)
    for _ in range(3):
        confirmed.basic_publish("", q, b"")
    accepted(confirmed, q, "x")
    # All have to go before the one that is too long does.
    expect_ready(confirmed, q, 0)


def test_without_confirms_nobody_is_told(channel, queue):
    q = queue(max_length=1, overflow="reject-publish")
    returned = []
    channel.add_on_return_callback(lambda *_: returned.append(True))
    publish(channel, "", q, *"abc", mandatory=True)
    assert got_all(channel, q, 1) == ["a"]
    assert channel.is_open and not returned


def test_the_other_queues_take_what_one_refuses(channel, confirmed, queue, name):
    """The publisher hears of the refusal all the same."""
    exchange = name("x")
    channel.exchange_declare(exchange, "fanout")
    full, other = queue(max_length=1, overflow="reject-publish"), bound_queue(channel, exchange, "")
    channel.queue_bind(full, exchange)
    confirmed.basic_publish(exchange, "", b"a")
    with pytest.raises(pika.exceptions.NackError):
        confirmed.basic_publish(exchange, "", b"b")
    assert got_all(channel, full, 1) == ["a"]
    assert got_all(channel, other, 2) == ["a", "b"]


def test_each_publish_of_a_burst_is_answered(connect, queue):
    """Refused and accepted ones, and by number: exactly one answer for each."""
    q = queue(max_length=50, overflow="reject-publish")
    channel = connect().channel()
    answers = []
    impl = channel._impl
    impl.confirm_delivery(lambda frame: answers.append(frame.method))
    for number in range(200):
        impl.basic_publish("", q, str(number).encode())
    acked, nacked = set(), set()

    def settled():
        while answers:
            answer = answers.pop(0)
            mine = nacked if isinstance(answer, pika.spec.Basic.Nack) else acked
            tags = range(1, answer.delivery_tag + 1) if answer.multiple else [answer.delivery_tag]
            mine.update(set(tags) - acked - nacked)
        return len(acked) + len(nacked) == 200

    pump(channel.connection, settled, "200 answers")
    assert acked == set(range(1, 51)) and nacked == set(range(51, 201))
    assert ready(channel, q) == 50


def test_a_transaction_that_is_refused_in_part(channel, connect, queue):
    """What there was room for is there; the channel ends."""
    q = queue(max_length=2, overflow="reject-publish")
    transaction = connect().channel()
    transaction.tx_select()
    publish(transaction, "", q, *"abc")
    code, text = refused(transaction.tx_commit)
    assert code == 406 and "partial tx completion" in text
    assert ready(channel, q) <= 2


def test_a_burst_while_somebody_takes(channel, connect, queue):
    """Nothing that was accepted is lost, nothing comes twice."""
    q = queue(max_length=10, overflow="reject-publish")
    publisher = connect().channel()
    publisher.confirm_delivery()
    consumer = Consumer(channel, q, each=lambda channel, delivery: channel.basic_ack(delivery.tag))
    taken = []
    for number in range(300):
        if accepted(publisher, q, str(number)):
            taken.append(str(number))
        if number % 7 == 0:
            channel.connection.process_data_events(0)
    consumer.take(len(taken))
    assert consumer.texts() == taken
