#!/usr/bin/env bash
# Builds the npm package into target/packages and tries it: in an empty project without a bundler and with Vite, in Chromium, and with
# TypeScript. Fails above 1.5 MB. WEB_PROFILE=dev builds the library faster and larger, for a try.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
make --no-print-directory web WEB_PROFILE="${WEB_PROFILE:-web}"
cargo build
place=target/packages/npm
rm -rf $place
mkdir -p $place/pkg
cp web/npm/package.json web/npm/index.js web/npm/index.d.ts web/npm/README.md LICENSE-MIT LICENSE-APACHE $place/
cp web/dist/pkg/bootmae.js web/dist/pkg/bootmae_bg.wasm $place/pkg/
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
grep -q "\"version\": \"$version\"" $place/package.json || { echo "web/npm/package.json is not version $version" >&2; exit 1; }
tarball=$(cd $place && npm pack --silent --pack-destination ..)
size=$(wc -c <"target/packages/$tarball")
echo "target/packages/$tarball: $size bytes"
[ "$size" -le 1500000 ] || [ "${WEB_PROFILE:-web}" != web ] || { echo "more than 1.5 MB" >&2; exit 1; }
PACKAGE="$PWD/target/packages/$tarball" node --test --test-reporter=spec web/test/package.test.mjs
