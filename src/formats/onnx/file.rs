//! Writes a model without a second copy of its tensors: lengths are computed first, values follow one tensor at a time.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use half::f16;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::messages::{GraphProto, ModelProto, TensorProto};
use crate::formats::tensors::Precision;

/// A message of protocol buffers has fewer bytes than this (2 GiB).
pub const LIMIT: u64 = 1 << 31;

/// Fields of [`ModelProto`] and [`GraphProto`] that are written by hand.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;

/// Values that are converted at once.
const CHUNK: usize = 1 << 16;

/// The values of a constant.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    /// As they are.
    Float(Cow<'a, [f32]>),
    /// A matrix of so many columns, written with rows and columns exchanged.
    Transposed(&'a [f32], usize),
    /// Whole numbers.
    Int64(Vec<i64>),
}

/// A constant of a graph.
#[derive(Clone, Debug)]
pub struct Initializer<'a> {
    /// Its name.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub dims: Vec<usize>,
    /// As many values as the product of `dims`.
    pub values: Values<'a>,
    /// How values that are not whole are kept.
    pub precision: Precision,
}

impl Initializer<'_> {
    fn count(&self) -> usize {
        match &self.values {
            Values::Float(values) => values.len(),
            Values::Transposed(values, _) => values.len(),
            Values::Int64(values) => values.len(),
        }
    }

    fn data_type(&self) -> (i32, usize) {
        match (&self.values, self.precision) {
            (Values::Int64(_), _) => (TensorProto::INT64, 8),
            (_, Precision::F32) => (TensorProto::FLOAT, 4),
            (_, Precision::F16) => (TensorProto::FLOAT16, 2),
        }
    }

    /// The message up to its values, and how many bytes these have.
    fn head(&self) -> (Vec<u8>, usize) {
        let (data_type, size) = self.data_type();
        let dims = self.dims.iter().map(|extent| *extent as i64).collect();
        let head = TensorProto { dims, data_type, name: self.name.clone(), raw_data: Vec::new() };
        let (mut bytes, length) = (head.encode_to_vec(), self.count() * size);
        encode_key(TensorProto::RAW_DATA, WireType::LengthDelimited, &mut bytes);
        encode_varint(length as u64, &mut bytes);
        (bytes, length)
    }

    /// The bytes that it takes in the graph.
    fn length(&self) -> usize {
        let (head, values) = self.head();
        let message = head.len() + values;
        key_len(INITIALIZER) + encoded_len_varint(message as u64) + message
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let (head, values) = self.head();
        let mut start = Vec::new();
        encode_key(INITIALIZER, WireType::LengthDelimited, &mut start);
        encode_varint((head.len() + values) as u64, &mut start);
        to.write_all(&start)?;
        to.write_all(&head)?;
        match &self.values {
            Values::Int64(values) => to.write_all(bytemuck::cast_slice(values)),
            Values::Float(values) => values.chunks(CHUNK).try_for_each(|values| self.floats(values, to)),
            Values::Transposed(values, columns) => {
                let rows = values.len() / columns;
                let mut column = vec![0.0; rows];
                (0..*columns).try_for_each(|at| {
                    column.iter_mut().zip(values[at..].iter().step_by(*columns)).for_each(|(to, from)| *to = *from);
                    self.floats(&column, to)
                })
            }
        }
    }

    fn floats(&self, values: &[f32], to: &mut dyn Write) -> io::Result<()> {
        match self.precision {
            Precision::F32 => to.write_all(bytemuck::cast_slice(values)),
            Precision::F16 => {
                let halves: Vec<u16> = values.iter().map(|value| f16::from_f32(*value).to_bits()).collect();
                to.write_all(bytemuck::cast_slice(&halves))
            }
        }
    }
}

/// A model about to be written.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Everything but the graph.
    pub model: ModelProto,
    /// The graph without its constants.
    pub graph: GraphProto,
    /// The constants.
    pub initializers: Vec<Initializer<'a>>,
}

impl File<'_> {
    /// The bytes of the file.
    pub fn length(&self) -> u64 {
        let graph = self.graph_length();
        (self.model.encoded_len() + key_len(GRAPH) + encoded_len_varint(graph as u64) + graph) as u64
    }

    fn graph_length(&self) -> usize {
        self.graph.encoded_len() + self.initializers.iter().map(Initializer::length).sum::<usize>()
    }

    /// Writes the file.
    ///
    /// # Panics
    /// When the values of a constant do not fill its extents.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        for initializer in &self.initializers {
            let expected = initializer.dims.iter().product::<usize>();
            assert_eq!(initializer.count(), expected, "values of {} for {:?}", initializer.name, initializer.dims);
        }
        let mut start = self.model.encode_to_vec();
        encode_key(GRAPH, WireType::LengthDelimited, &mut start);
        encode_varint(self.graph_length() as u64, &mut start);
        start.extend(self.graph.encode_to_vec());
        to.write_all(&start)?;
        self.initializers.iter().try_for_each(|initializer| initializer.write(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// prost, which knows nothing of how the file is streamed, reads the same messages.
    #[test]
    fn what_is_streamed_is_one_message() {
        let values: Vec<f32> = (0..CHUNK + 6).map(|i| i as f32 * 0.3 - 5.0).collect();
        let tensor = |name: &str, dims: &[usize], values, precision| Initializer {
            name: name.into(),
            dims: dims.into(),
            values,
            precision,
        };
        let file = File {
            model: ModelProto { ir_version: 8, doc_string: "two matrices".into(), ..Default::default() },
            graph: GraphProto { name: "g".into(), ..Default::default() },
            initializers: vec![
                tensor("long", &[CHUNK + 6], Values::Float((&values[..]).into()), Precision::F32),
                tensor("turned", &[3, 2], Values::Transposed(&values[..6], 3), Precision::F16),
                tensor("shape", &[2], Values::Int64(vec![0, -1]), Precision::F32),
            ],
        };
        let mut bytes = Vec::new();
        file.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, file.length());
        let read = ModelProto::decode(&bytes[..]).unwrap();
        assert_eq!((read.ir_version, &read.doc_string[..]), (8, "two matrices"));
        let [long, turned, shape] = &read.graph.unwrap().initializer[..] else { panic!("three constants") };
        assert_eq!(long.raw_data, bytemuck::cast_slice::<_, u8>(&values));
        let half = |at: usize| f16::from_f32(values[at]).to_le_bytes();
        assert_eq!(turned.raw_data, [0, 3, 1, 4, 2, 5].map(half).concat());
        assert_eq!((&turned.dims[..], turned.data_type, &shape.raw_data[8..]), (&[3, 2][..], 10, &[255; 8][..]));
    }
}
