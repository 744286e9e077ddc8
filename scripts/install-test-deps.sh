#!/usr/bin/env bash
# Installs what `make test` needs and this machine lacks: the two software Vulkan drivers (Mesa's lavapipe, and
# SwiftShader, which comes with Chromium), Chromium itself, strace, the wasm target, and the browser driver from npm.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

packages=()
vulkan_loader_present || packages+=(libvulkan1)
[ -n "$LAVAPIPE_ICD" ] || packages+=(mesa-vulkan-drivers)
[ -n "$CHROMIUM" ] && [ -n "$SWIFTSHADER_ICD" ] || packages+=(chromium)
command -v strace >/dev/null || packages+=(strace)
if [ ${#packages[@]} -gt 0 ]; then
    scripts/apt-install.sh "${packages[@]}"
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "The browser tests need Node.js 20 or newer with npm: install it and try again." >&2
    exit 1
fi

if ! cargo fmt --version >/dev/null 2>&1; then rustup component add rustfmt; fi
if ! cargo clippy --version >/dev/null 2>&1; then rustup component add clippy; fi
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
    rustup target add wasm32-unknown-unknown
fi

# npm writes this file last, so it is older than the lock file exactly when the lock file has changed since.
if [ ! web/node_modules/.package-lock.json -nt web/package-lock.json ]; then
    npm ci --prefix web --no-audit --no-fund
fi
