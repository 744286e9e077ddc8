//! A trainer's state on its way to the host and back.

use std::collections::BTreeMap;

use super::{
    super::snapshot::{LOSS_SCALE, MODEL, MOMENT1, MOMENT2, NamedTensor, check_matches},
    Trainer,
    plans::WEIGHTS,
};
use crate::{device::Readback, error::Result, lower::Precision, nn::Param, ops::LossScale};

/// The arenas of weights, moments and moving average as they were at one moment, on their way to the host.
pub struct StateCopy(Vec<(&'static str, Vec<Readback>)>);

impl Trainer {
    /// Gives weights and their average the start that the task says for a seed, and clears the moments.
    pub fn initialise(&self, seed: u64) {
        for param in &self.layout.params {
            let values = param.initial(seed);
            self.write(WEIGHTS, &param.name, &values);
            if let Some(average) = self.average {
                self.write(average.name, &param.name, &values);
            }
        }
        for arena in [MOMENT1, MOMENT2] {
            for (index, shard) in self.layout.shards.iter().enumerate() {
                self.arenas.write(&self.device, arena, index, 0, &vec![0; shard.len * 4]);
            }
        }
        self.write_loss_scale(&LossScale::START);
    }

    /// Writes the state of [`LossScale`], where there is one.
    fn write_loss_scale(&self, state: &[f32]) {
        if self.options.precision == Precision::F16 {
            self.arenas.write(&self.device, LOSS_SCALE, 0, 0, bytemuck::cast_slice(state));
        }
    }

    /// Writes one tensor of an arena. Panics on an unknown name or a wrong length, programming errors.
    pub fn write(&self, arena: &'static str, name: &str, values: &[f32]) {
        let place = self.layout.place(arena, name);
        let param = self.layout.params.iter().find(|p| p.name == name).expect("a placed parameter");
        assert_eq!(values.len(), param.len(), "values of `{name}`");
        self.arenas.write(&self.device, arena, place.shard, place.offset, bytemuck::cast_slice(values));
    }

    /// Reads every tensor of an arena back, in the layout's order.
    pub async fn read(&self, arena: &'static str) -> Result<Vec<NamedTensor>> {
        let mut shards = Vec::new();
        for index in 0..self.layout.shards.len() {
            shards.push(self.arenas.read(&self.device, arena, index).await?);
        }
        Ok(self.tensors(arena, &shards))
    }

    /// The tensors in the shards of an arena, in the layout's order.
    fn tensors(&self, arena: &'static str, shards: &[Vec<u8>]) -> Vec<NamedTensor> {
        let tensor = |param: &Param| {
            let place = self.layout.place(arena, &param.name);
            let first = place.offset as usize;
            let bytes = &shards[place.shard][first..first + param.len() * 4];
            let data = bytemuck::pod_collect_to_vec(bytes);
            NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data }
        };
        self.layout.params.iter().map(tensor).collect()
    }

    /// The groups of a snapshot and the arenas that they mirror.
    fn groups(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let average = self.average.map(|average| (average.name, average.name));
        [(MODEL, WEIGHTS), (MOMENT1, MOMENT1), (MOMENT2, MOMENT2)].into_iter().chain(average)
    }

    /// The group of the loss scale's state, where there is one.
    pub(super) fn loss_scale_group(&self) -> Option<&'static str> {
        (self.options.precision == Precision::F16).then_some(LOSS_SCALE)
    }

    /// Submits a copy of the state after the steps submitted so far. Steps may follow at once; they do not change it.
    pub fn copy_state(&self) -> StateCopy {
        let shards = |arena| (0..self.layout.shards.len()).map(move |i| self.arenas.copy(&self.device, arena, i));
        let scale = self.loss_scale_group().map(|group| (group, vec![self.arenas.copy(&self.device, LOSS_SCALE, 0)]));
        StateCopy(self.groups().map(|(group, arena)| (group, shards(arena).collect())).chain(scale).collect())
    }

    /// Waits for a copy of the state: tensors by group, as a snapshot holds them.
    pub async fn take_state(&self, copy: StateCopy) -> Result<BTreeMap<String, Vec<NamedTensor>>> {
        let mut groups = BTreeMap::new();
        for (group, readbacks) in copy.0 {
            let mut shards = Vec::new();
            for readback in readbacks {
                shards.push(readback.take(&self.device).await?);
            }
            let tensors = match self.groups().find(|(name, _)| *name == group) {
                Some((_, arena)) => self.tensors(arena, &shards),
                None => {
                    let state: Vec<f32> = bytemuck::pod_collect_to_vec(&shards[0]);
                    vec![loss_scale_tensor(&state[..LossScale::START.len()])]
                }
            };
            groups.insert(group.to_owned(), tensors);
        }
        Ok(groups)
    }

    /// Takes a snapshot's state over, or says what does not fit and changes nothing.
    pub fn restore(&self, state: &BTreeMap<String, Vec<NamedTensor>>) -> Result<(), String> {
        let held = |group| state.get(group).map(Vec::as_slice).unwrap_or_default();
        for (group, _) in self.groups() {
            check_matches(group, held(group), self.layout.needed())?;
        }
        if let Some(group) = self.loss_scale_group() {
            let needed = loss_scale_tensor(&LossScale::START);
            check_matches(group, held(group), [(&needed.name[..], &needed.shape[..])])?;
            let state = &held(group)[0].data;
            if !(state[0].is_finite() && state[0] >= LossScale::LEAST && state[1] >= 0.0) {
                return Err(format!("`{group}` holds {state:?}, which is no scale and number of steps"));
            }
            self.write_loss_scale(state);
        }
        for (group, arena) in self.groups() {
            held(group).iter().for_each(|tensor| self.write(arena, &tensor.name, &tensor.data));
        }
        Ok(())
    }

    /// Starts from given weights, for their average too, or says what does not fit and changes nothing.
    pub fn start_from(&self, weights: &[NamedTensor]) -> Result<(), String> {
        check_matches(MODEL, weights, self.layout.needed())?;
        for arena in std::iter::once(WEIGHTS).chain(self.average.map(|average| average.name)) {
            weights.iter().for_each(|tensor| self.write(arena, &tensor.name, &tensor.data));
        }
        Ok(())
    }
}

/// The loss scale's state as a snapshot holds it.
fn loss_scale_tensor(state: &[f32]) -> NamedTensor {
    NamedTensor { name: "state".into(), shape: vec![state.len()], data: state.to_vec() }
}
