"""Reads what the program `bootmae` writes: features, checkpoints and the measurements of runs, as NumPy arrays.

The program itself is installed beside this module; `program()` says where, and `bootmae --help` lists its commands.
"""

from ._checkpoints import Checkpoint, read_checkpoint
from ._features import Features, read_features
from ._metrics import read_metrics
from ._program import program, run
from ._timm import to_timm

__all__ = [
    "Checkpoint",
    "Features",
    "program",
    "read_checkpoint",
    "read_features",
    "read_metrics",
    "run",
    "to_timm",
]
