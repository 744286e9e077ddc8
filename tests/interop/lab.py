"""Images and checkpoints that the tests share, made once by the program itself, and what it says of them."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("BOOTMAE") or ROOT / "target/debug/bootmae"
WORK = Path(os.environ["WORK"])
IMAGES, CLASSES = 500, 5
# The bars: relative distance of features, absolute distance of probabilities.
FEATURES = PROBABILITIES = 1e-5
STEPS = ["--steps", "12", "--batch-size", "16"]


def bootmae(*words):
    """What the program prints; its failure is the test's."""
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"bootmae {words}: {done.stderr}"
    return done.stdout


def refused(*words):
    """The error that the program ends with."""
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
    assert done.returncode in (2, 6), f"bootmae {words}: {done.returncode} {done.stderr}"
    return done.stderr


@cache
def images():
    """A folder of 500 pictures of 32 pixels in five classes: pieces of photos, each class with a tint."""
    folder, rng = WORK / "images", np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted((ROOT / "examples/photos/train").glob("*.jpg"))]
    for index in range(IMAGES):
        kind = index % CLASSES
        photo = photos[index % len(photos)]
        side = int(rng.integers(40, min(photo.size)))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
        pixels = np.asarray(photo.resize((32, 32), Image.BICUBIC, (left, top, left + side, top + side))).astype(int)
        pixels[..., kind % 3] += (kind - 2) * 30
        (folder / f"class {kind}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"class {kind}/{index:03}.png")
    return folder


@cache
def run(name):
    """A checkpoint: `bootmae` or `mae`, pretrained; `mean`, `mae-mean` or `cls`, fine-tuned from them."""
    out = WORK / name
    match name:
        case "bootmae" | "mae":
            model = "nano" if name == "bootmae" else "mae-nano"
            bootmae("pretrain", "--data", images(), "--out", out, "--model", model, *STEPS)
        case _:
            base = run("bootmae" if name == "mean" else "mae")
            settings = WORK / f"{name}.toml"
            settings.write_text('[classifier]\npool = "cls"\n' if name == "cls" else "")
            bootmae("finetune", "--data", images(), "--checkpoint", base, "--out", out, "--config", settings,
                    "--light", "--epochs", "1", "--batch-size", "30")
    return out


@cache
def features(name, *words):
    """The features that `embed` makes of the images, in the order of their names."""
    out = WORK / f"{name}{''.join(words)}.safetensors"
    bootmae("embed", "--checkpoint", run(name), "--data", images(), "--split", "all", "--out", out, *words)
    with safe_open(out, "numpy") as file:
        return file.get_tensor("features")


@cache
def probabilities(name, *words):
    """The probabilities that `predict` tells, a row an image in the order of their names, a column a class."""
    out = WORK / f"{name}{''.join(words)}.json"
    bootmae("predict", "--checkpoint", run(name), "--data", images(), "--side", "all", "--top", CLASSES, "--out", out,
            *words)
    rows = [dict(map(tuple, row["classes"])) for row in json.loads(out.read_text())]
    return np.array([[row[f"class {kind}"] for kind in range(CLASSES)] for row in rows])


def pixels(mean, std):
    """The images as networks take them, `[500, 3, 32, 32]`."""
    paths = sorted(images().glob("*/*.png"))
    values = np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32) / 255
    return ((values - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2).astype(np.float32)


def export(name, to, *words):
    """The path of an exported checkpoint."""
    out = WORK / f"{name}-{'-'.join(word.strip('-') for word in words)}.{to}"
    bootmae("export", "--checkpoint", run(name), "--format", to, "--out", out, *words)
    return out


def relative(got, want):
    """The relative distance of two arrays, at most this for one image."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    return float((np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1)).max())


def check_classes(test, got, want, bar=PROBABILITIES):
    """Probabilities are those of `predict`, and so is the most probable class of every image."""
    got = np.asarray(got, np.float64)
    test.assertLess(np.abs(got - want).max(), bar)
    test.assertEqual(int((got.argmax(1) == want.argmax(1)).sum()), IMAGES)
