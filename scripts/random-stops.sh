#!/usr/bin/env bash
# Stops a small run after a random step and resumes it, N (50) times with 1, 2 or 4 loader threads before and after, and
# compares its last checkpoint with an uninterrupted run's, which has the number of threads that the checkpoint tells in
# its settings. ADAPTER (llvmpipe) names the adapter, BOOTMAE the program.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-50}
bootmae=${BOOTMAE:-target/debug/bootmae}
steps=20
export BOOTMAE_NO_TUNE=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for threads in 1 2 4; do
    cat >"$scratch/$threads.toml" <<END
[model]
preset = "nano"
image_size = 16
width = 32
depth = 2
heads = 2
pixel_decoder_width = 32
[training]
save_every_steps = 7
sample_every_steps = 0
[data]
loader_threads = $threads
END
done
train() {
    local threads=$1
    shift
    "$bootmae" pretrain --data examples/photos/train --batch-size 4 --seed 3 --steps $steps --config \
        "$scratch/$threads.toml" --adapter "${ADAPTER:-llvmpipe}" "$@" 2>"$scratch/log" ||
        { tail -n 3 "$scratch/log" >&2; exit 1; }
}
sum() { cat "$1/checkpoints/step-$steps"/*.safetensors | sha256sum; }
some() { case $((RANDOM % 3)) in 0) echo 1 ;; 1) echo 2 ;; *) echo 4 ;; esac }

for threads in 1 2 4; do
    train $threads --out "$scratch/whole-$threads"
done
equal=0
for _ in $(seq "$rounds"); do
    stop=$((RANDOM % (steps - 1) + 1)) before=$(some) after=$(some)
    rm -rf "$scratch/parts"
    train "$before" --out "$scratch/parts" --stop-after $stop
    train "$after" --out "$scratch/parts" --resume
    if [ "$(sum "$scratch/parts")" = "$(sum "$scratch/whole-$after")" ]; then
        equal=$((equal + 1))
    else
        echo "differs: stopped after step $stop, $before threads before and $after after"
    fi
done
echo "$equal of $rounds runs end with the bits of the uninterrupted one"
[ "$equal" = "$rounds" ]
