//! Many short texts in two allocations.

/// Texts kept one after the other: of a million paths, their bytes and eight bytes each.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a name.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// The same names in another order, given by their numbers.
    pub(super) fn reordered(&self, order: &[u32]) -> Names {
        let mut names =
            Names { bytes: Vec::with_capacity(self.bytes.len()), ends: Vec::with_capacity(self.ends.len()) };
        order.iter().for_each(|&index| names.push(self.get(index as usize)));
        names
    }
}
