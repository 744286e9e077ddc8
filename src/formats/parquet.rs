//! Writes parquet files of texts, whole numbers and rows of f32: no nulls, plain encoding, no compression. The format is
//! <https://github.com/apache/parquet-format>, its structures are in Thrift's compact protocol.

use std::io::{self, Write};

/// About how many bytes of rows a row group holds.
const GROUP_BYTES: usize = 8 << 20;

const MAGIC: &[u8] = b"PAR1";

/// The types of Thrift's fields.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Parquet's numbers.
const REQUIRED: i64 = 0;
const REPEATED: i64 = 2;
const PLAIN: i64 = 0;
const RLE: i64 = 3;

/// The values of a column.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// A text a row.
    Texts(&'a [String]),
    /// A whole number a row.
    Integers(&'a [i64]),
    /// So many values a row, a list in the file.
    Rows(usize, &'a [f32]),
}

impl Column<'_> {
    fn rows(&self) -> usize {
        match self {
            Column::Texts(texts) => texts.len(),
            Column::Integers(values) => values.len(),
            Column::Rows(width, values) => values.len() / width,
        }
    }

    /// Parquet's number of the type of a value.
    fn kind(&self) -> i64 {
        match self {
            Column::Texts(_) => 6,
            Column::Integers(_) => 2,
            Column::Rows(..) => 4,
        }
    }

    /// The data of a page of rows: levels, where there are any, and values.
    fn page(&self, rows: std::ops::Range<usize>) -> Vec<u8> {
        match self {
            Column::Texts(texts) => texts[rows]
                .iter()
                .flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat())
                .collect(),
            Column::Integers(values) => values[rows].iter().flat_map(|value| value.to_le_bytes()).collect(),
            Column::Rows(width, values) => {
                // The first value of a row begins a list, the others go on with it, and all are there.
                let (first, others) = (run(1, 0), if *width > 1 { run(width - 1, 1) } else { Vec::new() });
                let repetition = [first, others].concat().repeat(rows.len());
                let definition = run(rows.len() * width, 1);
                let values = &values[rows.start * width..rows.end * width];
                let mut page = Vec::with_capacity(repetition.len() + 32 + values.len() * 4);
                for levels in [repetition, definition] {
                    page.extend((levels.len() as u32).to_le_bytes());
                    page.extend(levels);
                }
                page.extend_from_slice(bytemuck::cast_slice(values));
                page
            }
        }
    }
}

/// A run of a level of one bit, as the hybrid of run lengths and packed bits has it.
fn run(count: usize, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, (count as u64) << 1);
    bytes.push(level);
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A structure of Thrift's in the making.
#[derive(Default)]
struct Structure {
    bytes: Vec<u8>,
    last: u8,
}

impl Structure {
    /// A field's head; fields come in the order of their numbers.
    fn field(&mut self, id: u8, kind: u8) -> &mut Vec<u8> {
        assert!(id > self.last && id - self.last < 16, "fields ascend");
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
        &mut self.bytes
    }

    fn number(mut self, id: u8, kind: u8, value: i64) -> Structure {
        zigzag(self.field(id, kind), value);
        self
    }

    fn i32(self, id: u8, value: i64) -> Structure {
        self.number(id, I32, value)
    }

    fn i64(self, id: u8, value: i64) -> Structure {
        self.number(id, I64, value)
    }

    fn text(mut self, id: u8, text: &str) -> Structure {
        self.field(id, BINARY).extend(binary(text));
        self
    }

    fn structure(mut self, id: u8, inner: Structure) -> Structure {
        self.field(id, STRUCT).extend(inner.end());
        self
    }

    /// A list of items of a type, each of which is given as its bytes.
    fn list(mut self, id: u8, kind: u8, items: Vec<Vec<u8>>) -> Structure {
        let bytes = self.field(id, LIST);
        match items.len() {
            count @ ..15 => bytes.push((count as u8) << 4 | kind),
            count => {
                bytes.push(0xF0 | kind);
                varint(bytes, count as u64);
            }
        }
        bytes.extend(items.concat());
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn zigzag(bytes: &mut Vec<u8>, value: i64) {
    varint(bytes, (value << 1 ^ value >> 63) as u64);
}

fn binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
    bytes
}

fn thrift() -> Structure {
    Structure::default()
}

/// The elements of the schema that describe a column.
fn schema(name: &str, column: &Column<'_>) -> Vec<Vec<u8>> {
    let value = |repetition: i64, name: &str| thrift().i32(1, column.kind()).i32(3, repetition).text(4, name);
    match column {
        Column::Integers(_) => vec![value(REQUIRED, name).end()],
        // The converted type UTF8, and the logical type STRING.
        Column::Texts(_) => {
            vec![value(REQUIRED, name).i32(6, 0).structure(10, thrift().structure(1, thrift())).end()]
        }
        // The converted and the logical type LIST.
        Column::Rows(..) => vec![
            thrift()
                .i32(3, REQUIRED)
                .text(4, name)
                .i32(5, 1)
                .i32(6, 3)
                .structure(10, thrift().structure(3, thrift()))
                .end(),
            thrift().i32(3, REPEATED).text(4, "list").i32(5, 1).end(),
            value(REQUIRED, "element").end(),
        ],
    }
}

/// Writes a file of columns with as many rows each, and `metadata` as its keys and values.
///
/// # Panics
/// When a column has another number of rows than the first.
pub fn write(to: &mut dyn Write, metadata: &[(&str, String)], columns: &[(&str, Column<'_>)]) -> io::Result<()> {
    let rows = columns.first().map_or(0, |(_, column)| column.rows());
    assert!(columns.iter().all(|(_, column)| column.rows() == rows), "as many rows in each column");
    let widest = columns.iter().map(|(_, column)| if let Column::Rows(width, _) = column { *width } else { 1 }).max();
    let group = (GROUP_BYTES / (4 * widest.unwrap_or(1))).max(1);
    to.write_all(MAGIC)?;
    let (mut offset, mut groups) = (MAGIC.len(), Vec::new());
    for first in (0..rows).step_by(group) {
        let range = first..(first + group).min(rows);
        let (begin, mut chunks) = (offset, Vec::new());
        for (name, column) in columns {
            let page = column.page(range.clone());
            let (path, values) = match column {
                Column::Rows(width, _) => (vec![*name, "list", "element"], range.len() * width),
                _ => (vec![*name], range.len()),
            };
            let data = thrift().i32(1, values as i64).i32(2, PLAIN).i32(3, RLE).i32(4, RLE);
            let head = thrift().i32(1, 0).i32(2, page.len() as i64).i32(3, page.len() as i64).structure(5, data).end();
            to.write_all(&head)?;
            to.write_all(&page)?;
            let length = (head.len() + page.len()) as i64;
            let encodings = [PLAIN, RLE].map(|encoding| {
                let mut bytes = Vec::new();
                zigzag(&mut bytes, encoding);
                bytes
            });
            let chunk = thrift()
                .i32(1, column.kind())
                .list(2, I32, encodings.to_vec())
                .list(3, BINARY, path.into_iter().map(binary).collect())
                .i32(4, 0)
                .i64(5, values as i64)
                .i64(6, length)
                .i64(7, length)
                .i64(9, offset as i64);
            chunks.push(thrift().i64(2, offset as i64).structure(3, chunk).end());
            offset += head.len() + page.len();
        }
        groups.push(thrift().list(1, STRUCT, chunks).i64(2, (offset - begin) as i64).i64(3, range.len() as i64).end());
    }
    let root = thrift().text(4, "schema").i32(5, columns.len() as i64).end();
    let schema = columns.iter().flat_map(|(name, column)| schema(name, column));
    let pairs = metadata.iter().map(|(key, value)| thrift().text(1, key).text(2, value).end());
    let footer = thrift()
        .i32(1, 1)
        .list(2, STRUCT, std::iter::once(root).chain(schema).collect())
        .i64(3, rows as i64)
        .list(4, STRUCT, groups)
        .list(5, STRUCT, pairs.collect())
        .text(6, concat!("bootmae version ", env!("CARGO_PKG_VERSION")))
        .end();
    to.write_all(&footer)?;
    to.write_all(&(footer.len() as u32).to_le_bytes())?;
    to.write_all(MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What `pyarrow` itself reads; says that it is skipped where Python or that package is missing. `PYTHON` names another
    /// interpreter.
    #[test]
    fn pyarrow_reads_what_was_written() {
        let python = std::env::var("PYTHON").unwrap_or("python3".into());
        let found = Command::new(&python).args(["-c", "import pyarrow.parquet"]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: {python} has no pyarrow");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        // Three row groups of different lengths, lists of one run's length in two bytes.
        let (rows, width) = (2 * (GROUP_BYTES / 4 / 300) + 5, 300);
        let names: Vec<String> = (0..rows).map(|row| format!("Bär {row}")).collect();
        let labels: Vec<i64> = (0..rows as i64).map(|row| row % 7 - 1).collect();
        let values: Vec<f32> = (0..rows * width).map(|at| at as f32 * 0.5).collect();
        let single: Vec<f32> = (0..rows).map(|at| -(at as f32)).collect();
        let columns = [
            ("name", Column::Texts(&names)),
            ("label", Column::Integers(&labels)),
            ("features", Column::Rows(width, &values)),
            ("single", Column::Rows(1, &single)),
        ];
        let mut file = std::fs::File::create(&path).unwrap();
        write(&mut file, &[("note", "ä".repeat(200))], &columns).unwrap();
        let script = format!(
            "import pyarrow as pa, pyarrow.parquet as pq, numpy as np, sys\n\
             f = pq.ParquetFile(sys.argv[1]); t = f.read(); n, d = {rows}, {width}\n\
             assert f.num_row_groups == 3 and t.num_rows == n, (f.num_row_groups, t.num_rows)\n\
             assert str(t.schema.types) == \"[DataType(string), DataType(int64), ListType(list<element: float not null>), \
             ListType(list<element: float not null>)]\", t.schema.types\n\
             assert t['name'].to_pylist() == [f'Bär {{i}}' for i in range(n)]\n\
             assert (t['label'].to_numpy() == np.arange(n) % 7 - 1).all()\n\
             v = t['features'].combine_chunks(); assert (np.diff(v.offsets) == d).all()\n\
             assert (v.flatten().to_numpy() == np.arange(n * d, dtype='f4') * np.float32(0.5)).all()\n\
             assert (t['single'].combine_chunks().flatten().to_numpy() == -np.arange(n, dtype='f4')).all()\n\
             assert f.metadata.metadata[b'note'].decode() == 'ä' * 200\n"
        );
        let output = Command::new(&python).args(["-c", &script]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
