"""A consumer that leaves without cancelling before, which pika's channels always do."""

import pika.frame
from pika import spec

from support.silent_client import SilentClient

ENDS = ["channel", "connection", "socket"]
"""What it may close."""


class RawConsumer(SilentClient):
    """Consumes from one queue on its channel 1, and acknowledges and leaves when told to."""

    def __init__(self, broker, queue, prefetch, exclusive=False):
        super().__init__(broker)
        self.tag = 0
        self.call(1, spec.Channel.Open(), spec.Channel.OpenOk)
        self.call(1, spec.Basic.Qos(prefetch_count=prefetch), spec.Basic.QosOk)
        self.send(1, spec.Basic.Consume(queue=queue, exclusive=exclusive))
        self.expect(spec.Basic.ConsumeOk)

    def take(self, count):
        """The bodies of the next deliveries, none of which is empty."""
        bodies = []
        while len(bodies) < count:
            frame = self.frame()
            if isinstance(frame, pika.frame.Method):
                assert isinstance(frame.method, spec.Basic.Deliver), frame
                self.tag = frame.method.delivery_tag
            elif isinstance(frame, pika.frame.Body):
                bodies.append(frame.fragment.decode())
        return bodies

    def acknowledge(self):
        """Acknowledges everything taken so far."""
        self.send(1, spec.Basic.Ack(self.tag, multiple=True))

    def leave(self, end="channel"):
        """Closes, and waits for the answer."""
        if end == "socket":
            self.socket.close()
            return
        number, kind = (1, spec.Channel) if end == "channel" else (0, spec.Connection)
        self.send(number, kind.Close(200, "", 0, 0))
        # Deliveries may be on their way.
        while not isinstance(getattr(self.frame(), "method", None), kind.CloseOk):
            pass
