//! GIF: the first frame on the screen, as Pillow shows it.

use gif::{ColorOutput, DecodeOptions};

use super::raster::Raster;

/// What a file says before the pixels of its first frame.
pub(super) struct Head<'b> {
    decoder: gif::Decoder<&'b [u8]>,
    /// The screen's size; a frame that reaches beyond it enlarges it.
    pub(super) width: u32,
    pub(super) height: u32,
}

impl<'b> Head<'b> {
    /// Reads up to the first frame.
    ///
    /// # Errors
    /// In words: there is no frame, or what is before it is damaged.
    pub(super) fn of(bytes: &'b [u8]) -> Result<Head<'b>, String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        let mut decoder = options.read_info(bytes).map_err(words)?;
        let (screen, frame) = ((decoder.width(), decoder.height()), decoder.next_frame_info().map_err(words)?);
        let frame = frame.ok_or("the GIF has no picture")?;
        let reach = |from: u16, length: u16| u32::from(from) + u32::from(length);
        let width = reach(frame.left, frame.width).max(screen.0.into());
        let height = reach(frame.top, frame.height).max(screen.1.into());
        Ok(Head { decoder, width, height })
    }

    /// The pixels: RGB, with alpha if the frame has a transparent colour. Around the frame the screen has that colour,
    /// without one the first.
    ///
    /// # Errors
    /// In words: data are missing or damaged.
    pub(super) fn decode(mut self) -> Result<Raster, String> {
        let (width, height) = (self.width as usize, self.height as usize);
        // Colours that a palette does not have are black.
        let mut colours = [[0; 3]; 256];
        let palette = self.decoder.palette().map_err(words)?;
        palette.as_chunks::<3>().0.iter().zip(&mut colours).for_each(|(found, colour)| *colour = *found);
        let mut indices = vec![0; self.decoder.buffer_size()];
        let frame = self.decoder.current_frame_info().ok_or("the GIF has no picture")?;
        let (transparent, left, top) = (frame.transparent, usize::from(frame.left), usize::from(frame.top));
        let columns = usize::from(frame.width);
        self.decoder.read_into_buffer(&mut indices).map_err(words)?;
        let around = transparent.unwrap_or_default();
        let channels = if transparent.is_some() { 4 } else { 3 };
        let mut pixels = Vec::with_capacity(width * height * channels);
        for y in 0..height {
            let row = y.checked_sub(top).and_then(|row| indices.get(row * columns..(row + 1) * columns));
            for x in 0..width {
                let index = x.checked_sub(left).and_then(|column| row?.get(column)).copied().unwrap_or(around);
                pixels.extend(colours[usize::from(index)]);
                if channels == 4 {
                    pixels.push(if Some(index) == transparent { 0 } else { 255 });
                }
            }
        }
        Ok(Raster { width, height, channels, pixels })
    }
}

fn words(error: gif::DecodingError) -> String {
    format!("the GIF is damaged or cut short: {error}")
}
