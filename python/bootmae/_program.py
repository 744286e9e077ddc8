"""The program `bootmae`: where it is, and how it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig

from ._files import PathLike


def program() -> str:
    """The path of the program `bootmae`: what the environment variable `BOOTMAE` names; else the one that was installed
    with this module, among the scripts of this Python or of the user; else the one on `PATH`.

    Raises FileNotFoundError where there is none, or where `BOOTMAE` names no program.
    """
    named = os.environ.get("BOOTMAE")
    if named:
        found = shutil.which(named)
        if found is None:
            raise FileNotFoundError(f"BOOTMAE is {named!r}, which is no program")
        return found
    folders = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]
    for folder in [*folders, None]:
        found = shutil.which("bootmae", path=folder)
        if found is not None:
            return found
    raise FileNotFoundError(
        "no program `bootmae`: install the wheel, or let the environment variable BOOTMAE name the program"
    )


def run(*arguments: PathLike) -> subprocess.CompletedProcess[str]:
    """Runs the program with these arguments and returns what it printed (`stdout`, `stderr`) when it is done.

    Raises RuntimeError with the program's message and its exit code (docs/exit-codes.md) where that is not 0.
    """
    words = [program(), *(os.fspath(argument) for argument in arguments)]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        command = " ".join(words[1:2])
        raise RuntimeError(f"bootmae {command} ended with {done.returncode}: {done.stderr.strip()}")
    return done
