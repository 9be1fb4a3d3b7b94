#!/usr/bin/env bash
# The whole test suite, from a checkout: builds, lints, runs every test. No root, no fixed ports, no network but
# for the package registries of the languages.
#
#   tests/run.sh                 everything
#   tests/run.sh rust python     only these: lint, rust, python, node, tools, web
#
# A suite whose runtime is missing is skipped, with a line that begins "SKIPPED SUITE: ". The end is one line for each
# suite; the exit code is 0 only if none failed.
# Read: CARGO_TARGET_DIR (target); when it is another directory the client suites are told by LEVERET_BIN.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
unset LEVERET_BIN LEVERET_TEST_URL LEVERET_TEST_VHOST LEVERET_TEST_MANAGEMENT LEVERET_TEST_PROMETHEUS
[ "$target" = "$root/target" ] || export LEVERET_BIN=$target/release/leveret

all=(lint rust python node tools web)
chosen=("$@")
[ $# -gt 0 ] || chosen=("${all[@]}")
for suite in "${chosen[@]}"; do
    case " ${all[*]} " in
    *" $suite "*) ;;
    *) echo "unknown suite '$suite'; there are: ${all[*]}" >&2; exit 2 ;;
    esac
done

summary=()
failed=0
skip_reason=

# What a suite calls when its runtime is missing, with the reason: `skip "..."; return`.
skip() { skip_reason=$1; }

# Runs one suite and notes how it ended.
run_suite() {
    local suite=$1 begin=$SECONDS code
    printf '\n== %s\n' "$suite"
    skip_reason=
    "suite_$suite"
    code=$?
    local seconds=$((SECONDS - begin))
    if [ -n "$skip_reason" ]; then
        echo "SKIPPED SUITE: $suite: $skip_reason"
        summary+=("$(printf '%-7s skipped  %s' "$suite" "$skip_reason")")
    elif [ "$code" -eq 0 ]; then
        summary+=("$(printf '%-7s ok       %d s' "$suite" "$seconds")")
    else
        summary+=("$(printf '%-7s FAILED   %d s' "$suite" "$seconds")")
        failed=1
    fi
}

have() { command -v "$1" >/dev/null 2>&1; }

# The binary the client suites start; built once.
built=
build() {
    [ -n "$built" ] || cargo build --release --bins || { echo "the release build failed" >&2; return 1; }
    built=yes
}

suite_lint() {
    cargo fmt --version >/dev/null 2>&1 || { skip "rustfmt is not installed"; return; }
    cargo clippy --version >/dev/null 2>&1 || { skip "clippy is not installed"; return; }
    local script bad=0
    for script in tests/*.sh benches/*.sh .ci/run; do
        [ ! -f "$script" ] || bash -n "$script" || bad=1
    done
    cargo fmt --check || bad=1
    cargo clippy --all-targets -- -D warnings || bad=1
    # These two are asked when they are there. Advisories need the network.
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny check || bad=1
    else
        echo "cargo-deny is not installed: licences and advisories are not checked"
    fi
    if have systemd-analyze; then
        verify_unit || bad=1
    fi
    return "$bad"
}

# Whether systemd understands the unit. The program need not be installed for that.
verify_unit() {
    local directory told
    directory=$(mktemp -d)
    sed "s|/usr/local/bin/leveret|/bin/true|" config/leveret.service >"$directory/leveret.service"
    told=$(systemd-analyze verify "$directory/leveret.service" 2>&1)
    rm -r "$directory"
    [ -z "$told" ] || { printf '%s\n' "$told" >&2; return 1; }
}

suite_rust() {
    build && cargo test
}

# A virtual environment with exactly the pinned packages, made anew when requirements.txt or Python changes.
python_environment() {
    local venv=$1 stamp
    stamp=$(python3 --version; cat tests/python/requirements.txt)
    [ "$(cat "$venv/requirements.stamp" 2>/dev/null)" = "$stamp" ] && return
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt &&
        printf '%s\n' "$stamp" >"$venv/requirements.stamp"
}

suite_python() {
    have python3 || { skip "python3 is not installed"; return; }
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { skip "Python 3.10 or newer is needed"; return; }
    python3 -c 'import venv, ensurepip' 2>/dev/null || { skip "Python's venv module is not installed"; return; }
    build || return
    local venv=$target/test-venv
    python_environment "$venv" || { echo "the Python environment could not be made" >&2; return 1; }
    (cd tests/python && PYTHONPYCACHEPREFIX=$target/pycache "$venv/bin/python" -m pytest -n 4 -q --durations=5 -o cache_dir="$target/pytest-cache")
}

# Whether there is a Node for the tests in a directory; else the suite is skipped.
node_is_there() {
    have node || { skip "node is not installed"; return 1; }
    have npm || { skip "npm is not installed"; return 1; }
    [ -f "$1/package.json" ] || { skip "$1 is not there"; return 1; }
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { skip "Node 20 or newer is needed"; return 1; }
}

# Exactly the locked packages of a directory, anew when the lock or Node changes.
node_packages() {
    local stamp=$1/node_modules/.stamp lock
    lock=$(node --version; cat "$1/package-lock.json")
    [ "$(cat "$stamp" 2>/dev/null)" != "$lock" ] || return 0
    (cd "$1" && npm ci --no-audit --no-fund --loglevel=error) && printf '%s\n' "$lock" >"$stamp"
}

suite_node() {
    node_is_there tests/node || return
    build && node_packages tests/node || return
    (cd tests/node && node --test --test-reporter=spec)
}

# Whether there is a Chromium: the one that CHROMIUM names, or one on the path.
chromium_is_there() {
    if [ -n "${CHROMIUM:-}" ]; then
        have "$CHROMIUM"
    else
        have chromium || have chromium-browser || have google-chrome
    fi
}

# The page in a browser.
suite_web() {
    node_is_there tests/web || return
    chromium_is_there || { skip "Chromium is not installed (Debian: chromium; or name it by CHROMIUM)"; return; }
    build && node_packages tests/web || return
    (cd tests/web && node --test --test-concurrency=2 --test-reporter=spec)
}

suite_tools() {
    have amqp-publish || { skip "amqp-publish is not installed (Debian: amqp-tools)"; return; }
    build || return
    local bad=0
    bash tests/amqp_tools.sh || bad=1
    rabbitmqadmin_script
    rabbitmqadmin_program
    RABBITMQADMIN_SCRIPT=$target/tools/rabbitmqadmin.py RABBITMQADMIN=$target/tools/bin/rabbitmqadmin \
        bash tests/rabbitmqadmin.sh || bad=1
    return "$bad"
}

# RabbitMQ's script, out of Debian's package, which need not be installed for that. It stays in the target directory.
rabbitmqadmin_script() {
    local place=$target/tools/rabbitmqadmin.py found work
    [ ! -f "$place" ] || return 0
    mkdir -p "$target/tools"
    work=$(mktemp -d)
    found=$(find /usr/lib/rabbitmq -path '*/cli/rabbitmqadmin' 2>/dev/null | head -1)
    if [ -z "$found" ] && have apt-get && have dpkg; then
        (cd "$work" && apt-get download -qq rabbitmq-server && dpkg -x rabbitmq-server_*.deb files) >/dev/null 2>&1
        found=$(find "$work/files" -path '*/cli/rabbitmqadmin' 2>/dev/null | head -1)
    fi
    [ -z "$found" ] || cp "$found" "$place"
    rm -rf "$work"
}

# RabbitMQ's program, built once: three minutes of one core, and a network for its crates. It stays there too.
rabbitmqadmin_program() {
    local version=2.35.0
    [ "$("$target/tools/bin/rabbitmqadmin" --version 2>/dev/null)" != "rabbitmqadmin $version" ] || return 0
    # Little optimization and no debug information build faster.
    env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 \
        nice -n 19 cargo install rabbitmqadmin --version "$version" --locked --debug --force --quiet --root "$target/tools"
}

if ! have cargo; then
    for suite in "${chosen[@]}"; do
        echo "SKIPPED SUITE: $suite: cargo is not installed"
    done
    exit 1
fi
for suite in "${chosen[@]}"; do
    cd "$root" || exit 1
    run_suite "$suite"
done

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
