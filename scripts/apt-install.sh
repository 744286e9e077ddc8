#!/usr/bin/env bash
# apt-install.sh PACKAGE...: installs Debian packages, through sudo when not root; where that is impossible, prints what
# to run instead and fails.
set -eu

if ! command -v apt-get >/dev/null; then
    echo "This system has no apt-get. Install the equivalents of these Debian packages and try again: $*" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Installing needs root. As root, run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing with apt-get: $*"
${as_root[@]+"${as_root[@]}"} apt-get -o Acquire::Retries=3 update -qq
${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -o Acquire::Retries=3 install -y -qq --no-install-recommends "$@" </dev/null
