#!/usr/bin/env bash
# Whether one version stands everywhere: check-version.sh VERSION
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$1
failed=0
# says FILE PATTERN: fails unless the file has a line like that.
says() {
    grep -q "$2" "$1" || { echo "$1 does not name version $version" >&2; failed=1; }
}
says Cargo.toml "^version = \"$version\"$"
says web/npm/package.json "\"version\": \"$version\""
says CHANGELOG.md "^## \[$version\]"
exit $failed
