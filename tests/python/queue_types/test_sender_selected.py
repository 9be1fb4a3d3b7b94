"""Sender-selected distribution: the headers CC and BCC name further routing keys."""

import pika
import pika.exceptions
import pytest

from queue_types.queues import fill, refused
from support.deadline import eventually
from support.messages import Consumer, bound_queue, drain


@pytest.fixture
def queues(queue_of, kind):
    """Three queues of a type."""
    return [queue_of(kind) for _ in range(3)]


def send(channel, exchange, key, mandatory=False, **headers):
    """Publishes a message with these headers, and waits for its confirm."""
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"m", pika.BasicProperties(headers=headers), mandatory)


def test_each_key_is_a_queue_and_bcc_is_seen_by_nobody(channel, queues):
    first, copy, blind = queues
    send(channel, "", first, CC=[copy], BCC=[blind], mine="x")
    for queue in queues:
        (delivery,) = Consumer(channel, queue, auto_ack=True).take(1)
        assert delivery.method.routing_key == first
        assert delivery.properties.headers == {"CC": [copy], "mine": "x"}


def test_bcc_alone_leaves_an_empty_table(quorum_as_in_4, channel, queues):
    send(channel, "", "nobody", BCC=[queues[0]])
    _, properties, body = channel.basic_get(queues[0], auto_ack=True)
    assert body == b"m"
    assert not properties.headers


def test_a_queue_named_often_gets_one_copy(channel, queues):
    first, second, _ = queues
    send(channel, "", first, CC=[first, second, second], BCC=[first, second])
    assert [drain(channel, queue) for queue in (first, second)] == [["m"], ["m"]]


def test_the_keys_go_through_the_exchange(channel, name):
    exchange = name("topic")
    channel.exchange_declare(exchange, "topic")
    queues = [bound_queue(channel, exchange, key) for key in ("a.#", "b.*", "c")]
    send(channel, exchange, "a.x", CC=["b.y", "b.y.z"], BCC=["c"])
    assert [drain(channel, queue) for queue in queues] == [["m"]] * 3


def test_each_key_that_is_not_routed_may_take_the_alternate_exchange(channel, name):
    alternate, exchange = name("ae"), name("x")
    channel.exchange_declare(alternate, "direct")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    queue = bound_queue(channel, alternate, "copy")
    send(channel, exchange, "nobody", CC=["copy"], mandatory=True)
    assert drain(channel, queue) == ["m"]


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_one_that_reaches_a_queue_satisfies_mandatory(channel, queues, header):
    send(channel, "", "nobody", mandatory=True, **{header: ["nobody either", queues[0]]})
    assert drain(channel, queues[0]) == ["m"]


def test_what_reaches_none_comes_back(channel):
    with pytest.raises(pika.exceptions.UnroutableError) as returned:
        send(channel, "", "nobody", mandatory=True, CC=["nobody either"])
    (message,) = returned.value.messages
    assert message.method.routing_key == "nobody"
    assert message.properties.headers == {"CC": ["nobody either"]}


@pytest.mark.parametrize("value", ["k", 1, {"k": "v"}, True, b"k"])
@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_header_that_is_no_array_is_refused(channel, header, value):
    with refused(406, "invalid message: {unacceptable_type_in_header,", header):
        send(channel, "", "k", **{header: value})
    assert channel.connection.is_open


def test_members_that_are_no_strings_are_passed_over(as_in_4, channel, queues):
    send(channel, "", queues[0], CC=[1, True, None, queues[1], ["nested"]])
    assert [drain(channel, queue) for queue in queues] == [["m"], ["m"], []]


def test_other_spellings_are_plain_headers(channel, queues):
    send(channel, "", queues[0], cc=[queues[1]], Bcc="text")
    assert [drain(channel, queue) for queue in queues] == [["m"], [], []]


def test_empty_arrays_are_taken(quorum_as_in_4, channel, queues):
    send(channel, "", queues[0], CC=[], BCC=[])
    _, properties, _ = channel.basic_get(queues[0], auto_ack=True)
    assert properties.headers == {"CC": []}


def test_in_a_transaction(channel, queues):
    channel.tx_select()
    headers = {"CC": [queues[1]], "BCC": [queues[2]]}
    channel.basic_publish("", queues[0], b"m", pika.BasicProperties(headers=headers))
    channel.tx_commit()
    assert [drain(channel, queue) for queue in queues] == [["m"]] * 3


def test_a_dead_letter_keeps_all_its_keys(channel, name, queue_of):
    exchange = name("dlx")
    channel.exchange_declare(exchange, "direct")
    queue = queue_of("classic", dead_letter_exchange=exchange)
    targets = [bound_queue(channel, exchange, key) for key in (queue, "copy", "blind", "other")]
    send(channel, "", queue, CC=["copy"], BCC=["blind"])
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    for target in targets[:3]:
        _, properties, _ = eventually(
            lambda target=target: (got := channel.basic_get(target, auto_ack=True))[0] and got, "a dead letter"
        )
        assert properties.headers["x-death"][0]["routing-keys"] == [queue, "copy"]
        assert properties.headers["CC"] == ["copy"]
        assert "BCC" not in properties.headers
    assert drain(channel, targets[3]) == []


def test_a_dead_letter_key_stands_for_all_of_them(channel, queue_of):
    dead = queue_of("classic")
    queue = queue_of("classic", dead_letter_exchange="", dead_letter_routing_key=dead)
    copy = queue_of("classic")
    send(channel, "", queue, CC=[copy])
    assert drain(channel, copy) == ["m"]
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    assert eventually(lambda: drain(channel, dead), "the dead letter") == ["m"]
    assert drain(channel, copy) == []
    fill(channel, copy, "free")


def test_the_alternate_exchange_is_for_what_no_key_routes(channel, name):
    alternate, exchange = name("ae"), name("x")
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    rest, copy = bound_queue(channel, alternate, ""), bound_queue(channel, exchange, "copy")
    send(channel, exchange, "nobody", CC=["copy"])
    send(channel, exchange, "copy", BCC=["nobody"])
    assert [drain(channel, queue) for queue in (rest, copy)] == [[], ["m", "m"]]
    send(channel, exchange, "nobody", CC=["nobody either"])
    assert [drain(channel, queue) for queue in (rest, copy)] == [["m"], []]


def test_the_alternate_exchange_of_dead_letters_is_for_what_no_key_routes_either(channel, name, queue_of):
    alternate, exchange = name("ae"), name("x")
    channel.exchange_declare(alternate, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": alternate})
    rest, copy = bound_queue(channel, alternate, ""), bound_queue(channel, exchange, "copy")
    queue = queue_of("classic", dead_letter_exchange=exchange)
    send(channel, "", queue, CC=["copy"])
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    assert eventually(lambda: drain(channel, copy), "the dead letter") == ["m"]
    assert drain(channel, rest) == []
