//! NumPy's `.npy` files of bytes: a line of text that names type, order and extents, then the values. They are read
//! where they are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::layout::Layout;
use super::records::{Records, read_range};

/// The longest header that is read. NumPy writes about a hundred bytes.
const HEADER: usize = 4096;

/// Opens `[images, rows, columns]`, `[images, rows, columns, channels]` or `[images, channels, rows, columns]`.
pub(super) fn open(path: &Path) -> Result<Records, String> {
    let start = read_start(path)?;
    let (offset, text) = header(&start)?;
    let kind = value(text, "descr")?.trim_matches(['\'', '"']);
    if !["|u1", "u1", "<u1", ">u1", "=u1"].contains(&kind) {
        let values = Values::of(kind).map(|values| values.sampled(path, offset));
        return Err(advice(kind, values));
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
        Some([rows, columns, channels @ 1..=4]) if *rows > 1 => Err(format!(
            "an array of shape ({rows}, {columns}, {channels}) is one image, to go by its extents; save it as \
             array[None], or grey images as array[..., None]"
        )),
        Some([count, extents @ ..]) if extents.len() > 1 => {
            Records::in_file(path, offset, *count, 0, Layout::of(extents)?)
        }
        _ => Err(format!("an array of shape {} holds no images", value(text, "shape")?)),
    }
}

/// What to do with an array that is not of bytes, `values` being what some of its values are like, if they are numbers.
fn advice(kind: &str, values: Option<Values>) -> String {
    let told = format!("the array is of type {kind:?}; images are bytes");
    let Some(Values { least, most, not_finite, whole, .. }) = values else {
        return match kind.ends_with("b1") {
            true => format!("{told}: save array.astype(\"uint8\") * 255"),
            false => format!("{told}: save an array of uint8, from 0 to 255"),
        };
    };
    if not_finite {
        return format!(
            "{told}, and some of its values are not finite: look at how it was made, then save 0 to 255 as uint8"
        );
    }
    let rounded = |value: f64| (value * 1e4).round() / 1e4;
    let range = format!("of values from {} to {}", rounded(least), rounded(most));
    let convert = "array.round().astype(\"uint8\")";
    let convert = if whole { "array.astype(\"uint8\")" } else { convert };
    match (least, most) {
        (least, _) if least < 0.0 => format!(
            "{told}, and it is {range}, normalised it seems: undo that (values times deviation plus mean, as \
             shares of 0 to 1), then save (array * 255).round().clip(0, 255).astype(\"uint8\")"
        ),
        (_, most) if most <= 1.0 => {
            format!("{told} from 0 to 255, and it is {range}: save (array * 255).round().astype(\"uint8\")")
        }
        (_, most) if most <= 255.0 => format!("{told} from 0 to 255, as its values are: save {convert}"),
        _ => format!(
            "{told} from 0 to 255, and it is {range}: scale it by the largest value that its format has, as in \
             (array / 65535 * 255).round().astype(\"uint8\") for 16 bits"
        ),
    }
}

/// What some of an array's numbers are like.
struct Values {
    /// Bytes of a number.
    size: usize,
    read: fn(&[u8]) -> f64,
    big: bool,
    whole: bool,
    least: f64,
    most: f64,
    not_finite: bool,
}

impl Values {
    /// How numbers of a type are read; none for what is no number.
    fn of(kind: &str) -> Option<Values> {
        let (order, kind) = kind.split_at_checked(1)?;
        let read: fn(&[u8]) -> f64 = match kind {
            "f2" => |b| half::f16::from_le_bytes([b[0], b[1]]).to_f64(),
            "f4" => |b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "f8" => |b| f64::from_le_bytes(std::array::from_fn(|i| b[i])),
            "i1" => |b| f64::from(b[0] as i8),
            "i2" => |b| f64::from(i16::from_le_bytes([b[0], b[1]])),
            "i4" => |b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "i8" => |b| i64::from_le_bytes(std::array::from_fn(|i| b[i])) as f64,
            "u2" => |b| f64::from(u16::from_le_bytes([b[0], b[1]])),
            "u4" => |b| f64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "u8" => |b| u64::from_le_bytes(std::array::from_fn(|i| b[i])) as f64,
            _ => return None,
        };
        let size = usize::from(kind.as_bytes()[1] - b'0');
        let whole = !kind.starts_with('f');
        let (least, most) = (f64::INFINITY, f64::NEG_INFINITY);
        Some(Values { size, read, big: order == ">", whole, least, most, not_finite: false })
    }

    /// The values of some pieces spread over the file from byte `offset` on.
    fn sampled(mut self, path: &Path, offset: u64) -> Values {
        const PIECES: u64 = 64;
        let length = std::fs::metadata(path).map_or(0, |found| found.len()).saturating_sub(offset);
        let count = length / self.size as u64;
        let piece = count.min(1024);
        for at in (0..PIECES).map(|number| (count - piece) / (PIECES - 1) * number) {
            let bytes = read_range(path, offset + at * self.size as u64, piece as usize * self.size);
            bytes.unwrap_or_default().chunks_exact_mut(self.size).for_each(|value| self.add(value));
        }
        if self.least > self.most {
            (self.least, self.most) = (0.0, 0.0);
        }
        self
    }

    fn add(&mut self, value: &mut [u8]) {
        if self.big {
            value.reverse();
        }
        let value = (self.read)(value);
        self.not_finite |= !value.is_finite();
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
    }
}

/// The first bytes of a file, the header among them.
pub(super) fn read_start(path: &Path) -> Result<Vec<u8>, String> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(HEADER as u64 + 12).read_to_end(&mut start).map_err(|error| error.to_string())?;
    Ok(start)
}

/// Where the values start, and the text before them.
pub(super) fn header(bytes: &[u8]) -> Result<(u64, &str), String> {
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
pub(super) fn value<'t>(text: &'t str, key: &str) -> Result<&'t str, String> {
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
        assert!(with("|O", "False", "(2, 3, 4)").contains("save an array of uint8"));
        assert!(with("|b1", "False", "(2, 3, 4)").contains("array.astype(\"uint8\") * 255"));
        assert!(with("|u1", "True", "(2, 3, 4)").contains("ascontiguousarray"));
        assert!(with("|u1", "False", "(24,)").contains("shape (24,) holds no images"));
        assert!(with("|u1", "False", "(3, 3, 5)").contains("are not the 3 images of 3×5×1"));
        assert!(with("|u1", "False", "(18446744073709551615, 3, 5)").contains("are not the"));
        assert!(refusal(&npy("{}", 3)).contains("names no descr"));
    }

    #[test]
    fn the_advice_on_other_types_follows_from_the_values() {
        let told = |kind: &str, values: Vec<u8>| {
            let mut bytes = npy(&format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 2, 2), }}"), 0);
            bytes.extend(values);
            refusal(&bytes)
        };
        let f4 = |values: [f32; 4]| values.map(f32::to_le_bytes).concat();
        let times_255 = "save (array * 255).round().astype(\"uint8\")";
        assert!(told("<f4", f4([0.0, 0.2, 1.0, 0.7])).contains(&format!("from 0 to 1: {times_255}")));
        assert!(
            told(">f8", [0.0, 0.25, 0.5, 0.5].map(f64::to_be_bytes).concat()).contains(&format!("0.5: {times_255}"))
        );
        assert!(told("<f2", [0x3C00u16, 0, 0, 0].map(u16::to_le_bytes).concat()).contains(times_255));
        assert!(told("<f4", f4([0.0, 17.5, 255.0, 3.0])).contains("as its values are: save array.round().astype"));
        let normalised = told("<f4", f4([-2.1, 0.0, 2.6, 1.0]));
        assert!(normalised.contains("from -2.1") && normalised.contains("normalised it seems"), "{normalised}");
        assert!(told("<f4", f4([f32::NAN, 0.0, 1.0, 1.0])).contains("not finite"));
        assert!(told("<i8", [0i64, 255, 7, 9].map(i64::to_le_bytes).concat()).contains("save array.astype(\"uint8\")"));
        assert!(told("<u2", [0u16, 65535, 7, 9].map(u16::to_le_bytes).concat()).contains("from 0 to 65535: scale it"));
        assert!(told("<f4", Vec::new()).contains("images are bytes"));
    }

    #[test]
    fn values_far_into_a_file_are_looked_at_too() {
        let mut bytes = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10, 100, 100), }", 0);
        bytes.extend((0..100_000).flat_map(|at| if at < 90_000 { 0.5f32 } else { 200.0 }.to_le_bytes()));
        assert!(refusal(&bytes).contains("as its values are"));
    }

    #[test]
    fn a_single_image_is_not_taken_for_many_of_three_columns() {
        let message = refusal(&npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9, 5, 3), }", 135));
        assert!(message.contains("is one image") && message.contains("array[None]"), "{message}");
    }
}
