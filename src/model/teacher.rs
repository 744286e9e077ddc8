//! What the momentum encoder makes of a whole image.

use super::{ModelConfig, inputs, position_tables, teach};
use crate::{
    device::{Device, Readback},
    error::Result,
    exec::{Arenas, Executor},
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions},
    nn::{Layout, Params},
};

/// The momentum encoder on a device, for one image at a time.
pub struct Teacher(Executor);

/// Features that are on their way.
pub struct BegunFeatures(Readback);

impl Teacher {
    /// Compiles the momentum encoder of `config` over the arenas of others, which it reads where they stand.
    pub async fn over(device: &Device, config: &ModelConfig, layout: &Layout, arenas: &Arenas) -> Result<Teacher> {
        let plan = {
            let graph = Graph::new();
            let features = teach(config, 1, &Params::new(&graph, layout, "teacher"));
            let options = PlanOptions { tuning: Tuning::for_a_look(device), ..Default::default() };
            Plan::new(&graph, &[Fetch::new("features", features)], &options)
        };
        let executor = Executor::new(device, plan, arenas).await?;
        for (name, table) in position_tables(config) {
            if executor.has_input(name) {
                executor.write(device, name, bytemuck::cast_slice(&table));
            }
        }
        let raster: Vec<u32> = (0..config.patches() as u32).collect();
        executor.write(device, inputs::ORDER, bytemuck::cast_slice(&raster));
        Ok(Teacher(executor))
    }

    /// Takes other positions of the patches, `[patches, width]`, than those that are computed.
    pub fn set_positions(&self, device: &Device, table: &[f32]) {
        self.0.write(device, inputs::POSITIONS, bytemuck::cast_slice(table));
    }

    /// Submits an image `[channels, height, width]`, with the weights as they now are.
    pub fn begin(&self, device: &Device, image: &[f32]) -> BegunFeatures {
        self.0.write(device, inputs::IMAGES, bytemuck::cast_slice(image));
        self.0.run(device);
        BegunFeatures(self.0.copy(device, "features"))
    }
}

impl BegunFeatures {
    /// Waits for the features of all patches in raster order, `[patches, width]`, normalised as the loss sees them.
    pub async fn finish(self, device: &Device) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.0.take(device).await?))
    }
}
