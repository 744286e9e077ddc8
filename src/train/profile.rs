//! Where a step's time goes: the time and rate of each kernel, the copy that memory is measured with, and a trace.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::{Clock, tune::best_run};
use crate::{
    device::Device,
    error::Result,
    exec::{self, Arenas, Executor, Span},
    graph::Graph,
    lower::{Fetch, Plan, PlanOptions, Planned},
    ops::Copy,
    shape::TensorType,
};

/// Bytes that one copy reads, and as many it writes: more than the caches of GPUs hold.
const COPY_BYTES: u64 = 64 << 20;

/// Copies in a row, so that the time to submit them hardly counts where there are no timestamps.
const COPIES: usize = 8;

/// A dispatch of a step and when it ran.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Shader and entry point.
    pub kernel: String,
    /// The operation's name.
    pub op: &'static str,
    /// Path of the layer that recorded it.
    pub path: String,
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
    /// Floating-point operations of matmuls and attention, 0 for others.
    pub flops: f64,
    /// Bytes of what is bound, read and written.
    pub bytes: u64,
    /// When it ran, from the step's first dispatch on.
    pub span: Span,
}

/// The time that a step spends in one kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelTime {
    /// Shader and entry point, and the operation.
    pub kernel: String,
    /// Dispatches.
    pub calls: usize,
    /// Milliseconds altogether.
    pub ms: f64,
    /// Share of the step's GPU time.
    pub share: f64,
    /// GFLOP/s of matmuls and attention, 0 for others.
    pub gflops: f64,
    /// GB/s of what is bound, read and written once.
    pub gbs: f64,
    /// The rate over the best one measured: of the matmul for kernels with a rate in GFLOP/s, of the copy for others.
    /// Above 1 for small tensors, which stay in caches.
    pub share_of_best: f64,
}

/// The best rates measured on an adapter.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    /// Of matmuls, GFLOP/s.
    pub matmul_gflops: f64,
    /// Of copies, GB/s read and written.
    pub copy_gbs: f64,
}

/// Runs plans once with a pass per dispatch; nothing without timestamps.
pub async fn time_dispatches(device: &Device, plans: &[&Executor]) -> Result<Option<Vec<Timed>>> {
    let Some(spans) = exec::profile(device, plans).await? else { return Ok(None) };
    let dispatches = plans.iter().flat_map(|executor| &executor.plan().dispatches);
    Ok(Some(dispatches.zip(spans.into_iter().flatten()).map(|(planned, span)| timed(planned, span)).collect()))
}

fn timed(planned: &Planned, span: Span) -> Timed {
    let Planned { groups, op, flops, bytes, .. } = *planned;
    Timed { kernel: planned.kernel.label(), op, path: planned.path.clone(), groups, flops, bytes, span }
}

/// Adds up the dispatches by kernel, the longest first.
pub fn by_kernel(dispatches: &[Timed], best: Best) -> Vec<KernelTime> {
    let mut sums: BTreeMap<String, KernelTime> = BTreeMap::new();
    for d in dispatches {
        let kernel = format!("{} ({})", d.kernel, d.op);
        let zero = KernelTime { kernel, calls: 0, ms: 0.0, share: 0.0, gflops: 0.0, gbs: 0.0, share_of_best: 0.0 };
        let sum = sums.entry(zero.kernel.clone()).or_insert(zero);
        sum.calls += 1;
        sum.ms += (d.span.end - d.span.begin).max(0.0) * 1e3;
        sum.gflops += d.flops / 1e6;
        sum.gbs += d.bytes as f64 / 1e6;
    }
    let mut list: Vec<_> = sums.into_values().collect();
    let total: f64 = list.iter().map(|k| k.ms).sum();
    // A coarse clock may see no time pass.
    let over = |value: f64, whole: f64| if whole > 0.0 { value / whole } else { 0.0 };
    for kernel in &mut list {
        kernel.share = over(kernel.ms, total);
        kernel.gflops = over(kernel.gflops, kernel.ms);
        kernel.gbs = over(kernel.gbs, kernel.ms);
        kernel.share_of_best =
            if kernel.gflops > 0.0 { over(kernel.gflops, best.matmul_gflops) } else { over(kernel.gbs, best.copy_gbs) };
    }
    list.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    list
}

/// The dispatches as a trace for `chrome://tracing` or Perfetto: complete events in the order of the queue, in
/// microseconds. Where a GPU overlaps two dispatches, the later one is drawn from the end of the one before.
pub fn trace(adapter: &str, dispatches: &[Timed]) -> serde_json::Value {
    let mut last: f64 = 0.0;
    let events = dispatches.iter().map(|d| {
        let begin = (d.span.begin * 1e6).max(last);
        last = (d.span.end * 1e6).max(begin);
        json!({
            "name": d.kernel,
            "cat": d.op,
            "ph": "X",
            "ts": begin,
            "dur": last - begin,
            "pid": 0,
            "tid": 0,
            "args": { "path": d.path, "groups": d.groups, "gflop": d.flops / 1e9, "mb": d.bytes as f64 / 1e6 },
        })
    });
    let events: Vec<_> = events.collect();
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": { "adapter": adapter } })
}

/// GB/s, read and written, of the best of several large copies: by the adapter's timestamps where it has them, else by
/// the host's clock.
pub async fn copy_rate(device: &Device, clock: Clock<'_>) -> Result<f64> {
    let bytes = COPY_BYTES.min(device.max_binding_bytes()) / 16 * 16;
    let graph = Graph::new();
    let mut copy = graph.input("x", TensorType::f32(&[bytes as usize / 4]));
    for _ in 0..COPIES {
        copy = copy.then(Copy, &[]);
    }
    let corner = copy.then(crate::ops::SliceVector { first: 0, len: 1 }, &[]);
    let plan = Plan::new(&graph, &[Fetch::new("corner", corner)], &PlanOptions::default());
    let executor = Executor::new(device, plan, &Arenas::default()).await?;
    let mut best = best_run(device, &executor, "corner", 1, f64::INFINITY, clock).await? / COPIES as f64;
    if let Some(plans) = exec::profile(device, &[&executor]).await? {
        let durations = plans[0][..COPIES].iter().map(|span| span.end - span.begin);
        best = durations.filter(|seconds| *seconds > 0.0).fold(best, f64::min);
    }
    Ok(2.0 * bytes as f64 / best / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(kernel: &str, flops: f64, begin: f64, end: f64) -> Timed {
        Timed {
            kernel: kernel.into(),
            op: "op",
            path: "blocks.0.mlp".into(),
            groups: [4, 2, 1],
            flops,
            bytes: 3_000_000,
            span: Span { begin, end },
        }
    }

    #[test]
    fn kernels_are_added_up_and_measured_against_the_best_of_their_kind() {
        let list = [dispatch("a", 0.0, 0.0, 1e-3), dispatch("b", 2e6, 1e-3, 5e-3), dispatch("a", 0.0, 5e-3, 7e-3)];
        let kernels = by_kernel(&list, Best { matmul_gflops: 2.0, copy_gbs: 4.0 });
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got}, expected {want}");
        assert_eq!((&kernels[0].kernel[..], kernels[0].calls), ("b (op)", 1));
        assert_eq!((&kernels[1].kernel[..], kernels[1].calls), ("a (op)", 2));
        near(kernels[0].gflops, 0.5);
        near(kernels[0].share_of_best, 0.25);
        near(kernels[1].ms, 3.0);
        near(kernels[1].share, 3.0 / 7.0);
        near(kernels[1].gbs, 2.0);
        near(kernels[1].share_of_best, 0.5);
    }

    #[test]
    fn a_clock_that_stands_still_gives_finite_rates() {
        let kernels = by_kernel(&[dispatch("a", 1.0, 2.0, 2.0)], Best { matmul_gflops: 0.0, copy_gbs: 0.0 });
        assert_eq!((kernels[0].gflops, kernels[0].gbs, kernels[0].share), (0.0, 0.0, 0.0));
    }

    #[test]
    fn events_of_a_trace_are_in_order_and_do_not_overlap() {
        // Apart, then overlapping, then inside the one before, then with a clock that ran backwards.
        let spans = [(0.0, 1e-3), (2e-3, 4e-3), (3e-3, 5e-3), (4e-3, 4.5e-3), (7e-3, 6e-3)];
        let list: Vec<_> = spans.iter().map(|(begin, end)| dispatch("matmul.forward", 1e9, *begin, *end)).collect();
        let text = serde_json::to_string(&trace("some \"adapter\"", &list)).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["otherData"]["adapter"], "some \"adapter\"");
        let events = parsed["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), spans.len());
        let mut last = 0.0;
        for event in events {
            let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            assert!(ts >= last && dur >= 0.0, "{event} begins before {last}");
            last = ts + dur;
            assert_eq!((&event["ph"], &event["name"]), (&json!("X"), &json!("matmul.forward")));
            assert_eq!(event["args"]["path"], "blocks.0.mlp");
            assert_eq!(event["args"]["groups"], json!([4, 2, 1]));
        }
        assert_eq!((events[1]["ts"].as_f64(), events[1]["dur"].as_f64()), (Some(2000.0), Some(2000.0)));
    }

    #[test]
    fn a_matmul_counts_its_operands_once_and_an_update_in_place_twice() {
        use crate::{
            kernels::Form,
            ops::{Accumulate, Matmul},
        };
        let graph = Graph::new();
        let input = |name: &str, shape: &[usize]| graph.input(name, TensorType::f32(shape));
        let matmul = Matmul::of(Form::Nt, input("a", &[8, 4]), input("b", &[2, 4]));
        let sum = input("sum", &[8]).then(Accumulate, &[input("gradient", &[8]), input("keep", &[1])]);
        let fetch = [Fetch::new("matmul", matmul), Fetch::new("sum", sum)];
        let plan = Plan::new(&graph, &fetch, &PlanOptions::default());
        assert_eq!(plan.dispatches[0].bytes, 4 * (8 * 4 + 2 * 4 + 8 * 2));
        assert_eq!(plan.dispatches[0].flops, 2.0 * 8.0 * 2.0 * 4.0);
        assert_eq!(plan.dispatches[1].bytes, 4 * (8 + 1 + 2 * 8));
    }

    #[test]
    fn both_kernels_of_attention_s_gradient_have_floating_point_operations() {
        use crate::{graph::gradients, ops::Attention};
        let graph = Graph::new();
        let input = |name: &str, shape: &[usize]| graph.input(name, TensorType::f32(shape));
        let qkv = input("qkv", &[2, 5, 3 * 8]);
        let y = qkv.then(Attention { heads: 2, first_query: 0 }, &[]);
        let dqkv = gradients(y, input("dy", &[2, 5, 8]), &[qkv])[0];
        let plan = Plan::new(&graph, &[Fetch::new("dqkv", dqkv)], &PlanOptions::default());
        let flops: Vec<f64> = plan.dispatches.iter().map(|d| d.flops).collect();
        assert_eq!(flops, [4.0 * 2.0 * 5.0 * 5.0 * 8.0; 3]);
    }
}
