#!/usr/bin/env bash
# Writes benches/start-order.ld, a linker script that puts those functions side by side into the program which a start
# of the broker calls, and behind them those that some work calls: then an idle broker keeps 2 to 3 MB of its text in
# memory, and not the half of it in which they were scattered.
#
#   benches/start-order.sh
#
# The names are without the hashes that change with compilers and dependencies. One that stands for several functions
# then, all of a generic one for instance, is there with its hash first, and without it behind all others. A name that is
# gone is passed over, and a function that is new lies with all others: the file need not follow every change. Write it
# again when an idle broker has grown.
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
called work | comm -23 - "$scratch/start" | cat "$scratch/start" - >"$scratch/called"
awk '
    function of(name) { sub(/17h[0-9a-f]+E$/, "17h*", name); return name }
    NR == FNR { count[of($1)]++; next }
    count[of($1)] == 1 { put(of($1)); next }
    { exact[++n] = $1 }
    function put(name) { printf "        *(.text.%s)\n", name }
    BEGIN { printf "/* What a start calls, by benches/start-order.sh. */\nSECTIONS\n{\n    .text.start :\n    {\n" }
    END {
        for (i = 1; i <= n; i++) put(exact[i])
        for (i = 1; i <= n; i++) if (!seen[of(exact[i])]++) put(of(exact[i]))
        printf "    }\n}\nINSERT BEFORE .text;\n"
    }
' "$scratch/functions" "$scratch/called" >benches/start-order.ld
wc -l benches/start-order.ld
