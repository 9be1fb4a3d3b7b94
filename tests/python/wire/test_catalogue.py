"""Runs the wire catalogue.

    pytest tests/python/wire -n 4                       against a Leveret of our own
    LEVERET_TEST_URL=amqp://guest:guest@127.0.0.1:5672  against a broker that runs (a RabbitMQ is recognised)
    WIRE_SPLIT=1                                        every byte in a segment of its own
    WIRE_LATER=1                                        also the rows of features that come later

After each row a connection that was there before and a new one must still work: nothing a client sends may
hurt another one.
"""

from __future__ import annotations

import os

import pytest

from .catalogue import ROWS
from .conftest import Fleet
from .conversation import Canary, Conversation
from .row import Row

LATER = os.environ.get("WIRE_LATER") == "1"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(row: Row, fleet: Fleet) -> None:
    """The broker answers as the catalogue says, and others do not notice."""
    oracle = fleet.given is not None and fleet.given.rabbitmq
    if row.later and not (row.steps and (oracle or LATER)):
        pytest.skip(f"later: {row.later}")
    target, canary = fleet.get(row.needs)
    if target.rabbitmq and row.unchecked():
        pytest.skip(f"RabbitMQ: {row.unchecked()}")
    talk = Conversation(target, row.options)
    try:
        row.run(talk)
    except Exception:
        print("\n".join((target.log or [])[-12:]))
        raise
    finally:
        talk.drop()
        leave_as_found(fleet, canary, row)


def leave_as_found(fleet: Fleet, canary: Canary, row: Row) -> None:
    """Others do not notice, and what the row declared is gone."""
    try:
        canary.remove(row.leaves)
        canary.check()
    except Exception:
        fleet.replace(canary)
        raise


def test_every_row_is_covered() -> None:
    """W1 to W170 each have at least one case, and no two cases share a name."""
    assert {row.number for row in ROWS} == set(range(1, 171))
    names = [row.id for row in ROWS]
    assert len(names) == len(set(names))
