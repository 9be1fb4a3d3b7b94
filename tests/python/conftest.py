"""Fixtures of all client suites."""

import uuid

import pika
import pika.exceptions
import pytest

from support.broker import Leveret, binary, running_broker
from support.connections import closing_after

SECOND_VHOST = "other"


def pytest_collection_modifyitems(items):
    """Tests that start their own Leveret are skipped against a broker that runs already."""
    if running_broker() is None:
        return
    for item in items:
        if item.get_closest_marker("own_broker"):
            item.add_marker(pytest.mark.skip(reason="LEVERET_TEST_URL is set; this test starts its own Leveret"))


def pytest_sessionstart():
    """Says at once what is missing, instead of failing every test."""
    if running_broker() is None and not binary().exists():
        pytest.exit(f"{binary()} does not exist: build it, or set LEVERET_BIN or LEVERET_TEST_URL", 2)


@pytest.fixture(scope="session")
def broker():
    """The broker most tests share. Names in it must be unique: use `name`."""
    running = running_broker()
    if running is not None:
        yield running
        return
    with Leveret(settings={"vhosts.names": f'["{SECOND_VHOST}"]'}) as leveret:
        leveret.second_vhost = SECOND_VHOST
        yield leveret


@pytest.fixture
def leveret(request):
    """Starts a Leveret of the test's own: `leveret({"amqp.heartbeat": 1})`. All end with SIGTERM and exit code 0."""
    started = []

    def start(settings=None, port=0):
        instance = Leveret(settings, port)
        instance.start()
        started.append(instance)
        return instance

    yield start
    codes = [instance.stop() for instance in started if instance.running()]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


@pytest.fixture
def directory(tmp_path):
    """A data directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def on(directory):
    """Starts a Leveret on the directory: `on({"storage.sync": "never"})`. Whatever still runs in the end is killed.

    It does not wait long for clients to take leave: those of these tests do not listen.
    """
    started = []

    def start(settings=None, wrapper=()):
        instance = Leveret({"shutdown.grace": "100ms"} | (settings or {}), data_dir=directory, wrapper=wrapper)
        started.append(instance)
        instance.start()
        return instance

    yield start
    for instance in started:
        if instance.running():
            instance.kill()


@pytest.fixture
def name(broker):
    """Makes names nobody else uses; queues and exchanges of these names are gone after the test."""
    made = []

    def make(stem="x"):
        made.append(f"{stem}.{uuid.uuid4().hex[:12]}")
        return made[-1]

    yield make
    if made:
        with pika.BlockingConnection(broker.parameters()) as connection:
            _remove(connection, made)


def _remove(connection, names):
    """Deletes what tests left behind; a missing one is not an error for the broker."""
    channel = connection.channel()
    for entry in names:
        for delete in ("queue_delete", "exchange_delete"):
            try:
                getattr(channel, delete)(entry)
            except pika.exceptions.ChannelClosedByBroker:
                channel = connection.channel()


@pytest.fixture
def connect(broker, name):
    """Opens pika BlockingConnections that are closed after the test: `connect(heartbeat=1)`."""

    def connect_to(vhost="/", **options):
        return pika.BlockingConnection(broker.parameters(vhost, **options))

    with closing_after(connect_to) as open_one:
        yield open_one


@pytest.fixture
def channel(connect):
    """A channel on a connection of its own."""
    return connect().channel()


@pytest.fixture
def direct_reply_to(connect):
    """For tests of direct reply-to: they are skipped while the broker does not say that it can do it."""
    if not connect()._impl.server_properties["capabilities"].get("direct_reply_to"):
        pytest.skip("the broker does not advertise direct_reply_to")
