//! Reads and writes safetensors files: checkpoints, fixtures, weights of others. The only code for that format here.
//!
//! A file is material from outside: lengths in it are checked against the real length before anything is allocated, and
//! whatever is wrong comes back as a sentence. A file is one `u64` with the header's length, the header (JSON: name →
//! type, shape, byte range; strings under `__metadata__`), then the values, little-endian and without gaps.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytemuck::Pod;
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::DeserializeOwned;

use super::header;

#[cfg(target_endian = "big")]
compile_error!("tensor files are read and written in place, which needs a little-endian machine");

/// Longest header that is read, in bytes: as long as the format's own library reads it.
pub(super) const MAX_HEADER: u64 = 100 << 20;

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to half precision, at half the length.
    F16,
}

/// The values of a tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 64-bit floating point.
    F64(Vec<f64>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Values,
}

/// Everything in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// The strings of `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorData>,
}

/// Reads a file that is already in memory.
pub fn parse(bytes: &[u8]) -> Result<TensorFile, String> {
    read(bytes, bytes.len() as u64)
}

/// Reads a file of `length` bytes, tensor by tensor. Refuses, in words, a file that is cut short, has bytes left over or
/// a header that contradicts itself, and types other than F16, which becomes F32, F32, F64 and I64. Allocates little more
/// than `length` bytes, or twice that for F16.
pub fn read(mut source: impl Read, length: u64) -> Result<TensorFile, String> {
    let header = read_header(&mut source, length)?.0;
    let mut file = TensorFile::default();
    for name in header.offset_keys() {
        let Some(tensor) = header.info(&name) else { continue };
        let count = tensor.shape.iter().product();
        let values = match tensor.dtype {
            Dtype::F16 => read_values(&mut source, count).map(|halves: Vec<u16>| {
                Values::F32(halves.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect())
            }),
            Dtype::F32 => read_values(&mut source, count).map(Values::F32),
            Dtype::F64 => read_values(&mut source, count).map(Values::F64),
            Dtype::I64 => read_values(&mut source, count).map(Values::I64),
            other => return Err(format!("tensor `{name}` is {other}; only F16, F32, F64 and I64 are read")),
        };
        let values = values.map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        file.tensors.insert(name, TensorData { shape: tensor.shape.clone(), values });
    }
    file.metadata = header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
    Ok(file)
}

/// A tensor about to be written.
#[derive(Clone, Debug)]
pub struct Written<'a> {
    /// Name in the file.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: &'a [usize],
    /// As many values as the product of `shape`.
    pub values: &'a [f32],
}

/// Writes a file of F32 tensors, their values in the order given. Equal arguments give equal bytes. Panics if a tensor's
/// values do not fill its shape.
pub fn write(to: impl Write, metadata: &BTreeMap<&str, String>, tensors: &[Written<'_>]) -> io::Result<()> {
    write_as(Precision::F32, to, metadata, tensors)
}

/// [`write()`] with the values in a precision of choice.
pub fn write_as(
    precision: Precision,
    to: impl Write,
    metadata: &BTreeMap<&str, String>,
    tensors: &[Written<'_>],
) -> io::Result<()> {
    let stored = |values| match precision {
        Precision::F32 => Stored::F32(values),
        Precision::F16 => Stored::F16(values),
    };
    let entries = tensors.iter().map(|Written { name, shape, values }| (name.as_str(), *shape, stored(*values)));
    write_entries(to, metadata, &entries.collect::<Vec<_>>())
}

/// [`write()`] with vectors of I64 before the F32 tensors.
pub fn write_with_integers(
    to: impl Write,
    metadata: &BTreeMap<&str, String>,
    integers: &[(&str, &[i64])],
    tensors: &[Written<'_>],
) -> io::Result<()> {
    let lengths: Vec<[usize; 1]> = integers.iter().map(|(_, values)| [values.len()]).collect();
    // In front, where their addresses are multiples of eight.
    let vectors = integers.iter().zip(&lengths).map(|((name, values), shape)| (*name, &shape[..], Stored::I64(values)));
    let others = tensors.iter().map(|t| (t.name.as_str(), t.shape, Stored::F32(t.values)));
    write_entries(to, metadata, &vectors.chain(others).collect::<Vec<_>>())
}

/// Values about to be written, and how.
enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f32]),
    I64(&'a [i64]),
}

impl Stored<'_> {
    /// The type, how many values there are, and the bytes of each.
    fn extent(&self) -> (Dtype, usize, usize) {
        match self {
            Stored::F32(values) => (Dtype::F32, values.len(), 4),
            Stored::F16(values) => (Dtype::F16, values.len(), 2),
            Stored::I64(values) => (Dtype::I64, values.len(), 8),
        }
    }
}

fn write_entries(
    mut to: impl Write,
    metadata: &BTreeMap<&str, String>,
    entries: &[(&str, &[usize], Stored<'_>)],
) -> io::Result<()> {
    let mut header = BTreeMap::from([("__metadata__", serde_json::to_value(metadata)?)]);
    let mut offset = 0;
    for (name, shape, stored) in entries {
        let (dtype, count, size) = stored.extent();
        assert_eq!(shape.iter().product::<usize>(), count, "values of {name} for its shape {shape:?}");
        let range = (offset, offset + count * size);
        offset = range.1;
        let entry = TensorInfo { dtype, shape: shape.to_vec(), data_offsets: range };
        header.insert(name, serde_json::to_value(entry)?);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    entries.iter().try_for_each(|(.., stored)| match stored {
        Stored::F32(values) => to.write_all(bytemuck::cast_slice(values)),
        Stored::I64(values) => to.write_all(bytemuck::cast_slice(values)),
        Stored::F16(values) => {
            let halves: Vec<u16> = values.iter().map(|value| f16::from_f32(*value).to_bits()).collect();
            to.write_all(bytemuck::cast_slice(&halves))
        }
    })
}

/// The checked header, and where the values begin: names that occur once, ranges without gaps or overlaps that fit their
/// shapes and end where the file of `length` bytes ends.
pub(super) fn read_header(source: &mut impl Read, length: u64) -> Result<(Metadata, u64), String> {
    let mut prefix = [0; 8];
    if length < 8 {
        return Err(format!("{length} bytes are too few for a safetensors file"));
    }
    source.read_exact(&mut prefix).map_err(|e| e.to_string())?;
    let (claimed, rest) = (u64::from_le_bytes(prefix), length - 8);
    if claimed > rest {
        return Err(format!(
            "the header should have {claimed} bytes, but only {rest} follow: truncated or no safetensors"
        ));
    }
    if claimed > MAX_HEADER {
        return Err(format!("a header of {claimed} bytes is more than the {MAX_HEADER} that are read"));
    }
    // Grows with what is really there: `length` is only what the caller was told.
    let mut header = Vec::new();
    source.take(claimed).read_to_end(&mut header).map_err(|e| e.to_string())?;
    if (header.len() as u64) < claimed {
        return Err(format!("the header should have {claimed} bytes, but ends after {}: truncated", header.len()));
    }
    let header = header::parse(&header).map_err(|e| format!("the header is malformed: {e}"))?;
    let (held, promised) = (rest - claimed, header.data_len() as u64);
    if held != promised {
        return Err(format!(
            "the header promises {promised} bytes of values, the file holds {held}: truncated or altered"
        ));
    }
    Ok((header, 8 + claimed))
}

/// `count` values, whose bytes the file is known to hold.
fn read_values<T: Pod>(source: &mut impl Read, count: usize) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| format!("no memory for {count} values"))?;
    values.resize(count, T::zeroed());
    source.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(|e| e.to_string())?;
    Ok(values)
}

impl TensorFile {
    /// The tensor `name`, or a sentence saying that there is none.
    pub fn tensor(&self, name: &str) -> Result<&TensorData, String> {
        self.tensors.get(name).ok_or_else(|| format!("no tensor `{name}`"))
    }

    /// Shape and values of the F32 tensor `name`.
    pub fn f32(&self, name: &str) -> Result<(&[usize], &[f32]), String> {
        match self.tensor(name)? {
            TensorData { shape, values: Values::F32(values) } => Ok((shape, values)),
            _ => Err(format!("tensor `{name}` is not F32")),
        }
    }

    /// Shape and values of the F64 tensor `name`.
    pub fn f64(&self, name: &str) -> Result<(&[usize], &[f64]), String> {
        match self.tensor(name)? {
            TensorData { shape, values: Values::F64(values) } => Ok((shape, values)),
            _ => Err(format!("tensor `{name}` is not F64")),
        }
    }

    /// Shape and values of the I64 tensor `name`.
    pub fn i64(&self, name: &str) -> Result<(&[usize], &[i64]), String> {
        match self.tensor(name)? {
            TensorData { shape, values: Values::I64(values) } => Ok((shape, values)),
            _ => Err(format!("tensor `{name}` is not I64")),
        }
    }

    /// The names and tensors whose name starts with `prefix`, the prefix taken off.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a TensorData)> {
        self.tensors.iter().filter_map(move |(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)))
    }

    /// The metadata string `key`, parsed as JSON.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, String> {
        let text = self.metadata.get(key).ok_or_else(|| format!("no `{key}` in the metadata"))?;
        serde_json::from_str(text).map_err(|e| format!("`{key}` in the metadata: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this header and these bytes after it.
    fn file(header: &str, values: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat()
    }

    fn three_types() -> Vec<u8> {
        let header = r#"{"__metadata__":{"lambda":"0.75","kind":"\"step\""},
            "out/loss":{"dtype":"F64","shape":[1],"data_offsets":[16,24]},
            "in/order":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},
            "x":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}"#;
        let order = [3i64, -4].map(i64::to_le_bytes).concat();
        file(header, &[&order[..], &2.5f64.to_le_bytes(), &1.5f32.to_le_bytes()].concat())
    }

    #[test]
    fn the_three_types_are_read_by_name() {
        let file = parse(&three_types()).unwrap();
        assert_eq!(file.i64("in/order").unwrap(), (&[1, 2][..], &[3, -4][..]));
        assert_eq!(file.f64("out/loss").unwrap(), (&[1][..], &[2.5][..]));
        assert_eq!(file.f32("x").unwrap(), (&[][..], &[1.5][..]));
        assert_eq!((file.json::<f64>("lambda"), file.json::<String>("kind")), (Ok(0.75), Ok("step".into())));
        assert_eq!(file.under("in/").map(|(name, _)| name).collect::<Vec<_>>(), ["order"]);
        assert!(file.f32("in/order").unwrap_err().contains("not F32"));
        assert!(file.f32("y").unwrap_err().contains("no tensor `y`"));
    }

    #[test]
    fn every_truncation_and_every_extra_byte_is_refused() {
        let bytes = three_types();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length} of {} bytes were accepted", bytes.len());
        }
        assert!(parse(&[&bytes[..], &[0]].concat()).unwrap_err().contains("holds 29"));
    }

    #[test]
    fn a_file_that_ends_earlier_than_its_length_is_refused() {
        let bytes = three_types();
        assert!(read(&bytes[..bytes.len() - 1], bytes.len() as u64).unwrap_err().contains("tensor `x`"));
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let tensor = |dtype: &str, shape: &str, range: &str| {
            file(&format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{range}}}}}"#), &[0; 8])
        };
        assert!(parse(&tensor("F32", "[2]", "[0,8]")).is_ok());
        for (dtype, shape, range) in [
            ("F32", "[3]", "[0,8]"),
            ("F32", "[2]", "[8,16]"),
            ("F32", "[2]", "[8,0]"),
            ("F32", "[2]", "[-1,7]"),
            ("F32", "[2,4611686018427387904]", "[0,8]"),
            ("F32", "[4611686018427387903]", "[0,18446744073709551612]"),
            ("U8", "[18446744073709551615]", "[0,18446744073709551615]"),
            ("I32", "[2]", "[0,8]"),
            ("F5", "[2]", "[0,8]"),
        ] {
            assert!(parse(&tensor(dtype, shape, range)).is_err(), "{dtype} {shape} {range} was accepted");
        }
        let overlapping = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let twice = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(parse(&file(twice, &[0; 8])).unwrap_err().contains("two tensors named `a`"));
        for header in ["", "null", "[]", "{\"a\":1}", "{\"__metadata__\":{\"a\":1}}", overlapping, &"[".repeat(100_000)]
        {
            assert!(parse(&file(header, &[0; 8])).is_err(), "{header:.80} was accepted");
        }
    }

    #[test]
    fn a_huge_header_is_refused_before_it_is_read() {
        let endless = std::io::repeat(0xff);
        let prefix = u64::to_le_bytes(1 << 40);
        assert!(read(prefix.chain(endless), 1 << 41).unwrap_err().contains("more than the 104857600"));
        assert!(parse(&[0xff; 64]).unwrap_err().contains("only 56 follow"));
    }
}
