#!/usr/bin/env bash
# Compares updates of two processes over a slow line with what `bootmae plan --ranks` predicts. Two network namespaces of this
# machine are joined by a line of MBIT megabits a second in each direction. Needs root, iproute2 and Open MPI.
#
#   MBIT="local 500 1000"   rates of the line; local for both processes in one namespace, through main memory
#   MODEL=tiny BATCH=32 STEPS=8   the network, images of a process, updates
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/find-tools.sh

export VK_DRIVER_FILES="$LAVAPIPE_ICD" VK_ICD_FILENAMES="$LAVAPIPE_ICD" BOOTMAE_NO_TUNE=1 LP_NUM_THREADS=1
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none
cargo build --features mpi --bin bootmae "$@"
program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/bootmae")
model=${MODEL:-tiny} batch=${BATCH:-32} steps=${STEPS:-8}
shape="--model $model --image-size 32 --patch-size 4"
work=$(mktemp -d)
cleanup() {
    ip netns del bootmae-a 2>/dev/null || true
    ip netns del bootmae-b 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# How mpirun starts the other process.
cat >"$work/agent" <<'SH'
#!/bin/sh
shift
exec ip netns exec bootmae-b sh -c "$*"
SH
chmod +x "$work/agent"

# Small images, whose decoding takes no time from the processes: 512 of 32 x 32 random values as IDX.
{
    printf '\0\0\010\003\0\0\002\0\0\0\0\040\0\0\0\040'
    head -c $((512 * 1024)) /dev/urandom
} >"$work/train-images-idx3-ubyte"

# The middle one of some numbers.
median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

# Two at once, as the two processes of a run share this machine.
bench() { "$program" bench $shape --batch-size "$batch" --steps 5 --exchange --json >"$work/$1.json" 2>/dev/null; }
bench one & bench other; wait
number() { grep -ho "\"$1\": *[0-9.]*" "$work/one.json" "$work/other.json" | sed 's/.*: *//' | awk '{ n += $1 } END { print n / NR }'; }
pass=$(number step_ms) copies=$(number gbs)
echo "a pass of $batch images takes $pass ms, copies run at $copies GB/s"

for mbit in ${MBIT:-local 500 1000}; do
    train="$program pretrain --data $work/train-images-idx3-ubyte --out $work/run-$mbit $shape --batch-size $((2 * batch))
        --micro-batch $batch --steps $steps --sample-every 0"
    if [ "$mbit" = local ]; then
        network=1000 launch="mpirun -np 2 --oversubscribe"
    else
        network=$(awk -v m="$mbit" 'BEGIN { print m / 1000 }')
        ip netns add bootmae-a
        ip netns add bootmae-b
        ip link add va netns bootmae-a type veth peer name vb netns bootmae-b
        for side in a:1 b:2; do
            name=${side%:*}
            ip -n "bootmae-$name" addr add "10.77.0.${side#*:}/24" dev "v$name"
            ip -n "bootmae-$name" link set "v$name" up
            ip -n "bootmae-$name" link set lo up
            tc -n "bootmae-$name" qdisc add dev "v$name" root tbf rate "${mbit}mbit" burst 256kb latency 50ms
        done
        launch="ip netns exec bootmae-a mpirun -np 2 -H 10.77.0.1:1,10.77.0.2:1 --mca plm_rsh_agent $work/agent
            --mca btl self,tcp --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24"
    fi
    $launch $train >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    # The first update compiles; the last one saves.
    measured=$(grep -o '"images_per_s":[0-9.]*' "$work/run-$mbit/metrics.jsonl" | sed '1d;$d' |
        awk -F: -v n="$((2 * batch))" '{ print n / $2 * 1000 }' | median)
    predicted=$("$program" plan $shape --ranks 2 --batch-size "$((2 * batch))" --micro-batch "$batch" --pass-ms "$pass" \
        --copy-gbs "$copies" --network "$network" --json 2>/dev/null |
        grep -o '"update_ms": *[0-9.]*' | sed 's/.*: *//')
    awk -v m="$measured" -v p="$predicted" -v l="$mbit" -v c="$pass" \
        'BEGIN { printf "%s: an update took %.0f ms, predicted %.0f: %+.0f %%; passes are %.0f %% of it\n", l, m, p,
            (m / p - 1) * 100, c / m * 100 }'
    [ "$mbit" = local ] || { ip netns del bootmae-a && ip netns del bootmae-b; }
done
