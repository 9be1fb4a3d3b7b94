#!/usr/bin/env bash
# What a busy management API costs the messages: `leveret perf throughput` with and without somebody who asks it all the time,
# in turn. Not part of run.sh. docs/performance.md says how to read it.
#
#   tests/busy-api.sh                          nine rounds of three runs of ten seconds
#   tests/busy-api.sh --rounds 3 --seconds 5 --rate 200
#   tests/busy-api.sh --help
#
# It needs Python 3.10. Read: CARGO_TARGET_DIR (target), LEVERET_BIN (the release build, made first when it is not set).
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
if [ -z "${LEVERET_BIN:-}" ]; then
    (cd "$root" && cargo build --release --bins)
    LEVERET_BIN=$target/release/leveret
fi
LEVERET_BIN=$(realpath "$LEVERET_BIN")
export LEVERET_BIN PYTHONPATH=$root/tests PYTHONPYCACHEPREFIX=$target/pycache
exec python3 -m peers.busy "$@"
