#!/usr/bin/env bash
# Runs `cargo test` once with both software Vulkan drivers loaded in one process, so that every GPU test runs on two
# independent implementations. BOOTMAE_EXPECT_ADAPTERS makes the tests fail, not pass silently, when one is absent.
# Arguments go to `cargo test`.
set -eu
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
cargo test "$@"
