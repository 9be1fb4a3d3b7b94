#!/usr/bin/env bash
# Leveret side by side with RabbitMQ and LavinMQ, as far as they are installed, on this machine: `leveret perf` against each
# in turn. Not part of run.sh. docs/performance.md says how to read it.
#
#   tests/bench-peers.sh                                  all rows, five rounds, target/peers.json
#   ROUNDS=3 SECONDS_PER_RUN=5 tests/bench-peers.sh transient latency
#   tests/bench-peers.sh --smoke                          one short round, to see that it works
#   tests/bench-peers.sh --list                           the rows
#   tests/bench-peers.sh --help
#
# It needs Python 3.10. RabbitMQ is Debian's rabbitmq-server, LavinMQ what is named `lavinmq` on the PATH.
# Read: CARGO_TARGET_DIR (target), LEVERET_BIN (the release build, made first when it is not set), ROUNDS, SECONDS_PER_RUN.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
if [ -z "${LEVERET_BIN:-}" ]; then
    (cd "$root" && cargo build --release --bins)
    LEVERET_BIN=$target/release/leveret
fi
LEVERET_BIN=$(realpath "$LEVERET_BIN")
export LEVERET_BIN PYTHONPATH=$root/tests PYTHONPYCACHEPREFIX=$target/pycache
exec python3 -m peers "$@"
