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
# Two runs' last checkpoints, byte for byte, and their metrics but for times and memory: NAME NAME [STEPS].
same() {
    local one="$work/$1" other="$work/$2" last=checkpoints/step-${3:-6} file
    for file in model teacher optimizer; do
        cmp "$one/$last/$file.safetensors" "$other/$last/$file.safetensors" || fail "$1 and $2: $file"
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

# The same with eight passes that are added up as a tree, on two, one and four.
train tree-alone 1 --micro-batch 1 --reduction tree || fail "eight passes"
train tree 2 --micro-batch 1 --reduction tree --stop-after 2 || fail "a tree on two processes"
train tree 1 --reduction tree --stop-after 4 --resume || fail "a tree on one process"
train tree 4 --reduction tree --resume || fail "a tree on four processes"
same tree-alone tree

# Gradients that travel as halves.
train halves 2 --wire f16 || fail "halves"
cmp -s "$work/halves/checkpoints/step-6/model.safetensors" "$work/two-f32/checkpoints/step-6/model.safetensors" &&
    fail "halves did not round"
echo "ok: gradients travel as halves"

# Features of three processes are those of one.
for ranks in 1 3; do
    mpirun -np $ranks "$program" embed --checkpoint "$work/two-f32" --data examples/photos/train --batch-size 4 \
        --out "$work/features-$ranks.safetensors" >"$work/embed.log" 2>&1 || fail "features of $ranks processes"
done
cmp "$work/features-1.safetensors" "$work/features-3.safetensors" || fail "features of one and three processes"
echo "ok: features of three processes are those of one"

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

# A run that is killed at random moments, KILLS times, ends with the bits of one that is left alone.
STEPS=60 SAVE=1 train undisturbed 2 || fail "an undisturbed run"
for kill in $(seq "${KILLS:-2}"); do
    STEPS=60 SAVE=1 train disturbed 2 --resume &
    job=$!
    sleep "$((3 + RANDOM % 4)).$((RANDOM % 1000))"
    pkill -KILL -n -f "bootmae pretrain .*$work/disturbed" || true
    wait $job || true
done
STEPS=60 SAVE=1 train disturbed 2 --resume || fail "going on after kills"
same undisturbed disturbed 60

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
STEPS=4000 train stopped 2 --resume &
job=$!
sleep 3
until grep -q continuing "$work/stopped.log"; do sleep 0.2; done
touch "$work/stopped/STOP"
code=0
wait $job || code=$?
[ $code = 130 ] && grep -q "stopped by the file STOP" "$work/stopped.log" || fail "STOP: exit code $code"
echo "ok: the file STOP stops all"

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
