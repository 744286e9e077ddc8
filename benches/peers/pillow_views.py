"""Training views with Pillow, for benches/loader.sh.

pillow_views.py make DIR N   writes N JPEG files of 500×375 or 375×500 pixels, cut from the photos of the repository
pillow_views.py time DIR N   prints how many views a second one thread makes
"""

import glob
import math
import os
import random
import sys
import time

import numpy as np
from PIL import Image


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


def crop(width, height):
    """torchvision's RandomResizedCrop(scale=(0.2, 1))."""
    for _ in range(10):
        area = width * height * random.uniform(0.2, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def view(path):
    image = Image.open(path).convert("RGB")
    left, top, width, height = crop(*image.size)
    image = image.resize((224, 224), Image.BICUBIC, box=(left, top, left + width, top + height))
    if random.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    values = np.asarray(image, np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray((values / 255 - 0.5) / 0.5)


def rate(folder, count):
    files = sorted(glob.glob(f"{folder}/*.jpg"))
    random.seed(0)
    random.shuffle(files)
    view(files[-1])
    began = time.perf_counter()
    for number in range(count):
        view(files[number % len(files)])
    print(f"{count / (time.perf_counter() - began):.1f}")


if __name__ == "__main__":
    verb, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    make(folder, count) if verb == "make" else rate(folder, count)
