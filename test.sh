#!/usr/bin/env bash
# Sets up what the tests need, then runs all of them. Needs Rust and git; on Debian it installs the
# rest (Python's venv, Node, npm and Chromium) from Debian's packages, as root or by sudo, when it is missing.
# Quick when everything is there. Stops at the first failing step and names it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [[ -n "${RUSTFLAGS:-}${RUSTDOCFLAGS:-}${CARGO_ENCODED_RUSTFLAGS:-}" ]]; then
    echo "test.sh: RUSTFLAGS is set and would replace the flags of .cargo/config.toml; unset it" >&2
    exit 64
fi

started=$SECONDS
step_name=""
step_started=$SECONDS
summary=()

step() {
    finish_step
    step_name=$1
    step_started=$SECONDS
    printf '\n== %s\n' "$step_name"
}

finish_step() {
    if [[ -n "$step_name" ]]; then
        summary+=("$(printf '%5d s  %s' $((SECONDS - step_started)) "$step_name")")
    fi
    step_name=""
}

on_exit() {
    local status=$?
    if ((status != 0)); then
        printf '\n== FAILED: %s (after %d s)\n' "${step_name:-start}" $((SECONDS - started)) >&2
    fi
}
trap on_exit EXIT

fail() {
    echo "test.sh: $1" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

has_venv() {
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1
}

node_is_new_enough() {
    # The test's client parses its options with what Node has since 16.17.
    has node && node -e 'require("node:util").parseArgs || process.exit(1)' 2>/dev/null
}

has_chromium() {
    [[ -n "${SERIATIM_TEST_CHROMIUM:-}" ]] || has chromium
}

install_missing_packages() {
    local packages=()
    has_venv || packages+=(python3 python3-venv)
    has node || packages+=(nodejs)
    has npm || packages+=(npm)
    has_chromium || packages+=(chromium)
    if ((${#packages[@]} > 0)); then
        local as_root=()
        if ((EUID != 0)); then
            has sudo || fail "missing: ${packages[*]}; install them, or run this as root"
            as_root=(sudo)
        fi
        has apt-get || fail "missing: ${packages[*]}; install them with your package manager"
        echo "installing ${packages[*]}"
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    fi
    has_venv || fail "python3 still has no venv; install your Python's venv package"
    has_chromium || fail "chromium is missing; install it, or set SERIATIM_TEST_CHROMIUM to one"
    node_is_new_enough || fail "node is missing or older than 16.17; install a newer one"
}

prepare_client_libraries() {
    local env_dir=$1 websockets="websockets>=13,<17" ws="ws@^8"
    local python="$env_dir/venv/bin/python"
    if ! "$python" -c 'import websockets' >/dev/null 2>&1; then
        python3 -m venv --clear "$env_dir/venv"
        "$python" -m pip install --quiet --disable-pip-version-check "$websockets"
    fi
    if ! [[ -f "$env_dir/node/node_modules/ws/package.json" ]]; then
        mkdir -p "$env_dir/node"
        echo '{ "private": true }' >"$env_dir/node/package.json"
        npm install --prefix "$env_dir/node" --silent --no-fund --no-audit "$ws"
    fi
    export SERIATIM_TEST_PYTHON=$python
    export SERIATIM_TEST_NODE_MODULES="$env_dir/node/node_modules"
}

check_rust() {
    has cargo || fail "cargo is missing; install Rust 1.95 or newer with rustup"
    cargo fmt --version >/dev/null 2>&1 ||
        fail "cargo fmt is missing: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 ||
        fail "cargo clippy is missing: rustup component add clippy"
}

step "set-up"
check_rust
install_missing_packages
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
prepare_client_libraries "$(cd "$target" && pwd)/test-env"
"$SERIATIM_TEST_PYTHON" -c 'import websockets; print("websockets", websockets.__version__)'
node -p '"ws " + require(process.argv[1] + "/ws/package.json").version' "$SERIATIM_TEST_NODE_MODULES"

step "cargo fmt --all --check"
cargo fmt --all --check

step "cargo clippy --workspace --all-targets -- -D warnings"
cargo clippy --quiet --workspace --all-targets -- -D warnings

step "cargo test --workspace"
test_log="$target/test-env/tests.log"
cargo test --quiet --workspace 2>&1 | tee "$test_log"
passed=$(awk '/^test result: ok/ { sum += $4 } END { print sum + 0 }' "$test_log")
((passed > 0)) || fail "no test was run"

step "cargo sim --seeds 3 --out $target/sim-report"
cargo sim --seeds 3 --out "$target/sim-report"

step "cargo sim twice --seeds 2"
cargo sim twice --seeds 2

finish_step
printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
printf 'All of it passed in %d s.\n\ntests: %d passed, 0 failed\n' $((SECONDS - started)) "$passed"
