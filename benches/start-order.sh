#!/usr/bin/env bash
# Writes benches/start-order.txt: the functions that a start of the broker calls, and then those that some work calls,
# by the names the linker knows. The build puts them side by side into the program (build.rs): then an idle broker
# keeps 2 MB of its text in memory, and not the half of it in which they were scattered.
#
#   benches/start-order.sh
#
# A name that is gone is passed over and a function that is new lies with all others, so that the file need not follow
# every change; write it again after a new compiler, which renames all functions, or when an idle broker has grown.
# Read: CARGO_TARGET_DIR (target).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v valgrind >/dev/null 2>&1 || { echo "valgrind is not installed" >&2; exit 77; }
cargo build --quiet --release --bin leveret
binary=$(realpath -m "${CARGO_TARGET_DIR:-target}")/release/leveret
scratch=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker"; rm -rf "$scratch"' EXIT

# A broker under callgrind that has begun to serve; its functions go to the file that is named.
start() {
    valgrind --tool=callgrind --demangle=no --callgrind-out-file="$scratch/$1" "$binary" --data-dir "$scratch/data" \
        --listen 127.0.0.1:0 --set http.listen=127.0.0.1:0 --set prometheus.listen=127.0.0.1:0 >"$scratch/log" 2>&1 &
    broker=$!
    until grep -q ' ready ' "$scratch/log"; do
        kill -0 "$broker" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
        sleep 0.1
    done
    # What follows a start: the guest's password, the reserve on the disk, the first looks at memory.
    sleep 3
}

stop() {
    kill "$broker"
    wait "$broker" || true
    broker=
}

# The functions of the program that the named runs called.
called() {
    (cd "$scratch" && sed -n "s/^c\{0,1\}fn=([0-9]*) \([^']*\).*/\1/p" "$@") | sort -u | comm -12 - "$scratch/functions"
}

# Local copies of one function, such as `name.llvm.123`, are named anew by every build.
nm "$binary" | awk '$(NF - 1) ~ /^[tTwW]$/ { print $NF }' | grep -v '\.llvm\.' | sort -u >"$scratch/functions"

start first
stop
start work
url="amqp://$(sed -n 's/.*protocol="amqp" address="\([^"]*\)".*/\1/p' "$scratch/log")"
"$binary" perf throughput --url "$url" --messages 2000 --json "$scratch/result"
"$binary" perf throughput --url "$url" --messages 2000 --persistent --durable --confirm 100 --ack 10 --prefetch 200 \
    --json "$scratch/result"
"$binary" perf churn --url "$url" --cycles 10 --json "$scratch/result"
stop
start again
stop

called first again >"$scratch/start"
{ cat "$scratch/start"; called work | comm -23 - "$scratch/start"; } >benches/start-order.txt
wc -l benches/start-order.txt
