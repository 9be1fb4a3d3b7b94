#!/usr/bin/env bash
# The differential test: random operations on RabbitMQ and on Leveret, and whatever differs. Not part of run.sh.
#
#   tests/differential.sh --seed 1 --sequences 200 --length 40 --shrink
#   tests/differential.sh --help
#
# It starts a RabbitMQ of its own (Debian: rabbitmq-server) unless --rabbitmq has the URL of one, and a Leveret. The exit
# code is 0 when nothing differs but what is known, 1 when something does, 77 when there is no RabbitMQ.
# Read: CARGO_TARGET_DIR (target), LEVERET_BIN (the release build, made first when it is not set).
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
if [ -z "${LEVERET_BIN:-}" ]; then
    cargo build --release --bins
    export LEVERET_BIN=$target/release/leveret
fi
LEVERET_BIN=$(realpath "$LEVERET_BIN")
venv=$target/test-venv
stamp=$(python3 --version; cat tests/python/requirements.txt)
if [ "$(cat "$venv/requirements.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
    printf '%s\n' "$stamp" >"$venv/requirements.stamp"
fi
export PYTHONPATH=tests:tests/python PYTHONPYCACHEPREFIX=$target/pycache
exec "$venv/bin/python" -m differential "$@"
