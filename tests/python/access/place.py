"""Where cases take place: a vhost with some things in it, and a user whose permissions are set case by case."""

import itertools
import re

import pika
import pika.exceptions

USER = "worker"
VHOST = "cases"
OTHER_VHOST = "others"

FULL = (".*", ".*", ".*")
NOTHING = ("", "", "")


class Names:
    """The names a case uses. Those that begin with `new` do not exist; the others are made beforehand."""

    def __init__(self, number, reply_to):
        self.reply_to = reply_to
        self.new = f"new.{number}"
        self.exchange = f"exchange.{number}"
        self.alternate = f"alternate.{number}"
        self.source = f"source.{number}"
        self.topic = f"topic.{number}"
        self.queue = f"queue.{number}"


class Place:
    """A broker with the user connected to the vhost."""

    def __init__(self, broker, permissions, is_rabbitmq=False):
        self.broker = broker
        self.permissions = permissions
        self.is_rabbitmq = is_rabbitmq
        self.numbers = itertools.count(1)
        self.connections = []

    def __enter__(self):
        self.owner = self.connect(self.broker.user, self.broker.password).channel()
        self.worker = self.connect(USER, "secret")
        self.reply_to = self.request()
        return self

    def __exit__(self, *_):
        for connection in self.connections:
            connection.close()

    def connect(self, user, password, vhost=VHOST):
        """A connection that stays to the end."""
        parameters = self.broker.parameters(vhost, user, password)
        self.connections.append(pika.BlockingConnection(parameters))
        return self.connections[-1]

    def request(self):
        """Where replies go to somebody who has asked."""
        self.owner.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)
        queue = self.owner.queue_declare("", exclusive=True).method.queue
        self.owner.basic_publish("", queue, b"x", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        _, properties, _ = self.owner.basic_get(queue, auto_ack=True)
        return properties.reply_to

    def made(self):
        """Fresh names, of which the user has nothing to do with but by permissions."""
        names = Names(next(self.numbers), self.reply_to)
        owner = self.owner
        owner.exchange_declare(names.alternate, "fanout")
        owner.exchange_declare(names.exchange, "direct", arguments={"alternate-exchange": names.alternate})
        owner.exchange_declare(names.source, "direct")
        owner.exchange_declare(names.topic, "topic")
        owner.queue_declare(names.queue, arguments={"x-dead-letter-exchange": names.alternate})
        owner.queue_bind(names.queue, names.source, "k")
        owner.exchange_bind(names.exchange, names.source, "k")
        owner.basic_publish("", names.queue, b"x")
        return names

    def permit(self, configure, write, read, vhost=VHOST):
        """Sets the user's permissions."""
        self.permissions.set(USER, vhost, configure, write, read)

    def says(self, text):
        """How this broker words a refusal: RabbitMQ 3.10 does not name the right, nor say twice that it is an exchange."""
        if not self.is_rabbitmq:
            return text
        return re.sub("(configure|write|read) access", "access", text).replace("exchange exchange", "exchange")

    def outcome(self, operation, names):
        """Code and text of the channel exception that an operation of the user ends with, or None."""
        channel = self.worker.channel()
        try:
            operation(channel, names)
            # What has no reply is refused by now.
            channel.basic_qos()
        except pika.exceptions.ChannelClosedByBroker as closed:
            return closed.reply_code, closed.reply_text
        channel.close()
        return None
