//! Groups of threads: what holds for every carrier of messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use super::{
    collective::{Collective, Settings, Wire},
    member::Member,
    threads::{self, Delays},
    tree,
};
use crate::error::Error;

const SIZES: [usize; 6] = [1, 2, 3, 4, 5, 8];

/// What each rank's thread returns.
fn each<T: Send>(group: Vec<Member>, work: impl Fn(Member) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = group.into_iter().map(|member| scope.spawn(|| work(member))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank's thread")).collect()
    })
}

fn group(size: usize, wire: Wire, delays: Option<Delays>) -> Vec<Member> {
    threads::world(size, Settings { wire, watchdog: Duration::from_secs(20) }, delays).unwrap()
}

/// A rank's contribution: values over many magnitudes, so that another order of adding shows.
fn bucket(rank: usize, len: usize) -> Vec<f32> {
    let mut state = (rank as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ len as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| (next() as i32 as f32) * f32::from_bits((100 + (next() % 24) as u32) << 23)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The sum of all ranks' contributions, made by one.
fn serial(size: usize, len: usize) -> Vec<f32> {
    let all: Vec<_> = (0..size).map(|rank| bucket(rank, len)).collect();
    let mut sum = vec![0.0; len];
    tree::tree_sum(&all.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut sum);
    sum
}

#[test]
fn every_rank_gets_the_bits_of_the_serial_sum() {
    for size in SIZES {
        for len in [0, 1, 7, 1000, 1 << 20] {
            let sums = each(group(size, Wire::F32, None), |mut member| {
                let mut values = bucket(member.rank(), len);
                member.sum(&mut values).unwrap();
                values
            });
            let expected = bits(&serial(size, len));
            assert!(sums.iter().all(|sum| bits(sum) == expected), "{size} ranks, {len} values");
        }
    }
}

#[test]
fn delays_and_sums_side_by_side_change_no_bit() {
    for size in [2, 3, 5] {
        for seed in 0..3 {
            // The first and the last have several pieces a slice.
            let lens = [5 << 18, 1, 7, 1000, 0, 3 << 19];
            let delays = Delays { seed, longest: Duration::from_millis(3) };
            let sums = each(group(size, Wire::F32, Some(delays)), |mut member| {
                let rank = member.rank();
                let tickets = lens.map(|len| member.start_sum(bucket(rank, len)).unwrap());
                let words = member.gather(&[rank as u8]).unwrap();
                assert_eq!(words, (0..size).map(|rank| vec![rank as u8]).collect::<Vec<_>>());
                let mut sums: Vec<_> = tickets.into_iter().rev().map(|ticket| member.finish_sum(ticket)).collect();
                sums.reverse();
                sums.into_iter().map(|sum| bits(&sum.unwrap())).collect::<Vec<_>>()
            });
            for (number, len) in lens.into_iter().enumerate() {
                let expected = bits(&serial(size, len));
                assert!(sums.iter().all(|sums| sums[number] == expected), "{size} ranks, {len} values, seed {seed}");
            }
        }
    }
}

#[test]
fn eight_leaves_have_equal_bits_on_any_power_of_two_of_ranks() {
    let run = |size: usize| {
        let sums = each(group(size, Wire::F32, None), |mut member| {
            let own = 8 / size;
            let mut sum = tree::TreeSum::new(own);
            (0..own).for_each(|leaf| sum.push(&bucket(member.rank() * own + leaf, 3000)));
            let mut sum = sum.finish();
            member.sum(&mut sum).unwrap();
            bits(&sum)
        });
        assert!(sums.iter().all(|sum| *sum == sums[0]));
        sums[0].clone()
    };
    let alone = run(1);
    assert!([2, 4, 8].into_iter().all(|size| run(size) == alone));
}

#[test]
fn a_gathering_brings_bytes_of_every_length() {
    for size in SIZES {
        // Empty, short, and longer than a message.
        let own = |rank: usize, turn: usize| vec![rank as u8 + 1; [0, 3, (1 << 20) + 5][(rank + turn) % 3]];
        each(group(size, Wire::F32, None), |mut member| {
            for turn in 0..3 {
                let all = member.gather(&own(member.rank(), turn)).unwrap();
                assert!(all.into_iter().enumerate().all(|(rank, bytes)| bytes == own(rank, turn)), "turn {turn}");
            }
        });
    }
}

#[test]
fn a_broadcast_brings_the_bytes_of_its_root() {
    for size in SIZES {
        each(group(size, Wire::F32, None), |mut member| {
            for root in 0..size {
                for len in [0, 1, 100, 3_000_001] {
                    let bytes = |rank: usize| (0..len).map(|i| (i % 251 + rank) as u8).collect::<Vec<_>>();
                    let mut own = if member.rank() == root { bytes(root) } else { vec![9; 17] };
                    member.broadcast(&mut own, root).unwrap();
                    assert!(own == bytes(root), "{len} bytes of rank {root} of {size}");
                }
            }
            assert!(matches!(member.broadcast(&mut vec![1], size), Err(Error::Config(_))));
        });
    }
}

#[test]
fn nobody_passes_a_barrier_alone() {
    let begun = Instant::now();
    each(group(3, Wire::F32, None), |mut member| {
        assert_eq!((member.size(), member.node_rank()), (3, member.rank()));
        thread::sleep(Duration::from_millis(100 * member.rank() as u64));
        member.barrier().unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(200));
    });
}

#[test]
fn halves_have_equal_bits_everywhere_and_a_bounded_error() {
    for size in SIZES {
        for len in [0, 1, 7, 1000, (1 << 20) + 3] {
            let own = |rank: usize| -> Vec<f32> {
                bucket(rank, len).iter().map(|value| value.abs().log2() * 1e-6 * value.signum()).collect()
            };
            let delays = Delays { seed: 5, longest: Duration::from_millis(1) };
            let sums = each(group(size, Wire::F16, Some(delays)), |mut member| {
                let mut values = own(member.rank());
                member.sum(&mut values).unwrap();
                values
            });
            assert!(sums.iter().all(|sum| bits(sum) == bits(&sums[0])), "{size} ranks, {len} values");
            let all: Vec<_> = (0..size).map(own).collect();
            for (at, sum) in sums[0].iter().enumerate() {
                let (mut exact, mut magnitudes) = (0.0_f64, 0.0_f64);
                for values in &all {
                    exact += f64::from(values[at]);
                    magnitudes += f64::from(values[at]).abs();
                }
                // Each contribution and the sum are rounded once.
                let bound = magnitudes * f64::exp2(-11.0) * 2.01;
                assert!((f64::from(*sum) - exact).abs() <= bound, "{size} ranks: {sum} for {exact}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_every_rank() {
    for wire in [Wire::F32, Wire::F16] {
        each(group(4, wire, None), |mut member| {
            let mut values = vec![1.0; 1000];
            match member.rank() {
                1 => values[3] = f32::NAN,
                2 => values[999] = f32::INFINITY,
                _ => {}
            }
            member.sum(&mut values).unwrap();
            assert!(values[3].is_nan() && values[999] == f32::INFINITY);
            assert!(values[..3].iter().chain(&values[4..999]).all(|value| *value == 4.0));
        });
    }
}

/// The errors of ranks 0 and 1 of three, when rank 2 does `last` after two sums and they go on summing.
fn errors_after(watchdog: Duration, last: impl Fn(Member) + Sync) -> Vec<String> {
    let settings = Settings { wire: Wire::F32, watchdog };
    let begun = Instant::now();
    let errors = each(threads::world(3, settings, None).unwrap(), |mut member| {
        let mut values = vec![1.0; 100_000];
        (0..2).for_each(|_| member.sum(&mut values).unwrap());
        if member.rank() == 2 {
            last(member);
            return None;
        }
        let error = member.sum(&mut values).unwrap_err();
        assert!(matches!(error, Error::Ranks(_)) && error.exit_code() == 4);
        // From then on nothing is begun.
        assert_eq!(member.barrier().unwrap_err().to_string(), error.to_string());
        assert!(values.iter().all(|value| *value == 9.0), "values of a sum that failed");
        Some(error.to_string())
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    errors.into_iter().flatten().collect()
}

#[test]
fn a_rank_that_ends_or_panics_or_aborts_is_named_by_the_others() {
    let patient = Duration::from_secs(60);
    for error in errors_after(patient, drop) {
        assert!(error.contains("rank 2 on ") && error.contains("has left: it has ended"), "{error}");
        assert!(error.contains("operation 2, a sum of 100000 values"), "{error}");
    }
    let panics = |member: Member| {
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _member = member;
            panic!("a bad day");
        }));
        assert!(panicked.is_err());
    };
    for error in errors_after(patient, panics) {
        assert!(error.contains("rank 2 on ") && error.contains("has left: it panicked"), "{error}");
    }
    let aborts = |member: Member| {
        let said = catch_unwind(AssertUnwindSafe(|| member.abort(3, "no images"))).unwrap_err();
        let said = said.downcast_ref::<String>().unwrap();
        assert!(said.contains("exit code 3") && said.contains("no images"), "{said}");
    };
    for error in errors_after(patient, aborts) {
        assert!(
            error.contains("rank 2 on ") && error.contains("has left: it aborts with exit code 3: no images"),
            "{error}"
        );
    }
}

#[test]
fn the_watchdog_names_a_silent_rank() {
    let sleeps = |_member: Member| thread::sleep(Duration::from_millis(1500));
    for error in errors_after(Duration::from_millis(600), sleeps) {
        assert!(error.contains("rank 2 on") && error.contains("answers and has begun 2 operations only"), "{error}");
        assert!(error.contains("operation 2, a sum of 100000 values"), "{error}");
    }
}

#[test]
fn a_rank_out_of_step_is_an_error_and_no_sum() {
    let errors = each(group(2, Wire::F32, None), |mut member| {
        let len = 1000 + 200 * member.rank();
        member.sum(&mut vec![1.0; len]).unwrap_err().to_string()
    });
    assert!(errors.iter().any(|error| error.contains("out of step")), "{errors:?}");
}

#[test]
fn the_watchdog_names_a_rank_in_another_operation() {
    let settings = Settings { wire: Wire::F32, watchdog: Duration::from_millis(500) };
    let errors = each(threads::world(2, settings, None).unwrap(), |mut member| {
        let error = match member.rank() {
            0 => member.sum(&mut [1.0; 1000]).unwrap_err(),
            _ => member.barrier().unwrap_err(),
        };
        error.to_string()
    });
    // The other one may learn of it first.
    assert!(errors.iter().any(|error| error.contains("is out of step: its operation 0 is a")), "{errors:?}");
}
