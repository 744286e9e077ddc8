//! What one rank of a launched group does, to see that groups of processes hold what groups of threads do.
//!
//! `mpirun -np 4 ranks_check check` compares sums with those made by one; `bench MIB` times them; `sum SECONDS` sums
//! until then, to be disturbed. `leave`, `panic`, `exit`, `abort`, `step` (a sum of another length) and `order` (one
//! sum more) let the last rank do so while others sum; `linger SECONDS` lets it come to its end later than the others.

use std::time::{Duration, Instant};

use bootmae::dist::{self, Collective, Settings, Wire, tree};
use bootmae::error::{Error, Result};

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

/// FNV-1a of the values' bits.
fn hash(values: &[f32]) -> u64 {
    let step = |hash: u64, value: &f32| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3);
    values.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn require(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(format!("does not hold: {what}"))) }
}

/// Every rank's value is this rank's.
fn agreed(group: &mut dyn Collective, what: &str, hash: u64) -> Result<()> {
    let all = group.gather(&hash.to_le_bytes())?;
    require(all.iter().all(|other| *other == hash.to_le_bytes()), what)
}

fn check(group: &mut dyn Collective, settings: Settings) -> Result<()> {
    let (rank, size) = (group.rank(), group.size());
    for len in [0, 1, 7, 1000, 1 << 20, (3 << 20) + 5] {
        let all: Vec<_> = (0..size).map(|rank| bucket(rank, len)).collect();
        let mut serial = vec![0.0; len];
        tree::tree_sum(&all.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut serial);
        let mut sum = bucket(rank, len);
        group.sum(&mut sum)?;
        require(hash(&sum) == hash(&serial), &format!("the serial sum of {len} values"))?;
        group.configure(Settings { wire: Wire::F16, ..settings });
        let mut halves = bucket(rank, len);
        group.sum(&mut halves)?;
        group.configure(settings);
        agreed(group, &format!("equal halves, {len} values"), hash(&halves))?;
    }
    // Side by side, with words between.
    let lens = [5 << 18, 1, 0, 1 << 20, 77];
    let tickets: Result<Vec<_>> = lens.iter().map(|len| group.start_sum(bucket(rank, *len))).collect();
    agreed(group, "one number", 17)?;
    for (ticket, len) in tickets?.into_iter().zip(lens).rev() {
        let sum = group.finish_sum(ticket)?;
        agreed(group, &format!("equal sums of {len} values"), hash(&sum))?;
    }
    for root in 0..size {
        let bytes: Vec<u8> = (0..3_000_001).map(|i| (i % 251 + root) as u8).collect();
        let mut own = if rank == root { bytes.clone() } else { vec![] };
        group.broadcast(&mut own, root)?;
        require(own == bytes, "the root's bytes")?;
        let words = group.gather(&vec![rank as u8; rank * 700_000])?;
        require(words.iter().enumerate().all(|(r, word)| *word == vec![r as u8; r * 700_000]), "everyone's bytes")?;
    }
    if 8 % size == 0 {
        let own = 8 / size;
        let mut sum = tree::TreeSum::new(own);
        (0..own).for_each(|leaf| sum.push(&bucket(rank * own + leaf, 1 << 20)));
        let mut sum = sum.finish();
        group.sum(&mut sum)?;
        agreed(group, "equal leaves", hash(&sum))?;
        if rank == 0 {
            println!("8 leaves on {size} ranks: {:016x}", hash(&sum));
        }
    }
    let places = group.gather(format!("{}:{}", group.host(), group.node_rank()).as_bytes())?;
    if rank == 0 {
        let places: Vec<_> = places.iter().map(|place| String::from_utf8_lossy(place)).collect();
        println!("ok: {size} ranks, {}", places.join(" "));
    }
    Ok(())
}

/// Milliseconds of processor time of this process so far.
fn busy() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the value that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}

/// Milliseconds of a sum, the median of 9, and the least of processor time of one rank.
fn time(group: &mut dyn Collective, values: usize, buckets: usize) -> Result<(f64, f64)> {
    let (mut times, mut worked) = (Vec::new(), Vec::new());
    let mut held: Vec<_> = (0..buckets).map(|_| vec![1.0; values / buckets]).collect();
    for _ in 0..11 {
        group.barrier()?;
        let (begun, before) = (Instant::now(), busy());
        let tickets: Result<Vec<_>> = held.drain(..).map(|bucket| group.start_sum(bucket)).collect();
        for ticket in tickets? {
            held.push(group.finish_sum(ticket)?);
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        worked.push(busy() - before);
        held.iter_mut().for_each(|bucket| bucket.fill(1.0));
    }
    times.drain(..2);
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], worked.into_iter().fold(f64::INFINITY, f64::min)))
}

fn bench(group: &mut dyn Collective, settings: Settings, mib: usize) -> Result<()> {
    for (wire, name) in [(Wire::F32, "f32"), (Wire::F16, "f16")] {
        group.configure(Settings { wire, ..settings });
        for buckets in [1, 4] {
            let (ms, worked) = time(group, mib << 18, buckets)?;
            if group.rank() == 0 {
                let rate = mib as f64 / 1024.0 / (ms / 1e3);
                println!(
                    "{} ranks, {mib} MiB in {buckets}, {name}: {ms:.1} ms, {rate:.2} GiB/s, {worked:.1} ms of a core",
                    group.size()
                );
            }
        }
    }
    Ok(())
}

/// KiB of memory in use.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn sum_until(group: &mut dyn Collective, seconds: u64, last: Option<&str>) -> Result<()> {
    let begun = Instant::now();
    let disturbs = group.rank() + 1 == group.size();
    let mut values = vec![1.0; 1 << 20];
    let (mut count, mut before) = (0_u64, 0);
    loop {
        // All end together.
        let over = begun.elapsed() > Duration::from_secs(seconds);
        if group.gather(&[over.into()])?.iter().any(|over| *over == [1]) {
            break;
        }
        values.fill(1.0);
        if count == 19 && disturbs && last == Some("step") {
            values.truncate(77_777);
        }
        group.sum(&mut values)?;
        count += 1;
        if count == 100 {
            before = memory();
        }
        if count == 20 && disturbs {
            match last {
                Some("leave") => return Ok(()),
                Some("panic") => panic!("as asked"),
                Some("exit") => std::process::exit(0),
                Some("order") => group.sum(&mut [1.0; 77_777])?,
                Some("abort") => group.abort(3, "as asked"),
                _ => {}
            }
        }
    }
    if disturbs && last == Some("linger") {
        std::thread::sleep(Duration::from_secs(6));
    }
    if group.rank() == 0 {
        println!("{count} sums, {before} KiB of memory after 100, {} KiB at the end", memory());
    }
    Ok(())
}

fn run(arguments: &[String], settings: Settings) -> Result<()> {
    let mut group = dist::start(settings)?;
    let group = &mut *group;
    let word = arguments.first().map_or("check", String::as_str);
    let number = |default| arguments.get(1).and_then(|number| number.parse().ok()).unwrap_or(default);
    let done = match word {
        "check" => check(group, settings),
        "bench" => bench(group, settings, number(32) as usize),
        "sum" => sum_until(group, number(5), None),
        word => sum_until(group, number(5), Some(word)),
    };
    // An error of one rank ends all, with its exit code.
    done.or_else(|error| match group.size() {
        1 => Err(error),
        _ => group.abort(error.exit_code().into(), &error.to_string()),
    })
}

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let seconds = std::env::var("WATCHDOG").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(120);
    match run(&arguments, Settings { watchdog: Duration::from_secs(seconds), ..Settings::default() }) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code().into()
        }
    }
}
