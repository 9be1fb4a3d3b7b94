"""What a busy management API costs: how runs are compared, and that one round goes through."""

import contextlib
import http.client
import json
import subprocess

import pytest
from peers.busy import KINDS, PATHS, ask, asking, report

from support.broker import ROOT, Leveret, binary
from support.deadline import eventually


def test_each_run_is_compared_with_the_quiet_one_of_its_round():
    def run(rate):
        return {"rate": rate, "processor": 1.0, "requests": 0}

    runs = {"quiet": [run(100), run(200), run(50)], "asked": [run(98), run(198), run(25)]}
    found = report(runs)
    assert found["quiet"]["of_quiet"] == 1
    # The medians of both are not those of one round.
    assert (found["asked"]["rate"], found["asked"]["of_quiet"]) == (98, 0.98)


@pytest.mark.own_broker
def test_a_request_that_fails_is_told(on):
    port = on().port_of("http")
    with asking(port, 1000) as answered:
        eventually(lambda: answered[0] >= len(PATHS), "everything was asked for")
    with pytest.raises(RuntimeError, match="404"):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as api:
            ask(api, "/api/nothing")


@pytest.mark.own_broker
@pytest.mark.timeout(180)
def test_one_round_goes_through():
    words = ["--rounds", "1", "--seconds", "0.3", "--queues", "5", "--rate", "50", "--json"]
    environment = Leveret.environment() | {"LEVERET_BIN": str(binary())}
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "busy-api.sh"), *words], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    medians = json.loads(done.stdout)["medians"]
    assert list(medians) == list(KINDS)
    assert medians["quiet"]["requests"] == 0 < medians["asked"]["requests"]
    assert all(row["rate"] > 0 for row in medians.values())
