#!/usr/bin/env bash
# Measures ViT-B at 224/16 on a GPU: bootmae in f32 and f16 with the time of each kernel, beside the adapter's best matmul
# and copy, and PyTorch on the same machine where it has CUDA. Writes docs/performance.md. Checks a training step of each
# precision against its fixture first, so that no figure comes from a wrong step.
#
#   benches/gpu.sh [--adapter NAME] [--batch N] [--steps N] [--model PRESET] [--out FILE] [--candidates] [--allow-software]
#
# --candidates adds the rate of every kernel variant at every shape of the step, which takes minutes.
# On a software adapter it stops, unless --allow-software is given (to try the script; add `--model nano --batch 1`).
# BOOTMAE and PYTHON name other programs than those found or built here.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/common.sh

command="${BOOTMAE:+BOOTMAE=$BOOTMAE }benches/gpu.sh $*"
adapter= batch=64 steps=20 model=base out=docs/performance.md candidates= software=
usage() {
    sed -n '/^#   benches/s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --allow-software) software=yes && shift && continue ;;
    --candidates) candidates=yes && shift && continue ;;
    --adapter | --batch | --steps | --model | --out) [ $# -ge 2 ] || usage ;;
    *) usage ;;
    esac
    case $1 in
    --adapter) adapter=$2 ;;
    --batch) batch=$2 ;;
    --steps) steps=$2 ;;
    --model) model=$2 ;;
    --out) out=$2 ;;
    esac
    shift 2
done

build_bootmae

for precision in f32 f16; do
    status=0
    "$bootmae" verify tests/fixtures/step_wide.safetensors --precision "$precision" ${adapter:+--adapter "$adapter"} \
        >"$scratch/verify" 2>"$scratch/err" || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$scratch/verify" "$scratch/err" >&2
        say "Nothing was measured: there is no usable adapter, or its training step in $precision is wrong (exit $status)."
        exit "$status"
    fi
done
line=$(adapter_line "$scratch/err")
say "adapter: $line; its training steps agree with the fixture"
case $line in
*", Cpu,"*)
    if [ -z "$software" ]; then
        say "This is a software adapter, not a GPU. Install the GPU's Vulkan driver, choose another with --adapter, or"
        say "measure the processor with --allow-software. \`bootmae doctor\` lists the adapters."
        exit 4
    fi
    ;;
esac

value() { json "$1" <"$scratch/bench-${2:-f32}"; }
fixed() { awk -v v="$1" -v d="$2" -v s="${3:-1}" 'BEGIN { printf "%.*f", d, v * s }'; }
row() { echo "| $1 | $(fixed "$2" 2) | $(fixed "$3" 1) | $(fixed "$4" 0) |" >>"$scratch/rows"; }
for precision in f32 f16; do
    say "bootmae: $model, $batch images, $steps steps in $precision"
    if ! "$bootmae" bench --json --profile --model "$model" --image-size 224 --patch-size 16 --batch-size "$batch" \
        --steps "$steps" --precision "$precision" ${adapter:+--adapter "$adapter"} \
        >"$scratch/bench-$precision" 2>"$scratch/err"; then
        cat "$scratch/err" >&2
        exit 1
    fi
    if [ -n "$candidates" ]; then
        say "bootmae: every kernel variant at every shape of the step in $precision"
        "$bootmae" bench --candidates --model "$model" --image-size 224 --patch-size 16 --batch-size "$batch" \
            --precision "$precision" ${adapter:+--adapter "$adapter"} \
            >"$scratch/candidates-$precision" 2>"$scratch/err" || cat "$scratch/err" >&2
    fi
    of() { value "$1" "$precision"; }
    row "bootmae, $precision" "$(of step_ms)" "$(of images_per_s)" "$(of gflops)"
done

# torch LABEL FLAG...: a row of the table, or a word on why there is none.
torch() {
    local label=$1
    shift
    if "$python" benches/peers/torch_step.py b224 "$batch" "$steps" --cuda --json "$@" \
        >"$scratch/torch" 2>"$scratch/err"; then
        of() { json "$1" <"$scratch/torch"; }
        row "torch, $label" "$(of step_ms)" "$(of images_per_s)" "$(of gflops)"
        versions="$(of torch), CUDA $(of cuda), on $(of device)"
    else
        say "torch, $label: failed: $(tail -n 1 "$scratch/err")"
        echo "| torch, $label | failed | | |" >>"$scratch/rows"
    fi
}

versions=
find_torch
if [ "$model" != base ]; then
    say "torch: skipped, it is measured with base only"
elif torch_has_cuda; then
    say "torch: f32, TF32, float16, bfloat16"
    torch "f32"
    torch "TF32 matmuls" --tf32
    torch "float16 autocast" --amp
    torch "bfloat16 autocast, fused attention, compiled" --bf16 --sdpa --compile
elif [ -n "$python" ]; then
    say "torch: skipped, it has no CUDA here. For NVIDIA GPUs: pip install torch"
fi

mkdir -p "$(dirname "$out")"
{
    echo "# Performance"
    echo
    echo "Written by \`${command% }\` on $(date -u +%Y-%m-%d). A run of the script replaces this file."
    echo
    echo "- $("$bootmae" --version) ($(revision)), $(rustc --version | cut -d ' ' -f 1-2)"
    echo "- adapter: $line"
    [ -z "$versions" ] || echo "- torch: $versions"
    echo "- processor: $(cpu_model); load at the end: $(load)"
    case $line in *", Cpu,"*) echo "- **a software adapter: these are a processor's figures, not a GPU's**" ;; esac
    echo
    echo "## A training step of \`$model\` at 224/16, $batch images"
    echo "Medians of $steps steps, each submitted before the last one's losses are read, as in training; torch's as the head of"
    echo "\`benches/peers/torch_step.py\` says. GFLOP/s count the published computation (\`ModelConfig::step_flops\`)."
    echo
    echo "| | ms | images/s | GFLOP/s |"
    echo "|---|---|---|---|"
    cat "$scratch/rows"
    echo
    echo "| | f32 | f16 |"
    echo "|---|---|---|"
    both() { echo "| $1 | $(fixed "$(value "$2" f32)" "$3" "${4:-1}") $5 | $(fixed "$(value "$2" f16)" "$3" "${4:-1}") $5 |"; }
    both "best matmul of bootmae" best_matmul_gflops 1 1 GFLOP/s
    both "step over best matmul" share_of_best_matmul 0 100 %
    both "best copy, read and written" best_copy_gbs 1 1 GB/s
    both "the host's part of a step" host_ms 2 1 ms
    both "dispatches" dispatches 0 1 ""
    both "GPU memory" peak_bytes 0 9.5367431640625e-7 MiB
    echo
    for precision in f32 f16; do
        if [ -n "$candidates" ]; then
            echo "## Kernel variants in $precision"
            echo "\`bootmae bench --candidates --precision $precision\`: the rate of each, at each different shape of the step."
            echo "\`\`\`"
            cat "$scratch/candidates-$precision"
            echo "\`\`\`"
            echo
        fi
        echo "## Where the time goes in $precision"
        if grep -q '"kernel":' "$scratch/bench-$precision"; then
            echo "Each dispatch in a pass of its own. GB/s count what is bound once; small tensors stay in caches and can"
            echo "pass the copy's rate."
            echo
            echo "| kernel | calls | ms | share | rate | of the best |"
            echo "|---|---|---|---|---|---|"
            awk -F '": ' '
                { key = $1; sub(/.*"/, "", key); v[key] = $2; sub(/,$/, "", v[key]); gsub(/"/, "", v[key]) }
                key == "share_of_best" && v["kernel"] != "" {
                    flops = v["gflops"] + 0 > 0
                    printf "| `%s` | %d | %.3f | %.1f %% | %.1f %s | %.0f %% of the %s |\n", v["kernel"],
                        v["calls"], v["ms"], v["share"] * 100, flops ? v["gflops"] : v["gbs"],
                        flops ? "GFLOP/s" : "GB/s", v["share_of_best"] * 100, flops ? "matmul" : "copy"
                }' "$scratch/bench-$precision"
        else
            echo "Not known: the adapter has no timestamps."
        fi
        echo
    done
} >"$scratch/page"
cp "$scratch/page" "$out.partial"
mv "$out.partial" "$out"
say "written: $out"
