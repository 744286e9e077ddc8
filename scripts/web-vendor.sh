#!/usr/bin/env bash
# Puts the page's one npm package, umap-js, into web/dist/vendor, with its licence. Without npm the page does without: its map of
# neighbours then says so.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
package=web/node_modules/umap-js
if [ ! -f $package/lib/umap-js.min.js ] && ! npm ci --prefix web --ignore-scripts --no-audit --no-fund >&2; then
    echo "umap-js could not be installed (npm): the page comes without the map of neighbours" >&2
    exit 0
fi
mkdir -p web/dist/vendor
cp $package/lib/umap-js.min.js web/dist/vendor/
cp $package/LICENSE web/dist/vendor/umap-js.LICENSE
