#!/usr/bin/env python3
"""Runs the commands of the documentation: check-docs.py [PAGE…]

Every block marked `sh` of the pages (README.md and docs/*.md without any named) is run as a script of bash, in order, in a folder of
its own for each page, and has to end with 0. Such a folder has `examples` (a copy) and `tests` (a link) of this
repository; `bootmae` and `cargo run --` mean the program that BOOTMAE names (target/debug/bootmae without it). A block
below a line `<!-- not run: REASON -->` is left out and counted, but the flags that it gives to `bootmae` are looked up
in the command's --help. TIMEOUT sets how many seconds a block may take (120).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = float(os.environ.get("TIMEOUT", "120"))
NOT_RUN = re.compile(r"\s*<!-- not run: (.+?) -->\s*")
# As the Makefile's demo does: what runs here is over before measuring kernel variants would pay off.
ENVIRONMENT = {"BOOTMAE_NO_TUNE": "1"}
CARGO = """#!/bin/sh
# `cargo run … -- WORDS` is the program; nothing is built here.
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
[ $# -gt 0 ] || { echo "only cargo run -- … runs here" >&2; exit 1; }
shift
exec bootmae "$@"
"""


def blocks(page):
    """The `sh` blocks of a page: the line where each begins, why it is not run (None if it is), its text."""
    found, reason, text, fence = [], None, None, None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence is not None:
            if line.strip() == "```":
                if text is not None:
                    found.append((begin, reason, "\n".join(text)))
                text, fence, reason = None, None, None
            elif text is not None:
                text.append(line)
            continue
        if line.startswith("```"):
            fence, begin = line, number
            text = [] if line[3:].strip() == "sh" else None
        elif NOT_RUN.fullmatch(line):
            reason = NOT_RUN.fullmatch(line).group(1)
        elif line.strip():
            reason = None
    if fence is not None:
        sys.exit(f"{page}: the block of line {begin} does not end")
    return found


def run(block, folder, environment):
    """The exit status of a block, None if it took too long, and what it printed."""
    command = ["bash", "-euo", "pipefail", "-c", block]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # A group of its own, so that what a block started ends with it.
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes) as process:
        try:
            printed, _ = process.communicate(timeout=TIMEOUT)
            return process.returncode, printed.decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0].decode(errors="replace")


def unknown_flags(block, environment):
    """What a block that is not run gives to `bootmae` and the program does not have."""
    wrong = []
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        # Without remarks and what is quoted; up to what follows in the shell.
        line = re.sub(r"'[^']*'|\"[^\"]*\"", "QUOTED", re.sub(r"(^|\s)#.*", "", line))
        for words in re.findall(r"(?:^|[\s/;(])bootmae\s+([^;|&)]*)", line):
            words = words.split()
            command = [word for word in words[: 2 if words[:1] == ["data"] else 1] if not word.startswith("-")]
            told = subprocess.run(["bootmae", *command, "--help"], env=environment, capture_output=True, text=True)
            if told.returncode != 0:
                wrong.append(f"there is no command {' '.join(command)}")
                continue
            known = set(re.findall(r"(?<![\w-])--?[\w-]+", told.stdout))
            flags = [word.partition("=")[0] for word in words if word.startswith("-")]
            wrong += [f"{' '.join(command)} has no {flag}" for flag in flags if flag not in known]
    return wrong


def main():
    program = Path(os.environ.get("BOOTMAE") or ROOT / "target/debug/bootmae").resolve()
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} is no program: build it, or name one in BOOTMAE")
    pages = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    work = Path(tempfile.mkdtemp(prefix="bootmae-docs-"))
    (work / "bin").mkdir()
    (work / "bin/bootmae").symlink_to(program)
    (work / "bin/cargo").write_text(CARGO)
    (work / "bin/cargo").chmod(0o755)
    environment = {**os.environ, **ENVIRONMENT, "PATH": f"{work / 'bin'}:{os.environ['PATH']}"}
    rows, failed = [], 0
    for page in pages:
        folder = work / page.stem
        folder.mkdir(exist_ok=True)
        shutil.copytree(ROOT / "examples", folder / "examples", dirs_exist_ok=True)
        (folder / "tests").exists() or (folder / "tests").symlink_to(ROOT / "tests")
        broken = False
        for line, reason, block in blocks(page):
            place = f"{os.path.relpath(page, ROOT)}:{line}"
            if reason or broken:
                wrong = unknown_flags(block, environment)
                rows.append((place, "not run", reason or "a block above it failed"))
                if wrong:
                    failed += 1
                    rows[-1] = (place, "FAILED", "; ".join(wrong))
                    print(f"{place}: {'; '.join(wrong)}\n{block}\n", file=sys.stderr)
                continue
            begun = time.monotonic()
            status, printed = run(block, folder, environment)
            took = time.monotonic() - begun
            if status == 0:
                rows.append((place, f"{took:.1f} s", ""))
            else:
                broken, failed = True, failed + 1
                ended = f"took more than {TIMEOUT:.0f} s" if status is None else f"ended with {status}"
                rows.append((place, "FAILED", ended))
                print(f"{place} {ended}:\n{block}\n--- it printed\n{printed}", file=sys.stderr)
            print(*rows[-1], flush=True)
    shutil.rmtree(work)
    width = max((len(place) for place, _, _ in rows), default=0)
    print(f"\n{'block':{width}}  {'seconds':>8}")
    for place, took, remark in rows:
        print(f"{place:{width}}  {took.removesuffix(' s'):>8}  {remark}".rstrip())
    ran = [float(took[:-2]) for _, took, _ in rows if took.endswith(" s")]
    print(f"{len(ran)} blocks ran in {sum(ran):.0f} s, {len(rows) - len(ran) - failed} were not run, {failed} failed")
    sys.exit(bool(failed))


main()
