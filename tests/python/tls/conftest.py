"""Brokers with a TLS listener, and clients of them."""

import ssl

import pika
import pytest

from support.broker import Broker
from support.deadline import eventually

from .authority import Authority, rsa_key


@pytest.fixture(scope="session")
def server_key():
    """One RSA key for all servers: making one takes its time."""
    return rsa_key()


@pytest.fixture
def authority(tmp_path):
    """An authority, with its files in the test's directory."""
    return Authority(tmp_path)


@pytest.fixture
def secure(leveret, authority, server_key):
    """Starts a Leveret with a TLS listener: `secure({"tls.verify": "peer"})`."""

    def start(settings=None, **server):
        cert, key = authority.server(key=server_key, **server)
        defaults = {"listen.amqps": "127.0.0.1:0", "tls.cert": cert, "tls.key": key, "tls.check_interval": "100ms"}
        broker = leveret(defaults | (settings or {}))
        port = eventually(lambda: broker.port_of("amqps"), "the broker says that it listens for TLS")
        broker.secure = Broker(broker.host, port, broker.user, broker.password)
        return broker

    return start


@pytest.fixture
def mutual(secure, authority):
    """Starts one that asks its clients for certificates, and takes EXTERNAL."""

    def start(settings=None):
        defaults = {
            "tls.ca": authority.path,
            "tls.verify": "peer",
            "tls.fail_if_no_peer_cert": "true",
            "amqp.mechanisms": "PLAIN,EXTERNAL",
        }
        return secure(defaults | (settings or {}))

    return start


@pytest.fixture
def context(authority):
    """Makes what a client trusts and shows: `context(authority.client())`."""

    def make(certificate=None, trusted=authority):
        made = ssl.create_default_context(cafile=str(trusted.path))
        # What Python does by itself from 3.13 on.
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        if certificate:
            made.load_cert_chain(*map(str, certificate))
        return made

    return make


@pytest.fixture
def tls_connect():
    """Opens pika connections within TLS that are closed after the test."""
    opened = []

    def connect(broker, context, host="localhost", **options):
        options["ssl_options"] = pika.SSLOptions(context, host)
        connection = pika.BlockingConnection(broker.secure.parameters(**options))
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        if connection.is_open:
            connection.close()
