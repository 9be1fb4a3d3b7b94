# For the scripts beside this one: checks that count, and a broker to check. To be sourced.
#
# The broker is the one of LEVERET_TEST_URL and LEVERET_TEST_MANAGEMENT, or one of our own.
# Every check prints a line; `conclude` prints how many there were.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BIN=${LEVERET_BIN:-$ROOT/target/release/leveret}
PATIENCE=30 # seconds a single tool may take

passed=0 failed=0 broker=
work=$(mktemp -d)

pass() { passed=$((passed + 1)) && echo "ok    $1"; }

fail() { failed=$((failed + 1)) && echo "FAIL  $1${2:+: $2}"; }

# equal NAME EXPECTED ACTUAL
equal() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "expected '$2', got '$3'"; fi; }

# holds NAME PATTERN TEXT : whether a line of the text matches.
holds() { if grep -qE -- "$2" <<<"$3"; then pass "$1"; else fail "$1" "no '$2' in '${3:0:300}'"; fi; }

unique() { echo "tools.$1.$$.$RANDOM"; }

# Where the broker says that it listens for a protocol.
listening() { sed -n "/\"message\":\"listening\"/{/\"protocol\":\"$1\"/{s/.*\"address\":\"\([^\"]*\)\".*/\1/p;q}}" "$work/log"; }

# Starts the broker and sets `url` and `management`; the process is `broker`.
start_broker() {
    if [ -n "${LEVERET_TEST_URL:-}" ]; then
        url=$LEVERET_TEST_URL management=${LEVERET_TEST_MANAGEMENT:-}
        return
    fi
    # Every LEVERET_* variable is a setting to the broker, also those that are meant for the tests.
    env -u LEVERET_BIN -u LEVERET_TEST_URL LEVERET_HTTP_LISTEN=127.0.0.1:0 LEVERET_PROMETHEUS_LISTEN=127.0.0.1:0 "$BIN" --ephemeral --listen 127.0.0.1:0 \
        --log-format json "$@" </dev/null >/dev/null 2>"$work/log" &
    broker=$!
    local address
    for _ in $(seq 400); do
        address=$(listening amqp)
        [ -z "$address" ] || [ -z "$(listening http)" ] || break
        kill -0 "$broker" 2>/dev/null || break
        sleep 0.05
    done
    if [ -z "$address" ]; then
        echo "$BIN does not listen:" >&2
        cat "$work/log" >&2
        exit 1
    fi
    url=amqp://guest:guest@$address
    management=http://guest:guest@$(listening http)
}

# Ends the broker; it must go on SIGTERM with exit code 0.
stop_broker() {
    [ -n "$broker" ] || return 0
    local code
    kill -TERM "$broker"
    (sleep "$PATIENCE" && kill -KILL "$broker") 2>/dev/null &
    local watch=$!
    wait "$broker"
    code=$?
    kill "$watch" 2>/dev/null
    broker=
    equal "the broker ends with exit code 0" 0 "$code"
}

clean_up() {
    [ -z "$broker" ] || kill -KILL "$broker" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT

# The end of a script: exit code 0 if no check failed.
conclude() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
