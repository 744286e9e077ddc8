//! Writes NumPy's `.npy` files, version 1.0.

use std::io::{self, Write};

/// What the length of everything before the values is a multiple of, as NumPy has it.
const ALIGNMENT: usize = 64;

/// Writes `values`, which fill `shape`, as `<f4`.
pub fn write_f32(to: &mut dyn Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    write(to, "<f4", shape, values.len(), bytemuck::cast_slice(values))
}

/// Writes `values`, which fill `shape`, as `<i8`.
pub fn write_i64(to: &mut dyn Write, shape: &[usize], values: &[i64]) -> io::Result<()> {
    write(to, "<i8", shape, values.len(), bytemuck::cast_slice(values))
}

fn write(to: &mut dyn Write, kind: &str, shape: &[usize], count: usize, bytes: &[u8]) -> io::Result<()> {
    assert_eq!(shape.iter().product::<usize>(), count, "values for the shape {shape:?}");
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    // A tuple of one keeps its comma.
    let extents = if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({extents}), }}");
    let before = 10;
    let whole = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.extend(std::iter::repeat_n(' ', whole - header.len() - 1));
    header.push('\n');
    to.write_all(b"\x93NUMPY\x01\x00")?;
    to.write_all(&(header.len() as u16).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    to.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_fills_whole_lines_of_64_bytes() {
        let mut bytes = Vec::new();
        write_f32(&mut bytes, &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, -6.5]).unwrap();
        assert_eq!(bytes.len(), 128 + 24);
        let header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  ";
        assert_eq!((&bytes[..header.len()], bytes[127]), (&header[..], b'\n'));
        assert_eq!(bytes[148..], (-6.5f32).to_le_bytes());
        bytes.clear();
        write_i64(&mut bytes, &[1], &[-1]).unwrap();
        assert!(bytes.windows(16).any(|part| part == b"'shape': (1,), }") && bytes[128..] == (-1i64).to_le_bytes());
    }
}
