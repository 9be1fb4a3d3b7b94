"""Every refusal that a pika client can provoke: reply code, text, and what lives on."""

import pika.exceptions
import pytest

from support.refusals import CHANNEL_ERRORS, CONNECTION_ERRORS, REPLY_TO_ERRORS, Scene


@pytest.fixture
def scene(connect, name):
    """See Scene."""
    return Scene(connect, name)


@pytest.mark.parametrize("case", CHANNEL_ERRORS)
def test_channel_error(scene, case):
    check_channel_error(scene, CHANNEL_ERRORS[case])


@pytest.mark.parametrize("case", REPLY_TO_ERRORS)
def test_channel_error_of_direct_reply_to(direct_reply_to, scene, case):
    check_channel_error(scene, REPLY_TO_ERRORS[case])


def check_channel_error(scene, refusal):
    """Makes the call; the channel must go with code and text, and the connection stay."""
    code, text, provoke = refusal
    made = []
    naming = scene.name
    scene.name = lambda stem: made.append(naming(stem)) or made[-1]
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        provoke(scene)
    assert closed.value.reply_code == code, closed.value
    wanted = [text.replace("{}", entry) for entry in made] or [text]
    assert any(entry in closed.value.reply_text for entry in wanted), closed.value
    assert not scene.channel.is_open
    scene.connection.channel().queue_declare("", exclusive=True)


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_connection_error(scene, case):
    code, text, provoke = CONNECTION_ERRORS[case]
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        provoke(scene)
    assert closed.value.reply_code == code, closed.value
    assert text in closed.value.reply_text, closed.value
    assert not scene.connection.is_open


def test_an_unknown_exchange_type(scene):
    """A channel error; RabbitMQ before 4 closes the connection with 503 instead."""
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as closed:
        scene.channel.exchange_declare(scene.name("x"), "x-no-such-type")
    assert "unknown exchange type 'x-no-such-type'" in closed.value.reply_text
    if isinstance(closed.value, pika.exceptions.ChannelClosedByBroker):
        assert closed.value.reply_code == 406
    else:
        assert closed.value.reply_code == 503


def test_a_refused_nowait_declare_still_closes_the_channel(scene):
    queue = scene.queue(durable=True)
    reasons = []
    impl = scene.channel._impl
    impl.add_on_close_callback(lambda _, reason: reasons.append(reason))
    impl.queue_declare(queue, durable=False, callback=None)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        scene.channel.queue_declare("", exclusive=True)
    assert [reason.reply_code for reason in reasons] == [406]


def test_many_channel_errors_in_a_row_leave_the_connection_usable(scene):
    for _ in range(50):
        channel = scene.connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("no such queue", passive=True)
    scene.connection.channel().queue_declare("", exclusive=True)
