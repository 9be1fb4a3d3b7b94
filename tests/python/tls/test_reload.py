"""Certificates that change while the broker runs."""

import os
import signal
import socket
import threading

import pika.exceptions
import pytest
from cryptography import x509

from support.deadline import eventually

from .authority import write_key

pytestmark = pytest.mark.own_broker


@pytest.fixture
def shown(context):
    """The serial number of the certificate that a broker shows."""

    def look(broker):
        with socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10) as raw:
            with context().wrap_socket(raw, server_hostname="localhost") as stream:
                return x509.load_der_x509_certificate(stream.getpeercert(True)).serial_number

    return look


def hang_up(broker):
    """SIGHUP."""
    os.kill(broker.process.pid, signal.SIGHUP)


@pytest.mark.parametrize("how", ["change", "hang up"])
def test_a_new_certificate_under_load_loses_no_connection(secure, authority, tls_connect, context, shown, how):
    broker = secure({} if how == "change" else {"tls.check_interval": "0"})
    first = shown(broker)
    stop, sent, failures = threading.Event(), [0], []

    def load():
        try:
            with tls_connect(broker, context()) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                queue = channel.queue_declare("", exclusive=True).method.queue
                while not stop.is_set():
                    channel.basic_publish("", queue, bytes(2000))
                    assert channel.basic_get(queue, auto_ack=True)[2] == bytes(2000)
                    sent[0] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails by it
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: sent[0] > 20, "the load runs")
    # Certificate and key are written one after the other, and are of another kind than before.
    authority.server()
    if how == "hang up":
        hang_up(broker)
    eventually(lambda: shown(broker) != first, broker.log_text)
    at = sent[0]
    eventually(lambda: sent[0] > at + 20 or failures, "the load goes on")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failures == []

    def closed():
        return [r["reason"] for r in broker.records() if r.get("message") == "connection closed"]

    eventually(lambda: len(closed()) == 3, closed)
    assert all("closed by the client" in reason for reason in closed())


@pytest.mark.parametrize("how", ["change", "hang up"])
def test_a_bad_certificate_keeps_the_old_one(secure, authority, shown, how):
    broker = secure({} if how == "change" else {"tls.check_interval": "0"})
    first = shown(broker)
    (authority.directory / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
    if how == "hang up":
        hang_up(broker)
        eventually(lambda: broker.has_logged("the certificates stay as they were"), broker.log_text)
    else:
        eventually(lambda: broker.has_logged("the old ones stay in use"), broker.log_text)
    assert shown(broker) == first
    authority.server()
    if how == "hang up":
        hang_up(broker)
    eventually(lambda: shown(broker) != first, broker.log_text)
    problems = [record for record in broker.records() if record["level"] == "ERROR"]
    assert len(problems) == 1 and "server.pem" in problems[0]["error"]


def test_a_certificate_waits_for_its_key(secure, authority, shown):
    broker = secure({"tls.check_interval": "200ms"})
    first, key = shown(broker), (authority.directory / "server.key").read_bytes()
    authority.server()
    new = (authority.directory / "server.key").read_bytes()
    write_key(authority.directory / "server.key", key)
    eventually(lambda: broker.has_logged("this is not the private key of the certificate"), broker.log_text)
    assert shown(broker) == first
    write_key(authority.directory / "server.key", new)
    eventually(lambda: shown(broker) != first, broker.log_text)


def test_clients_are_verified_by_the_new_authority_from_then_on(mutual, authority, context, tls_connect):
    broker = mutual()
    certificate = authority.client()
    connection = tls_connect(broker, context(certificate))
    old = authority.path.rename(authority.directory / "old.pem")
    stranger = type(authority)(authority.directory, "Stranger")
    authority.path.write_bytes(stranger.path.read_bytes())
    eventually(lambda: broker.has_logged("certificates changed and were read again"), broker.log_text)
    connection.channel().queue_declare("", exclusive=True)
    made = context(stranger.client("new"))
    made.load_verify_locations(str(old))
    with tls_connect(broker, made) as other:
        assert other.is_open
    refused = context(certificate)
    refused.load_verify_locations(str(old))
    with pytest.raises((pika.exceptions.AMQPConnectionError, OSError)):
        tls_connect(broker, refused)
