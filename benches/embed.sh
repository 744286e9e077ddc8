#!/usr/bin/env bash
# Times `bootmae embed` beside PyTorch's forward pass of the same encoder on the processor: in turn, several rounds. Prints a
# Markdown table. `embed` reads, decodes and crops photos and writes a file too; PyTorch has its images in memory. Photos are
# repeated until they fill whole batches, since a batch that is not full takes as long as one that is.
#
#   WORKS="c32 s224"  c32: tiny, 32/4. s224: small, 224/16
#   ROUNDS=3          rounds of either
#   DATA=FOLDER       photos to embed
#   BATCHES=4         whole batches of them
#   ADAPTER=NAME      as for `bootmae embed --adapter`
#   BOOTMAE, PYTHON   other programs than those found or built here
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. benches/common.sh
build_bootmae
find_torch
[ -n "$python" ] || exit 1
photos=$(cd "${DATA:-examples/photos/train}" && pwd)
export BOOTMAE_NO_TUNE=${BOOTMAE_NO_TUNE:-1}

# median: of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "| network | bootmae embed, images/s | torch, images/s | ratio |"
echo "|---|---|---|---|"
for work in ${WORKS:-c32 s224}; do
    case $work in
    c32) model="tiny --image-size 32 --patch-size 4" shape="192 12 3 32 4" batch=64 ;;
    s224) model="small --image-size 224 --patch-size 16" shape="384 12 6 224 16" batch=16 ;;
    *) say "$work is no work: c32, s224" && exit 2 ;;
    esac
    run=$scratch/$work data=$scratch/$work.photos
    mkdir "$data"
    find "$photos" -type f | sort >"$scratch/names"
    for number in $(seq -w $((batch * ${BATCHES:-4}))); do
        photo=$(sed -n "$(((10#$number - 1) % $(wc -l <"$scratch/names") + 1))p" "$scratch/names")
        ln -s "$photo" "$data/$number.${photo##*.}"
    done
    "$bootmae" pretrain --data examples/photos/train --model $model --steps 1 --batch-size 2 --out "$run" \
        ${ADAPTER:+--adapter "$ADAPTER"} >/dev/null 2>&1
    for round in $(seq "${ROUNDS:-3}"); do
        "$bootmae" embed --checkpoint "$run" --data "$data" --out "$scratch/features.safetensors" --batch-size $batch --json \
            ${ADAPTER:+--adapter "$ADAPTER"} 2>/dev/null | json images_per_s >>"$scratch/$work.ours"
        "$python" benches/peers/torch_embed.py $shape --batch $batch --threads "$(processors)" --json |
            json images_per_s >>"$scratch/$work.torch"
        say "round $round, $work: $(tail -n 1 "$scratch/$work.ours") and $(tail -n 1 "$scratch/$work.torch") images/s"
    done
    ours=$(median <"$scratch/$work.ours") theirs=$(median <"$scratch/$work.torch")
    awk -v name="${model%% *}" -v a="$ours" -v b="$theirs" \
        'BEGIN { printf "| %s | %.3g | %.3g | %.2f |\n", name, a, b, a / b }'
done
echo
echo "- $("$bootmae" --version) ($(revision)); torch $("$python" -c 'import torch; print(torch.__version__)'), the CPU, $(processors) threads"
echo "- processor: $(cpu_model); load: $(load)"
