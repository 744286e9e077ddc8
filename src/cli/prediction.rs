//! What `bootmae plan --ranks` prints: how long an update of several processes should take.

use clap::Args;
use serde::Serialize;

use super::{
    numbers::{MOST, positive, whole},
    terminal::outln,
};
use crate::{
    dist::{Wire, cost::Update},
    error::{Error, Result},
    train::BUCKET,
};

/// What several processes are given.
#[derive(Args, Debug)]
pub(super) struct RanksArguments {
    /// Predict the time of an update of these numbers of processes, a GPU and a line each: 2,8,32.
    #[arg(long, value_name = "P,…", value_delimiter = ',', requires_all = ["model", "pass_ms"],
        value_parser = whole::<usize>(1, 1 << 16))]
    pub(super) ranks: Vec<usize>,
    /// The time of a forward and backward pass, as `bootmae bench --batch-size N` prints it, N being --micro-batch.
    #[arg(long, value_name = "MS", requires = "ranks", value_parser = positive)]
    pass_ms: Option<f64>,
    /// Images of a pass.
    #[arg(long, value_name = "N", requires = "ranks", default_value_t = 64, value_parser = whole::<usize>(1, MOST))]
    micro_batch: usize,
    /// The nominal rate of each process's line in each direction.
    #[arg(long, value_name = "GBIT", requires = "ranks", default_value_t = 10.0, value_parser = positive)]
    network: f64,
    /// The rate of copies between GPU and main memory, as `bootmae bench --exchange` measures it.
    #[arg(long, value_name = "GB/S", requires = "ranks", default_value_t = 25.0, value_parser = positive)]
    copy_gbs: f64,
    /// How gradients travel.
    #[arg(long, value_name = "f32|f16", requires = "ranks", default_value = "f32", value_parser = ["f32", "f16"])]
    wire: String,
}

/// An update of one number of processes.
#[derive(Serialize)]
pub(super) struct Prediction {
    ranks: usize,
    passes: usize,
    compute_ms: f64,
    copy_ms: f64,
    network_ms: f64,
    sum_ms: f64,
    update_ms: f64,
    efficiency: f64,
    images_per_s: f64,
}

impl RanksArguments {
    /// Predictions for a network of so many values and updates of `batch` images.
    ///
    /// # Errors
    /// [`Error::Config`] where the batch cannot be dealt out.
    pub(super) fn predict(&self, values: usize, batch: usize) -> Result<Vec<Prediction>> {
        let bytes = values as f64 * 4.0;
        let of = |ranks: usize| {
            let images = ranks.checked_mul(self.micro_batch).filter(|images| batch.is_multiple_of(*images));
            let images = images.ok_or_else(|| {
                Error::Config(format!(
                    "--batch-size {batch} is no multiple of {ranks} processes × --micro-batch {}",
                    self.micro_batch
                ))
            })?;
            let update = Update {
                ranks,
                passes: batch / images,
                pass_s: self.pass_ms.unwrap_or_default() / 1e3,
                bytes,
                sums: (bytes / BUCKET as f64).ceil() as usize,
                wire: if self.wire == "f16" { Wire::F16 } else { Wire::F32 },
                line_bits_s: self.network * 1e9,
                copy_bytes_s: self.copy_gbs * 1e9,
            };
            let predicted = update.predict();
            Ok(Prediction {
                ranks,
                passes: update.passes,
                compute_ms: predicted.compute_s * 1e3,
                copy_ms: predicted.copy_s * 1e3,
                network_ms: predicted.network_s * 1e3,
                sum_ms: predicted.sum_s * 1e3,
                update_ms: predicted.total_s() * 1e3,
                efficiency: predicted.efficiency(),
                images_per_s: batch as f64 / predicted.total_s(),
            })
        };
        self.ranks.iter().copied().map(of).collect()
    }
}

/// Prints them as a table.
pub(super) fn print(predictions: &[Prediction]) {
    outln!("\npredicted, not measured: an update of several processes, nothing of the exchange hidden behind passes");
    outln!("processes  passes each  compute ms  copies ms  network ms  sums ms  update ms  efficiency  images/s");
    for row in predictions {
        outln!(
            "{:>9}  {:>11}  {:>10.1}  {:>9.1}  {:>10.1}  {:>7.1}  {:>9.1}  {:>8.0} %  {:>8.0}",
            row.ranks,
            row.passes,
            row.compute_ms,
            row.copy_ms,
            row.network_ms,
            row.sum_ms,
            row.update_ms,
            row.efficiency * 100.0,
            row.images_per_s
        );
    }
}
