"""Clients that begin a handshake and do not go on, or not as they should.

LEVERET_CROWD   how many half-open handshakes there are (300 if it is not set)
"""

import os
import resource
import socket
import ssl
import time
from pathlib import Path

import pytest

from support.deadline import eventually

pytestmark = pytest.mark.own_broker

HALF_OPEN = int(os.environ.get("LEVERET_CROWD", "300"))
# With more of them than `limits.handshakes` who comes late waits until some have had their time, which is two seconds here.
LATE = 2 if HALF_OPEN < 500 else 8


def hello(context):
    """A ClientHello as a client sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    within = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        within.do_handshake()
    return outgoing.read()


def cpu_seconds(broker):
    """The processor time that the broker has taken."""
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_half_open_handshakes_do_not_disturb(secure, context, tls_connect):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, HALF_OPEN + 1000)), hard))
    # All come from one address, whose share is not what this is about.
    broker = secure({"amqp.handshake_timeout": "4s", "limits.handshakes_per_address": 0})
    healthy = tls_connect(broker, context())
    channel = healthy.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    first = hello(context())
    # Each makes the broker sign, or wait for the rest.
    strangers = []
    try:
        for number in range(HALF_OPEN):
            stranger = socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10)
            strangers.append(stranger)
            stranger.sendall(first if number % 3 else first[: number % len(first)])
            if number % 10 == 0:
                channel.basic_publish("", queue, b"alive")
        begun = time.monotonic()
        with tls_connect(broker, context()) as late:
            late.channel().queue_declare("", exclusive=True)
        assert time.monotonic() - begun < LATE, "there is room for others"
        for stranger in strangers:
            while stranger.recv(65_536):
                pass
    finally:
        for stranger in strangers:
            stranger.close()
    assert channel.queue_declare(queue, passive=True).method.message_count == HALF_OPEN // 10
    assert not any(record["level"] == "ERROR" for record in broker.records())


@pytest.mark.parametrize("whole", [True, False])
def test_an_early_goodbye_does_not_spin(secure, context, tls_connect, whole):
    broker = secure()
    first = hello(context())
    strangers = []
    for _ in range(5):
        stranger = socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10)
        stranger.sendall(first if whole else first[:50])
        # close_notify, before anything is encrypted.
        stranger.sendall(b"\x15\x03\x03\x00\x02\x01\x00")
        strangers.append(stranger)
    begun, took = time.monotonic(), cpu_seconds(broker)
    if whole:
        for stranger in strangers:
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(65_536):
                pass
    with tls_connect(broker, context()) as connection:
        connection.process_data_events(time_limit=0.5)
    assert cpu_seconds(broker) - took < (time.monotonic() - begun) / 2
    for stranger in strangers:
        stranger.close()


def test_a_goodbye_of_tls_alone_ends_the_connection(secure, context):
    broker = secure()
    with socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10) as raw:
        within = context().wrap_socket(raw, server_hostname="localhost")
        within.sendall(b"AMQP\0\0\x09\x01")
        start = b""
        while b"en_US" not in start:
            start += within.recv(4096)
        # It sends close_notify and waits for the broker's.
        within.unwrap()
    eventually(lambda: broker.has_logged("connection closed during the handshake"), broker.log_text)


def test_the_brokers_end_comes_with_a_goodbye(secure, context):
    broker = secure()
    with socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10) as raw:
        within = context().wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
        within.sendall(b"AMQP\0\0\x09\x02")
        assert within.recv(8) == b"AMQP\0\0\x09\x01"
        # Without the goodbye this would be an error.
        assert within.recv(1) == b""
