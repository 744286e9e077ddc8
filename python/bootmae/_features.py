"""Features of images, as `bootmae embed` writes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
from numpy.typing import NDArray

from . import _tensors
from ._files import PathLike, named, opened, parsed

# The most values of a feature, as the program has it.
_MOST_WIDTH = 1 << 16
# The longest file of names that is read, in bytes.
_MOST_NAMES = 1 << 30
# What stands in a .npy file before the values: type, order, one or two extents.
_HEADER = re.compile(
    rb"\{'descr': '(<f4|<i8)', 'fortran_order': (False|True), 'shape': \(([0-9]{1,19}),(?: ([0-9]{1,19}))?\), \}\s*\n"
)


@dataclass(frozen=True, eq=False)
class Features:
    """Features of images, a row an image, in the order of their source."""

    values: NDArray[np.float32]
    """The features: float32 [images, width]."""
    labels: NDArray[np.int64]
    """The class of each image: int64 [images], an index into `classes`; −1 where an image has no label."""
    classes: tuple[str, ...]
    """The names of the classes. Empty where the file has none: classes are then numbers, or there are no labels."""
    names: Optional[tuple[str, ...]]
    """The name of each image, with control characters spelled out. Of `.npy` files; None for `.safetensors`."""
    images: Optional[NDArray[np.int64]]
    """The number of each image in its source: int64 [images]. Of `.safetensors` files; None for `.npy`."""
    about: dict[str, str]
    """How the features were made: source, split, step, checkpoint (hash of the weights), weights, pool, norm, blocks,
    precision, transform, normalisation. Of `.safetensors` files; empty for `.npy`."""

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.values)


def read_features(path: PathLike) -> Features:
    """Reads a file of `bootmae embed`: `NAME.safetensors`, or `NAME.npy` with `NAME.labels.npy` and `NAME.names.txt`
    beside it.

    Raises OSError where a file is missing or cannot be read. Raises ValueError where a file is damaged or no file of
    features, a value is not finite, or a label is no class.
    """
    place = Path(path)
    ending = place.suffix.lower()
    if ending == ".safetensors":
        return _of_safetensors(place)
    if ending == ".npy":
        return _of_arrays(place)
    raise ValueError(f"{place}: features are read from .safetensors and .npy files")


def _of_safetensors(path: Path) -> Features:
    tensors, metadata = _tensors.read(path)
    with named(path):
        for name in ("features", "labels"):
            if name not in tensors:
                raise ValueError(f"no tensor `{name}`; a file of `bootmae embed` has `features` and `labels`")
        values, labels, images = tensors["features"], tensors["labels"], tensors.get("images")
        classes = _classes(metadata.pop("classes", None))
        _check(values, labels, classes)
        if images is not None and (images.dtype != np.int64 or images.shape != labels.shape):
            raise ValueError(f"`images` is {images.dtype} of shape {images.shape} for {len(labels)} images")
    return Features(values, labels, classes or (), None, images, metadata)


def _of_arrays(path: Path) -> Features:
    values, labels = _array(path), _array(path.with_suffix(".labels.npy"))
    with named(path):
        _check(values, labels, None)
    beside = path.with_suffix(".names.txt")
    with opened(beside) as (file, length), named(beside):
        if length > _MOST_NAMES:
            raise ValueError(f"{length} bytes are more than the {_MOST_NAMES} that are read")
        lines = file.read(length).decode("utf-8").split("\n")
        if len(lines) != len(values) + 1 or lines.pop():
            raise ValueError(f"not the names of {len(values)} images, a line each")
    return Features(values, labels, (), tuple(lines), None, {})


def _array(path: Path) -> NDArray[Any]:
    """The array in a NumPy file of version 1.0, whose header fits its length. Nothing is unpickled or evaluated."""
    with opened(path) as (file, length), named(path):
        start = file.read(10)
        if start[:8] != b"\x93NUMPY\x01\x00" or len(start) < 10:
            raise ValueError("no .npy file of version 1.0")
        ahead = 10 + int.from_bytes(start[8:], "little")
        said = _HEADER.fullmatch(file.read(ahead - 10))
        if said is None:
            raise ValueError("its header is not that of a row or table of float32 or int64")
        kind, columns_first, *extents = (part.decode() for part in said.groups() if part is not None)
        shape, dtype = [int(extent) for extent in extents], np.dtype(kind)
        if ahead + math.prod(shape) * dtype.itemsize != length:
            said_to_be = f"{dtype} of shape {shape} behind {ahead} bytes"
            raise ValueError(f"{said_to_be} do not make {length}: truncated or altered")
        values: NDArray[Any] = np.fromfile(file, dtype, math.prod(shape))
        if values.size != math.prod(shape):
            raise ValueError(f"ends after {values.size} values: truncated")
        order: Literal["F", "C"] = "F" if columns_first == "True" else "C"
        return np.ascontiguousarray(values.reshape(shape, order=order))


def _check(values: NDArray[Any], labels: NDArray[Any], classes: Optional[tuple[str, ...]]) -> None:
    """Refuses, in words, what `bootmae knn` refuses of a file of features."""
    if values.dtype != np.float32 or values.ndim != 2:
        raise ValueError(f"the features are {values.dtype} of shape {values.shape}, not float32 [images, values]")
    images, width = values.shape
    if images == 0 or not 1 <= width <= _MOST_WIDTH:
        raise ValueError(f"features of shape {values.shape}; at least one image and 1 to {_MOST_WIDTH} values are read")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"the features hold a value that is not finite in row {finite.argmin()}")
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise ValueError(f"the labels are {labels.dtype} of shape {labels.shape} for {images} images")
    if labels.min() < -1:
        raise ValueError(f"the label {labels.min()} is negative; −1 stands for none")
    if classes is not None and labels.max() >= len(classes):
        raise ValueError(f"the label {labels.max()} is none of the {len(classes)} classes")


def _classes(text: Optional[str]) -> Optional[tuple[str, ...]]:
    """The names of the classes in the metadata, if they are there."""
    if text is None:
        return None
    try:
        names = parsed(text.encode("utf-8"))
    except ValueError as error:
        raise ValueError(f"`classes` in the metadata: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("`classes` in the metadata is no list of names")
    if len(set(names)) < len(names):
        raise ValueError("two classes have one name")
    return tuple(names)
