#!/usr/bin/env bash
# Writes benches/start-order.ld, a linker script that puts those functions side by side into the program which a start
# of the broker calls, and behind them those that some work calls: then an idle broker keeps 2 to 3 MB of its text in
# memory, and not the half of it in which they were scattered.
#
#   benches/start-order.sh
#
# The names are those of .cargo/config.toml, which say all of a function, its types too; what changes in them with compilers
# and dependencies is a "*" here. A name that is gone is passed over, and a function that is new lies with all others: the
# file need not follow every change. Write it again when an idle broker has grown.
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
    # What follows a start: the guest's password, the reserve on the disk, and all that an idle broker does now and then.
    sleep 12
}

stop() {
    kill "$broker"
    wait "$broker"
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
called work | comm -23 - "$scratch/start" | cat "$scratch/start" - >"$scratch/called"
# A crate's name has a hash, "Cs1a2B3c4D5e6_4core", and a copy of a function a number, "name.12". What seems to be called
# seldom is in a section of another name.
sed -E 's/Cs[0-9A-Za-z]{8,12}_/Cs*_/g; s/\.[0-9]+$/.*/' "$scratch/called" | awk '
    BEGIN { printf "/* What a start calls, by benches/start-order.sh. */\nSECTIONS\n{\n    .text.start :\n    {\n" }
    !seen[$1]++ { printf "        *(.text.%s .text.unlikely.%s)\n", $1, $1 }
    END { printf "    }\n}\nINSERT BEFORE .text;\n" }
' >benches/start-order.ld
wc -l benches/start-order.ld
