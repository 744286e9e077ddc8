#!/usr/bin/env python3
"""Times the forward pass of a ViT encoder in PyTorch: what `bootmae embed` computes. Needs nothing but torch.

  torch_embed.py WIDTH DEPTH HEADS IMAGE PATCH [--batch 64] [--batches 10] [--threads N] [--cuda] [--json]

Float32, random weights and images, mean of the patch tokens after the last block, torch's fused attention, no gradients. Images
are drawn outside the time taken; the first batch is not counted.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, width, depth, heads, image, patch):
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + (image // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], 1) + self.pos_embed
        return self.blocks(x)[:, 1:].mean(1)


def main():
    a = argparse.ArgumentParser()
    for name in ("width", "depth", "heads", "image", "patch"):
        a.add_argument(name, type=int)
    a.add_argument("--batch", type=int, default=64)
    a.add_argument("--batches", type=int, default=10)
    a.add_argument("--threads", type=int)
    a.add_argument("--cuda", action="store_true")
    a.add_argument("--json", action="store_true")
    a = a.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    device = torch.device("cuda" if a.cuda else "cpu")
    encoder = Encoder(a.width, a.depth, a.heads, a.image, a.patch).to(device).eval()
    images = torch.randn(a.batch, 3, a.image, a.image, device=device)
    with torch.inference_mode():
        encoder(images).cpu()
        began = time.perf_counter()
        for _ in range(a.batches):
            encoder(images).cpu()
        seconds = time.perf_counter() - began
    rate = a.batch * a.batches / seconds
    told = {"images_per_s": rate, "torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(device)}
    print(json.dumps(told) if a.json else f"{rate:.1f} images/s, torch {torch.__version__} on {device}")


if __name__ == "__main__":
    main()
