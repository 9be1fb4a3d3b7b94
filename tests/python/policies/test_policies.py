"""Policies hold for queues and exchanges that match, from the moment they are set until they are cleared."""

import pika
import pika.exceptions
import pytest

from support.control import Refused, clear_policy, ctl, listed, set_policy
from support.deadline import eventually
from support.messages import PERSISTENT, bound_queue, drain, expect_ready, publish, ready

pytestmark = pytest.mark.own_broker


def exists(connection, queue):
    """Whether there is a queue of this name. Asking for it is using it, so that it is asked for by a binding."""
    channel = connection.channel()
    try:
        channel.queue_bind(queue, "amq.direct", "never")
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return False
    channel.close()
    return True


def test_a_length_limit_takes_effect_on_a_full_queue(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("dead", durable=True)
    channel.queue_declare("jobs.eu", durable=True)
    channel.queue_declare("other", durable=True)
    for queue in ("jobs.eu", "other"):
        publish(channel, "", queue, *[str(number) for number in range(10_000)], properties=PERSISTENT)
        expect_ready(channel, queue, 10_000)
    letters = {"max-length": 10, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}
    set_policy(broker, "bound", "^jobs", letters, "--apply-to", "queues")
    expect_ready(channel, "jobs.eu", 10)
    expect_ready(channel, "dead", 9_990)
    assert ready(channel, "other") == 10_000
    _, properties, body = channel.basic_get("dead", auto_ack=True)
    assert (body, properties.headers["x-death"][0]["reason"]) == (b"0", "maxlen")
    clear_policy(broker, "bound")
    publish(channel, "", "jobs.eu", b"more")
    expect_ready(channel, "jobs.eu", 11)
    assert drain(channel, "jobs.eu") == [*[str(number) for number in range(9_990, 10_000)], "more"]


def test_a_lifetime_takes_effect_on_what_is_queued(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("q")
    publish(channel, "", "q", *[str(number) for number in range(100)])
    expect_ready(channel, "q", 100)
    set_policy(broker, "short", "q", {"message-ttl": 100})
    expect_ready(channel, "q", 0)
    set_policy(broker, "short", "q", {"message-ttl": 3_600_000})
    publish(channel, "", "q", b"stays")
    expect_ready(channel, "q", 1)


def test_an_expiry_deletes_what_nobody_uses(on, opened):
    broker = on()
    connection = opened(broker)
    channel = connection.channel()
    channel.queue_declare("idle", durable=True)
    channel.queue_declare("used", durable=True)
    channel.basic_consume("used", lambda *_: None)
    set_policy(broker, "stale", "", {"expires": 200}, operator=True)
    eventually(lambda: not exists(connection, "idle"), "the idle queue is gone")
    assert exists(connection, "used")


def test_publishes_are_refused_as_soon_as_a_policy_says_so(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("q")
    publish(channel, "", "q", b"1", b"2")
    set_policy(broker, "full", "q", {"max-length": 2, "overflow": "reject-publish"})
    with pytest.raises(pika.exceptions.NackError):
        publish(channel, "", "q", b"3")
    clear_policy(broker, "full")
    publish(channel, "", "q", b"4")
    assert drain(channel, "q") == ["1", "2", "4"]


def test_of_two_numbers_the_smaller_holds_and_of_two_words_the_argument(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.confirm_delivery()
    set_policy(broker, "p", "", {"max-length": 5, "overflow": "drop-head"})
    channel.queue_declare("smaller", arguments={"x-max-length": 3})
    channel.queue_declare("larger", arguments={"x-max-length": 9})
    channel.queue_declare("word", arguments={"x-overflow": "reject-publish"})
    for queue, kept in (("smaller", 3), ("larger", 5)):
        publish(channel, "", queue, *map(str, range(12)))
        assert ready(channel, queue) == kept
    publish(channel, "", "word", *map(str, range(5)))
    with pytest.raises(pika.exceptions.NackError):
        publish(channel, "", "word", b"too much")
    # It makes no difference to whether a declaration is the same.
    channel.queue_declare("larger", arguments={"x-max-length": 9})
    set_policy(broker, "cap", "", {"max-length": 2}, operator=True)
    assert [ready(channel, queue) for queue in ("smaller", "larger", "word")] == [2, 2, 5]


def test_the_highest_priority_applies_alone(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("q")
    set_policy(broker, "low", "", {"max-length": 1}, "--priority", "-5")
    set_policy(broker, "high", "q", {"max-length": 4}, "--priority", "3")
    set_policy(broker, "exchanges", "q", {"alternate-exchange": "x"}, "--priority", "9", "--apply-to", "exchanges")
    set_policy(broker, "quorum", "q", {"delivery-limit": 1}, "--priority", "8")
    publish(channel, "", "q", *map(str, range(8)))
    assert ready(channel, "q") == 4
    clear_policy(broker, "high")
    expect_ready(channel, "q", 1)


def test_an_alternate_exchange_comes_and_goes(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.exchange_declare("orders", "direct", durable=True)
    channel.exchange_declare("lost", "fanout", durable=True)
    channel.exchange_declare("own", "direct", arguments={"alternate-exchange": "amq.fanout"})
    found = bound_queue(channel, "lost", "")
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(channel, "orders", "nowhere", b"1", mandatory=True)
    set_policy(broker, "ae", "^(?!amq\\.)", {"alternate-exchange": "lost"}, "--apply-to", "exchanges")
    publish(channel, "orders", "nowhere", b"2", mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(channel, "own", "nowhere", b"3", mandatory=True)
    channel.exchange_declare("later", "direct")
    publish(channel, "later", "nowhere", b"4", mandatory=True)
    clear_policy(broker, "ae")
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(channel, "orders", "nowhere", b"5", mandatory=True)
    assert drain(channel, found) == ["2", "4"]


def test_a_single_policy_steers_a_quorum_queue(on, opened):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    set_policy(broker, "p", "q", {"delivery-limit": 1, "dead-letter-exchange": "amq.fanout"})
    dead = bound_queue(channel, "amq.fanout", "")
    publish(channel, "", "q", b"poison")
    for _ in range(2):
        method = eventually(lambda: channel.basic_get("q")[0], "the message comes back")
        channel.basic_reject(method.delivery_tag, requeue=True)
    expect_ready(channel, dead, 1)
    _, properties, _ = channel.basic_get(dead, auto_ack=True)
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_policies_are_there_after_a_restart(on, opened, end):
    broker = on()
    channel = opened(broker).channel()
    channel.queue_declare("q", durable=True)
    set_policy(broker, "p", "^q", {"max-length": 3}, "--priority", "7", "--apply-to", "classic_queues")
    set_policy(broker, "gone", "^q", {"max-length": 1})
    clear_policy(broker, "gone")
    set_policy(broker, "o", "^q", {"max-length-bytes": 4}, operator=True)
    ctl(broker, "set_vhost_limits", '{"max-queues": 1}')
    getattr(broker, end)()
    again = on()
    channel = opened(again).channel()
    channel.confirm_delivery()
    publish(channel, "", "q", b"aa", b"bb", b"cc")
    assert drain(channel, "q") == ["bb", "cc"]
    assert listed(again, "list_policies") == [
        {
            "vhost": "/",
            "name": "p",
            "pattern": "^q",
            "apply-to": "classic_queues",
            "definition": {"max-length": 3},
            "priority": 7,
        }
    ]
    assert [policy["name"] for policy in listed(again, "list_operator_policies")] == ["o"]
    assert listed(again, "list_vhost_limits") == [{"vhost": "/", "limits": {"max-queues": 1}}]


def test_operators_bound_queues_by_the_configuration(on, opened):
    cap = "policies.operator.cap"
    broker = on({f"{cap}.max_length": "2", f"{cap}.queue_pattern": "^q"})
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("q", arguments={"x-max-length": 100})
    publish(channel, "", "q", *map(str, range(5)))
    assert ready(channel, "q") == 2
    assert listed(broker, "list_operator_policies")[0]["name"] == "cap"
    with pytest.raises(Refused, match="the policy is in the configuration"):
        clear_policy(broker, "cap", operator=True)


def test_what_is_wrong_is_told_and_changes_nothing(on, opened):
    broker = on()
    for definition, text in [
        ('{"max-lenght": 1}', "max-lenght are not recognised policy settings"),
        ('{"message-ttl": -1}', "-1 is not a valid message TTL"),
        ("{}", "no policy provided"),
        ("[1]", "definition should be an object"),
        ("{", "the definition should be JSON"),
    ]:
        with pytest.raises(Refused, match=text):
            ctl(broker, "set_policy", "p", "", definition)
    with pytest.raises(Refused, match="is not valid"):
        set_policy(broker, "p", "(", {"max-length": 1})
    with pytest.raises(Refused, match="should be one of all"):
        set_policy(broker, "p", "", {"max-length": 1}, "--apply-to", "topics")
    with pytest.raises(Refused, match='there is no vhost "nowhere"'):
        set_policy(broker, "p", "", {"max-length": 1}, "-p", "nowhere")
    with pytest.raises(Refused, match="not recognised operator policy settings"):
        set_policy(broker, "p", "", {"dead-letter-exchange": "x"}, operator=True)
    with pytest.raises(Refused, match="there is no policy"):
        clear_policy(broker, "p")
    assert listed(broker, "list_policies") == []
    broker.stop()
    with pytest.raises(Refused, match="cannot reach a broker on"):
        listed(broker, "list_policies")
