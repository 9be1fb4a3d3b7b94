"""AMQP over a Unix socket."""

import os
import socket
import stat

import pika.spec
import pytest

from support.deadline import eventually
from support.silent_client import SilentClient

pytestmark = pytest.mark.own_broker


def connect(path):
    """A socket to a path."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def test_guest_may_log_in_and_the_path_goes_at_the_end(leveret, tmp_path):
    path = tmp_path / "amqp"
    broker = leveret({"listen.unix": path, "listen.unix_mode": "0600"})
    assert broker.address("unix") == str(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with SilentClient(broker, connection=connect(path)) as client:
        client.call(1, pika.spec.Channel.Open(), pika.spec.Channel.OpenOk)
        client.call(1, pika.spec.Queue.Declare(queue="", exclusive=True), pika.spec.Queue.DeclareOk)
        peer = f"unix:uid={os.getuid()},pid={os.getpid()}"
        eventually(lambda: any(record.get("peer") == peer for record in broker.records()), "the log has the peer")
    assert broker.stop() == 0
    assert not path.exists()


def test_a_path_that_was_left_is_taken_over_and_one_in_use_is_not(leveret, tmp_path):
    path = tmp_path / "amqp"
    first = leveret({"listen.unix": path})
    first.kill()
    assert path.exists()
    second = leveret({"listen.unix": path})
    SilentClient(second, connection=connect(path)).socket.close()
    with pytest.raises(AssertionError, match="somebody listens there"):
        leveret({"listen.unix": path})
    SilentClient(second, connection=connect(path)).socket.close()
