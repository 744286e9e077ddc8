//! The tuner's numbers, with what each is for: how long it may take, what is measured, and what is measured again.

/// Seconds that a tuning may take, unless said otherwise; a measurement in progress is finished.
pub const BUDGET_S: f64 = 20.0;

/// The most and the least seconds that one timed run is meant to take.
pub(super) const RUN_S: (f64, f64) = (0.05, 0.01);
/// The most repetitions in a timed run.
pub(super) const REPEATS: f64 = 64.0;
/// Floating-point operations of the run that estimates an adapter's rate.
pub(super) const TRIAL_FLOPS: f64 = 32e6;
/// Rows of a matmul are cut to a multiple of this.
pub(super) const ROWS: usize = 64;
/// Values after which inputs repeat: to make as many as a GPU multiplies in a moment would take longer than that.
pub(super) const PATTERN: usize = 251 << 8;
/// How long a GPU is kept busy before it is timed: while kernels were compiled, its clock went down. An H100 takes between a
/// tenth and a quarter of a second until it is up again.
pub(super) const WARM_S: f64 = 0.3;

/// A candidate this many times slower than the best is not run again.
pub(super) const HOPELESS: f64 = 2.0;
/// One this many times slower is not tried for another class either: on a software adapter rates hardly depend on how many
/// workgroups a matmul has, on a GPU they do.
pub(super) const RULED_OUT: [f64; 2] = [2.0, 3.0];
/// Candidates at most this many times slower than the best are timed in turn again, round by round, since machines are noisy:
/// for a moment, one may be half as fast. That moment is to count against none, so the first round takes in more.
pub(super) const NEAR: [f64; 3] = [3.0, 1.7, 1.7];
/// A variant expected to be this many times slower than the best at a shape is not measured there.
pub(super) const UNLIKELY: f64 = 1.2;
/// Where a variant falls this far behind what its class lets expect of a shape, something may have disturbed the
/// measurement: all near ones are timed once more.
pub(super) const DOUBTFUL: f64 = 0.95;
/// How often all candidates are timed in turn where they are to be compared patiently.
pub(super) const PATIENCE: usize = 7;
