"""Training views with Pillow, for benches/loader.sh.

pillow_views.py make DIR N              writes N JPEG files of 500×375 or 375×500 pixels, cut from the repository's photos
pillow_views.py time SOURCE N [CHAIN]   prints how many views a second one thread makes of a folder of JPEG files, or of
                                        cifar10:DIR with its PNG tables. CHAIN is pretrain or finetune; the latter needs
                                        timm, of which it imports the one file with RandAugment
"""

import glob
import importlib.util
import math
import os
import random
import sys
import time

import numpy as np
from PIL import Image, ImageOps

Image.MAX_IMAGE_PIXELS = None


def make(folder, count):
    os.makedirs(folder, exist_ok=True)
    here = os.path.dirname(os.path.abspath(__file__))
    photos = [Image.open(path).convert("RGB") for path in sorted(glob.glob(f"{here}/../../examples/photos/*/*.jpg"))]
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        width, height = (500, 375) if number % 4 else (375, 500)
        cut = min(photo.width, photo.height * width / height) * (0.6 + 0.4 * rng.random())
        rows = cut * height / width
        left, top = rng.random() * (photo.width - cut), rng.random() * (photo.height - rows)
        image = photo.resize((width, height), Image.BICUBIC, box=(left, top, left + cut, top + rows))
        # The grain that enlarging took away, so that files are as long as a camera's.
        grain = rng.normal(0, 7, (height, width, 1))
        pixels = np.clip(np.asarray(image, np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(f"{folder}/{number:05}.jpg", quality=[88, 92, 95, 96][number % 4])


def crop(width, height, smallest):
    """torchvision's RandomResizedCrop(scale=(smallest, 1))."""
    for _ in range(10):
        area = width * height * random.uniform(smallest, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def rand_augment():
    """timm's RandAugment as BootMAE and MAE fine-tune with it, from its file alone: importing timm would need torch."""
    path = f"{importlib.util.find_spec('timm').submodule_search_locations[0]}/data/auto_augment.py"
    spec = importlib.util.spec_from_file_location("auto_augment", path)
    timm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(timm)
    transform = timm.rand_augment_transform(
        "rand-m9-mstd0.5-inc1", {"img_mean": (128, 128, 128), "interpolation": Image.BICUBIC}
    )

    def apply(image):
        try:
            return transform(image)
        except ValueError:  # Pillow 13 refuses to keep no bits, which older ones do
            return Image.new("RGB", image.size)

    return apply


def erase(values, noise):
    """timm's RandomErasing(0.25, mode="pixel")."""
    if random.random() > 0.25:
        return
    _, rows, columns = values.shape
    for _ in range(10):
        area = random.uniform(0.02, 1 / 3) * rows * columns
        ratio = math.exp(random.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if w < columns and h < rows:
            top, left = random.randint(0, rows - h), random.randint(0, columns - w)
            values[:, top : top + h, left : left + w] = noise.standard_normal((3, h, w), np.float32)
            return


def pad_crop(image):
    """torchvision's RandomCrop(32, padding=4)."""
    padded = ImageOps.expand(image, 4)
    left, top = random.randint(0, 8), random.randint(0, 8)
    return padded.crop((left, top, left + image.width, top + image.height))


def views(side, chain):
    """What makes a view of an image."""
    tune = chain == "finetune"
    operations, noise = rand_augment() if tune else None, np.random.default_rng(0)

    def view(image):
        if tune and image.size == (side, side) and side <= 32:
            image = pad_crop(image)
        else:
            left, top, width, height = crop(*image.size, 0.08 if tune else 0.2)
            image = image.resize((side, side), Image.BICUBIC, box=(left, top, left + width, top + height))
        if random.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        if tune:
            image = operations(image)
        values = np.asarray(image, np.float32).transpose(2, 0, 1)
        values = np.ascontiguousarray((values / 255 - 0.5) / 0.5)
        if tune:
            erase(values, noise)
        return values

    return view


def images(source):
    """What gives an image by its number, their count, and the side of their views."""
    if source.startswith("cifar10:"):
        tables = sorted(glob.glob(f"{source.removeprefix('cifar10:')}/data_batch_*.png"))
        pixels = np.concatenate([np.asarray(Image.open(path).convert("RGB")) for path in tables]).reshape(-1, 32, 32, 3)
        return lambda number: Image.fromarray(pixels[number]), len(pixels), 32
    files = sorted(glob.glob(f"{source}/*.jpg"))
    return lambda number: Image.open(files[number]).convert("RGB"), len(files), 224


def rate(source, count, chain):
    image, total, side = images(source)
    view = views(side, chain)
    random.seed(0)
    np.random.seed(0)
    order = random.sample(range(total), total)
    view(image(order[-1]))
    began = time.perf_counter()
    for number in range(count):
        view(image(order[number % total]))
    print(f"{count / (time.perf_counter() - began):.1f}")


if __name__ == "__main__":
    verb, source, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    make(source, count) if verb == "make" else rate(source, count, (sys.argv[4:] or ["pretrain"])[0])
