#!/usr/bin/env bash
# Makes sure that there is a Vulkan driver. On Linux without any, installs the loader and Mesa's software driver
# (lavapipe), which runs on the CPU; a machine that has a driver is left as it is. Metal and DirectX 12 come with macOS
# and Windows.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./find-tools.sh

[ "$(uname -s)" = Linux ] || exit 0

# The loader reads the files named in VK_DRIVER_FILES (formerly VK_ICD_FILENAMES) instead of its folders when it is set.
named=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
if [ -n "$named" ]; then
    IFS=: read -ra manifests <<<"$named"
    driver=$(first_file "${manifests[@]}")
    if [ -z "$driver" ]; then
        echo "VK_DRIVER_FILES names no existing file ($named): unset it, or let it name a driver manifest." >&2
        exit 1
    fi
else
    driver=$(first_file /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json \
        "${HOME:-}"/.local/share/vulkan/icd.d/*.json)
fi

missing=()
vulkan_loader_present || missing+=(libvulkan1)
[ -n "$driver" ] || missing+=(mesa-vulkan-drivers)
if [ ${#missing[@]} -eq 0 ]; then
    echo "A Vulkan driver is installed already."
    exit 0
fi
if [ -z "$driver" ]; then
    echo "No Vulkan driver found: a software driver will be used. It computes on the CPU, many times slower than a GPU."
fi
./apt-install.sh "${missing[@]}"
