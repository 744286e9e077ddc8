//! How products read what they multiply, and the pass that stores it so.

use std::{collections::HashMap, fmt, rc::Rc, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DType, Node, Origin, Recorded, TensorType, Value, ValueId, passes::number};
use crate::ops::Cast;

/// In what precision products read their operands. Everything else is f32 either way: sums, statistics, softmax, losses,
/// the weights themselves, the optimiser's moments and the teacher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision, to which weights and activations are rounded for products.
    F16,
}

const NAMES: [(&str, Precision); 2] = [("f32", Precision::F32), ("f16", Precision::F16)];

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES.iter().find(|(_, held)| held == self).expect("every case has a name");
        f.write_str(name)
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, held)| *held).ok_or_else(|| format!("`{text}` is none of f32 and f16"))
    }
}

/// Rounds what operations [want in half precision](super::Op::takes_halves) once, before the first that reads it; the backward
/// pass reads the same halves.
pub(super) fn halve(recorded: &mut Recorded, needed: &[bool]) {
    let mut halves: HashMap<ValueId, ValueId> = HashMap::new();
    let nodes = std::mem::take(&mut recorded.nodes);
    for (mut node, _) in nodes.into_iter().zip(needed).filter(|(_, needed)| **needed) {
        for operand in 0..node.inputs.len() {
            let id = node.inputs[operand];
            let ty = recorded.values[id.0].ty.clone();
            if ty.dtype != DType::F32 || !node.op.takes_halves(operand) {
                continue;
            }
            let half = *halves.entry(id).or_insert_with(|| {
                let half = ValueId(recorded.values.len());
                let name = recorded.values[id.0].name.clone();
                recorded.values.push(Value { ty: TensorType { dtype: DType::F16, ..ty }, origin: Origin::Input, name });
                let cast = Node { op: Rc::new(Cast), inputs: vec![id], outputs: vec![half], ..node.clone() };
                recorded.nodes.push(cast);
                half
            });
            node.inputs[operand] = half;
        }
        recorded.nodes.push(node);
    }
    number(recorded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Fetch, Graph, Plan, PlanOptions, gradients},
        ops::{Form, Gelu, Product},
    };

    fn plan(precision: Precision) -> Plan {
        let graph = Graph::new();
        let [x, w, dy] = ["x", "w", "dy"].map(|name| graph.input(name, TensorType::f32(&[64, 64])));
        let y = Product::of(Form::Nt, Product::of(Form::Nt, x, w).then(Gelu, &[]), w);
        let fetch: Vec<_> = std::iter::once(y).chain(gradients(y, dy, &[x, w])).collect();
        let fetch: Vec<_> = fetch.iter().enumerate().map(|(i, t)| Fetch::new(i.to_string(), *t)).collect();
        Plan::new(&graph, &fetch, &PlanOptions { precision, ..Default::default() })
    }

    #[test]
    fn each_operand_is_rounded_once_for_all_that_read_it() {
        let half = plan(Precision::F16);
        let casts = half.dispatches.iter().filter(|d| d.op == "cast").count();
        // x, w, the activations, and the gradients of both products' outputs.
        assert_eq!(casts, 5, "{half}");
        let of = |plan: &Plan, op: &str| plan.dispatches.iter().filter(|d| d.op.starts_with(op)).count();
        let whole = plan(Precision::F32);
        assert_eq!((of(&whole, "cast"), of(&half, "product")), (0, of(&whole, "product")), "{whole}");
        let products = half.dispatches.iter().filter(|d| d.op.starts_with("product"));
        products.for_each(|d| assert!(d.kernel.file.ends_with("_half") && d.ranges[0].bytes == 2 * 64 * 64, "{half}"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, precision) in NAMES {
            assert_eq!((precision.to_string().as_str(), name.parse()), (name, Ok(precision)));
        }
        assert!("bf16".parse::<Precision>().unwrap_err().contains("f32 and f16"));
    }
}
