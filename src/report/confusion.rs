//! A confusion matrix as a picture and as CSV: which classes are taken for which.

use std::io::{self, Write};

use image::{Rgb, RgbImage, imageops};

use super::picture::{LINE, MARGIN, PAPER, font, text_width, wrap, write};
use crate::text::csv_field;

/// Classes up to which cells show their numbers, and up to which rows and columns have names.
const NUMBERED: usize = 24;
const NAMED: usize = 64;

/// The widest that a name may be, in pixels; a longer one is cut off.
const NAME: usize = 200;

/// Between names and cells, in pixels.
const GAP: usize = 8;

/// The darkest colour of a cell, on which black letters can still be read.
const DARKEST: [f64; 3] = [70.0, 140.0, 215.0];

/// The matrix `counts` of images by class (a row) and by what they were taken for (a column) as a picture: the darker a cell,
/// the larger its share of its row. Small matrices have names and numbers; larger ones are colours alone.
///
/// # Panics
/// When there are no classes.
pub fn draw(names: &[String], counts: &[Vec<u32>], caption: &str) -> RgbImage {
    let count = names.len();
    assert!(count > 0 && counts.len() == count, "a row for each class");
    let font = font();
    let cell = match count {
        0..=NUMBERED => 46,
        _ if count <= NAMED => LINE,
        _ if count <= 400 => 2,
        _ => 1,
    };
    let shown: Vec<String> = match count {
        ..=NAMED => names.iter().map(|name| cut(name)).collect(),
        _ => Vec::new(),
    };
    let widest = shown.iter().map(|name| text_width(name)).max().unwrap_or(0);
    // Above the columns and left of the rows: what they are, and the names.
    let before = LINE + if widest > 0 { widest + 2 * GAP } else { GAP };
    let (left, side) = (MARGIN + before, count * cell);
    let width = (left + side + MARGIN).max(480);
    let lines = wrap(&font, caption, width - 2 * MARGIN);
    let top = MARGIN + before;
    let below = top + side + MARGIN;
    let height = below + lines.len() * LINE + MARGIN;
    let mut picture = RgbImage::from_pixel(width as u32, height as u32, PAPER);
    let [across, down] = ["taken for", "class"].map(|text| side.saturating_sub(text_width(text)) / 2);
    write(&mut picture, &font, left + across, MARGIN, "taken for");
    upright(&mut picture, "class", (MARGIN, top + down), text_width("class"));
    for (at, name) in shown.iter().enumerate() {
        let middle = cell.saturating_sub(LINE) / 2;
        write(&mut picture, &font, left - GAP - text_width(name), top + at * cell + middle, name);
        upright(&mut picture, name, (left + at * cell + middle, top - GAP - widest), widest);
    }
    for (y, row) in counts.iter().enumerate() {
        let all = row.iter().map(|count| u64::from(*count)).sum::<u64>().max(1) as f64;
        for (x, images) in row.iter().enumerate() {
            let share = f64::from(*images) / all;
            let colour = DARKEST.map(|dark| (255.0 + (dark - 255.0) * share.sqrt()).round() as u8);
            let corner = (left + x * cell, top + y * cell);
            // Room for a line between cells that are large enough to have one.
            let inner = if cell > 4 { cell - 1 } else { cell };
            for (dy, dx) in (0..inner).flat_map(|dy| (0..inner).map(move |dx| (dy, dx))) {
                picture.put_pixel((corner.0 + dx) as u32, (corner.1 + dy) as u32, Rgb(colour));
            }
            if count <= NUMBERED && *images > 0 {
                let text = number(*images);
                let at = corner.0 + inner.saturating_sub(text_width(&text)) / 2;
                write(&mut picture, &font, at, corner.1 + (cell - LINE) / 2, &text);
            }
        }
    }
    lines.iter().enumerate().for_each(|(row, line)| write(&mut picture, &font, MARGIN, below + row * LINE, line));
    picture
}

/// A number that fits a cell: thousands from 10,000 on.
fn number(images: u32) -> String {
    match images {
        0..10_000 => images.to_string(),
        10_000..10_000_000 => format!("{}k", images / 1000),
        _ => format!("{}M", images / 1_000_000),
    }
}

/// A name that is not too wide.
fn cut(name: &str) -> String {
    let mut held: String = name.chars().take(200).collect();
    if text_width(&held) <= NAME && held.len() == name.len() {
        return held;
    }
    while !held.is_empty() && text_width(&held) > NAME {
        held.pop();
    }
    held.pop();
    held + "…"
}

/// Writes text from below to above, its lower end at the bottom of a column of `height` pixels whose upper left corner is
/// `corner`.
fn upright(picture: &mut RgbImage, text: &str, (left, top): (usize, usize), height: usize) {
    let mut lying = RgbImage::from_pixel(height as u32, LINE as u32, PAPER);
    write(&mut lying, &font(), 0, 0, text);
    imageops::overlay(picture, &imageops::rotate270(&lying), left as i64, top as i64);
}

/// Writes the matrix as CSV: a line of the names that images were taken for, then a line for each class.
pub fn write_csv(to: &mut dyn Write, names: &[String], counts: &[Vec<u32>]) -> io::Result<()> {
    let names: Vec<_> = names.iter().map(|name| csv_field(name)).collect();
    writeln!(to, "class / taken for,{}", names.join(","))?;
    for (name, row) in names.iter().zip(counts) {
        write!(to, "{name}")?;
        row.iter().try_for_each(|count| write!(to, ",{count}"))?;
        writeln!(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_shares_are_darker_and_names_make_room() {
        let names = ["cat", "a name that is longer"].map(String::from);
        let picture = draw(&names, &[vec![9, 1], vec![0, 10]], "two classes");
        let darkness = |colour: [u8; 3]| picture.pixels().filter(|pixel| pixel.0 == colour).count();
        let of = |share: f64| DARKEST.map(|dark| (255.0 + (dark - 255.0) * share.sqrt()).round() as u8);
        // The numbers take some of the pixels.
        for share in [1.0, 0.9, 0.1] {
            assert!((1500..=45 * 45).contains(&darkness(of(share))), "{share}: {}", darkness(of(share)));
        }
        let short = draw(&["a", "b"].map(String::from), &[vec![9, 1], vec![0, 10]], "two classes");
        assert!(picture.height() > short.height());
    }

    #[test]
    fn many_classes_stay_within_reason() {
        let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let picture = draw(&names, &vec![vec![1; 1000]; 1000], "");
        assert!((1000..1100).contains(&picture.width()) && picture.height() < 1200, "{:?}", picture.dimensions());
    }

    #[test]
    fn names_and_numbers_are_cut_to_fit() {
        assert_eq!((cut("airplane").as_str(), number(9999), number(12_345)), ("airplane", "9999".into(), "12k".into()));
        let long = cut(&"m".repeat(300));
        assert!(long.ends_with('…') && text_width(&long) <= NAME + text_width("…"));
    }

    #[test]
    fn a_line_of_csv_is_a_class() {
        let mut text = Vec::new();
        write_csv(&mut text, &["a", "b,c"].map(String::from), &[vec![2, 1], vec![0, 3]]).unwrap();
        let expected = "class / taken for,a,\"b,c\"\na,2,1\n\"b,c\",0,3\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
