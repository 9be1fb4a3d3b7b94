"""The management API for those who come with access tokens: they are nobody else, whatever their name."""

import urllib.parse

import pika
import pika.exceptions
import pytest

from support.authorization_server import FULL, token
from support.broker import Leveret
from support.management import api_of

from .conftest import SECRET, log_in

pytestmark = pytest.mark.own_broker


@pytest.fixture(scope="module")
def broker(with_files):
    with Leveret(with_files) as leveret:
        yield leveret


@pytest.fixture
def api(broker):
    """As guest, who is kept by the broker and an administrator, sees it."""
    with api_of(broker) as found:
        yield found


def by_token(api, tag):
    """The API for somebody else called guest, by a token with a tag."""
    return api.by("", token(f"{FULL} rabbitmq.tag:{tag}", user_name="guest"))


def test_connections_of_a_namesake_are_not_ones_own(broker, login, api):
    with pika.BlockingConnection(broker.parameters()) as internal:
        [theirs] = api.read("connections")
        own = login(broker, token(user_name="guest"))
        [mine] = [found for found in api.read("connections") if found["name"] != theirs["name"]]
        assert theirs["user"] == mine["user"] == "guest"
        with by_token(api, "management") as namesake:
            assert [found["name"] for found in namesake.read("connections")] == [mine["name"]]
            assert [found["name"] for found in namesake.read("connections", "username", "guest")] == [mine["name"]]
            assert namesake.get("connections", theirs["name"]).status == 401
            assert namesake.delete("connections", theirs["name"]).status == 401
            assert namesake.delete("connections", "username", "guest").status == 204
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
            own.process_data_events(time_limit=10)
        internal.process_data_events()
        assert internal.is_open


def test_no_token_is_written_anywhere(on, with_files):
    """Neither one that is taken nor one that is not, by whichever way it comes; nor the secret that signs some."""
    broker = on(with_files)
    seen = []

    def made(**changes):
        seen.append(token(f"{FULL} rabbitmq.tag:administrator", **changes))
        return seen[-1]

    connection = log_in(broker, made())
    connection.update_secret(made(user_name="ada"), "")
    for bad in (made(lives=-5), made(aud="another")):
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
            connection.update_secret(bad, "")
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            log_in(broker, bad)
        connection = log_in(broker, made())
    with api_of(broker) as api:
        for good, status in ((made(), 200), (made(lives=-5), 401)):
            bearer = {"Authorization": f"Bearer {good}"}
            assert api.by(None).send("GET", "/api/whoami", headers=bearer).status == status
            form = urllib.parse.urlencode({"username": "", "password": good}).encode()
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            assert api.by(None).send("POST", "/api/login", form, kind).status == status
        effective = api.send("GET", "/api/config/effective").body
    connection.close()
    assert broker.stop() == 0
    log = broker.log_text()
    files = [path for path in broker.data_dir.rglob("*") if path.is_file()]
    assert "login refused" in log and "login to the management API refused" in log and files
    # Parts that no two tokens share, and nobody else writes.
    for secret in [SECRET, *(text.rsplit(".", 1)[1][:24] for text in seen)]:
        assert secret not in log and secret.encode() not in effective
        assert not any(secret.encode() in path.read_bytes() for path in files)


def test_a_vhost_is_not_given_to_a_namesake(api):
    with by_token(api, "administrator") as namesake:
        assert namesake.put("vhosts", "made", body={}).status == 201
    assert api.read("vhosts", "made", "permissions") == []
    assert api.put("vhosts", "mine", body={}).status == 201
    [found] = api.read("vhosts", "mine", "permissions")
    assert (found["user"], found["configure"]) == ("guest", ".*")
