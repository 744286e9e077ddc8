// The values of a head's row, quad by quad, for HEAD a multiple of 4: a load or a store each. Past the row are zeros.
#include "common/attention.wgsl"
@group(0) @binding(1) var<storage, read> q: array<Four>;
@group(0) @binding(2) var<storage, read> kv: array<Four>;
@group(0) @binding(3) var<storage, read> y_in: array<Four>;
@group(0) @binding(4) var<storage, read> dy: array<Four>;
@group(0) @binding(7) var<storage, read_write> y: array<Four>;
@group(0) @binding(9) var<storage, read_write> dq: array<Four>;
@group(0) @binding(11) var<storage, read_write> dkv: array<Four>;

fn is_held(quad: u32) -> bool {
    return HEAD == PADDED * 4u || quad < HEAD / 4u;
}

fn q_quad(row: u32, quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(quad) { v = loaded(q[row / 4u + quad]); }
    return v;
}

fn kv_quad(row: u32, quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(quad) { v = loaded(kv[row / 4u + quad]); }
    return v;
}

fn y_quad(row: u32, quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(quad) { v = loaded(y_in[row / 4u + quad]); }
    return v;
}

fn dy_quad(row: u32, quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(quad) { v = loaded(dy[row / 4u + quad]); }
    return v;
}

fn put_y(row: u32, quad: u32, v: vec4<f32>) {
    if is_held(quad) { y[row / 4u + quad] = stored(v); }
}

fn put_dq(row: u32, quad: u32, v: vec4<f32>) {
    if is_held(quad) { dq[row / 4u + quad] = stored(v); }
}

fn put_dkv(row: u32, quad: u32, v: vec4<f32>) {
    if is_held(quad) { dkv[row / 4u + quad] = stored(v); }
}
