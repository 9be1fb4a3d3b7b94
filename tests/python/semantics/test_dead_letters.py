"""Dead letters: what makes one, and exactly what it says."""

import pika
import pytest

from semantics.deaths import death, deaths, story
from semantics.queues import declare, got
from support.messages import Consumer, expect_ready, publish, ready


@pytest.fixture
def pair(queue):
    """`pair(**arguments)`: a queue with these arguments, and the queue where its dead letters go."""

    def make(**arguments):
        target = queue()
        return queue(dead_letter_exchange="", dead_letter_routing_key=target, **arguments), target

    return make


def reject(channel, queue, how="reject"):
    """Takes a message and refuses it."""
    delivery = got(channel, queue, auto_ack=False)
    if how == "reject":
        channel.basic_reject(delivery.tag, requeue=False)
    else:
        channel.basic_nack(delivery.tag, requeue=False)


@pytest.mark.parametrize("how", ["reject", "nack"])
def test_rejected(channel, pair, since_4, how):
    q, target = pair()
    publish(channel, "", q, "m")
    reject(channel, q, how)
    letter = got(channel, target)
    assert (letter.text, letter.method.exchange, letter.method.routing_key) == ("m", "", target)
    assert not letter.method.redelivered
    assert deaths(letter) == [death(q, "rejected", [q])]
    headers = letter.properties.headers
    assert story(headers, "first") == story(headers, "last") == (q, "rejected", "")
    assert list(headers) == [
        "x-death",
        *(f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")),
    ]


def test_expired_by_the_message(channel, pair):
    """The lifetime is told and taken away, so that it does not count in the next queue."""
    q, target = pair()
    publish(channel, "", q, "m", properties=pika.BasicProperties(expiration="50"))
    letter = got(channel, target)
    assert letter.properties.expiration is None
    assert deaths(letter) == [death(q, "expired", [q], expiration="50")]


def test_the_fields_of_a_death_have_an_order(channel, pair, since_4):
    q, target = pair(message_ttl=50)
    publish(channel, "", q, "m")
    publish(channel, "", q, "m", properties=pika.BasicProperties(expiration="50"))
    fields = ["count", "reason", "queue", "time", "exchange", "routing-keys"]
    for expected in (fields, ["original-expiration", *fields]):
        (entry,) = got(channel, target).properties.headers["x-death"]
        assert list(entry) == expected


def test_expired_by_the_queue(channel, pair):
    q, target = pair(message_ttl=50)
    publish(channel, "", q, "one", "two", "three")
    letters = [got(channel, target) for _ in range(3)]
    assert [letter.text for letter in letters] == ["one", "two", "three"]
    assert [deaths(letter) for letter in letters] == [[death(q, "expired", [q])]] * 3


def test_rejected_with_time_left(channel, pair):
    """The lifetime goes too."""
    q, target = pair()
    publish(channel, "", q, "m", properties=pika.BasicProperties(expiration="50000"))
    reject(channel, q)
    letter = got(channel, target)
    assert letter.properties.expiration is None
    assert deaths(letter) == [death(q, "rejected", [q], expiration="50000")]


@pytest.mark.parametrize("limit", [{"max_length": 2}, {"max_length_bytes": 2}])
def test_dropped_for_lack_of_room(channel, pair, limit):
    q, target = pair(**limit)
    publish(channel, "", q, *"abcd")
    letters = [got(channel, target) for _ in range(2)]
    assert [letter.text for letter in letters] == ["a", "b"]
    assert deaths(letters[0]) == [death(q, "maxlen", [q])]
    expect_ready(channel, q, 2)


@pytest.mark.parametrize("limit", [{"max_length": 2}, {"max_length_bytes": 2}])
def test_refused_for_lack_of_room(channel, connect, pair, limit):
    """Only reject-publish-dlx makes dead letters of what is refused, and its publisher is told all the same."""
    publisher = connect().channel()
    publisher.confirm_delivery()
    for overflow, letters in (("reject-publish", []), ("reject-publish-dlx", ["c"])):
        q, target = pair(overflow=overflow, **limit)
        publish(publisher, "", q, *"ab")
        with pytest.raises(pika.exceptions.NackError):
            publisher.basic_publish("", q, b"c", pika.BasicProperties(delivery_mode=2, expiration="70000"))
        for text in letters:
            letter = got(channel, target)
            assert letter.text == text
            assert deaths(letter) == [death(q, "maxlen", [q], expiration="70000")]
        assert (ready(channel, q), ready(channel, target)) == (2, 0)


def test_what_is_purged_deleted_or_acknowledged_is_not_one(channel, pair):
    q, target = pair()
    publish(channel, "", q, *"abcd")
    channel.basic_ack(got(channel, q, auto_ack=False).tag)
    held = got(channel, q, auto_ack=False)
    assert channel.queue_purge(q).method.message_count == 2
    publish(channel, "", q, "e")
    expect_ready(channel, q, 1)
    channel.queue_delete(q)
    channel.basic_nack(held.tag, requeue=False)
    assert ready(channel, target) == 0


def test_several_at_once(channel, pair):
    q, target = pair()
    publish(channel, "", q, *"abcde")
    consumer = Consumer(channel, q)
    consumer.take(5)
    channel.basic_nack(consumer.deliveries[3].tag, multiple=True, requeue=False)
    assert [got(channel, target).text for _ in range(4)] == ["a", "b", "c", "d"]
    channel.basic_nack(0, multiple=True, requeue=False)
    assert got(channel, target).text == "e"


def test_in_a_transaction(channel, connect, pair):
    """They are on their way when it is committed, and stay where they are when it is rolled back."""
    q, target = pair()
    publish(channel, "", q, "a")
    worker = connect().channel()
    worker.tx_select()
    tag = got(worker, q, auto_ack=False).tag
    worker.basic_nack(tag, requeue=False)
    worker.tx_rollback()
    assert ready(channel, target) == 0
    worker.basic_nack(tag, requeue=False)
    worker.tx_commit()
    assert got(channel, target).text == "a"


def test_everything_else_stays_as_it_was(channel, pair):
    q, target = pair()
    kept = {
        "content_type": "text/plain",
        "content_encoding": "gzip",
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "id",
        "timestamp": 1_700_000_000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    headers = {"z": 1, "a": "text", "m": [True, None, {"deep": []}]}
    body = bytes(range(256)) * 1000
    publish(channel, "", q, body, properties=pika.BasicProperties(headers=headers, **kept))
    reject(channel, q)
    letter = got(channel, target)
    assert letter.body == body
    assert {key: getattr(letter.properties, key) for key in kept} == kept
    assert {key: value for key, value in letter.properties.headers.items() if "death" not in key} == headers
    assert list(letter.properties.headers) == sorted(letter.properties.headers)


def test_a_chain_of_deaths(channel, queue, since_4):
    """The newest comes first; what is said of the first stays."""
    last = queue()
    middle = queue(dead_letter_exchange="", dead_letter_routing_key=last, message_ttl=50)
    first = queue(dead_letter_exchange="", dead_letter_routing_key=middle)
    publish(channel, "amq.direct", "nowhere", "lost")
    publish(channel, "", first, "m", properties=pika.BasicProperties(expiration="60000"))
    reject(channel, first)
    letter = got(channel, last)
    assert deaths(letter) == [
        death(middle, "expired", [middle]),
        death(first, "rejected", [first], expiration="60000"),
    ]
    headers = letter.properties.headers
    assert story(headers, "first") == (first, "rejected", "")
    assert story(headers, "last") == (middle, "expired", "")


def test_the_same_death_again_is_counted(channel, queue, name, since_4):
    """A queue for work and one to wait in, as retries are made: the entry that happened last comes first."""
    work, wait = name("work"), name("wait")
    for this, other, more in ((work, wait, {}), (wait, work, {"x-message-ttl": 30})):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other} | more
        channel.queue_declare(this, arguments=arguments)
    publish(channel, "", work, "m")
    times = []
    for count in range(1, 5):
        reject(channel, work)
        letter = got(channel, work, auto_ack=False)
        assert deaths(letter) == [
            death(wait, "expired", [wait], count=count),
            death(work, "rejected", [work], count=count),
        ]
        times.append([entry["time"] for entry in letter.properties.headers["x-death"]])
        assert story(letter.properties.headers, "first") == (work, "rejected", "")
        assert story(letter.properties.headers, "last") == (wait, "expired", "")
        channel.basic_nack(letter.tag)
    assert times == times[:1] * 4, "the time is that of the first death"


def test_a_death_for_another_reason_is_another_one(channel, name, since_4):
    """Dropped in a queue, rejected in the next, and then in the first one too."""
    q, other = name("q"), name("other")
    declare(channel, q, dead_letter_exchange="", dead_letter_routing_key=other, max_length=1)
    declare(channel, other, dead_letter_exchange="", dead_letter_routing_key=q)
    publish(channel, "", q, "a", "b")
    expect_ready(channel, other, 1)
    assert got(channel, q).text == "b"
    reject(channel, other)
    reject(channel, q)
    assert deaths(got(channel, other)) == [
        death(q, "rejected", [q]),
        death(other, "rejected", [other]),
        death(q, "maxlen", [q]),
    ]


def test_what_a_client_says_of_deaths_is_not_believed(channel, pair, since_4):
    """It is a header like others until the message dies; then the truth takes its place."""
    q, target = pair(message_ttl=100)
    lies = {
        "x-death": [{"count": 9, "reason": "expired", "queue": target, "exchange": "", "routing-keys": ["k"]}],
        "x-first-death-queue": "lie",
        "x-last-death-reason": "lie",
    }
    publish(channel, "", target, "m", properties=pika.BasicProperties(headers=lies))
    assert got(channel, target).properties.headers == lies
    publish(channel, "", q, "m", properties=pika.BasicProperties(headers=lies))
    letter = got(channel, target)
    assert deaths(letter) == [death(q, "expired", [q])]
    assert story(letter.properties.headers, "first") == story(letter.properties.headers, "last") == (q, "expired", "")


def test_a_letter_that_a_client_publishes_again_begins_anew(channel, pair, since_4):
    q, target = pair()
    publish(channel, "", q, "m")
    for _ in range(3):
        reject(channel, q)
        letter = got(channel, target)
        assert deaths(letter) == [death(q, "rejected", [q])]
        publish(channel, "", q, letter.body, properties=letter.properties)
