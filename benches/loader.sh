#!/usr/bin/env bash
# Times making training views on one thread, here and with Pillow, in turn on the same files.
#
#   benches/loader.sh [SOURCE]
#
# SOURCE is a folder of JPEG files, or cifar10:DIR with CIFAR-10's PNG tables (views of 32×32). Without it, 200 photos of
# 500×375 pixels (83 kB each) are made from those in examples/photos. ROUNDS (5) and IMAGES (400; CIFAR: 20000) set how
# often and how much; BOOTMAE names a program, PYTHON an interpreter with Pillow and numpy. Both read, decode, take a
# random crop scaled to 224×224 with the bicubic filter, mirror half of them and convert to channels of f32.
#
# CHAIN=finetune times what fine-tuning does: crops from 8 % on (CIFAR: shifts by up to 4 pixels), RandAugment
# rand-m9-mstd0.5-inc1 and erasing besides. PYTHON then needs timm (pip install --no-deps timm), whose RandAugment it is.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh
python=${PYTHON:-python3}
rounds=${ROUNDS:-5} images=${IMAGES:-} chain=${CHAIN:-pretrain} side=224
"$python" -c 'import numpy, PIL' 2>/dev/null ||
    { say "Pillow or numpy is missing: pip install pillow numpy. PYTHON names the interpreter that has them."; exit 1; }
if [ "$chain" = finetune ] && ! "$python" -c 'import importlib.util as i; exit(not i.find_spec("timm"))' 2>/dev/null; then
    say "timm is missing: pip install --no-deps timm. PYTHON names the interpreter that has it."
    exit 1
fi
build_bootmae
source=${1:-}
case $source in
    "")
        source=$scratch/photos
        "$python" benches/peers/pillow_views.py make "$source" 200
        ;;
    cifar10:*) side=32 images=${images:-20000} ;;
esac
images=${images:-400}
for round in $(seq "$rounds"); do
    "$bootmae" data bench "$source" --images "$images" --image-size "$side" --augment "$chain" --json |
        json images_per_s >>"$scratch/ours"
    "$python" benches/peers/pillow_views.py time "$source" "$images" "$chain" >>"$scratch/theirs"
    say "round $round: bootmae $(tail -n 1 "$scratch/ours"), Pillow $(tail -n 1 "$scratch/theirs") images/s"
done
median() { sort -g "$1" | sed -n "$(((rounds + 1) / 2))p"; }
ours=$(median "$scratch/ours") theirs=$(median "$scratch/theirs")
awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "bootmae %.1f images/s, Pillow %.1f, ratio %.2f\n", a, b, a / b }'
echo "$chain: median of $rounds rounds of $images images on one thread; $(cpu_model), load $(load)"
echo "$("$bootmae" --version), $(revision); $("$python" -c 'import PIL; print("Pillow", PIL.__version__)')"
