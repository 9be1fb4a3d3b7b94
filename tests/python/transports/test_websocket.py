"""AMQP over WebSocket, with Python's `websockets`; the browsers' client is in tests/node."""

import socket
import ssl
from contextlib import suppress

import pika.frame
import pika.spec
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

from support.deadline import eventually
from support.silent_client import SilentClient
from tls.authority import Authority, rsa_key

pytestmark = pytest.mark.own_broker

AMQP = b"AMQP\x00\x00\x09\x01"


class Stream:
    """A WebSocket as a socket whose bytes are cut into messages of `size`, each of frames of half of that."""

    def __init__(self, address, size=1 << 20, **options):
        url = address if "://" in address else f"ws://{address}/"
        self.context = websockets.sync.client.connect(url, max_size=None, **options)
        self.connection = self.context.__enter__()
        self.size = size
        self.timeout = 10

    def sendall(self, data):
        for at in range(0, len(data), self.size):
            message = data[at : at + self.size]
            half = max(1, len(message) // 2)
            # The library ends a message with an empty frame. Who has read enough to say goodbye does not wait for that.
            with suppress(ConnectionClosedOK):
                self.connection.send([part for part in (message[:half], message[half:]) if part])

    def settimeout(self, seconds):
        self.timeout = seconds

    def recv(self, _size):
        try:
            return self.connection.recv(self.timeout)
        except ConnectionClosed:
            return b""

    def close(self):
        with suppress(ConnectionClosed):
            self.context.__exit__(None, None, None)


@pytest.fixture
def broker(leveret):
    """A broker with a WebSocket."""
    return leveret({"listen.websocket": "127.0.0.1:0"})


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_messages_may_be_cut_anywhere(broker, size):
    with SilentClient(broker, connection=Stream(broker.address("ws"), size)) as client:
        client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
        queue = client.call(1, pika.spec.Queue.Declare(queue="", exclusive=True), pika.spec.Queue.DeclareOk).queue
        body = bytes(range(256)) * 20
        frames = pika.frame.Method(1, pika.spec.Basic.Publish(routing_key=queue)).marshal()
        frames += pika.frame.Header(1, len(body), pika.spec.BasicProperties()).marshal()
        frames += pika.frame.Body(1, body).marshal()
        # What is a message here has nothing to do with what is a frame of AMQP.
        client.socket.sendall(frames)
        client.call(1, pika.spec.Basic.Get(queue=queue, no_ack=True), pika.spec.Basic.GetOk)
        assert client.frame().body_size == len(body)
        assert client.frame().fragment == body


def test_within_tls_it_is_the_same(leveret, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.server(key=rsa_key())
    broker = leveret({"listen.websocket_tls": "127.0.0.1:0", "tls.cert": cert, "tls.key": key})
    port = broker.address("wss").split(":")[1]
    context = ssl.create_default_context(cafile=str(authority.path))
    with SilentClient(broker, connection=Stream(f"wss://localhost:{port}/", ssl=context)) as client:
        client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
        queue = client.call(1, pika.spec.Queue.Declare(queue="", exclusive=True), pika.spec.Queue.DeclareOk).queue
        # More than the sockets between take, so that both sides have to wait for each other.
        body, count = b"x" * 100_000, 100
        publish = pika.frame.Method(1, pika.spec.Basic.Publish(routing_key=queue)).marshal()
        publish += pika.frame.Header(1, len(body), pika.spec.BasicProperties()).marshal()
        publish += pika.frame.Body(1, body).marshal()
        for _ in range(count):
            client.socket.sendall(publish)
        client.call(1, pika.spec.Basic.Consume(queue=queue, no_ack=True), pika.spec.Basic.ConsumeOk)
        for _ in range(count):
            client.expect(pika.spec.Basic.Deliver)
            assert client.frame().body_size == len(body)
            assert client.frame().fragment == body


def test_what_is_no_upgrade_gets_a_short_answer(broker):
    host, port = broker.address("ws").split(":")
    for request, status in [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"400"),
        (AMQP, b"400"),
        (b"GET / HTTP/1.1\r\nCookie: " + b"x" * 16 * 1024, b"431"),
    ]:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 " + status), answer
            assert len(answer) < 300


def test_the_header_of_amqp_is_checked_within(broker):
    stream = Stream(broker.address("ws"))
    stream.sendall(b"AMQP\x00\x01\x00\x00")
    assert stream.recv(8) == AMQP
    assert stream.recv(8) == b""


def test_only_pages_of_listed_origins_may_connect(leveret):
    broker = leveret({"listen.websocket": "127.0.0.1:0", "websocket.origins": "https://example.org"})
    SilentClient(broker, connection=Stream(broker.address("ws"), origin="https://example.org")).socket.close()
    SilentClient(broker, connection=Stream(broker.address("ws"))).socket.close()
    with pytest.raises(InvalidStatus, match="403"):
        Stream(broker.address("ws"), origin="https://example.com")


@pytest.mark.parametrize(
    "request_has", [{"origin": "https://example.org"}, {"additional_headers": {"X-Forwarded-For": "127.0.0.1"}}]
)
def test_guest_is_not_let_in_for_a_foreign_page_or_through_a_proxy(broker, request_has):
    capabilities = {"authentication_failure_close": True}
    with pytest.raises(AssertionError, match="ACCESS_REFUSED"):
        SilentClient(broker, capabilities=capabilities, connection=Stream(broker.address("ws"), **request_has))


def test_a_certificate_is_nobodys_for_a_foreign_page(leveret, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.server(key=rsa_key())
    settings = {"listen.websocket_tls": "127.0.0.1:0", "tls.cert": cert, "tls.key": key, "tls.ca": authority.path}
    settings |= {"tls.verify": "peer", "tls.fail_if_no_peer_cert": "true", "amqp.mechanisms": "PLAIN,EXTERNAL"}
    settings |= {"auth.default_user": "CN=reader,O=Acme", "auth.default_pass": "unused"}
    broker = leveret(settings)
    port = broker.address("wss").split(":")[1]
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(*map(str, authority.client("reader")))

    def answer(**request_has):
        """What mechanisms are offered, and what is answered to EXTERNAL all the same."""
        stream = Stream(f"wss://localhost:{port}/", ssl=context, **request_has)
        stream.sendall(AMQP)
        start = pika.frame.decode_frame(stream.recv(4096))[1].method
        external = pika.spec.Connection.StartOk(client_properties={}, mechanism="EXTERNAL", response="")
        stream.sendall(pika.frame.Method(0, external).marshal())
        reply = stream.recv(4096)
        stream.close()
        return start.mechanisms.split(), pika.frame.decode_frame(reply)[1].method.NAME if reply else None

    assert answer() == ([b"PLAIN", b"EXTERNAL"], "Connection.Tune")
    assert answer(origin="https://localhost:8443") == ([b"PLAIN", b"EXTERNAL"], "Connection.Tune")
    assert answer(origin="https://example.org") == ([b"PLAIN"], None)
    eventually(lambda: broker.has_logged("mechanism 'EXTERNAL' is not offered"), "the log says why")


def test_shutdown_says_goodbye_in_both_protocols(broker):
    stream = Stream(broker.address("ws"))
    client = SilentClient(broker, connection=stream)
    broker.terminate()
    closed = client.expect(pika.spec.Connection.Close)
    assert closed.reply_code == 320
    client.send(0, pika.spec.Connection.CloseOk())
    with pytest.raises(ConnectionClosedOK):
        stream.connection.recv(10)
    assert broker.wait() == 0


def test_within_the_time_of_a_handshake_there_has_to_be_a_request(leveret):
    broker = leveret({"listen.websocket": "127.0.0.1:0", "amqp.handshake_timeout": "300ms"})
    host, port = broker.address("ws").split(":")
    for first in (b"", b"GET / HTTP/1.1\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(first)
            assert connection.recv(100) == b""
