#!/usr/bin/env bash
# A few figures of speed as JSON, for a chart over commits: `[{"name", "unit", "value"}]`, larger is better. They are shares of what
# the same adapter makes of a large matmul in the same run, so that another machine's speed changes little.
#
#   ADAPTER=llvmpipe   the adapter, as for `bootmae bench --adapter`
#   BOOTMAE=PATH       the program; built here where it is not given
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${BOOTMAE:-}
if [ -z "$program" ]; then
    cargo build --locked >&2
    program=target/debug/bootmae
fi
measure() {
    "$program" bench --adapter "${ADAPTER:-llvmpipe}" --no-tune --steps 5 --json "$@"
}
{
    measure --model nano --batch-size 32
    measure --model mae-nano --batch-size 32
    measure --model tiny --batch-size 32
} | python3 -c '
import json, sys
decoder, text, found = json.JSONDecoder(), sys.stdin.read().strip(), []
while text:
    value, end = decoder.raw_decode(text)
    found.append(value)
    text = text[end:].strip()
names = ["BootMAE nano, batch of 32", "MAE nano, batch of 32", "BootMAE tiny, batch of 32"]
assert len(found) == len(names)
unit = "share of the best matmul"
json.dump([{"name": n, "unit": unit, "value": round(f["share_of_best_matmul"], 4)} for n, f in zip(names, found)], sys.stdout, indent=2)
print()
'
