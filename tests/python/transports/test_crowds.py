"""Many connections that do not log in, and what a healthy client has of them.

LEVERET_CROWD   how many half-open connections there are (200 if it is not set)

A crowd of 5,000 needs as many descriptors in the test: LEVERET_CROWD=5000 pytest transports/test_crowds.py
"""

import os
import re
import resource
import socket
import time
import urllib.request

import pytest

from support.deadline import eventually
from support.silent_client import SilentClient

pytestmark = pytest.mark.own_broker

CROWD = int(os.environ.get("LEVERET_CROWD", "200"))


def is_cut(connection):
    """Whether the broker has closed a connection."""
    connection.settimeout(0)
    try:
        return connection.recv(1000) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def crowd(broker, source, count, first=b"A"):
    """Connections that have begun something and do not go on with it. Some may be gone by the time they begin."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection((broker.host, broker.port), timeout=10, source_address=(source, 0))
        connections.append(connection)
        try:
            connection.sendall(first)
        except OSError:
            pass
    return connections


def test_one_address_has_its_share_and_does_not_disturb_another(leveret):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, CROWD + 1000)), hard))
    broker = leveret()
    strangers = crowd(broker, "127.0.0.2", CROWD)
    begin = time.monotonic()
    with SilentClient(broker):
        assert time.monotonic() - begin < 2
    eventually(lambda: sum(map(is_cut, strangers)) >= CROWD - 64, "all but 64 are cut")
    with SilentClient(broker):
        pass

    def refused():
        return [record for record in broker.records() if "too many connections from this address" in record["message"]]

    eventually(refused, "the log says so")
    assert len(refused()) <= 20, "a line for some, not for each"
    with urllib.request.urlopen(f"http://{broker.address('prometheus')}/metrics", timeout=10) as answer:
        found = re.search(r"^leveret_handshakes_refused_total (\d+)", answer.read().decode(), re.M)
    assert int(found[1]) >= CROWD - 64
    for stranger in strangers:
        stranger.close()


def test_an_address_gets_its_share_back_when_handshakes_end(leveret):
    broker = leveret({"limits.handshakes_per_address": 2})
    first, second = crowd(broker, "127.0.0.1", 2)
    third = socket.create_connection((broker.host, broker.port), timeout=10)
    assert third.recv(1) == b""
    first.close()

    def has_room():
        try:
            SilentClient(broker).socket.close()
        except (OSError, AssertionError, EOFError):
            return False
        return True

    eventually(has_room, "there is room again")
    # Those who are logged in do not count.
    clients = [SilentClient(broker) for _ in range(4)]
    for client in clients:
        client.socket.close()
    second.close()


def test_the_share_can_be_changed_by_a_reload_and_counts_clients_of_a_proxy(leveret, tmp_path, dial):
    header = b"PROXY TCP4 203.0.113.%d 10.0.0.1 1 2\r\nA"
    broker = leveret({"listen.proxy_protocol": "127.0.0.2", "limits.handshakes_per_address": 3})
    of_one = [dial(broker, "127.0.0.2", header % 9) for _ in range(4)]
    eventually(lambda: sum(map(is_cut, of_one)) == 1, "one of four is cut")
    of_others = [dial(broker, "127.0.0.2", header % (10 + at)) for at in range(10)]
    with SilentClient(broker):
        assert not any(map(is_cut, of_others))


def resident(broker):
    """The resident memory of a broker in KiB."""
    with open(f"/proc/{broker.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize("transport", ["amqp", "ws"])
def test_who_has_not_logged_in_takes_little_memory(leveret, transport):
    settings = {"limits.handshakes_per_address": 0, "listen.websocket": "127.0.0.1:0", "server.workers": 2}
    broker = leveret(settings)
    host, port = broker.address(transport).split(":")
    broker.host, broker.port = host, int(port)
    # As much as can be made to wait: nearly a whole frame of the largest size, or of the largest request.
    if transport == "amqp":
        first = b"AMQP\x00\x00\x09\x01" + b"\x01\x00\x00" + (8000).to_bytes(4, "big") + b"x" * 7900
    else:
        first = b"GET / HTTP/1.1\r\nCookie: " + b"x" * 16_000
    crowd(broker, "127.0.0.1", 50, first)
    time.sleep(0.2)
    before = resident(broker)
    count = 300
    connections = crowd(broker, "127.0.0.1", count, first)
    time.sleep(0.3)
    each = (resident(broker) - before) / count
    print(f"{each:.1f} KiB for a connection over {transport}")
    assert each <= 64
    for connection in connections:
        connection.close()
