"""The plots of a run, and the script that writes them and the document."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from peers import page, plots, results
from peers.axis import Axis

from .sample import NUMBERS, document, measure

SCRIPT = Path(__file__).resolve().parents[2] / "plot.py"
SVG = "{http://www.w3.org/2000/svg}"
PAGE = f"# A page\n\nbefore\n\n{page.BEGIN}\nold text\n{page.END}\n\nafter\n"


@pytest.fixture
def place(tmp_path):
    """A directory with the result of a run and a document."""
    results.write(document(), tmp_path / "results.json")
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def draw(place, *options):
    """Runs the script there."""
    words = [sys.executable, "-B", SCRIPT, place / "results.json", "--out", place / "plots", "--document", place / "page.md"]
    return subprocess.run([*words, *options], capture_output=True, text=True, timeout=30)


def texts(svg):
    """All that is written in a picture."""
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def marks(svg, contender):
    """Where the points of a contender are: across and down."""
    found = []
    for element in ET.fromstring(svg).iter():
        if element.get("class") == f"mark {contender}":
            if element.tag == f"{SVG}circle":
                found.append((float(element.get("cx")), float(element.get("cy"))))
            else:
                corners = [tuple(map(float, corner.split(","))) for corner in element.get("points").split()]
                found.append(tuple(sum(along) / len(corners) for along in zip(*corners)))
    return found


def test_the_script_writes_a_picture_for_all_that_was_measured(place):
    done = draw(place)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.name: path.read_text() for path in (place / "plots").iterdir()}
    assert written == plots.files(document())
    assert set(written) == {"cpu.svg", "rate.svg", "latency.svg", "memory.svg", "operations.svg"}
    assert (place / "page.md").read_text() == PAGE


def test_a_second_time_writes_the_same_and_removes_what_is_not_measured_any_more(place):
    draw(place)
    (place / "plots" / "start.svg").write_text("old")
    (place / "plots" / "other.svg").write_text("somebody else's")
    before = (place / "plots" / "cpu.svg").read_bytes()
    assert draw(place).returncode == 0
    assert (place / "plots" / "cpu.svg").read_bytes() == before
    assert not (place / "plots" / "start.svg").exists()
    assert (place / "plots" / "other.svg").exists()


def test_a_picture_has_labels_values_and_where_they_lie():
    svg = plots.files(document())["cpu.svg"]
    told = texts(svg)
    for text in ("Leveret 0.1.0", "RabbitMQ 3.10.8", "the relay", "16 B transient, auto-ack", "3.4 M", "51 k", "14 M"):
        assert text in told
    assert "more is better, logarithmic scale" in told
    # Below the legend's.
    (leveret, rabbitmq, relay) = (marks(svg, name)[1] for name in ("leveret", "rabbitmq", "relay"))
    assert rabbitmq[0] < leveret[0] < relay[0]
    assert leveret[1] < rabbitmq[1] < relay[1]


def test_a_broker_without_a_number_is_left_out_of_a_line():
    svg = plots.files(document())["rate.svg"]
    assert marks(svg, "rabbitmq") == [] and len(marks(svg, "leveret")) == 2
    assert "RabbitMQ 3.10.8" not in texts(svg)


def test_names_from_outside_do_not_break_a_picture():
    strange = document()
    strange["brokers"]["rabbitmq"]["product"] = 'A & B <"x">'
    assert 'A & B <"x">' in texts(plots.files(strange)["cpu.svg"])


def test_every_entry_of_a_plot_is_a_measure_and_all_in_one_plot_are_alike():
    for plot in plots.PLOTS:
        found = [measure(document(), row, name) for row, name, _ in plot.entries]
        assert len({entry["better"] for entry in found}) == 1, plot.file
        assert len({entry["unit"] for entry in found}) == 1, plot.file


def test_nothing_measured_is_no_picture():
    assert plots.files(document({})) == {}
    assert plots.files(document({("start", "idle", "leveret"): [0.0, None, 0.0]})) == {}


def test_far_values_lie_on_a_logarithmic_axis():
    axis = Axis([20.0, 90_000.0], 100, 500)
    assert axis.logarithmic
    assert axis.ticks() == pytest.approx([10, 100, 1000, 10_000, 100_000])
    across = [axis.at(value) for value in (10, 100, 1000, 10_000, 100_000)]
    assert across == pytest.approx([100, 200, 300, 400, 500])


def test_a_short_logarithmic_axis_has_ticks_between_the_powers_of_ten():
    assert Axis([120.0, 2500.0], 100, 500).ticks() == pytest.approx([100, 200, 500, 1000, 2000])


def test_near_values_lie_on_a_linear_axis_from_zero():
    axis = Axis([20.0, 48.0], 100, 500)
    assert not axis.logarithmic
    assert axis.ticks() == [0, 10, 20, 30, 40, 50]
    assert [axis.at(value) for value in (0, 25, 50, 60)] == pytest.approx([100, 300, 500, 500])


@pytest.mark.parametrize("value", [1e-6, 0.3, 1.0, 7.0, 123_456.0])
def test_every_axis_holds_its_values_and_has_ticks(value):
    for values in ([value], [value, value * 1.5], [value, value * 1e5]):
        axis = Axis(values, 0, 100)
        assert axis.low <= values[0] and values[-1] <= axis.high * (1 + 1e-9)
        assert 2 <= len(axis.ticks()) <= 8
        assert all(0 <= axis.at(tick) <= 100 for tick in axis.ticks())


def test_the_table_goes_between_the_marks_and_the_rest_stays(place):
    assert draw(place, "--table").returncode == 0
    text = (place / "page.md").read_text()
    assert text.startswith(f"# A page\n\nbefore\n\n{page.BEGIN}\n") and text.endswith(f"{page.END}\n\nafter\n")
    assert "old text" not in text
    assert "| 3.4 M | 51 k | 66.7x |" in text
    assert set(re.findall(r"\]\(plots/(\w+\.svg)\)", text)) == {path.name for path in (place / "plots").iterdir()}
    assert "`leveret perf latency --size 16 --rate 1000`" in text
    assert "smoke" not in text
    assert draw(place, "--table").returncode == 0
    assert (place / "page.md").read_text() == text


def test_a_smoke_run_and_problems_are_told(place):
    smoke = document(smoke=True)
    smoke["notes"].append({"round": 2, "row": "topic", "broker": "rabbitmq", "text": "3 messages did not come"})
    results.write(smoke, place / "results.json")
    assert draw(place, "--table").returncode == 0
    text = (place / "page.md").read_text()
    assert "smoke run" in text
    assert "- rabbitmq, topic, round 2: 3 messages did not come\n" in text


@pytest.mark.parametrize("text", ["", page.BEGIN, f"{page.END}\n{page.BEGIN}", PAGE + PAGE])
def test_a_document_without_its_marks_is_left_alone(place, text):
    (place / "page.md").write_text(text)
    done = draw(place, "--table")
    assert done.returncode == 1
    assert done.stderr.startswith("plot.py: ") and "page.md" in done.stderr
    assert (place / "page.md").read_text() == text


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_result_that_is_none_is_refused(place, text):
    (place / "results.json").unlink()
    if text is not None:
        (place / "results.json").write_text(text)
    done = draw(place)
    assert done.returncode == 1 and "results.json" in done.stderr
    assert not (place / "plots").exists()


def test_numbers_of_the_sample_are_of_rows_that_there_are():
    for row, name, _ in NUMBERS:
        measure(document(), row, name)
