#!/usr/bin/env bash
# Runs all tests once with both software Vulkan drivers loaded in one process, so that every GPU test runs on two
# independent implementations. BOOTMAE_EXPECT_ADAPTERS makes the tests fail, not pass silently, when one is absent.
# Arguments go to `cargo test`. Test programs run side by side, one for two processors: much of their time goes into a
# driver's compiler, which has one thread.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

for driver in LAVAPIPE_ICD SWIFTSHADER_ICD; do
    if [ -z "${!driver}" ]; then
        echo "No $driver found: run scripts/install-test-deps.sh first." >&2
        exit 1
    fi
done
export VK_DRIVER_FILES="$LAVAPIPE_ICD:$SWIFTSHADER_ICD"
export VK_ICD_FILENAMES="$VK_DRIVER_FILES" # the same for Vulkan loaders older than 1.3.207
export BOOTMAE_EXPECT_ADAPTERS="llvmpipe,SwiftShader"
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" # Vulkan loaders complain without one
export BOOTMAE_NO_TUNE=1                          # the tests' runs are too short to measure kernels for
echo "Drivers: $VK_DRIVER_FILES"
echo "Adapters the tests must find: $BOOTMAE_EXPECT_ADAPTERS"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
CARGO_TERM_COLOR=never cargo test --no-run "$@" 2>&1 | tee "$logs/build"
programs=$(sed -n 's/^ *Executable .* (\(.*\))$/\1/p' "$logs/build")
# The longest first; those that measure time come by themselves.
order() {
    local long='kernels cli training mutants parity data' name
    for name in $long; do
        grep "/$name-" <<<"$programs" || true
    done
    grep -vE "/(${long// /|}|hostile|stops)-" <<<"$programs"
}
one() {
    local log began=$SECONDS
    log="$logs/$(basename "$1")"
    if "$1" --test-threads=2 >"$log" 2>&1; then
        echo "$(basename "$1"), $((SECONDS - began)) s: $(grep '^test result:' "$log")"
    else
        cat "$log"
        echo "FAILED: $1"
        return 1
    fi
}
export -f one
export logs
order | xargs -P "$(((($(nproc) + 1) / 2) + 1))" -I{} bash -c 'one {}'
for name in hostile stops; do
    one "$(grep "/$name-" <<<"$programs")"
done
