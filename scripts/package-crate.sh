#!/usr/bin/env bash
# Packs the crate as it would be published and tries it: the packed sources are built, and the first example runs from them.
# Nothing is published. Fails above 10 MB, the most that the registry takes.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh
target=${CARGO_TARGET_DIR:-target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What is not committed is packed too, so that a change can be tried.
cargo package --package bootmae --allow-dirty --no-verify
packed=$target/package/bootmae-$version.crate
size=$(wc -c <"$packed")
echo "$packed: $size bytes"
[ "$size" -le 10000000 ] || { echo "more than 10 MB" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar xzf "$packed" -C "$work"
# One folder for what is built, so that dependencies are those of this workspace.
CARGO_TARGET_DIR=$(realpath "$target")
export CARGO_TARGET_DIR BOOTMAE_NO_TUNE=1
if [ -n "$LAVAPIPE_ICD" ]; then export VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD"; fi
cd "$work/bootmae-$version"
# The packed files are dated years back, so Cargo would take the workspace's own build for theirs.
touch build.rs src/*.rs examples/*.rs
cargo run --locked --example first_graph
cargo doc --locked --no-deps --lib
