"""Opens files from outside: plain files alone, of a length that is known before anything is read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Union

PathLike = Union[str, "os.PathLike[str]"]

# More digits than any number of 64 bits has.
_MOST_DIGITS = 20


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its length in bytes. Raises ValueError for what is no plain file: a pipe would wait forever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: not a file")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Puts the path before what is wrong with the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parsed(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for broken JSON, endless nesting, long numbers and names that occur
    twice in an object."""
    try:
        return json.loads(text.decode("utf-8"), parse_int=_integer, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in entries if names.count(name) > 1)
        raise ValueError(f"two entries named {twice[:100]!r}")
    return entries


def whole(value: object) -> bool:
    """Whether a JSON value is an integer from 0 on. True and False are none."""
    return type(value) is int and value >= 0
