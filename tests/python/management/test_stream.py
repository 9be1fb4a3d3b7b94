"""Streams of what changes: one connection, several paths."""

import contextlib
import json
import socket
import urllib.parse

import pytest

from management.test_topology import refusal
from support.deadline import eventually
from support.management import api_of

pytestmark = pytest.mark.own_broker

SECONDS = 20
FAST = {"stats.interval": "100ms", "auth.failed_login_delay": "1ms"}


def words(paths):
    """The query that names paths."""
    return urllib.parse.urlencode([("path", path) for path in paths])


class Stream:
    """A stream as bytes come."""

    def __init__(self, api, *paths):
        self._socket = socket.create_connection((api.host, api.port), timeout=SECONDS)
        login = api.credentials()["Authorization"]
        head = f"GET /api/stream?{words(paths)} HTTP/1.0\r\nHost: x\r\nAuthorization: {login}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def next(self):
        """The next event; None at the end."""
        for line in self._file:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def until(self, wanted):
        """The first event that is wanted."""
        while (event := self.next()) is not None:
            if wanted(event):
                return event
        raise AssertionError("the stream has ended")

    def rest(self):
        """All events until the end."""
        return list(iter(self.next, None))

    def close(self):
        """Leaves."""
        self._file.close()
        self._socket.close()


@pytest.fixture
def stream():
    """Opens streams, which end with the test."""
    with contextlib.ExitStack() as opened:

        def open_stream(api, *paths):
            return opened.enter_context(contextlib.closing(Stream(api, *paths)))

        yield open_stream


def test_what_changes_is_told_and_nothing_else(leveret, stream):
    with api_of(leveret(FAST)) as api:
        told = stream(api, "queues?columns=name", "vhosts?columns=name", "users/nobody")
        assert (told.status, told.headers["content-type"]) == (200, "text/event-stream")
        first = [told.next() for _ in range(3)]
        assert first[0] == {"path": "queues?columns=name", "status": 200, "body": []}
        assert first[1] == {"path": "vhosts?columns=name", "status": 200, "body": [{"name": "/"}]}
        assert (first[2]["status"], first[2]["body"]["error"]) == (404, "not_found")
        api.done("PUT", "queues", "/", "new", body={})
        assert told.next() == {"path": "queues?columns=name", "status": 200, "body": [{"name": "new"}]}
        api.done("PUT", "users", "nobody", body={"password": "x", "tags": ""})
        assert (event := told.next())["path"] == "users/nobody" and event["status"] == 200


def test_rights_are_those_of_each_look(leveret, stream):
    with api_of(leveret(FAST)) as api:
        api.done("PUT", "users", "looker", body={"password": "looker", "tags": "monitoring"})
        looker = api.by("looker")
        told = stream(looker, "nodes?columns=name", "users", "log")
        by_path = {event["path"]: event["status"] for event in (told.next() for _ in range(3))}
        assert by_path == {"nodes?columns=name": 200, "users": 401, "log": 401}
        api.done("PUT", "users", "looker", body={"password": "looker", "tags": "management"})
        assert told.until(lambda event: event["path"].startswith("nodes"))["status"] == 401


@pytest.mark.parametrize("change", ["deleted", "another password"])
def test_who_is_known_no_more_is_told_nothing_more(leveret, stream, change):
    with api_of(leveret(FAST)) as api:
        api.done("PUT", "users", "leaving", body={"password": "leaving", "tags": "administrator"})
        told = stream(api.by("leaving"), "whoami")
        assert told.next()["body"]["name"] == "leaving"
        if change == "deleted":
            api.done("DELETE", "users", "leaving")
        else:
            api.done("PUT", "users", "leaving", body={"password": "other", "tags": "administrator"})
        assert told.rest() == []


def test_who_may_not_has_no_stream(leveret, stream):
    with api_of(leveret(FAST)) as api:
        api.done("PUT", "users", "untagged", body={"password": "untagged", "tags": ""})
        assert stream(api.by("untagged"), "whoami").status == 401
        assert stream(api.by("guest", "wrong"), "whoami").status == 401
        assert api.by(None).get("stream", query={"path": "whoami"}).status == 401


def test_what_is_no_path_is_refused(leveret, stream):
    with api_of(leveret(FAST)) as api:
        refusal(api.get("stream"), 400, "bad_request", "1 to 16 paths")
        refusal(api.get("stream", query=[("path", "whoami")] * 17), 400, "bad_request", "1 to 16 paths")
        refusal(api.get("stream", query={"path": "a b\n"}), 400, "bad_request", "no path of the API")
        told = stream(api, "none", "../metrics", "stream?path=whoami", "definitions/../whoami")
        assert [told.next()["status"] for _ in range(4)] == [404] * 4


def test_a_user_has_a_share_of_the_streams(leveret, stream):
    with api_of(leveret(FAST)) as api:
        opened = [stream(api, "whoami") for _ in range(8)]
        assert all(one.status == 200 for one in opened)
        assert stream(api, "whoami").status == 503
        api.done("PUT", "users", "other", body={"password": "other", "tags": "management"})
        assert stream(api.by("other"), "whoami").status == 200
        opened[0].close()
        eventually(lambda: stream(api, "whoami").status == 200, "the place is free")


def test_a_stream_ends_with_the_broker(leveret, stream):
    broker = leveret(FAST)
    with api_of(broker) as api:
        told = stream(api, "whoami")
        assert told.next()
        assert broker.stop() == 0
        assert told.rest() == []


def test_an_answer_that_is_too_large_is_not_sent(leveret, stream):
    with api_of(leveret(FAST)) as api:
        long = "x" * 200
        for number in range(1200):
            api.done("PUT", "queues", "/", f"{number}{long}", body={"arguments": {"x-note": "y" * 700}})
        told = stream(api, "queues", "queues?page=1&page_size=1&columns=name")
        first, second = told.next(), told.next()
        assert first["status"] == 400 and "too large" in first["body"]["reason"]
        assert second["status"] == 200
