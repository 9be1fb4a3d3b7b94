"""Who may do what: each endpoint and method with the statuses for each kind of visitor."""

from typing import NamedTuple

# The visitors, from the mightiest down, and what stands for them in the table's columns.
VISITORS = ["administrator", "monitoring", "policymaker", "management", "no tag", "wrong password", "no credentials"]

FULL = {"configure": ".*", "write": ".*", "read": ".*"}


class Case(NamedTuple):
    """A call, and its status for administrator, monitoring, policymaker and management, who may use the vhost.

    `since_4` is for what RabbitMQ 3.10 does not have or has otherwise, such as answering 500. `strangers` is for those
    who have no tag, a wrong password or no credentials.
    """

    method: str
    path: str
    statuses: tuple
    body: object = None
    since_4: bool = False
    strangers: int = 401


# By tag: all four, the first alone, and so on.
def all_of(status):
    """Every tag."""
    return (status,) * 4


def administrator(status):
    """Administrators alone."""
    return (status, 401, 401, 401)


def monitoring(status):
    """Those who monitor, and administrators."""
    return (status, status, 401, 401)


def policymaker(status):
    """Those who make policies, and administrators."""
    return (status, 401, status, 401)


def reads(*paths, who, since_4=False, strangers=401):
    """GETs that succeed for whoever may."""
    return [Case("GET", path, who(200), since_4=since_4, strangers=strangers) for path in paths]


GET_BODY = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
PUBLISH_BODY = {"routing_key": "queue", "properties": {}, "payload": "x", "payload_encoding": "string"}
POLICY_BODY = {"pattern": "^never$", "definition": {"max-length": 1}}

# {v} is the vhost that all may use, {node} the node, {port} the AMQP port, {connection} a connection of nobody's.
CASES = [
    *reads("overview", "cluster-name", "extensions", "whoami", who=all_of),
    *reads("feature-flags", "vhosts/{v}", who=all_of, since_4=True),
    *reads("nodes", "nodes/{node}", "nodes/{node}/memory", who=monitoring),
    *reads("connections", "channels", "consumers", "consumers/{v}", who=all_of),
    *reads("vhosts/{v}/connections", "vhosts/{v}/channels", who=all_of),
    *reads("exchanges", "exchanges/{v}", "exchanges/{v}/amq.topic", "exchanges/{v}/amq.topic/bindings/source", who=all_of),
    *reads("queues", "queues/{v}", "queues/{v}/queue", "queues/{v}/queue/bindings", who=all_of),
    *reads("queues?page=1", "queues/{v}?columns=name", "exchanges?page=1", "connections?page=1", who=all_of),
    *reads("queues/detailed", who=all_of, since_4=True),
    *reads("bindings", "bindings/{v}", "bindings/{v}/e/amq.topic/q/queue", who=all_of),
    *reads("vhosts", who=all_of),
    *reads("vhosts/{v}/permissions", "vhosts/{v}/topic-permissions", who=administrator),
    *reads("users", "users/without-permissions", "users/roles-user", "users/roles-user/permissions", who=administrator),
    *reads("users/roles-user/topic-permissions", "permissions", "permissions/{v}/roles-user", who=administrator),
    *reads("topic-permissions", "topic-permissions/{v}/roles-user", who=administrator),
    *reads("policies", "policies/{v}", "operator-policies", "operator-policies/{v}", who=all_of),
    *reads("policies/{v}/roles", "parameters", "parameters/vhost-limits", "parameters/vhost-limits/{v}", who=policymaker),
    *reads("global-parameters", "global-parameters/roles", who=policymaker),
    *reads("vhost-limits", "vhost-limits/{v}", who=all_of),
    # RabbitMQ shows them to everybody.
    *reads("user-limits", "user-limits/roles-user", who=administrator, since_4=True),
    *reads("definitions", "definitions/{v}", "all-configuration", who=administrator),
    *reads("aliveness-test/{v}", who=all_of),
    *reads("health/checks/alarms", "health/checks/local-alarms", "health/checks/virtual-hosts", who=all_of),
    *reads("health/checks/port-listener/{port}", "health/checks/protocol-listener/amqp", who=all_of),
    *reads("health/checks/certificate-expiration/1/weeks", "health/checks/node-is-quorum-critical", who=all_of),
    *reads("auth/attempts/{node}", "auth/attempts/{node}/source", who=monitoring),
    *reads("deprecated-features", "deprecated-features/used", who=monitoring, since_4=True),
    *reads("auth/hash_password/secret", who=administrator, since_4=True),
    *reads("auth", who=all_of, strangers=200),
    *reads("version", who=all_of, since_4=True, strangers=200),
    *reads("health/checks/is-in-service", "health/checks/ready-to-serve-clients", who=all_of, since_4=True, strangers=200),
    *reads("health/checks/below-node-connection-limit", who=all_of, since_4=True, strangers=200),
    *reads("health/checks/reached-target-cluster-size", who=all_of, since_4=True, strangers=200),
    Case("PUT", "cluster-name", administrator(204), {"name": "roles"}),
    Case("PUT", "queues/{v}/queue", all_of(204), {"durable": True}),
    Case("POST", "queues/{v}/queue/get", all_of(200), GET_BODY),
    Case("DELETE", "queues/{v}/queue/contents", all_of(204)),
    Case("DELETE", "queues/{v}/nothing", all_of(404)),
    Case("PUT", "exchanges/{v}/amq.topic", all_of(204), {"type": "topic", "durable": True}),
    Case("DELETE", "exchanges/{v}/nothing", all_of(404)),
    Case("POST", "exchanges/{v}/amq.default/publish", all_of(200), PUBLISH_BODY),
    Case("POST", "bindings/{v}/e/amq.topic/q/queue", all_of(201), {"routing_key": "k"}),
    Case("DELETE", "bindings/{v}/e/amq.topic/q/queue/nothing", all_of(404)),
    Case("DELETE", "connections/{connection}", all_of(404), since_4=True),
    Case("GET", "connections/{connection}", all_of(404), since_4=True),
    Case("PUT", "vhosts/{v}", administrator(204), {}),
    Case("DELETE", "vhosts/nothing", administrator(404)),
    Case("POST", "vhosts/{v}/deletion/protection", administrator(204), {}, since_4=True),
    Case("DELETE", "vhosts/{v}/deletion/protection", administrator(204), since_4=True),
    Case("PUT", "users/roles-user", administrator(204), {"password": "p", "tags": ""}),
    Case("DELETE", "users/nobody", administrator(404)),
    Case("POST", "users/bulk-delete", administrator(204), {"users": []}),
    Case("PUT", "permissions/{v}/roles-user", administrator(204), FULL),
    Case("DELETE", "permissions/{v}/nobody", administrator(404)),
    Case("PUT", "topic-permissions/{v}/roles-user", administrator(204), {"exchange": "x", "write": "", "read": ""}),
    Case("DELETE", "topic-permissions/{v}/nobody", administrator(404)),
    Case("PUT", "policies/{v}/roles", policymaker(204), POLICY_BODY),
    Case("DELETE", "policies/{v}/nothing", policymaker(404)),
    Case("PUT", "operator-policies/{v}/roles", administrator(204), POLICY_BODY),
    Case("DELETE", "operator-policies/{v}/nothing", administrator(404)),
    Case("PUT", "parameters/nothing/{v}/name", policymaker(400), {"value": 1}),
    Case("DELETE", "parameters/nothing/{v}/name", policymaker(404)),
    # With RabbitMQ who makes policies gets around those who set limits.
    Case("PUT", "parameters/vhost-limits/{v}/limits", administrator(204), {"value": {"max-queues": 100}}, since_4=True),
    Case("DELETE", "parameters/vhost-limits/{v}/nothing", administrator(404), since_4=True),
    Case("PUT", "global-parameters/roles", administrator(204), {"value": 1}, since_4=True),
    Case("DELETE", "global-parameters/nothing", administrator(404), since_4=True),
    Case("PUT", "vhost-limits/{v}/max-queues", administrator(204), {"value": 100}),
    Case("DELETE", "vhost-limits/{v}/max-connections", administrator(204)),
    Case("PUT", "user-limits/roles-user/max-channels", administrator(204), {"value": 100}),
    Case("DELETE", "user-limits/roles-user/max-connections", administrator(204)),
    Case("POST", "definitions", administrator(204), {}),
    Case("POST", "all-configuration", administrator(204), {}, since_4=True),
    Case("POST", "definitions/{v}", administrator(204), {}),
    Case("DELETE", "connections/username/roles-user", administrator(204), since_4=True),
    Case("DELETE", "reset", administrator(204)),
    Case("POST", "rebalance/queues", administrator(204), {}),
    Case("DELETE", "auth/attempts/{node}", administrator(204), since_4=True),
    # What RabbitMQ does not have.
    *reads("alarm-limits/memory", "alarm-limits/disk", who=monitoring, since_4=True),
    Case("PUT", "alarm-limits/memory", administrator(400), {}, since_4=True),
    Case("PUT", "alarm-limits/disk", administrator(400), {}, since_4=True),
    Case("POST", "users/roles-user/added", administrator(409), {"password": "p"}, since_4=True),
    Case("PUT", "users/roles-user/password", administrator(204), {"password": "p"}, since_4=True),
    Case("PUT", "users/roles-user/tags", administrator(204), {"tags": []}, since_4=True),
    Case("POST", "users/roles-user/authenticated", administrator(200), {"password": "p"}, since_4=True),
    Case("PUT", "vhosts/{v}/tracing", administrator(204), since_4=True),
    Case("DELETE", "vhosts/{v}/tracing", administrator(204), since_4=True),
    Case("POST", "queues/{v}/queue/move", all_of(404), {"to": "nothing"}, since_4=True),
    Case("DELETE", "login", all_of(204), since_4=True),
    # Without a path to look at; with one it has no end.
    Case("GET", "stream", all_of(400), since_4=True),
    # Nobody is known yet who asks for it, and here nobody can: no provider is set.
    Case("GET", "login/oauth", all_of(404), since_4=True, strangers=404),
    Case("GET", "login/oauth/callback", all_of(404), since_4=True, strangers=404),
    *reads("log", who=administrator, since_4=True),
    *reads("log/level", who=monitoring, since_4=True),
    Case("PUT", "log/level", administrator(400), {"level": "loud"}, since_4=True),
    Case("POST", "log/rotation", administrator(204), {}, since_4=True),
    Case("GET", "nodes/{node}/memory/ets", monitoring(404), since_4=True),
    Case("GET", "nodes/{node}/memory/ets/x", monitoring(404), since_4=True),
    Case("GET", "nodes/{node}/memory/ets/x/relative", monitoring(404), since_4=True),
    Case("POST", "backup", all_of(401), since_4=True),
    # What is like something above.
    *reads("nodes/{node}/memory/relative", who=monitoring, since_4=True),
    *reads("config/effective", "users/roles-user/queues", who=administrator, since_4=True),
    *reads("topic-permissions/{v}/roles-user/x", who=administrator, since_4=True),
    *reads("operator-policies/{v}/roles", "connections/username/roles-user", who=all_of, since_4=True),
    *reads("parameters/vhost-limits/{v}/limits", who=policymaker, since_4=True),
    *reads("exchanges/{v}/amq.topic/bindings/destination", "bindings/{v}/e/amq.topic/e/amq.fanout", who=all_of),
    *reads("healthchecks/node", "healthchecks/node/{node}", who=all_of, since_4=True),
    *reads("health/checks/metadata-store/initialized", who=all_of, since_4=True),
    *reads("health/checks/metadata-store/initialized/with-data", who=all_of, since_4=True),
    *reads("health/checks/quorum-queues-without-elected-leaders/all-vhosts", who=all_of, since_4=True),
    *reads("health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/x", who=all_of, since_4=True),
    *reads("health/checks/quorum-queues-without-elected-leaders/vhost/{v}", who=all_of, since_4=True),
    *reads("health/checks/quorum-queues-without-elected-leaders/vhost/{v}/pattern/x", who=all_of, since_4=True),
    Case("GET", "bindings/{v}/e/amq.topic/q/queue/nothing", all_of(404)),
    Case("GET", "bindings/{v}/e/amq.topic/e/amq.fanout/nothing", all_of(404)),
    Case("POST", "bindings/{v}/e/amq.topic/e/amq.fanout", all_of(201), {"routing_key": "k"}),
    Case("DELETE", "bindings/{v}/e/amq.topic/e/amq.fanout/nothing", all_of(404)),
    Case("GET", "channels/nothing", all_of(404), since_4=True),
    Case("GET", "connections/{connection}/channels", all_of(404), since_4=True),
    Case("GET", "connections/{connection}/sessions", all_of(404), since_4=True),
    Case("POST", "queues/{v}/queue/actions", administrator(204), {"action": "sync"}, since_4=True),
    Case("POST", "vhosts/{v}/start/{node}", administrator(204), {}, since_4=True),
    Case("PUT", "feature-flags/all/enable", administrator(204), {}, since_4=True),
    Case("PUT", "auth/hash_password", administrator(200), {"password": "p"}, since_4=True),
    Case("DELETE", "topic-permissions/{v}/roles-user/nothing", administrator(404), since_4=True),
    Case("DELETE", "auth/attempts/{node}/source", administrator(204), since_4=True),
    Case("DELETE", "reset/{node}", administrator(204), since_4=True),
    # A form says who it is.
    Case("POST", "login", all_of(400), {}, since_4=True, strangers=400),
]


def expected(case, visitor):
    """The status of a case for a visitor."""
    at = VISITORS.index(visitor)
    if at < len(case.statuses):
        return case.statuses[at]
    return case.strangers
