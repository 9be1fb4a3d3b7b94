"""Pictures of how messages go."""

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


def test_what_is_not_there_cannot_be_drawn(on):
    broker = on()
    assert fails(broker, 65, "topology", "-p", "none") == 'leveret: there is no vhost "none"\n'
