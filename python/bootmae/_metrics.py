"""The measurements of a run."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._files import PathLike, opened

# The newest form of the lines that is read.
_SCHEMA = 2


def read_metrics(path: PathLike) -> dict[str, NDArray[Any]]:
    """Reads `metrics.jsonl`, given itself or the run folder that it lies in, also while the run goes on.

    Returns an array for each field that docs/run-folder.md lists, all of one length, an entry a step: `step` as int64,
    all others as float64. NaN stands where a step has no such field, and where the field is null because the number was
    not finite. Times (`elapsed_s`, `data_wait_s`) are in seconds, memory (`gpu_bytes`) in bytes, accuracies and waits
    (`data_wait_share`) are shares from 0 to 1. Fields that hold something other than numbers are left out.

    A last line that was cut short, as by a crash, is passed over. Raises OSError where the file cannot be read,
    ValueError with the number of the line where another one is broken.
    """
    place = Path(path)
    if place.is_dir():
        place = place / "metrics.jsonl"
    columns: dict[str, array[float]] = {}
    others: set[str] = set()
    rows = 0
    with opened(place) as (file, _):
        for line in file:
            try:
                entry = _entry(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    break
                raise ValueError(f"{place}: line {rows + 1}: {error}") from None
            for name, value in entry.items():
                if isinstance(value, (float, type(None))):
                    column = columns.setdefault(name, array("d", [math.nan]) * rows)
                    column.append(math.nan if value is None else value)
                else:
                    others.add(name)
            rows += 1
            for column in columns.values():
                if len(column) < rows:
                    column.append(math.nan)
    found: dict[str, NDArray[Any]] = {
        name: np.array(column, np.float64) for name, column in columns.items() if name not in others
    }
    found["step"] = found["step"].astype(np.int64) if rows else np.empty(0, np.int64)
    return found


def _entry(line: bytes) -> dict[str, object]:
    """The fields of a line."""
    try:
        # Integers become floats, so that one of many digits costs nothing.
        entry = json.loads(line.decode("utf-8"), parse_int=float)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(entry, dict):
        raise ValueError("no object")
    step, schema = entry.get("step"), entry.get("schema")
    if not isinstance(step, float) or not step.is_integer() or not 0 <= step < 2**53:
        raise ValueError("no `step`")
    if not isinstance(schema, float) or schema > _SCHEMA:
        raise ValueError(f"`schema` is {str(schema)[:20]}; those up to {_SCHEMA} are read")
    return entry
