//! The end of a parquet file: its columns and row groups.

use std::fs::File;
use std::path::Path;

use super::super::records::read_range;
use super::thrift::{Field, Reader};

/// The longest index that is read.
const LONGEST: u64 = 16 << 20;

/// Parquet's number for byte strings.
const BYTE_ARRAY: i64 = 6;

/// How the pages of a column are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Snappy,
    Gzip,
}

/// A row group's part of the column of images.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) rows: usize,
    /// The bytes of the file that its pages fill.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) packing: Packing,
    /// The definition level of a value that is there; below it, some part of its path is null.
    pub(super) full_level: u32,
}

/// A column of byte strings that may be images.
struct Column {
    /// Its number among all columns.
    number: usize,
    path: String,
    full_level: u32,
}

/// An entry of the schema: a column, or the head of a group of the following entries.
#[derive(Default)]
struct Element {
    kind: Option<i64>,
    repetition: i64,
    name: String,
    children: i64,
    text: bool,
}

/// What a row group says of one column.
#[derive(Default)]
struct Part {
    codec: i64,
    values: i64,
    length: i64,
    first_page: i64,
    dictionary: Option<i64>,
    elsewhere: bool,
}

/// The parts of a file's column of images.
pub(super) fn read(path: &Path) -> Result<Vec<Chunk>, String> {
    let length = File::open(path).and_then(|file| file.metadata()).map_err(|error| error.to_string())?.len();
    let damaged = || "the parquet file is cut short or damaged; fetch it again".to_string();
    if length < 12 {
        return Err(damaged());
    }
    let tail = read_range(path, length - 8, 8)?;
    let [a, b, c, d, b'P', b'A', b'R', b'1'] = tail[..] else { return Err(damaged()) };
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    if size > LONGEST || size + 12 > length {
        return Err(damaged());
    }
    let bytes = read_range(path, length - 8 - size, size as usize)?;
    chunks(&bytes, length - 8 - size)
}

/// Finds the column in an index, and its part of each row group. Pages lie before byte `limit` of the file.
fn chunks(index: &[u8], limit: u64) -> Result<Vec<Chunk>, String> {
    let (mut elements, mut groups) = (Vec::new(), Vec::new());
    Reader::new(index).structure(|reader, number, _| {
        match number {
            2 => elements = reader.list(element)?,
            4 => groups = reader.list(group)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let column = choose(columns(&elements)?)?;
    let mut total = 0u64;
    let parts = groups.into_iter().map(|(rows, mut parts): (i64, Vec<Part>)| {
        let part = if column.number < parts.len() { parts.swap_remove(column.number) } else { Part::default() };
        let chunk = chunk(&part, rows, column.full_level, limit)?;
        total += chunk.rows as u64;
        match total < 1 << 32 {
            true => Ok(chunk),
            false => Err("it names more than 2³² rows".into()),
        }
    });
    // Groups without rows have no pages.
    parts.filter(|chunk| chunk.as_ref().map_or(true, |chunk| chunk.rows > 0)).collect()
}

fn chunk(part: &Part, rows: i64, full_level: u32, limit: u64) -> Result<Chunk, String> {
    if part.elsewhere {
        return Err("its column of images lies in another file".into());
    }
    let packing = match part.codec {
        0 => Packing::None,
        1 => Packing::Snappy,
        2 => Packing::Gzip,
        other => {
            let names = [(3, "LZO"), (4, "Brotli"), (5, "LZ4"), (6, "zstd"), (7, "LZ4")];
            let name = names.iter().find(|(number, _)| *number == other).map_or("an unknown method", |(_, name)| name);
            return Err(format!("its images are packed with {name}; write it with Snappy, gzip or none"));
        }
    };
    let start = part.dictionary.filter(|&at| at > 0).map_or(part.first_page, |at| at.min(part.first_page));
    let damaged = |_| "its index is damaged; fetch it again".to_string();
    let (start, length) = (u64::try_from(start).map_err(damaged)?, u64::try_from(part.length).map_err(damaged)?);
    let (rows, values) = (u32::try_from(rows).map_err(damaged)?, u32::try_from(part.values).map_err(damaged)?);
    let end = start.checked_add(length).filter(|&end| end <= limit);
    match end {
        Some(end) if rows == values => Ok(Chunk { rows: rows as usize, start, end, packing, full_level }),
        _ => Err("its row groups do not fit the file; fetch it again".into()),
    }
}

fn element(reader: &mut Reader) -> Result<Element, String> {
    let mut element = Element::default();
    reader.structure(|reader, number, field| {
        match (number, field) {
            (1, Field::Number(kind)) => element.kind = Some(kind),
            (3, Field::Number(repetition)) => element.repetition = repetition,
            (4, Field::Open) => {
                element.name = reader.text()?;
                return Ok(true);
            }
            (5, Field::Number(children)) => element.children = children,
            // UTF-8, enumerations, JSON.
            (6, Field::Number(0 | 4 | 19)) => element.text = true,
            _ => {}
        }
        Ok(false)
    })?;
    Ok(element)
}

fn group(reader: &mut Reader) -> Result<(i64, Vec<Part>), String> {
    let (mut rows, mut parts) = (0, Vec::new());
    reader.structure(|reader, number, field| {
        match (number, field) {
            (1, Field::Open) => {
                parts = reader.list(part)?;
                return Ok(true);
            }
            (3, Field::Number(count)) => rows = count,
            _ => {}
        }
        Ok(false)
    })?;
    Ok((rows, parts))
}

fn part(reader: &mut Reader) -> Result<Part, String> {
    let mut part = Part::default();
    reader.structure(|reader, number, field| {
        match (number, field) {
            (1, Field::Open) => part.elsewhere = true,
            (3, Field::Open) => {
                reader.structure(|_, number, field| {
                    match (number, field) {
                        (4, Field::Number(codec)) => part.codec = codec,
                        (5, Field::Number(values)) => part.values = values,
                        (7, Field::Number(length)) => part.length = length,
                        (9, Field::Number(at)) => part.first_page = at,
                        (11, Field::Number(at)) => part.dictionary = Some(at),
                        _ => {}
                    }
                    Ok(false)
                })?;
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    })?;
    Ok(part)
}

/// The columns of byte strings that are neither texts nor repeated.
fn columns(elements: &[Element]) -> Result<Vec<Column>, String> {
    // Of each open group: entries still to come, its path, its level, and whether it or one around it is repeated.
    let mut open: Vec<(i64, String, u32, bool)> = Vec::new();
    let (mut columns, mut number) = (Vec::new(), 0);
    for (at, element) in elements.iter().enumerate() {
        while open.last().is_some_and(|(left, ..)| *left <= 0) {
            open.pop();
        }
        let (path, level, repeated) = match open.last_mut() {
            Some((left, path, level, repeated)) => {
                *left -= 1;
                let path = if path.is_empty() { element.name.clone() } else { format!("{path}.{}", element.name) };
                let level = level.saturating_add(u32::from(element.repetition != 0));
                (path, level, *repeated || element.repetition == 2)
            }
            // The first entry is the whole, without a name.
            None if at == 0 => (String::new(), 0, false),
            None => return Err("its schema is damaged; fetch it again".into()),
        };
        if element.children > 0 {
            if open.len() > 64 {
                return Err("its schema is nested too deep".into());
            }
            open.push((element.children, path, level, repeated));
        } else if at > 0 {
            if element.kind == Some(BYTE_ARRAY) && !element.text && !repeated {
                columns.push(Column { number, path, full_level: level });
            }
            number += 1;
        }
    }
    Ok(columns)
}

/// The column of images: the only one of bytes, or the one that is named so.
fn choose(mut columns: Vec<Column>) -> Result<Column, String> {
    let known = ["image.bytes", "img.bytes", "image", "img", "jpg", "png", "webp"];
    let named = known.iter().find_map(|name| columns.iter().position(|column| column.path == *name));
    match (named, columns.len()) {
        (Some(at), _) => Ok(columns.swap_remove(at)),
        (None, 1) => Ok(columns.swap_remove(0)),
        (None, 0) => Err("no column of images: it needs a column of bytes, such as image.bytes or image".into()),
        (None, _) => {
            let paths: Vec<&str> = columns.iter().map(|column| column.path.as_str()).collect();
            Err(format!("several columns of bytes: {}; name the one of images `image`", paths.join(", ")))
        }
    }
}
