"""A run of the comparison with made-up numbers."""

from peers.brokers import KINDS
from peers.measure import Pace
from peers.rounds import Contest
from peers.rows import ROWS

MACHINE = {
    "cpu": "Some <CPU> & more",
    "cores": 2,
    "memory_bytes": 16_000_000_000,
    "kernel": "Linux 6.1.0",
    "file_system": "ext4",
    "date": "2026-11-27",
    "commit": "0123456789",
    "load_average": 0.05,
}
SYNC_US = 250.0


def contest(numbers, smoke=False, rows=ROWS, kinds=KINDS):
    """One with the given numbers, `{(row, measure, contender): [one for each round]}`, and all else missing."""
    made = Contest(rows, kinds, Pace(10, 2, smoke), 3, None, MACHINE)
    made.values.update(numbers)
    made.syncs = [SYNC_US] * 3
    made.products = {"leveret": "Leveret 0.1.0", "rabbitmq": "RabbitMQ 3.10.8"}
    return made


def document(numbers=None, **options):
    """The document of such a run."""
    return contest(NUMBERS if numbers is None else numbers, **options).document()


def measure(of, row, name):
    """A measure of a document."""
    (found,) = (entry for entry in of["rows"] if entry["name"] == row)
    (found,) = (entry for entry in found["measures"] if entry["name"] == name)
    return found


NUMBERS = {
    ("transient", "per_cpu_second", "relay"): [14e6, 15e6, 13e6],
    ("transient", "per_cpu_second", "leveret"): [3.1e6, 3.5e6, 3.4e6],
    ("transient", "per_cpu_second", "rabbitmq"): [50e3, None, 52e3],
    ("transient", "cores", "leveret"): [0.9, 0.9, 0.9],
    ("transient", "cores", "rabbitmq"): [1.1, 1.1, 1.1],
    ("persistent", "rate", "leveret"): [100e3, 100e3, 100e3],
    ("persistent", "rate", "rabbitmq"): [None, None, None],
    ("latency", "p50", "relay"): [22.0, 22.0, 22.0],
    ("latency", "p50", "leveret"): [44.0, 43.0, 48.0],
    ("latency", "p50", "rabbitmq"): [190.0, 176.0, 200.0],
    ("start", "idle", "leveret"): [9e6, 9e6, 9e6],
    ("start", "idle", "rabbitmq"): [134e6, 134e6, 134e6],
    ("start", "idle", "lavinmq"): [14e6, 14e6, 14e6],
    ("queues", "declare", "leveret"): [3000.0, 2900.0, 2800.0],
    ("queues", "declare", "rabbitmq"): [2000.0, 2000.0, 2000.0],
}
