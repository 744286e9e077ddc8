//! The column of labels of a parquet file.

use std::path::Path;

use super::super::labels::{Labels, Numbered, Texts, listed, whole};
use super::footer::{self, Chunk, Values};
use super::pages;

/// The labels of the `rows` rows of a file: of the column `wanted`, or of the usual one if it has it.
///
/// # Errors
/// In words, without the path: there is no such column, it holds no labels, or it is damaged.
pub(super) fn read(path: &Path, rows: usize, wanted: Option<&str>) -> Result<Labels, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if rows as u64 > length {
        return Err(format!("its index names {rows} rows, more than the file has bytes; fetch it again"));
    }
    let Some(column) = footer::read_labels(path, wanted)? else { return Ok(Labels::none(rows)) };
    let name = &column.name;
    let at = |row: usize, reason: String| format!("column `{name}`, row {row}: {reason}");
    match column.values {
        Values::Numbers { signed } => {
            let names = column.description.map_or(Ok(None), |json| listed::feature(&json, name))?;
            let mut labels = Numbered::new(names);
            let push = |row, value: Option<&[u8]>| {
                labels.push(value.map(|bytes| whole(bytes, false, signed))).map_err(|reason| at(row, reason))
            };
            each_value(path, name, &column.chunks, push)?;
            Ok(labels.finish())
        }
        Values::Texts => {
            let mut labels = Texts::default();
            let push = |row, value: Option<&[u8]>| labels.push(value).map_err(|reason| at(row, reason));
            each_value(path, name, &column.chunks, push)?;
            labels.finish().map_err(|reason| format!("column `{name}`: {reason}"))
        }
    }
}

/// Gives the values of a column in order to `take`, each with its row in the file.
fn each_value(
    path: &Path,
    name: &str,
    chunks: &[Chunk],
    mut take: impl FnMut(usize, Option<&[u8]>) -> Result<(), String>,
) -> Result<(), String> {
    let mut first = 0;
    for chunk in chunks {
        let damaged = |reason: String| format!("column `{name}`, from row {first}: {reason}");
        let places = pages::list(path, chunk).map_err(damaged)?;
        let mut dictionary = None;
        let mut row = first;
        for place in &places {
            let page = pages::unpack(path, chunk, place, dictionary.as_ref()).map_err(damaged)?;
            if place.is_dictionary() {
                dictionary = Some(page);
                continue;
            }
            for number in 0..place.rows {
                take(row, page.value(number))?;
                row += 1;
            }
        }
        first += chunk.rows;
    }
    Ok(())
}
