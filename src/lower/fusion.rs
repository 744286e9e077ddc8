//! Fusion: operations take in those that read their outputs, so that values are not written and read again in between.

use std::{any::Any, rc::Rc};

use super::storage::number;
use crate::{
    graph::{Node, Op, Origin, Recorded, Value, ValueId},
    kernels::Tuning,
    ops::{
        ColumnSum, Gelu, GeluAndSlope, GeluBackward, MaskedMse, MaskedMseAndGradient, MaskedMseBackward, Matmul,
        TimesSlope,
    },
};

/// Merges operations into those that produce their input, as far as [`Op::absorb`](crate::graph::Op::absorb) knows how, so that
/// values are not written and read again in between. `wanted` are the values that must stay.
pub(super) fn fuse(recorded: &mut Recorded, needed: &[bool], wanted: &[ValueId], tuning: &Tuning) {
    let mut nodes: Vec<Option<Node>> =
        recorded.nodes.iter().zip(needed).map(|(node, needed)| needed.then(|| node.clone())).collect();
    // Later producers first: a sum of two matmuls goes into the later one, when the other is there.
    for index in (0..nodes.len()).rev() {
        fuse_one(&mut nodes, index, wanted, tuning);
    }
    recorded.nodes = nodes.into_iter().flatten().collect();
    number(recorded);
}

/// Lets GELU of a matmul's result hand its slope to its backward pass, where matmuls take in both: the function and its
/// slope have most of their arithmetic in common, and the result itself is then read by nothing else. `wanted` are the
/// values that must stay.
pub(super) fn keep_slopes(recorded: &mut Recorded, needed: &[bool], wanted: &[ValueId], tuning: &Tuning) {
    let Recorded { nodes, values, .. } = recorded;
    for index in 0..nodes.len() {
        if !(needed[index] && tuning.fuse_gelu && is::<Gelu>(&nodes[index])) {
            continue;
        }
        let x = nodes[index].inputs[0];
        let of_matmul = matches!(values[x.0].origin, Origin::Node(at) if is::<Matmul>(&nodes[at]));
        let reads_x = |at: &usize| *at != index && needed[*at] && nodes[*at].inputs.contains(&x);
        let readers: Vec<_> = (0..nodes.len()).filter(reads_x).collect();
        let backward = |at: &usize| is::<GeluBackward>(&nodes[*at]) && nodes[*at].inputs[1] != x;
        if !of_matmul || wanted.contains(&x) || readers.is_empty() || !readers.iter().all(backward) {
            continue;
        }
        let slope = ValueId(values.len());
        values.push(Value { origin: Origin::Node(index), ..values[x.0].clone() });
        nodes[index].op = Rc::new(GeluAndSlope);
        nodes[index].outputs.push(slope);
        for at in readers {
            nodes[at].op = Rc::new(TimesSlope);
            nodes[at].inputs[0] = slope;
        }
    }
}

fn is<T: Op>(node: &Node) -> bool {
    (&*node.op as &dyn Any).is::<T>()
}

/// Lets a loss compute its gradient at once, where what that is multiplied by does not wait for the loss: prediction and
/// target then end with it. What makes that factor goes before the loss.
pub(super) fn fuse_losses(recorded: &mut Recorded) {
    while let Some((loss, backward, factors)) = fusible_loss(recorded) {
        let node = |index: usize| recorded.nodes[index].clone();
        let (first, last) = (node(loss), node(backward));
        let fused = Node {
            op: Rc::new(MaskedMseAndGradient),
            inputs: last.inputs,
            outputs: first.outputs.iter().chain(&last.outputs).copied().collect(),
            ..first
        };
        let moved = factors.iter().map(|index| node(*index)).chain([fused]).collect::<Vec<_>>();
        let stays = |index: &usize| *index != loss && *index != backward && !factors.contains(index);
        let before = (0..loss).map(node);
        let after = (loss..recorded.nodes.len()).filter(stays).map(node);
        recorded.nodes = before.chain(moved).chain(after).collect();
        number(recorded);
    }
}

/// A loss, its gradient, and the nodes after the loss that make the gradient's factor, if all of these can go before it.
fn fusible_loss(recorded: &Recorded) -> Option<(usize, usize, Vec<usize>)> {
    let Recorded { nodes, values } = recorded;
    (0..nodes.len()).filter(|index| is::<MaskedMseBackward>(&nodes[*index])).find_map(|backward| {
        let own = &nodes[backward].inputs;
        let loss = (0..backward).find(|index| is::<MaskedMse>(&nodes[*index]) && nodes[*index].inputs == own[..3])?;
        let (mut factors, mut asked) = (Vec::new(), vec![own[3]]);
        while let Some(id) = asked.pop() {
            match values[id.0].origin {
                Origin::Node(at) if at == loss || !nodes[at].op.overwrites().is_empty() => return None,
                Origin::Node(at) if at > loss => {
                    factors.push(at);
                    asked.extend(&nodes[at].inputs);
                }
                _ => {}
            }
        }
        factors.sort_unstable();
        factors.dedup();
        Some((loss, backward, factors))
    })
}

/// Lets the gradient of weights sum the columns of its first operand, the gradient of their bias, where its kernel does so
/// on the way ([`Matmul::with_column_sums`]). `wanted` are the values that must stay.
pub(super) fn fuse_column_sums(recorded: &mut Recorded, wanted: &[ValueId], tuning: &Tuning) {
    let Recorded { nodes, values } = recorded;
    let mut nodes: Vec<_> = std::mem::take(nodes).into_iter().map(Some).collect();
    for index in 0..nodes.len() {
        let Some(node) = &nodes[index] else { continue };
        let x: Vec<_> = node.inputs.iter().map(|id| values[id.0].ty.clone()).collect();
        let matmul = (&*node.op as &dyn Any).downcast_ref::<Matmul>();
        let Some(op) = matmul.and_then(|matmul| matmul.with_column_sums(&x, tuning)) else { continue };
        let chain = column_sums(&nodes, values, index, node.inputs[0]);
        let Some((last, partial)) = chain.split_last() else { continue };
        let outputs = |at: &usize| nodes[*at].as_ref().expect("a node of the chain").outputs[0];
        if partial.iter().any(|at| wanted.contains(&outputs(at))) {
            continue;
        }
        let sum = outputs(last);
        chain.iter().for_each(|at| nodes[*at] = None);
        let node = nodes[index].as_mut().expect("the matmul");
        node.op = op;
        node.outputs.push(sum);
    }
    recorded.nodes = nodes.into_iter().flatten().collect();
    number(recorded);
}

/// The nodes after `index` that add up the rows of a value until one is left, if nothing else reads what lies between.
fn column_sums(nodes: &[Option<Node>], values: &[Value], index: usize, value: ValueId) -> Vec<usize> {
    let sums = |at: usize| {
        let node = nodes[at].as_ref()?;
        (&*node.op as &dyn Any).downcast_ref::<ColumnSum>().filter(|sum| sum.repeat == 1).map(|_| node)
    };
    let readers = |id: ValueId| {
        let reads = move |at: &usize| nodes[*at].as_ref().is_some_and(|node| node.inputs.contains(&id));
        (index + 1..nodes.len()).filter(reads)
    };
    let Some(first) = readers(value).find(|at| sums(*at).is_some()) else { return Vec::new() };
    let mut chain = vec![first];
    while let Some(between) = chain.last().and_then(|at| sums(*at)).map(|node| node.outputs[0]) {
        if values[between.0].ty.rows() == 1 {
            return chain;
        }
        let mut next = readers(between);
        match (next.next(), next.next()) {
            (Some(at), None) => chain.push(at),
            _ => break,
        }
    }
    Vec::new()
}

fn fuse_one(nodes: &mut [Option<Node>], index: usize, wanted: &[ValueId], tuning: &Tuning) {
    let Some(node) = nodes[index].clone() else { return };
    let value = node.outputs[0];
    let readers: Vec<(usize, usize)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.iter().map(move |node| (at, node)))
        .flat_map(|(at, node)| node.inputs.iter().enumerate().map(move |(i, id)| (at, i, *id)))
        .filter(|(_, _, id)| *id == value)
        .map(|(at, operand, _)| (at, operand))
        .collect();
    let only = readers.len() == 1 && !wanted.contains(&value);
    for &(at, operand) in &readers {
        let next = nodes[at].clone().expect("a reader");
        let Some(op) = node.op.absorb(&*next.op, operand, only, tuning) else { continue };
        let rest: Vec<_> = next.inputs.iter().enumerate().filter(|(i, _)| *i != operand).map(|(_, id)| *id).collect();
        // What stays is the later of the two where only the result matters, so that its other inputs are there; else
        // the earlier, whose outputs others may read before. Then those inputs must be there.
        let later = only && node.outputs.len() == 1;
        let mut between = nodes[index + 1..at].iter().flatten();
        let ready = match only {
            true => later || !between.any(|node| node.outputs.iter().any(|id| rest.contains(id))),
            false => rest.is_empty() || between.next().is_none(),
        };
        if only && moves_past_update(&nodes[index..at]) || !ready {
            continue;
        }
        let here = if later { at } else { index };
        let inputs = node.inputs.iter().copied().chain(rest).collect();
        let outputs = match only {
            true => next.outputs.into_iter().chain(node.outputs[1..].iter().copied()).collect(),
            false => node.outputs.iter().copied().chain(next.outputs).collect(),
        };
        nodes[at] = None;
        nodes[index] = None;
        nodes[here] = Some(Node { op, inputs, outputs, path: node.path, backward: node.backward || next.backward });
        return;
    }
}

/// Whether a node updates something in place, so that an operation before it may not run after it.
fn moves_past_update(between: &[Option<Node>]) -> bool {
    between.iter().flatten().any(|node| !node.op.overwrites().is_empty())
}

#[cfg(test)]
mod tests {
    use crate::{
        graph::{Graph, gradients},
        kernels::{Form, Tile, Tuning, Variant, Work},
        lower::{Fetch, Plan, PlanOptions},
        ops::{ColumnSum, Elementwise, Gelu, LayerNorm, MaskedMse, Matmul},
        shape::{DType, TensorType},
    };

    #[test]
    fn a_loss_takes_its_gradient_in_unless_that_waits_for_the_loss() {
        let graph = Graph::new();
        let input = |name: &'static str, shape: &[usize]| graph.input(name, TensorType::f32(shape));
        let [x, target] = ["x", "target"].map(|name| input(name, &[8, 4]));
        let (each, factor) = (input("each", &[8]), input("factor", &[1]));
        let loss = x.then(MaskedMse, &[target, each]);
        let seed = factor.then(Elementwise::Multiply, &[factor]);
        let ops = |seed| {
            let dx = gradients(loss, seed, &[x])[0];
            let plan = Plan::new(&graph, &[Fetch::new("dx", dx), Fetch::new("loss", loss)], &PlanOptions::default());
            plan.dispatches.iter().map(|d| d.op).collect::<Vec<_>>()
        };
        assert_eq!(ops(seed), ["multiply", "masked_mse+backward", "masked_mse+backward"]);
        let waits = loss.then(Elementwise::Multiply, &[factor]);
        assert_eq!(ops(waits), ["masked_mse", "masked_mse", "multiply", "masked_mse_backward"]);
    }

    #[test]
    fn the_gradient_of_a_bias_rides_in_that_of_its_weights_where_the_kernel_has_a_place() {
        let graph = Graph::new();
        let input = |name: &'static str, shape: &[usize]| graph.input(name, TensorType::f32(shape));
        let (x, w, b) = (input("x", &[80, 16]), input("w", &[8, 16]), input("b", &[8]));
        let dy = input("dy", &[80, 8]);
        let y = x.then(Matmul { form: Form::Nt }, &[w, b]);
        let gradients = gradients(y, dy, &[w, b]);
        let partial = dy.then(ColumnSum { repeat: 1 }, &[]);
        let ops = |tuning: &Tuning, no_fusion, with_partial: bool| {
            let mut fetch = vec![Fetch::new("dw", gradients[0]), Fetch::new("db", gradients[1])];
            if with_partial {
                fetch.push(Fetch::new("partial", partial));
            }
            let options = PlanOptions { tuning: tuning.clone(), no_fusion, ..Default::default() };
            Plan::new(&graph, &fetch, &options).dispatches.iter().map(|d| d.op).collect::<Vec<_>>()
        };
        let mut subgroups = Tuning::default();
        let work = Work::Matmul { form: Form::Tn, shape: [8, 16, 80], operands: DType::F32 };
        subgroups.choose(&work, Variant::Matmul(Tile::SubgroupVec4 { lanes: 8, tile_m: 32, tile_n: 64 }));
        let apart = ["matmul_tn", "column_sum", "column_sum"];
        assert_eq!(ops(&subgroups, false, false), ["matmul_tn+column_sum"]);
        assert_eq!(ops(&subgroups, false, true), ["matmul_tn+column_sum", "column_sum"]);
        assert_eq!(ops(&subgroups, true, false), apart);
        assert_eq!(ops(&Tuning::default(), false, false), apart);
    }

    fn kernels(fetch_sum: bool, options: &PlanOptions) -> Vec<String> {
        let graph = Graph::new();
        let [x, w, r] = ["x", "w", "r"].map(|name| graph.input(name, TensorType::f32(&[8, 8])));
        let sum = x.then(Matmul { form: Form::Nt }, &[w]);
        let y = sum.then(Gelu, &[]).then(Matmul { form: Form::Nt }, &[w]) + r;
        let mut fetch = vec![Fetch::new("y", y)];
        if fetch_sum {
            fetch.push(Fetch::new("sum", sum));
        }
        Plan::new(&graph, &fetch, options).dispatches.iter().map(|d| format!("{} {}", d.op, d.kernel.entry)).collect()
    }

    #[test]
    fn a_sum_that_nothing_else_reads_takes_its_reader_in() {
        assert_eq!(kernels(false, &PlanOptions::default()), ["matmul_nt+gelu forward", "matmul_nt+add forward"]);
    }

    #[test]
    fn a_wanted_sum_keeps_its_gelu_apart() {
        let fused = kernels(true, &PlanOptions::default());
        assert_eq!(fused, ["matmul_nt forward", "gelu forward", "matmul_nt+add forward"]);
    }

    #[test]
    fn gelu_hands_its_slope_to_its_gradient_where_matmuls_take_both_in() {
        let graph = Graph::new();
        let [x, w] = ["x", "w"].map(|name| graph.input(name, TensorType::f32(&[8, 8])));
        let matmul = Matmul { form: Form::Nt };
        let sum = x.then(matmul, &[w]);
        let y = sum.then(Gelu, &[]).then(matmul, &[w]);
        let found = gradients(y, graph.input("dy", TensorType::f32(&[8, 8])), &[x]);
        let ops = |fetch: &[Fetch<'_>], options: &PlanOptions| {
            let plan = Plan::new(&graph, fetch, options);
            plan.dispatches.iter().map(|d| format!("{} {}", d.op, d.kernel.label())).collect::<Vec<_>>()
        };
        let dx = || Fetch::new("dx", found[0]);
        let both = [dx(), Fetch::new("y", y)];
        let all = [
            "matmul_nt+gelu matmul_register+gelu_and_slope.forward",
            "matmul_nt matmul_register.forward",
            "matmul_nn+gelu_backward matmul_register.forward",
            "matmul_nn matmul_register.forward",
        ];
        assert_eq!(ops(&both, &PlanOptions::default()), all);
        let wanted = ops(&[dx(), Fetch::new("sum", sum)], &PlanOptions::default());
        assert!(wanted.contains(&"gelu_backward gelu.backward".into()), "{wanted:?}");
        let mut apart = PlanOptions::default();
        apart.tuning.fuse_gelu = false;
        assert!(ops(&both, &apart).contains(&"gelu_backward gelu.backward".into()));
    }

    #[test]
    fn the_gradient_of_a_norm_is_added_where_it_is_made() {
        let graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[8, 8]));
        let [gain, bias] = ["gain", "bias"].map(|name| graph.input(name, TensorType::f32(&[8])));
        let y = x.then(LayerNorm { eps: 1e-6, unbiased: false }, &[gain, bias]) + x;
        let found = gradients(y, graph.input("dy", TensorType::f32(&[8, 8])), &[x, gain]);
        let fetch = [Fetch::new("dx", found[0]), Fetch::new("dgain", found[1])];
        let ops = |no_fusion| {
            let plan = Plan::new(&graph, &fetch, &PlanOptions { no_fusion, ..Default::default() });
            plan.dispatches.iter().map(|d| d.op).collect::<Vec<_>>()
        };
        assert!(ops(true).contains(&"add") && !ops(false).contains(&"add"), "{:?}", ops(false));
        assert!(ops(false).contains(&"layer_norm_backward+add"), "{:?}", ops(false));
    }

    #[test]
    fn fusion_can_be_switched_off() {
        let plain = kernels(false, &PlanOptions { no_fusion: true, ..Default::default() });
        assert_eq!(plain, ["matmul_nt forward", "gelu forward", "matmul_nt forward", "add add"]);
    }
}
