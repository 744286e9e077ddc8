//! Writes what `torch.load` reads, also with `weights_only=True`: `{"model": {name: tensor}}`.
//!
//! The archive has what torch needs of it and no more: `archive/data.pkl` (protocol 2), `archive/data/NUMBER` for each
//! tensor, `archive/version`. Entries are stored as they are.

use std::io::{self, Write};

use flate2::Crc;
use half::f16;

use crate::formats::tensors::{Precision, Written};
use crate::text::cut;

/// From here on sizes and places are written into fields of zip64.
const LARGE: u64 = 0xFFFF_FFFF;
/// From here on the number of entries is.
const MANY: u64 = 0xFFFF;
/// Values that are rounded at once.
const PIECE: usize = 1 << 14;
/// The first of January 1980, the earliest date of the format.
const DATE: u16 = 1 << 5 | 1;

/// Writes tensors in the order given, their values in a precision of choice. Equal arguments give equal bytes.
///
/// # Errors
/// It cannot be written, or a value is beyond the range of F16; the error names the tensor.
///
/// # Panics
/// When a tensor's values do not fill its shape.
pub fn write(to: impl Write, precision: Precision, tensors: &[Written<'_>]) -> io::Result<()> {
    write_from(to, precision, &[("model", tensors)], LARGE)
}

/// [`write()`] of several sets of tensors, each with its key: `{key: {name: tensor}}`.
pub fn write_sets(to: impl Write, precision: Precision, sets: &[(&str, &[Written<'_>])]) -> io::Result<()> {
    write_from(to, precision, sets, LARGE)
}

fn write_from(to: impl Write, precision: Precision, sets: &[(&str, &[Written<'_>])], large: u64) -> io::Result<()> {
    let mut zip = Zip { to, at: 0, central: Vec::new(), entries: 0, large };
    let pickle = pickle(precision, sets);
    zip.entry("archive/data.pkl", pickle.len() as u64, |take| take(&pickle))?;
    for (number, tensor) in sets.iter().flat_map(|(_, tensors)| *tensors).enumerate() {
        let size = if precision == Precision::F16 { 2 } else { 4 };
        let length = (tensor.values.len() * size) as u64;
        zip.entry(&format!("archive/data/{number}"), length, |take| pieces(precision, tensor, take))?;
    }
    zip.entry("archive/version", 2, |take| take(b"3\n"))?;
    zip.finish()
}

/// Hands the bytes of a tensor's values on, piece by piece.
fn pieces(precision: Precision, tensor: &Written<'_>, take: Take<'_>) -> io::Result<()> {
    if precision == Precision::F32 {
        return take(bytemuck::cast_slice(tensor.values));
    }
    let mut halves = Vec::with_capacity(PIECE);
    for values in tensor.values.chunks(PIECE) {
        halves.clear();
        halves.extend(values.iter().map(|value| f16::from_f32(*value).to_bits()));
        if let Some(at) = halves.iter().position(|&half| f16::from_bits(half).is_infinite()) {
            let reason = format!("tensor `{}`: {} is beyond f16, which ends at 65504", cut(&tensor.name), values[at]);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        take(bytemuck::cast_slice(&halves))?;
    }
    Ok(())
}

/// The pickle that makes the dictionary.
fn pickle(precision: Precision, sets: &[(&str, &[Written<'_>])]) -> Vec<u8> {
    let class = if precision == Precision::F16 { "HalfStorage" } else { "FloatStorage" };
    let mut bytes = b"\x80\x02}(".to_vec();
    let mut number = 0;
    for (key, tensors) in sets {
        text(&mut bytes, key);
        bytes.extend(b"}(");
        for tensor in *tensors {
            pickle_tensor(&mut bytes, class, number, tensor);
            number += 1;
        }
        bytes.push(b'u');
    }
    bytes.extend(b"u.");
    bytes
}

/// The part of the pickle that makes a tensor, with its name in front.
fn pickle_tensor(bytes: &mut Vec<u8>, class: &str, number: usize, tensor: &Written<'_>) {
    let Written { name, shape, values } = tensor;
    assert_eq!(shape.iter().product::<usize>(), values.len(), "values of {name} for its shape {shape:?}");
    text(bytes, name);
    bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(bytes, "storage");
    bytes.extend(format!("ctorch\n{class}\n").as_bytes());
    text(bytes, &number.to_string());
    text(bytes, "cpu");
    integer(bytes, values.len());
    bytes.extend(b"tQK\0");
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    for extents in [*shape, strides.as_slice()] {
        bytes.push(b'(');
        extents.iter().for_each(|&extent| integer(bytes, extent));
        bytes.push(b't');
    }
    // No gradient is required, and there are no hooks.
    bytes.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn integer(bytes: &mut Vec<u8>, value: usize) {
    match i32::try_from(value) {
        Ok(value) => {
            bytes.push(b'J');
            bytes.extend(value.to_le_bytes());
        }
        Err(_) => {
            bytes.extend([0x8A, 8]);
            bytes.extend((value as u64).to_le_bytes());
        }
    }
}

/// What takes the bytes of an entry.
type Take<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// An archive in the making.
struct Zip<W> {
    to: W,
    at: u64,
    central: Vec<u8>,
    entries: u64,
    /// From where on fields of zip64 are used.
    large: u64,
}

impl<W: Write> Zip<W> {
    /// Adds an entry of `length` bytes, which `give` gives twice: for the sum, which stands in front, and to be written.
    fn entry(&mut self, name: &str, length: u64, give: impl Fn(Take<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut sum = Crc::new();
        give(&mut |bytes| {
            sum.update(bytes);
            Ok(())
        })?;
        let place = self.at;
        let sizes = if length >= self.large { vec![length, length] } else { Vec::new() };
        let size = if sizes.is_empty() { length as u32 } else { LARGE as u32 };
        // What both heads have in common: flags, method, time, date, sum, sizes, length of the name.
        let mut common = [0u16, 0, 0, DATE].map(u16::to_le_bytes).concat();
        common.extend([sum.sum(), size, size].map(u32::to_le_bytes).concat());
        common.extend((name.len() as u16).to_le_bytes());
        let extra = zip64(&sizes);
        self.put(&[b"PK\x03\x04", &needs(&extra)[..], &common, &(extra.len() as u16).to_le_bytes()].concat())?;
        self.put(name.as_bytes())?;
        self.put(&extra)?;
        give(&mut |bytes| self.put(bytes))?;

        let far = place >= self.large;
        let extra = zip64(&[sizes, if far { vec![place] } else { Vec::new() }].concat());
        let offset = if far { LARGE as u32 } else { place as u32 };
        // Made by this version; then no comment, part 0, no attributes.
        let head = [b"PK\x01\x02", &needs(&extra)[..], &needs(&extra), &common, &(extra.len() as u16).to_le_bytes()];
        self.central.extend(head.concat());
        self.central.extend([0; 10]);
        self.central.extend(offset.to_le_bytes());
        self.central.extend(name.as_bytes());
        self.central.extend(extra);
        self.entries += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    /// Writes the central directory and the end.
    fn finish(mut self) -> io::Result<()> {
        let (start, central) = (self.at, std::mem::take(&mut self.central));
        let length = central.len() as u64;
        self.put(&central)?;
        let (large, many) = (start.max(length) >= self.large, self.entries >= MANY);
        if large || many {
            let place = self.at;
            let numbers = [self.entries, self.entries, length, start].map(u64::to_le_bytes).concat();
            let record = [b"PK\x06\x06", &44u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0; 8], &numbers];
            self.put(&record.concat())?;
            self.put(&[b"PK\x06\x07", &[0; 4][..], &place.to_le_bytes(), &1u32.to_le_bytes()].concat())?;
        }
        let entries = if many { MANY } else { self.entries } as u16;
        let [length, start] = [length, start].map(|value| if large { LARGE } else { value } as u32);
        let counts = [0, 0, entries, entries].map(u16::to_le_bytes).concat();
        self.put(&[b"PK\x05\x06", &counts[..], &length.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat())?;
        self.to.flush()
    }
}

/// The extra field with these values; nothing without any.
fn zip64(values: &[u64]) -> Vec<u8> {
    if values.is_empty() {
        return Vec::new();
    }
    let head = [1, (values.len() * 8) as u16].map(u16::to_le_bytes).concat();
    [head, values.iter().flat_map(|value| value.to_le_bytes()).collect()].concat()
}

/// The version of the format that an entry with this extra field needs.
fn needs(extra: &[u8]) -> [u8; 2] {
    if extra.is_empty() { [20, 0] } else { [45, 0] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::weights::{Dtype, WeightFile};

    fn written(name: &str, shape: &'static [usize], values: &'static [f32]) -> Written<'static> {
        Written { name: name.into(), shape, values }
    }

    #[test]
    fn a_value_beyond_f16_is_an_error_and_none_within() {
        let within = [written("a.b", &[2], &[65519.0, -65504.0])];
        write(io::sink(), Precision::F16, &within).unwrap();
        let beyond = [written("a.b", &[2], &[1.0, -65520.0])];
        let error = write(io::sink(), Precision::F16, &beyond).unwrap_err().to_string();
        assert_eq!(error, "tensor `a.b`: -65520 is beyond f16, which ends at 65504");
    }

    #[test]
    fn more_entries_than_sixteen_bits_count_are_read_back() {
        let tensors: Vec<_> = (0..0x1_0000).map(|number| written(&number.to_string(), &[0], &[])).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, Precision::F32, &tensors).unwrap();
        assert_eq!(WeightFile::open(Box::new(bytes)).unwrap().entries("model").unwrap().len(), 0x1_0000);
    }

    /// By `torch.load` where Python has torch, and says that this is skipped where not. `PYTHON` names another interpreter.
    #[test]
    fn what_is_written_is_read_by_this_crate_and_by_torch() {
        let python = std::env::var("PYTHON").unwrap_or("python3".into());
        let python =
            std::process::Command::new(&python).args(["-c", "import torch"]).output().ok().and_then(|output| {
                let found = output.status.success();
                found.then_some(python)
            });
        if python.is_none() {
            eprintln!("skipped in part: no Python with torch");
        }
        let tensors = [
            written("patch_embed.proj.bias", &[2, 3], &[1.0, -2.5, 0.1, 1e-5, 3.25, 1024.0]),
            written("größe", &[], &[-0.0]),
            written("none", &[0, 4], &[]),
        ];
        let folder = tempfile::tempdir().unwrap();
        // The smaller numbers put sizes and places into fields of zip64 that would need none.
        for (precision, large) in
            [(Precision::F32, LARGE), (Precision::F16, LARGE), (Precision::F32, 1), (Precision::F32, 24)]
        {
            let mut bytes = Vec::new();
            write_from(&mut bytes, precision, &[("model", &tensors[..])], large).unwrap();
            let path = folder.path().join("a.pth");
            std::fs::write(&path, &bytes).unwrap();
            let file = WeightFile::open(Box::new(bytes)).unwrap();
            assert_eq!((file.keys(), file.kind().to_string().as_str()), (vec!["model"], "torch zip"));
            let dtype = if precision == Precision::F16 { Dtype::F16 } else { Dtype::F32 };
            for (entry, Written { name, shape, values }) in file.entries("model").unwrap().iter().zip(&tensors) {
                assert_eq!((&entry.name, entry.dtype, entry.shape.as_slice()), (name, dtype, *shape));
                let rounded = |value: &f32| if dtype == Dtype::F16 { f16::from_f32(*value).to_f32() } else { *value };
                let bits = |values: &mut dyn Iterator<Item = f32>| values.map(f32::to_bits).collect::<Vec<_>>();
                let read = file.read("model", name).unwrap();
                assert_eq!(bits(&mut read.into_iter()), bits(&mut values.iter().map(rounded)), "{name}");
            }
            let Some(python) = &python else { continue };
            let script = "import sys, torch\n\
                m = torch.load(sys.argv[1], weights_only=True)['model']; t = getattr(torch, sys.argv[2])\n\
                assert list(m) == ['patch_embed.proj.bias', 'größe', 'none'], list(m)\n\
                want = torch.tensor([[1, -2.5, 0.1], [1e-5, 3.25, 1024]]).to(t), torch.tensor(-0.0).to(t), torch.empty(0, 4).to(t)\n\
                assert all(a.dtype == t and a.shape == b.shape and a.tolist() == b.tolist() for a, b in zip(m.values(), want)), m\n";
            let kind = if dtype == Dtype::F16 { "float16" } else { "float32" };
            let output = std::process::Command::new(python).args(["-c", script]).arg(&path).arg(kind).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
