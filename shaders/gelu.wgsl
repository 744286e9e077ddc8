// GELU with the exact error function: y = x * Phi(x), slope = Phi(x) + x * phi(x), dx = dy * slope. An invocation takes
// several vec4s, since software adapters need as long to start one as to compute one.
//   x, y, dy, dx, slopes  [len]; in `times_slope` x holds the slopes
#include "common/grid.wgsl"
#include "common/vec4s.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/many_vec4s.wgsl"
#include "common/gelu.wgsl"
struct Params { len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Stored>;
@group(0) @binding(2) var<storage, read> dy: array<Stored>;
@group(0) @binding(3) var<storage, read_write> y: array<Stored>;
@group(0) @binding(4) var<storage, read_write> slopes: array<Stored>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = first_vec4(grid_index(id, groups));
    // unroll
    for (var n = 0u; n < VEC4S; n++) {
        let i = first + n * ACROSS;
        if i * 4u < params.len {
            let v = loaded(x[i]);
            y[i] = stored(up_to(vec4(gelu(v.x), gelu(v.y), gelu(v.z), gelu(v.w)), i, params.len));
        }
    }
}

@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = first_vec4(grid_index(id, groups));
    // unroll
    for (var n = 0u; n < VEC4S; n++) {
        let i = first + n * ACROSS;
        if i * 4u < params.len {
            y[i] = stored(up_to(loaded(dy[i]) * activated(loaded(x[i])).slope, i, params.len));
        }
    }
}

@compute @workgroup_size(64)
fn forward_slope(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = first_vec4(grid_index(id, groups));
    // unroll
    for (var n = 0u; n < VEC4S; n++) {
        let i = first + n * ACROSS;
        if i * 4u < params.len {
            let both = activated(loaded(x[i]));
            y[i] = stored(up_to(both.y, i, params.len));
            slopes[i] = stored(up_to(both.slope, i, params.len));
        }
    }
}

@compute @workgroup_size(64)
fn times_slope(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = first_vec4(grid_index(id, groups));
    // unroll
    for (var n = 0u; n < VEC4S; n++) {
        let i = first + n * ACROSS;
        if i * 4u < params.len { y[i] = stored(up_to(loaded(dy[i]) * loaded(x[i]), i, params.len)); }
    }
}
