"""Publishers that an alarm blocks, and that are not read meanwhile."""

import socket
import struct

from support.broker import Leveret
from support.deadline import eventually
from wire import frames
from wire.client import Peer, Stage


def is_there(broker, queue):
    """Whether somebody has this exclusive queue."""
    peer = Peer((broker.host, broker.port))
    peer.advance(Stage.CHANNEL)
    peer.send(frames.method("queue.declare", queue=queue, passive=True))
    code = peer.expect("channel.close").args["reply_code"]
    peer.drop()
    assert code in (404, 405), f"{code} is no answer"
    return code == 405


def test_blocked_publisher_that_has_gone_gives_everything_back():
    """Without heartbeats nothing is written to it either: only its socket tells."""
    with Leveret({"memory.high_watermark": "1MiB"}) as broker:
        peer = Peer((broker.host, broker.port))
        peer.advance(Stage.CHANNEL)
        queue = peer.queue()
        peer.send(frames.publish(queue))
        peer.expect("connection.blocked", 0)
        assert is_there(broker, queue)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.drop()
        eventually(lambda: not is_there(broker, queue), "the queue goes with its connection", 20)
