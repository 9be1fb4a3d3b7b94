"""Lists: pages, names, columns and order."""

import pytest

from management.test_topology import missing, refusal

COUNT = 12


@pytest.fixture(scope="module")
def queues(api, vhost):
    """Twelve queues, the odd ones durable, each with a limit of its own."""
    names = [f"q{number:02}" for number in range(COUNT)]
    for number, name in enumerate(names):
        body = {"durable": number % 2 == 1, "arguments": {"x-max-length": (number * 5) % COUNT}}
        api.done("PUT", "queues", vhost, name, body=body)
    return names


@pytest.fixture
def page(api, vhost, queues):
    """A page of the queues: the object and the names in it."""

    def read(**query):
        found = api.read("queues", vhost, **query)
        assert set(found) == {"filtered_count", "item_count", "items", "page", "page_count", "page_size", "total_count"}
        assert found["item_count"] == len(found["items"])
        assert found["total_count"] == COUNT
        return found, [item["name"] for item in found["items"]]

    return read


PAGES = {
    "the first of one": ({"page": 1}, (12, 1, 100), slice(0, 12)),
    "the second of three": ({"page": 2, "page_size": 5}, (12, 3, 5), slice(5, 10)),
    "the last of three": ({"page": 3, "page_size": 5}, (12, 3, 5), slice(10, 12)),
    "exactly full": ({"page": 2, "page_size": 6}, (12, 2, 6), slice(6, 12)),
    "the largest": ({"page": 1, "page_size": 500}, (12, 1, 500), slice(0, 12)),
    "of some names": ({"page": 1, "page_size": 3, "name": "q0"}, (10, 4, 3), slice(0, 3)),
    "whatever the letters' case": ({"page": 1, "name": "Q1"}, (2, 1, 100), slice(10, 12)),
    "by a pattern": ({"page": 1, "name": "^q0[1-3]$", "use_regex": "true"}, (3, 1, 100), slice(1, 4)),
    "by a pattern that is a name": ({"page": 1, "name": "q.1", "use_regex": "false"}, (0, None, 100), slice(0, 0)),
    "by an empty name": ({"page": 1, "name": "", "use_regex": "true"}, (12, 1, 100), slice(0, 12)),
    "as KEDA asks": ({"page": 1, "use_regex": "true", "pagination": "true", "name": "^q1", "page_size": 9}, (2, 1, 9), slice(10, 12)),
    "none": ({"page": 1, "name": "nothing"}, (0, None, 100), slice(0, 0)),
}


@pytest.mark.parametrize("case", PAGES)
def test_pages(page, queues, case):
    query, (filtered, pages, size), names = PAGES[case]
    found, named = page(**query, sort="name")
    assert named == queues[names]
    assert (found["filtered_count"], found["page"], found["page_size"]) == (filtered, query["page"], size)
    # Whether nothing has a page is not agreed upon.
    assert found["page_count"] == pages if pages else found["page_count"] in (0, 1)


WRONG_PAGES = {
    "no number": {"page": "a"},
    "nothing": {"page": ""},
    "zero": {"page": 0},
    "negative": {"page": -1},
    "a fraction": {"page": 1.5},
    "no size": {"page": 1, "page_size": "b"},
    "size zero": {"page": 1, "page_size": 0},
    "too large": {"page": 1, "page_size": 501},
    "beyond numbers": {"page": 10**40},
    "no pattern": {"page": 1, "name": "(", "use_regex": "true"},
}


@pytest.mark.parametrize("case", WRONG_PAGES)
def test_wrong_pages(api, vhost, queues, case):
    answer = api.get("queues", vhost, query=WRONG_PAGES[case])
    assert answer.status == 400, answer
    assert set(answer.json) == {"error", "reason"}


def test_pages_that_are_not_there(api, vhost, queues):
    answer = api.get("queues", vhost, query={"page": 4, "page_size": 5})
    refusal(answer, 400, "page_out_of_range", "Page out of range, page: 4 page size: 5, len: 12")
    answer = api.get("queues", vhost, query={"page": 2, "name": "nothing"})
    refusal(answer, 400, "page_out_of_range", "page: 2 page size: 100, len: 0")


def test_without_a_page_it_is_all_of_them(api, vhost, queues):
    for query in ({}, {"page_size": 5}, {"name": "q01"}, {"name": "q01", "use_regex": "true"}):
        assert [item["name"] for item in api.read("queues", vhost, **query)] == queues


@pytest.mark.parametrize("path", ["queues", "exchanges", "connections", "channels", "vhosts"])
def test_what_has_pages(api, queues, path):
    found = api.read(path, page=1, page_size=1)
    assert found["page"] == 1 and len(found["items"]) <= 1


@pytest.mark.parametrize("path", ["bindings", "consumers", "users", "permissions", "policies", "nodes", "parameters"])
def test_what_has_none(api, queues, path):
    assert isinstance(api.read(path, page=1, page_size=1), list)


def test_columns(api, vhost, queues):
    assert api.read("queues", vhost, columns="name") == [{"name": name} for name in queues]
    first = api.read("queues", vhost, columns="name,arguments.x-max-length,nothing,durable", sort="name")[0]
    assert first == {"name": "q00", "arguments": {"x-max-length": 0}, "durable": False}
    found = api.read("queues", vhost, page=1, page_size=2, columns="vhost,name", sort="name")
    assert found["items"] == [{"name": name, "vhost": vhost} for name in queues[:2]]
    assert api.read("queues", vhost, queues[1], columns="name,durable") == {"name": queues[1], "durable": True}
    assert api.read("vhosts", vhost, columns="name") == {"name": vhost}
    assert set(api.read("overview", columns="node,object_totals.queues")) == {"node", "object_totals"}
    protocols = api.read("overview", columns="listeners.protocol")["listeners"]
    assert {"protocol": "amqp"} in protocols and all(set(listener) == {"protocol"} for listener in protocols)


ORDERS = {
    "by name": ([("sort", "name")], lambda number: number),
    "the other way": ([("sort", "name"), ("sort_reverse", "true")], lambda number: -number),
    "not the other way": ([("sort", "name"), ("sort_reverse", "false")], lambda number: number),
    "by an argument": ([("sort", "arguments.x-max-length")], lambda number: (number * 5) % COUNT),
    "by two": ([("sort", "durable"), ("sort", "name")], lambda number: (number % 2, number)),
    "by what is not there": ([("sort", "nothing")], lambda number: number),
}


@pytest.mark.parametrize("case", ORDERS)
def test_order(api, vhost, queues, case):
    query, key = ORDERS[case]
    expected = [queues[number] for number in sorted(range(COUNT), key=key)]
    answer = api.get("queues", vhost, query=[*query, ("columns", "name,arguments,durable")])
    assert [item["name"] for item in answer.json] == expected
    # Pages are cut from what is sorted.
    answer = api.get("queues", vhost, query=[*query, ("page", 2), ("page_size", 5)])
    assert [item["name"] for item in answer.json["items"]] == expected[5:10]


def test_numbers_are_sorted_as_numbers(api, vhost, queues):
    limits = [item["arguments"]["x-max-length"] for item in api.read("queues", vhost, sort="arguments.x-max-length")]
    assert limits == sorted(limits)


def test_lists_without_statistics_have_totals(opened, api, vhost, queues):
    channel = opened(vhost).channel()
    channel.confirm_delivery()
    channel.basic_publish("", queues[3], b"x")
    quick = {"disable_stats": "true", "enable_queue_totals": "true"}
    found = {item["name"]: item for item in api.read("queues", vhost, **quick)}
    assert list(found) == queues
    assert (found["q03"]["messages"], found["q03"]["messages_ready"], found["q04"]["messages"]) == (1, 1, 0)
    assert found["q03"]["messages_unacknowledged"] == 0
    assert "message_stats" not in found["q03"]
    page = api.read("queues", vhost, page=1, page_size=4, **quick)
    assert [item["messages"] for item in page["items"]] == [0, 0, 0, 1]


def test_of_all_vhosts_and_of_one(api, vhost, queues):
    everywhere = [(item["vhost"], item["name"]) for item in api.read("queues", columns="vhost,name")]
    assert {(vhost, name) for name in queues} <= set(everywhere)
    assert all(item["vhost"] == vhost for item in api.read("exchanges", vhost))
    for path in ("queues", "exchanges", "bindings", "consumers", "policies"):
        missing(api.get(path, "no vhost"))
    for path in ("connections", "channels", "permissions"):
        missing(api.get("vhosts", "no vhost", path))
