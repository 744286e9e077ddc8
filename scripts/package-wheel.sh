#!/usr/bin/env bash
# Builds the Python wheel into target/packages and tries it as it is installed: in a new virtual environment with nothing but
# NumPy, in a home that is empty. The README's first example runs there as it is written, then the tests of the module.
#
# The wheel is built from a copy of the working tree without what was built in it. So it does not hold the page that
# `make web` leaves in web/dist, which alone is longer than MOST: `serve` has none in a wheel.
#
#   CARGO_TARGET_DIR   where Cargo builds (target/packages/build)
#   PYTHON             the interpreter of the virtual environments (python3)
#   WHEEL              a wheel that is there already: nothing is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

# The longest wheel that passes, in bytes, and what builds it.
MOST=$((12 * 1024 * 1024))
MATURIN=maturin==1.16.0

root=$PWD
out=$root/target/packages
python=${PYTHON:-python3}
if ! "$python" -c 'import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "The wheel needs Python 3.9 or newer with venv (Debian: python3-venv); $python is none." >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

wheel=${WHEEL:-}
if [ -z "$wheel" ]; then
    if [ ! -x "$out/venv/bin/maturin" ] || [ "$(cat "$out/venv/installed.txt" 2>/dev/null)" != "$MATURIN" ]; then
        "$python" -m venv --clear "$out/venv"
        "$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$MATURIN"
        echo "$MATURIN" >"$out/venv/installed.txt"
    fi
    # What git has or would add, with its times, by which Cargo knows what is new. A file removed since is no error.
    rm -rf "$out/source"
    mkdir "$out/source"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' path; do if [ -e "$path" ]; then printf '%s\0' "$path"; fi; done |
        tar --create --null --files-from=- | tar --extract --directory="$out/source"
    build=${CARGO_TARGET_DIR:-$out/build}
    mkdir -p "$build"
    CARGO_TARGET_DIR=$(cd "$build" && pwd)
    export CARGO_TARGET_DIR
    rm -f "$out"/*.whl
    (cd "$out/source/python" && "$out/venv/bin/maturin" build --release --out "$out")
    wheel=$(echo "$out"/*.whl)
fi
wheel=$(realpath "$wheel")
bytes=$(wc -c <"$wheel")
echo "$wheel: $bytes bytes, $(awk -v b="$bytes" 'BEGIN { printf "%.1f", b / 1048576 }') MiB"
"$python" -m zipfile --list "$wheel"
if [ "$bytes" -gt "$MOST" ]; then
    echo "The wheel is longer than $MOST bytes." >&2
    exit 1
fi

# What else is installed comes by pip's own settings, which may be in the home that is left now.
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check --dest "$work/wheels" "$wheel"
mkdir "$work/home" "$work/example"
variables=(HOME="$work/home" PATH="$work/venv/bin:/usr/bin:/bin" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 BOOTMAE_NO_TUNE=1
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}")
if [ -n "$LAVAPIPE_ICD" ]; then
    variables+=(VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD")
fi
clean() { env -i "${variables[@]}" "$@"; }
clean python -m pip install --quiet --disable-pip-version-check --no-index --find-links "$work/wheels" "$wheel"
clean python -m pip list --disable-pip-version-check

echo "The first example of python/README.md:"
ln -s "$root/examples/photos/train" "$work/example/photos"
awk '/^```/ { inside = /^```python/ && !shown; next } inside { print; shown = 1 } !inside && shown { exit }' \
    python/README.md >"$work/example/example.py"
cat "$work/example/example.py"
(cd "$work/example" && clean python -W error example.py)
(cd "$work/example" && clean bootmae --version)

echo "A first picture, as python/README.md makes it:"
begun=$SECONDS
cp examples/photos/held-out/coffee.jpg "$work/example/other.jpg"
(cd "$work/example" && clean bootmae pretrain --preset demo --data photos --out first >log 2>&1 &&
    clean bootmae reconstruct --checkpoint first --image other.jpg --out picture.png) || { cat "$work/example/log"; exit 1; }
echo "$((SECONDS - begun)) s after the installation"

# From elsewhere, so that the module is the one that was installed.
cd "$work"
clean BOOTMAE="$work/venv/bin/bootmae" python -m unittest discover --verbose --start-directory "$root/python/tests"
