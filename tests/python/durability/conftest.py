"""Fixtures: brokers on a directory that stays."""

import pytest

from support.broker import Leveret


@pytest.fixture
def directory(tmp_path):
    """A data directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def on(directory):
    """Starts a Leveret on the directory: `on({"storage.sync": "never"})`. Whatever still runs in the end is killed.

    It does not wait long for clients to take leave: those of these tests do not listen.
    """
    started = []

    def start(settings=None, wrapper=()):
        instance = Leveret({"shutdown.grace": "100ms"} | (settings or {}), data_dir=directory, wrapper=wrapper)
        started.append(instance)
        instance.start()
        return instance

    yield start
    for instance in started:
        if instance.running():
            instance.kill()
