//! JPEG: 8-bit Huffman-coded pictures, sequential and progressive, of one, three or four components.
//!
//! Read as libjpeg does, to the last unit: its order of evidence for colours, its arithmetic, any sampling factors that
//! divide each other, scans in any order. The crates for it read some of these layouts wrongly, take samples beyond the
//! picture into its last row and column, and fill what is missing with grey and say nothing.

mod huffman;
mod markers;
mod pixels;
mod scans;

use super::raster::Raster;
use markers::{Frame, Hints, Tables};
use scans::Blocks;

pub(super) use markers::Colour;
pub(super) use pixels::{inked, rgb};

/// What a file says before its pixels are decoded.
pub(super) struct Head<'b> {
    bytes: &'b [u8],
    frame: Frame,
    colour: Colour,
    /// Its metadata segments, `APP1`, in order.
    pub(super) notes: Vec<&'b [u8]>,
}

impl<'b> Head<'b> {
    /// Reads the segments before the first scan.
    ///
    /// # Errors
    /// In words: the file is cut short, damaged, or of a kind that is not read.
    pub(super) fn of(bytes: &'b [u8]) -> Result<Head<'b>, String> {
        let (mut at, mut frame, mut hints, mut notes) = (2, None, Hints::default(), Vec::new());
        loop {
            let marker = markers::next(bytes, at)?;
            at = marker.end;
            match marker.code {
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF if frame.is_none() => {
                    frame = Some(markers::frame(&marker)?);
                }
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    return Err("the JPEG has two frames in one".into());
                }
                0xD8 => return Err("the JPEG begins twice".into()),
                0xD9 => return Err("the JPEG has no picture".into()),
                0xDA => break,
                0xE1 => notes.push(marker.segment),
                _ => hints.take(&marker),
            }
        }
        let frame = frame.ok_or("the JPEG has no frame header")?;
        let colour = hints.colour(&frame);
        Ok(Head { bytes, frame, colour, notes })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.frame.width as u32, self.frame.height as u32)
    }

    /// Values of a pixel.
    pub(super) fn components(&self) -> usize {
        self.frame.components.len()
    }

    /// Takes the colours that a file around this one tells, if there are as many components.
    pub(super) fn recolour(&mut self, colour: Colour) {
        let count = match colour {
            Colour::Grey => 1,
            Colour::YCbCr | Colour::Rgb => 3,
            Colour::Cmyk | Colour::Ycck => 4,
        };
        if count == self.frame.components.len() {
            self.colour = colour;
        }
    }

    /// What a pixel consists of.
    pub(super) fn kind(&self) -> &'static str {
        match self.colour {
            Colour::Grey => "grey",
            Colour::YCbCr | Colour::Rgb => "RGB",
            Colour::Cmyk | Colour::Ycck => "CMYK",
        }
    }

    /// The pixels.
    ///
    /// # Errors
    /// As [`Head::of`]; pixels are missing.
    pub(super) fn decode(&self) -> Result<Raster, String> {
        let (bytes, frame) = (self.bytes, &self.frame);
        let mut tables = Tables::default();
        let mut blocks = Blocks::of(frame);
        let mut at = 2;
        // What is whole needs no end marker; whatever stands behind it is not the picture's.
        while !blocks.iter().all(Blocks::whole) {
            let marker = markers::next(bytes, at)?;
            at = marker.end;
            match marker.code {
                0xD9 => return Err("the JPEG ends before its last scan".into()),
                0xDA => {
                    let scan = markers::scan(marker.segment, frame)?;
                    at = scans::decode(bytes, at, frame, &scan, &tables, &mut blocks)?;
                }
                _ => tables.set(&marker)?,
            }
        }
        // Zero bytes to the end of the file, of which the last ones read are some, were never written.
        let (read, behind) = bytes.split_at(at);
        let unwritten: &[u8] = if behind.is_empty() { &[0, 0] } else { &[0] };
        if read.ends_with(unwritten) && behind.iter().all(|&byte| byte == 0) {
            return Err("the JPEG is cut short: zero bytes are in the place of its end".into());
        }
        let channels = if self.colour == Colour::Grey { 1 } else { 3 };
        let pixels = pixels::render(frame, blocks, self.colour);
        Ok(Raster { width: frame.width, height: frame.height, channels, pixels })
    }
}
