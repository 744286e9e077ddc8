//! Puts a graph together, operator by operator.

use std::borrow::Cow;

use super::{
    file::{Initializer, Values},
    messages::{
        AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
        ValueInfoProto,
    },
};
use crate::formats::tensors::Precision;

/// A setting of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(&'a [i64]),
}

/// A graph that grows. Values have names; an operator's only output has the operator's.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    graph: GraphProto,
    initializers: Vec<Initializer<'a>>,
}

impl<'a> Graph<'a> {
    /// An empty graph.
    pub fn new(name: &str) -> Graph<'a> {
        Graph { graph: GraphProto { name: name.into(), ..Default::default() }, initializers: Vec::new() }
    }

    /// Names a tensor of 32-bit floating point that is given; the extent 0 stands for any number of images, `batch`.
    pub fn input(&mut self, name: &str, shape: &[usize], what: &str) -> String {
        self.graph.input.push(value(name, shape, what));
        name.into()
    }

    /// Asks for a value of 32-bit floating point, whose name is that of the output.
    pub fn output(&mut self, name: &str, shape: &[usize], what: &str) {
        self.graph.output.push(value(name, shape, what));
    }

    /// Adds an operator with one output, and returns its name.
    pub fn add(&mut self, op: &str, name: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        self.add_several(op, name, inputs, attributes, &[name]);
        name.into()
    }

    /// Adds an operator whose outputs have names of their own.
    pub fn add_several(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
        outputs: &[&str],
    ) {
        let attribute = |(name, of): &(&str, Attribute<'_>)| {
            let named = AttributeProto { name: (*name).into(), ..Default::default() };
            match of {
                Attribute::Float(f) => AttributeProto { f: Some(*f), r#type: AttributeProto::FLOAT, ..named },
                Attribute::Int(i) => AttributeProto { i: Some(*i), r#type: AttributeProto::INT, ..named },
                Attribute::Ints(ints) => AttributeProto { ints: ints.to_vec(), r#type: AttributeProto::INTS, ..named },
            }
        };
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|name| (*name).into()).collect(),
            output: outputs.iter().map(|name| (*name).into()).collect(),
            name: name.into(),
            op_type: op.into(),
            attribute: attributes.iter().map(attribute).collect(),
        });
    }

    /// Adds a constant of floating point, and returns its name.
    pub fn floats(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl Into<Cow<'a, [f32]>>,
        precision: Precision,
    ) -> String {
        self.constant(name, dims, Values::Float(values.into()), precision)
    }

    /// Adds a matrix `[rows, columns]` as `[columns, rows]`, and returns its name.
    pub fn transposed(&mut self, name: &str, columns: usize, values: &'a [f32], precision: Precision) -> String {
        self.constant(name, &[columns, values.len() / columns], Values::Transposed(values, columns), precision)
    }

    /// Adds a vector of whole numbers, and returns its name.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, &[values.len()], Values::Int64(values.into()), Precision::F32)
    }

    fn constant(&mut self, name: &str, dims: &[usize], values: Values<'a>, precision: Precision) -> String {
        self.initializers.push(Initializer { name: name.into(), dims: dims.into(), values, precision });
        name.into()
    }

    /// The graph without its constants, and these.
    pub fn into_parts(self) -> (GraphProto, Vec<Initializer<'a>>) {
        (self.graph, self.initializers)
    }
}

fn value(name: &str, shape: &[usize], what: &str) -> ValueInfoProto {
    let dim = shape.iter().map(|extent| match extent {
        0 => Dimension { dim_param: Some("batch".into()), dim_value: None },
        extent => Dimension { dim_value: Some(*extent as i64), dim_param: None },
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: TensorProto::FLOAT, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }), doc_string: what.into() }
}
