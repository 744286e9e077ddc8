//! Reverse-mode differentiation: the backward pass is more graph.

use std::collections::{HashMap, HashSet};

use super::{Tensor, ValueId};

/// The gradients of the scalar `loss` with respect to `wrt`, as values of the same graph. Only nodes between `wrt` and
/// `loss` are visited, so weights that are not in `wrt` (a teacher's, say) get none. `seed` is the gradient of the loss
/// itself, usually a one.
///
/// Panics when the loss does not depend on a value of `wrt`.
pub fn gradients<'g>(loss: Tensor<'g>, seed: Tensor<'g>, wrt: &[Tensor<'g>]) -> Vec<Tensor<'g>> {
    let graph = loss.graph;
    let (needed, last) = {
        let recorded = graph.recorded.borrow();
        let mut needed: HashSet<ValueId> = wrt.iter().map(|t| t.id).collect();
        for node in &recorded.nodes {
            if node.inputs.iter().any(|id| needed.contains(id)) {
                needed.extend(node.outputs.iter().copied());
            }
        }
        (needed, recorded.nodes.len())
    };
    graph.backward.set(true);
    let mut gradient: HashMap<ValueId, Tensor<'g>> = HashMap::from([(loss.id, seed)]);
    for index in (0..last).rev() {
        let (op, inputs, outputs, path) = {
            let recorded = graph.recorded.borrow();
            let node = &recorded.nodes[index];
            (node.op.clone(), node.inputs.clone(), node.outputs.clone(), node.path.clone())
        };
        if !inputs.iter().any(|id| needed.contains(id)) {
            continue;
        }
        let Some(&dy) = gradient.get(&outputs[0]) else { continue };
        let handle = |id: &ValueId| Tensor { graph, id: *id };
        let (x, y): (Vec<_>, Vec<_>) = (inputs.iter().map(handle).collect(), outputs.iter().map(handle).collect());
        graph.scope(path, || {
            for (id, dx) in inputs.iter().zip(op.gradient(&x, &y, dy)) {
                let Some(dx) = dx.filter(|_| needed.contains(id)) else { continue };
                let sum = gradient.get(id).map_or(dx, |&other| other + dx);
                gradient.insert(*id, sum);
            }
        });
    }
    graph.backward.set(false);
    let name = |t: &Tensor<'g>| graph.recorded.borrow().values[t.id.0].name.clone();
    wrt.iter()
        .map(|t| *gradient.get(&t.id).unwrap_or_else(|| panic!("the loss does not depend on `{}`", name(t))))
        .collect()
}
