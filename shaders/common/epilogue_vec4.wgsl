// The epilogue of matmuls that store a vec4 at a time; `at` counts these.
#include "common/epilogue.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<Stored>;
@group(0) @binding(5) var<storage, read_write> y: array<Stored>;

fn extra_at(at: u32) -> vec4<f32> {
    var e = vec4(0.0);
    if HAS_EXTRA { e = loaded(extra[at]); }
    return e;
}

// `v` are sums with their biases, `e` what `extra_at` found.
fn put(at: u32, v: vec4<f32>, e: vec4<f32>) {
    y[at] = stored(vec4(after(v.x, e.x), after(v.y, e.y), after(v.z, e.z), after(v.w, e.w)));
}
