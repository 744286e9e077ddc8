#!/usr/bin/env python3
"""Times one BootMAE training step in PyTorch: what a user without WebGPU would run. Needs nothing but torch.

  torch_step.py c32  [batch 32] [steps 12]     preset tiny, 32x32, patch 4
  torch_step.py s224 [batch 2]  [steps 5]      preset small, 224x224, patch 16
  torch_step.py b224 [batch 64] [steps 20]     preset base, 224x224, patch 16
  torch_step.py --versions                     torch, its device and the BLAS that it loaded, one JSON object

  --cuda runs on the GPU; --amp adds float16 autocast (the published recipe), --bf16 bfloat16 autocast; --tf32 allows
  TF32. --sdpa uses torch's fused attention, --compile torch.compile. --threads N sets the threads on the CPU. --json
  prints one JSON object.

The step is forward, teacher, losses, backward, AdamW and the teacher's moving average, in float32 unless a flag says
otherwise. Images are random and drawn outside the time taken; the first step is not counted. On a GPU the median of steps
that are waited for, or the mean of a row of steps that are not, whichever is shorter.
"""
import argparse
import contextlib
import json
import math
import os
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Config:
    image: int
    patch: int
    width: int
    depth: int
    heads: int           # of the encoder and of both decoders
    pixel_width: int     # of the pixel decoder; a head has pixel_width // heads columns
    masked: int
    batch: int           # default batch and steps of this benchmark
    steps: int
    decoder_depth: int = 2
    eps: float = 1e-6

    @property
    def grid(self): return self.image // self.patch
    @property
    def patches(self): return self.grid ** 2


CONFIGS = {
    "c32": Config(32, 4, 192, 12, 3, 192, 48, batch=32, steps=12),
    "s224": Config(224, 16, 384, 12, 6, 384, 147, batch=2, steps=5),
    "b224": Config(224, 16, 768, 12, 12, 512, 147, batch=64, steps=20),
}


def step_flops(c):
    """Forward and backward of the student and a forward of the teacher, 2 FLOP a multiply-add, for one image."""
    n, visible, tokens, pixels = c.patches, c.patches - c.masked + 1, c.patches + 1, 3 * c.patch ** 2
    d, p = c.width, c.pixel_width
    inner = p // c.heads * c.heads
    block = lambda l, w, a: 3 * l * w * a + 2 * l * l * a + l * a * w + 8 * l * w * w
    cross = lambda w, a: tokens * w * a + 2 * visible * d * a + 2 * tokens * visible * a + tokens * a * w
    decoder = lambda w, a: c.decoder_depth * (block(tokens, w, a) + cross(w, a))
    student = n * pixels * d + c.depth * block(visible, d, d) + visible * d * p + decoder(p, inner) + n * p * pixels
    student += visible * d * d + decoder(d, d) + n * d * d
    teacher = n * pixels * d + c.depth * block(tokens, d, d)
    return 2 * (3 * student + teacher)


# ------------------------------------------------------------------------------------------------------- parameters
def parameters(c, device):
    """Name -> tensor. Values are only roughly those of a real start; the time does not depend on them."""
    out = {}

    def linear(name, rows, cols, bias=True):
        out[name + ".w"] = (2 * torch.rand(rows, cols) - 1) * math.sqrt(6 / (rows + cols))
        if bias: out[name + ".b"] = torch.zeros(rows)

    def layer_norm(name, width):
        out[name + ".g"], out[name + ".b"] = torch.ones(width), torch.zeros(width)

    def attention(name, width):
        inner = width // c.heads * c.heads
        linear(name + ".qkv", 3 * inner, width, bias=False)
        out[name + ".q_bias"], out[name + ".v_bias"] = torch.zeros(inner), torch.zeros(inner)
        linear(name + ".proj", width, inner)

    def mlp(name, width):
        linear(name + ".fc1", 4 * width, width)
        linear(name + ".fc2", width, 4 * width)

    linear("patch", c.width, 3 * c.patch ** 2)
    out["cls"] = torch.randn(c.width) * 1e-6
    for i in range(c.depth):
        layer_norm(f"enc.{i}.ln1", c.width); attention(f"enc.{i}.attn", c.width)
        layer_norm(f"enc.{i}.ln2", c.width); mlp(f"enc.{i}.mlp", c.width)
    layer_norm("enc.norm", c.width)
    for branch, width in (("pix", c.pixel_width), ("feat", c.width)):
        inner = width // c.heads * c.heads
        linear(branch + ".in", width, c.width)
        out[branch + ".mask"] = torch.randn(width) * 0.02
        for i in range(c.decoder_depth):
            b = f"{branch}.{i}"
            layer_norm(b + ".ln_self", width); attention(b + ".self", width)
            layer_norm(b + ".ln_q", width); layer_norm(b + ".ln_kv", c.width)
            linear(b + ".cross.q", inner, width, bias=False)
            linear(b + ".cross.kv", 2 * inner, c.width, bias=False)
            out[b + ".cross.q_bias"], out[b + ".cross.v_bias"] = torch.zeros(inner), torch.zeros(inner)
            linear(b + ".cross.proj", width, inner)
            layer_norm(b + ".ln_mlp", width); mlp(b + ".mlp", width)
        layer_norm(branch + ".norm", width)
    linear("pix.head", 3 * c.patch ** 2, c.pixel_width, bias=False)
    out["pix.head.b"] = torch.zeros(3)
    linear("feat.head", c.width, c.width)
    return {name: value.to(device).requires_grad_() for name, value in out.items()}


def sincos(side, width):
    """Positions [side * side, width]: sine and cosine of rows, then of columns."""
    quarter = width // 4
    rates = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    at = torch.arange(side, dtype=torch.float64)
    row, column = at.repeat_interleave(side)[:, None] * rates, at.repeat(side)[:, None] * rates
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1).float()


# ---------------------------------------------------------------------------------------------------------- network
def norm(x, gain, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    y = d / torch.sqrt(d.pow(2).mean(-1, keepdim=True) + eps)
    return y if gain is None else y * gain + bias


def gelu(x): return 0.5 * x * (1 + torch.erf(x / math.sqrt(2.0)))


def plain_attention(q, k, v, heads):
    split = lambda t: t.view(t.shape[0], -1, heads, t.shape[2] // heads).transpose(1, 2)
    p = torch.softmax((split(q) * (q.shape[2] // heads) ** -0.5) @ split(k).transpose(2, 3), -1)
    return (p @ split(v)).transpose(1, 2).reshape(q.shape)


def fused_attention(q, k, v, heads):
    split = lambda t: t.view(t.shape[0], -1, heads, t.shape[2] // heads).transpose(1, 2)
    return F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape(q.shape)


class Net:
    def __init__(self, params, config, tables, attend):
        self.P, self.c, self.tables, self.attend = params, config, tables, attend

    def ln(self, n, x): return norm(x, self.P[n + ".g"], self.P[n + ".b"], self.c.eps)
    def linear(self, n, x): return x @ self.P[n + ".w"].T + self.P[n + ".b"]
    def mlp(self, n, x): return self.linear(n + ".fc2", gelu(self.linear(n + ".fc1", x)))

    def self_attention(self, n, x):
        q, k, v = (x @ self.P[n + ".qkv.w"].T).chunk(3, -1)
        y = self.attend(q + self.P[n + ".q_bias"], k, v + self.P[n + ".v_bias"], self.c.heads)
        return self.linear(n + ".proj", y)

    def cross_attention(self, n, x, memory):
        q = x @ self.P[n + ".q.w"].T + self.P[n + ".q_bias"]
        k, v = (memory @ self.P[n + ".kv.w"].T).chunk(2, -1)
        return self.linear(n + ".proj", self.attend(q, k, v + self.P[n + ".v_bias"], self.c.heads))

    def embed(self, images):
        """[batch, 3, side, side] -> [batch, 1 + patches, width]"""
        x = patches(images, self.c) @ self.P["patch.w"].T + self.P["patch.b"] + self.tables[self.c.width]
        return torch.cat([self.P["cls"].expand(len(x), 1, -1).to(x.dtype), x], 1)

    def encode(self, x):
        """The output of every block, before the last norm."""
        outputs = []
        for i in range(self.c.depth):
            x = x + self.self_attention(f"enc.{i}.attn", self.ln(f"enc.{i}.ln1", x))
            x = x + self.mlp(f"enc.{i}.mlp", self.ln(f"enc.{i}.ln2", x))
            outputs.append(x)
        return outputs

    def decode(self, branch, latent, memory, order):
        """[batch, 1 + visible, width] -> [batch, patches, branch width] in raster order."""
        width = self.c.pixel_width if branch == "pix" else self.c.width
        h = self.linear(branch + ".in", latent)
        holes = self.P[branch + ".mask"] + self.tables[width][order[:, latent.shape[1] - 1:]]
        sequence = torch.cat([h[:, 1:], holes.to(h.dtype)], 1)
        sequence = torch.gather(sequence, 1, torch.argsort(order, 1)[..., None].expand(-1, -1, width))
        x = torch.cat([h[:, :1], sequence], 1)
        for i in range(self.c.decoder_depth):
            b = f"{branch}.{i}"
            x = x + self.self_attention(b + ".self", self.ln(b + ".ln_self", x))
            x = x + self.cross_attention(b + ".cross", self.ln(b + ".ln_q", x), self.ln(b + ".ln_kv", memory))
            x = x + self.mlp(b + ".mlp", self.ln(b + ".ln_mlp", x))
        return self.ln(branch + ".norm", x)[:, 1:]

    def forward(self, images, order):
        """Pixels [batch, patches, 3, patch, patch] and features [batch, patches, width]; masked patches are last in
        `order`."""
        c = self.c
        x = self.embed(images)
        visible = (order[:, :c.patches - c.masked] + 1)[..., None].expand(-1, -1, c.width)
        outputs = self.encode(torch.cat([x[:, :1], torch.gather(x, 1, visible)], 1))
        latent = self.ln("enc.norm", outputs[-1])
        pixels = self.decode("pix", latent, outputs[0], order) @ self.P["pix.head.w"].T
        features = self.linear("feat.head", self.decode("feat", latent, outputs[-1], order))
        pixels = pixels.view(len(x), c.patches, 3, c.patch, c.patch) + self.P["pix.head.b"].view(3, 1, 1)
        return pixels, features


def patches(images, c):
    x = images.view(len(images), 3, c.grid, c.patch, c.grid, c.patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(len(images), c.patches, 3 * c.patch ** 2)


def loss(student, teacher, images, order):
    c = student.c
    pixels, features = student.forward(images, order)
    mask = torch.zeros(order.shape, device=order.device).scatter_(1, order[:, c.patches - c.masked:], 1.0)
    padded = F.pad(mask.view(-1, c.grid, c.grid), (1, 1, 1, 1))
    around = sum(padded[:, i:i + c.grid, j:j + c.grid] for i in range(3) for j in range(3)) / 9
    weight = mask * (1 + around.reshape(mask.shape))
    target = patches(images, c).view(pixels.shape)
    target = target - target.mean((3, 4), keepdim=True)
    target = target / torch.sqrt(target.pow(2).mean((3, 4), keepdim=True) + 1e-5)
    loss_pixel = (weight * (pixels - target).pow(2).mean((2, 3, 4))).mean() / mask.mean()
    with torch.no_grad():
        wanted = norm(teacher.encode(teacher.embed(images))[-1][:, 1:], None, None, c.eps)
    difference = wanted - norm(features, None, None, c.eps)
    return loss_pixel + (weight * difference.pow(2).mean(2)).mean() / mask.mean()


# ------------------------------------------------------------------------------------------------------------- time
def blas():
    """The BLAS in this process: what torch was built with, or the libraries that Debian's alternatives loaded."""
    found = set()
    torch.ones(64, 64) @ torch.ones(64, 64)
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                real = os.path.realpath(line.split()[-1])
                name = os.path.basename(real)
                if "openblas" in real: found.add("OpenBLAS")
                elif "libblis" in name: found.add("BLIS")
                elif "mkl_core" in name or "mkl_rt" in name: found.add("MKL")
                elif "atlas" in real: found.add("ATLAS")
                elif name.startswith("libblas.so"): found.add("reference BLAS (slow: install libopenblas0-pthread)")
    except OSError:
        pass
    if not found:
        built = [w for w in torch.__config__.show().replace(",", "\n").splitlines() if "BLAS_INFO" in w]
        found.add(built[0].split("BLAS_INFO=")[-1].strip() if built else "unknown BLAS")
    return " and ".join(sorted(found))


def versions():
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else "CPU"
    return {"torch": torch.__version__, "blas": blas(), "cuda": torch.version.cuda if cuda else None,
            "device": device, "threads": torch.get_num_threads()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", choices=CONFIGS)
    parser.add_argument("batch", nargs="?", type=int)
    parser.add_argument("steps", nargs="?", type=int)
    for flag in ("versions", "cuda", "amp", "bf16", "tf32", "sdpa", "compile", "json"):
        parser.add_argument("--" + flag, action="store_true")
    parser.add_argument("--threads", type=int, metavar="N", help="threads on the CPU; otherwise torch's own choice")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.versions:
        print(json.dumps(versions()))
        return
    if a.work is None:
        parser.error("which work? c32, s224 or b224")
    if a.amp and not a.cuda:
        parser.error("--amp is float16, which needs --cuda")
    c = CONFIGS[a.work]
    batch, steps = a.batch or c.batch, a.steps or c.steps
    device = torch.device("cuda" if a.cuda else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = a.tf32
    torch.backends.cudnn.allow_tf32 = a.tf32
    torch.manual_seed(0)
    student = parameters(c, device)
    teacher = {name: value.detach().clone() for name, value in student.items()}
    optimiser = torch.optim.AdamW(list(student.values()), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)
    scaler = torch.cuda.amp.GradScaler() if a.amp else None
    order = torch.argsort(torch.rand(batch, c.patches), 1).to(device)
    tables = {width: sincos(c.grid, width).to(device) for width in {c.width, c.pixel_width}}
    attend = fused_attention if a.sdpa else plain_attention
    nets = [Net(p, c, tables, attend) for p in (student, teacher)]
    compute = torch.compile(loss) if a.compile else loss
    # Only asked for where it does something: torch 1.13 refuses float16 on the CPU even when it is not enabled.
    half = torch.float16 if a.amp else torch.bfloat16
    precision = (lambda: torch.autocast(device.type, half)) if a.amp or a.bf16 else contextlib.nullcontext
    wait = torch.cuda.synchronize if a.cuda else lambda: None

    def step(images):
        optimiser.zero_grad(set_to_none=True)
        with precision():
            value = compute(*nets, images, order)
        if scaler:
            scaler.scale(value).backward(); scaler.step(optimiser); scaler.update()
        else:
            value.backward(); optimiser.step()
        with torch.no_grad():
            torch._foreach_mul_(list(teacher.values()), 0.999)
            torch._foreach_add_(list(teacher.values()), [v.detach() for v in student.values()], alpha=0.001)
        return value

    times = []
    for _ in range(steps + 1):
        images = torch.randn(batch, 3, c.image, c.image, device=device)
        wait()
        began = time.perf_counter()
        step(images).item()
        wait()
        times.append(time.perf_counter() - began)
    median = sorted(times[1:])[len(times[1:]) // 2]
    if a.cuda:
        # A GPU need not wait for the host between steps: whichever is shorter counts.
        began = time.perf_counter()
        for _ in range(steps):
            step(images)
        wait()
        median = min(median, (time.perf_counter() - began) / steps)
    flags = " ".join(f for f in ("amp", "bf16", "tf32", "sdpa", "compile") if getattr(a, f))
    result = {"work": a.work, "batch_size": batch, "step_ms": median * 1e3, "images_per_s": batch / median,
              "gflops": step_flops(c) * batch / median / 1e9, "flags": flags, **versions()}
    if a.json:
        print(json.dumps(result))
        return
    print(f"{a.work} on {result['device']} {flags or 'float32'}: {result['step_ms']:.1f} ms a step of {batch} images, "
          f"{result['images_per_s']:.2f} images/s, {result['gflops']:.1f} GFLOP/s; torch {result['torch']}, "
          f"{result['blas']}")


if __name__ == "__main__":
    main()
