//! Gradients of several passes added up by plans of their own: in turn, or as a binary tree, whose bits do not depend on how
//! passes are dealt out to processes.

use super::{
    options::TrainerOptions,
    plans::{GRADIENTS, plan_add, sum_arenas},
};
use crate::{
    device::Device,
    dist::tree::{Push, pushes},
    error::Result,
    exec::{Arenas, Executor, Submits},
    nn::Layout,
};

/// The plans that put the gradient of a pass on a stack of partial sums, each in an arena of its own, and add up the
/// uppermost two.
pub(super) struct Sums {
    /// What follows each pass of an update.
    pushes: Vec<Push>,
    /// By place on the stack: the last pass's gradient goes there, or is added to what is there.
    take: Vec<Executor>,
    /// By place: what stands above it is added to it.
    merge: Vec<Executor>,
}

impl Sums {
    /// Compiles them over the arenas of a trainer.
    pub(super) async fn new(
        device: &Device,
        layout: &Layout,
        options: &TrainerOptions,
        arenas: &Arenas,
    ) -> Result<Sums> {
        let (places, mut take, mut merge) = (sum_arenas(options), Vec::new(), Vec::new());
        for (place, arena) in places.iter().enumerate() {
            take.push(Executor::new(device, plan_add(layout, arena, GRADIENTS, options), arenas).await?);
            if let Some(above) = places.get(place + 1) {
                let plan = Executor::new(device, plan_add(layout, arena, above, options), arenas).await?;
                plan.write(device, "keep_sum", bytemuck::bytes_of(&1f32));
                merge.push(plan);
            }
        }
        let pushes = match options.adds_as_tree() {
            true => pushes(options.micro_batches).collect(),
            false => (0..options.micro_batches).map(|pass| Push { place: 0, adds: pass > 0, merges: 0 }).collect(),
        };
        Ok(Sums { pushes, take, merge })
    }

    /// What follows each pass of an update.
    pub(super) fn pushes(&self) -> impl Iterator<Item = Push> {
        self.pushes.iter().copied()
    }

    /// The plan that takes a pass's gradient; its input `keep_sum` is to be 1 where it is added, else 0.
    pub(super) fn take(&self, push: Push) -> (&Executor, f32) {
        (&self.take[push.place], f32::from(u8::from(push.adds)))
    }

    /// Records all that follows a pass.
    pub(super) fn record(&self, submits: &mut Submits<'_>, push: Push) {
        submits.record(&self.take[push.place]);
        (0..push.merges).for_each(|done| submits.record(&self.merge[push.place - 1 - done]));
    }
}
