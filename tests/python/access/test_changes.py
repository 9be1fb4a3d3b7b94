"""Permissions that change under connections that are open, that are kept, and that users of the configuration get."""

import pika
import pika.exceptions
import pytest

from support.control import Refused, ctl, listed
from support.deadline import pump
from support.messages import Consumer, consumers, expect_ready, publish

pytestmark = pytest.mark.own_broker

WORKER = {"user": "worker", "password": "secret"}
SETTINGS = {"auth.users.worker.password": "secret", "auth.users.worker.vhosts": '["/", "other"]'}


def closed_by(do):
    """The text of the 403 that a channel is closed with."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        do()
    assert closed.value.reply_code == 403
    return closed.value.reply_text


def test_a_change_holds_at_the_next_operation_and_for_consumers_at_once(on, opened):
    broker = on(SETTINGS)
    owner, worker = opened(broker).channel(), opened(broker, **WORKER)
    owner.queue_declare("q")
    channel, publisher, other = (worker.channel() for _ in range(3))
    owner.queue_declare("mine")
    consumer, mine = Consumer(channel, "q"), Consumer(channel, "mine", auto_ack=True)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    publish(publisher, "", "q", "first")
    (first,) = consumer.take(1)
    ctl(broker, "set_permissions", "worker", "", "", "^mine$")
    refused = closed_by(lambda: (publish(publisher, "", "q", "second"), publisher.basic_qos()))
    assert refused == (
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'worker'"
    )
    assert "read access to queue 'q'" in closed_by(lambda: other.basic_get("q"))
    # RabbitMQ lets consumers go on.
    pump(worker, lambda: cancelled, "the consumer is cancelled")
    publish(owner, "", "q", "third")
    publish(owner, "", "mine", "fourth")
    assert [delivery.text for delivery in mine.take(1)] == ["fourth"]
    assert (cancelled, consumer.texts(), consumers(owner, "q")) == ([consumer.tag], ["first"], 0)
    channel.basic_ack(first.tag)
    channel.basic_qos()
    ctl(broker, "set_permissions", "worker", "", "^amq.default$", "")
    again = worker.channel()
    publish(again, "", "q", "fifth")
    again.basic_qos()
    expect_ready(owner, "q", 2)
    ctl(broker, "clear_permissions", "worker")
    assert "write access" in closed_by(lambda: (publish(again, "", "q", "sixth"), again.basic_qos()))
    expect_ready(owner, "q", 2)


def test_without_permissions_a_vhost_is_closed_and_with_empty_ones_it_opens(on, opened, refusal):
    broker = on(SETTINGS)
    ctl(broker, "clear_permissions", "worker")
    assert refusal(broker, "/", **WORKER) == "NOT_ALLOWED - access to vhost '/' refused for user 'worker'"
    ctl(broker, "set_topic_permissions", "worker", "amq.topic", ".*", ".*")
    assert refusal(broker, "/", **WORKER).startswith("NOT_ALLOWED - access to vhost '/' refused")
    ctl(broker, "set_permissions", "worker", "", "", "")
    channel = opened(broker, **WORKER).channel()
    assert "configure access to queue 'q'" in closed_by(lambda: channel.queue_declare("q"))
    opened(broker, "other", **WORKER).channel().queue_declare("q")


def test_commands_are_those_of_rabbitmqctl(on):
    broker = on(SETTINGS)
    ctl(broker, "set_permissions", "-p", "other", "worker", "^a\tb", "", ".*")
    ctl(broker, "set_topic_permissions", "--vhost", "other", "worker", "amq.topic", "^{username}", "")
    ctl(broker, "set_topic_permissions", "-p", "other", "worker", "x", "", "")
    assert ctl(broker, "list_permissions", "-p", "other").splitlines() == [
        "user\tconfigure\twrite\tread",
        "worker\t^a\\tb\t\t.*",
    ]
    assert ctl(broker, "list_user_permissions", "worker").splitlines() == [
        "vhost\tconfigure\twrite\tread",
        "/\t.*\t.*\t.*",
        "other\t^a\\tb\t\t.*",
    ]
    assert ctl(broker, "list_topic_permissions", "-p", "other").splitlines() == [
        "user\texchange\twrite\tread",
        "worker\tamq.topic\t^{username}\t",
        "worker\tx\t\t",
    ]
    assert listed(broker, "list_user_topic_permissions", "worker")[0] == {
        "vhost": "other",
        "user": "worker",
        "exchange": "amq.topic",
        "write": "^{username}",
        "read": "",
    }
    ctl(broker, "clear_topic_permissions", "-p", "other", "worker", "x")
    assert len(listed(broker, "list_topic_permissions", "-p", "other")) == 1
    ctl(broker, "clear_topic_permissions", "-p", "other", "worker")
    assert listed(broker, "list_topic_permissions", "-p", "other") == []
    for words, text in (
        (("set_permissions", "nobody", "", "", ""), 'User "nobody" does not exist'),
        (("set_permissions", "-p", "nowhere", "worker", "", "", ""), 'there is no vhost "nowhere"'),
        (("set_permissions", "worker", "(", "", ""), 'the pattern "(" is not valid'),
        (("set_topic_permissions", "worker", "x", "", "["), 'the pattern "[" is not valid'),
        (("clear_permissions", "nobody"), 'User "nobody" does not exist'),
        (("list_user_permissions", "nobody"), 'User "nobody" does not exist'),
        (("list_permissions", "-p", "nowhere"), 'there is no vhost "nowhere"'),
    ):
        with pytest.raises(Refused) as refused:
            ctl(broker, *words)
        assert text in str(refused.value)


def test_they_survive_a_kill_and_what_is_cleared_stays_so(on):
    broker = on(SETTINGS)
    ctl(broker, "set_permissions", "worker", "^a", "^b", "^c")
    ctl(broker, "clear_permissions", "-p", "other", "worker")
    ctl(broker, "set_topic_permissions", "worker", "amq.topic", "^{username}", "")
    before = [listed(broker, f"list_{what}") for what in ("permissions", "topic_permissions")]
    assert before[0][1] == {"vhost": "/", "user": "worker", "configure": "^a", "write": "^b", "read": "^c"}
    broker.kill()
    broker = on(SETTINGS)
    after = [listed(broker, f"list_{what}") for what in ("permissions", "topic_permissions")]
    assert after == before
    assert listed(broker, "list_permissions", "-p", "other") == []


def test_what_was_not_changed_follows_the_configuration(on, opened, refusal):
    narrow = {"auth.default_permissions": '["^w", "", ".*"]'}
    broker = on(SETTINGS | narrow)
    assert [row["configure"] for row in listed(broker, "list_user_permissions", "worker")] == ["^w", "^w"]
    channel = opened(broker, **WORKER).channel()
    channel.queue_declare("wide")
    assert "configure access to queue 'q'" in closed_by(lambda: channel.queue_declare("q"))
    broker.kill()
    broker = on(SETTINGS | {"auth.users.worker.vhosts": '["/"]', "vhosts.names": '["other"]'})
    assert [row["configure"] for row in listed(broker, "list_user_permissions", "worker")] == [".*"]
    assert refusal(broker, "other", **WORKER).startswith("NOT_ALLOWED - access to vhost 'other' refused")


def test_vhosts_whose_names_look_alike_are_not_each_other(on, opened, refusal):
    names = ["a/b", "a%2Fb", "a%2fb", "A/b", "а/b", "a/b ", "../a/b", "a∕b"]
    quoted = ", ".join(f'"{name}"' for name in names)
    broker = on({"vhosts.names": f"[{quoted}]", "auth.users.worker.password": "secret"})
    for name in names:
        ctl(broker, "set_permissions", "-p", name, "worker", "^q$", "", "")
        channel = opened(broker, name, **WORKER).channel()
        channel.queue_declare("q")
        assert f"in vhost '{name}' refused" in closed_by(lambda on=channel: on.queue_declare("r"))
        for other in names:
            if other != name:
                text = f"NOT_ALLOWED - access to vhost '{other}' refused for user 'worker'"
                assert refusal(broker, other, **WORKER) == text
        ctl(broker, "clear_permissions", "-p", name, "worker")
