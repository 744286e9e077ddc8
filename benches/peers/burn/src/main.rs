//! The work of one BootMAE training step, written with burn's public modules: what a Rust user would otherwise train
//! with on wgpu. It does a little less than this project's step: images come cut into patches, masks and target norms
//! are left out, and so is the teacher's moving average. The loss is read back each step.
//!
//!   burn-peer c32|s224 [steps]
//!
//! c32: preset tiny at 32x32, patch 4, batch 32. s224: preset small at 224x224, patch 16, batch 2. After one step that
//! warms up, each step's time goes to standard error, and one JSON object with the median to standard output.
//! CUBECL_WGPU_DEFAULT_DEVICE=Cpu takes a software adapter where there are others.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Distribution, Int, Tensor, TensorData, activation},
};
use std::time::Instant;

/// Attention of queries `x` over `m`.
#[derive(Module, Debug)]
struct Attn {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
}

impl Attn {
    fn new(w: usize, mem: usize, heads: usize, d: &Device) -> Self {
        let l = |i, o| LinearConfig::new(i, o).init(d);
        Attn { q: l(w, w), k: l(mem, w), v: l(mem, w), o: l(w, w), heads }
    }
    fn forward(&self, x: Tensor<3>, m: Tensor<3>) -> Tensor<3> {
        let [b, l, w] = x.dims();
        let [_, lm, _] = m.dims();
        let h = self.heads;
        let hd = w / h;
        let q = self.q.forward(x).reshape([b, l, h, hd]).swap_dims(1, 2);
        let k = self.k.forward(m.clone()).reshape([b, lm, h, hd]).swap_dims(1, 2);
        let v = self.v.forward(m).reshape([b, lm, h, hd]).swap_dims(1, 2);
        let s = q.mul_scalar((hd as f32).powf(-0.5)).matmul(k.swap_dims(2, 3));
        let p = activation::softmax(s, 3);
        self.o.forward(p.matmul(v).swap_dims(1, 2).reshape([b, l, w]))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    a: Linear,
    b: Linear,
}

impl Mlp {
    fn new(w: usize, d: &Device) -> Self {
        Mlp { a: LinearConfig::new(w, 4 * w).init(d), b: LinearConfig::new(4 * w, w).init(d) }
    }
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.b.forward(activation::gelu(self.a.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Block {
    n1: LayerNorm,
    attn: Attn,
    n2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn new(w: usize, h: usize, d: &Device) -> Self {
        Block {
            n1: LayerNormConfig::new(w).init(d),
            attn: Attn::new(w, w, h, d),
            n2: LayerNormConfig::new(w).init(d),
            mlp: Mlp::new(w, d),
        }
    }
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = self.n1.forward(x.clone());
        let x = x + self.attn.forward(y.clone(), y);
        let y = self.n2.forward(x.clone());
        x + self.mlp.forward(y)
    }
}

#[derive(Module, Debug)]
struct DBlock {
    n1: LayerNorm,
    attn: Attn,
    n3: LayerNorm,
    n4: LayerNorm,
    cross: Attn,
    n2: LayerNorm,
    mlp: Mlp,
}

impl DBlock {
    fn new(w: usize, m: usize, h: usize, d: &Device) -> Self {
        let n = |w| LayerNormConfig::new(w).init(d);
        DBlock {
            n1: n(w),
            attn: Attn::new(w, w, h, d),
            n3: n(w),
            n4: n(m),
            cross: Attn::new(w, m, h, d),
            n2: n(w),
            mlp: Mlp::new(w, d),
        }
    }
    fn forward(&self, x: Tensor<3>, m: Tensor<3>) -> Tensor<3> {
        let y = self.n1.forward(x.clone());
        let x = x + self.attn.forward(y.clone(), y);
        let x = x.clone() + self.cross.forward(self.n3.forward(x), self.n4.forward(m));
        let y = self.n2.forward(x.clone());
        x + self.mlp.forward(y)
    }
}

#[derive(Module, Debug)]
struct Dec {
    inp: Linear,
    blocks: Vec<DBlock>,
    norm: LayerNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct Net {
    patch: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    pix: Dec,
    feat: Dec,
}

/// Patches and masked ones of an image, encoder width, depth and heads, values of a patch, pixel decoder's width.
struct C {
    n: usize,
    mask: usize,
    d: usize,
    depth: usize,
    h: usize,
    p: usize,
    pd: usize,
}

impl Net {
    fn new(c: &C, d: &Device) -> Self {
        let l = |i, o| LinearConfig::new(i, o).init(d);
        let dec = |w, out| Dec {
            inp: l(c.d, w),
            blocks: (0..2).map(|_| DBlock::new(w, c.d, c.h, d)).collect(),
            norm: LayerNormConfig::new(w).init(d),
            head: l(w, out),
        };
        Net {
            patch: l(c.p, c.d),
            blocks: (0..c.depth).map(|_| Block::new(c.d, c.h, d)).collect(),
            norm: LayerNormConfig::new(c.d).init(d),
            pix: dec(c.pd, c.p),
            feat: dec(c.d, c.d),
        }
    }
    fn encode(&self, mut x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let mut low = None;
        for b in &self.blocks {
            x = b.forward(x);
            if low.is_none() {
                low = Some(x.clone());
            }
        }
        (low.unwrap(), x)
    }
    fn loss(&self, teacher: &Net, patches: Tensor<3>, vis: Tensor<2, Int>, msk: Tensor<2, Int>, c: &C) -> Tensor<1> {
        let [b, _, _] = patches.dims();
        let pick = |t: Tensor<3>, i: &Tensor<2, Int>| {
            let w = t.dims()[2];
            let [b, n] = i.dims();
            t.gather(1, i.clone().reshape([b, n, 1]).expand([b, n, w]))
        };
        let tgt = teacher.encode(teacher.patch.forward(patches.clone())).1.detach();
        let tok = self.patch.forward(patches.clone());
        let (low, high) = self.encode(pick(tok, &vis));
        let z = self.norm.forward(high.clone());
        let run = |dec: &Dec, mem: Tensor<3>| {
            let h = dec.inp.forward(z.clone());
            let w = h.dims()[2];
            let holes = Tensor::<3>::zeros([b, c.mask, w], &h.device());
            let mut x = Tensor::cat(vec![h, holes], 1);
            for bl in &dec.blocks {
                x = bl.forward(x, mem.clone());
            }
            let x = dec.norm.forward(x);
            dec.head.forward(x.slice([0..b, (c.n - c.mask)..c.n]))
        };
        let dp = run(&self.pix, low) - pick(patches, &msk);
        let df = run(&self.feat, high) - pick(tgt, &msk);
        dp.clone().mul(dp).mean() + df.clone().mul(df).mean()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let work = arguments.first().map_or("", String::as_str);
    let (c, batch) = match work {
        "c32" => (C { n: 64, mask: 48, d: 192, depth: 12, h: 3, p: 48, pd: 192 }, 32),
        "s224" => (C { n: 196, mask: 147, d: 384, depth: 12, h: 6, p: 768, pd: 384 }, 2),
        _ => {
            eprintln!("usage: burn-peer c32|s224 [steps]");
            std::process::exit(2);
        }
    };
    let steps: usize = arguments.get(1).and_then(|s| s.parse().ok()).unwrap_or(5).max(1);
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice).autodiff();
    let mut net = Net::new(&c, &device);
    let teacher = net.clone();
    let mut optimiser = AdamWConfig::new().with_weight_decay(0.05).init();
    let (mut visible, mut masked) = (vec![], vec![]);
    for image in 0..batch {
        for j in 0..c.n {
            let list = if j < c.n - c.mask { &mut visible } else { &mut masked };
            list.push(((j * 37 + image) % c.n) as i32);
        }
    }
    let visible = Tensor::<2, Int>::from_data(TensorData::new(visible, [batch, c.n - c.mask]), &device);
    let masked = Tensor::<2, Int>::from_data(TensorData::new(masked, [batch, c.mask]), &device);
    let mut times = Vec::new();
    for step in 0..=steps {
        let began = Instant::now();
        let x = Tensor::<3>::random([batch, c.n, c.p], Distribution::Normal(0., 1.), &device);
        let loss = net.loss(&teacher, x, visible.clone(), masked.clone(), &c);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimiser.step(1e-4f64, net, gradients);
        let loss: f32 = loss.into_scalar();
        device.sync().expect("the device finishes a step");
        let ms = began.elapsed().as_secs_f64() * 1e3;
        eprintln!("step {step}{}: loss {loss:.4}, {ms:.1} ms", if step == 0 { " (warms up)" } else { "" });
        if step > 0 {
            times.push(ms);
        }
    }
    times.sort_by(f64::total_cmp);
    let ms = times[times.len() / 2];
    println!(
        "{{\"work\": \"{work}\", \"batch_size\": {batch}, \"step_ms\": {ms:.3}, \"images_per_s\": {:.5}}}",
        batch as f64 / ms * 1e3
    );
}
