//! One of several processes that train together: not the one that keeps the run's folder.

use super::{
    pretrain::{Images, Start},
    stop::{Ended, Stops},
};
use crate::{
    device::Device,
    error::Result,
    kernels::Tuning,
    train::{
        config::RunConfig,
        team::Team,
        training::{GivenUp, Training},
    },
};

/// A run without a folder, which does what the one with it does, step for step.
pub struct Follower {
    training: Training,
}

impl Follower {
    /// Prepares its training.
    pub async fn new(
        config: RunConfig,
        images: Images,
        device: Device,
        tuning: Tuning,
        start: Start,
        team: Team,
    ) -> Result<Follower> {
        let start = start.of(&config);
        let task = config.task(images.labels.into());
        Ok(Follower { training: Training::new(config, task, images.source, device, tuning, start, team).await? })
    }

    /// Trains until the others end.
    pub async fn train(&mut self, stops: &Stops) -> Result<Ended> {
        loop {
            let error = match self.advance(stops).await {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            self.training.recover(error).await.map_err(|GivenUp { error, .. }| error)?;
        }
    }

    async fn advance(&mut self, stops: &Stops) -> Result<Ended> {
        let steps = self.training.config().training.steps;
        let last = stops.after.unwrap_or(steps).min(steps);
        while self.training.step() < last {
            if let Some(reason) = stops.agreed(self.training.team()) {
                return Ok(reason);
            }
            self.training.submit(last).await?;
            self.training.take().await?;
        }
        Ok(if last < steps { Ended::StoppedAfter } else { Ended::Finished })
    }
}
