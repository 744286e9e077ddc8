//! TIFF and BigTIFF: the first page, of unsigned samples of 1 to 16 bits.
//!
//! The decoder of the crate `image` refuses palettes, grey with alpha and BigTIFF, and gives out floats, 32-bit samples
//! and premultiplied colours for what they are not. So layouts are read here; LZW, Deflate and CCITT Group 4 are
//! unpacked by crates.

mod directory;
mod unpack;

use super::jpeg;
use super::raster::{Raster, within_limits};
pub(super) use directory::Directory;
use unpack::{Chunk, Packing, SHORT, Size};

/// How the samples of a page are to be read.
pub(super) struct Page<'b> {
    bytes: &'b [u8],
    pub(super) width: u32,
    pub(super) height: u32,
    meaning: Meaning,
    /// Bits of a sample.
    bits: usize,
    /// Samples of a pixel in the file; those of its colour come first, then alpha.
    samples: usize,
    alpha: Alpha,
    /// Each sample in a plane by itself.
    planar: bool,
    /// Columns and rows of a strip or tile.
    chunk: (usize, usize),
    offsets: Vec<u64>,
    packing: Packing<'b>,
}

/// What the samples of a pixel mean.
enum Meaning {
    Grey { white_is_zero: bool },
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alpha {
    None,
    /// Colours are as they are.
    Beside,
    /// Colours are multiplied by it.
    Multiplied,
}

mod tag {
    pub const SUBFILE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIPS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const STRIP_ROWS: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOURS: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILES: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const INKS: u16 = 332;
    pub const EXTRA: u16 = 338;
    pub const FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const SUBSAMPLING: u16 = 530;
    pub const REFERENCE: u16 = 532;
    pub const CFA: u16 = 33421;
    pub const DNG: u16 = 50706;
    pub const ORIENTATION: u16 = 274;
    pub const XMP: u16 = 700;

    /// What decides over pixels.
    pub const ALL: [u16; 25] = [
        SUBFILE,
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        STRIPS,
        SAMPLES,
        STRIP_ROWS,
        STRIP_BYTES,
        PLANAR,
        PREDICTOR,
        COLOURS,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILES,
        TILE_BYTES,
        INKS,
        EXTRA,
        FORMAT,
        JPEG_TABLES,
        SUBSAMPLING,
        ORIENTATION,
        XMP,
    ];
}

impl<'b> Page<'b> {
    /// Reads the first directory.
    ///
    /// # Errors
    /// In words: the file is damaged or cut short, or its layout is one that is not read.
    pub(super) fn of(bytes: &'b [u8]) -> Result<Page<'b>, String> {
        let directory = Directory::of(bytes).filter(Directory::is_whole).ok_or(SHORT)?;
        if tag::ALL.iter().any(|&tag| directory.is_cut(tag)) {
            return Err(SHORT.into());
        }
        let lacks = |what: &str| format!("the TIFF is cut short or damaged: it has no {what}");
        let first = |tag: u16, default: u64| directory.integer(tag).unwrap_or(default);
        let (photometric, compression) = (first(tag::PHOTOMETRIC, 0), first(tag::COMPRESSION, 1));
        let raw = [tag::DNG, tag::CFA].iter().any(|&tag| directory.entry(tag).is_some());
        if raw || first(tag::SUBFILE, 0) & 1 == 1 || matches!(photometric, 32803 | 34892) {
            return Err("a camera's raw picture, or a TIFF that begins with a preview of another picture".into());
        }
        let side = |tag| directory.integer(tag).and_then(|side| u32::try_from(side).ok());
        let width = side(tag::WIDTH).ok_or_else(|| lacks("width"))?;
        let height = side(tag::HEIGHT).ok_or_else(|| lacks("height"))?;
        within_limits((width, height), 0, bytes.len())?;
        let (samples, bits) = depth(&directory)?;
        let colours = match photometric {
            2 | 6 => 3,
            5 => 4,
            _ => 1,
        };
        if samples < colours || samples > 32 {
            return Err(format!("a TIFF of {samples} samples a pixel, too few or too many for its colours"));
        }
        let extra = directory.integers(tag::EXTRA).unwrap_or_default();
        let alpha = match (samples - colours, extra.first()) {
            (0, _) => Alpha::None,
            (_, Some(1)) => Alpha::Multiplied,
            (_, Some(2 | 999)) => Alpha::Beside,
            // Without the tag, a fourth sample of RGB is alpha.
            (1, None) if photometric == 2 => Alpha::Beside,
            _ => Alpha::None,
        };
        let meaning = match photometric {
            0 | 1 => Meaning::Grey { white_is_zero: photometric == 0 },
            2 => Meaning::Rgb,
            3 if alpha == Alpha::Multiplied => return Err("a TIFF of palette colours multiplied by alpha".into()),
            3 => Meaning::Palette(palette(&directory, bits).ok_or_else(|| lacks("whole palette"))?),
            5 if first(tag::INKS, 1) != 1 => return Err("a TIFF of other inks than CMYK".into()),
            5 if alpha == Alpha::Multiplied => return Err("a TIFF of CMYK multiplied by alpha".into()),
            5 => Meaning::Cmyk,
            6 => Meaning::YCbCr,
            4 => return Err("a TIFF that is a mask of another picture".into()),
            8..=10 => return Err("a TIFF in CIE Lab colours, which are not read".into()),
            other => return Err(format!("a TIFF of colours of kind {other}, which are not read")),
        };
        if photometric == 6 && compression != 7 {
            let plain = directory.integers(tag::SUBSAMPLING).is_some_and(|factors| factors == [1, 1]);
            if !plain || bits != 8 || directory.entry(tag::REFERENCE).is_some() {
                return Err("a TIFF in subsampled YCbCr without JPEG, which is not read".into());
            }
        }
        let planar = first(tag::PLANAR, 1) == 2;
        let tiled = directory.entry(tag::TILES).is_some();
        let chunk = if tiled {
            (first(tag::TILE_WIDTH, 0), first(tag::TILE_HEIGHT, 0))
        } else {
            (width.into(), first(tag::STRIP_ROWS, height.into()).min(height.into()))
        };
        let (across, down) = match chunk {
            (1.., 1..) => (u64::from(width).div_ceil(chunk.0), u64::from(height).div_ceil(chunk.1)),
            _ => return Err(lacks("size of its strips or tiles")),
        };
        let (places, lengths) = if tiled { (tag::TILES, tag::TILE_BYTES) } else { (tag::STRIPS, tag::STRIP_BYTES) };
        let offsets = directory.integers(places).ok_or_else(|| lacks("pixels"))?;
        let wanted = across * down * if planar { samples as u64 } else { 1 };
        if offsets.len() as u64 != wanted || chunk.0.max(chunk.1) > 1 << 20 {
            return Err(format!("a TIFF of {} strips or tiles where there should be {wanted}", offsets.len()));
        }
        let packing = Packing {
            compression,
            reversed: first(tag::FILL_ORDER, 1) == 2,
            differences: first(tag::PREDICTOR, 1),
            lengths: directory.integers(lengths).unwrap_or_default(),
            tables: directory.entry(tag::JPEG_TABLES).map(|entry| entry.bytes()),
            little: directory.little(),
        };
        packing.check(bits)?;
        let chunk = (chunk.0 as usize, chunk.1 as usize);
        Ok(Page { bytes, width, height, meaning, bits, samples, alpha, planar, chunk, offsets, packing })
    }

    /// Samples of a pixel's colour in the file.
    fn colours(&self) -> usize {
        match self.meaning {
            Meaning::Grey { .. } | Meaning::Palette(_) => 1,
            Meaning::Rgb | Meaning::YCbCr => 3,
            Meaning::Cmyk => 4,
        }
    }

    /// What a pixel consists of.
    pub(super) fn kind(&self) -> String {
        let name = match (&self.meaning, self.alpha) {
            (Meaning::Grey { .. }, Alpha::None) => "grey",
            (Meaning::Grey { .. }, _) => "grey+alpha",
            (Meaning::Palette(_), _) => return "palette".into(),
            (Meaning::Cmyk, _) => "CMYK",
            (_, Alpha::None) => "RGB",
            (_, _) => "RGBA",
        };
        if self.bits == 8 { name.into() } else { format!("{}-bit {name}", self.bits) }
    }

    /// The pixels.
    ///
    /// # Errors
    /// In words: data are missing or damaged, or packed in a way that is not read.
    pub(super) fn decode(&self) -> Result<Raster, String> {
        let (width, height) = (self.width as usize, self.height as usize);
        let alpha = usize::from(self.alpha != Alpha::None);
        let kept = self.colours() + alpha;
        let channels = if matches!(self.meaning, Meaning::Grey { .. }) { 1 } else { 3 } + alpha;
        let mut pixels = vec![0; width * height * channels];
        let across = width.div_ceil(self.chunk.0);
        let down = height.div_ceil(self.chunk.1);
        let planes = if self.planar { kept } else { 1 };
        let together = if self.planar { 1 } else { self.samples };
        let colour = match self.meaning {
            Meaning::YCbCr if !self.planar => jpeg::Colour::YCbCr,
            _ => jpeg::Colour::Rgb,
        };
        let mut rows = vec![Vec::new(); planes];
        for place in 0..across * down {
            let (left, top) = (place % across * self.chunk.0, place / across * self.chunk.1);
            let (columns, lines) = (self.chunk.0.min(width - left), self.chunk.1.min(height - top));
            let size =
                Size { columns: self.chunk.0, rows: self.chunk.1, needed: lines, samples: together, bits: self.bits };
            let chunks = (0..planes).map(|plane| {
                let number = plane * across * down + place;
                Chunk::of(self.bytes, self.offsets[number], number, &self.packing, size, colour)
            });
            let chunks = chunks.collect::<Result<Vec<Chunk>, String>>()?;
            for line in 0..lines {
                chunks.iter().zip(&mut rows).for_each(|(chunk, row)| chunk.row(line, row));
                let out = &mut pixels[((top + line) * width + left) * channels..][..columns * channels];
                for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                    let value = |sample: usize| match self.planar {
                        true => rows[sample][column],
                        false => rows[0][column * together + sample],
                    };
                    self.colour(value, out);
                }
            }
        }
        Ok(Raster { width, height, channels, pixels })
    }

    /// One pixel from its samples.
    fn colour(&self, value: impl Fn(usize) -> u16, out: &mut [u8]) {
        let eight = |sample: usize| match self.bits {
            8 => value(sample) as u8,
            // As Pillow does.
            16 => (value(sample) >> 8) as u8,
            bits => {
                let most = (1u32 << bits) - 1;
                ((u32::from(value(sample)) * 255 + most / 2) / most) as u8
            }
        };
        let (colours, alpha) = match (&self.meaning, self.alpha) {
            (_, Alpha::None) => (out, None),
            _ => {
                let (alpha, colours) = out.split_last_mut().expect("alpha is a channel");
                *alpha = eight(self.colours());
                (colours, Some(*alpha))
            }
        };
        match &self.meaning {
            Meaning::Grey { white_is_zero } => colours[0] = if *white_is_zero { 255 - eight(0) } else { eight(0) },
            Meaning::Rgb => (0..3).for_each(|at| colours[at] = eight(at)),
            Meaning::Palette(palette) => colours.copy_from_slice(&palette[usize::from(value(0))]),
            Meaning::Cmyk => (0..3).for_each(|at| colours[at] = jpeg::inked(eight(at), 255 - eight(3))),
            // Out of a JPEG they come as RGB.
            Meaning::YCbCr if self.packing.compression == 7 => (0..3).for_each(|at| colours[at] = eight(at)),
            Meaning::YCbCr => colours.copy_from_slice(&jpeg::rgb(eight(0), eight(1), eight(2))),
        }
        if let (Alpha::Multiplied, Some(alpha)) = (self.alpha, alpha) {
            for colour in colours {
                let whole = u32::from(*colour) * 255;
                *colour = if alpha == 0 { 0 } else { (whole / u32::from(alpha)).min(255) as u8 };
            }
        }
    }
}

/// Samples of a pixel, and bits of each, if they are unsigned integers of one width.
fn depth(directory: &Directory) -> Result<(usize, usize), String> {
    let bits = directory.integers(tag::BITS).unwrap_or_else(|| vec![1]);
    let samples = directory.integer(tag::SAMPLES).unwrap_or(1);
    let formats = directory.integers(tag::FORMAT).unwrap_or_default();
    let (Some(&first), Ok(samples)) = (bits.first(), usize::try_from(samples)) else { return Err(SHORT.into()) };
    let read = "unsigned integers of 1 to 16 bits are read";
    if let Some(format) = formats.iter().find(|&&format| format != 1 && format != 4) {
        let name = match format {
            2 => "signed integers",
            3 => "floating-point numbers",
            _ => "complex numbers",
        };
        return Err(format!("a TIFF of {name} ({first} bits), whose range no file tells; {read}"));
    }
    if !(1..=16).contains(&first) || bits.iter().any(|&other| other != first) {
        let widths: Vec<String> = bits.iter().map(|bits| bits.to_string()).collect();
        return Err(format!("a TIFF of {} bits a sample; {read}", widths.join(", ")));
    }
    Ok((samples, first as usize))
}

/// The colours of a palette: all reds, then all greens, then all blues, in 16 bits.
fn palette(directory: &Directory, bits: usize) -> Option<Vec<[u8; 3]>> {
    let values = directory.integers(tag::COLOURS)?;
    let count = 1 << bits;
    let part = |at: usize| values.get(at).map(|value| (value >> 8) as u8);
    (0..count).map(|at| Some([part(at)?, part(count + at)?, part(2 * count + at)?])).collect()
}
