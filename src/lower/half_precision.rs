//! In what precision values are stored that matmuls read, and the pass that sees to it.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::storage::number;
use crate::{
    graph::{Node, Origin, ReadsF16, Recorded, Value, ValueId},
    kernels::Tuning,
    ops::{Cast, StoresF16},
    shape::{DType, TensorType},
};

/// Gives operations [what they want](crate::graph::Op::reads_f16) in half precision. A value whose readers all take halves is stored
/// so by the operation that makes it, if that can; others are rounded once, before the first that reads the halves.
/// `wanted` are the values that must stay.
pub(super) fn halve(recorded: &mut Recorded, needed: &[bool], wanted: &[ValueId], tuning: &Tuning) {
    let nodes =
        recorded.nodes.iter().zip(needed).filter(|(_, needed)| **needed).map(|(node, _)| node.clone()).collect();
    let mut pass = Pass { recorded, nodes, tuning, halves: HashMap::new(), stored: HashSet::new() };
    for index in 0..pass.nodes.len() {
        pass.halve_inputs(index);
    }
    // Readers first: what they become decides how they read.
    for index in (0..pass.nodes.len()).rev() {
        pass.store_outputs(index, wanted);
    }
    let Pass { nodes, halves, stored, .. } = pass;
    let whole: HashMap<ValueId, ValueId> = halves.into_iter().map(|(value, half)| (half, value)).collect();
    let mut made = stored;
    recorded.nodes = Vec::with_capacity(nodes.len() + whole.len());
    for node in nodes {
        for half in node.inputs.iter().filter(|id| whole.contains_key(id)) {
            if made.insert(*half) {
                let (op, inputs, outputs) = (Rc::new(Cast), vec![whole[half]], vec![*half]);
                recorded.nodes.push(Node { op, inputs, outputs, ..node.clone() });
            }
        }
        recorded.nodes.push(node);
    }
    number(recorded);
}

struct Pass<'a> {
    recorded: &'a mut Recorded,
    nodes: Vec<Node>,
    tuning: &'a Tuning,
    /// The halves of a value.
    halves: HashMap<ValueId, ValueId>,
    /// Halves that no cast has to make.
    stored: HashSet<ValueId>,
}

impl Pass<'_> {
    fn types(&self, ids: &[ValueId]) -> Vec<TensorType> {
        ids.iter().map(|id| self.recorded.values[id.0].ty.clone()).collect()
    }

    fn half_of(&mut self, id: ValueId) -> ValueId {
        let values = &mut self.recorded.values;
        *self.halves.entry(id).or_insert_with(|| {
            let (ty, name) = (TensorType { dtype: DType::F16, ..values[id.0].ty.clone() }, values[id.0].name.clone());
            values.push(Value { ty, origin: Origin::Input, name });
            ValueId(values.len() - 1)
        })
    }

    /// Lets a node read halves where it wants to.
    fn halve_inputs(&mut self, index: usize) {
        for operand in 0..self.nodes[index].inputs.len() {
            let (id, x) = (self.nodes[index].inputs[operand], self.types(&self.nodes[index].inputs));
            let wants = self.nodes[index].op.reads_f16(operand, &x, self.tuning) == ReadsF16::Wanted;
            if wants && x[operand].dtype == DType::F32 {
                self.nodes[index].inputs[operand] = self.half_of(id);
            }
        }
    }

    /// Lets a node store halves, where it can and all that read them take them.
    fn store_outputs(&mut self, index: usize, wanted: &[ValueId]) {
        let node = self.nodes[index].clone();
        let count = node.op.stores_f16(&self.types(&node.inputs), self.tuning);
        let outputs = &node.outputs[..count];
        if count == 0 || outputs.iter().any(|id| wanted.contains(id)) {
            return;
        }
        let reads = |id: &ValueId| outputs.contains(id);
        let mut readers = Vec::new();
        for (at, reader) in self.nodes.iter().enumerate().skip(index + 1) {
            for (operand, _) in reader.inputs.iter().enumerate().filter(|(_, id)| reads(id)) {
                if reader.op.reads_f16(operand, &self.types(&reader.inputs), self.tuning) == ReadsF16::Never {
                    return;
                }
                readers.push((at, operand));
            }
        }
        for (at, operand) in readers {
            self.nodes[at].inputs[operand] = self.half_of(self.nodes[at].inputs[operand]);
        }
        for (output, id) in outputs.iter().enumerate() {
            let half = self.half_of(*id);
            self.nodes[index].outputs[output] = half;
            self.stored.insert(half);
        }
        self.nodes[index].op = Rc::new(StoresF16::new(node.op, count));
        self.halve_inputs(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Graph, gradients},
        kernels::Form,
        lower::{Fetch, Plan, PlanOptions, Precision},
        ops::{Gelu, LayerNorm, Matmul},
    };

    fn plan(precision: Precision) -> Plan {
        let graph = Graph::new();
        let [x, w, dy] = ["x", "w", "dy"].map(|name| graph.input(name, TensorType::f32(&[64, 64])));
        let y = Matmul::of(Form::Nt, Matmul::of(Form::Nt, x, w).then(Gelu, &[]), w);
        let fetch: Vec<_> = std::iter::once(y).chain(gradients(y, dy, &[x, w])).collect();
        let fetch: Vec<_> = fetch.iter().enumerate().map(|(i, t)| Fetch::new(i.to_string(), *t)).collect();
        Plan::new(&graph, &fetch, &PlanOptions { precision, ..Default::default() })
    }

    #[test]
    fn each_operand_is_rounded_once_for_all_that_read_it() {
        let half = plan(Precision::F16);
        let casts = half.dispatches.iter().filter(|d| d.op == "cast").count();
        // x, w, the activations, and the gradients of both matmuls' outputs.
        assert_eq!(casts, 5, "{half}");
        let of = |plan: &Plan, op: &str| plan.dispatches.iter().filter(|d| d.op.starts_with(op)).count();
        let whole = plan(Precision::F32);
        assert_eq!((of(&whole, "cast"), of(&half, "matmul")), (0, of(&whole, "matmul")), "{whole}");
        let matmuls = half.dispatches.iter().filter(|d| d.op.starts_with("matmul"));
        matmuls.for_each(|d| {
            assert!(d.kernel.name.ends_with("_f16_to_f32") && d.ranges[0].bytes == 2 * 64 * 64, "{half}")
        });
    }

    #[test]
    fn what_only_readers_of_halves_read_is_stored_as_halves() {
        let graph = Graph::new();
        let [x, gain, bias] = ["x", "gain", "bias"].map(|name| graph.input(name, TensorType::f32(&[64])));
        let x = x.reshape(&[1, 64]) + graph.input("r", TensorType::f32(&[1, 64]));
        let w = graph.input("w", TensorType::f32(&[64, 64]));
        let normed = x.then(LayerNorm { eps: 1e-6, unbiased: false }, &[gain, bias]);
        let y = Matmul::of(Form::Nt, Matmul::of(Form::Nt, normed, w).then(Gelu, &[]), w) + x;
        let dy = graph.input("dy", y.ty());
        let fetch: Vec<_> = [y].into_iter().chain(gradients(y, dy, &[x, w, gain])).collect();
        let fetch: Vec<_> = fetch.iter().enumerate().map(|(i, t)| Fetch::new(i.to_string(), *t)).collect();
        let options = PlanOptions { precision: Precision::F16, tuning: Tuning::for_gpus(), ..Default::default() };
        let plan = Plan::new(&graph, &fetch, &options);
        let of =
            |op: &str| plan.dispatches.iter().filter(|d| d.op == op).map(|d| d.kernel.row().name).collect::<Vec<_>>();
        // The weights, and the gradient that comes from outside.
        assert_eq!(of("cast"), ["cast"; 2], "{plan}");
        assert_eq!(of("layer_norm"), ["layer_norm_shared_f16"]);
        assert_eq!(of("matmul_nt+gelu"), ["matmul_shared_f16"], "{plan}");
        assert_eq!(of("matmul_nt+add"), ["matmul_shared_f16_to_f32"], "the residual stream stays f32");
        assert_eq!(of("matmul_nn+gelu_backward"), ["matmul_shared_f16"]);
        assert_eq!(of("layer_norm_backward+add")[0], "layer_norm_shared_f16", "a slope between matmuls");
    }
}
