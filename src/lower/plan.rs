//! A plan: a graph turned into plain data, a list of dispatches over numbered buffers. Needs no GPU to make or read.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use super::{
    Recompute, fusion,
    half_precision::halve,
    recompute::recompute,
    split_k::split_k,
    storage::{Lifetime, lifetimes, needed_nodes, storage_roots},
};
use crate::{
    graph::{Dispatch, Graph, Op, Origin, Place, Recorded, Slot, Tensor, ValueId},
    kernels::{Constant, Kernel, Tuning, Work},
    shape::Precision,
};

/// A value wanted from a plan.
pub struct Fetch<'g> {
    /// The name to read it by.
    pub name: String,
    /// The value.
    pub tensor: Tensor<'g>,
    /// Where it is to be written; without one it gets a buffer of the plan.
    pub place: Option<Place>,
}

impl<'g> Fetch<'g> {
    /// Fetches `tensor` into a buffer of the plan.
    pub fn new(name: impl Into<String>, tensor: Tensor<'g>) -> Fetch<'g> {
        Fetch { name: name.into(), tensor, place: None }
    }

    /// Fetches `tensor` into an arena.
    pub fn into(name: impl Into<String>, tensor: Tensor<'g>, place: Place) -> Fetch<'g> {
        Fetch { name: name.into(), tensor, place: Some(place) }
    }
}

/// How a plan is made.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Kernel variants.
    pub tuning: Tuning,
    /// Give every value a buffer of its own, to tell a planning mistake from a kernel's.
    pub no_reuse: bool,
    /// Run every operation as it was recorded, neither fused nor divided, to tell a pass's mistake from a kernel's.
    pub no_fusion: bool,
    /// What the backward pass computes again, to hold less.
    pub recompute: Recompute,
    /// In what precision matmuls read their operands.
    pub precision: Precision,
}

/// A buffer of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// Written by the host before a run.
    Input {
        /// The name the host writes it by.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// A shard of an arena, owned by the caller.
    Arena {
        /// The arena's name.
        arena: &'static str,
        /// Which of its buffers.
        shard: usize,
    },
    /// Scratch, reused by values whose lifetimes do not overlap.
    Pool {
        /// Its size.
        bytes: u64,
    },
}

/// A range of one of the plan's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Index into [`Plan::buffers`].
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// One dispatch over the plan's buffers.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The entry point.
    pub kernel: &'static Kernel,
    /// Values for the shader's constants.
    pub constants: Vec<Constant>,
    /// The bytes of the shader's `Params`.
    pub params: Vec<u8>,
    /// What is bound, in the order of the kernel's bindings.
    pub ranges: Vec<Range>,
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
    /// The operation's name.
    pub op: &'static str,
    /// Path of the layer that recorded it.
    pub path: String,
    /// Floating-point operations of the dispatch; counted for matmuls and attention only.
    pub flops: f64,
    /// Bytes of what is bound, read and written; what is updated in place counts twice.
    pub bytes: u64,
    /// What its variant was chosen by; on the node's first dispatch, none on the others.
    pub work: Option<Work>,
}

/// What the weakest GPU that one would train on does at least: floating-point operations and bytes a second.
const SLOW_GPU: (f64, f64) = (1e11, 1e10);

impl Planned {
    /// Seconds that the dispatch takes at most on any GPU worth training on: a bound that divides work, no prediction.
    pub fn seconds(&self) -> f64 {
        self.flops / SLOW_GPU.0 + self.bytes as f64 / SLOW_GPU.1
    }
}

/// Dispatches over numbered buffers: everything an [`Executor`](crate::exec::Executor) needs.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The buffers.
    pub buffers: Vec<Storage>,
    /// The dispatches, in order.
    pub dispatches: Vec<Planned>,
    /// Where the host writes each input.
    pub inputs: BTreeMap<String, Range>,
    /// Where each fetched value is found.
    pub outputs: BTreeMap<String, Range>,
    /// The largest sum of scratch values alive at one time, in bytes: no plan can need less.
    pub live_bytes: u64,
}

impl Plan {
    /// Plans the dispatches that compute `fetch`, in the order the graph was recorded.
    pub fn new(graph: &Graph, fetch: &[Fetch<'_>], options: &PlanOptions) -> Plan {
        let mut recorded = graph.recorded.borrow().clone();
        let wanted: Vec<_> = fetch.iter().map(|f| f.tensor.id).collect();
        if !options.no_fusion {
            let needed = needed_nodes(&recorded, &wanted);
            fusion::keep_slopes(&mut recorded, &needed, &wanted, &options.tuning);
        }
        if options.precision == Precision::F16 {
            let needed = needed_nodes(&recorded, &wanted);
            halve(&mut recorded, &needed, &wanted, &options.tuning);
        }
        if !options.no_fusion {
            let needed = needed_nodes(&recorded, &wanted);
            fusion::fuse(&mut recorded, &needed, &wanted, &options.tuning);
            fusion::fuse_losses(&mut recorded);
            fusion::fuse_column_sums(&mut recorded, &wanted, &options.tuning);
            split_k(&mut recorded, &options.tuning);
        }
        let needed = needed_nodes(&recorded, &wanted);
        recompute(&mut recorded, &needed, &wanted, options.recompute);
        let needed = needed_nodes(&recorded, &wanted);
        let roots = storage_roots(&recorded);
        let lifetimes = lifetimes(&recorded, &needed, &roots, &wanted);
        let mut plan = Plan::default();
        let mut location: HashMap<ValueId, Range> = HashMap::new();
        plan.place_fixed(&recorded, &needed, &roots, fetch, &mut location);
        plan.place_scratch(&recorded, &lifetimes, options, &mut location);
        for (node, _) in recorded.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            if node.op.is_view() {
                continue;
            }
            let types = |ids: &[ValueId]| ids.iter().map(|id| recorded.values[id.0].ty.clone()).collect::<Vec<_>>();
            let (x, y) = (types(&node.inputs), types(&node.outputs));
            let flops = node.op.flops(&x, &y);
            let shares = node.op.flops_shares().iter().chain(std::iter::repeat(&0.0));
            let mut work = node.op.work(&x);
            for (dispatch, share) in node.op.dispatch(&x, &y, &options.tuning).into_iter().zip(shares) {
                let bound = dispatch.kernel.bindings.len();
                assert_eq!(dispatch.slots.len(), bound, "bindings of {}", dispatch.kernel.label());
                let range = |slot: &Slot| {
                    let id = match slot {
                        Slot::In(i) => node.inputs[*i],
                        Slot::Out(i) => node.outputs[*i],
                    };
                    Range { bytes: recorded.values[id.0].ty.bytes(), ..location[&roots[id.0]] }
                };
                let ranges: Vec<Range> = dispatch.slots.iter().map(range).collect();
                plan.dispatches.push(Planned {
                    bytes: traffic(&*node.op, &dispatch, &ranges),
                    kernel: dispatch.kernel,
                    constants: dispatch.constants,
                    params: dispatch.params,
                    ranges,
                    groups: dispatch.groups,
                    op: node.op.name(),
                    path: node.path.clone(),
                    flops: flops * share,
                    work: work.take(),
                });
            }
        }
        for fetched in fetch {
            let bytes = recorded.values[fetched.tensor.id.0].ty.bytes();
            let range = Range { bytes, ..location[&roots[fetched.tensor.id.0]] };
            plan.outputs.insert(fetched.name.clone(), range);
        }
        plan
    }

    /// Bytes of scratch buffers.
    pub fn pool_bytes(&self) -> u64 {
        let bytes = |s: &Storage| if let Storage::Pool { bytes } = s { *bytes } else { 0 };
        self.buffers.iter().map(bytes).sum()
    }

    /// Bytes of input buffers.
    pub fn input_bytes(&self) -> u64 {
        let bytes = |s: &Storage| if let Storage::Input { bytes, .. } = s { *bytes } else { 0 };
        self.buffers.iter().map(bytes).sum()
    }

    fn add(&mut self, storage: Storage, bytes: u64) -> Range {
        let buffer = self.buffers.iter().position(|s| *s == storage && matches!(s, Storage::Arena { .. }));
        let buffer = buffer.unwrap_or_else(|| {
            self.buffers.push(storage);
            self.buffers.len() - 1
        });
        Range { buffer, offset: 0, bytes }
    }

    /// Inputs and everything that lives in an arena.
    fn place_fixed(
        &mut self,
        recorded: &Recorded,
        needed: &[bool],
        roots: &[ValueId],
        fetch: &[Fetch<'_>],
        location: &mut HashMap<ValueId, Range>,
    ) {
        let mut used: Vec<bool> = vec![false; recorded.values.len()];
        fetch.iter().for_each(|f| used[roots[f.tensor.id.0].0] = true);
        for (node, _) in recorded.nodes.iter().zip(needed).filter(|(_, needed)| **needed) {
            node.inputs.iter().for_each(|id| used[id.0] = true);
        }
        for (index, value) in recorded.values.iter().enumerate().filter(|(index, _)| used[*index]) {
            let bytes = value.ty.bytes();
            match &value.origin {
                Origin::Input => {
                    let range = self.add(Storage::Input { name: value.name.clone(), bytes }, bytes);
                    self.inputs.insert(value.name.clone(), range);
                    location.insert(ValueId(index), range);
                }
                Origin::External(place) => {
                    let range = self.add(Storage::Arena { arena: place.arena, shard: place.shard }, bytes);
                    location.insert(ValueId(index), Range { offset: place.offset, ..range });
                }
                Origin::Node(_) => {}
            }
        }
        for fetched in fetch {
            let (root, Some(place)) = (roots[fetched.tensor.id.0], fetched.place) else { continue };
            let bytes = recorded.values[root.0].ty.bytes();
            let range = self.add(Storage::Arena { arena: place.arena, shard: place.shard }, bytes);
            let before = location.insert(root, Range { offset: place.offset, ..range });
            assert!(before.is_none(), "`{}` is already placed elsewhere", fetched.name);
        }
    }

    /// Everything else: largest values first, each into the smallest scratch buffer that is free for its lifetime.
    fn place_scratch(
        &mut self,
        recorded: &Recorded,
        lifetimes: &BTreeMap<ValueId, Lifetime>,
        options: &PlanOptions,
        location: &mut HashMap<ValueId, Range>,
    ) {
        let bytes = |id: &ValueId| recorded.values[id.0].ty.bytes().max(4);
        let mut open: Vec<(ValueId, Lifetime)> =
            lifetimes.iter().filter(|(id, _)| !location.contains_key(id)).map(|(id, l)| (*id, *l)).collect();
        let mut change: BTreeMap<usize, i64> = BTreeMap::new();
        for (id, lifetime) in &open {
            *change.entry(lifetime.first).or_default() += bytes(id) as i64;
            *change.entry(lifetime.last.saturating_add(1)).or_default() -= bytes(id) as i64;
        }
        let mut live = 0;
        for delta in change.values() {
            live += delta;
            self.live_bytes = self.live_bytes.max(live as u64);
        }
        open.sort_by_key(|(id, lifetime)| (std::cmp::Reverse(bytes(id)), lifetime.first));
        let mut pool: Vec<(usize, u64, Vec<Lifetime>)> = Vec::new();
        for (id, lifetime) in open {
            let free = |held: &[Lifetime]| held.iter().all(|h| h.last < lifetime.first || lifetime.last < h.first);
            let found =
                pool.iter_mut().filter(|(_, _, held)| !options.no_reuse && free(held)).min_by_key(|(_, b, _)| *b);
            let buffer = match found {
                Some((buffer, _, held)) => {
                    held.push(lifetime);
                    *buffer
                }
                None => {
                    self.buffers.push(Storage::Pool { bytes: bytes(&id) });
                    pool.push((self.buffers.len() - 1, bytes(&id), vec![lifetime]));
                    self.buffers.len() - 1
                }
            };
            location.insert(id, Range { buffer, offset: 0, bytes: bytes(&id) });
        }
    }
}

/// Bytes that a dispatch reads and writes when it touches each binding once.
fn traffic(op: &dyn Op, dispatch: &Dispatch, ranges: &[Range]) -> u64 {
    let bound = dispatch.slots.iter().zip(dispatch.kernel.bindings).zip(ranges).enumerate();
    let bytes = bound.map(|(index, ((slot, binding), range))| {
        let repeated = !binding.write && ranges[..index].contains(range);
        let in_place = op.overwrites().iter().any(|(output, _)| binding.write && *slot == Slot::Out(*output));
        range.bytes * (u64::from(!repeated) + u64::from(in_place))
    });
    bytes.sum()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, storage) in self.buffers.iter().enumerate() {
            match storage {
                Storage::Input { name, bytes } => writeln!(f, "buffer {index}: input {name}, {bytes} bytes")?,
                Storage::Arena { arena, shard } => writeln!(f, "buffer {index}: {arena}, shard {shard}")?,
                Storage::Pool { bytes } => writeln!(f, "buffer {index}: scratch, {bytes} bytes")?,
            }
        }
        for d in &self.dispatches {
            let bound = d.ranges.iter().zip(d.kernel.bindings).map(|(range, binding)| {
                let arrow = if binding.write { "→" } else { "" };
                format!("{arrow}{}={}+{}", binding.name, range.buffer, range.offset)
            });
            let bound: Vec<_> = bound.collect();
            writeln!(f, "{:<28} {:?} {}  {}", d.kernel.label(), d.groups, d.path, bound.join(" "))?;
        }
        write!(f, "scratch {} bytes, of which {} are alive at once", self.pool_bytes(), self.live_bytes)
    }
}
