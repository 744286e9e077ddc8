#!/usr/bin/env bash
# A run of two processes under mpirun that is killed again and again (SIGKILL to either process, at random moments, also while it
# saves) and goes on each time: it ends with the bits of an undisturbed one. `make test-mpi` builds the program first.
#
#   KILLS=20   how often
#   STEPS=240  steps of the run; SAVE=3 steps between two checkpoints
#   BOOTMAE    the program, built with the feature `mpi` (target/debug/bootmae)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh
export VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD" BOOTMAE_NO_TUNE=1 LP_NUM_THREADS=1
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
program=${BOOTMAE:-target/debug/bootmae}
kills=${KILLS:-20} steps=${STEPS:-240} save=${SAVE:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

train() {
    mpirun -np 2 "$program" pretrain --data examples/photos/train --out "$work/$1" --model nano --image-size 16 \
        --batch-size 8 --steps "$steps" --save-every "$save" --seed 3 "${@:2}" >>"$work/$1.log" 2>&1
}
train calm
# Seconds from the first step's line to the last.
whole=$(sed -n '1s/.*"elapsed_s":\([0-9.]*\).*/-\1/p; $s/.*"elapsed_s":\([0-9.]*\).*/\1/p' "$work/calm/metrics.jsonl" |
    awk '{ sum += $1 } END { print sum }')
echo "the undisturbed run trains for $whole s"
killed=0
while [ "$killed" -lt "$kills" ]; do
    if [ -e "$work/killed/checkpoints" ]; then resume=--resume; else resume=--overwrite; fi
    touch "$work/begun"
    train killed "$resume" &
    job=$!
    # From the first new step on, some time within this kill's part of the run.
    while kill -0 "$job" 2>/dev/null && ! [ "$work/killed/metrics.jsonl" -nt "$work/begun" ]; do sleep 0.05; done
    sleep "$(awk -v seed="$RANDOM" -v part="$whole $kills" 'BEGIN { srand(seed); split(part, p, " "); print rand() * p[1] / p[2] }')"
    mapfile -t processes < <(pgrep -f "^$program pretrain .*$work/killed" || true)
    if [ "${#processes[@]}" -gt 0 ] && kill -KILL "${processes[RANDOM % ${#processes[@]}]}" 2>/dev/null; then
        killed=$((killed + 1))
    fi
    if wait "$job"; then
        echo "the run ended after $killed kills"
        break
    fi
    echo "kill $killed: $(ls "$work/killed/checkpoints" 2>/dev/null | tr '\n' ' ')"
done
[ "$killed" -ge "$kills" ] || { echo "only $killed kills: more STEPS" >&2; exit 1; }
train killed --resume
for file in model teacher optimizer; do
    cmp "$work/calm/checkpoints/step-$steps/$file.safetensors" "$work/killed/checkpoints/step-$steps/$file.safetensors"
done
echo "ok: after $killed kills the bits of an undisturbed run"
