#!/usr/bin/env bash
# Builds the program with a profile of its own work: one that counts its branches and calls is built and has to work,
# and what it counted tells the compiler what to lay out and to inline for. docs/performance.md says what that gains.
#
#   benches/pgo.sh          # takes about a quarter of an hour, and tells where the program is
#
# It needs the llvm-profdata of the compiler (`rustup component add llvm-tools`), or another of the same LLVM on the PATH.
# Read: CARGO_TARGET_DIR (target), LLVM_PROFDATA (the llvm-profdata to take).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benches/work.sh
host=$(rustc -vV | sed -n 's/^host: //p')
own=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$own" ] || own=llvm-profdata
profdata=${LLVM_PROFDATA:-$own}
command -v "$profdata" >/dev/null || {
    echo "there is no $profdata; rustup component add llvm-tools installs it" >&2
    exit 77
}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/pgo
# In place of those of .cargo/config.toml, which therefore come along.
flags="-Csymbol-mangling-version=v0"

# The program built with more flags. With --target they do not hold for what only builds.
build() {
    CARGO_TARGET_DIR=$target RUSTFLAGS="$flags $1" cargo build --quiet --release --bin leveret --target "$host"
}

scratch=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker"; rm -rf "$scratch"' EXIT
binary=$target/$host/release/leveret

# What an earlier profile made would be taken for new: the flags are the same.
rm -rf "$target"
build "-Cprofile-generate=$scratch/counted"
"$binary" --data-dir "$scratch/data" --listen 127.0.0.1:0 --set http.listen=127.0.0.1:0 \
    --set prometheus.listen=127.0.0.1:0 >"$scratch/log" 2>&1 &
broker=$!
await_ready "$broker" "$scratch/log"
usual_work "$binary" "$(url_of "$scratch/log")" 1000000 "$scratch/result"
kill "$broker"
wait "$broker"
broker=

"$profdata" merge -o "$target/leveret.profdata" "$scratch/counted"
build "-Cprofile-use=$target/leveret.profdata"
echo "$binary"
