#!/bin/sh
# Runs ranks_check under mpirun: equal bits, disturbances, throughput. `mpirun.sh PATH [quick]`.
set -u
program=${1:-target/debug/examples/ranks_check}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failures=0

# Runs a command, and says its exit code and how long it took.
timed() {
    name=$1; shift
    begun=$(date +%s.%N)
    timeout 60 "$@" > "$out/text" 2>&1
    code=$?
    printf '%s: exit %s after %.1f s\n' "$name" "$code" "$(awk "BEGIN { print $(date +%s.%N) - $begun }")"
}

# The last command's exit code and text.
expect() {
    [ "$code" = "$1" ] || { echo "  FAILED: exit $code, not $1"; failures=$((failures + 1)); sed 's/^/    /' "$out/text"; }
    [ -z "${2:-}" ] || grep -q "$2" "$out/text" || { echo "  FAILED: no '$2'"; failures=$((failures + 1)); sed 's/^/    /' "$out/text"; }
    [ -z "${2:-}" ] || grep -o -m 1 ".\{0,40\}$2.\{0,160\}" "$out/text" | sed 's/^/    /'
}

for ranks in 1 2 3 4; do
    timed "check, $ranks ranks" mpirun -np $ranks "$program" check
    expect 0 "ok: $ranks ranks"
    grep leaves "$out/text" >> "$out/leaves"
done
timed "check, 3 ranks over TCP" mpirun --mca btl self,tcp -np 3 "$program" check
expect 0 "ok: 3 ranks"
timed "check, 4 ranks over TCP" mpirun --mca btl self,tcp -np 4 "$program" check
expect 0 "ok: 4 ranks"
grep leaves "$out/text" >> "$out/leaves"
cat "$out/leaves"
[ "$(sed 's/.*: //' "$out/leaves" | sort -u | wc -l)" = 1 ] || { echo "  FAILED: leaves differ"; failures=$((failures + 1)); }

timed "the last of 3 ends early" mpirun -np 3 "$program" leave 20
expect 4 "rank 2 on .* has left"
timed "the last of 3 panics" mpirun -np 3 "$program" panic 20
expect 4 "rank 2 leaves: it panicked"
timed "the last of 3 sums another length" mpirun -np 3 "$program" step 20
expect 4 "rank . on .* \(out of step\|disagree\)"
timed "the last of 3 sums once more" env WATCHDOG=3 mpirun -np 3 "$program" order 20
expect 4 "rank . on .* is out of step: its operation"
timed "the last of 3 exits with 0" mpirun -np 3 "$program" exit 20
expect 1
timed "the last of 3 aborts with 3" mpirun -np 3 "$program" abort 20
expect 3 "as asked"
timed "two ranks where the launcher says three" env OMPI_COMM_WORLD_SIZE=3 PMI_SIZE=3 "$program" check
expect 2 "MPI knows of 1"

# Starts three ranks with these words, sends one of them a signal after two seconds: NAME WORDS RANK SIGNAL [SECONDS].
disturb() {
    name=$1; rank_wanted=$3; signal=$4
    begun=$(date +%s.%N)
    timeout 60 env WATCHDOG=3 mpirun -np 3 --tag-output "$program" $2 > "$out/text" 2>&1 &
    pid=$!
    sleep 2
    mpirun=$(pgrep -P $pid mpirun || echo $pid)
    for rank in $(pgrep -P "$mpirun"); do
        if tr '\0' '\n' < "/proc/$rank/environ" | grep -q "^OMPI_COMM_WORLD_RANK=$rank_wanted\$"; then victim=$rank; fi
    done
    kill -s "$signal" "$victim"
    [ "$signal" != STOP ] || [ -z "${5:-}" ] || { sleep "$5"; kill -s CONT "$victim"; }
    wait $pid
    code=$?
    printf '%s: exit %s after %.1f s\n' "$name" "$code" "$(awk "BEGIN { print $(date +%s.%N) - $begun - 2 }")"
}
timed "2 ranks sum for 10 s" mpirun -np 2 "$program" sum 10
expect 0 "sums, "
timed "one of 3 comes 6 s later" env WATCHDOG=2 mpirun -np 3 "$program" linger 1
expect 0 "sums, "
disturb "the second of 3 is killed" "sum 30" 1 KILL
expect 137 "rank 1 with PID"
disturb "the second of 3 is stopped" "sum 30" 1 STOP
expect 4 "rank 1 on .* does not answer"
disturb "the second of 3 is stopped for a second" "sum 5" 1 STOP 1
expect 0 "sums"
disturb "one of 3 is stopped at the end" "linger 1" 2 STOP
expect 4 "rank 2 does not answer, where this rank has ended"

[ "${2:-}" != quick ] || { echo "failures: $failures"; exit $failures; }
for ranks in 2 4; do
    timed "throughput, shared memory" mpirun -np $ranks "$program" bench 32
    grep MiB "$out/text"
    timed "throughput, TCP" mpirun --mca btl self,tcp -np $ranks "$program" bench 32
    grep MiB "$out/text"
done
echo "failures: $failures"
[ $failures = 0 ]
