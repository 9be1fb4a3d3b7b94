"""A raw AMQP client that does only what it is told, and so can be silent, deaf, or gone without a word."""

import socket
import time

import pika.frame
import pika.spec

from support.deadline import DeadlinePassed


class SilentClient:
    """Logs in and then neither sends heartbeats nor reads, unless told to. `connection` is used in the place of a socket
    of its own."""

    def __init__(self, broker, heartbeat=0, vhost="/", capabilities=None, connection=None):
        self.received = b""
        self.closed_at = None
        self.socket = connection or socket.create_connection((broker.host, broker.port), timeout=10)
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.start = self.expect(pika.spec.Connection.Start)
        response = f"\0{broker.user}\0{broker.password}"
        properties = {"product": "silent", "capabilities": capabilities or {}}
        self.send(0, pika.spec.Connection.StartOk(client_properties=properties, mechanism="PLAIN", response=response))
        self.tune = self.expect(pika.spec.Connection.Tune)
        self.send(0, pika.spec.Connection.TuneOk(self.tune.channel_max, self.tune.frame_max, heartbeat))
        self.send(0, pika.spec.Connection.Open(virtual_host=vhost))
        self.expect(pika.spec.Connection.OpenOk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, channel, method):
        """Sends one method."""
        self.socket.sendall(pika.frame.Method(channel, method).marshal())

    def call(self, channel, method, reply):
        """Sends one method and waits for its reply."""
        self.send(channel, method)
        return self.expect(reply)

    def frame(self, seconds=10):
        """The next frame, or None when the broker closed the socket."""
        end = time.monotonic() + seconds
        while True:
            consumed, frame = pika.frame.decode_frame(self.received)
            if frame is not None:
                self.received = self.received[consumed:]
                return frame
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                raise DeadlinePassed(f"no frame within {seconds} s") from None
            except ConnectionResetError:
                more = b""
            if not more:
                self.closed_at = time.monotonic()
                return None
            self.received += more

    def expect(self, method, seconds=10):
        """Reads until a method of this class comes. Heartbeats before it are skipped."""
        while True:
            frame = self.frame(seconds)
            assert frame is not None, f"the broker closed the socket instead of sending {method.NAME}"
            if isinstance(frame, pika.frame.Heartbeat):
                continue
            assert isinstance(frame, pika.frame.Method), f"{frame} instead of {method.NAME}"
            assert isinstance(frame.method, method), f"{frame.method} instead of {method.NAME}"
            return frame.method

    def frames_until_closed(self, seconds):
        """Every frame with its time until the broker closes the socket."""
        seen = []
        while True:
            frame = self.frame(seconds)
            if frame is None:
                return seen
            seen.append((time.monotonic(), frame))
