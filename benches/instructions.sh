#!/usr/bin/env bash
# Instructions that one message costs on its way through a broker in process, counted by callgrind. Each way is run
# twice, with n and with 2n batches of messages, and the difference counts: so the set-up falls out.
#
#   benches/instructions.sh                    all ways, as a table for people
#   benches/instructions.sh direct_16 ...      only these
#   benches/instructions.sh --record           all ways, and a line in the history of docs/performance.md
#   benches/instructions.sh --profile WAY      the functions of one way, first by what they do themselves, then with
#                                              what they call
#
# Read: CARGO_TARGET_DIR (target), BATCHES (n, 10), INSTRUCTIONS_BIN (a built example `instructions`, of another
# commit for instance; without it this checkout's is built).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
batches=${BATCHES:-10}
history=docs/performance.md
command -v valgrind >/dev/null 2>&1 || { echo "valgrind is not installed" >&2; exit 77; }

binary=${INSTRUCTIONS_BIN:-}
if [ -z "$binary" ]; then
    cargo build --quiet --release --example instructions
    binary=$(realpath -m "${CARGO_TARGET_DIR:-target}")/release/examples/instructions
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Runs a way under callgrind: its name, how many batches, more arguments for callgrind. What the program prints, which
# is the number of messages or deliveries, and the instructions executed.
count() {
    local way=$1 n=$2 units
    shift 2
    units=$(valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$@" "$binary" "$way" "$n" \
        2>"$scratch/log") || { cat "$scratch/log" >&2; return 1; }
    echo "$units $(sed -n 's/^==[0-9]*== Collected : //p' "$scratch/log")"
}

# Instructions for each message of a way.
cost() {
    local once twice
    once=$(count "$1" "$batches")
    twice=$(count "$1" $((2 * batches)))
    awk -v once="$once" -v twice="$twice" 'BEGIN {
        split(once, a, " "); split(twice, b, " ")
        printf "%.0f", (b[2] - a[2]) / (b[1] - a[1])
    }'
}

# What the messages of one way cost, function by function, each with what was inlined into it; then line of source by
# line of source; then each function with all it calls.
profile() {
    local units instructions list
    count "$1" "$batches" --toggle-collect='instructions::send*' >"$scratch/counted"
    read -r units instructions <"$scratch/counted"
    echo "$1: $instructions instructions for $units, $((instructions / units)) for each"
    for list in function file:function inclusive; do
        printf '\n== %s\n' "$list"
        annotate "$list" | awk -v units="$units" -v list="$list" '{
            count = $1; gsub(",", "", count); count += 0; name = $0
            sub(/^[^)]*\) +/, "", name)
            if (list != "file:function") sub(/^[^ ]*\.[a-zA-Z]+:/, "", name)
            if (!(name in sum)) order[++names] = name
            # What was inlined from other files has lines of its own, each with all the function calls.
            if (list != "inclusive") sum[name] += count
            else if (count > sum[name]) sum[name] = count
        } END {
            for (i = 1; i <= names; i++) printf "%9.1f  %s\n", sum[order[i]] / units, order[i]
        }' | sort -rn | awk '$1 >= 1' | cut -c1-200
    done
}

# The lines of callgrind_annotate's list, with the paths short.
annotate() {
    local inclusive=no
    [ "$1" != inclusive ] || inclusive=yes
    callgrind_annotate --auto=no --inclusive="$inclusive" --threshold=100 "$scratch/out" |
        sed -nE '/%\).*:/!d; s/ \[[^]]*\]$//; s|/rustc/[0-9a-f]*/||; s|/[^ ]*/registry/src/[^/]*/||; p'
}

if [ "${1:-}" = --profile ]; then
    profile "${2:?which way}"
    exit
fi
record=
if [ "${1:-}" = --record ]; then
    [ $# -eq 1 ] || { echo "all ways are recorded, or none" >&2; exit 2; }
    record=yes
    shift
fi
known=$("$binary" list)
ways=("$@")
[ $# -gt 0 ] || mapfile -t ways < <(cut -d' ' -f1 <<<"$known")

line="| $(git log -1 --format=%cs) | $(git describe --always --dirty --exclude="*") |"
printf '%-18s %12s  %s\n' way instructions for
for way in "${ways[@]}"; do
    unit=$(sed -n "s/^$way //p" <<<"$known")
    [ -n "$unit" ] || { echo "no way '$way'" >&2; exit 2; }
    instructions=$(cost "$way")
    printf '%-18s %12s  a %s\n' "$way" "$instructions" "$unit"
    line+=" $instructions |"
done
if [ -n "$record" ]; then
    # Behind the last line of the table in its section.
    last=$(awk '/^## / { here = ($0 == "## Instructions per message") } here && /^\|/ { last = NR } END { print last }' "$history")
    [ -n "$last" ] || { echo "there is no history in $history" >&2; exit 1; }
    sed -i "${last}a $line" "$history"
fi
