"""The last lines of the log."""

import uuid

import pytest

from management.test_topology import refusal
from support.deadline import eventually
from support.management import api_of

pytestmark = pytest.mark.own_broker


def after(api, seq=0):
    """What is new after a line."""
    return api.read("log", after=seq)


def found(api, word):
    """The lines with a word in them."""
    return [line for line in after(api)["lines"] if word in line["text"]]


def test_what_is_logged_is_told_once(leveret):
    with api_of(leveret()) as api:
        before = after(api)
        assert not before["gap"] and before["level"] == "info"
        assert any(line["text"].startswith("listening") for line in before["lines"])
        assert [line["seq"] for line in before["lines"]] == list(range(before["lines"][0]["seq"], before["last"] + 1))
        api.done("PUT", "queues", "/", "told", body={})
        news = after(api, before["last"])
        [line] = [line for line in news["lines"] if "told" in line["text"]]
        assert (line["level"], line["target"]) == ("info", "leveret::management::router")
        assert 'user="guest"' in line["text"] and "method=PUT" in line["text"]
        assert line["time"].endswith("+00:00") and line["seq"] > before["last"]
        assert after(api, news["last"]) == {"lines": [], "last": news["last"], "gap": False, "level": "info"}


def test_it_follows_the_level(leveret):
    with api_of(leveret()) as api:
        assert api.send("PUT", "/api/log/level", b'{"level":"warn"}').status == 204
        api.done("PUT", "queues", "/", "unsaid", body={})
        assert not found(api, "unsaid") and after(api)["level"] == "warn"


def test_a_name_cannot_forge_a_line(leveret):
    with api_of(leveret()) as api:
        name = "eve\nWARN forged\x1b[2J<script>"
        api.done("PUT", "queues", "/", name, body={})
        [line] = found(api, "forged")
        assert not any(ord(sign) < 32 for sign in line["text"]) and "<script>" in line["text"]


def test_it_is_bounded_and_tells_of_a_gap(leveret):
    with api_of(leveret()) as api:
        first = after(api)["lines"][0]["seq"]
        for number in range(1100):
            api.done("PUT", "queues", "/", f"many{number % 10}", body={})
        told = after(api, first)
        assert len(told["lines"]) <= 1000 and told["gap"]
        assert told["lines"][-1]["seq"] == told["last"]


def test_numbers_grow_over_a_restart(leveret):
    broker = leveret()
    with api_of(broker) as api:
        last = after(api)["last"]
    broker.stop()
    broker.start()
    with api_of(broker) as api:
        told = after(api, last)
        assert told["gap"] and told["lines"][0]["seq"] > last


def test_what_is_no_number_is_refused(leveret):
    with api_of(leveret()) as api:
        for word in ("x", "-1", "1.5", "99999999999999999999"):
            refusal(api.get("log", query={"after": word}), 400, "bad_request", "after is the number of a line")


def test_passwords_are_not_in_it(leveret):
    with api_of(leveret()) as api:
        secret = uuid.uuid4().hex
        api.done("PUT", "users", "kept", body={"password": secret, "tags": "management"})
        assert api.by("kept", "wrong" + secret).get("whoami").status == 401
        eventually(lambda: found(api, "login to the management API refused"), "the refusal is logged")
        assert not found(api, secret)
