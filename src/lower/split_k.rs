//! Split-K: a weight gradient of few outputs divides its long sums among workgroups, whose parts are then added up.

use super::storage::number;
use crate::{
    graph::{Node, Origin, Recorded, Value, ValueId},
    kernels::Tuning,
    ops,
};

/// Puts two operations in the place of one where its tile asks for it.
pub(super) fn split_k(recorded: &mut Recorded, tuning: &Tuning) {
    for node in std::mem::take(&mut recorded.nodes) {
        let x: Vec<_> = node.inputs.iter().map(|id| recorded.values[id.0].ty.clone()).collect();
        let Some([first, second]) = ops::split_k(&*node.op, &x, tuning) else {
            recorded.nodes.push(node);
            continue;
        };
        let between = ValueId(recorded.values.len());
        let ty = first.infer(&x).expect("the inputs fit the whole").remove(0);
        let name = recorded.values[node.outputs[0].0].name.clone();
        recorded.values.push(Value { ty, origin: Origin::Input, name });
        recorded.nodes.push(Node { op: first, outputs: vec![between], ..node.clone() });
        recorded.nodes.push(Node { op: second, inputs: vec![between], ..node });
    }
    number(recorded);
}

#[cfg(test)]
mod tests {
    use crate::{
        graph::Graph,
        kernels::{Form, Tuning},
        lower::{Fetch, Plan, PlanOptions},
        ops::Matmul,
        shape::TensorType,
    };

    #[test]
    fn a_long_sum_of_few_outputs_is_divided_on_gpus_alone() {
        let graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.input(name, TensorType::f32(&[4096, 64])));
        let y = Matmul::of(Form::Tn, a, b);
        let ops = |tuning, no_fusion| {
            let options = PlanOptions { tuning, no_fusion, ..Default::default() };
            let plan = Plan::new(&graph, &[Fetch::new("y", y)], &options);
            plan.dispatches.iter().map(|d| format!("{} {:?}", d.op, d.groups)).collect::<Vec<_>>()
        };
        assert_eq!(ops(Tuning::for_gpus(), false), ["matmul_tn_split_k [2, 2, 16]", "split_k_sum [16, 1, 1]"]);
        assert_eq!(ops(Tuning::for_gpus(), true), ["matmul_tn [2, 2, 1]"]);
        assert_eq!(ops(Tuning::default(), false).len(), 1);
    }
}
