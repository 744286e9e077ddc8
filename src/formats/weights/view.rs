//! Tensors as views of storages, and their values.

use std::cell::Cell;
use std::io;

use flate2::Crc;
use half::{bf16, f16};

use super::entry::{Dtype, Entry};
use super::source::ReadAt;

/// A tensor has fewer values than this.
const MOST_VALUES: u64 = 1 << 31;
/// A tensor has at most so many values, or as many as its file has bytes: one value may stand for many (a stride of 0).
const FEW_VALUES: u64 = 1 << 18;
/// Most axes of a tensor.
const MOST_AXES: usize = 8;
/// Bytes that are read at once where they are only summed up.
const PIECE: usize = 1 << 18;

/// Where a run of values lies.
#[derive(Debug)]
pub(super) struct Storage {
    /// Which source, where in it, and how many bytes.
    pub(super) source: usize,
    pub(super) start: u64,
    pub(super) length: u64,
    /// The sum over its bytes that the file promises; none once it was found right.
    pub(super) crc: Cell<Option<u32>>,
    /// For messages.
    pub(super) name: String,
}

/// Which values of a storage a tensor consists of.
#[derive(Debug)]
pub(super) struct View {
    /// The number of the storage.
    pub(super) storage: usize,
    /// Where the first value is, and how far the next is along each axis, in values.
    offset: u64,
    strides: Vec<u64>,
    /// The storage's type by its own name, where it is not read.
    pub(super) unread: Option<String>,
}

impl View {
    /// All `held` values of a storage, in order.
    ///
    /// # Errors
    /// As [`View::checked`].
    pub(super) fn packed(storage: usize, shape: &[i64], held: u64, length: u64) -> Result<(Vec<usize>, View), String> {
        let mut strides = vec![1i64; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        View::checked(storage, 0, shape, &strides, held, length)
    }

    /// A checked view: it lies within the `held` values of its storage, in a file of `length` bytes.
    ///
    /// # Errors
    /// In words: it does not, it is too large, or its extents make no tensor.
    pub(super) fn checked(
        storage: usize,
        offset: i64,
        shape: &[i64],
        strides: &[i64],
        held: u64,
        length: u64,
    ) -> Result<(Vec<usize>, View), String> {
        if shape.len() != strides.len() || shape.len() > MOST_AXES {
            return Err(format!(
                "{} extents and {} strides; at most {MOST_AXES} axes are read",
                shape.len(),
                strides.len()
            ));
        }
        let whole = |what: &str, value: i64| u64::try_from(value).map_err(|_| format!("a negative {what}, {value}"));
        let offset = whole("offset", offset)?;
        let extents = shape.iter().map(|&extent| whole("extent", extent)).collect::<Result<Vec<_>, _>>()?;
        let strides = strides.iter().map(|&stride| whole("stride", stride)).collect::<Result<Vec<_>, _>>()?;
        let count = extents.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent));
        let count = count.filter(|&count| count < MOST_VALUES && count <= length.max(FEW_VALUES));
        let Some(count) = count else {
            return Err(format!("shape {shape:?} has more values than a file of {length} bytes can hold"));
        };
        let last = extents.iter().zip(&strides).try_fold(offset, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        });
        if count > 0 && last.is_none_or(|last| last >= held) {
            return Err(format!("it reaches outside its storage of {held} values"));
        }
        let extents = extents.iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
        let extents = extents.map_err(|_| format!("shape {shape:?} is too large for this machine"))?;
        Ok((extents, View { storage, offset, strides, unread: None }))
    }

    /// Reads the values of the tensor `entry` in row-major order.
    ///
    /// # Errors
    /// In words, without the tensor's name.
    pub(super) fn read(&self, entry: &Entry, storage: &Storage, source: &dyn ReadAt) -> Result<Vec<f32>, String> {
        let Some(width) = entry.dtype.width() else {
            let kind = self.unread.as_deref().unwrap_or("of an unknown kind");
            return Err(format!("its values are {kind}, which are not read"));
        };
        let count = entry.shape.iter().product();
        if count == 0 {
            return Ok(Vec::new());
        }
        let reach = entry.shape.iter().zip(&self.strides).map(|(&extent, stride)| (extent as u64 - 1) * stride);
        let mut values = zeroed(count)?;
        let axes = entry.shape.iter().zip(&self.strides).zip(contiguous(&entry.shape));
        let in_order = axes.into_iter().all(|((&extent, &stride), packed)| extent == 1 || stride == packed);
        if in_order && entry.dtype == Dtype::F32 {
            storage.read(source, self.offset * width, bytemuck::cast_slice_mut(&mut values))?;
        } else {
            let bytes = usize::try_from((reach.sum::<u64>() + 1) * width);
            let mut bytes: Vec<u8> = zeroed(bytes.map_err(|_| "its storage is too large for this machine")?)?;
            storage.read(source, self.offset * width, &mut bytes)?;
            self.gather(entry, &bytes, &mut values);
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!("it holds {value}, which is not finite")),
            None => Ok(values),
        }
    }

    /// Spreads the bytes from the first to the last value over `values`.
    fn gather(&self, entry: &Entry, bytes: &[u8], values: &mut [f32]) {
        match entry.dtype {
            Dtype::F64 => self.each(entry, bytes, values, |b| f64::from_le_bytes(b) as f32),
            Dtype::F32 => self.each(entry, bytes, values, f32::from_le_bytes),
            Dtype::F16 => self.each(entry, bytes, values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::Bf16 => self.each(entry, bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I64 => self.each(entry, bytes, values, |b| i64::from_le_bytes(b) as f32),
            Dtype::I32 => self.each(entry, bytes, values, |b| i32::from_le_bytes(b) as f32),
            Dtype::I16 => self.each(entry, bytes, values, |b| i16::from_le_bytes(b).into()),
            Dtype::I8 => self.each(entry, bytes, values, |b| i8::from_le_bytes(b).into()),
            Dtype::U8 => self.each(entry, bytes, values, |[b]: [u8; 1]| b.into()),
            Dtype::Bool => self.each(entry, bytes, values, |[b]: [u8; 1]| (b != 0).into()),
            Dtype::Other => unreachable!("has no width"),
        }
    }

    fn each<const N: usize>(&self, entry: &Entry, bytes: &[u8], values: &mut [f32], of: impl Fn([u8; N]) -> f32) {
        let (mut index, mut at) = ([0; MOST_AXES], 0u64);
        for value in values {
            let from = at as usize * N;
            *value = of(bytes[from..from + N].try_into().expect("as many bytes"));
            // On to the next index, the last axis first.
            for (axis, (&extent, stride)) in entry.shape.iter().zip(&self.strides).enumerate().rev() {
                index[axis] += 1;
                at += stride;
                if index[axis] < extent {
                    break;
                }
                index[axis] = 0;
                at -= stride * extent as u64;
            }
        }
    }
}

impl Storage {
    /// Fills `into` with the bytes from `from` on. The first time all its bytes are read, where there is a sum to check.
    pub(super) fn read(&self, source: &dyn ReadAt, from: u64, into: &mut [u8]) -> Result<(), String> {
        let failed = |error: io::Error| format!("{error}, at byte {} of the file", self.start + from);
        let Some(promised) = self.crc.get() else {
            return source.read_at(self.start + from, into).map_err(failed);
        };
        let to = from + into.len() as u64;
        let mut sum = Crc::new();
        let mut piece = vec![0; PIECE.min(self.length as usize)];
        let mut pass = |sum: &mut Crc, mut at: u64, end: u64| {
            while at < end {
                let piece = &mut piece[..(end - at).min(PIECE as u64) as usize];
                source.read_at(self.start + at, piece)?;
                sum.update(piece);
                at += piece.len() as u64;
            }
            Ok(())
        };
        pass(&mut sum, 0, from).map_err(failed)?;
        source.read_at(self.start + from, into).map_err(failed)?;
        sum.update(into);
        pass(&mut sum, to, self.length).map_err(failed)?;
        if sum.sum() != promised {
            return Err(format!("`{}` in the archive is damaged (its CRC-32 is another)", self.name));
        }
        self.crc.set(None);
        Ok(())
    }
}

/// The strides of a tensor without gaps.
fn contiguous(shape: &[usize]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as u64;
    }
    strides
}

fn zeroed<T: bytemuck::Zeroable + Clone>(count: usize) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| format!("no memory for its {count} values"))?;
    values.resize(count, T::zeroed());
    Ok(values)
}
