"""Metrics as Prometheus reads them, by the parser of its Python client, with the names that RabbitMQ's dashboards ask for."""

import gzip
import os
import urllib.parse
from collections import Counter

import pika
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from support.deadline import eventually
from support.management import Api

# All that the dashboard RabbitMQ-Overview asks for.
GAUGES = [
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_global_publishers",
    "rabbitmq_global_consumers",
    "rabbitmq_connections",
    "rabbitmq_channels",
    "rabbitmq_queues",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_resident_memory_limit_bytes",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_open_fds",
]
# What its earlier revisions ask for besides, and the alerts that come with RabbitMQ's operator for Kubernetes.
EARLIER_GAUGES = [
    "rabbitmq_process_max_tcp_sockets",
    "rabbitmq_process_open_tcp_sockets",
    "rabbitmq_channel_consumers",
    "rabbitmq_channel_messages_unconfirmed",
    "rabbitmq_consumers",
    "rabbitmq_queue_consumers",
    "rabbitmq_queue_messages",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_file_descriptor_limit",
]
EARLIER_COUNTERS = [
    "rabbitmq_channel_messages_published_total",
    "rabbitmq_channel_messages_confirmed_total",
    "rabbitmq_channel_messages_unroutable_dropped_total",
    "rabbitmq_channel_messages_unroutable_returned_total",
    "rabbitmq_channel_messages_delivered_total",
    "rabbitmq_channel_messages_delivered_ack_total",
    "rabbitmq_channel_messages_redelivered_total",
    "rabbitmq_channel_messages_acked_total",
    "rabbitmq_channel_get_total",
    "rabbitmq_channel_get_ack_total",
    "rabbitmq_channel_get_empty_total",
    "rabbitmq_queue_messages_published_total",
]
COUNTERS = [
    "rabbitmq_connections_opened_total",
    "rabbitmq_connections_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_channels_closed_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_deleted_total",
]
# Of messages that come in.
INCOMING = ["received", "received_confirm", "routed", "confirmed", "unroutable_dropped", "unroutable_returned"]
# Of messages that go out, by the type of the queue.
WAYS = ["consume_auto_ack", "consume_manual_ack", "get_auto_ack", "get_manual_ack"]
OUTGOING = ["delivered", *(f"delivered_{way}" for way in WAYS), "get_empty", "redelivered", "acknowledged"]

CLASSIC = {"protocol": "amqp091", "queue_type": "rabbit_classic_queue"}


class Metrics:
    """What a scrape answered."""

    def __init__(self, text):
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name, **labels):
        """The value of the one sample with these labels and perhaps more."""
        found = self.all(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return found[0].value

    def all(self, name, **labels):
        """The samples with these labels and perhaps more."""
        return [one for one in self.samples if one.name == name and labels.items() <= one.labels.items()]

    def types(self):
        """The type of each sample's name."""
        return {sample.name: family.type for family in self.families for sample in family.samples}


@pytest.fixture(scope="module")
def metrics(server):
    """Scrapes: `metrics("/metrics/detailed", family="queue_coarse_metrics")`."""
    url = os.environ.get("LEVERET_TEST_PROMETHEUS")
    if server.is_rabbitmq and url is None:
        pytest.skip("LEVERET_TEST_PROMETHEUS does not say where RabbitMQ's metrics are")
    host, _, port = server.broker.address("prometheus").rpartition(":") if url is None else urllib.parse.urlparse(url).netloc.rpartition(":")
    with Api(host, int(port), None) as api:

        def scrape(path="/metrics", **query):
            answer = api.send("GET", f"{path}?{urllib.parse.urlencode(query, doseq=True)}")
            assert answer.status == 200, answer
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4"), answer.headers["content-type"]
            return Metrics(answer.text)

        scrape.api = api
        yield scrape


PATHS = ["/metrics", "/metrics/per-object", "/metrics/detailed"]


@pytest.mark.parametrize("path", PATHS)
def test_everything_can_be_read_and_is_there_once(metrics, vhost, queue, path):
    queue()
    found = metrics(path, family=["queue_coarse_metrics", "queue_consumer_count", "connection_metrics"])
    assert found.families
    names = Counter(family.name for family in found.families)
    assert [name for name, times in names.items() if times > 1] == []
    samples = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in found.samples)
    assert [sample for sample, times in samples.items() if times > 1] == []
    assert found.text.endswith("\n")


@pytest.mark.own_broker
@pytest.mark.parametrize("path", PATHS)
def test_everything_is_explained(metrics, path):
    found = metrics(path, family="queue_coarse_metrics")
    assert [family.name for family in found.families if not family.documentation or family.type == "unknown"] == []


def test_what_the_dashboard_asks_for(server, metrics):
    found = metrics()
    types = found.types()
    gauges = {name: types.get(name) for name in GAUGES}
    assert gauges == dict.fromkeys(GAUGES, "gauge")
    assert {name: types.get(name) for name in COUNTERS} == dict.fromkeys(COUNTERS, "counter")
    for kind in INCOMING:
        assert types[f"rabbitmq_global_messages_{kind}_total"] == "counter"
        assert found.all(f"rabbitmq_global_messages_{kind}_total", protocol="amqp091")
    for kind in OUTGOING:
        assert types[f"rabbitmq_global_messages_{kind}_total"] == "counter"
        assert found.all(f"rabbitmq_global_messages_{kind}_total", **CLASSIC), kind
    if not server.is_rabbitmq:
        assert types["rabbitmq_message_size_bytes_bucket"] == "histogram"


@pytest.mark.own_broker
def test_what_earlier_dashboards_and_alerts_ask_for(metrics):
    found = metrics()
    # Their panels are sums over all series, which are one each.
    for kind, names in (("gauge", EARLIER_GAUGES), ("counter", EARLIER_COUNTERS)):
        samples = {name: [(found.types()[one.name], one.labels) for one in found.all(name)] for name in names}
        assert samples == dict.fromkeys(names, [(kind, {})])
    # What an alert divides by.
    assert 0 <= found.value("rabbitmq_process_open_tcp_sockets") < found.value("rabbitmq_process_max_tcp_sockets")
    assert found.value("rabbitmq_alarms_file_descriptor_limit") == 0


def test_what_panels_join_on(server, metrics):
    overview = server.api.read("overview")
    for path, endpoint in zip(PATHS, ["aggregated", "per-object", "detailed"], strict=True):
        found = metrics(path, family="queue_coarse_metrics")
        (identity,) = found.all("rabbitmq_identity_info")
        assert identity.value == 1
        assert identity.labels["rabbitmq_node"] == overview["node"]
        assert identity.labels["rabbitmq_cluster"] == overview["cluster_name"]
        assert identity.labels["rabbitmq_cluster_permanent_id"]
        if not server.is_rabbitmq:
            assert identity.labels["rabbitmq_endpoint"] == endpoint
    (build,) = metrics().all("rabbitmq_build_info")
    assert {"rabbitmq_version", "prometheus_plugin_version", "prometheus_client_version", "erlang_version"} <= set(build.labels)
    assert build.labels["rabbitmq_version"] == overview["rabbitmq_version"]


@pytest.mark.own_broker
def test_sizes_have_the_dashboards_buckets(metrics, opened, vhost, queue):
    made = queue()
    before = metrics()
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    for size in (50, 500, 200_000):
        channel.basic_publish("", made, b"x" * size)
    limits = ["100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf"]
    for limit in limits:
        # The text matters: Prometheus 2 compares it.
        assert f'le="{limit}"' in before.text, limit

    def grown(limit, found):
        name = "rabbitmq_message_size_bytes_bucket"
        labels = {"protocol": "amqp091", "le": limit}
        return found.value(name, **labels) - before.value(name, **labels)

    found = eventually(lambda: (now := metrics()) and grown("+Inf", now) == 3 and now, "three sizes are counted")
    assert [grown(limit, found) for limit in limits] == [1, 2, 2, 2, 3, 3, 3, 3, 3]
    total = "rabbitmq_message_size_bytes_sum"
    assert found.value(total, protocol="amqp091") - before.value(total, protocol="amqp091") == 200_550


def test_messages_are_counted_on_their_way(metrics, opened, vhost, queue):
    made, other = queue(), queue()
    before = metrics()
    channel = opened(vhost).channel()
    channel.basic_publish("", made, b"x")
    channel.confirm_delivery()
    channel.queue_bind(made, "amq.fanout")
    channel.queue_bind(other, "amq.fanout")
    channel.basic_publish("amq.fanout", "", b"to two queues")
    channel.basic_publish("", "nothing", b"dropped")
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", "nothing", b"returned", mandatory=True)
    channel.basic_get(made, auto_ack=True)
    method, _, _ = channel.basic_get(made)
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, _ = channel.basic_get(made)
    assert method.redelivered
    channel.basic_ack(method.delivery_tag)
    assert channel.basic_get(made) == (None, None, None)
    got = []
    channel.basic_consume(other, lambda _c, method, *_: got.append(method.delivery_tag))
    eventually(lambda: channel.connection.process_data_events(0.02) or got, "a delivery")
    channel.basic_ack(got[0])
    expected = {
        **{"received": 4, "received_confirm": 3, "routed": 3, "confirmed": 3},
        **{"unroutable_dropped": 1, "unroutable_returned": 1, "get_empty": 1, "redelivered": 1, "acknowledged": 2},
        **{"delivered_get_auto_ack": 1, "delivered_get_manual_ack": 2, "delivered_consume_manual_ack": 1},
        **{"delivered_consume_auto_ack": 0, "delivered": 4},
    }

    def grown():
        channel.connection.process_data_events(0)
        found = metrics()
        return {kind: of_kind(found, kind) - of_kind(before, kind) for kind in expected}

    eventually(lambda: grown() == expected, lambda: f"{grown()} instead of {expected}")


def of_kind(found, kind):
    """A counter of messages."""
    labels = CLASSIC if kind in OUTGOING else {"protocol": "amqp091"}
    return found.value(f"rabbitmq_global_messages_{kind}_total", **labels)


def test_what_there_is_now(metrics, opened, vhost, queue):
    before = metrics()
    channel = opened(vhost).channel()
    made = queue()
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", made, b"12345")
    for _ in range(2):
        channel.basic_get(made)
    names = ["connections", "channels", "queues", "queue_messages_ready", "queue_messages_unacked", "queue_messages"]

    def grown():
        channel.connection.process_data_events(0)
        found = metrics()
        return [found.value(f"rabbitmq_{name}") - before.value(f"rabbitmq_{name}") for name in names]

    eventually(lambda: grown() == [1, 1, 1, 3, 2, 5], lambda: f"{dict(zip(names, grown(), strict=True))}", 20)
    found = metrics()
    assert found.value("rabbitmq_connections_opened_total") > before.value("rabbitmq_connections_opened_total")
    assert found.value("rabbitmq_queues_created_total") == before.value("rabbitmq_queues_created_total") + 1


def test_one_by_one_if_asked(metrics, opened, api, vhost, queue):
    first, second = queue(), queue()
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", first, b"x")

    def ready(path, name, **query):
        found = metrics(path, **query)
        samples = found.all(name, vhost=vhost)
        counted = {sample.labels["queue"]: sample.value for sample in samples}
        return {queue: counted[queue] for queue in (first, second) if queue in counted}

    eventually(
        lambda: ready("/metrics/per-object", "rabbitmq_queue_messages_ready") == {first: 3, second: 0},
        "each queue has a number",
    )
    family = "queue_coarse_metrics"
    detailed = "rabbitmq_detailed_queue_messages_ready"
    assert ready("/metrics/detailed", detailed, family=family) == {first: 3, second: 0}
    assert ready("/metrics/detailed", detailed, family=family, vhost=vhost) == {first: 3, second: 0}
    assert ready("/metrics/detailed", detailed, family=family, vhost=[vhost, "/"]) == {first: 3, second: 0}
    assert ready("/metrics/detailed", detailed, family=family, vhost="none") == {}
    assert ready("/metrics/detailed", detailed, family="queue_consumer_count") == {}
    # One number for all of them is no number of one of them.
    assert metrics().all("rabbitmq_queue_messages_ready", vhost=vhost) == []


@pytest.mark.own_broker
def test_detailed_ones_of_some_queues(metrics, vhost, queue):
    first, second = queue(), queue()
    found = metrics("/metrics/detailed", family="queue_coarse_metrics", queue=f"^{first}$", vhost=vhost)
    names = {sample.labels["queue"] for sample in found.all("rabbitmq_detailed_queue_messages_ready")}
    assert names == {first} and second not in names


@pytest.mark.own_broker
def test_a_prefix(metrics):
    found = metrics(prefix="leveret")
    names = {sample.name for sample in found.samples}
    assert "leveret_queue_messages_ready" in names
    assert not [name for name in names if name.startswith("rabbitmq_")]


@pytest.mark.own_broker
def test_they_are_beside_the_api_too(server, metrics):
    answer = server.api.send("GET", "/metrics")
    assert answer.status == 200
    mine = {family.name for family in text_string_to_metric_families(answer.text)}
    assert mine == {family.name for family in metrics().families}


@pytest.mark.own_broker
def test_names_with_quotes_and_backslashes_are_escaped(metrics, api, vhost):
    # Line breaks are taken out of the names of queues.
    made = 'a"b\\c\\nd'
    api.done("PUT", "queues", vhost, made, body={"durable": True})
    found = eventually(
        lambda: metrics("/metrics/per-object").all("rabbitmq_queue_messages_ready", vhost=vhost, queue=made),
        "the queue is listed",
    )
    assert len(found) == 1
    api.done("DELETE", "queues", vhost, made)


def test_they_are_compressed_if_asked(metrics):
    answer = metrics.api.send("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert Metrics(gzip.decompress(answer.body).decode()).all("rabbitmq_identity_info")


@pytest.mark.own_broker
def test_open_metrics_for_those_who_prefer_them(metrics, queue):
    queue()
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    for path in [*PATHS, "/metrics/memory-breakdown"]:
        answer = metrics.api.send("GET", f"{path}?family=queue_metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert list(open_metrics(answer.text)), path


@pytest.mark.own_broker
def test_beside_the_api_they_are_for_those_who_monitor(server, user):
    with server.api.by(None) as nobody:
        assert nobody.send("GET", "/metrics").status == 401
    for path in [*PATHS, "/metrics/memory-breakdown"]:
        assert user("monitoring").send("GET", path).status == 200
        assert user("management").send("GET", path).status == 401


@pytest.mark.own_broker
def test_wrong_wishes_are_refused(metrics):
    for query in ["detailed?family=nothing", "detailed?family=queue_metrics&queue=(", "per-object?prefix=a-b"]:
        assert metrics.api.send("GET", f"/metrics/{query}").status == 400, query


def counters(found):
    """All that may not shrink."""
    types = found.types()
    grows = {name for name, kind in types.items() if kind in ("counter", "histogram")}
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found.samples if one.name in grows}


@pytest.mark.own_broker
def test_counters_do_not_shrink_when_things_go(metrics, server, name):
    api, vhost, made = server.api, name("vhost"), name("queue")
    api.done("PUT", "vhosts", vhost, body={})
    api.done("PUT", "permissions", vhost, api.user, body={"configure": ".*", "write": ".*", "read": ".*"})
    api.done("PUT", "queues", vhost, made, body={"durable": True})
    connection = server.connect(vhost)
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", made, b"x")
        channel.basic_get(made, auto_ack=True)
    published = "rabbitmq_channel_messages_published_total"
    eventually(lambda: counters(metrics())[published, ()] >= 3, "publishes are counted")
    before = counters(metrics())
    connection.close()
    api.done("DELETE", "queues", vhost, made)
    api.done("DELETE", "vhosts", vhost)
    closed = ("rabbitmq_connections_closed_total", ())
    after = eventually(lambda: (now := counters(metrics())) and now[closed] > before[closed] and now, "it is closed")
    assert {key: (value, after.get(key)) for key, value in before.items() if after.get(key, -1) < value} == {}
    assert all(value > 0 for (name, _), value in after.items() if name.endswith(("published_total", "_get_total")))


@pytest.mark.own_broker
def test_settings_say_where_they_are_and_for_whom(leveret):
    settings = {"prometheus.auth": "true", "prometheus.path": "/m", "prometheus.per_object": "true"}
    broker = leveret(settings)
    host, _, port = broker.address("prometheus").rpartition(":")
    with Api(host, int(port)) as api, Api(host, int(port), None) as nobody:
        assert nobody.send("GET", "/m").status == 401
        (identity,) = Metrics(api.send("GET", "/m").text).all("rabbitmq_identity_info")
        assert identity.labels["rabbitmq_endpoint"] == "per-object"
        assert [api.send("GET", path).status for path in ("/metrics", "/api/overview", "/m/detailed")] == [404, 404, 200]
