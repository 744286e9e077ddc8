//! The oracle: a graph evaluated in f64 on the CPU, operation by operation.

use std::collections::HashMap;

use super::{Array, Graph, Origin, Tensor, ValueId};

/// Evaluates the values `wanted` in f64. `leaves` gives every input and external value that they depend on.
pub fn interpret(graph: &Graph, leaves: &[(Tensor<'_>, Array)], wanted: &[Tensor<'_>]) -> Vec<Array> {
    let recorded = graph.recorded.borrow();
    let mut known: HashMap<ValueId, Array> = leaves.iter().map(|(t, a)| (t.id, a.clone())).collect();
    let mut needed: Vec<bool> = vec![false; recorded.nodes.len()];
    let mut stack: Vec<ValueId> = wanted.iter().map(|t| t.id).collect();
    while let Some(id) = stack.pop() {
        if let (Origin::Node(node), false) = (&recorded.values[id.0].origin, known.contains_key(&id))
            && !needed[*node]
        {
            needed[*node] = true;
            stack.extend(&recorded.nodes[*node].inputs);
        }
    }
    for (node, _) in recorded.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        let x: Vec<&Array> = node
            .inputs
            .iter()
            .map(|id| known.get(id).unwrap_or_else(|| panic!("no value given for `{}`", recorded.values[id.0].name)))
            .collect();
        let y = node.op.eval(&x);
        assert_eq!(y.len(), node.outputs.len(), "{} evaluates to all its outputs", node.op.name());
        for (id, array) in node.outputs.iter().zip(y) {
            assert_eq!(array.shape, recorded.values[id.0].ty.shape, "the oracle of {} keeps its shape", node.op.name());
            known.insert(*id, array);
        }
    }
    wanted.iter().map(|t| known.get(&t.id).unwrap_or_else(|| panic!("no value given for a leaf")).clone()).collect()
}
