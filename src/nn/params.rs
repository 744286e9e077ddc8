//! Named parameters, where they live and how they start.

use std::{cell::RefCell, collections::HashMap};

use crate::{
    graph::{Graph, Place, Tensor},
    ops::{AdamW, Run},
    rng::{Rng, Stream},
    shape::TensorType,
};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zeros.
    Zero,
    /// All ones.
    One,
    /// Uniform in ± the bound.
    Uniform(f64),
    /// Normal with this deviation.
    Normal(f64),
    /// Normal with this deviation, cut at one deviation.
    CutNormal(f64),
}

/// A trainable tensor: its published shape, start and whether weight decay applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Path in timm's manner, e.g. `blocks.3.attn.qkv.weight`.
    pub name: String,
    /// Shape as checkpoints hold it.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// Whether weight decay applies.
    pub decay: bool,
    /// What its learning rate is multiplied by; 0 leaves it as it is.
    pub rate: f32,
}

impl Param {
    /// A tensor that learns at the rate of the run.
    pub fn new(name: impl Into<String>, shape: &[usize], init: Init, decay: bool) -> Param {
        Param { name: name.into(), shape: shape.into(), init, decay, rate: 1.0 }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether training leaves it as it is.
    pub fn is_frozen(&self) -> bool {
        self.rate == 0.0
    }

    /// The starting values for a seed; they depend on the seed and the name alone.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let hash =
            self.name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut rng = Rng::new(seed, Stream::Init, 0, hash);
        let mut draw = || match self.init {
            Init::Zero => 0.0,
            Init::One => 1.0,
            Init::Uniform(bound) => rng.range(-bound, bound),
            Init::Normal(deviation) => rng.normal() * deviation,
            Init::CutNormal(deviation) => loop {
                let z = rng.normal();
                if z.abs() <= 1.0 {
                    break z * deviation;
                }
            },
        };
        (0..self.len()).map(|_| draw() as f32).collect()
    }

    /// The shape kernels see: a matrix of `[first extent, rest]`, or a vector.
    fn flat(&self) -> Vec<usize> {
        let wide: Vec<usize> = self.shape.iter().copied().filter(|extent| *extent != 1).collect();
        match wide[..] {
            [] => vec![1],
            [n] => vec![n],
            [first, ..] => vec![first, self.len() / first],
        }
    }
}

/// Tensors start at multiples of this many bytes: WebGPU's default storage offset alignment.
const ALIGNMENT: usize = 256;

/// One buffer of an arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Values, padding included.
    pub len: usize,
    /// The parameter groups, in order.
    pub groups: Vec<Run>,
}

/// Where each parameter stands in an arena: the same for weights, gradients, both moments and the teacher. The tensors of
/// a parameter group, alike in decay and rate, stand together, those that decay first.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The parameters in the arena's order.
    pub params: Vec<Param>,
    /// The arena's buffers.
    pub shards: Vec<Shard>,
    places: HashMap<String, (usize, usize, u64)>,
}

impl Layout {
    /// Lays out `params` in shards of at most `max_bytes` bytes; a single larger tensor gets a shard of its own.
    pub fn new(params: Vec<Param>, max_bytes: u64) -> Layout {
        let mut params = params;
        params.sort_by(|a, b| b.decay.cmp(&a.decay).then(a.rate.total_cmp(&b.rate)));
        let most = (max_bytes / 4) as usize;
        let mut shards: Vec<Shard> = Vec::new();
        let mut places = HashMap::new();
        for (index, param) in params.iter().enumerate() {
            let len = param.len().next_multiple_of(ALIGNMENT / 4);
            let (rate, decay) = (param.rate, if param.decay { 1.0 } else { 0.0 });
            let is_last = |group: &Run| (group.rate, group.decay) == (rate, decay);
            let is_full = |shard: &Shard| {
                let own = shard.groups.last().is_some_and(is_last);
                shard.len + len > most || (shard.groups.len() == AdamW::GROUPS && !own)
            };
            if shards.last().is_none_or(is_full) {
                shards.push(Shard { len: 0, groups: Vec::new() });
            }
            let number = shards.len() - 1;
            let shard = &mut shards[number];
            if !shard.groups.last().is_some_and(is_last) {
                shard.groups.push(Run { first: shard.len, rate, decay });
            }
            places.insert(param.name.clone(), (index, number, (shard.len * 4) as u64));
            shard.len += len;
        }
        Layout { params, shards, places }
    }

    /// The place of a parameter in an arena of this layout. Panics on an unknown name, a programming error.
    pub fn place(&self, arena: &'static str, name: &str) -> Place {
        let (_, shard, offset) = self.entry(name);
        Place { arena, shard, offset }
    }

    /// The ranges of an arena that hold the parameters that `wanted` chooses, with their lengths in values, padding
    /// included; neighbours are one range.
    pub fn runs(&self, arena: &'static str, wanted: impl Fn(&str) -> bool) -> Vec<(Place, usize)> {
        let mut runs: Vec<(Place, usize)> = Vec::new();
        for param in self.params.iter().filter(|p| wanted(&p.name)) {
            let place = self.place(arena, &param.name);
            let len = param.len().next_multiple_of(ALIGNMENT / 4);
            match runs.last_mut() {
                Some((first, held))
                    if (first.shard, first.offset + *held as u64 * 4) == (place.shard, place.offset) =>
                {
                    *held += len;
                }
                _ => runs.push((place, len)),
            }
        }
        runs
    }

    /// Names and shapes of all parameters.
    pub fn needed(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.params.iter().map(|p| (p.name.as_str(), p.shape.as_slice()))
    }

    /// Number of trainable values, padding not counted.
    pub fn count(&self) -> usize {
        self.params.iter().map(Param::len).sum()
    }

    /// Bytes of one arena.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|s| s.len as u64 * 4).sum()
    }

    fn entry(&self, name: &str) -> (usize, usize, u64) {
        *self.places.get(name).unwrap_or_else(|| panic!("the model has no parameter `{name}`"))
    }
}

/// The parameters of one arena as values of a graph.
pub struct Params<'g> {
    graph: &'g Graph,
    layout: &'g Layout,
    arena: &'static str,
    known: RefCell<HashMap<String, Tensor<'g>>>,
}

impl<'g> Params<'g> {
    /// The parameters that `layout` places in `arena`.
    pub fn new(graph: &'g Graph, layout: &'g Layout, arena: &'static str) -> Params<'g> {
        Params { graph, layout, arena, known: RefCell::default() }
    }

    /// A parameter by its name, one value however often it is asked for.
    pub fn get(&self, name: &str) -> Tensor<'g> {
        if let Some(tensor) = self.known.borrow().get(name) {
            return *tensor;
        }
        let param = &self.layout.params[self.layout.entry(name).0];
        let label = format!("{}/{name}", self.arena);
        let tensor = self.graph.external(&label, TensorType::f32(&param.flat()), self.layout.place(self.arena, name));
        self.known.borrow_mut().insert(name.to_string(), tensor);
        tensor
    }

    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// The top of the tree of names.
    pub fn root(&self) -> Scope<'_, 'g> {
        Scope { params: self, path: String::new() }
    }
}

/// A place in the tree of parameter names.
#[derive(Clone)]
pub struct Scope<'a, 'g> {
    params: &'a Params<'g>,
    path: String,
}

impl<'a, 'g> Scope<'a, 'g> {
    /// The scope `name` below this one.
    pub fn at(&self, name: impl std::fmt::Display) -> Scope<'a, 'g> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Scope { params: self.params, path }
    }

    /// The parameter `name` of this scope.
    pub fn get(&self, name: &str) -> Tensor<'g> {
        self.params.get(&self.at(name).path)
    }

    /// Records under this scope's path.
    pub fn record<T>(&self, f: impl FnOnce() -> T) -> T {
        let prefix = if self.params.arena == "weights" { String::new() } else { format!("{}.", self.params.arena) };
        self.params.graph.scope(format!("{prefix}{}", self.path), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(name: &str, shape: &[usize], decay: bool) -> Param {
        Param::new(name, shape, Init::CutNormal(0.02), decay)
    }

    #[test]
    fn decayed_tensors_lead_and_shards_keep_their_limit() {
        let params = vec![param("a", &[5], false), param("b", &[60, 3], true), param("c", &[100], true)];
        let layout = Layout::new(params, 1200);
        let names: Vec<_> = layout.params.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        let run = |first, decay| Run { first, rate: 1.0, decay };
        let second = Shard { len: 192, groups: vec![run(0, 1.0), run(128, 0.0)] };
        assert_eq!(layout.shards, [Shard { len: 192, groups: vec![run(0, 1.0)] }, second]);
        assert_eq!(layout.place("weights", "a"), Place { arena: "weights", shard: 1, offset: 512 });
        assert_eq!(layout.count(), 285);
    }

    #[test]
    fn tensors_alike_in_decay_and_rate_stand_together() {
        let of = |name, decay, rate| Param { rate, ..param(name, &[64], decay) };
        let params = vec![of("a", false, 0.5), of("b", true, 1.0), of("c", true, 0.5), of("d", false, 0.5)];
        let layout = Layout::new(params, 1 << 20);
        let names: Vec<_> = layout.params.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a", "d"]);
        let groups = [(0, 0.5, 1.0), (64, 1.0, 1.0), (128, 0.5, 0.0)];
        assert_eq!(layout.shards[0].groups, groups.map(|(first, rate, decay)| Run { first, rate, decay }));
        let many = (0..100).map(|at| of("x", true, 1.0 / (1.0 + at as f32))).collect();
        let counts: Vec<_> = Layout::new(many, 1 << 20).shards.iter().map(|shard| shard.groups.len()).collect();
        assert_eq!(counts, [AdamW::GROUPS, 100 - AdamW::GROUPS]);
    }

    #[test]
    fn neighbours_in_a_shard_are_one_run() {
        let names = [("a", true), ("b", true), ("x", true), ("c", true), ("d", false), ("y", false), ("e", false)];
        let layout = Layout::new(names.map(|(name, decay)| param(name, &[65], decay)).into(), 3 * 512);
        let runs = layout.runs("teacher", |name| !["x", "y"].contains(&name));
        let found: Vec<_> = runs.iter().map(|(place, len)| (place.shard, place.offset, *len)).collect();
        assert_eq!(found, [(0, 0, 256), (1, 0, 256), (2, 0, 128)]);
        assert!(runs.iter().all(|(place, _)| place.arena == "teacher"));
    }

    #[test]
    fn a_cut_normal_never_leaves_one_deviation() {
        let values = param("mask", &[4096], true).initial(3);
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / 4096.0).sqrt();
        assert!(values.iter().all(|v| v.abs() <= 0.02));
        assert!((deviation - 0.0108).abs() < 0.0005, "{deviation}");
    }
}
