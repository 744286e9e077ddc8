//! How the operations' dispatches are put together.

use crate::{
    graph::{Dispatch, Slot},
    kernels::Kernel,
};

/// Invocations in a workgroup of the kernels that give an element or a row to each.
pub(super) const GROUP: usize = 64;

/// The most workgroups along x; a longer grid continues along y. 65,535 is WebGPU's limit.
const ROW_OF_GROUPS: usize = 32768;

/// Workgroups for `items` invocations in a line; the shaders find their index with `common/grid.wgsl`.
pub(super) fn groups(items: usize) -> [u32; 3] {
    grid(items.div_ceil(GROUP))
}

/// So many workgroups in a line.
pub(super) fn grid(groups: usize) -> [u32; 3] {
    let x = groups.clamp(1, ROW_OF_GROUPS);
    [x as u32, groups.div_ceil(x).max(1) as u32, 1]
}

/// What an invocation moves of rows of values: four values where rows are whole vec4s, else one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items(usize);

impl Items {
    /// The items of rows of so many values.
    pub(super) fn of_width(width: usize) -> Items {
        Items(if width.is_multiple_of(4) { 4 } else { 1 })
    }

    /// How many items so many values are.
    pub(super) fn of(self, values: usize) -> usize {
        values / self.0
    }

    /// The kernel for these items.
    pub(super) fn pick(self, one: &'static Kernel, vec4: &'static Kernel) -> &'static Kernel {
        if self.0 == 4 { vec4 } else { one }
    }
}

/// A dispatch with every binding in the order of inputs and then outputs.
pub(super) fn dispatch(
    kernel: &'static Kernel,
    params: impl bytemuck::Pod,
    slots: &[Slot],
    groups: [u32; 3],
) -> Dispatch {
    let params = bytemuck::bytes_of(&params).to_vec();
    Dispatch { kernel, constants: Vec::new(), params, slots: slots.to_vec(), groups }
}
