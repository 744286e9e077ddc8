//! The end of a parquet file: its columns and row groups, and what its writer adds.

use std::fs::File;
use std::path::Path;

use super::super::records::read_range;
use super::thrift::{Field, Reader};

/// The longest index that is read.
const LONGEST: u64 = 16 << 20;

/// Parquet's numbers for types.
const INT32: i64 = 1;
const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;

/// The names of columns of labels, those of the first that is there being taken.
const LABELS: [&str; 5] = ["label", "labels", "fine_label", "class", "target"];

/// The key under which Hugging Face describes a table.
const DESCRIPTION: &[u8] = b"huggingface";

/// How the pages of a column are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Snappy,
    Gzip,
}

/// A row group's part of a column.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) rows: usize,
    /// The bytes of the file that its pages fill.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) packing: Packing,
    /// The definition level of a value that is there; below it, some part of its path is null.
    pub(super) full_level: u32,
    /// Bytes of a value; none for byte strings.
    pub(super) width: Option<usize>,
}

/// The column of labels of a file.
pub(super) struct LabelColumn {
    pub(super) name: String,
    pub(super) values: Values,
    pub(super) chunks: Vec<Chunk>,
    /// Hugging Face's description of the table, in JSON.
    pub(super) description: Option<Vec<u8>>,
}

/// What a column of labels holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Numbers { signed: bool },
    Texts,
}

/// A column.
struct Column {
    /// Its number among all columns.
    number: usize,
    path: String,
    full_level: u32,
    kind: i64,
    /// What its values stand for, by parquet's numbers of converted types.
    meaning: Option<i64>,
    repeated: bool,
}

impl Column {
    /// Whether it holds byte strings that are neither texts nor repeated.
    fn may_be_images(&self) -> bool {
        self.kind == BYTE_ARRAY && !self.is_text() && !self.repeated
    }

    /// Whether it holds UTF-8, enumerations or JSON.
    fn is_text(&self) -> bool {
        matches!(self.meaning, Some(0 | 4 | 19))
    }

    /// What its values are as labels.
    fn values(&self) -> Result<Values, String> {
        let what = match (self.kind, self.meaning) {
            (INT32 | INT64, Some(11..=14)) => return Ok(Values::Numbers { signed: false }),
            (INT32 | INT64, None | Some(15..=18)) => return Ok(Values::Numbers { signed: true }),
            (BYTE_ARRAY, _) if self.is_text() => return Ok(Values::Texts),
            (0, _) => "truth values",
            (INT32 | INT64, _) => "dates, times or decimals",
            (4 | 5, _) => "floating-point numbers",
            _ => "values of another type",
        };
        Err(format!("the column `{}` holds {what}; labels are whole numbers or texts", self.path))
    }
}

/// An entry of the schema: a column, or the head of a group of the following entries.
#[derive(Default)]
struct Element {
    kind: Option<i64>,
    repetition: i64,
    name: String,
    children: i64,
    meaning: Option<i64>,
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

/// The index of a file.
#[derive(Default)]
struct Index {
    columns: Vec<Column>,
    /// Of each row group the rows and the columns' parts.
    groups: Vec<(i64, Vec<Part>)>,
    description: Option<Vec<u8>>,
    /// Where the index starts: pages lie before.
    limit: u64,
}

/// The parts of a file's column of images.
pub(super) fn read(path: &Path) -> Result<Vec<Chunk>, String> {
    let mut index = read_index(path, false)?;
    let column = choose(std::mem::take(&mut index.columns))?;
    index.chunks(&column, "images")
}

/// The column of labels of a file: the one named `wanted` or `wanted_label`, or else a usual one. None where it has no
/// such column and none was wanted.
pub(super) fn read_labels(path: &Path, wanted: Option<&str>) -> Result<Option<LabelColumn>, String> {
    let mut index = read_index(path, true)?;
    let mut columns = std::mem::take(&mut index.columns);
    let top = |column: &Column| column.path.split('.').next().unwrap_or_default().to_owned();
    let found = match wanted {
        Some(name) => {
            let longer = format!("{name}_label");
            let at = [name, &longer].iter().find_map(|name| columns.iter().position(|column| column.path == *name));
            Some(at.ok_or_else(|| {
                let mut names: Vec<String> = columns.iter().map(|column| column.path.clone()).take(10).collect();
                names.dedup();
                format!("it has no column `{name}`; its columns are {}", names.join(", "))
            })?)
        }
        None => LABELS.iter().find_map(|name| columns.iter().position(|column| top(column) == *name)),
    };
    let Some(at) = found else { return Ok(None) };
    let column = columns.swap_remove(at);
    if column.repeated || (wanted.is_none() && column.path.contains('.')) {
        return Err(format!("the column `{}` is part of a list or structure; labels are one value a row", column.path));
    }
    let values = column.values()?;
    let chunks = index.chunks(&column, "labels")?;
    Ok(Some(LabelColumn { name: column.path, values, chunks, description: index.description }))
}

/// Reads the index of a file, with what its writer adds where that is wanted.
fn read_index(path: &Path, described: bool) -> Result<Index, String> {
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
    let mut index = Index { limit: length - 8 - size, ..Index::default() };
    let mut elements = Vec::new();
    Reader::new(&bytes).structure(|reader, number, _| {
        match number {
            2 => elements = reader.list(element)?,
            4 => index.groups = reader.list(group)?,
            5 if described => index.description = reader.list(description)?.into_iter().flatten().next(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    index.columns = columns(&elements)?;
    Ok(index)
}

/// The value of a pair of what a writer adds, if it is Hugging Face's description.
fn description(reader: &mut Reader) -> Result<Option<Vec<u8>>, String> {
    let (mut is_it, mut value) = (false, None);
    reader.structure(|reader, number, field| {
        match (number, field) {
            (1, Field::Open) => is_it = reader.binary()? == DESCRIPTION,
            (2, Field::Open) if is_it => value = Some(reader.binary()?.to_vec()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(value)
}

impl Index {
    /// A column's part of each row group that has rows; groups without rows have no pages.
    fn chunks(&mut self, column: &Column, what: &str) -> Result<Vec<Chunk>, String> {
        let mut total = 0u64;
        let parts = std::mem::take(&mut self.groups).into_iter().map(|(rows, mut parts)| {
            let part = if column.number < parts.len() { parts.swap_remove(column.number) } else { Part::default() };
            let chunk = chunk(&part, rows, column, self.limit, what)?;
            total += chunk.rows as u64;
            match total < 1 << 32 {
                true => Ok(chunk),
                false => Err("it names more than 2³² rows".into()),
            }
        });
        parts.filter(|chunk| chunk.as_ref().map_or(true, |chunk| chunk.rows > 0)).collect()
    }
}

fn chunk(part: &Part, rows: i64, column: &Column, limit: u64, what: &str) -> Result<Chunk, String> {
    if part.elsewhere {
        return Err(format!("its column of {what} lies in another file"));
    }
    let packing = match part.codec {
        0 => Packing::None,
        1 => Packing::Snappy,
        2 => Packing::Gzip,
        other => {
            let names = [(3, "LZO"), (4, "Brotli"), (5, "LZ4"), (6, "zstd"), (7, "LZ4")];
            let name = names.iter().find(|(number, _)| *number == other).map_or("an unknown method", |(_, name)| name);
            return Err(format!("its {what} are packed with {name}; write it with Snappy, gzip or none"));
        }
    };
    let start = part.dictionary.filter(|&at| at > 0).map_or(part.first_page, |at| at.min(part.first_page));
    let damaged = |_| "its index is damaged; fetch it again".to_string();
    let (start, length) = (u64::try_from(start).map_err(damaged)?, u64::try_from(part.length).map_err(damaged)?);
    let (rows, values) = (u32::try_from(rows).map_err(damaged)?, u32::try_from(part.values).map_err(damaged)?);
    let end = start.checked_add(length).filter(|&end| end <= limit);
    match end {
        Some(end) if rows == values => {
            let width = [(INT32, 4), (INT64, 8)].into_iter().find(|(kind, _)| *kind == column.kind);
            let (full_level, width) = (column.full_level, width.map(|(_, width)| width));
            Ok(Chunk { rows: rows as usize, start, end, packing, full_level, width })
        }
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
            (6, Field::Number(meaning)) => element.meaning = Some(meaning),
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

/// The columns.
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
            let (kind, meaning) = (element.kind.unwrap_or(-1), element.meaning);
            columns.push(Column { number, path, full_level: level, kind, meaning, repeated });
            number += 1;
        }
    }
    Ok(columns)
}

/// The column of images: the only one of bytes, or the one that is named so.
fn choose(mut columns: Vec<Column>) -> Result<Column, String> {
    columns.retain(Column::may_be_images);
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
