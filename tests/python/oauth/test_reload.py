"""What tokens are judged by is read again while connections go on."""

import os
import signal

import pika
import pika.exceptions
import pytest

from support.authorization_server import KeyServer, claims, key, token
from support.broker import Leveret
from support.deadline import eventually

from .conftest import log_in

pytestmark = pytest.mark.own_broker

BEGIN = """
[auth]
backends = ["oauth2", "internal"]
failed_login_delay = 0
"""


class Configured(Leveret):
    """A broker that has its settings from a file."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def command(self):
        return [*super().command(), "--config", str(self.path)]

    def read_again(self, text):
        """Writes another configuration and has it read."""
        before = len(self._read_so_far())
        self.path.write_text(BEGIN + text)
        os.kill(self.process.pid, signal.SIGHUP)
        eventually(lambda: len(self._read_so_far()) > before, "the configuration was read again")

    def _read_so_far(self):
        said = ("configuration read again", "the configuration is not valid")
        return [record for record in self.records() if record["message"].startswith(said)]

    def lets_in(self, made):
        """Whether a token opens a connection."""
        try:
            log_in(self, made).close()
        except pika.exceptions.ProbableAuthenticationError:
            return False
        return True


@pytest.fixture
def configured(tmp_path):
    """Starts a broker with the settings of a text, which can be changed: `configured(text)`."""
    path = tmp_path / "leveret.toml"
    started = []

    def start(text):
        path.write_text(BEGIN + text)
        started.append(Configured(path))
        started[-1].start()
        return started[-1]

    yield start
    assert [broker.stop() for broker in started] == [0] * len(started)


def section(keys="", aliases="", **settings):
    """The section of tokens."""
    lines = [f'{name} = "{value}"' for name, value in ({"resource_server_id": "rabbitmq"} | settings).items()]
    tables = [("signing_keys", keys), ("scope_aliases", aliases)]
    return "\n".join(["[auth.oauth2]", *lines, *(f"[auth.oauth2.{name}]\n{text}" for name, text in tables if text)])


def test_keys_audience_and_aliases(configured, tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.pem").write_bytes(key(name).public_pem())
    named = {name: f'{name} = "{tmp_path / name}.pem"' for name in ("first", "second")}
    broker = configured(section(named["first"]))
    by_second = key("second").sign(claims())
    open_one = log_in(broker, token())
    assert not broker.lets_in(by_second)

    broker.read_again(section("\n".join(named.values())))
    assert broker.lets_in(token()) and broker.lets_in(by_second)
    broker.read_again(section(named["second"]))
    assert not broker.lets_in(token()) and broker.lets_in(by_second), "a key that was taken away"

    aliased = key("second").sign(claims("operator"))
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        log_in(broker, aliased)
    broker.read_again(section(named["second"], 'operator = "rabbitmq.configure:*/*"'))
    assert broker.lets_in(aliased)

    broker.read_again(section(named["second"], resource_server_id="nost"))
    assert not broker.lets_in(by_second), "it is for another broker"
    # One that is wrong leaves everything as it was.
    broker.read_again(section('second = "/nowhere.pem"'))
    assert broker.lets_in(key("second").sign(claims("nost.configure:*/*", aud="nost")))
    assert open_one.channel().queue_declare("", exclusive=True), "who is in stays in"
    open_one.close()


def test_a_key_server_is_replaced(configured):
    with KeyServer(key()) as old, KeyServer(key("second")) as new:
        broker = configured(section(jwks_url=old.url))
        by_second = key("second").sign(claims())
        assert broker.lets_in(token()) and not broker.lets_in(by_second)
        broker.read_again(section(jwks_url=new.url))
        eventually(lambda: broker.lets_in(by_second), "the keys of the new one")
        assert not broker.lets_in(token()), "those of the old one are gone"
        asked = len(old.requests)

        # Other times alone are no reason to forget the keys, if they cannot be had now.
        new.behave("fail")
        broker.read_again(section(jwks_url=new.url, refresh="1s", refresh_min="100ms"))
        eventually(lambda: broker.has_logged("cannot be fetched"), "it asked at once")
        assert broker.lets_in(by_second)
        new.behave("answer")
        before = len(new.requests)
        eventually(lambda: len(new.requests) > before + 1, "it asks as often as is said now")
        assert len(old.requests) == asked


def test_from_files_to_a_server_and_back(configured, tmp_path):
    path = tmp_path / "first.pem"
    path.write_bytes(key().public_pem())
    named = f'first = "{path}"'
    with KeyServer(key("second")) as keys:
        broker = configured(section(named))
        by_second = key("second").sign(claims())
        assert broker.lets_in(token()) and not broker.lets_in(by_second)
        broker.read_again(section(jwks_url=keys.url))
        eventually(lambda: broker.lets_in(by_second), "fetched keys")
        assert not broker.lets_in(token())
        broker.read_again(section(named))
        assert broker.lets_in(token()) and not broker.lets_in(by_second)
