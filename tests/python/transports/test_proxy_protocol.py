"""Headers of the PROXY protocol, from proxies that are trusted and from others. The proxy is 127.0.0.2."""

import socket
import struct

import pytest

from support.deadline import eventually
from support.silent_client import SilentClient

pytestmark = pytest.mark.own_broker

AMQP = b"AMQP\x00\x00\x09\x01"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(command, family, payload):
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


def of_ipv4(address, more=b""):
    """A header of version 2 for a client with this address."""
    return version_2(0x21, 0x11, socket.inet_aton(address) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4, 5) + more)


@pytest.fixture
def proxied(leveret):
    """A broker with a proxy at 127.0.0.2, and a user from anywhere."""
    settings = {"listen.proxy_protocol": "127.0.0.2, 192.0.2.0/24", "auth.users.alice.password": "rabbit"}
    return leveret(settings | {"auth.failed_login_delay": "0s"})


def log_in(broker, connection, user="alice", password="rabbit"):
    """Logs in over a connection."""
    broker.user, broker.password = user, password
    return SilentClient(broker, connection=connection)


def peers(broker):
    """The peers whose connections were opened."""
    return [record["peer"] for record in broker.records() if record.get("message") == "connection opened"]


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 5672\r\n", "203.0.113.9:40000"),
        (b"PROXY TCP6 2001:db8::9 ::1 40000 5672\r\n", "[2001:db8::9]:40000"),
        (b"PROXY UNKNOWN\r\n", "unknown, by 127.0.0.2:"),
        (of_ipv4("203.0.113.9"), "203.0.113.9:4"),
        (of_ipv4("203.0.113.9", b"\x04\x00\x05hello"), "203.0.113.9:4"),
        (version_2(0x20, 0, b""), "127.0.0.2:"),
    ],
    ids=["v1-ipv4", "v1-ipv6", "v1-unknown", "v2-ipv4", "v2-more", "v2-local"],
)
def test_a_client_is_who_its_proxy_says(proxied, dial, header, peer):
    with log_in(proxied, dial(proxied, "127.0.0.2", header)):
        eventually(lambda: peers(proxied), "the log has the connection")
        assert peers(proxied)[-1].startswith(peer)


def test_a_header_may_come_byte_by_byte_and_with_what_follows(proxied, dial):
    connection = dial(proxied, "127.0.0.2")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in of_ipv4("203.0.113.9"):
        connection.sendall(bytes([byte]))
    log_in(proxied, connection)
    # The header and the first frame in one piece.
    connection = dial(proxied, "127.0.0.2", b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n" + AMQP)
    assert connection.recv(1) == b"\x01"


@pytest.mark.parametrize(
    "first",
    [AMQP, b"PROXY TCP4 203.0.113.9\r\n" + b"x" * 300, of_ipv4("1.2.3.4")[:12] + b"\xff" * 8],
    ids=["amqp", "malformed-v1", "malformed-v2"],
)
def test_a_proxy_without_a_header_is_cut(proxied, dial, first):
    connection = dial(proxied, "127.0.0.2", first)
    try:
        assert connection.recv(100) == b""
    except ConnectionResetError:
        pass
    eventually(lambda: proxied.has_logged("connection refused: (there is no|the) PROXY protocol header"), "a line")


def test_a_header_from_somebody_else_is_not_amqp(proxied, dial):
    for source in ("127.0.0.1", "127.0.0.3"):
        connection = dial(proxied, source, b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")
        assert connection.recv(100) == AMQP
        assert connection.recv(100) == b""
        eventually(lambda: proxied.has_logged("not from a proxy in listen.proxy_protocol"), "the log tells why")


def test_nobody_becomes_local_by_a_header(proxied, dial):
    # The proxy of this test is on this machine itself; unit tests have the others.
    for header in (b"PROXY UNKNOWN\r\n", of_ipv4("203.0.113.9")):
        connection = dial(proxied, "127.0.0.2", header)
        with pytest.raises(AssertionError, match="instead of sending Connection.Tune"):
            log_in(proxied, connection, "guest", "guest")
    log_in(proxied, dial(proxied, "127.0.0.2", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), "guest", "guest")


def test_a_health_check_of_a_proxy_leaves_no_trace(proxied, dial):
    for first in (b"", version_2(0x20, 0, b"")):
        dial(proxied, "127.0.0.2", first).close()
    log_in(proxied, dial(proxied, "127.0.0.2", of_ipv4("203.0.113.9")))
    assert not [record for record in proxied.records() if record["level"] in ("WARN", "ERROR") and "peer" in record]
