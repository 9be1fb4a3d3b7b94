"""Tokens that run out, and connection.update-secret."""

import time

import pika
import pika.exceptions
import pytest

from support.authorization_server import token
from support.broker import Leveret
from support.deadline import pump

pytestmark = pytest.mark.own_broker


@pytest.fixture(scope="module")
def broker(with_files):
    with Leveret(with_files) as leveret:
        yield leveret


def closed(connection, seconds=10):
    """What the broker closes the connection with."""
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        pump(connection, lambda: False, "it is closed", seconds)
    return error.value.reply_code, error.value.reply_text


def test_a_connection_ends_with_its_token(broker, login):
    connection = login(broker, token(lives=2))
    connection.channel().queue_declare("", exclusive=True)
    begin = time.monotonic()
    assert closed(connection) == (320, "CONNECTION_FORCED - credential expired")
    assert time.monotonic() - begin < 3


def test_a_new_token_prolongs_a_running_connection(broker, login):
    connection = login(broker, token(lives=2))
    end = time.monotonic() + 3
    channel = connection.channel()
    connection.update_secret(token(lives=60), "the first one runs out")
    pump(connection, lambda: time.monotonic() > end, "the first token ran out", 5)
    channel.queue_declare("", exclusive=True)
    connection.update_secret(token(lives=1), "")
    assert closed(connection) == (320, "CONNECTION_FORCED - credential expired")


def test_a_new_token_changes_what_is_allowed(broker, login):
    connection = login(broker, token())
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare("narrowed", "topic", auto_delete=True)
    channel.basic_publish("narrowed", "key", b"")
    connection.update_secret(token("rabbitmq.read:*/*/*"), "narrower")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        channel.basic_publish("narrowed", "key", b"")
    assert error.value.reply_code == 403, "a remembered route does not outlive the token"
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        connection.channel().queue_declare("", exclusive=True)
    assert error.value.reply_code == 403
    connection.update_secret(token(), "wider again")
    connection.channel().queue_declare("", exclusive=True)


def test_a_consumer_that_may_not_read_any_more_is_cancelled(broker, login):
    connection = login(broker, token())
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    kept = channel.queue_declare("kept", exclusive=True).method.queue
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    channel.basic_consume(kept, lambda *_: None)
    connection.update_secret(token("rabbitmq.read:*/kept"), "narrower")
    pump(connection, lambda: cancelled, "the consumer is cancelled")
    assert cancelled == [tag]
    assert channel.is_open


@pytest.mark.parametrize(
    "secret",
    ["garbage", "a.b.c", "", token(lives=-5), token(aud="another"), token(sub="eve"), token()[:-6]],
    ids=["garbage", "dots", "empty", "expired", "audience", "another user", "cut"],
)
def test_a_bad_secret_ends_the_connection(broker, login, secret):
    connection = login(broker, token())
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        connection.update_secret(secret, "wrong")
    assert error.value.reply_code == 530
    assert error.value.reply_text == "NOT_ALLOWED - New secret was refused by one of the backends"


def test_a_token_for_another_vhost_ends_the_connection(broker, login):
    connection = login(broker, token())
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        connection.update_secret(token("rabbitmq.read:staging/*"), "elsewhere")
    assert error.value.reply_code == 530
    assert "access to vhost '/' refused" in error.value.reply_text


def test_large_tokens_fit_once_the_connection_is_open(broker, login):
    connection = login(broker, token())
    made = token(filler="x" * 20_000)
    assert len(made) > 25_000
    connection.update_secret(made, "")
    connection.channel().queue_declare("", exclusive=True)


def test_it_means_nothing_to_a_local_user(broker):
    with pika.BlockingConnection(broker.parameters()) as connection:
        connection.update_secret("garbage", "")
        connection.update_secret(token("rabbitmq.read:*/*", lives=1), "")
        connection.channel().queue_declare("", exclusive=True)
