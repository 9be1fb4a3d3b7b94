"""What clients see of the daemon's start and end."""

import os
import socket
import time
from pathlib import Path

import pika
import pika.exceptions
import pytest

from support.broker import Leveret, free_port
from support.deadline import eventually
from support.messages import Consumer, publish
from support.silent_client import SilentClient

pytestmark = pytest.mark.own_broker


def test_it_becomes_ready_and_ends_with_0(leveret):
    broker = leveret()
    with pika.BlockingConnection(broker.parameters()) as connection:
        connection.channel().queue_declare("", exclusive=True)
    assert broker.stop() == 0
    with pytest.raises(OSError):
        socket.create_connection((broker.host, broker.port), timeout=1).close()
    listening = [record["protocol"] for record in broker.records() if record["message"] == "listening"]
    assert listening == ["amqp", "http", "prometheus"]
    # What starts RabbitMQ in a container looks for these words in the text of the log.
    [ready] = [record for record in broker.records() if record["message"] == "ready"]
    assert ready["as_rabbitmq"] == "Server startup complete"


def test_every_line_of_the_log_is_json(leveret):
    broker = leveret()
    with pika.BlockingConnection(broker.parameters()) as connection:
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("missing", passive=True)
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(broker.parameters(password="a secret that must stay one"))
    assert broker.stop() == 0
    assert len(broker.records()) == len([line for line in broker.lines if line])
    assert "a secret that must stay one" not in broker.log_text()


def test_shutdown_closes_every_connection_with_320(leveret):
    broker = leveret()
    connections = [pika.BlockingConnection(broker.parameters()) for _ in range(5)]
    queue = connections[0].channel().queue_declare("", exclusive=True).method.queue
    channel = connections[0].channel()
    publish(channel, "", queue, *["m"] * 10)
    Consumer(channel, queue)
    broker.terminate()
    for connection in connections:
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
            connection.sleep(15)
        assert closed.value.reply_code == 320
        assert "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" in closed.value.reply_text
    assert broker.wait() == 0


def test_shutdown_does_not_wait_for_ever_for_a_deaf_client(leveret):
    broker = leveret({"shutdown.grace": "1s"})
    with SilentClient(broker):
        begin = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - begin < 8


def test_waiting_for_a_close_ok_takes_no_processor_time(leveret):
    """A client that does not answer connection.close is waited for, not asked again and again."""
    broker = leveret()
    with SilentClient(broker) as client:
        client.send(7, pika.spec.Queue.Declare(queue="on a channel that is not open"))
        assert client.expect(pika.spec.Connection.Close).reply_code == 504
        before = processor_seconds(broker.process.pid)
        time.sleep(2)
        assert processor_seconds(broker.process.pid) - before < 0.5


def processor_seconds(pid):
    """What the process has used so far, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_new_connections_after_the_shutdown_began(leveret):
    broker = leveret()
    with SilentClient(broker) as deaf:
        broker.terminate()
        deaf.expect(pika.spec.Connection.Close)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(broker.parameters())
        deaf.send(0, pika.spec.Connection.CloseOk())
    assert broker.wait() == 0


def test_it_comes_back_on_the_same_port_at_once(leveret):
    """With connections still in TIME_WAIT on the port."""
    broker = leveret({"shutdown.grace": "1s"}, port=free_port())
    for _ in range(3):
        client = pika.BlockingConnection(broker.parameters())
        client.channel()
        assert broker.stop() == 0
        broker.start()
        with pika.BlockingConnection(broker.parameters()) as connection:
            connection.channel().queue_declare("", exclusive=True)


def test_after_kill_9_it_starts_again(leveret):
    broker = leveret(port=free_port())
    client = pika.BlockingConnection(broker.parameters())
    client.channel()
    broker.kill()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        client.sleep(10)
    broker.start()
    with pika.BlockingConnection(broker.parameters()) as connection:
        connection.channel()


def test_a_taken_port_is_an_error_that_names_it(leveret):
    first = leveret()
    second = Leveret(port=first.port)
    with pytest.raises(AssertionError):
        second.start()
    assert second.process.wait(10) != 0
    eventually(lambda: str(first.port) in second.log_text(), "the message names the port")


def test_an_unknown_setting_is_an_error_that_names_the_nearest(leveret):
    broken = Leveret({"amqp.hartbeat": 5})
    with pytest.raises(AssertionError):
        broken.start()
    assert broken.process.wait(10) != 0
    eventually(lambda: "amqp.heartbeat" in broken.log_text(), "the message names amqp.heartbeat")
    assert "amqp.hartbeat" in broken.log_text()


def test_users_of_the_configuration_and_their_vhosts(leveret):
    broker = leveret(
        {
            "vhosts.names": '["tenants"]',
            "auth.users.ann.password": "secret",
            "auth.users.bob.password": "secret",
            "auth.users.bob.vhosts": '["tenants"]',
        }
    )
    for user, vhost in (("guest", "/"), ("guest", "tenants"), ("ann", "/"), ("bob", "tenants")):
        password = "guest" if user == "guest" else "secret"
        with pika.BlockingConnection(broker.parameters(vhost, user=user, password=password)) as connection:
            connection.channel().queue_declare("", exclusive=True)
    for user, vhost in (("ann", "tenants"), ("bob", "/")):
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as refused:
            pika.BlockingConnection(broker.parameters(vhost, user=user, password="secret"))
        assert "530" in str(refused.value)
        assert f"access to vhost '{vhost}' refused for user '{user}'" in str(refused.value)


def test_a_limit_of_connections(leveret):
    broker = leveret({"limits.connections": 2})
    first, second = (pika.BlockingConnection(broker.parameters()) for _ in range(2))
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(broker.parameters())
    second.close()

    def admitted():
        try:
            pika.BlockingConnection(broker.parameters()).close()
        except pika.exceptions.AMQPError:
            return False
        return True

    eventually(admitted, "a place is free again")
    first.close()


def test_a_client_without_a_handshake_is_cut(leveret):
    broker = leveret({"amqp.handshake_timeout": "1s"})
    with socket.create_connection((broker.host, broker.port), timeout=10) as idle:
        begin = time.monotonic()
        assert idle.recv(1) == b""
        assert 0.8 <= time.monotonic() - begin <= 5


def test_product_and_cluster_name_are_settings(leveret):
    broker = leveret({"product.name": "RabbitMQ", "product.version": "4.2.0", "cluster.name": "hutch"})
    with pika.BlockingConnection(broker.parameters()) as connection:
        properties = connection._impl.server_properties
    assert (properties["product"], properties["version"], properties["cluster_name"]) == ("RabbitMQ", "4.2.0", "hutch")
