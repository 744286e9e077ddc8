//! How long an update of several processes should take: a prediction from what one process and the network can do.
//!
//! An update is the passes of each process, copies of the gradient out of the GPU and back, the exchange, and the sum. The
//! exchange sends each process's gradient in slices to their owners and the sums back, so 2 (P − 1) / P of its bytes pass
//! each line in each direction. Nothing overlaps here: all terms add up.

use super::Wire;

/// The share of a line's nominal rate that messages of 1 MiB over TCP get.
const LINE_SHARE: f64 = 0.85;
/// Seconds from one process to another, for one message.
const LATENCY_S: f64 = 10e-6;
/// Bytes of contributions that a processor adds up in a second.
const SUM_BYTES_S: f64 = 20e9;

/// What an update of several processes consists of.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Processes, each with a GPU and a line of its own.
    pub ranks: usize,
    /// Passes of each process.
    pub passes: usize,
    /// Seconds of a pass, its share of the update included.
    pub pass_s: f64,
    /// Bytes of the gradient in f32.
    pub bytes: f64,
    /// Separate sums, one a bucket of the gradient.
    pub sums: usize,
    /// How gradients travel.
    pub wire: Wire,
    /// Bits a second of each process's line, in each direction.
    pub line_bits_s: f64,
    /// Bytes a second between GPU and main memory.
    pub copy_bytes_s: f64,
}

/// The seconds of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Forward and backward passes, and the update of the weights.
    pub compute_s: f64,
    /// Gradients from the GPU, and back.
    pub copy_s: f64,
    /// On the line.
    pub network_s: f64,
    /// Adding up.
    pub sum_s: f64,
}

impl Predicted {
    /// All of it.
    pub fn total_s(&self) -> f64 {
        self.compute_s + self.copy_s + self.network_s + self.sum_s
    }

    /// The share of the time in which GPUs train.
    pub fn efficiency(&self) -> f64 {
        self.compute_s / self.total_s()
    }
}

impl Update {
    /// What it should take.
    pub fn predict(&self) -> Predicted {
        let compute_s = self.passes as f64 * self.pass_s;
        if self.ranks == 1 {
            return Predicted { compute_s, copy_s: 0.0, network_s: 0.0, sum_s: 0.0 };
        }
        let others = (self.ranks - 1) as f64;
        let sent = match self.wire {
            Wire::F32 => self.bytes,
            Wire::F16 => self.bytes / 2.0,
        };
        Predicted {
            compute_s,
            // Halves are made in main memory.
            copy_s: 2.0 * self.bytes / self.copy_bytes_s,
            network_s: 2.0 * others / self.ranks as f64 * sent * 8.0 / (LINE_SHARE * self.line_bits_s)
                + 2.0 * others * LATENCY_S * self.sums as f64,
            sum_s: self.bytes / SUM_BYTES_S,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_follow_from_bytes_and_rates() {
        let update = Update {
            ranks: 2,
            passes: 4,
            pass_s: 0.05,
            bytes: 400e6,
            sums: 4,
            wire: Wire::F32,
            line_bits_s: 10e9,
            copy_bytes_s: 20e9,
        };
        let Predicted { compute_s, copy_s, network_s, sum_s } = update.predict();
        // 400 MB out and as many in, at 8.5 Gbit/s in each direction.
        assert!((network_s - (400e6 * 8.0 / 8.5e9 + 8.0 * 10e-6)).abs() < 1e-9, "{network_s}");
        assert!((compute_s - 0.2).abs() < 1e-12 && (copy_s - 0.04).abs() < 1e-12 && (sum_s - 0.02).abs() < 1e-12);
        let halves = Update { wire: Wire::F16, ..update }.predict();
        assert!((halves.network_s - 8e-5 - (network_s - 8e-5) / 2.0).abs() < 1e-9);
        let many = Update { ranks: 64, ..update }.predict();
        assert!(many.network_s < 2.0 * network_s + 0.01 && many.efficiency() < update.predict().efficiency());
        assert_eq!(Update { ranks: 1, ..update }.predict().efficiency(), 1.0);
    }
}
