//! What a picture goes through before the network, in the words of Transformers' image processors.

use serde_json::{Value, json};

use crate::model::ModelConfig;

/// Pillow's number of bicubic resampling.
const BICUBIC: u32 = 3;

/// The evaluation view as `preprocessor_config.json` says it: the shorter side scaled by Pillow's bicubic filter, the middle
/// cut out, values divided by 255, then by mean and standard deviation. Of Transformers' processors BiT's does this.
pub fn preprocessor(model: &ModelConfig) -> Value {
    let (height, width) = (model.image_height, model.image_width);
    let longer = height.max(width);
    let units = (0..model.channels).map(|channel| model.normalise.of_channel(channel, model.channels));
    let (mean, std): (Vec<f32>, Vec<f32>) = units.unzip();
    json!({
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": model.channels == 3,
        "do_resize": true,
        "size": {"shortest_edge": (longer as f64 / model.shown_share()) as usize},
        "resample": BICUBIC,
        "do_center_crop": true,
        "crop_size": {"height": height, "width": width},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": mean.iter().map(|v| short(*v)).collect::<Vec<_>>(),
        "image_std": std.iter().map(|v| short(*v)).collect::<Vec<_>>(),
    })
}

/// The number as it is written in decimals, 0.485 and not 0.48500001430511475.
pub(super) fn short(value: f32) -> f64 {
    value.to_string().parse().expect("digits of a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preprocessor_says_the_evaluation_view() {
        let of = |name: &str| preprocessor(&ModelConfig::preset(name).unwrap());
        let (base, small) = (of("mae-base"), of("nano"));
        assert_eq!(base["size"], json!({"shortest_edge": 256}));
        assert_eq!(base["crop_size"], json!({"height": 224, "width": 224}));
        assert_eq!(
            (&base["image_mean"], &base["image_std"]),
            (&json!([0.485, 0.456, 0.406]), &json!([0.229, 0.224, 0.225]))
        );
        assert_eq!((&small["size"], &small["image_std"]), (&json!({"shortest_edge": 32}), &json!([0.5, 0.5, 0.5])));
    }
}
