"""The topology that RabbitMQ's answers in tests/data/management were recorded with, with clients that are connected."""

import json
import uuid

import pika
import pika.exceptions

from support.deadline import eventually

# RabbitMQ mixes up what it counts of two vhosts of one name that come one after the other.
VHOST = f"shapes-{uuid.uuid4().hex[:8]}"
USER = "shapes-watcher"
CLIENT = {"connection_name": "shapes client", "capabilities": {"consumer_cancel_notify": True}}


class Topology:
    """All of it, on a broker and its API. It goes with the context manager."""

    def __init__(self, broker, api):
        self.broker = broker
        self.api = api
        self.connection = None

    def __enter__(self):
        self.remove()
        self.declare()
        self.connection = pika.BlockingConnection(self.broker.parameters(VHOST, client_properties=CLIENT))
        self.work()
        eventually(self.seen, self.unseen, 30, 0.1)
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.remove()

    def remove(self):
        """Takes everything away, if it is there."""
        for path in (("vhosts", VHOST), ("users", USER), ("global-parameters", "shapes")):
            assert self.api.delete(*path).status in (204, 404)
        assert self.api.delete("user-limits", self.api.user, "max-channels").status == 204

    def declare(self):
        """What exists without a client."""
        put = self.put
        put("vhosts", VHOST, body={"description": "what shapes are compared with", "tags": "one,two"})
        full = {"configure": ".*", "write": ".*", "read": ".*"}
        put("permissions", VHOST, self.api.user, body=full)
        put("users", USER, body={"password": "secret", "tags": "monitoring"})
        put("permissions", VHOST, USER, body=full | {"configure": "^own"})
        put("topic-permissions", VHOST, USER, body={"exchange": "amq.topic", "write": "^a", "read": ".*"})
        put("vhost-limits", VHOST, "max-queues", body={"value": 100})
        put("user-limits", self.api.user, "max-channels", body={"value": 500})
        put("global-parameters", "shapes", body={"name": "shapes", "value": {"a": 1}})
        policy = {"pattern": "^work", "definition": {"max-length-bytes": 1_000_000}, "priority": 2, "apply-to": "queues"}
        put("policies", VHOST, "limit", body=policy)
        put("operator-policies", VHOST, "lid", body={"pattern": "^work", "definition": {"expires": 3_600_000}})
        put("exchanges", VHOST, "events", body={"type": "topic", "durable": True})
        alternate = {"type": "headers", "internal": True, "auto_delete": True, "arguments": {"alternate-exchange": "amq.fanout"}}
        put("exchanges", VHOST, "inner", body=alternate)
        put("queues", VHOST, "work", body={"durable": True, "arguments": {"x-max-length": 1000}})
        put("queues", VHOST, "copies", body={"durable": True, "arguments": {"x-queue-type": "quorum"}})
        bindings = ("bindings", VHOST, "e", "events")
        self.api.done("POST", *bindings, "q", "work", body={"routing_key": "work.#"})
        self.api.done("POST", *bindings, "q", "copies", body={"routing_key": "copies", "arguments": {"x": 1}})
        self.api.done("POST", *bindings, "e", "inner", body={"routing_key": "inner"})

    def put(self, *path, body):
        """A PUT that has to succeed."""
        self.api.done("PUT", *path, body=body)

    def work(self):
        """What clients do, so that there are counts of every kind."""
        self.connection.channel().tx_select()
        channel = self.connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("mine", exclusive=True)
        properties = pika.BasicProperties(delivery_mode=2, headers={"kind": "report"})
        for _ in range(5):
            channel.basic_publish("events", "work.a", b"x" * 20, properties)
        for _ in range(3):
            channel.basic_publish("events", "copies", b"y")
            channel.basic_publish("", "mine", b"z")
        channel.basic_publish("events", "nowhere", b"dropped")
        try:
            channel.basic_publish("events", "nowhere", b"returned", mandatory=True)
        except pika.exceptions.UnroutableError:
            pass
        channel.basic_get("mine", auto_ack=True)
        method, _, _ = channel.basic_get("mine")
        channel.basic_ack(method.delivery_tag)
        channel.basic_get("mine", auto_ack=True)
        channel.basic_get("mine")
        self.consume(channel)

    def consume(self, channel):
        """Two consumers; messages are rejected, acknowledged, and kept."""
        channel.basic_qos(prefetch_count=3)
        got = []
        channel.basic_consume("work", lambda _c, method, *_: got.append(method), arguments={"x-priority": 2})
        channel.basic_consume("copies", lambda *_: None, auto_ack=True)
        eventually(lambda: self.connection.process_data_events(0.02) or len(got) >= 2, "two deliveries")
        channel.basic_reject(got[0].delivery_tag, requeue=True)
        channel.basic_ack(got[1].delivery_tag)
        eventually(lambda: self.connection.process_data_events(0.02) or any(m.redelivered for m in got), "a redelivery")

    def counts(self):
        """What is to be seen of the traffic before shapes are compared: what of it is there."""
        name = self.connection_name()
        queue = self.api.read("queues", VHOST, "work")
        channels = self.api.read("vhosts", VHOST, "channels")
        exchange = self.api.read("exchanges", VHOST, "events")
        vhost = self.api.read("vhosts", VHOST)
        stats = queue.get("message_stats", {})
        return {
            "the connection": name is not None,
            "messages of the queue": queue.get("messages", 0) > 0 and queue.get("consumers") == 1,
            "acknowledgements of the queue": stats.get("ack", 0) > 0 and stats.get("redeliver", 0) > 0,
            "the consumer": len(queue.get("consumer_details", [])) == 1,
            "gets of the channel": any(c.get("message_stats", {}).get("get_no_ack", 0) > 0 for c in channels),
            "both channels": len(channels) == 2,
            "what the exchange took": exchange.get("message_stats", {}).get("publish_in", 0) >= 8,
            "messages of the vhost": vhost.get("messages", 0) > 0 and "message_stats" in vhost,
            "what was sent": vhost.get("send_oct", 0) > 0,
            "messages of the other queue": "messages" in self.api.read("queues", VHOST, "copies"),
            "totals": "messages" in self.api.read("overview").get("queue_totals", {}),
        }

    def seen(self):
        """Whether the statistics have caught up; the connection goes on meanwhile."""
        self.connection.process_data_events(0)
        return all(self.counts().values())

    def unseen(self):
        """What is missing in the statistics."""
        return "missing: " + json.dumps([what for what, there in self.counts().items() if not there])

    def connection_name(self):
        """The name of the client's connection, or None before it is known."""
        for connection in self.api.read("vhosts", VHOST, "connections"):
            if connection.get("user_provided_name") == CLIENT["connection_name"]:
                return connection["name"]
        return None

    def names(self):
        """What stands for the placeholders in paths of endpoints."""
        connection = self.connection_name()
        node = self.api.read("overview")["node"]
        return {"{node}": node, "{connection}": connection, "{channel}": f"{connection} (2)", "{port}": str(self.broker.port)}
