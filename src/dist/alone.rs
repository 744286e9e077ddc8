//! A group of one.

use super::{
    collective::{Collective, Settings, Ticket},
    host,
};
use crate::error::{Error, Result};

/// The only rank there is: nothing is exchanged, and nothing costs anything.
#[derive(Debug)]
pub struct Alone {
    host: String,
}

impl Alone {
    /// A group of one.
    pub fn new() -> Self {
        Self { host: host::name() }
    }
}

impl Default for Alone {
    fn default() -> Self {
        Self::new()
    }
}

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn node_rank(&self) -> usize {
        0
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn configure(&mut self, _: Settings) {}

    fn start_sum(&mut self, bucket: Vec<f32>) -> Result<Ticket> {
        Ok(Ticket::ready(bucket))
    }

    fn sum(&mut self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn broadcast(&mut self, _: &mut Vec<u8>, root: usize) -> Result<()> {
        match root {
            0 => Ok(()),
            _ => Err(Error::Config(format!("a broadcast from rank {root}, where there is only rank 0"))),
        }
    }

    fn abort(&self, code: i32, why: &str) -> ! {
        tracing::error!("{why}");
        std::process::exit(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_one_changes_nothing() {
        let mut alone = Alone::new();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let before = [1.5, -0.0, f32::NAN, f32::MIN_POSITIVE / 8.0];
        let mut values = before;
        alone.sum(&mut values).unwrap();
        assert_eq!(bits(&values), bits(&before));
        let (first, second) = (alone.start_sum(vec![1.0]).unwrap(), alone.start_sum(before.to_vec()).unwrap());
        assert_eq!(bits(&alone.finish_sum(second).unwrap()), bits(&before));
        assert_eq!(alone.finish_sum(first).unwrap(), [1.0]);
        assert_eq!(alone.gather(b"own").unwrap(), [b"own"]);
        let mut bytes = b"kept".to_vec();
        alone.broadcast(&mut bytes, 0).unwrap();
        assert_eq!(bytes, b"kept");
        assert_eq!(alone.broadcast(&mut bytes, 1).unwrap_err().exit_code(), 2);
        alone.barrier().unwrap();
        assert!(!alone.host().is_empty());
    }
}
