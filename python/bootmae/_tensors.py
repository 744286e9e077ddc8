"""Reads safetensors files. A file is one u64 with the header's length, the header (JSON: name to type, shape, byte
range; strings under `__metadata__`), then the values, little-endian and without gaps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._files import named, opened, parsed, whole

Tensors = dict[str, NDArray[Any]]

# The longest header that is read, in bytes: as the program has it.
_MOST_HEADER = 100 << 20
# The most axes of an array that every NumPy makes.
_MOST_AXES = 32
# The types that the program writes and reads.
_TYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors of a file by name, with the types and shapes that they have there, and its metadata.

    Raises OSError where the file cannot be read, ValueError with the path for a file that is damaged or another kind of
    file. Nothing is allocated for tensors before every byte range was compared with the file's length.
    """
    with opened(path) as (file, length), named(path):
        entries, metadata = _header(file, length)
        # Where one ends the next begins, so that reading on gives the values in the order of their offsets.
        return {name: _values(file, name, kind, shape) for name, kind, shape in entries}, metadata


def _header(file: BinaryIO, length: int) -> tuple[list[tuple[str, np.dtype[Any], list[int]]], dict[str, str]]:
    """Name, type and shape of each tensor in the order of their values, and the metadata."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"{length} bytes are too few for a safetensors file")
    claimed, rest = int.from_bytes(start, "little"), length - 8
    if claimed > rest:
        raise ValueError(f"the header should have {claimed} bytes, but {rest} follow: truncated or no safetensors")
    if claimed > _MOST_HEADER:
        raise ValueError(f"a header of {claimed} bytes is more than the {_MOST_HEADER} that are read")
    text = file.read(claimed)
    if len(text) < claimed:
        raise ValueError(f"the header should have {claimed} bytes, but ends after {len(text)}: truncated")
    try:
        header = parsed(text)
    except ValueError as error:
        raise ValueError(f"the header is malformed: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("the header is malformed: no object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the header is malformed: `__metadata__` holds something other than texts")
    entries = sorted((_entry(name, said) for name, said in header.items()), key=lambda entry: entry[0])
    end = 0
    for (begins, ends), name, _, _ in entries:
        if begins != end:
            where = "overlaps another tensor" if begins < end else "leaves a gap"
            raise ValueError(f"tensor {_cut(name)} begins at byte {begins} of the values, which {where}")
        end = ends
    if end != rest - claimed:
        held = rest - claimed
        raise ValueError(f"the header promises {end} bytes of values, the file holds {held}: truncated or altered")
    return [(name, kind, shape) for _, name, kind, shape in entries], metadata


def _entry(name: str, said: Any) -> tuple[tuple[int, int], str, np.dtype[Any], list[int]]:
    """Byte range, name, type and shape of a tensor, which fit each other."""
    if not isinstance(said, dict):
        raise ValueError(f"tensor {_cut(name)} is described by no object")
    dtype, shape, offsets = said.get("dtype"), said.get("shape"), said.get("data_offsets")
    kind = _TYPES.get(dtype) if isinstance(dtype, str) else None
    if kind is None:
        raise ValueError(f"tensor {_cut(name)} is {_cut(dtype)}; {', '.join(_TYPES)} are read")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all(map(whole, shape)):
        raise ValueError(f"tensor {_cut(name)} has no shape of at most {_MOST_AXES} axes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)):
        raise ValueError(f"tensor {_cut(name)} has no byte range")
    begins, ends = offsets
    if math.prod(shape) * kind.itemsize != ends - begins:
        what = f"tensor {_cut(name)} of {dtype} and shape {shape}"
        raise ValueError(f"{what} cannot be the bytes from {begins} to {ends}")
    return (begins, ends), name, kind, shape


def _values(file: BinaryIO, name: str, kind: np.dtype[Any], shape: list[int]) -> NDArray[Any]:
    count = math.prod(shape)
    values = np.fromfile(file, kind, count)
    if values.size != count:
        raise ValueError(f"tensor {_cut(name)} ends after {values.size} of {count} values: truncated")
    try:
        return values.reshape(shape)
    except ValueError:
        raise ValueError(f"tensor {_cut(name)} has shape {shape}, of which no array can be made") from None


def _cut(text: object) -> str:
    """A name or text of a file for a message: in quotes, escaped, no more than its first hundred characters."""
    return repr(text[:100] if isinstance(text, str) else text)[:120]
