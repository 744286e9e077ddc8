# Sourced by the other scripts. Sets, or leaves empty where there is none:
#   LAVAPIPE_ICD     driver manifest of Mesa's software Vulkan driver
#   CHROMIUM         the browser of the browser tests; a value from the environment wins
#   SWIFTSHADER_ICD  driver manifest of the software Vulkan driver that ships beside that browser

first_file() {
    for candidate in "$@"; do
        if [ -f "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
}

vulkan_loader_present() {
    PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'
}

LAVAPIPE_ICD=$(first_file /usr/share/vulkan/icd.d/lvp_icd*.json /etc/vulkan/icd.d/lvp_icd*.json)
CHROMIUM=${CHROMIUM:-$(first_file /usr/bin/chromium /usr/bin/google-chrome)}
SWIFTSHADER_ICD=$(first_file /usr/lib/chromium/vk_swiftshader_icd.json /opt/google/chrome/vk_swiftshader_icd.json)
