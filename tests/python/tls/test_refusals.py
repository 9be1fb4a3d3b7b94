"""Who is not let in: refused with a line in the log that says why, while everybody else goes on."""

import socket
import ssl
import struct
import time
import urllib.request

import pika
import pika.exceptions
import pytest

from support.deadline import eventually

from .authority import Authority

pytestmark = pytest.mark.own_broker

# What pika makes of a failed handshake depends on the moment.
REFUSED = (pika.exceptions.AMQPConnectionError, OSError)

ALERT = 0x15
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70


@pytest.fixture
def unharmed(tls_connect):
    """Makes sure that the listener is as good as before."""

    def check(broker, context):
        with tls_connect(broker, context) as connection:
            connection.channel().queue_declare("", exclusive=True)

    return check


def refusals(broker):
    """What the log says of failed handshakes."""
    return [r["message"] for r in broker.records() if r.get("message", "").startswith("TLS handshake failed")]


def refused(broker, why):
    """Waits for the one line that says why."""
    eventually(lambda: any(why in line for line in refusals(broker)), broker.log_text)
    assert len(refusals(broker)) == 1, refusals(broker)


def raw(port):
    """A socket without TLS."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def client_hello(version, signatures=False):
    """A ClientHello in full: of a client that knows versions up to this one, and one cipher suite of its time."""
    suites = struct.pack("!HH", 2, 0xC013)
    body = struct.pack("!H", version) + bytes(32) + b"\0" + suites + b"\x01\0"
    groups, points = struct.pack("!HHHH", 10, 4, 2, 23), struct.pack("!HHBB", 11, 2, 1, 0)
    extensions = groups + points + (struct.pack("!HHHH", 13, 4, 2, 0x0401) if signatures else b"")
    body += struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", 0x16, 0x0301, len(handshake)) + handshake


def test_an_expired_certificate_is_seen_by_the_client(secure, context, tls_connect):
    broker = secure(expired=True)
    with pytest.raises(REFUSED) as caught:
        tls_connect(broker, context())
    assert "certificate has expired" in repr(caught.value)
    assert broker.has_logged("the certificate has expired")
    refused(broker, "the client gave up with alert CertificateExpired")


def test_a_wrong_host_is_seen_by_the_client(secure, context, tls_connect, unharmed):
    broker = secure()
    with pytest.raises(REFUSED) as caught:
        tls_connect(broker, context(), "mq.example.com")
    assert "Hostname mismatch" in repr(caught.value)
    refused(broker, "the client gave up with alert")
    unharmed(broker, context())


def test_an_unknown_authority_is_seen_by_the_client(secure, authority, context, tls_connect, unharmed):
    broker = secure()
    stranger = Authority(authority.directory, "Stranger")
    with pytest.raises(REFUSED) as caught:
        tls_connect(broker, context(trusted=stranger))
    assert "CERTIFICATE_VERIFY_FAILED" in repr(caught.value)
    refused(broker, "the client gave up with alert UnknownCA")
    unharmed(broker, context())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("expired", "the client's certificate has expired"),
        ("stranger", "the client's certificate is of an authority that tls.ca does not have"),
        ("none", "the client shows no certificate"),
        ("revoked", "the client's certificate has been revoked"),
        ("server", "the client's certificate is not for clients"),
    ],
)
def test_a_clients_certificate_is_looked_at(mutual, authority, context, tls_connect, unharmed, case, why, version):
    settings = {}
    match case:
        case "expired":
            certificate = authority.client("old", expired=True)
        case "stranger":
            certificate = Authority(authority.directory, "Stranger").client("stranger")
        case "none":
            certificate = None
        case "revoked":
            certificate = authority.client("revoked")
            settings = {"tls.crl": authority.revoke(certificate[0])}
        case "server":
            certificate = authority.server("wrong")
    broker = mutual(settings)
    made = context(certificate)
    made.maximum_version = version
    with pytest.raises(REFUSED):
        tls_connect(broker, made)
    refused(broker, why)
    unharmed(broker, context(authority.client()))


@pytest.mark.parametrize("signatures", [False, True])
@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302])
def test_no_version_before_tls_1_2(secure, context, unharmed, version, signatures):
    broker = secure()
    with raw(broker.secure.port) as stream:
        stream.sendall(client_hello(version, signatures))
        answer = stream.recv(100)
        assert (answer[0], answer[6]) == (ALERT, PROTOCOL_VERSION if signatures else HANDSHAKE_FAILURE)
        assert stream.recv(100) == b""
    refused(broker, "the client offers no version of TLS that is enabled")
    unharmed(broker, context())


def test_versions_and_ciphers_are_those_of_the_settings(secure, context, tls_connect):
    broker = secure({"tls.versions": "1.2", "tls.ciphers": "ECDHE-RSA-AES128-GCM-SHA256"})
    made = context()
    with tls_connect(broker, made) as connection:
        assert connection.is_open
    lines = eventually(lambda: [r for r in broker.records() if "cipher" in r], broker.log_text)
    assert (lines[0]["tls"], lines[0]["cipher"]) == ("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
    newest = context()
    newest.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(REFUSED):
        tls_connect(broker, newest)
    refused(broker, "the client offers no version of TLS that is enabled")
    other = context()
    other.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    with pytest.raises(REFUSED):
        tls_connect(broker, other)
    eventually(lambda: any("no cipher suite" in line for line in refusals(broker)), broker.log_text)


def test_amqp_without_tls_on_the_tls_port(secure, context, unharmed):
    broker = secure()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(broker.secure.parameters())
    refused(broker, "AMQP without TLS on a TLS port")
    unharmed(broker, context())


def test_http_on_the_tls_port(secure, context, unharmed):
    broker = secure()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{broker.secure.port}/", timeout=10)
    refused(broker, "HTTP without TLS on the AMQP TLS port")
    unharmed(broker, context())


def test_tls_on_the_plain_port(secure, context):
    broker = secure()
    with raw(broker.port) as stream, pytest.raises((ssl.SSLError, OSError)):
        context().wrap_socket(stream, server_hostname="localhost")
    eventually(lambda: broker.has_logged("a TLS client on a plain port"), broker.log_text)


def test_garbage_within_tls_and_around_it(secure, context, unharmed):
    broker = secure()
    with raw(broker.secure.port) as stream:
        stream.sendall(b"\x16\x03\x01\x00\x05garbage")
        while stream.recv(100):
            pass
    refused(broker, "not TLS as we know it")
    with raw(broker.secure.port) as stream:
        with context().wrap_socket(stream, server_hostname="localhost") as within:
            within.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert within.recv(100) == b"AMQP\0\0\x09\x01"
    eventually(lambda: broker.has_logged("HTTP on the AMQP port"), broker.log_text)
    unharmed(broker, context())


def test_health_checks_are_not_worth_a_line(secure, context, unharmed):
    broker = secure({"amqp.handshake_timeout": "2s"})
    eventually(lambda: broker.has_logged('"ready"'), "it is ready")
    before = len(broker.records())
    for _ in range(5):
        raw(broker.secure.port).close()
    with raw(broker.secure.port) as silent:
        # Half of the time is for TLS.
        begun = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - begun > 0.9
    unharmed(broker, context())

    def said():
        return [record["message"] for record in broker.records()[before:]]

    eventually(lambda: "connection closed" in said(), said)
    assert set(said()) == {"connection opened", "connection closed"}


def test_a_handshake_has_its_time(secure, context, unharmed):
    broker = secure({"amqp.handshake_timeout": "2s"})
    with raw(broker.secure.port) as slow, raw(broker.secure.port) as stream:
        slow.sendall(client_hello(0x0303)[:20])
        with context().wrap_socket(stream, server_hostname="localhost") as within:
            within.sendall(b"AMQP\0\0\x09\x01")
            assert slow.recv(1) == b""
            refused(broker, "it took too long")
            assert not broker.has_logged("the handshake took too long"), "half of the time is for TLS"
            while within.recv(4096):
                pass
    eventually(lambda: broker.has_logged("the handshake took too long"), broker.log_text)
    unharmed(broker, context())


def test_a_flood_of_strangers_is_ten_lines(secure, context, unharmed):
    broker = secure()
    for _ in range(40):
        with raw(broker.secure.port) as stream:
            stream.sendall(b"AMQP\0\0\x09\x01")
            while stream.recv(100):
                pass
    assert len(refusals(broker)) == 10
    unharmed(broker, context())
