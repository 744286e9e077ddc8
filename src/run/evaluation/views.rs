//! Images as evaluation sees them.

use crate::{
    data::{Side, each},
    model::ModelConfig,
    text::shown,
};

/// Images that pass through the network together.
pub(super) const BATCH: usize = 64;

/// Up to a [`BATCH`] of images of a side from `first` on, as evaluation sees them, with their classes. Those that cannot be read
/// are named in the log and left out.
pub(super) fn views(side: &Side, first: usize, model: &ModelConfig) -> (Vec<f32>, Vec<u32>) {
    let (mut images, mut classes) = (Vec::new(), Vec::new());
    let view = |at: usize| {
        let picture = side.source.load(first + at, model.channels)?;
        Ok(model.evaluation_view(&picture).normalise(&model.normalise))
    };
    each(BATCH.min(side.source.len() - first), 0, view, |at, view: Result<Vec<f32>, String>| {
        match view {
            Ok(view) => {
                images.extend(view);
                classes.push(side.labels[first + at]);
            }
            Err(reason) => {
                let name = side.source.name(first + at);
                tracing::warn!("not evaluated: {} ({})", shown(&name), shown(&reason));
            }
        }
        true
    });
    (images, classes)
}
