"""Weights of checkpoints, as `bootmae pretrain`, `finetune` and `export --format own` write them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from . import _tensors
from ._files import PathLike, named, opened, parsed, whole
from ._tensors import Tensors

_MANIFEST, _MODEL, _TEACHER = "MANIFEST.json", "model.safetensors", "teacher.safetensors"
# Those that every checkpoint has beside the manifest. The teacher is there where it is listed.
_FILES = ("state.json", "optimizer.safetensors", _MODEL)
# The longest manifest that is read, in bytes.
_MOST_JSON = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of a checkpoint, and what made them."""

    path: Path
    """The folder or file that was read; of a run folder, that of its newest checkpoint."""
    step: int
    """Updates that made the weights."""
    config: dict[str, Any]
    """The settings of the run, resolved: `model`, `training`, `data`, and more where a classifier was fine-tuned."""
    tensors: Tensors
    """The trained weights by name. Names and shapes of the encoder are timm's (`blocks.0.attn.qkv.weight`
    [3 × width, width]), but queries and values have biases `attn.q_bias` and `attn.v_bias` [width], and keys have none.
    Decoders are under `pixel_decoder.` and `feature_decoder.`. Position tables that are computed are not stored."""
    teacher: Optional[Tensors]
    """The moving average of the weights, by the same names: the momentum encoder, or a classifier's average. A
    checkpoint of `pretrain` has averages of the decoders too, which nothing uses; `export` leaves them out. None where
    the file or folder has none."""


def read_checkpoint(path: PathLike, *, as_stored: bool = False) -> Checkpoint:
    """Reads the weights of a run folder (its newest complete checkpoint), a checkpoint folder (`checkpoints/step-N`), a
    file of weights (`model.safetensors`, or what `bootmae export` writes), or a checkpoint of version 1.

    Arrays are float32. With `as_stored` those of a file in half precision stay float16.

    Lengths of files are compared with the manifest, hashes are not: `bootmae inspect PATH` does that. Of a run folder,
    newer checkpoints that are not complete are passed over with a warning.

    Raises OSError where a file is missing or cannot be read, ValueError where one is damaged or no checkpoint of
    bootmae. Checkpoints of other programs: `bootmae export --format own` converts them.
    """
    place = Path(path)
    if not place.is_dir():
        return _of_file(place, as_stored)
    if (place / _MANIFEST).is_file():
        return _of_folder(place, as_stored)
    return _newest(place, as_stored)


def _newest(run: Path, as_stored: bool) -> Checkpoint:
    """The newest complete checkpoint of a run."""
    passed_over: list[str] = []
    for step, folder in sorted(_steps(run / "checkpoints"), reverse=True):
        try:
            found = _of_folder(folder, as_stored)
            if found.step != step:
                raise ValueError(f"{folder}: holds step {found.step}")
        except (OSError, ValueError) as error:
            passed_over.append(str(error))
            continue
        for reason in passed_over:
            warnings.warn(f"passed over: {reason}", RuntimeWarning, stacklevel=3)
        return found
    if passed_over:
        raise ValueError(f"{run}: no checkpoint is complete ({'; '.join(passed_over)})")
    held = ", ".join(sorted(entry.name for entry in run.iterdir())[:3]) or "nothing"
    advice = "give a run folder, a checkpoint folder or a model file"
    raise ValueError(f"{run}: a folder without a checkpoint (it holds {held}); {advice}")


def _steps(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder, complete or not, each with the step in its name."""
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        digits = entry.name[5:] if entry.name.startswith("step-") else ""
        if not (digits.isascii() and digits.isdigit()) or str(int(digits[:20])) != digits:
            continue
        # A folder with someone's own files alone is what a checkpoint that was removed left behind.
        if not entry.is_dir() or any((entry / name).exists() for name in (_MANIFEST, _TEACHER, *_FILES)):
            found.append((int(digits), entry))
    return found


def _of_folder(folder: Path, as_stored: bool) -> Checkpoint:
    step, lengths = _manifest(folder / _MANIFEST)
    for name in (*_FILES, *(name for name in (_TEACHER,) if name in lengths)):
        if name not in lengths:
            raise ValueError(f"{folder / _MANIFEST}: lists no {name}")
        held = (folder / name).stat().st_size
        if held != lengths[name]:
            raise ValueError(f"{folder / name}: {held} bytes where the manifest lists {lengths[name]}")
    found = _of_file(folder / _MODEL, as_stored)
    if found.step != step:
        raise ValueError(f"{folder / _MODEL}: holds step {found.step}, unlike the manifest")
    teacher = None
    if _TEACHER in lengths:
        average, metadata = _tensors.read(folder / _TEACHER)
        with named(folder / _TEACHER):
            if metadata.get("format") != "bootmae teacher" or metadata.get("step") != str(step):
                raise ValueError(f"not the teacher of step {step}")
            teacher = _floats(average, as_stored)
    return Checkpoint(folder, step, found.config, found.tensors, teacher)


def _manifest(path: Path) -> tuple[int, dict[str, int]]:
    """The step, and the length of each file."""
    with opened(path) as (file, length), named(path):
        if length > _MOST_JSON:
            raise ValueError(f"longer than the {_MOST_JSON} bytes that are read")
        said = parsed(file.read(length))
        if not isinstance(said, dict) or said.get("format") != "bootmae checkpoint":
            raise ValueError("not the manifest of a bootmae checkpoint")
        if said.get("version") != 2:
            raise ValueError(_unread(said.get("version")))
        step, files = said.get("step"), said.get("files")
        if type(step) is not int or step < 0 or not isinstance(files, dict):
            raise ValueError("malformed: no `step`, or no `files`")
        if not all(isinstance(entry, dict) and whole(entry.get("bytes")) for entry in files.values()):
            raise ValueError("malformed: a file without its length")
        return step, {name: entry["bytes"] for name, entry in files.items()}


def _of_file(path: Path, as_stored: bool) -> Checkpoint:
    """The weights in one file."""
    with opened(path) as (file, _):
        if file.read(512)[257:262] == b"ustar":
            raise ValueError(f"{path}: a tar archive; unpack it, and give the folder in it")
    tensors, metadata = _tensors.read(path)
    with named(path):
        kind, version = metadata.get("format"), metadata.get("version")
        if kind in ("bootmae teacher", "bootmae optimizer"):
            raise ValueError(f"a {kind} file; give the folder, or {_MODEL}, which lies beside it")
        if kind not in ("bootmae model", "bootmae checkpoint"):
            raise ValueError("a safetensors file, but not a bootmae checkpoint")
        old = kind == "bootmae checkpoint"
        if version != ("1" if old else "2"):
            raise ValueError(_unread(version))
        step = metadata.get("step", "")
        if not (step.isascii() and step.isdigit()) or len(step) > 20:
            raise ValueError("no `step` in the metadata")
        try:
            config = parsed(metadata.get("config", "").encode("utf-8"))
        except ValueError as error:
            raise ValueError(f"`config` in the metadata: {error}") from None
        if not isinstance(config, dict):
            raise ValueError("`config` in the metadata is no object")
        teacher = _floats(_under("teacher/", tensors), as_stored)
        if old:
            student = _under("model/", tensors)
        else:
            student = {name: values for name, values in tensors.items() if not name.startswith("teacher/")}
        return Checkpoint(path, int(step), config, _floats(student, as_stored), teacher or None)


def _under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with a prefix, which is taken off."""
    return {name[len(prefix):]: values for name, values in tensors.items() if name.startswith(prefix)}


def _floats(tensors: Tensors, as_stored: bool) -> Tensors:
    """Weights in single precision, or as they are."""
    for name, values in tensors.items():
        if values.dtype not in (np.float16, np.float32):
            raise ValueError(f"tensor {name[:100]!r} is {values.dtype}; weights are F32 or F16")
    return tensors if as_stored else {name: values.astype(np.float32, copy=False) for name, values in tensors.items()}


def _unread(version: object) -> str:
    return f"checkpoint version {str(version)[:20]}; versions 1 and 2 are read"
