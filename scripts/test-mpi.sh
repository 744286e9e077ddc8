#!/usr/bin/env bash
# Training over several processes under Open MPI, on lavapipe: the bits of one process, an end by a signal, a process that
# is killed, settings that differ. Not part of `make test`: it builds the program once more, with the feature `mpi`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

command -v mpirun >/dev/null || scripts/apt-install.sh openmpi-bin libopenmpi-dev libclang-dev
export VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD" BOOTMAE_NO_TUNE=1 LP_NUM_THREADS=1
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
cargo build --features mpi --bin bootmae --example ranks_check "$@"
scripts/check-ranks.sh "${CARGO_TARGET_DIR:-target}/debug/examples/ranks_check" quick
program=${CARGO_TARGET_DIR:-target}/debug/bootmae
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Trains in a folder of that name: NAME PROCESSES [FLAGS]; STEPS are those of the run, SAVE those between two checkpoints.
train() {
    local name=$1 ranks=$2
    shift 2
    mpirun -np "$ranks" "$program" pretrain --data examples/photos/train --out "$work/$name" --model nano --image-size 16 \
        --batch-size 8 --steps "${STEPS:-6}" --save-every "${SAVE:-2}" --seed 3 "$@" >>"$work/$name.log" 2>&1
}
fail() {
    echo "FAILED: $1"
    tail -n 40 "$work"/*.log
    exit 1
}
# Two runs' last checkpoints, byte for byte, and their metrics but for times and memory.
same() {
    local one="$work/$1" other="$work/$2" file
    for file in model teacher optimizer; do
        cmp "$one/checkpoints/step-6/$file.safetensors" "$other/checkpoints/step-6/$file.safetensors" || fail "$1 and $2: $file"
    done
    for file in "$one" "$other"; do
        grep -o '"\(step\|loss\|loss_[a-z]*\|teacher_[a-z]*\|gradient_norm\)":[^,}]*' "$file/metrics.jsonl" >"$file.metrics"
    done
    cmp "$one.metrics" "$other.metrics" || fail "$1 and $2: metrics"
    echo "ok: $1 and $2 have the same bits"
}

for precision in f32 f16; do
    train "alone-$precision" 1 --micro-batch 4 --precision $precision || fail "one process"
    train "two-$precision" 2 --precision $precision || fail "two processes"
    same "alone-$precision" "two-$precision"
done

# 2 steps on two processes, 2 on one, 2 on two.
train parts 2 --stop-after 2 || fail "two steps"
train parts 1 --stop-after 4 --resume || fail "two more on one process"
train parts 2 --resume || fail "the last two"
same alone-f32 parts

# A process that is killed ends the job, and the same command goes on.
STEPS=400 SAVE=1 train killed 2 &
job=$!
until [ -e "$work/killed/checkpoints/step-3" ]; do
    sleep 0.2
    kill -0 $job || fail "it ended by itself"
done
began=$SECONDS
pkill -KILL -n -f "$work/killed" || fail "no process to kill"
wait $job && fail "a job without one of its processes ended well"
echo "ok: a killed process ended the job in $((SECONDS - began)) s"
STEPS=400 SAVE=1 train killed 2 --resume --stop-after 6 || fail "going on after a kill"
echo "ok: it goes on"

# A signal to mpirun stops all after the same step.
STEPS=4000 train stopped 2 &
job=$!
until [ -s "$work/stopped/metrics.jsonl" ]; do sleep 0.2; done
pkill -USR1 -f "^mpirun .*$work/stopped"
code=0
wait $job || code=$?
[ $code = 130 ] || fail "SIGUSR1: exit code $code"
grep -q "stopped by a signal" "$work/stopped.log" || fail "SIGUSR1 was not told"
echo "ok: SIGUSR1 stops all with a checkpoint"

# What differs is refused.
code=0
mpirun -np 1 "$program" pretrain --data examples/photos/train --out "$work/differs" --model nano --image-size 16 \
    --batch-size 8 --steps 6 : -np 1 "$program" pretrain --data examples/photos/train --out "$work/differs" --model nano \
    --image-size 16 --batch-size 8 --steps 7 >"$work/differs.log" 2>&1 || code=$?
[ $code = 2 ] && grep -q "settings of process 1" "$work/differs.log" || fail "settings that differ: exit code $code"
echo "ok: settings that differ are refused"
train odd 3 && fail "8 images for 3 processes"
grep -q -- "--batch-size 6 or 9" "$work/odd.log" || fail "no batch that fits is named"
echo "ok: a batch that cannot be dealt out is refused"
