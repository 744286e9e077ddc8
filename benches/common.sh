# For sourcing by the scripts beside it: what a benchmark runs and what it says about the machine.
export LC_ALL=C
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" # Vulkan loaders complain without one

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

say() { echo "$@" >&2; }

# Builds the program, unless BOOTMAE names one, and leaves its path in `bootmae`.
build_bootmae() {
    bootmae=${BOOTMAE:-}
    if [ -z "$bootmae" ]; then
        say "Building bootmae (several minutes the first time)"
        cargo build --locked --quiet >&2
        bootmae=${CARGO_TARGET_DIR:-target}/debug/bootmae
    fi
    if [ ! -x "$bootmae" ]; then
        say "$bootmae is not a program: build it with \`cargo build\`, or name another in BOOTMAE."
        exit 1
    fi
}

# Leaves in `python` an interpreter that has torch: PYTHON, or the first one that has. Empty without.
find_torch() {
    python=
    local candidate
    for candidate in ${PYTHON:-python3 /usr/bin/python3}; do
        if "$candidate" -c 'import torch' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    say "torch: skipped, not installed. On Debian: apt-get install python3-torch libopenblas0-pthread (without OpenBLAS"
    say "       torch computes on the reference BLAS, ten times slower). Elsewhere: pip install torch. PYTHON names the"
    say "       interpreter that has it."
}

torch_has_cuda() {
    [ -n "$python" ] && "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'
}

# json KEY < FILE: the first value of a key, a number or a text without quotation marks inside.
json() { sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' | head -n 1; }

# The adapter as bootmae named it on standard error, in a file.
adapter_line() { sed -n 's/^adapter: //p' "$1" | head -n 1; }

cpu_model() {
    local model
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "${model:-$(sysctl -n machdep.cpu.brand_string 2>/dev/null || uname -m)}, $(processors) logical processors"
}

processors() { nproc 2>/dev/null || sysctl -n hw.ncpu; }

load() { uptime | sed 's/.*load average[s]*: //'; }

revision() {
    local changed=
    [ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || changed=", changed"
    echo "$(git rev-parse --short HEAD 2>/dev/null || echo "no git")$changed"
}
