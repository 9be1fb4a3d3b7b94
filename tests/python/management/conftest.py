"""The API of one broker for all tests of this directory: a Leveret of our own, or the RabbitMQ of LEVERET_TEST_URL and
LEVERET_TEST_MANAGEMENT, by which these tests are shown to be right."""

import itertools
import uuid

import pika
import pytest

from support.broker import Leveret, running_broker
from support.connections import closing_after
from support.management import api_of, running_api

FULL = {"configure": ".*", "write": ".*", "read": ".*"}


class Server:
    """A broker and its API, as its administrator sees them."""

    def __init__(self, broker, api, is_rabbitmq):
        self.broker = broker
        self.api = api
        self.is_rabbitmq = is_rabbitmq

    def either(self, leveret, rabbitmq):
        """What is expected of the one or of the other. RabbitMQ 3.10 is not always what Leveret follows."""
        return rabbitmq if self.is_rabbitmq else leveret

    def connect(self, vhost, user=None, password=None, **options):
        """An AMQP connection."""
        return pika.BlockingConnection(self.broker.parameters(vhost, user, password, **options))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The broker that these tests share."""
    running = running_broker()
    if running is not None:
        api = running_api()
        if api is None:
            pytest.skip("LEVERET_TEST_MANAGEMENT is not set")
        with api:
            yield Server(running, api, True)
        return
    settings = {
        "storage.sync": "never",
        "auth.failed_login_delay": "1ms",
        "auth.password_hash": "rabbit_sha256",
        "stats.interval": "200ms",
    }
    with Leveret(settings, data_dir=tmp_path_factory.mktemp("management") / "data") as leveret:
        with api_of(leveret) as api:
            yield Server(leveret, api, False)


@pytest.fixture(scope="session")
def api(server):
    """The API as an administrator sees it."""
    return server.api


@pytest.fixture(scope="module")
def vhost(api):
    """A vhost for the tests of one file; it goes with all that is in it."""
    name = f"management/{uuid.uuid4().hex[:8]}"
    api.done("PUT", "vhosts", name, body={})
    api.done("PUT", "permissions", name, api.user, body=FULL)
    yield name
    api.done("DELETE", "vhosts", name)


NUMBERS = itertools.count(1)


@pytest.fixture
def name():
    """Makes names that nobody else uses."""
    return lambda stem="x": f"{stem}.{next(NUMBERS)}"


@pytest.fixture
def queue(api, vhost, name):
    """Makes durable queues: `queue(**arguments)`."""

    def make(**arguments):
        made = name("queue")
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        api.done("PUT", "queues", vhost, made, body={"durable": True, "arguments": named})
        return made

    return make


@pytest.fixture
def user(api):
    """Makes users with tags and permissions: `user("management", vhost)` answers the API as they see it."""
    made = []

    def make(tags, *vhosts, permissions=None):
        name = f"user.{uuid.uuid4().hex[:8]}"
        made.append(name)
        api.done("PUT", "users", name, body={"password": "secret", "tags": tags})
        for vhost in vhosts:
            api.done("PUT", "permissions", vhost, name, body=permissions or FULL)
        return api.by(name, "secret")

    yield make
    for name in made:
        api.delete("users", name)


@pytest.fixture
def opened(server):
    """Opens AMQP connections that are closed after the test."""
    with closing_after(server.connect) as open_one:
        yield open_one
