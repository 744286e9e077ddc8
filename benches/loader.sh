#!/usr/bin/env bash
# Times making training views on one thread, here and with Pillow, in turn on the same files.
#
#   benches/loader.sh [DIR]
#
# DIR holds JPEG files. Without it, 200 photos of 500×375 pixels (83 kB each) are made from those in examples/photos.
# ROUNDS (5) and IMAGES (400) set how often and how much; BOOTMAE names a program, PYTHON an interpreter with Pillow and
# numpy. Both read, decode, take a random crop scaled to 224×224 with the bicubic filter, mirror half of them and
# convert to channels of f32.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh
python=${PYTHON:-python3}
rounds=${ROUNDS:-5} images=${IMAGES:-400}
"$python" -c 'import numpy, PIL' 2>/dev/null ||
    { say "Pillow or numpy is missing: pip install pillow numpy. PYTHON names the interpreter that has them."; exit 1; }
build_bootmae
folder=${1:-}
if [ -z "$folder" ]; then
    folder=$scratch/photos
    "$python" benches/peers/pillow_views.py make "$folder" 200
fi
for round in $(seq "$rounds"); do
    "$bootmae" data bench "$folder" --images "$images" --json | json images_per_s >>"$scratch/ours"
    "$python" benches/peers/pillow_views.py time "$folder" "$images" >>"$scratch/theirs"
    say "round $round: bootmae $(tail -n 1 "$scratch/ours"), Pillow $(tail -n 1 "$scratch/theirs") images/s"
done
median() { sort -g "$1" | sed -n "$(((rounds + 1) / 2))p"; }
ours=$(median "$scratch/ours") theirs=$(median "$scratch/theirs")
awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "bootmae %.1f images/s, Pillow %.1f, ratio %.2f\n", a, b, a / b }'
echo "median of $rounds rounds of $images images on one thread; $(cpu_model), load $(load)"
echo "$("$bootmae" --version), $(revision); $("$python" -c 'import PIL; print("Pillow", PIL.__version__)')"
