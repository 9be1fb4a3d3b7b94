"""Records RabbitMQ's answers for the comparison of shapes. By hand, from tests/python:

    LEVERET_TEST_URL=amqp://guest:guest@127.0.0.1:5672 LEVERET_TEST_MANAGEMENT=http://guest:guest@127.0.0.1:15672 \
        ../../target/test-venv/bin/python -m management.record

What is of that machine and that moment is taken out: only shapes are compared.
"""

import json
import re

from management.endpoints import ENDPOINTS, ask
from management.shape import condensed
from management.topology import VHOST, Topology
from support.broker import ROOT, running_broker
from support.management import running_api

DIRECTORY = ROOT / "tests" / "data" / "management"

MASKS = [
    (r"127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+", "127.0.0.1:50000 -> 127.0.0.1:5672"),
    (r"[\w.-]+@[\w.-]+", "rabbit@host"),
    (r"^\d{4}-\d\d-\d\dT[\d:.]+.*$", "2026-01-01T00:00:00.000+00:00"),
    (r"^[A-Za-z0-9+/]{48}$", "a hash"),
    (r"^ctag.*$", "tag"),
    (r"^/\w+/.*$", "/a/path"),
    (VHOST, "shapes"),
    (r"^\d+$", "0"),
    (r"^Python [\d.]+$", "Python"),
    (r"^Erlang/OTP.*$", "Erlang/OTP"),
    (r"^rabbitmq-cluster-id-.*$", "rabbitmq-cluster-id"),
]


def masked(value):
    """A value without what differs from run to run."""
    if isinstance(value, dict):
        return {masked(key): masked(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [masked(element) for element in value]
    if isinstance(value, str):
        for pattern, text in MASKS:
            value = re.sub(pattern, text, value)
    return type(value)(0) if isinstance(value, int | float) and not isinstance(value, bool) else value


def main():
    """Writes a file for each endpoint."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with running_api() as api, Topology(running_broker(), api) as topology:
        for name in ENDPOINTS:
            answer = ask(topology, name)
            record = {"status": answer.status, "answer": condensed(masked(answer.json))}
            (DIRECTORY / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            print(name, answer.status)


if __name__ == "__main__":
    main()
