//! NumPy's `.npy` files of bytes: a line of text that names type, order and extents, then the values. They are read
//! where they are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::layout::Layout;
use super::records::Records;

/// The longest header that is read. NumPy writes about a hundred bytes.
const HEADER: usize = 4096;

/// Opens `[images, rows, columns]`, `[images, rows, columns, channels]` or `[images, channels, rows, columns]`.
pub(super) fn open(path: &Path) -> Result<Records, String> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(HEADER as u64 + 12).read_to_end(&mut start).map_err(|error| error.to_string())?;
    let (offset, text) = header(&start)?;
    let kind = value(text, "descr")?.trim_matches(['\'', '"']);
    if !["|u1", "u1", "<u1", ">u1", "=u1"].contains(&kind) {
        return Err(format!("the array is of type {kind:?}; images are bytes: save it with .astype(numpy.uint8)"));
    }
    if value(text, "fortran_order")? != "False" {
        return Err("the array lies in Fortran's order; save numpy.ascontiguousarray of it".into());
    }
    let extents: Option<Vec<u64>> = value(text, "shape")?
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse().ok())
        .collect();
    match extents.as_deref() {
        Some([count, extents @ ..]) if extents.len() > 1 => {
            Records::in_file(path, offset, *count, 0, Layout::of(extents)?)
        }
        _ => Err(format!("an array of shape {} holds no images", value(text, "shape")?)),
    }
}

/// Where the values start, and the text before them.
fn header(bytes: &[u8]) -> Result<(u64, &str), String> {
    let (start, length) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            (10, usize::from(u16::from_le_bytes([*low, *high])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return Err("not a .npy file of version 1 to 3".into()),
    };
    let text = bytes.get(start..start + length.min(HEADER + 1)).filter(|text| text.len() == length);
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or("the header is cut short, too long or no text")?;
    Ok(((start + length) as u64, text))
}

/// What stands after a key of the dictionary, up to the comma at its level.
fn value<'t>(text: &'t str, key: &str) -> Result<&'t str, String> {
    let missing = || format!("the header names no {key}");
    let (_, after) = text.split_once(&format!("'{key}'")).ok_or_else(missing)?;
    let after = after.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = match after.starts_with('(') {
        true => after.find(')').map(|at| at + 1),
        false => after.find([',', '}']),
    };
    Ok(after[..end.ok_or_else(missing)?].trim())
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::super::source::Source;
    use std::sync::Arc;

    fn npy(header: &str, values: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend((0..values).map(|value| value as u8));
        bytes
    }

    /// The source in a file of these bytes; the file, which it reads when asked, lives as long as the first value.
    fn opened(bytes: &[u8]) -> (tempfile::NamedTempFile, crate::error::Result<Arc<dyn Source>>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let source = open(file.path().to_str().unwrap());
        (file, source)
    }

    fn refusal(bytes: &[u8]) -> String {
        opened(bytes).1.err().expect("must be refused").to_string()
    }

    #[test]
    fn grey_colour_and_planar_arrays_are_read() {
        let start = "{'descr': '|u1', 'fortran_order': False, 'shape': ";
        let cases = [("(4, 6, 5), }\n", 1, 120), ("(2, 6, 5, 3)}", 3, 180), ("(2, 3, 6, 5), }", 3, 180)];
        for (shape, channels, values) in cases {
            let (_file, source) = opened(&npy(&format!("{start}{shape}"), values));
            let source = source.unwrap();
            let picture = source.load(1, channels).unwrap();
            assert_eq!((picture.height, picture.width, picture.channels), (6, 5, channels), "{shape}");
            let first = (values / source.len()) as u8;
            let second = if shape.starts_with("(2, 3") { first + 30 } else { first + 1 };
            assert_eq!(picture.pixels[..2], [first, second], "{shape}");
        }
    }

    #[test]
    fn other_arrays_are_refused_with_what_to_do() {
        let with = |kind: &str, order: &str, shape: &str| {
            let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}");
            refusal(&npy(&header, 24))
        };
        assert!(with("<f4", "False", "(2, 3, 4)").contains("astype(numpy.uint8)"));
        assert!(with("|u1", "True", "(2, 3, 4)").contains("ascontiguousarray"));
        assert!(with("|u1", "False", "(24,)").contains("shape (24,) holds no images"));
        assert!(with("|u1", "False", "(3, 3, 4)").contains("are not the 3 images of 3×4×1"));
        assert!(with("|u1", "False", "(18446744073709551615, 3, 4)").contains("are not the"));
        assert!(refusal(&npy("{}", 3)).contains("names no descr"));
    }
}
