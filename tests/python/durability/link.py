"""A channel for the crash loop: the wire suite's raw client, and what every worker does with it."""

from wire import frames
from wire.client import Closed, Peer, Silence, Stage


class Gone(Exception):
    """The broker is not there any more."""


class Link:
    """One connection with channel 1 open. Whatever shows that the broker died raises Gone."""

    def __init__(self, address):
        try:
            self.peer = Peer(address)
            self.peer.advance(Stage.CHANNEL)
        except (AssertionError, OSError, Closed) as error:
            raise Gone from error

    def send(self, data):
        """Sends frames."""
        self.peer.send(data)

    def next(self, patience=30):
        """The next method, with the content that belongs to it or None."""
        try:
            method = self.peer.method(patience)
            if method.name in ("basic.deliver", "basic.get-ok", "basic.return"):
                return method, self.peer.content(timeout=patience)
        except Closed:
            raise Gone from None
        except Silence as error:
            raise AssertionError(f"the broker is silent: {error}") from None
        if method.name in ("channel.close", "connection.close"):
            if method.args["reply_code"] == 320:
                raise Gone
            raise AssertionError(f"the broker complains: {method}")
        return method, None

    def call(self, method, other=None, /, **arguments):
        """Sends a method and waits for its -ok; whatever comes before goes to `other(method, content)`."""
        self.send(frames.method(method, **arguments))
        return self.wait(method + "-ok", other)

    def wait(self, name, other=None):
        """Waits for a method; whatever comes before goes to `other(method, content)`."""
        while True:
            method, content = self.next()
            if method.name == name:
                return method
            assert other is not None, f"{name} was expected, not {method}"
            other(method, content)

    def get(self, queue, no_ack=False):
        """The (method, content) of a message, or None when the queue is empty."""
        self.send(frames.method("basic.get", queue=queue, no_ack=no_ack))
        method, content = self.next()
        if method.name == "basic.get-empty":
            return None
        assert method.name == "basic.get-ok", method
        return method, content

    def exists(self, kind, name):
        """Whether a queue or exchange is there, asked on channel 2, which a no closes."""
        self.peer.open_channel(2)
        self.send(frames.method(f"{kind}.declare", 2, **{kind: name}, passive=True))
        method = self.peer.method()
        if method.name == "channel.close":
            assert method.args["reply_code"] == 404, method
            self.send(frames.method("channel.close-ok", 2))
            return False
        self.send(frames.method("channel.close", 2))
        self.peer.expect("channel.close-ok", 2)
        return True

    def all_of(self, queue):
        """Everything in the queue, as (redelivered, content); it is unacknowledged then."""
        count = self.call("queue.declare", queue=queue, passive=True).number("message_count")
        found = []
        if count:
            self.call("basic.consume", queue=queue, consumer_tag=queue)
            while len(found) < count:
                method, content = self.next()
                assert method.name == "basic.deliver", method
                found.append((method.args["redelivered"], content))
            self.call("basic.cancel", consumer_tag=queue)
        left = self.call("queue.declare", queue=queue, passive=True).number("message_count")
        assert left == 0, f"{left} more messages in {queue}"
        return found

    def bye(self):
        """Closes in order."""
        self.peer.bye()
