# Sourced by scripts that look at what a program does when it is at work.

# Has a broker do what brokers mostly do, by `leveret perf`: many small messages, by a topic exchange, by a fanout, stored and
# confirmed, and clients that come and go. $1 is the program, $2 the broker's URL, $3 how many messages of each kind, $4 a
# file for results, which nobody reads.
usual_work() {
    local perf=("$1" perf) to=(--url "$2" --json "$4")
    "${perf[@]}" throughput "${to[@]}" --messages "$3"
    "${perf[@]}" throughput "${to[@]}" --messages "$3" --exchange-type topic --bindings 99
    "${perf[@]}" fanout "${to[@]}" --messages $(($3 / 10)) --queues 10
    "${perf[@]}" throughput "${to[@]}" --messages "$3" --persistent --durable --confirm 100 --ack 10 --prefetch 200
    "${perf[@]}" churn "${to[@]}" --cycles $(($3 / 200))
}

# The AMQP address that a broker's log tells. $1 is the file with the log.
url_of() {
    echo "amqp://$(sed -n 's/.*protocol="amqp" address="\([^"]*\)".*/\1/p' "$1")"
}

# Waits until a broker serves. $1 is its pid, $2 the file with its log.
await_ready() {
    until grep -q ' ready ' "$2"; do
        kill -0 "$1" 2>/dev/null || { cat "$2" >&2; exit 1; }
        sleep 0.1
    done
}
