"""What is made of the numbers of a run: medians, ratios, multiples, targets, tables."""

import pytest
from peers import results, table
from peers.numbers import number, times
from peers.process import Failed
from peers.rows import ROWS, at, quotient

from .sample import NUMBERS, contest, document, measure


def test_medians_are_over_the_rounds_that_have_a_number():
    found = measure(document(), "transient", "per_cpu_second")
    assert found["medians"] == {"leveret": 3.4e6, "rabbitmq": 51e3, "relay": 14e6}
    assert found["results"]["rabbitmq"] == [50e3, None, 52e3]
    assert measure(document(), "persistent", "rate")["medians"] == {"leveret": 100e3, "rabbitmq": None}


@pytest.mark.parametrize(
    ("row", "name", "ratio"),
    [("transient", "per_cpu_second", 3.4e6 / 51e3), ("latency", "p50", 190 / 44), ("persistent", "rate", None)],
)
def test_a_ratio_says_how_many_times_better_leveret_is(row, name, ratio):
    assert measure(document(), row, name)["ratios"] == {"rabbitmq": ratio}


def test_what_is_neither_better_nor_worse_has_no_ratio():
    assert measure(document(), "transient", "cores")["ratios"] == {}


@pytest.mark.parametrize(("row", "name", "multiple"), [("transient", "per_cpu_second", 14 / 3.4), ("latency", "p50", 2)])
def test_a_multiple_says_how_much_more_than_the_relay_it_is(row, name, multiple):
    assert measure(document(), row, name)["relay_multiple"] == pytest.approx(multiple)


def test_a_rate_that_waits_for_the_disk_is_told_in_syncs():
    # 100 in flight at 100,000/s take 1 ms, and a sync takes a quarter of it.
    assert measure(document(), "persistent", "rate")["sync_multiple"] == pytest.approx(4)
    assert measure(document(), "latency", "p50")["sync_multiple"] is None


@pytest.mark.parametrize(
    ("key", "values", "met"),
    [
        (("start", "idle", "leveret"), [10e6, 10e6, 10e6], True),
        (("start", "idle", "leveret"), [11e6, 11e6, 9e6], False),
        (("queues", "declare", "leveret"), [3000.0, 3000.0, 1.0], True),
        (("queues", "declare", "leveret"), [2999.0, 2999.0, 9000.0], False),
        (("transient", "per_cpu_second", "leveret"), [2.9e6, 2.9e6, 2.9e6], False),
        (("transient", "per_cpu_second", "relay"), [18e6, 18e6, 18e6], False),
        (("transient", "per_cpu_second", "relay"), [17e6, 17e6, 17e6], True),
        (("transient", "per_cpu_second", "relay"), [None, None, None], None),
        (("transient", "per_cpu_second", "leveret"), [None, None, None], None),
        (("transient", "rate", "leveret"), [1.0, 1.0, 1.0], None),
    ],
)
def test_a_target_is_met_by_the_median_and_within_the_relays_limit(key, values, met):
    row, name, _ = key
    assert measure(document({**NUMBERS, key: values}), row, name)["met"] is met


def test_a_document_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "deeper" / "results.json"
    results.write(document(), path)
    assert results.read(path) == document()
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 0}', "no JSON"])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        results.read(path)


def test_a_run_that_measured_nothing_says_so():
    assert contest(NUMBERS).measured()
    assert not contest({("start", "idle", "leveret"): [None]}).measured()


def line(text, *starts):
    """The cells of the first line of a table whose first cells are these."""
    for entry in text.splitlines():
        cells = [cell.strip() for cell in entry.strip("|").split("|")]
        if tuple(cells[: len(starts)]) == starts:
            return cells
    raise AssertionError(f"no {starts} in\n{text}")


def test_the_table_has_all_that_is_known_of_a_measure():
    text = table.markdown(document())
    assert line(text, "work")[2:] == [
        *("Leveret 0.1.0", "RabbitMQ 3.10.8", "ratio", "LavinMQ", "ratio"),
        *("relay; multiple", "of a sync", "target", "met"),
    ]
    first = line(text, "16 B transient, auto-ack, 1 publisher, 1 consumer")
    assert first[1:] == ["messages per CPU s", "3.4 M", "51 k", "66.7x", "–", "", "14 M; 4.12x", "", "3 M; 5x relay", "yes"]
    assert line(text, "", "messages/s")[2:4] == ["–", "–"]
    waiting = [cells for cells in map(str.strip, text.splitlines()) if "200 k" in cells]
    assert len(waiting) == 1 and "| 4x | 200 k | no |" in waiting[0]


def test_what_is_told_beside_has_a_table_of_its_own_without_empty_columns():
    aside = table.markdown(document(), aside=True)
    assert "cores that the broker used" in aside and "target" not in aside
    assert "cores that the broker used" not in table.markdown(document())


def test_a_table_for_a_terminal_has_equally_long_lines():
    assert len({len(entry) for entry in table.markdown(document(), aligned=True).splitlines()}) == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "/s", "–"),
        (0, "/s", "0"),
        (7.0, "/s", "7"),
        (0.0123, "", "0.0123"),
        (999.4, "/s", "999"),
        (999.9, "/s", "1 k"),
        (1234.0, "/s", "1.23 k"),
        (749_000.0, "/s", "749 k"),
        (14e6, "/ CPU s", "14 M"),
        (64e6, "B", "64 MB"),
        (512, "B", "512 B"),
        (45.0, "us", "45 us"),
        (1500.0, "us", "1.5 ms"),
        (0.015, "s", "15 ms"),
        (9.6, "s", "9.6 s"),
    ],
)
def test_numbers_have_three_digits_and_a_unit(value, unit, text):
    assert number(value, unit) == text


def test_ratios_have_three_digits():
    assert [times(value) for value in (None, 0.5, 1, 66.66, 1234.5)] == ["–", "0.5x", "1x", "66.7x", "1234x"]


def test_a_result_is_read_by_names():
    result = {"a": {"b": 4, "none": None, "zero": 0}, "seconds": 2}
    assert at("a.b")(result) == 4
    assert at("a.none")(result) is None
    assert at("a.none.deeper")(result) is None
    assert quotient("a.b", "seconds")(result) == 2
    assert quotient("a.b", "a.zero")(result) is None
    assert quotient("a.none", "seconds")(result) is None
    with pytest.raises(Failed, match="no a.c"):
        at("a.c")(result)


def test_rows_and_their_measures_have_names_of_their_own():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        measures = [measure.name for measure in row.measures]
        assert len(set(measures)) == len(measures), row.name
        assert (row.relay is not None) == any(measure.relay for measure in row.measures), row.name


def test_the_conditions_of_a_run_are_told():
    text = table.conditions(document())
    for part in ("2026-11-27, commit 0123456789", "Some <CPU> & more with 2 cores", "ext4", "of 250 us", "of 3 rounds of 10 s"):
        assert part in text
