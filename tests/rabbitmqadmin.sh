#!/usr/bin/env bash
# RabbitMQ's own command line tools for the management API against a broker: the one of LEVERET_TEST_URL and
# LEVERET_TEST_MANAGEMENT, or one of its own.
#
#   RABBITMQADMIN_SCRIPT   the script in Python that is part of RabbitMQ's management plugin
#   RABBITMQADMIN          the program in Rust, the crate of this name
#
# tests/run.sh gets both. One that is not there is skipped with a line that begins "SKIPPED SUITE: ".
set -u

. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
SCRIPT=${RABBITMQADMIN_SCRIPT:-$ROOT/target/tools/rabbitmqadmin.py}
PROGRAM=${RABBITMQADMIN:-$ROOT/target/tools/bin/rabbitmqadmin}

# Settings of whoever runs this are none of these tools'.
export HOME=$work

start_broker
[ -n "$management" ] || { echo "LEVERET_TEST_MANAGEMENT is not set" >&2; exit 1; }
address=${management##*@}
host=${address%:*} port=${address##*:} port=${port%/}
amqp=${url##*:} amqp=${amqp%%/*}

# The script: `script SUBCOMMAND ...`, in the vhost `vhost`; what it prints is JSON where that can be chosen.
script() {
    timeout "$PATIENCE" python3 "$SCRIPT" -H "$host" -P "$port" -u guest -p guest -V "$vhost" -f raw_json "$@" 2>&1
}

# script_list COLUMN WHAT ... : one column of a list, a line for each row.
script_list() {
    local column=$1
    shift
    script list "$@" "$column" | python3 -c 'import json, sys; print(*(row[sys.argv[1]] for row in json.load(sys.stdin)), sep="\n")' "$column"
}

check_script() {
    vhost=/
    holds "script: show overview" '"rabbitmq_version": ?"[0-9]+\.[0-9]+\.' "$(script show overview)"
    holds "script: list nodes" '"running": ?true' "$(script list nodes name running)"
    local queue other exchange
    vhost=$(unique vhost) queue=$(unique queue) other=$(unique queue) exchange=$(unique exchange)
    equal "script: declare a vhost" "vhost declared" "$(script declare vhost name="$vhost")"
    equal "script: declare permissions" "permission declared" \
        "$(script declare permission vhost="$vhost" user=guest configure=.\* write=.\* read=.\*)"
    holds "script: list vhosts" "^$vhost\$" "$(script_list name vhosts)"
    equal "script: declare a queue" "queue declared" "$(script declare queue name="$queue" durable=true arguments='{"x-max-length":100}')"
    equal "script: declare a quorum queue" "queue declared" "$(script declare queue name="$other" queue_type=quorum durable=true)"
    equal "script: list queues" "$(printf '%s\n' "$queue" "$other" | sort)" "$(script_list name queues | sort)"
    holds "script: the queue's type is kept" '"x-queue-type": ?"quorum"' "$(script list queues name arguments)"
    equal "script: declare an exchange" "exchange declared" "$(script declare exchange name="$exchange" type=topic durable=true)"
    holds "script: list exchanges" "^$exchange\$" "$(script_list name exchanges)"
    equal "script: declare a binding" "binding declared" \
        "$(script declare binding source="$exchange" destination="$queue" routing_key='a.#')"
    holds "script: list bindings" '^a\.#$' "$(script_list routing_key bindings)"
    equal "script: publish" "Message published" \
        "$(script publish exchange="$exchange" routing_key=a.b payload=hello properties='{"priority":3,"headers":{"n":1}}')"
    equal "script: publish to nobody" "Message published but NOT routed" "$(script publish exchange="$exchange" routing_key=b payload=x)"
    local got
    got=$(script get queue="$queue" count=2 ackmode=ack_requeue_true)
    holds "script: get shows the message" '"payload": ?"hello"' "$got"
    holds "script: get shows its properties" '"priority": ?3' "$got"
    script get queue="$queue" ackmode=ack_requeue_false payload_file="$work/payload" >/dev/null
    equal "script: get into a file" hello "$(cat "$work/payload")"
    printf 'from standard input' | script publish routing_key="$queue" >/dev/null
    equal "script: purge" "queue purged" "$(script purge queue name="$queue")"
    equal "script: purged is empty" "[]" "$(script get queue="$queue")"
    equal "script: declare a policy" "policy declared" \
        "$(script declare policy name=p pattern='^tools' definition='{"max-length":7}' priority=2 apply-to=queues)"
    holds "script: list policies" '"max-length": ?7' "$(script list policies)"
    equal "script: declare an operator policy" "operator_policy declared" \
        "$(script declare operator_policy name=o pattern='^tools' definition='{"max-length":9}')"
    equal "script: declare a limit" "vhost_limit declared" "$(script declare vhost_limit vhost="$vhost" name=max-queues value=50)"
    holds "script: list limits" '"max-queues": ?50' "$(script list vhost_limits)"
    equal "script: declare a user" "user declared" "$(script declare user name="$vhost" password=secret tags=management)"
    holds "script: list users" "^$vhost\$" "$(script_list name users)"
    check_script_definitions
    holds "script: a missing queue is told" 'Not found' "$(script delete queue name=nothing)"
    script delete binding source="$exchange" destination_type=queue destination="$queue" properties_key='a.%23' >/dev/null
    equal "script: delete a binding" "" "$(script_list source bindings | grep -x "$exchange")"
    local what
    for what in "operator_policy name=o" "policy name=p" "vhost_limit vhost=$vhost name=max-queues" "queue name=$queue" \
        "exchange name=$exchange" "permission vhost=$vhost user=guest" "user name=$vhost"; do
        # shellcheck disable=SC2086
        equal "script: delete ${what%% *}" "${what%% *} deleted" "$(script delete $what)"
    done
    equal "script: delete vhost" "vhost deleted" "$(script delete vhost name="$vhost")"
    vhost=/
    holds "script: a wrong password is told" 'Access refused|401' "$(script -p wrong list queues)"
}

# Exported with a vhost, the vhost deleted, imported: it is as before.
check_script_definitions() {
    local before
    holds "script: export" 'Exported definitions' "$(script export "$work/definitions")"
    holds "script: export of a vhost" 'Exported definitions' "$(script export "$work/of-vhost" 2>&1)"
    before=$(script_list name queues | sort)
    script delete vhost name="$vhost" >/dev/null
    script declare vhost name="$vhost" >/dev/null
    script declare permission vhost="$vhost" user=guest configure=.\* write=.\* read=.\* >/dev/null
    equal "script: nothing is left before the import" "[]" "$(script list queues name)"
    holds "script: import" 'Uploaded definitions' "$(script import "$work/definitions")"
    equal "script: the import brings queues back" "$before" "$(script_list name queues | sort)"
    holds "script: and bindings" '^a\.#$' "$(script_list routing_key bindings)"
    holds "script: and policies" '"max-length": ?7' "$(script list policies)"
}

# The program: `program SUBCOMMAND ...`, in the vhost `vhost`. It prints tables, or nothing.
program() {
    timeout "$PATIENCE" "$PROGRAM" --base-uri "http://$host:$port/api" -u guest -p "${password:-guest}" -V "$vhost" \
        --table-style borderless "$@" 2>&1
}

# does NAME SUBCOMMAND ... : whether it ends with exit code 0.
does() {
    local name=$1 told
    shift
    if told=$(program "$@"); then pass "program: $name"; else fail "program: $name" "${told:0:300}"; fi
}

check_program() {
    vhost=/
    holds "program: show overview" 'Product name' "$(program show overview)"
    # It does not understand the node of a RabbitMQ 3.10.
    if [ -z "${LEVERET_TEST_URL:-}" ]; then
        does "list nodes" list nodes
        does "memory of the node" show memory_breakdown_in_bytes --node "$(node_name)"
        does "attempts to log in" auth_attempts stats --node "$(node_name)"
        does "deprecated features" list deprecated_features
        does "deprecated features in use" list deprecated_features_in_use
    fi
    does "list feature flags" list feature_flags
    does "list users" list users
    does "list connections" list connections
    does "list channels" list channels
    does "list consumers" list consumers
    does "health: alarms of the node" health_check local_alarms
    does "health: alarms of all" health_check cluster_wide_alarms
    does "health: quorum" health_check node_is_quorum_critical
    does "health: the port" health_check port_listener --port "$amqp"
    does "health: the protocol" health_check protocol_listener --protocol amqp
    equal "program: health: another port" failed "$(program health_check port_listener --port 1 >/dev/null || echo failed)"
    check_program_objects
    holds "program: a wrong password is told" '401|nauthorized|ogin failed|Not_Authorized' "$(password=wrong && program list queues)"
}

node_name() { program list nodes | awk 'NR > 1 && /@/ { for (i = 1; i <= NF; i++) if ($i ~ /@/) { print $i; exit } }'; }

check_program_objects() {
    local queue exchange user
    vhost=/
    local made
    made=$(unique vhost) queue=$(unique queue) exchange=$(unique exchange) user=$(unique user)
    does "declare a vhost" vhosts declare --name "$made" --description "for tools"
    holds "program: list vhosts" "$made" "$(program list vhosts)"
    vhost=$made
    does "declare permissions" declare permissions --username guest --configure '.*' --write '.*' --read '.*'
    holds "program: list permissions" "$made" "$(program list permissions)"
    does "declare a queue" declare queue --name "$queue" --type classic --durable true --arguments '{"x-max-length": 100}'
    does "declare a quorum queue" declare queue --name "$queue.q" --type quorum --durable true
    holds "program: list queues" "$queue" "$(program list queues)"
    holds "program: show a queue" "$queue" "$(program queues show --name "$queue" --columns name,durable)"
    does "declare an exchange" declare exchange --name "$exchange" --type topic --durable true
    holds "program: list exchanges" "$exchange" "$(program list exchanges)"
    does "declare a binding" declare binding --source "$exchange" --destination-type queue --destination "$queue" --routing-key 'a.#'
    holds "program: list bindings" 'a\.#' "$(program list bindings)"
    does "publish" publish message --exchange "$exchange" --routing-key a.b --payload hello --properties '{"priority": 3}'
    holds "program: get" hello "$(program get messages --queue "$queue" --ack-mode ack_requeue_true)"
    does "purge" purge queue --name "$queue"
    equal "program: purged is empty" "" "$(program get messages --queue "$queue" | grep hello)"
    does "declare a policy" declare policy --name p --pattern '^tools' --apply-to queues --definition '{"max-length": 7}' --priority 2
    holds "program: list policies" 'max-length' "$(program list policies)"
    does "declare an operator policy" declare operator_policy --name o --pattern '^tools' --apply-to queues --definition '{"max-length": 9}'
    does "change a policy" policies patch --name p --definition '{"expires": 60000}'
    holds "program: the policy is changed" expires "$(program list policies)"
    does "declare a limit of the vhost" declare vhost_limit --name max-queues --value 50
    holds "program: list limits of the vhost" max-queues "$(program list vhost_limits)"
    does "declare a user" declare user --name "$user" --password secret --tags management
    does "declare a limit of the user" declare user_limit --user "$user" --name max-connections --value 5
    holds "program: list limits of users" max-connections "$(program list user_limits)"
    does "a parameter" declare parameter --component vhost-limits --name limits --value '{"max-queues": 60}'
    holds "program: list parameters" vhost-limits "$(program parameters list_all)"
    check_program_definitions
    does "delete a binding" delete binding --source "$exchange" --destination-type queue --destination "$queue" --routing-key 'a.#'
    does "delete the queue" delete queue --name "$queue"
    equal "program: a missing queue is told" failed "$(program delete queue --name "$queue" >/dev/null || echo failed)"
    does "or not, if that is asked" delete queue --name "$queue" --idempotently
    does "delete the exchange" delete exchange --name "$exchange"
    does "delete the policy" delete policy --name p
    does "delete the operator policy" delete operator_policy --name o
    does "delete the limit of the vhost" delete vhost_limit --name max-queues
    does "delete the limit of the user" delete user_limit --user "$user" --name max-connections
    does "delete permissions" delete permissions --username guest
    does "delete the user" delete user --name "$user"
    does "delete the vhost" delete vhost --name "$made"
    vhost=/
}

check_program_definitions() {
    does "export definitions" definitions export --file "$work/all.json"
    does "export those of the vhost" definitions export_from_vhost --file "$work/vhost.json"
    does "delete the queue before the import" delete queue --name "$queue.q"
    equal "program: it is gone" "" "$(program list queues | grep -F "$queue.q")"
    does "import definitions of the vhost" definitions import_into_vhost --file "$work/vhost.json"
    holds "program: the import brings it back" "$queue.q" "$(program list queues)"
    does "import all definitions" definitions import --file "$work/all.json"
}

# Starts a client that consumes, for both tools to list and close: sets `client`, `queue` and the connection's `name`.
start_client() {
    vhost=/ queue=$(unique client)
    timeout "$PATIENCE" amqp-declare-queue -u "$url" -q "$queue" -d >/dev/null
    timeout "$PATIENCE" amqp-consume -u "$url" -q "$queue" cat >/dev/null 2>&1 &
    client=$!
    for _ in $(seq 100); do
        name=$(listed "$queue")
        [ -z "$name" ] || return 0
        sleep 0.1
    done
}

# The name of the connection that consumes from a queue, as the script lists it.
listed() {
    script list consumers queue.name channel_details.connection_name | python3 -c '
import json, sys
for row in json.load(sys.stdin):
    if row["queue"]["name"] == sys.argv[1]:
        print(row["channel_details"]["connection_name"])' "$1" 2>/dev/null
}

# Whether the client was closed, which itself does not notice; and its queue is deleted.
end_client() {
    local left
    for _ in $(seq 100); do
        left=$(listed "$queue")
        [ -n "$left" ] || break
        sleep 0.1
    done
    equal "$1: the client is gone" "" "$left"
    kill "$client" 2>/dev/null
    wait "$client" 2>/dev/null
    timeout "$PATIENCE" amqp-delete-queue -u "$url" -q "$queue" >/dev/null
}

check_script_client() {
    local name queue client
    start_client
    equal "script: list connections" "$name" "$(script_list name connections | grep -xF "$name")"
    holds "script: list channels" "^$name \(1\)\$" "$(script_list name channels)"
    equal "script: close connection" "connection closed" "$(script close connection name="$name")"
    end_client script
}

check_program_client() {
    local name queue client
    start_client
    holds "program: list consumers" "$queue" "$(program list consumers)"
    holds "program: list channels" "$name \(1\)" "$(program list channels)"
    holds "program: list connections" "$name" "$(program list connections)"
    holds "program: list connections of a user" "$name" "$(program list user_connections --username guest)"
    holds "program: list queues with one" "$queue" "$(program list queues)"
    does "close connection" close connection --name "$name"
    end_client program
}

if [ -f "$SCRIPT" ]; then
    check_script
    ! command -v amqp-consume >/dev/null || check_script_client
else
    echo "SKIPPED SUITE: rabbitmqadmin, the script ($SCRIPT is not there)"
fi
if [ -x "$PROGRAM" ]; then
    check_program
    # It does not understand a consumer of RabbitMQ 3.10, and finds its client by the script.
    if [ -z "${LEVERET_TEST_URL:-}" ] && [ -f "$SCRIPT" ] && command -v amqp-consume >/dev/null; then
        check_program_client
    fi
else
    echo "SKIPPED SUITE: rabbitmqadmin, the program ($PROGRAM is not there)"
fi

stop_broker

conclude
