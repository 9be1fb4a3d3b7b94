"""Thousands of queues and hundreds of connections: pages, whole lists, and the memory they take.

LEVERET_SCALE_QUEUES       how many queues; 1000 if it is not set, 10000 is the full number
LEVERET_SCALE_CONNECTIONS  how many connections; 100 if it is not set, 1000 is the full number

With either of them the times that answers took are printed (pytest -s).
"""

import json
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pika
import pytest

from support.broker import Leveret
from support.deadline import eventually
from support.management import api_of

QUEUES = int(os.environ.get("LEVERET_SCALE_QUEUES", "1000"))
CONNECTIONS = int(os.environ.get("LEVERET_SCALE_CONNECTIONS", "100"))
FULL = bool({"LEVERET_SCALE_QUEUES", "LEVERET_SCALE_CONNECTIONS"} & set(os.environ))

# What the broker may take for each queue and connection that there is, and for lists of them besides. It is generous.
MEBIBYTE = 1 << 20
FOR_LISTS = 64 * MEBIBYTE

# Who ask for everything and read nothing of it: more than requests that are worked on at a time.
READERS = 20

# What makes a list longer than what sockets hold, and than what the broker may keep of it for each reader.
NOTE = "x" * (16_000_000 // QUEUES)
FOR_READER = 8 * MEBIBYTE

pytestmark = [pytest.mark.own_broker, pytest.mark.xdist_group("scale"), pytest.mark.timeout(600)]


def resident(broker):
    """The memory of the broker's process, in bytes."""
    status = Path(f"/proc/{broker.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A broker with that many queues and connections, its API, and the memory it took before it was asked anything."""
    directory = tmp_path_factory.mktemp("scale") / "data"
    settings = {"storage.sync": "never", "shutdown.grace": "100ms", "amqp.heartbeat": "0s"}
    with ExitStack() as stack:
        broker = stack.enter_context(Leveret(settings, data_dir=directory))
        api = stack.enter_context(api_of(broker))
        for number in range(QUEUES):
            body = {"durable": True, "arguments": {"x-max-length": number + 1, "note": NOTE}}
            api.done("PUT", "queues", "/", f"q{number:05}", body=body)
        for number in range(CONNECTIONS):
            properties = {"connection_name": f"c{number:04}"}
            connection = pika.BlockingConnection(broker.parameters(client_properties=properties))
            stack.callback(connection._impl._transport.abort)
            connection.channel()
        eventually(lambda: len(api.read("connections", columns="name")) == CONNECTIONS, "all connections are listed", 30)
        yield broker, api, resident(broker)


def timed(what, ask):
    """What is asked for; the time it took is printed if the numbers are those of somebody."""
    begin = time.perf_counter()
    found = ask()
    if FULL:
        print(f"{what}: {(time.perf_counter() - begin) * 1000:.1f} ms")
    return found


def test_pages_of_queues(crowded):
    _, api, _ = crowded
    page = timed("a page of queues", lambda: api.read("queues", page=1, page_size=100))
    assert [item["name"] for item in page["items"]] == [f"q{number:05}" for number in range(100)]
    assert (page["total_count"], page["page_count"]) == (QUEUES, QUEUES // 100 + (QUEUES % 100 > 0))
    last = timed("the last page", lambda: api.read("queues", page=page["page_count"], page_size=100))
    assert last["items"][-1]["name"] == f"q{QUEUES - 1:05}"
    ordered = {"sort": "arguments.x-max-length", "sort_reverse": "true", "page": 1, "page_size": 100}
    largest = timed("a page in another order", lambda: api.read("queues", **ordered))
    assert largest["items"][0]["name"] == f"q{QUEUES - 1:05}"
    some = timed("a page by a pattern", lambda: api.read("queues", page=1, name="^q..00", use_regex="true"))
    assert some["filtered_count"] == len([number for number in range(QUEUES) if f"{number:05}"[2:4] == "00"])


def test_all_queues_and_connections(crowded):
    broker, api, before = crowded
    for _ in range(5 if FULL else 2):
        queues = timed("all queues", lambda: api.read("queues"))
        assert len(queues) == QUEUES
        assert len(timed("their names", lambda: api.read("queues", columns="name"))) == QUEUES
        assert len(timed("all connections", lambda: api.read("connections"))) == CONNECTIONS
        assert len(timed("all channels", lambda: api.read("channels"))) == CONNECTIONS
    # A list is larger than what it may take, or nothing is shown by the bound.
    if FULL:
        print(f"all queues are {len(json.dumps(queues)) / MEBIBYTE:.1f} MiB")
        print(f"memory before {before / MEBIBYTE:.1f} MiB, after {resident(broker) / MEBIBYTE:.1f} MiB")
    assert resident(broker) - before < FOR_LISTS


def test_lists_for_slow_readers_do_not_lie_in_memory(crowded):
    broker, api, _ = crowded
    before = resident(broker)
    login = api.credentials()["Authorization"]
    request = f"GET /api/queues HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nConnection: close\r\n\r\n".encode()
    with ExitStack() as stack:
        readers = []
        for _ in range(READERS):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(60)
            reader.connect((api.host, api.port))
            reader.sendall(request)
            readers.append(reader)
        for reader in readers:
            assert reader.recv(12) == b"HTTP/1.1 200"
        # Others are served meanwhile.
        with api.by(api.user, api.password) as other:
            assert other.read("whoami")["name"] == api.user
        assert resident(broker) - before < READERS * FOR_READER
        # Whoever reads on gets it all.
        readers[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MEBIBYTE)
        received = b"".join(iter(lambda: readers[0].recv(1 << 20), b""))
    assert f"q{QUEUES - 1:05}".encode() in received
