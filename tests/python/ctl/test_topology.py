"""Pictures of how messages go."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from ctl.run import done, fails

pytestmark = pytest.mark.own_broker

SVG = "{http://www.w3.org/2000/svg}"


def test_a_topology_is_drawn_in_every_form(on, opened):
    broker = on()
    channel = opened(broker).channel()
    hostile = '<script>"] & \\'
    channel.exchange_declare("orders", "topic")
    channel.queue_declare(hostile, arguments={"x-dead-letter-exchange": "amq.fanout"})
    channel.queue_declare("plain")
    channel.queue_bind(hostile, "orders", "eu.*")
    channel.queue_bind(hostile, "orders", "us.#")

    mermaid = done(broker, "topology")
    assert mermaid.startswith("flowchart LR\n")
    assert "eu.*<br/>us.#35;" in mermaid and "script" in mermaid and "<script" not in mermaid
    dot = done(broker, "topology", "--format", "dot", "-p", "/")
    assert dot.startswith('digraph "/" {\n') and '\\"] & \\\\' in dot and dot.count(" -> ") == 2
    root = ElementTree.fromstring(done(broker, "topology", "--format", "svg"))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles[0] == "Exchanges and queues of the vhost /"
    assert sorted(titles[1:]) == sorted(["orders", "amq.fanout", hostile, "plain"])


def test_what_policies_say_is_drawn(on, opened):
    broker = on()
    channel = opened(broker).channel()
    for exchange in ("orders", "lost", "dead"):
        channel.exchange_declare(exchange, "topic")
    channel.exchange_declare("own", "topic", arguments={"alternate-exchange": "dead"})
    for queue in ("bills", "letters"):
        channel.queue_declare(queue)
    done(broker, "set_policy", "rescue", "^o", '{"alternate-exchange": "lost"}', "--apply-to", "exchanges")
    done(broker, "set_policy", "bury", "^bills$", '{"dead-letter-exchange": "dead", "dead-letter-routing-key": "bill"}')
    dot = done(broker, "topology", "--format", "dot")
    nodes = {name: node for node, name in re.findall(r'^\s*(\w+) \[.*?label="(\w+)', dot, re.MULTILINE)}
    edges = {(source, target): label for source, target, label in re.findall(r'(\w+) -> (\w+) \[.*?label="([^"]*)"', dot)}
    assert edges == {
        (nodes["orders"], nodes["lost"]): "unroutable",
        (nodes["own"], nodes["dead"]): "unroutable",
        (nodes["bills"], nodes["dead"]): "dead: bill",
    }


def test_what_is_not_there_cannot_be_drawn(on):
    broker = on()
    assert fails(broker, 65, "topology", "-p", "none") == 'leveret: there is no vhost "none"\n'
