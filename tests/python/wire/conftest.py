"""Fixtures: the broker that all rows share, brokers with settings of their own, and the canary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .broker_process import OwnBroker, Target, running_target
from .conversation import Canary
from .row import Needs


class Fleet:
    """The brokers of one test process, each with its canary."""

    def __init__(self, given: Target | None) -> None:
        self.given = given
        self.own: dict[str, OwnBroker] = {}
        self.canaries: dict[str, Canary] = {}
        self.fresh = 0

    def get(self, needs: Needs) -> tuple[Target, Canary]:
        """The broker for a row, started when it is the first to need it."""
        if self.given is not None:
            if not self.given.rabbitmq and not needs.shared:
                pytest.skip("needs a broker with settings of its own")
            if needs.host != Needs().host:
                pytest.skip("needs another listening address")
            return self.given, self.canary("given", self.given)
        key = needs.key
        if needs.fresh:
            self.fresh += 1
            key += f" {self.fresh}"
        if key in self.own and not self.own[key].running():
            del self.own[key]
            self.canaries.pop(key, None)
        if key not in self.own:
            self.own[key] = OwnBroker(needs.settings, needs.host)
        return self.own[key].target, self.canary(key, self.own[key].target)

    def canary(self, key: str, target: Target) -> Canary:
        """The broker's canary."""
        if key not in self.canaries:
            self.canaries[key] = Canary(target)
        return self.canaries[key]

    def replace(self, lost: Canary) -> None:
        """A canary that fails is not used again, so that one bad row fails alone."""
        self.canaries = {key: canary for key, canary in self.canaries.items() if canary is not lost}

    def stop(self) -> dict[str, int]:
        """End all of them; returns the exit codes."""
        for canary in self.canaries.values():
            canary.bye()
        return {key: broker.stop() for key, broker in self.own.items()}


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The brokers of this process; each must end in order."""
    brokers = Fleet(running_target())
    yield brokers
    codes = brokers.stop()
    assert not any(codes.values()), f"brokers ended with {codes}"
