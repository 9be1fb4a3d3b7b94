"""Where dead letters go: exchanges, keys, full queues, and round in circles."""

import pika
import pytest

from semantics.deaths import death, deaths
from semantics.queues import declare, got, got_all, refused
from support.messages import Consumer, bound_queue, expect_ready, publish, ready


@pytest.fixture
def exchange(channel, name):
    """`exchange(type)`: a new exchange."""

    def make(kind="direct", **options):
        made = name("x")
        channel.exchange_declare(made, kind, **options)
        return made

    return make


def kill(channel, queue, text="m", **properties):
    """Publishes a message and rejects it."""
    publish(channel, "", queue, text, properties=pika.BasicProperties(**properties))
    channel.basic_reject(got(channel, queue, auto_ack=False).tag, requeue=False)


def test_by_an_exchange_with_the_key_of_the_message(channel, queue, exchange):
    dlx = exchange("topic")
    q = queue(dead_letter_exchange=dlx)
    target, other = bound_queue(channel, dlx, q), bound_queue(channel, dlx, "other.#")
    kill(channel, q)
    letter = got(channel, target)
    assert (letter.method.exchange, letter.method.routing_key) == (dlx, q)
    assert deaths(letter) == [death(q, "rejected", [q])]
    assert ready(channel, other) == 0


def test_by_an_exchange_with_another_key(channel, queue, exchange):
    dlx, front = exchange("topic"), exchange("fanout")
    q = queue(dead_letter_exchange=dlx, dead_letter_routing_key="some.key")
    channel.queue_bind(q, front)
    target = bound_queue(channel, dlx, "some.*")
    publish(channel, front, "original", "m")
    channel.basic_reject(got(channel, q, auto_ack=False).tag, requeue=False)
    letter = got(channel, target)
    assert (letter.method.exchange, letter.method.routing_key) == (dlx, "some.key")
    assert deaths(letter) == [death(q, "rejected", ["original"], exchange=front)]
    assert letter.properties.headers["x-first-death-exchange"] == front


def test_with_its_own_key_to_a_queue(channel, queue, exchange):
    """The default exchange without a key of its own leads to the queue that the message's key names."""
    front, target = exchange(), queue()
    q = queue(dead_letter_exchange="")
    channel.queue_bind(q, front, target)
    publish(channel, front, target, "m")
    channel.basic_reject(got(channel, q, auto_ack=False).tag, requeue=False)
    assert got(channel, target).text == "m"


def test_to_several_queues(channel, queue, exchange):
    dlx = exchange("fanout")
    q = queue(dead_letter_exchange=dlx)
    targets = [bound_queue(channel, dlx, "") for _ in range(3)]
    kill(channel, q)
    for target in targets:
        assert deaths(got(channel, target)) == [death(q, "rejected", [q])]


def test_by_the_headers_it_had(channel, queue, exchange):
    dlx = exchange("headers")
    q = queue(dead_letter_exchange=dlx)
    target = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(target, dlx, "", {"x-match": "all", "kind": "a"})
    kill(channel, q, "b", headers={"kind": "b"})
    kill(channel, q, "a", headers={"kind": "a"})
    assert got_all(channel, target, 1) == ["a"]


def test_by_an_alternate_exchange(channel, queue, exchange):
    alternate = exchange("fanout")
    dlx = exchange(arguments={"alternate-exchange": alternate})
    q = queue(dead_letter_exchange=dlx)
    target = bound_queue(channel, alternate, "")
    kill(channel, q)
    letter = got(channel, target)
    assert (letter.method.exchange, letter.method.routing_key) == (dlx, q)


def test_by_an_internal_exchange(channel, queue, exchange):
    dlx = exchange("fanout", internal=True)
    q = queue(dead_letter_exchange=dlx)
    target = bound_queue(channel, dlx, "")
    kill(channel, q)
    assert got(channel, target).text == "m"


def test_nowhere_while_the_exchange_is_missing(channel, queue, name):
    """It is looked up for each letter."""
    dlx = name("x")
    q = queue(dead_letter_exchange=dlx)
    kill(channel, q, "lost")
    expect_ready(channel, q, 0)
    channel.exchange_declare(dlx, "fanout")
    kill(channel, q, "lost too")
    expect_ready(channel, q, 0)
    target = bound_queue(channel, dlx, "")
    kill(channel, q, "found")
    assert got_all(channel, target, 1) == ["found"]
    channel.exchange_delete(dlx)
    kill(channel, q, "lost again")
    channel.exchange_declare(dlx, "fanout")
    channel.queue_bind(target, dlx)
    kill(channel, q, "found again")
    assert got_all(channel, target, 1) == ["found again"]


def test_mandatory_does_not_count_any_more(channel, queue):
    q = queue(dead_letter_exchange="", dead_letter_routing_key="no.such.queue")
    returned = []
    channel.add_on_return_callback(lambda *_: returned.append(True))
    publish(channel, "", q, "m", mandatory=True)
    channel.basic_reject(got(channel, q, auto_ack=False).tag, requeue=False)
    assert ready(channel, q) == 0 and not returned


def test_with_cc_and_bcc(channel, queue, exchange):
    """All keys lead on; CC is told in the header and the history, BCC is a secret."""
    dlx, front = exchange(), exchange()
    q = queue(dead_letter_exchange=dlx)
    channel.queue_bind(q, front, "own")
    targets = [bound_queue(channel, dlx, key) for key in ("own", "copy", "blind", "other")]
    headers = {"CC": ["copy", "more"], "BCC": ["blind"]}
    publish(channel, front, "own", "m", properties=pika.BasicProperties(headers=headers))
    channel.basic_reject(got(channel, q, auto_ack=False).tag, requeue=False)
    for target in targets[:3]:
        letter = got(channel, target)
        assert letter.method.routing_key == "own"
        assert letter.properties.headers["CC"] == ["copy", "more"]
        assert "BCC" not in letter.properties.headers
        assert deaths(letter) == [death(q, "rejected", ["own", "copy", "more"], exchange=front)]
    assert ready(channel, targets[3]) == 0


def test_another_key_replaces_cc_and_bcc(channel, queue, exchange):
    dlx = exchange()
    q = queue(dead_letter_exchange=dlx, dead_letter_routing_key="new")
    target, *others = (bound_queue(channel, dlx, key) for key in ("new", "copy", "blind"))
    kill(channel, q, headers={"CC": ["copy"], "BCC": ["blind"]})
    letter = got(channel, target)
    assert letter.method.routing_key == "new"
    assert deaths(letter) == [death(q, "rejected", [q, "copy"])]
    assert [ready(channel, other) for other in others] == [0, 0]


def test_one_queue_by_two_keys_gets_one_letter(channel, queue, exchange):
    dlx = exchange()
    q = queue(dead_letter_exchange=dlx)
    target = bound_queue(channel, dlx, q, "copy")
    kill(channel, q, headers={"CC": ["copy"]})
    assert got_all(channel, target, 1) == ["m"]


def test_a_full_queue_that_drops_its_oldest(channel, queue):
    target = queue(max_length=2)
    q = queue(dead_letter_exchange="", dead_letter_routing_key=target)
    for text in "abc":
        kill(channel, q, text)
    expect_ready(channel, q, 0)
    assert got_all(channel, target, 2) == ["b", "c"]


def test_a_full_queue_that_refuses_loses_it(channel, queue):
    target = queue(max_length=2, overflow="reject-publish")
    q = queue(dead_letter_exchange="", dead_letter_routing_key=target)
    for text in "abc":
        kill(channel, q, text)
    expect_ready(channel, q, 0)
    assert got_all(channel, target, 2) == ["a", "b"]


def test_a_full_queue_that_refuses_passes_it_on(channel, queue):
    last = queue()
    target = queue(max_length=1, overflow="reject-publish-dlx", dead_letter_exchange="", dead_letter_routing_key=last)
    q = queue(dead_letter_exchange="", dead_letter_routing_key=target)
    for text in "ab":
        kill(channel, q, text)
    letter = got(channel, last)
    assert letter.text == "b"
    assert deaths(letter) == [death(target, "maxlen", [target]), death(q, "rejected", [q])]
    assert got_all(channel, target, 1) == ["a"]


def test_to_who_waits(channel, queue):
    """A consumer of the target is given it even where there is no room and no time."""
    target = queue(message_ttl=0, max_length=0)
    q = queue(dead_letter_exchange="", dead_letter_routing_key=target, message_ttl=50)
    consumer = Consumer(channel, target)
    publish(channel, "", q, "m")
    assert consumer.take(1)[0].text == "m"


def test_to_who_waits_although_only_one_fits(channel, queue):
    """Several letters come at once; each is with the consumer before the next one."""
    target = queue(max_length=1, overflow="reject-publish")
    q = queue(dead_letter_exchange="", dead_letter_routing_key=target)
    consumer = Consumer(channel, target)
    publish(channel, "", q, *"abc")
    for _ in range(3):
        last = got(channel, q, auto_ack=False)
    channel.basic_nack(last.tag, multiple=True, requeue=False)
    consumer.take(3)
    assert consumer.texts() == ["a", "b", "c"]


def test_a_rejected_message_goes_round_for_ever(channel, queue, name):
    """From a queue to itself: who rejects decides."""
    q = declare(channel, name("q"), dead_letter_exchange="")
    publish(channel, "", q, "m")
    for count in range(6):
        delivery = got(channel, q, auto_ack=False)
        if count:
            assert deaths(delivery) == [death(q, "rejected", [q], count=count)]
        channel.basic_reject(delivery.tag, requeue=False)
    expect_ready(channel, q, 1)


@pytest.mark.parametrize("limit", [{"message_ttl": 50}, {"max_length": 0}])
def test_what_would_go_round_by_itself_is_dropped(channel, queue, limit):
    q = queue(dead_letter_exchange="", **limit)
    channel.confirm_delivery()
    publish(channel, "", q, "m")
    expect_ready(channel, q, 0)
    assert channel.basic_get(q)[0] is None


def test_a_circle_of_three_is_cut_where_it_closes(channel, queue, name):
    names = [name("q") for _ in range(3)]
    for this, following in zip(names, names[1:] + names[:1]):
        declare(channel, this, dead_letter_exchange="", dead_letter_routing_key=following, message_ttl=50)
    witness = queue(message_ttl=500)
    publish(channel, "", witness, "m")
    publish(channel, "", names[0], "m")
    for q in (witness, *names):
        expect_ready(channel, q, 0)
    assert [ready(channel, q) for q in names] == [0, 0, 0]


def test_only_the_way_back_is_cut(channel, queue, exchange):
    """The letter still goes to the other queues of the exchange."""
    dlx = exchange("fanout")
    q = queue(dead_letter_exchange=dlx, message_ttl=50)
    channel.queue_bind(q, dlx)
    target = bound_queue(channel, dlx, "")
    publish(channel, "", q, "m")
    got(channel, target)
    expect_ready(channel, q, 0)
    # It did not come back to `q`, or there would be a second one.
    assert ready(channel, target) == 0


def test_a_rejection_on_the_way_opens_the_circle(channel, queue, name):
    """Expired in one, rejected in the other: as often as somebody rejects it."""
    work, wait = name("work"), name("wait")
    declare(channel, work, dead_letter_exchange="", dead_letter_routing_key=wait, message_ttl=1000)
    declare(channel, wait, dead_letter_exchange="", dead_letter_routing_key=work, message_ttl=20)
    publish(channel, "", work, "m")
    channel.basic_reject(got(channel, work, auto_ack=False).tag, requeue=False)
    channel.basic_reject(got(channel, work, auto_ack=False).tag, requeue=False)
    got(channel, work, auto_ack=False)
    channel.basic_recover(requeue=True)
    # Now nobody rejects it: it expires here, comes once more to `wait`, and is dropped on its way back.
    for q in (work, wait):
        expect_ready(channel, q, 0)


def test_the_dead_letter_exchange_may_be_one_that_is_not_permitted_to_exist(channel, name):
    """Any text is a name; only texts are."""
    declare(channel, name("q"), dead_letter_exchange="amq.no-such")
    code, text = refused(lambda: declare(channel, name("q"), dead_letter_exchange=5))
    assert code == 406 and "invalid type" in text
