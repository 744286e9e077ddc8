#!/usr/bin/env bash
# Builds the documentation as a site, into target/site, and checks it: no dead link, nothing loaded from another host.
# Open target/site/index.html; the search needs a server: `python3 -m http.server --directory target/site`.
# Where there is no mkdocs 1.6 or newer, a virtual environment is made for it once, in target/site-venv.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdocs=(mkdocs)
if ! mkdocs --version 2>/dev/null | grep -qE 'version (1\.([6-9]|[1-9][0-9])\.)'; then
    wanted=mkdocs==1.6.1
    if [ "$(cat target/site-venv/installed.txt 2>/dev/null)" != "$wanted" ]; then
        if ! python3 -c 'import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "The site needs Python 3.11 or newer with venv (Debian: python3-venv), or mkdocs 1.6." >&2
            exit 1
        fi
        python3 -m venv --clear target/site-venv
        target/site-venv/bin/python -m pip install --quiet --disable-pip-version-check "$wanted"
        echo "$wanted" >target/site-venv/installed.txt
    fi
    mkdocs=(target/site-venv/bin/python -m mkdocs)
fi

"${mkdocs[@]}" build --strict
python3 scripts/check-site.py target/site
