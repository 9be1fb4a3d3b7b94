"""Users, their permissions and limits, and vhosts."""

import uuid

import pytest

from management.test_topology import missing, refusal

# Of the password "test12".
HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
SHA256 = "rabbit_password_hashing_sha256"
FULL = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture
def new_user(api):
    """A name that no user has; the user is gone after the test."""
    name = f"user.{uuid.uuid4().hex[:8]}"
    yield name
    api.delete("users", name)


@pytest.fixture
def new_vhost(api):
    """A name that no vhost has; the vhost is gone after the test."""
    name = f"vhost/{uuid.uuid4().hex[:8]}"
    yield name
    api.delete("vhosts", name)


def test_a_user_comes_changes_and_goes(api, new_user):
    path = ("users", new_user)
    missing(api.get(*path))
    assert api.put(*path, body={"password": "secret", "tags": "management"}).status == 201
    assert api.by(new_user, "secret").read("whoami")["tags"] == ["management"]
    assert api.put(*path, body={"password": "other", "tags": ["monitoring", "mine"]}).status == 204
    found = api.read(*path)
    assert (found["name"], found["tags"], found["limits"]) == (new_user, ["monitoring", "mine"], {})
    assert found["password_hash"] and "other" not in found["password_hash"]
    assert found in api.read("users")
    assert api.by(new_user, "secret").get("whoami").status == 401
    assert api.by(new_user, "other").read("whoami")["name"] == new_user
    # Without a password nobody logs in by one.
    assert api.put(*path, body={"tags": "management"}).status == 204
    assert api.by(new_user, "other").get("whoami").status == 401
    assert api.by(new_user, "").get("whoami").status == 401
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)


def test_a_hash_of_another_broker(api, new_user):
    body = {"password_hash": HASH, "hashing_algorithm": SHA256, "tags": "management"}
    assert api.put("users", new_user, body=body).status == 201
    found = api.read("users", new_user)
    assert (found["password_hash"], found["hashing_algorithm"]) == (HASH, SHA256)
    assert api.by(new_user, "test12").read("whoami")["name"] == new_user
    assert api.by(new_user, "test13").get("whoami").status == 401


WRONG_USERS = {
    "no tags": ({"password": "p"}, "tags"),
    "two passwords": ({"password": "p", "password_hash": HASH, "tags": ""}, "both_password_and_password_hash_are_provided"),
    "no hash": ({"password_hash": "bad", "tags": ""}, ""),
}


@pytest.mark.parametrize("fault", WRONG_USERS)
def test_wrong_users(api, new_user, fault):
    body, word = WRONG_USERS[fault]
    refusal(api.put("users", new_user, body=body), 400, "bad_request", word)
    missing(api.get("users", new_user))


@pytest.mark.own_broker
@pytest.mark.parametrize("body", [{"password": 5, "tags": ""}, {"password": "p", "tags": 7}, {"password": "p", "tags": [1]}])
def test_wrong_types_in_users(api, new_user, body):
    # RabbitMQ 3.10 answers 500.
    assert api.put("users", new_user, body=body).status == 400
    missing(api.get("users", new_user))


@pytest.mark.parametrize(("tags", "expected"), [("", []), ("a, b", ["a", "b"]), ("a,b", ["a", "b"]), ([], []), (["x"], ["x"])])
def test_tags(api, new_user, tags, expected):
    api.done("PUT", "users", new_user, body={"password": "p", "tags": tags})
    assert api.read("users", new_user)["tags"] == expected


def test_many_users_go_at_once(api):
    names = [f"bulk.{uuid.uuid4().hex[:8]}" for _ in range(3)]
    for name in names:
        api.done("PUT", "users", name, body={"password": "p", "tags": ""})
    unknown = {user["name"] for user in api.read("users", "without-permissions")}
    assert set(names) <= unknown and api.user not in unknown
    answer = api.post("users", "bulk-delete", body={"users": names})
    assert (answer.status, answer.body) == (204, b"")
    assert not {user["name"] for user in api.read("users")} & set(names)
    refusal(api.post("users", "bulk-delete", body={}), 400, "bad_request", "users")


def test_permissions(api, new_user, new_vhost):
    path = ("permissions", new_vhost, new_user)
    refusal(api.put(*path, body=FULL), 400, "bad_request")
    api.done("PUT", "vhosts", new_vhost, body={})
    api.done("PUT", "users", new_user, body={"password": "p", "tags": ""})
    missing(api.get(*path))
    missing(api.delete(*path))
    assert api.put(*path, body=FULL).status == 201
    assert api.put(*path, body=FULL | {"read": ""}).status == 204
    row = {"user": new_user, "vhost": new_vhost, "configure": ".*", "write": ".*", "read": ""}
    assert api.read(*path) == row
    for listed in (("permissions",), ("vhosts", new_vhost, "permissions"), ("users", new_user, "permissions")):
        assert row in api.read(*listed)
    assert {"read"} == {right for right in FULL if refused_without(api, path, right)} & {"read"}
    refusal(api.put(*path, body=FULL | {"write": "("}), 400, "bad_request")
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)


def refused_without(api, path, right):
    """Whether a permission without one right is refused and the right named."""
    body = {key: FULL[key] for key in FULL if key != right}
    refusal(api.put(*path, body=body), 400, "bad_request", right)
    return True


def test_who_makes_a_vhost_may_use_it(api, new_vhost):
    assert api.put("vhosts", new_vhost, body={}).status == 201
    assert api.read("permissions", new_vhost, api.user) == {"user": api.user, "vhost": new_vhost} | FULL
    assert api.put("permissions", new_vhost, api.user, body=FULL).status == 204


def test_topic_permissions(api, vhost, new_user):
    path = ("topic-permissions", vhost, new_user)
    api.done("PUT", "users", new_user, body={"password": "p", "tags": ""})
    missing(api.get(*path))
    missing(api.delete(*path))
    body = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    assert api.put(*path, body=body).status == 201
    assert api.put(*path, body=body | {"read": "^b"}).status == 204
    assert api.put(*path, body=body | {"exchange": "other"}).status in (201, 204)
    rows = [{"user": new_user, "vhost": vhost} | body | changed for changed in ({"read": "^b"}, {"exchange": "other"})]
    assert sorted(api.read(*path), key=lambda row: row["exchange"]) == rows
    for listed in (("topic-permissions",), ("vhosts", vhost, "topic-permissions"), ("users", new_user, "topic-permissions")):
        assert [row for row in api.read(*listed) if row["user"] == new_user and row["exchange"] == "other"] == rows[1:]
    for key in body:
        refusal(api.put(*path, body={other: body[other] for other in body if other != key}), 400, "bad_request", key)
    refusal(api.put(*path, body=body | {"read": "["}), 400, "bad_request")
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)


def test_a_vhost_comes_changes_and_goes(api, new_vhost):
    path = ("vhosts", new_vhost)
    missing(api.get(*path))
    assert api.put(*path, body={"description": "d", "tags": "a,b"}).status == 201
    found = api.read(*path)
    assert (found["name"], found["description"], found["tags"], found["tracing"]) == (new_vhost, "d", ["a", "b"], False)
    assert (found["metadata"]["description"], found["metadata"]["tags"]) == ("d", ["a", "b"])
    assert set(found["cluster_state"].values()) == {"running"}
    assert api.put(*path, body={"description": "e", "tags": ["c"], "tracing": True}).status == 204
    found = api.read(*path)
    assert (found["description"], found["tags"], found["tracing"]) == ("e", ["c"], True)
    assert new_vhost in [vhost["name"] for vhost in api.read("vhosts")]
    api.done("PUT", "queues", new_vhost, "q", body={})
    assert (api.delete(*path).status, api.delete(*path).status) == (204, 404)
    # Nothing of it comes back.
    api.done("PUT", *path, body={})
    assert api.read("queues", new_vhost) == []


def test_whoever_uses_a_vhost_that_goes_is_thrown_out(opened, api, new_vhost):
    api.done("PUT", "vhosts", new_vhost, body={})
    connection = opened(new_vhost)
    api.done("DELETE", "vhosts", new_vhost)
    with pytest.raises(Exception, match="320|530|541|CONNECTION_FORCED|closed|reset"):
        for _ in range(100):
            connection.process_data_events(0.1)


def test_limits_of_vhosts(api, new_vhost):
    missing(api.get("vhost-limits", new_vhost))
    api.done("PUT", "vhosts", new_vhost, body={})
    assert api.read("vhost-limits", new_vhost) == []
    for value in (5, 1):
        assert api.put("vhost-limits", new_vhost, "max-queues", body={"value": value}).status == 204
    assert api.put("vhost-limits", new_vhost, "max-connections", body={"value": 7}).status == 204
    row = {"vhost": new_vhost, "value": {"max-queues": 1, "max-connections": 7}}
    assert api.read("vhost-limits", new_vhost) == [row]
    assert row in api.read("vhost-limits")
    assert api.put("queues", new_vhost, "a", body={}).status == 201
    refusal(api.put("queues", new_vhost, "b", body={}), 400, "bad_request", "limit")
    refusal(api.put("vhost-limits", new_vhost, "max-doors", body={"value": 1}), 400, "bad_request", "max-doors")
    refusal(api.put("vhost-limits", new_vhost, "max-queues", body={"value": "a"}), 400, "bad_request", "max-queues")
    refusal(api.put("vhost-limits", new_vhost, "max-queues", body={}), 400, "bad_request", "value")
    for _ in range(2):
        assert api.delete("vhost-limits", new_vhost, "max-queues").status == 204
    assert api.read("vhost-limits", new_vhost) == [{"vhost": new_vhost, "value": {"max-connections": 7}}]


def test_limits_of_users(opened, api, vhost, new_user):
    missing(api.get("user-limits", new_user))
    assert api.put("user-limits", new_user, "max-channels", body={"value": 1}).status in (400, 404)
    api.done("PUT", "users", new_user, body={"password": "p", "tags": ""})
    api.done("PUT", "permissions", vhost, new_user, body=FULL)
    assert api.read("user-limits", new_user) == []
    assert api.put("user-limits", new_user, "max-channels", body={"value": 1}).status == 204
    row = {"user": new_user, "value": {"max-channels": 1}}
    assert api.read("user-limits", new_user) == [row]
    assert row in api.read("user-limits")
    assert api.read("users", new_user)["limits"] == {"max-channels": 1}
    connection = opened(vhost, new_user, "p")
    connection.channel()
    with pytest.raises(Exception, match="530"):
        connection.channel()
    refusal(api.put("user-limits", new_user, "max-doors", body={"value": 1}), 400, "bad_request", "max-doors")
    refusal(api.put("user-limits", new_user, "max-channels", body={"value": "a"}), 400, "bad_request", "max-channels")
    for _ in range(2):
        assert api.delete("user-limits", new_user, "max-channels").status == 204
    assert api.read("user-limits", new_user) == []
