//! The order of a patch's values: a channel's pixels side by side as here and in BootMAE, or a pixel's channels as in MAE.

/// Rows of `width` values, one for each value of a patch with a pixel's channels side by side, put with a channel's pixels
/// side by side: from (row, column, channel) to (channel, row, column).
pub fn channels_first(values: &[f32], channels: usize, width: usize) -> Vec<f32> {
    let pixels = values.len() / (channels * width);
    let rows = (0..channels).flat_map(|channel| (0..pixels).map(move |pixel| pixel * channels + channel));
    rows.flat_map(|row| &values[row * width..][..width]).copied().collect()
}

/// The way back: from (channel, row, column) to (row, column, channel).
pub fn channels_last(values: &[f32], channels: usize, width: usize) -> Vec<f32> {
    let pixels = values.len() / (channels * width);
    let rows = (0..pixels).flat_map(|pixel| (0..channels).map(move |channel| channel * pixels + pixel));
    rows.flat_map(|row| &values[row * width..][..width]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_first_and_go_back() {
        let pixels = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        assert_eq!(channels_first(&pixels, 2, 1), [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
        assert_eq!(channels_first(&pixels, 3, 2), pixels, "one pixel");
        assert_eq!(channels_last(&channels_first(&pixels, 2, 1), 2, 1), pixels);
        let rows: Vec<f32> = (0..24).map(|v| v as f32).collect();
        assert_eq!(channels_last(&channels_first(&rows, 3, 2), 3, 2), rows);
    }
}
