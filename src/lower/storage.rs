//! Which nodes run, which values share storage, and how long each lives.

use std::collections::BTreeMap;

use crate::graph::{Origin, Recorded, ValueId};

/// From the first to the last node that touches a value, both included.
#[derive(Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Tells every value which node makes it.
pub(super) fn number(recorded: &mut Recorded) {
    for (index, node) in recorded.nodes.iter().enumerate() {
        node.outputs.iter().for_each(|id| recorded.values[id.0].origin = Origin::Node(index));
    }
}

/// The nodes that `wanted` depend on.
pub(super) fn needed_nodes(recorded: &Recorded, wanted: &[ValueId]) -> Vec<bool> {
    let mut needed = vec![false; recorded.nodes.len()];
    let mut stack: Vec<ValueId> = wanted.to_vec();
    while let Some(id) = stack.pop() {
        if let Origin::Node(node) = recorded.values[id.0].origin
            && !std::mem::replace(&mut needed[node], true)
        {
            stack.extend(&recorded.nodes[node].inputs);
        }
    }
    needed
}

/// For each value the one whose storage it shares: its source for a view, the overwritten input for an update in place.
pub(super) fn storage_roots(recorded: &Recorded) -> Vec<ValueId> {
    let mut roots: Vec<ValueId> = (0..recorded.values.len()).map(ValueId).collect();
    for node in &recorded.nodes {
        if node.op.is_view() {
            roots[node.outputs[0].0] = roots[node.inputs[0].0];
        }
        for (output, input) in node.op.overwrites() {
            roots[node.outputs[*output].0] = roots[node.inputs[*input].0];
        }
    }
    roots
}

/// When each value that a node makes is alive; what is wanted lives on.
pub(super) fn lifetimes(
    recorded: &Recorded,
    needed: &[bool],
    roots: &[ValueId],
    wanted: &[ValueId],
) -> BTreeMap<ValueId, Lifetime> {
    let mut lifetimes: BTreeMap<ValueId, Lifetime> = BTreeMap::new();
    for (index, node) in recorded.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
        for id in node.inputs.iter().chain(&node.outputs) {
            let root = roots[id.0];
            if matches!(recorded.values[root.0].origin, Origin::Node(_)) {
                lifetimes.entry(root).or_insert(Lifetime { first: index, last: index }).last = index;
            }
        }
    }
    for id in wanted {
        if let Some(lifetime) = lifetimes.get_mut(&roots[id.0]) {
            lifetime.last = usize::MAX - 1;
        }
    }
    lifetimes
}
