"""Checkpoints as models of timm."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Optional

from ._files import PathLike
from ._program import run


def to_timm(
    path: PathLike,
    *,
    task: Optional[str] = None,
    weights: Optional[str] = None,
    pool: Optional[str] = None,
    norm: Optional[str] = None,
    blocks: Optional[int] = None,
    **kwargs: Any,
) -> Any:
    """A `timm.models.vision_transformer.VisionTransformer` with the weights of a checkpoint: of a run folder, a
    checkpoint folder, a model file, or one of another program that `bootmae` reads.

    Of pretrained weights it is an encoder: `model(images)` gives the features of `bootmae embed` [images, width], from
    pixels [images, channels, height, width] as (v/255 − mean)/std, with `model.pretrained_cfg["mean"]` and `["std"]`.
    Of fine-tuned ones it is the classifier: `model(images)` gives logits [images, classes].

    task: "features" for the encoder of a classifier, or "classes".
    weights: "student" (the trained weights, without it) or "teacher" (their moving average).
    pool, norm, blocks: of features, as `bootmae embed` has them: pool "mean" (without it) or "cls"; norm "none"
        (without it), "final" or "plain"; the number of blocks that are run.
    Other arguments go to `timm.create_model`.

    The program exports the checkpoint into a temporary folder, from which timm reads it; nothing is downloaded. Raises
    ImportError without timm, FileNotFoundError without the program, RuntimeError with the program's message where it
    refuses: timm has no place for some networks (docs/formats.md).
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"to_timm needs timm 1.0, which is not to be had here ({error}): pip install timm") from error
    options = {"task": task, "weights": weights, "pool": pool, "norm": norm, "blocks": blocks}
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory(prefix="bootmae-") as folder:
        out = Path(folder) / "model"
        run("export", "--format", "timm", "--checkpoint", path, "--out", out, *words)
        return timm.create_model(f"local-dir:{out}", pretrained=True, **kwargs)
