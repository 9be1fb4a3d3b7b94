"""Leveret's answers have the shape of RabbitMQ's for the same topology: each key, with the same JSON type."""

import json

import pytest

from management.endpoints import ENDPOINTS, ask
from management.record import DIRECTORY
from management.shape import Expected
from management.topology import Topology
from support.deadline import eventually

pytestmark = pytest.mark.xdist_group("shapes")

# Patterns for "endpoint path" of what need not be in an answer of Leveret's.
LEFT_OUT = [
    # Of Erlang's processes; the object itself is there for those who look into it.
    r"\.metrics_gc_queue_length\.",
    # How a queue of RabbitMQ's keeps its messages in memory, in files and in Erlang's heap.
    r"\.backing_queue_status\.",
    # Log and segment files of RabbitMQ's Raft.
    r"\.ra_open_file_metrics\.",
    r"\.pending_raft_commands$",
    # Options of Erlang's sockets and of its web server.
    r"\.socket_opts$",
    r"contexts\[\]\.(cowboy_opts|ssl_opts|ip)$",
    # Processes of mirrored queues, which version 4 does not have.
    r"^node-memory \.memory\.queue_slave_procs$",
    # RabbitMQ's cache of file handles, which keeps files open and finds places in them.
    r"\.io_(seek|reopen)_",
    # Whoever is busy has none.
    r"\.idle_since$",
    # What an installation consists of may be nothing.
    r"\.(applications|enabled_plugins|config_files|log_files)\[\]$",
    # There need be no flags.
    r"^feature-flags \[\]$",
    # Support of a release is a promise of its makers.
    r"^overview(-ranges)? \.release_series_support_status$",
    # RabbitMQ 4 does not export these.
    r"^definitions \.exchanges\[\]\.internal$",
    r"^vhost-definitions \.exchanges\[\]\.internal$",
    r"^vhost-definitions \.(parameters|policies)\[\]\.vhost$",
    # What it is set to, and by whom.
    r"^definitions \.global_parameters\[\]\.value$",
    # The listener between nodes has no place where there is one node.
    r"^health-(port|protocol)-listener-missing \.(ports|protocols)\[\]$",
]

# RabbitMQ itself has the numbers of a quorum queue only some time after the others.
LATE = [r"^(queue-quorum|queues|page-of-queues) "]

# What may be null although it was not when the answers were recorded.
NULLABLE = [
    # RabbitMQ's list of connections has null here too, its single connection "".
    r"\.(ssl_\w+|peer_cert_\w+)$",
    # They come and go with messages and consumers.
    r"\.head_message_timestamp$",
]

# Objects whose keys are names: those of nodes.
FREE = [r"\.(cluster_state|open_files)$"]


@pytest.fixture(scope="module")
def topology(server):
    """The topology with its clients, and the names in it that differ from broker to broker."""
    with Topology(server.broker, server.api) as made:
        yield made


@pytest.mark.parametrize("name", ENDPOINTS)
def test_shape(server, topology, name):
    recorded = json.loads((DIRECTORY / f"{name}.json").read_text())
    answer = eventually(lambda: sampled(ask(topology, name)), "samples are taken", 20, 0.2)
    assert answer.status == recorded["status"], answer
    expected = Expected(LEFT_OUT + server.either([], LATE), NULLABLE, FREE)
    found = expected.differences(recorded["answer"], answer.json, f"{name} ")
    assert not found, "\n".join(found)


def sampled(answer):
    """The answer; none as long as it has lists of samples without any in them."""
    return None if b'"samples":[]' in answer.body else answer


def test_every_recorded_answer_is_compared():
    assert sorted(path.stem for path in DIRECTORY.glob("*.json")) == sorted(ENDPOINTS)


RECORDED = {"a": 1, "b": [{"c": "x", "d": None}, {"c": "y", "e": True}], "f": {"node": "up"}, "g": []}
FAULTS = {
    "nothing": ({"a": 2.5, "b": [{"c": "", "d": 7, "e": False}], "f": {"other": "down"}, "g": [1], "more": 1}, []),
    "a missing key": ({"b": RECORDED["b"], "f": RECORDED["f"], "g": []}, [".a: missing"]),
    "a string for a number": (RECORDED | {"a": "1"}, [".a: string instead of number"]),
    "a boolean for a number": (RECORDED | {"a": True}, [".a: boolean instead of number"]),
    "null for a number": (RECORDED | {"a": None}, [".a: null instead of number"]),
    "an object for a list": (RECORDED | {"b": {}}, [".b: object instead of array"]),
    "an empty list": (RECORDED | {"b": []}, [".b: empty"]),
    "a key no element has": (RECORDED | {"b": [{"c": "x", "d": 1}]}, [".b[].e: missing"]),
    "a key one element has not": (RECORDED | {"b": [{"d": 1, "e": True}, *RECORDED["b"]]}, [".b[].c: missing"]),
    "another type in one element": (RECORDED | {"b": [*RECORDED["b"], {"c": 1}]}, [".b[].c: number instead of string"]),
    "another type in a map": (RECORDED | {"f": {"node": 1}}, [".f[]: number instead of string"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_finds(fault):
    actual, differences = FAULTS[fault]
    assert Expected([], [], [r"\.f$"]).differences(RECORDED, actual) == differences
