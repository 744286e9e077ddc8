#!/usr/bin/env bash
# Times a BootMAE training step here and in burn and PyTorch, side by side: each in turn, several rounds, medians.
# Prints a Markdown table and what it was measured with; progress goes to standard error. A peer that is not installed
# is skipped, with a word on how to install it.
#
#   ADAPTER=NAME      the adapter, as for `bootmae bench --adapter`; also limit Vulkan to it with VK_DRIVER_FILES
#   WORKS="c32 s224"  c32: tiny, 32/4, 32 images a step. s224: small, 224/16, 2 images
#   ROUNDS=3          rounds of every program
#   STEPS=5           steps timed in a round, after one that warms up
#   BURN_STEPS=N      steps of burn; 1 on a software adapter, where a step takes it more than a minute
#   LIMIT=1800        seconds after which a run is given up
#   PEERS="burn torch"
#   BOOTMAE, BURN_PEER, PYTHON: other programs than those found or built here
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/common.sh

works=${WORKS:-c32 s224}
rounds=${ROUNDS:-3}
steps=${STEPS:-5}
peers=${PEERS-burn torch}
results=$scratch/results
: >"$results"

build_bootmae

burn=${BURN_PEER:-benches/peers/burn/target/release/burn-peer}
python=
programs=bootmae
for peer in $peers; do
    case $peer in
    burn)
        if [ -x "$burn" ]; then
            programs="$programs burn"
        else
            say "burn: skipped, not built. Its build takes from several minutes to most of an hour:"
            say "       cargo build --release --locked --manifest-path benches/peers/burn/Cargo.toml \\"
            say "           --target-dir benches/peers/burn/target"
        fi
        ;;
    torch)
        find_torch
        [ -z "$python" ] || programs="$programs torch"
        ;;
    *)
        say "$peer is no peer: burn, torch"
        exit 2
        ;;
    esac
done

# start PROGRAM WORK: runs it, JSON to standard output.
start() {
    local program=$1 work=$2
    case $program:$work in
    bootmae:c32) limited "$bootmae" bench --json --model tiny --image-size 32 --patch-size 4 --batch-size 32 \
        --steps "$steps" ${ADAPTER:+--adapter "$ADAPTER"} ;;
    bootmae:s224) limited "$bootmae" bench --json --model small --image-size 224 --patch-size 16 --batch-size 2 \
        --steps "$steps" ${ADAPTER:+--adapter "$ADAPTER"} ;;
    burn:*) limited "$burn" "$work" "$burn_steps" ;;
    torch:c32) limited "$python" benches/peers/torch_step.py c32 32 "$steps" --json $torch_flags ;;
    torch:s224) limited "$python" benches/peers/torch_step.py s224 2 "$steps" --json $torch_flags ;;
    *) say "$work is no work: c32, s224" && return 2 ;;
    esac
}

limited() {
    if command -v timeout >/dev/null; then timeout "${LIMIT:-1800}" "$@"; else "$@"; fi
}

burn_steps=${BURN_STEPS:-$steps}
torch_flags="--threads $(processors)"
adapter=
load_before=$(load)
for round in $(seq "$rounds"); do
    for work in $works; do
        for program in $programs; do
            status=0
            start "$program" "$work" >"$scratch/out" 2>"$scratch/err" || status=$?
            rate=$(json images_per_s <"$scratch/out")
            if [ "$status" -ne 0 ] || [ -z "$rate" ]; then
                say "round $round, $work, $program: failed (exit $status): $(tail -n 1 "$scratch/err")"
                [ "$program" != bootmae ] || exit 1
                continue
            fi
            say "round $round, $work, $program: $rate images/s"
            echo "$work $program $rate" >>"$results"
            if [ "$program" = bootmae ] && [ -z "$adapter" ]; then
                # Known from the first run on, which is why ours comes first: burn and torch are to take the same one.
                adapter=$(adapter_line "$scratch/err")
                case $adapter in
                *", Cpu,"*)
                    export CUBECL_WGPU_DEFAULT_DEVICE=Cpu
                    burn_steps=${BURN_STEPS:-1}
                    ;;
                *)
                    if torch_has_cuda; then torch_flags=--cuda; fi
                    ;;
                esac
            fi
        done
    done
done

# summary WORK PROGRAM: "median lowest highest" of the rounds, nothing without any.
summary() {
    awk -v work="$1" -v program="$2" '$1 == work && $2 == program { print $3 }' "$results" | sort -g |
        awk '{ v[NR] = $1 } END { if (NR) { m = int((NR + 1) / 2)
            print NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2, v[1], v[NR] } }'
}

cell() {
    set -- $(summary "$1" "$2")
    if [ $# -eq 0 ]; then
        echo "—"
    else
        awk -v m="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%.3g (%.3g to %.3g)", m, a, b }'
    fi
}

ratio() {
    set -- $(summary "$1" bootmae) $(summary "$1" "$2")
    if [ $# -lt 6 ]; then echo "—"; else awk -v a="$1" -v b="$4" 'BEGIN { printf "%.2f", a / b }'; fi
}

echo "Images a second, median of $rounds rounds (lowest to highest):"
echo
echo "| work | bootmae | burn | torch | bootmae / burn | bootmae / torch |"
echo "|---|---|---|---|---|---|"
for work in $works; do
    case $work in
    c32) name="tiny, 32/4, 32 images a step" ;;
    s224) name="small, 224/16, 2 images a step" ;;
    esac
    echo "| $name | $(cell "$work" bootmae) | $(cell "$work" burn) | $(cell "$work" torch) |" \
        "$(ratio "$work" burn) | $(ratio "$work" torch) |"
done
echo
echo "- $("$bootmae" --version) ($(revision)), $(rustc --version | cut -d ' ' -f 1-2)"
case " $programs " in *" burn "*)
    version=$(awk '/^name = "burn"$/ { getline; gsub(/[^0-9.]/, ""); print }' benches/peers/burn/Cargo.lock)
    echo "- burn: $version, autodiff on wgpu, $burn_steps steps a round" ;;
esac
case " $programs " in *" torch "*)
    "$python" benches/peers/torch_step.py --versions $torch_flags >"$scratch/versions"
    echo "- torch: $(json torch <"$scratch/versions") on $(case $torch_flags in
        --cuda) json device <"$scratch/versions" ;;
        *) echo "the CPU, $(json threads <"$scratch/versions") threads" ;;
        esac); BLAS: $(json blas <"$scratch/versions")" ;;
esac
echo "- adapter and driver of bootmae and burn: $adapter"
echo "- processor: $(cpu_model); load before and after: $load_before; $(load)"
