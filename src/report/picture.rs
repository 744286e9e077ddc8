//! Composes images side by side with titles above and a caption below, and writes pictures safely.

use std::{io, path::Path};

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

use crate::{
    durable::write_atomically,
    error::{Error, Result},
};

/// Side that small images are enlarged to, in pixels, as far as a whole factor goes.
const LEGIBLE: usize = 256;
/// White space around panels and text, in pixels.
const MARGIN: usize = 16;
/// Side of a character in the picture: 8 × 8 dots, each 2 × 2 pixels.
const GLYPH: usize = 16;
/// From one line of text to the next, in pixels.
const LINE: usize = 22;
const DOT: usize = GLYPH / 8;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([32, 32, 32]);

/// One image of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// Written above the image.
    pub title: &'a str,
    /// height × width × 3 values, row by row, red, green and blue.
    pub rgb: &'a [u8],
}

/// The panels, each `height` × `width` pixels, side by side on white: titles above, `caption` below, both broken into
/// lines that fit. Images smaller than 256 pixels are enlarged by the largest whole factor that stays within, each pixel
/// a square. Panics if there is no panel or one has another size.
pub fn compose(panels: &[Panel], height: usize, width: usize, caption: &str) -> RgbImage {
    assert!(!panels.is_empty() && height > 0 && width > 0, "a picture needs a panel with pixels");
    for panel in panels {
        assert_eq!(panel.rgb.len(), height * width * 3, "values of `{}` for {height} × {width} pixels", panel.title);
    }
    let (scale, pitch) = (scale(height, width), pitch(height, width));
    let (high, wide) = (height * scale, width * scale);
    let columns = |pixels: usize| pixels / GLYPH;
    let full = composed_width(panels.len(), height, width);
    let titles: Vec<Vec<String>> = panels.iter().map(|panel| wrap(panel.title, columns(pitch - MARGIN))).collect();
    let caption = wrap(caption, columns(full - 2 * MARGIN));
    let title_lines = titles.iter().map(Vec::len).max().unwrap_or(0);
    let top = MARGIN + title_lines * LINE;
    let below = top + high + MARGIN;
    let size = (full as u32, (below + caption.len() * LINE + MARGIN) as u32);
    let mut picture = RgbImage::from_pixel(size.0, size.1, PAPER);
    for (i, (panel, title)) in panels.iter().zip(&titles).enumerate() {
        let left = MARGIN + i * pitch;
        let first = top - title.len() * LINE;
        title.iter().enumerate().for_each(|(row, line)| write(&mut picture, left, first + row * LINE, line));
        for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
            let at = (y / scale * width + x / scale) * 3;
            let pixel = Rgb([panel.rgb[at], panel.rgb[at + 1], panel.rgb[at + 2]]);
            picture.put_pixel((left + x) as u32, (top + y) as u32, pixel);
        }
    }
    caption.iter().enumerate().for_each(|(row, line)| write(&mut picture, MARGIN, below + row * LINE, line));
    picture
}

/// Draws one line of text with its upper left corner at (`left`, `top`).
fn write(picture: &mut RgbImage, left: usize, top: usize, line: &str) {
    for (i, character) in line.chars().enumerate() {
        for (row, dots) in glyph(character).into_iter().enumerate() {
            for column in (0..8).filter(|column| dots >> column & 1 == 1) {
                let (x, y) = (left + i * GLYPH + column * DOT, top + row * DOT);
                for (dx, dy) in (0..DOT).flat_map(|dx| (0..DOT).map(move |dy| (dx, dy))) {
                    picture.put_pixel((x + dx) as u32, (y + dy) as u32, INK);
                }
            }
        }
    }
}

/// Eight rows of dots, the lowest bit leftmost; `?` for characters outside Latin-1.
fn glyph(character: char) -> [u8; 8] {
    let plain = match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        other => other,
    };
    BASIC_FONTS.get(plain).or_else(|| LATIN_FONTS.get(plain)).or_else(|| BASIC_FONTS.get('?')).unwrap_or([0xff; 8])
}

/// Breaks text into lines of at most `columns` characters, between words where it can.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let used = line.chars().count();
            if used > 0 && used + 1 + word.chars().count() > columns {
                lines.push(std::mem::take(&mut line));
            } else if used > 0 {
                line.push(' ');
            }
            for character in word.chars() {
                if line.chars().count() == columns {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(character);
            }
        }
        lines.push(line);
    }
    lines
}

/// The width of a picture of `panels` panels of `height` × `width` pixels each, as [`compose`] makes it.
pub fn composed_width(panels: usize, height: usize, width: usize) -> usize {
    MARGIN + panels * pitch(height, width)
}

/// From the left side of a panel to that of the next. Narrow panels stand further apart, so that a title has at least ten
/// characters a line.
fn pitch(height: usize, width: usize) -> usize {
    (width * scale(height, width)).max(10 * GLYPH) + MARGIN
}

/// How many times a panel is enlarged.
fn scale(height: usize, width: usize) -> usize {
    (LEGIBLE / height.max(width)).max(1)
}

/// Whether a file that begins so can be a PNG of [`write_png`]: 8-bit RGB, or cut short.
pub(crate) fn is_begun_by(start: &[u8]) -> bool {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    start.starts_with(&png[..png.len().min(start.len())]) && start.get(24..26).is_none_or(|depth| depth == [8, 2])
}

/// The bytes of a picture as a PNG.
pub fn png(picture: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let written = picture.write_with_encoder(image::codecs::png::PngEncoder::new(&mut bytes));
    written.map(|()| bytes).map_err(io::Error::other)
}

/// Writes a PNG that is either whole or not there: see [`write_atomically`].
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    let bytes = png(picture).map_err(Error::io(path))?;
    write_atomically(path, |to| to.write_all(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    fn count(picture: &RgbImage, colour: [u8; 3]) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == colour).count()
    }

    #[test]
    fn small_images_are_enlarged_to_squares_and_large_ones_kept() {
        let rgb = [RED, BLUE].concat();
        let picture = compose(&[Panel { title: "", rgb: &rgb }], 1, 2, "");
        assert_eq!((count(&picture, RED), count(&picture, BLUE)), (128 * 128, 128 * 128));
        let rgb = RED.repeat(300 * 200);
        assert_eq!(count(&compose(&[Panel { title: "", rgb: &rgb }], 300, 200, ""), RED), 300 * 200);
    }

    #[test]
    fn panels_stand_side_by_side_in_order() {
        let panels = [Panel { title: "a", rgb: &RED }, Panel { title: "b", rgb: &BLUE }];
        let picture = compose(&panels, 1, 1, "");
        let reds = picture.enumerate_pixels().filter(|(_, _, p)| p.0 == RED).map(|(x, _, _)| x).max();
        let blues = picture.enumerate_pixels().filter(|(_, _, p)| p.0 == BLUE).map(|(x, _, _)| x).min();
        assert!(reds < blues, "{reds:?} {blues:?}");
    }

    #[test]
    fn a_caption_adds_lines_and_stays_on_the_paper() {
        let panel = [Panel { title: "original", rgb: &RED }];
        let short = compose(&panel, 1, 1, "word");
        let long = compose(&panel, 1, 1, &"word ".repeat(30));
        assert!(long.height() > short.height() && long.width() == short.width());
        let margin = long.width() - MARGIN as u32;
        assert!(long.enumerate_pixels().all(|(x, _, p)| x < margin || p.0 == PAPER.0));
        assert!(count(&long, INK.0) > 20 * count(&short, INK.0) / 4);
    }

    #[test]
    fn lines_break_between_words_and_inside_long_ones() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert!(wrap("", 5).is_empty());
    }

    #[test]
    fn letters_outside_latin_1_become_question_marks() {
        assert_eq!(glyph('漢'), glyph('?'));
        assert_ne!(glyph('é'), glyph('?'));
        assert_ne!(glyph('×'), glyph('?'));
        assert_eq!(glyph('–'), glyph('-'));
    }

    #[test]
    fn a_written_png_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let picture = compose(&[Panel { title: "a", rgb: &RED }], 1, 1, "b");
        write_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().into_rgb8(), picture);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(write_png(&folder.path().join("none/picture.png"), &picture).unwrap_err().exit_code(), 6);
    }
}
