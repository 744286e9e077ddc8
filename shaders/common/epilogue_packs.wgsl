// The epilogue of matmuls that store a pack at a time; `at` counts these.
#include "common/epilogue.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<Pack>;
@group(0) @binding(5) var<storage, read_write> y: array<Pack>;

// `sums` have their biases.
fn put(at: u32, sums: array<vec4<f32>, PARTS>) {
    var more = array<vec4<f32>, PARTS>();
    if HAS_EXTRA { more = parts_of(extra[at]); }
    var parts = array<vec4<f32>, PARTS>();
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        parts[p] = vec4(
            after(sums[p].x, more[p].x), after(sums[p].y, more[p].y),
            after(sums[p].z, more[p].z), after(sums[p].w, more[p].w),
        );
    }
    y[at] = whole(parts);
}
