"""Logins without a client library: many of them, and how long their answers take."""

import socket
import struct
import time

HEADER = b"AMQP\x00\x00\x09\x01"
TUNE = (10, 30)
CLOSE = (10, 50)


def short(text):
    """A short string."""
    return bytes([len(text)]) + text.encode()


def long(data):
    """A long string, or a table."""
    return struct.pack(">I", len(data)) + data


def start_ok(user, password, mechanism="PLAIN"):
    """connection.start-ok of a client that wants to be told when it is refused."""
    capability = short("authentication_failure_close") + b"t\x01"
    properties = short("capabilities") + b"F" + long(capability)
    if mechanism == "PLAIN":
        response = b"\0" + user.encode() + b"\0" + password.encode()
    else:
        response = short("LOGIN") + b"S" + long(user.encode()) + short("PASSWORD") + b"S" + long(password.encode())
    payload = struct.pack(">HH", 10, 11) + long(properties) + short(mechanism) + long(response) + short("en_US")
    return b"\x01\x00\x00" + long(payload) + b"\xce"


class Login:
    """One attempt that is under way."""

    def __init__(self, broker, user, password, mechanism="PLAIN", source="127.0.0.1"):
        self.began = time.monotonic()
        self.socket = socket.create_connection((broker.host, broker.port), timeout=20, source_address=(source, 0))
        self.socket.sendall(HEADER + start_ok(user, password, mechanism))

    def answer(self):
        """Whether it succeeded, and after how many seconds."""
        with self.socket, self.socket.makefile("rb") as stream:
            method(stream)
            told = method(stream)
            assert told in (TUNE, CLOSE), told
            return told == TUNE, time.monotonic() - self.began


def method(stream):
    """Class and method of the next frame."""
    _, _, length = struct.unpack(">BHI", stream.read(7))
    payload = stream.read(length + 1)
    return struct.unpack(">HH", payload[:4])


def logs_in(broker, user, password, mechanism="PLAIN"):
    """Whether somebody may log in, whatever vhosts they may open."""
    return Login(broker, user, password, mechanism).answer()[0]
