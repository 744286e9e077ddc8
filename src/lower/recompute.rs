//! Activation checkpointing, a pass that trades time for memory: what a block of layers computed on the way forward is not kept for the backward
//! pass but computed again there, from the block's input, by the same kernels and so with the same bits.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::storage::storage_roots;
use crate::graph::{Node, Origin, Recorded, ValueId};

/// What the backward pass computes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing: every value that backward reads is kept.
    #[default]
    None,
    /// Queries, keys, values and the attention between them.
    Attention,
    /// Everything inside a transformer block: only the blocks' outputs are kept.
    Blocks,
}

const NAMES: [(&str, Recompute); 3] =
    [("none", Recompute::None), ("attention", Recompute::Attention), ("blocks", Recompute::Blocks)];

impl fmt::Display for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES.iter().find(|(_, held)| held == self).expect("every case has a name");
        f.write_str(name)
    }
}

impl FromStr for Recompute {
    type Err = String;

    fn from_str(text: &str) -> Result<Recompute, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, held)| *held).ok_or_else(|| format!("`{text}` is none of none, attention and blocks"))
    }
}

impl Recompute {
    /// The part of a node's path that names the region it lies in: what lies in one is computed again together.
    fn region(self, path: &str) -> Option<&str> {
        let mut end = 0;
        let mut after_blocks = false;
        for part in path.split('.') {
            end += part.len();
            let ends = match self {
                Recompute::None => false,
                Recompute::Attention => part == "attn" || part == "cross_attn",
                Recompute::Blocks => after_blocks,
            };
            if ends {
                return Some(&path[..end]);
            }
            after_blocks = part == "blocks";
            end += 1;
        }
        None
    }
}

/// Lets the backward pass compute again what `what` names. `needed` are the nodes that will run, `wanted` the values that
/// are read afterwards.
pub(super) fn recompute(recorded: &mut Recorded, needed: &[bool], wanted: &[ValueId], what: Recompute) {
    if what == Recompute::None {
        return;
    }
    let roots = storage_roots(recorded);
    let mut pass =
        Pass { recorded, what, kept: wanted.iter().map(|id| roots[id.0]).collect(), roots, again: HashMap::new() };
    let nodes = std::mem::take(&mut pass.recorded.nodes);
    for node in nodes.iter().zip(needed).filter(|(node, needed)| **needed && !node.backward).map(|(node, _)| node) {
        let region = what.region(&node.path);
        for id in &node.inputs {
            // What another region reads is kept for that, whatever backward does.
            if let Origin::Node(from) = pass.recorded.values[id.0].origin
                && what.region(&nodes[from].path) != region
            {
                pass.kept.insert(pass.roots[id.0]);
            }
        }
    }
    let mut out = Vec::with_capacity(nodes.len());
    for (node, needed) in nodes.iter().zip(needed) {
        let mut node = node.clone();
        if node.backward && *needed {
            node.inputs = node.inputs.iter().map(|id| pass.again(*id, &nodes, &mut out)).collect();
        }
        out.push(node);
    }
    for (index, node) in out.iter().enumerate() {
        node.outputs.iter().for_each(|id| pass.recorded.values[id.0].origin = Origin::Node(index));
    }
    pass.recorded.nodes = out;
}

struct Pass<'a> {
    recorded: &'a mut Recorded,
    what: Recompute,
    roots: Vec<ValueId>,
    /// Storage of values that stay.
    kept: HashSet<ValueId>,
    /// What was computed again, by what it is equal to.
    again: HashMap<ValueId, ValueId>,
}

impl Pass<'_> {
    /// The value that backward reads in place of `id`; records into `out` what computes it, unless that is there.
    fn again(&mut self, id: ValueId, nodes: &[Node], out: &mut Vec<Node>) -> ValueId {
        let Origin::Node(from) = self.recorded.values[id.0].origin else { return id };
        let node = &nodes[from];
        if node.backward || self.what.region(&node.path).is_none() || self.kept.contains(&self.roots[id.0]) {
            return id;
        }
        if let Some(held) = self.again.get(&id) {
            return *held;
        }
        let inputs = node.inputs.iter().map(|id| self.again(*id, nodes, out)).collect();
        let outputs = node.outputs.iter().map(|old| {
            self.recorded.values.push(self.recorded.values[old.0].clone());
            let new = ValueId(self.recorded.values.len() - 1);
            // Nothing looks its origin up before all nodes have their places.
            self.again.insert(*old, new);
            new
        });
        let outputs = outputs.collect();
        out.push(Node { op: node.op.clone(), inputs, outputs, path: node.path.clone(), backward: true });
        self.again[&id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Graph, gradients},
        kernels::Form,
        lower::{Fetch, Plan, PlanOptions},
        ops::{Gelu, MaskedMse, Matmul},
        shape::TensorType,
    };

    #[test]
    fn a_region_ends_with_the_part_that_names_it() {
        let region = |what: Recompute, path| what.region(path);
        assert_eq!(region(Recompute::Blocks, "pixel_decoder.blocks.11.mlp.fc1"), Some("pixel_decoder.blocks.11"));
        assert_eq!(region(Recompute::Blocks, "blocks.0"), Some("blocks.0"));
        assert_eq!(region(Recompute::Blocks, "norm"), None);
        assert_eq!(region(Recompute::Attention, "blocks.2.attn.qkv"), Some("blocks.2.attn"));
        assert_eq!(region(Recompute::Attention, "blocks.2.mlp.fc1"), None);
        assert_eq!(region(Recompute::None, "blocks.2.attn.qkv"), None);
    }

    #[test]
    fn a_recomputations_name_reads_back() {
        for (name, what) in NAMES {
            assert_eq!((what.to_string().as_str(), name.parse()), (name, Ok(what)));
            assert_eq!(toml::Value::try_from(what).unwrap(), toml::Value::from(name));
        }
        assert!("block".parse::<Recompute>().unwrap_err().contains("attention"));
    }

    /// Two blocks of two layers each.
    fn plan(what: Recompute) -> Plan {
        let graph = Graph::new();
        let weights: Vec<_> = (0..4).map(|i| graph.input(&format!("w{i}"), TensorType::f32(&[64, 64]))).collect();
        let mut x = graph.input("x", TensorType::f32(&[512, 64]));
        for (i, pair) in weights.chunks(2).enumerate() {
            for weight in pair {
                x = graph
                    .scope(format!("blocks.{i}"), || x.then(Matmul { form: Form::Nt }, &[*weight]).then(Gelu, &[]));
            }
        }
        let [target, each] = [("target", vec![512, 64]), ("each", vec![512])]
            .map(|(name, shape)| graph.input(name, TensorType::f32(&shape)));
        let loss = x.then(MaskedMse, &[target, each]);
        let seed = graph.input("seed", TensorType::f32(&[1]));
        let fetch: Vec<_> = gradients(loss, seed, &weights)
            .into_iter()
            .enumerate()
            .map(|(i, g)| Fetch::new(i.to_string(), g))
            .chain([Fetch::new("loss", loss)])
            .collect();
        Plan::new(&graph, &fetch, &PlanOptions { recompute: what, ..Default::default() })
    }

    #[test]
    fn blocks_are_computed_again_and_hold_less() {
        let (kept, again) = (plan(Recompute::None), plan(Recompute::Blocks));
        let forward = |plan: &Plan| plan.dispatches.iter().filter(|d| d.op.starts_with("matmul_nt")).count();
        // The last layer of a block makes its output, which is kept.
        assert!(forward(&again) > forward(&kept), "{again}");
        assert!(again.live_bytes < kept.live_bytes, "{} of {}", again.live_bytes, kept.live_bytes);
        assert_eq!(plan(Recompute::Attention).dispatches.len(), kept.dispatches.len(), "there is no attention");
    }
}
