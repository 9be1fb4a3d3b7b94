"""Clients within TLS, with and without certificates of their own."""

import socket
import ssl
import warnings

import aio_pika
import pika
import pika.exceptions
import pytest
from cryptography import x509

from support.deadline import eventually

from .authority import named

pytestmark = pytest.mark.own_broker

REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL"


def round_trip(connection, body=b"x" * 300_000):
    """A message through a queue of the connection's own."""
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, body)
    method, _, found = channel.basic_get(queue, auto_ack=True)
    assert method and found == body


def called(user):
    """The settings of a broker whose only user has this name, and a password that is not used."""
    return {"auth.default_user": user, "auth.default_pass": "unused"}


def login(broker, context):
    """A login by certificate alone."""
    parameters = pika.ConnectionParameters(
        broker.host,
        broker.secure.port,
        credentials=pika.credentials.ExternalCredentials(),
        ssl_options=pika.SSLOptions(context, "localhost"),
        socket_timeout=10,
    )
    return pika.BlockingConnection(parameters)


def opened(broker):
    """What the log says of the connection that was opened last."""

    def found():
        return [record for record in broker.records() if record.get("message") == "connection opened"]

    return eventually(found, broker.log_text)[-1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pika_and_strict_verification(secure, context, tls_connect, version):
    broker = secure()
    made = context()
    made.maximum_version = made.minimum_version = version
    with tls_connect(broker, made) as connection:
        round_trip(connection)
    record = opened(broker)
    assert record["tls"] == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    ended = eventually(lambda: [r for r in broker.records() if r.get("message") == "connection closed"], "its end")
    assert "closed by the client" in ended[-1]["reason"]


def test_the_context_of_old_nost_tools(secure, tls_connect):
    broker = secure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = ssl.SSLContext(ssl.PROTOCOL_TLSv1_2)
    made.set_ciphers("ECDHE+AESGCM:!ECDSA")
    connection = tls_connect(broker, made, host=None)
    round_trip(connection)
    assert opened(broker)["cipher"] == "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"


async def test_aio_pika(secure, context):
    broker = secure()
    url = broker.secure.url(scheme="amqps").replace("127.0.0.1", "localhost")
    connection = await aio_pika.connect(url, ssl_context=context())
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"y" * 200_000), queue.name)
        message = await queue.get(timeout=10)
        assert len(message.body) == 200_000
        await message.ack()


def test_a_certificate_and_a_password(mutual, authority, context, tls_connect):
    broker = mutual()
    connection = tls_connect(broker, context(authority.client()))
    round_trip(connection)
    assert opened(broker)["user"] == '"guest"'


async def test_aio_pika_logs_in_by_certificate(mutual, authority, context):
    broker = mutual(called("CN=client,O=Acme"))
    url = f"amqps://localhost:{broker.secure.port}/?auth=EXTERNAL"
    connection = await aio_pika.connect(url, ssl_context=context(authority.client()))
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(exclusive=True)
    assert opened(broker)["user"] == '"CN=client,O=Acme"'


@pytest.mark.parametrize(
    ("settings", "user"),
    [
        ({}, "CN=c\\, d,O=Acme,C=DE"),
        ({"auth.cert_login_from": "common_name"}, "c, d"),
        ({"auth.cert_login_from": "subject_alternative_name"}, "one.example"),
        ({"auth.cert_login_from": "subject_alternative_name", "auth.cert_login_san_index": "1"}, "two.example"),
        ({"auth.cert_login_from": "subject_alternative_name", "auth.cert_login_san_type": "email"}, "a@b.example"),
    ],
)
def test_the_users_name_is_in_the_certificate(mutual, authority, context, settings, user):
    alternative = [x509.RFC822Name("a@b.example"), x509.DNSName("one.example"), x509.DNSName("two.example")]
    certificate = authority.client(subject=named(C="DE", O="Acme", CN="c, d"), alternative=alternative)
    broker = mutual(settings | called(user))
    with login(broker, context(certificate)) as connection:
        round_trip(connection, b"z")
    # Backslashes are escaped as the log does with them.
    assert opened(broker)["user"].replace("\\\\", "\\") == f'"{user}"'


def test_a_certificate_that_is_nobodys_is_refused(mutual, authority, context, tls_connect):
    broker = mutual({"auth.failed_login_delay": "100ms"})
    with pytest.raises(pika.exceptions.ProbableAuthenticationError, match=REFUSED):
        login(broker, context(authority.client(subject=named(CN="guest"))))
    assert broker.has_logged("login refused: no user has the name in the client's certificate")
    round_trip(tls_connect(broker, context(authority.client())))


def test_external_is_offered_with_a_certificate_only(mutual, authority, context):
    broker = mutual({"tls.fail_if_no_peer_cert": "false"})

    def mechanisms(port, made):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            stream = made.wrap_socket(raw, server_hostname="localhost") if made else raw
            stream.sendall(b"AMQP\0\0\x09\x01")
            start = b""
            while b"en_US" not in start:
                start += stream.recv(4096)
            stream.close()
        return b"EXTERNAL" in start, b"PLAIN" in start

    assert mechanisms(broker.secure.port, context(authority.client())) == (True, True)
    assert mechanisms(broker.secure.port, context()) == (False, True)
    assert mechanisms(broker.port, None) == (False, True)


def test_a_host_has_its_own_certificate(secure, authority, context, server_key, tls_connect):
    cert, key = authority.server("other", "mq.other.example", server_key)
    wild_cert, wild_key = authority.server("wild", "*.wild.example", server_key)
    settings = {"tls.sni.mq.other.example.cert": cert, "tls.sni.mq.other.example.key": key}
    settings |= {"tls.sni.*.wild.example.cert": wild_cert, "tls.sni.*.wild.example.key": wild_key}
    broker = secure(settings)
    for host in ("localhost", "mq.other.example", "a.wild.example"):
        # The client verifies that the certificate is of this host.
        with tls_connect(broker, context(), host) as connection:
            assert connection.is_open


def test_a_chain_in_a_file_of_its_own_or_behind_the_certificate(secure, authority, context, server_key):
    cert, _ = authority.server(key=server_key)

    def shown(broker):
        with socket.create_connection(("127.0.0.1", broker.secure.port), timeout=10) as raw:
            with context().wrap_socket(raw, server_hostname="localhost") as stream:
                return len(stream._sslobj.get_unverified_chain())

    broker = secure({"tls.chain": authority.path})
    assert shown(broker) == 2
    full = authority.directory / "fullchain.pem"
    full.write_bytes(cert.read_bytes() + authority.path.read_bytes())
    assert shown(secure({"tls.cert": full})) == 2


def test_a_client_that_reads_nothing_is_cut(secure, context):
    broker = secure({"listen.write_timeout": "500ms"})
    parameters = broker.secure.parameters(ssl_options=pika.SSLOptions(context(), "localhost"))
    reader = pika.BlockingConnection(parameters)
    channel = reader.channel()
    queue = channel.queue_declare("", auto_delete=True).method.queue
    channel.basic_consume(queue, lambda *_: None, auto_ack=True)
    with pika.BlockingConnection(broker.parameters()) as publisher:
        feed = publisher.channel()
        for _ in range(40):
            feed.basic_publish("", queue, bytes(1 << 20))
        feed.queue_declare("", exclusive=True)
    eventually(lambda: broker.has_logged("the client took nothing for"), broker.log_text)
