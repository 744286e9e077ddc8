//! Composes images side by side with titles above and a caption below, and writes pictures safely.

use std::{io, path::Path};

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

use crate::{
    durable::write_atomically,
    error::{Error, Result},
};

/// Side that small images are enlarged to, in pixels, as far as a whole factor goes.
const LEGIBLE: usize = 256;
/// White space around panels and text, in pixels.
pub(super) const MARGIN: usize = 16;
/// Pixels that a title may take even above a narrow panel.
const TITLE: usize = 160;
/// Height of the font, in pixels.
const HEIGHT: f32 = 18.0;
/// From one line of text to the next, in pixels.
pub(super) const LINE: usize = 22;
/// DejaVu Sans, its Latin-1 part (src/report/font/LICENSE).
const FONT: &[u8] = include_bytes!("font/DejaVuSans.ttf");
pub(super) const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
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
    let font = font();
    let full = composed_width(panels.len(), height, width);
    let titles: Vec<Vec<String>> = panels.iter().map(|panel| wrap(&font, panel.title, pitch - MARGIN)).collect();
    let caption = wrap(&font, caption, full - 2 * MARGIN);
    let title_lines = titles.iter().map(Vec::len).max().unwrap_or(0);
    let top = MARGIN + title_lines * LINE;
    let below = top + high + MARGIN;
    let size = (full as u32, (below + caption.len() * LINE + MARGIN) as u32);
    let mut picture = RgbImage::from_pixel(size.0, size.1, PAPER);
    for (i, (panel, title)) in panels.iter().zip(&titles).enumerate() {
        let left = MARGIN + i * pitch;
        let first = top - title.len() * LINE;
        title.iter().enumerate().for_each(|(row, line)| write(&mut picture, &font, left, first + row * LINE, line));
        for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
            let at = (y / scale * width + x / scale) * 3;
            let pixel = Rgb([panel.rgb[at], panel.rgb[at + 1], panel.rgb[at + 2]]);
            picture.put_pixel((left + x) as u32, (top + y) as u32, pixel);
        }
    }
    caption.iter().enumerate().for_each(|(row, line)| write(&mut picture, &font, MARGIN, below + row * LINE, line));
    picture
}

pub(super) fn font() -> FontRef<'static> {
    FontRef::try_from_slice(FONT).expect("the font that is built in")
}

/// Calls back with each character of a line and how far from its beginning it stands, in pixels; returns its width.
/// Characters that the font lacks are question marks.
fn place(font: &FontRef<'_>, line: &str, mut on: impl FnMut(ab_glyph::GlyphId, f32)) -> f32 {
    let scaled = font.as_scaled(PxScale::from(HEIGHT));
    let (mut x, mut before) = (0.0, None);
    for character in line.chars() {
        let glyph = match scaled.glyph_id(character) {
            ab_glyph::GlyphId(0) => scaled.glyph_id('?'),
            known => known,
        };
        x += before.map_or(0.0, |before| scaled.kern(before, glyph));
        on(glyph, x);
        x += scaled.h_advance(glyph);
        before = Some(glyph);
    }
    x
}

/// The width of one line of text, in pixels.
pub(super) fn text_width(line: &str) -> usize {
    place(&font(), line, |_, _| ()).ceil() as usize
}

/// Draws one line of text with its upper left corner at (`left`, `top`).
pub(super) fn write(picture: &mut RgbImage, font: &FontRef<'_>, left: usize, top: usize, line: &str) {
    let baseline = top as f32 + font.as_scaled(PxScale::from(HEIGHT)).ascent();
    place(font, line, |glyph, x| {
        let glyph = glyph.with_scale_and_position(HEIGHT, point(left as f32 + x, baseline));
        let Some(outline) = font.outline_glyph(glyph) else { return };
        let corner = outline.px_bounds().min;
        outline.draw(|x, y, cover| {
            let (x, y) = (corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y));
            let place = u32::try_from(x).ok().zip(u32::try_from(y).ok());
            if let Some(pixel) = place.and_then(|(x, y)| picture.get_pixel_mut_checked(x, y)) {
                let mixed =
                    |paper: u8, ink: u8| f32::from(paper) + (f32::from(ink) - f32::from(paper)) * cover.min(1.0);
                pixel.0 = [0, 1, 2].map(|c| mixed(pixel.0[c], INK.0[c]) as u8);
            }
        });
    });
}

/// Breaks text into lines of at most `pixels`, between words where it can.
pub(super) fn wrap(font: &FontRef<'_>, text: &str, pixels: usize) -> Vec<String> {
    let fits = |line: &str| place(font, line, |_, _| ()) <= pixels as f32;
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = format!("{line} {word}");
            if line.is_empty() || fits(&longer) {
                line = longer.trim_start().to_owned();
            } else {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            }
            while line.chars().count() > 1 && !fits(&line) {
                let mut head = line.clone();
                while head.chars().count() > 1 && !fits(&head) {
                    head.pop();
                }
                line = line[head.len()..].to_owned();
                lines.push(head);
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

/// From the left side of a panel to that of the next. Narrow panels stand further apart, so that a title has room.
fn pitch(height: usize, width: usize) -> usize {
    (width * scale(height, width)).max(TITLE) + MARGIN
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
        let inked = |picture: &RgbImage| picture.pixels().filter(|p| p.0 != PAPER.0 && p.0 != RED).count();
        assert!(inked(&long) > 5 * inked(&short));
    }

    #[test]
    fn lines_break_between_words_and_inside_long_ones() {
        let font = font();
        let of = |text: &str| place(&font, text, |_, _| ()).ceil() as usize;
        assert_eq!(wrap(&font, "one two  three", of("one two")), ["one two", "three"]);
        assert_eq!(wrap(&font, "mmmmmmm ij", of("mmm")), ["mmm", "mmm", "m ij"]);
        assert_eq!(wrap(&font, "a\n\nb", 50), ["a", "", "b"]);
        assert_eq!(wrap(&font, "mm", 1), ["m", "m"], "a line has at least one character");
        assert!(wrap(&font, "", 50).is_empty());
    }

    #[test]
    fn letters_outside_the_font_become_question_marks() {
        let font = font();
        let glyph = |character: char| {
            let mut found = None;
            place(&font, &character.to_string(), |glyph, _| found = Some(glyph));
            found.unwrap()
        };
        assert_eq!(glyph('漢'), glyph('?'));
        for known in ['é', '×', '–', '−', '’', '…'] {
            assert_ne!(glyph(known), glyph('?'), "{known}");
        }
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
