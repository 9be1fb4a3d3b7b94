#!/usr/bin/env bash
# The command line tools of rabbitmq-c against a broker: the one of LEVERET_TEST_URL, or one of its own.
# Every check prints a line; the last line counts them. Exit code 0 if none failed.
set -u

. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

for tool in amqp-publish amqp-get amqp-consume amqp-declare-queue amqp-delete-queue; do
    if ! command -v "$tool" >/dev/null; then
        echo "SKIPPED SUITE: amqp-tools ($tool is not installed)"
        exit 0
    fi
done

# amqp TOOL ARGUMENT... : runs one tool against the broker.
amqp() {
    local tool=$1
    shift
    timeout "$PATIENCE" "amqp-$tool" -u "$url" "$@"
}

# A command for amqp-consume, which would take the options of `sh -c` for its own.
printf '#!/bin/sh\nprintf "%%s," "$(cat)"\n' >"$work/each"
chmod +x "$work/each"

start_broker

# A durable queue: declare, publish, get, delete.
queue=$(unique durable)
equal "declare-queue tells the name" "$queue" "$(amqp declare-queue -q "$queue" -d)"
equal "declare-queue again is no error" "$queue" "$(amqp declare-queue -q "$queue" -d)"
amqp publish -r "$queue" -p -C text/plain -E identity -H "kind: report" -H "number: 7" -b "first"
equal "publish a persistent message with headers" 0 $?
equal "get gives its body" first "$(amqp get -q "$queue")"
amqp get -q "$queue" >/dev/null
equal "get from an empty queue ends with 2" 2 $?
printf 'one\ntwo\nthree\n' | amqp publish -r "$queue" -l
equal "publish one message per line" 0 $?
# The lines keep their ends.
equal "get them one by one" "one two three " "$(for _ in 1 2 3; do amqp get -q "$queue"; done | tr '\n' ' ')"
amqp publish -r "$queue" -b last
amqp delete-queue -q "$queue" -e >/dev/null 2>"$work/error"
[ $? -ne 0 ] && grep -q 'PRECONDITION_FAILED' "$work/error"
equal "delete-queue --if-empty refuses a queue that is not" 0 $?
equal "delete-queue counts the messages" 1 "$(amqp delete-queue -q "$queue")"
equal "delete-queue of a missing queue is no error" 0 "$(amqp delete-queue -q "$queue")"

# A body from standard input, larger than a frame.
queue=$(unique large)
amqp declare-queue -q "$queue" >/dev/null
head -c 300000 /dev/urandom >"$work/sent"
amqp publish -r "$queue" -p <"$work/sent"
amqp get -q "$queue" >"$work/received"
cmp -s "$work/sent" "$work/received"
equal "a body of 300,000 bytes comes back as it was" 0 $?
amqp publish -r "$queue" -b ""
equal "an empty body comes back" "0" "$(amqp get -q "$queue" | wc -c | tr -d ' ')"

# A consumer that runs a command for each message and stops after three.
for body in a b c d; do amqp publish -r "$queue" -b "$body"; done
equal "consume three messages" "a,b,c," "$(amqp consume -q "$queue" --count=3 --prefetch-count=1 "$work/each")"
equal "the fourth is left" d "$(amqp get -q "$queue")"
for body in e f; do amqp publish -r "$queue" -b "$body"; done
equal "consume without acknowledgements" "e,f," "$(amqp consume -q "$queue" -A --count=2 "$work/each")"
amqp consume -q "$queue" --count=1 cat >/dev/null 2>&1 &
consumer=$!
amqp publish -r "$queue" -b "to a waiting consumer"
wait "$consumer"
equal "a waiting consumer gets its message" 0 $?
equal "nothing is left" 0 "$(amqp delete-queue -q "$queue")"

# An exclusive queue bound to an exchange. It exists once the consumer has it, so publish until it has had one.
key=$(unique key)
amqp consume -x -e amq.topic -r "$key.#" --count=1 cat >"$work/consumed" 2>/dev/null &
consumer=$!
for _ in $(seq 200); do
    kill -0 "$consumer" 2>/dev/null || break
    amqp publish -e amq.topic -r "$key.news" -b "through amq.topic"
    sleep 0.05
done
wait "$consumer"
equal "consume from an exclusive queue bound to amq.topic" "0 through amq.topic" "$? $(cat "$work/consumed")"

# Errors are told.
amqp get -q "$(unique missing)" >/dev/null 2>"$work/error"
[ $? -ne 0 ] && grep -q 'NOT_FOUND - no queue' "$work/error"
equal "get from a missing queue fails with 404" 0 $?
refused=${url/:\/\/guest:guest@/:\/\/guest:wrong@}
timeout "$PATIENCE" amqp-publish -u "$refused" -r any -b x >/dev/null 2>"$work/error"
[ $? -eq 1 ]
equal "a wrong password is refused" 0 $?
timeout "$PATIENCE" amqp-publish -u "$url/$(unique vhost)" -r any -b x >/dev/null 2>"$work/error"
[ $? -eq 1 ] && grep -q 'NOT_ALLOWED' "$work/error"
equal "an unknown virtual host is refused with 530" 0 $?

stop_broker

conclude
