"""Alternate exchanges: chains, conditions, and what a publisher is told. The basics are in pika_blocking."""

import pika.exceptions
import pytest

from queue_types.queues import fill, refused
from support.messages import bound_queue, drain, publish


@pytest.fixture
def exchange(channel, name):
    """`exchange("direct", other)` makes an exchange, with another as its alternate."""

    def make(kind, alternate=None, **options):
        arguments = None if alternate is None else {"alternate-exchange": alternate}
        made = name("x")
        channel.exchange_declare(made, kind, arguments=arguments, **options)
        return made

    return make


def unroutable(channel, exchange, key="nobody"):
    """Whether a mandatory message comes back."""
    channel.confirm_delivery()
    try:
        channel.basic_publish(exchange, key, b"m", mandatory=True)
    except pika.exceptions.UnroutableError:
        return True
    return False


def test_a_chain_is_followed_to_the_first_that_has_a_queue(channel, exchange):
    last = exchange("fanout")
    middle = exchange("topic", last)
    first = exchange("direct", exchange("headers", middle))
    queues = [bound_queue(channel, middle, "some.*"), bound_queue(channel, last, "")]
    publish(channel, first, "some.key", "middle")
    publish(channel, first, "other", "last")
    assert [drain(channel, queue) for queue in queues] == [["middle"], ["last"]]


def test_an_exchange_may_be_its_own_alternate(channel, exchange, name):
    own = name("x")
    channel.exchange_declare(own, "direct", arguments={"alternate-exchange": own})
    queue = bound_queue(channel, own, "k")
    assert unroutable(channel, own)
    publish(channel, own, "k", "m")
    assert drain(channel, queue) == ["m"]


def test_the_alternate_of_a_loop_is_left_for_a_queue(channel, name):
    names = [name("x") for _ in range(3)]
    for at, one in enumerate(names):
        channel.exchange_declare(one, "direct", arguments={"alternate-exchange": names[(at + 1) % 3]})
    queue = bound_queue(channel, names[2], "k")
    publish(channel, names[0], "k", "m")
    assert drain(channel, queue) == ["m"]
    assert unroutable(channel, names[0])


def test_mandatory_comes_back_only_if_the_whole_chain_has_no_queue(channel, exchange):
    last = exchange("direct")
    first = exchange("direct", exchange("direct", last))
    assert unroutable(channel, first)
    queue = bound_queue(channel, last, "nobody")
    assert not unroutable(channel, first)
    assert drain(channel, queue) == ["m"]


def test_a_returned_message_names_the_exchange_it_was_sent_to(channel, exchange):
    first = exchange("direct", exchange("direct"))
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as returned:
        channel.basic_publish(first, "key", b"m", mandatory=True)
    method = returned.value.messages[0].method
    assert (method.reply_code, method.reply_text, method.exchange, method.routing_key) == (312, "NO_ROUTE", first, "key")


def test_it_is_looked_up_when_a_message_comes(channel, exchange, name):
    later = name("later")
    first = exchange("direct", later)
    assert unroutable(channel, first)
    channel.exchange_declare(later, "fanout")
    queue = bound_queue(channel, later, "")
    assert not unroutable(channel, first)
    channel.exchange_delete(later)
    assert unroutable(channel, first)
    assert drain(channel, queue) == ["m"]


def test_a_binding_that_matches_keeps_it_away(channel, exchange):
    alternate = exchange("fanout")
    rest = bound_queue(channel, alternate, "")
    first = exchange("topic", alternate)
    queue = bound_queue(channel, first, "a.#")
    publish(channel, first, "a.b", "m")
    channel.queue_unbind(queue, first, "a.#")
    publish(channel, first, "a.b", "n")
    assert (drain(channel, queue), drain(channel, rest)) == (["m"], ["n"])


def test_a_bound_exchange_is_a_route_even_where_it_leads_nowhere(channel, exchange):
    alternate, empty = exchange("fanout"), exchange("fanout")
    rest = bound_queue(channel, alternate, "")
    first = exchange("fanout", alternate)
    channel.exchange_bind(empty, first)
    assert unroutable(channel, first)
    assert drain(channel, rest) == []


def test_a_bound_exchange_has_an_alternate_of_its_own(channel, exchange):
    alternate = exchange("fanout")
    rest = bound_queue(channel, alternate, "")
    inner = exchange("direct", alternate)
    first = exchange("fanout")
    channel.exchange_bind(inner, first)
    publish(channel, first, "k", "m")
    assert drain(channel, rest) == ["m"]


def test_it_may_be_internal(channel, exchange):
    hidden = exchange("fanout", internal=True)
    rest = bound_queue(channel, hidden, "")
    publish(channel, exchange("direct", hidden), "k", "m")
    assert drain(channel, rest) == ["m"]


def test_the_default_exchange_is_no_alternate(channel, exchange, queue_of):
    queue = queue_of("classic")
    assert unroutable(channel, exchange("direct", ""), queue)
    assert drain(channel, queue) == []


@pytest.mark.parametrize("value", [1, None, True, ["x"]])
def test_it_has_to_be_a_name(channel, name, value):
    with refused(406, "alternate-exchange"):
        channel.exchange_declare(name("x"), "direct", arguments={"alternate-exchange": value})


def test_it_is_compared_and_passive_ignores_it(connect, channel, exchange):
    first = exchange("direct", "one")
    channel.exchange_declare(first, "direct", arguments={"alternate-exchange": "one", "unknown": 1})
    channel.exchange_declare(first, passive=True)
    channel.exchange_declare(first, "fanout", passive=True, arguments={"alternate-exchange": "two"})
    for arguments in ({"alternate-exchange": "two"}, None):
        with refused(406, f"inequivalent arg 'alternate-exchange' for exchange '{first}' in vhost '/'"):
            connect().channel().exchange_declare(first, "direct", arguments=arguments)


def test_dead_letters_take_it_too(channel, exchange, queue_of):
    alternate = exchange("fanout")
    rest = bound_queue(channel, alternate, "")
    queue = queue_of("classic", dead_letter_exchange=exchange("direct", alternate))
    fill(channel, queue, "m")
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    channel.queue_declare(queue, passive=True)
    assert drain(channel, rest) == ["m"]
