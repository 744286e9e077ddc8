#!/usr/bin/env bash
# Opens what `bootmae export` writes in the programs that it is for: ONNX Runtime, timm and Transformers. PYTHON names an
# interpreter that has them (tests/interop/requirements.txt); without it a virtual environment is made once, in
# target/interop. On Linux pip's PyTorch brings CUDA along, some 3 GB.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

python=${PYTHON:-}
if [ -z "$python" ]; then
    if ! python3 -c 'import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "SKIPPED: NO PYTHON 3.11 OR NEWER WITH venv. Nothing of \`bootmae export\` was opened by other programs." >&2
        exit 0
    fi
    python=target/interop/bin/python
    if ! cmp -s tests/interop/requirements.txt target/interop/installed.txt; then
        python3 -m venv --clear target/interop
        "$python" -m pip install --quiet --disable-pip-version-check --requirement tests/interop/requirements.txt
        cp tests/interop/requirements.txt target/interop/installed.txt
    fi
fi

cargo build "$@"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export WORK BOOTMAE_NO_TUNE=1 HF_HUB_OFFLINE=1 XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
export BOOTMAE="${CARGO_TARGET_DIR:-target}/debug/bootmae"
if [ -n "$LAVAPIPE_ICD" ]; then
    export VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD"
fi
"$python" -m unittest discover --start-directory tests/interop --verbose
