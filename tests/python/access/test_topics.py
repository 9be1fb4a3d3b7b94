"""Permissions on routing keys of topic exchanges."""

import pika
import pytest

from access.place import FULL, USER, VHOST

pytestmark = pytest.mark.xdist_group("access")


@pytest.fixture
def names(place):
    """Names of a case, with full permissions; what is said of topics is taken back."""
    place.permit(*FULL)
    yield place.made()
    place.permissions.clear_topic(USER, VHOST)


def refused(place, right, key, exchange):
    """The refusal, with the doubled word."""
    text = f"{right} access to topic '{key}' in exchange exchange '{exchange}' in vhost '{VHOST}' refused for user '{USER}'"
    return 403, place.says(f"ACCESS_REFUSED - {text}")


def publish(key, **headers):
    """A publish to the topic exchange."""
    properties = pika.BasicProperties(headers=headers) if headers else None
    return lambda channel, names: channel.basic_publish(names.topic, key, b"x", properties)


def bind(key):
    """A binding from the topic exchange to the queue."""
    return lambda channel, names: channel.queue_bind(names.queue, names.topic, key)


def unbind(key):
    """The same binding removed."""
    return lambda channel, names: channel.queue_unbind(names.queue, names.topic, key)


def bind_exchange(key):
    """A binding from the topic exchange to an exchange."""
    return lambda channel, names: channel.exchange_bind(names.exchange, names.topic, key)


def test_keys_are_held_against_the_patterns(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, "^a", "b$")
    assert place.outcome(publish("ab"), names) is None
    assert place.outcome(publish("b"), names) == refused(place, "write", "b", names.topic)
    for operation in (bind, unbind, bind_exchange):
        assert place.outcome(operation("b"), names) is None
        assert place.outcome(operation("a"), names) == refused(place, "read", "a", names.topic)


def test_an_empty_pattern_allows_the_empty_key_alone(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, "", "")
    assert place.outcome(publish("a"), names) == refused(place, "write", "a", names.topic)
    assert place.outcome(publish(""), names) is None
    assert place.outcome(bind("#"), names) == refused(place, "read", "#", names.topic)
    assert place.outcome(bind(""), names) is None


def test_every_key_of_a_message_counts(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, "^a", ".*")
    assert place.outcome(publish("a", CC=["ab"], BCC=["ac"]), names) is None
    for header in ("CC", "BCC"):
        outcome = place.outcome(publish("a", **{header: ["ab", "b"]}), names)
        # RabbitMQ looks at them since 4.0.
        assert outcome == (None if place.is_rabbitmq else refused(place, "write", "b", names.topic))


def test_exchanges_of_other_types_and_other_names_are_free(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, "^$", "^$")
    place.permissions.set_topic(USER, VHOST, names.source, "^$", "^$")
    assert place.outcome(lambda c, n: c.basic_publish("amq.topic", "k", b"x"), names) is None
    assert place.outcome(lambda c, n: c.basic_publish(n.source, "k", b"x"), names) is None
    assert place.outcome(lambda c, n: c.queue_bind(n.queue, n.source, "more"), names) is None


def test_the_exchange_is_asked_about_first(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, ".*", ".*")
    place.permit(".*", "", "")
    code, text = place.outcome(publish("a"), names)
    assert code == 403 and place.says(f"write access to exchange '{names.topic}'") in text
    code, text = place.outcome(bind("a"), names)
    assert code == 403 and place.says(f"write access to queue '{names.queue}'") in text


def test_variables_stand_for_user_and_vhost(place, names):
    place.permissions.set_topic(USER, VHOST, names.topic, "^{username}\\.{vhost}$", "{client_id}")
    assert place.outcome(publish(f"{USER}.{VHOST}"), names) is None
    assert place.outcome(publish("{username}.{vhost}"), names) == refused(place, "write", "{username}.{vhost}", names.topic)
    # There is none in AMQP 0-9-1, so it stands for itself.
    assert place.outcome(bind("{client_id}"), names) is None
    assert place.outcome(bind("a"), names) == refused(place, "read", "a", names.topic)
