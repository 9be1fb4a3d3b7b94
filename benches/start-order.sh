#!/usr/bin/env bash
# Writes benches/start-order.ld, a linker script that puts those functions side by side into the program which a start
# of the broker calls, and behind them those that some work calls: then an idle broker keeps 2 MB of its text in memory, and
# not the half of it in which they were scattered. Those that work takes most of its time in lie in the middle, together,
# whether a start calls them too or not.
#
#   benches/start-order.sh
#
# The names are those of .cargo/config.toml, which say all of a function, its types too; what changes in them with compilers
# and dependencies is a "*" here. A name that is gone is passed over, and a function that is new lies with all others: the
# file need not follow every change. Write it again when an idle broker has grown, or when the way of a message has other
# functions: scattered ones made its latency a tenth longer.
# Read: CARGO_TARGET_DIR (target).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benches/work.sh
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
    await_ready "$broker" "$scratch/log"
    # What follows a start: the guest's password, the reserve on the disk, and all that an idle broker does now and then.
    sleep 12
}

stop() {
    kill "$broker"
    wait "$broker"
    broker=
}

# The functions of the program that the named runs called, by name, and how many instructions each took by itself.
called() {
    (cd "$scratch" && awk '
        FNR == 1 { split("", names) }
        /^c?fn=/ {
            number = $0; sub(/^[^(]*/, "", number); sub(/[)].*/, "", number)
            if ((space = index($0, " ")) > 0) { name = substr($0, space + 1); sub(/\047.*/, "", name); names[number] = name }
        }
        /^fn=/ { current = names[number]; cost[current] += 0 }
        /^calls=/ { getline; next }
        /^[0-9+*-]/ { cost[current] += $2 }
        END { for (name in cost) print name, cost[name] }
    ' "$@") | sort | join - "$scratch/functions"
}

# Local copies of one function, such as `name.llvm.123`, are named anew by every build.
nm "$binary" | awk '$(NF - 1) ~ /^[tTwW]$/ { print $NF }' | grep -v '\.llvm\.' | sort -u >"$scratch/functions"

start first
stop
start work
usual_work "$binary" "$(url_of "$scratch/log")" 20000 "$scratch/result"
stop
start again
stop

# A start's functions, those that work takes more of than a start last; then those of work alone, most first.
called first again >"$scratch/of_start"
called work >"$scratch/of_work"
join -a 1 "$scratch/of_start" "$scratch/of_work" |
    awk '{ more = 2 * $3 - $2; print $1, (more > 0 ? more : 0) }' | sort -k2,2n -k1,1 >"$scratch/order"
join -v 2 "$scratch/of_start" "$scratch/of_work" | sort -k2,2nr -k1,1 >>"$scratch/order"
# A crate's name has a hash, "Cs1a2B3c4D5e6_4core", and a copy of a function a number, "name.12". What seems to be called
# seldom, or often, by a profile, is in a section of another name.
sed -E 's/Cs[0-9A-Za-z]{8,12}_/Cs*_/g; s/\.[0-9]+ / .* /' "$scratch/order" | awk '
    BEGIN { printf "/* What a start calls, by benches/start-order.sh. */\nSECTIONS\n{\n    .text.start :\n    {\n" }
    !seen[$1]++ { printf "        *(.text.%s .text.hot.%s .text.unlikely.%s)\n", $1, $1, $1 }
    END { printf "    }\n}\nINSERT BEFORE .text;\n" }
' >benches/start-order.ld
wc -l benches/start-order.ld
