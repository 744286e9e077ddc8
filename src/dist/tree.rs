//! Sums of many contributions, made in a fixed binary tree, so that their bits depend on nothing but the contributions.
//!
//! **Ranks.** Neighbours are added, then neighbouring sums, and so on; an odd one at the end is carried up:
//! five are `((0+1)+(2+3))+4`, seven `((0+1)+(2+3))+((4+5)+6)`.
//!
//! **Leaves of one rank** (its micro-batches). M leaves are `M / 2^k` consecutive ones summed as ranks are, for the
//! largest such `2^k`, and then the `2^k` sums as ranks are. For M a power of two that is the tree of ranks; six are
//! `((0+1)+2) + ((3+4)+5)`.
//!
//! So a rank's leaves are a whole subtree of what one rank would sum, if the number of ranks is a power of two: P ranks
//! of M leaves each give the bits of one rank of P·M leaves, whatever M. Other numbers of ranks have bits of their own:
//! three ranks of two leaves are `((0+1)+(2+3))+(4+5)`.

use std::ops::Range;

/// Values that are added before the next ones are fetched: they fit a processor's nearest cache.
pub(super) const BLOCK: usize = 2048;

/// How many times the two uppermost sums of the stack are added after contribution `leaf` was put on it, where the
/// contributions form groups of `group` and the groups are a power of two.
fn merges(leaf: usize, group: usize) -> u32 {
    let within = leaf % group + 1;
    if within < group {
        return within.trailing_zeros();
    }
    (group - 1).count_ones() + (leaf / group + 1).trailing_zeros()
}

/// How many times the two uppermost partial sums of the stack are added, the lower plus the upper, after leaf `leaf` of
/// `leaves` was put on it. After the last, one sum is left.
fn merges_after(leaf: usize, leaves: usize) -> u32 {
    assert!(leaf < leaves, "leaf {leaf} of {leaves}");
    merges(leaf, leaves >> leaves.trailing_zeros())
}

/// What is done with a leaf where partial sums stand on a stack that is kept elsewhere than in a [`TreeSum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    /// The place of the leaf on the stack.
    pub place: usize,
    /// Whether it is added to what stands there.
    pub adds: bool,
    /// How often the two uppermost sums are added then, the lower plus the upper.
    pub merges: usize,
}

/// What is done with each of some leaves, in turn. After the last one the sum stands at the first place.
pub fn pushes(leaves: usize) -> impl Iterator<Item = Push> {
    let mut height = 0;
    (0..leaves).map(move |leaf| {
        let merges = merges_after(leaf, leaves) as usize;
        height += usize::from(merges == 0);
        let push = Push { place: height - 1, adds: merges > 0, merges: merges.saturating_sub(1) };
        height -= push.merges;
        push
    })
}

/// Places that such a stack needs.
pub fn places(leaves: usize) -> usize {
    pushes(leaves).map(|push| push.place + 1).max().unwrap_or_default()
}

/// Adds values to others, in place.
pub(super) fn add(sum: &mut [f32], other: &[f32]) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum += other;
    }
}

/// The sum of `count` contributions of `len` values in the tree of ranks, a block at a time: `fetch` puts a block of a
/// contribution into values, or adds it to them where it is told so; `store` takes the sum of a block after all
/// contributions to it have been fetched.
pub(super) fn sum_blocks(
    count: usize,
    len: usize,
    mut fetch: impl FnMut(usize, Range<usize>, &mut [f32], bool),
    mut store: impl FnMut(Range<usize>, &[f32]),
) {
    let mut stack = vec![[0.0_f32; BLOCK]; count.max(1).ilog2() as usize + 1];
    for start in (0..len).step_by(BLOCK) {
        let range = start..len.min(start + BLOCK);
        let block = range.len();
        let mut height = 0;
        for leaf in 0..count {
            let merges = merges(leaf, count);
            height += usize::from(merges == 0);
            fetch(leaf, range.clone(), &mut stack[height - 1][..block], merges > 0);
            for _ in 1..merges {
                height -= 1;
                let (below, above) = stack.split_at_mut(height);
                add(&mut below[height - 1][..block], &above[0][..block]);
            }
        }
        store(range, &stack[0][..block]);
    }
}

/// The sum of contributions in the tree of ranks. All are as long as `out`; without any, `out` becomes zeros.
pub fn tree_sum(contributions: &[&[f32]], out: &mut [f32]) {
    for contribution in contributions {
        assert_eq!(contribution.len(), out.len(), "a contribution's length");
    }
    let fetch = |leaf: usize, range, block: &mut [f32], adds| match adds {
        true => add(block, &contributions[leaf][range]),
        false => block.copy_from_slice(&contributions[leaf][range]),
    };
    sum_blocks(contributions.len(), out.len(), fetch, |range, sum| out[range].copy_from_slice(sum));
}

/// The sum of one rank's leaves as they come, in the fixed tree. It holds as many partial sums as the number of leaves
/// has binary digits, at most.
#[derive(Debug)]
pub struct TreeSum {
    leaves: usize,
    pushed: usize,
    partials: Vec<Vec<f32>>,
    spare: Vec<Vec<f32>>,
}

impl TreeSum {
    /// A sum of this many leaves, at least one.
    pub fn new(leaves: usize) -> Self {
        assert!(leaves > 0, "a sum of no leaves");
        Self { leaves, pushed: 0, partials: Vec::new(), spare: Vec::new() }
    }

    /// Adds the next leaf. All have one length.
    pub fn push(&mut self, leaf: &[f32]) {
        let merges = merges_after(self.pushed, self.leaves);
        self.pushed += 1;
        match self.partials.last_mut().filter(|_| merges > 0) {
            Some(upper) => {
                assert_eq!(upper.len(), leaf.len(), "a leaf's length");
                add(upper, leaf);
            }
            None => {
                let mut own = self.spare.pop().unwrap_or_default();
                own.clear();
                own.extend_from_slice(leaf);
                self.partials.push(own);
            }
        }
        for _ in 1..merges {
            if let Some(upper) = self.partials.pop() {
                if let Some(lower) = self.partials.last_mut() {
                    add(lower, &upper);
                }
                self.spare.push(upper);
            }
        }
    }

    /// The sum, after the last leaf.
    pub fn finish(mut self) -> Vec<f32> {
        assert_eq!(self.pushed, self.leaves, "leaves that were pushed");
        self.partials.pop().expect("one sum is left after the last leaf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values over many magnitudes, so that another order of adding shows.
    fn leaf(number: usize, len: usize) -> Vec<f32> {
        let mut state = number as u64 * 0x9e37_79b9 + 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..len).map(|_| (next() as i32 as f32) * f32::exp2((next() % 40) as f32 - 50.0)).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// The definition, level by level.
    fn by_levels(mut level: Vec<Vec<f32>>) -> Vec<f32> {
        while level.len() > 1 {
            let pairs = level.chunks(2).map(|pair| match pair {
                [a, b] => a.iter().zip(b).map(|(a, b)| a + b).collect(),
                odd => odd[0].clone(),
            });
            level = pairs.collect();
        }
        level.pop().unwrap()
    }

    fn counted(leaves: &[Vec<f32>]) -> Vec<f32> {
        let mut sum = TreeSum::new(leaves.len());
        let mut most = 0;
        for leaf in leaves {
            sum.push(leaf);
            most = most.max(sum.partials.len());
        }
        assert!(most <= leaves.len().ilog2() as usize + 1, "{most} partial sums of {} leaves", leaves.len());
        sum.finish()
    }

    fn over_ranks(parts: &[Vec<f32>]) -> Vec<f32> {
        let mut sum = vec![f32::NAN; parts[0].len()];
        tree_sum(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut sum);
        sum
    }

    #[test]
    fn the_sum_over_ranks_is_made_level_by_level() {
        for ranks in 1..=33 {
            for len in [0, 1, 7, BLOCK, 2 * BLOCK + 3] {
                let parts: Vec<_> = (0..ranks).map(|rank| leaf(rank, len)).collect();
                assert_eq!(bits(&over_ranks(&parts)), bits(&by_levels(parts)), "{ranks} ranks, {len} values");
            }
        }
    }

    #[test]
    fn eight_leaves_give_equal_bits_on_one_two_four_and_eight_ranks() {
        for leaves in [8, 16, 24, 40, 56, 64] {
            let all: Vec<_> = (0..leaves).map(|number| leaf(number, 1500)).collect();
            let alone = counted(&all);
            for ranks in [1, 2, 4, 8] {
                let own: Vec<_> = all.chunks(leaves / ranks).map(counted).collect();
                assert_eq!(bits(&over_ranks(&own)), bits(&alone), "{leaves} leaves on {ranks} ranks");
            }
            // The order matters for these values, or nothing was shown.
            let in_turn = all.iter().skip(1).fold(all[0].clone(), |mut sum, leaf| {
                add(&mut sum, leaf);
                sum
            });
            assert_ne!(bits(&in_turn), bits(&alone));
        }
    }

    #[test]
    fn a_stack_elsewhere_ends_with_the_same_sum() {
        for leaves in 1..40 {
            let value = |number: usize| leaf(number, 1)[0];
            let (mut stack, mut tree) = (vec![f32::NAN; places(leaves)], TreeSum::new(leaves));
            for (number, Push { place, adds, merges }) in pushes(leaves).enumerate() {
                stack[place] = if adds { stack[place] } else { 0.0 } + value(number);
                (0..merges).for_each(|done| stack[place - 1 - done] += stack[place - done]);
                tree.push(&[value(number)]);
            }
            assert_eq!(stack[0].to_bits(), tree.finish()[0].to_bits(), "{leaves} leaves");
        }
        assert_eq!([1, 2, 4, 8, 64].map(places), [1, 1, 2, 3, 6]);
    }

    #[test]
    fn odd_numbers_of_leaves_are_carried_up() {
        for leaves in [1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 21] {
            let all: Vec<_> = (0..leaves).map(|number| leaf(number, 300)).collect();
            assert_eq!(bits(&counted(&all)), bits(&by_levels(all)), "{leaves} leaves");
        }
        let six: Vec<_> = (0..6).map(|number| leaf(number, 300)).collect();
        let halves = vec![by_levels(six[..3].to_vec()), by_levels(six[3..].to_vec())];
        assert_eq!(bits(&counted(&six)), bits(&by_levels(halves)));
    }
}
