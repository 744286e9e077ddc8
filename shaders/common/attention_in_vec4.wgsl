// The values of a head's row, vec4 by vec4, for HEAD a multiple of 4: a load or a store each. Past the row are zeros.
#include "common/attention.wgsl"
#include "common/stored_vec4.wgsl"
@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> kv: array<Stored>;
@group(0) @binding(3) var<storage, read> y_in: array<Stored>;
@group(0) @binding(4) var<storage, read> dy: array<Stored>;
@group(0) @binding(7) var<storage, read_write> y: array<Stored>;
@group(0) @binding(9) var<storage, read_write> dq: array<Stored>;
@group(0) @binding(11) var<storage, read_write> dkv: array<Stored>;

fn is_held(column4: u32) -> bool {
    return HEAD == PADDED * 4u || column4 < HEAD / 4u;
}

fn q_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(column4) { v = loaded(q[row / 4u + column4]); }
    return v;
}

fn kv_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(column4) { v = loaded(kv[row / 4u + column4]); }
    return v;
}

fn y_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(column4) { v = loaded(y_in[row / 4u + column4]); }
    return v;
}

fn dy_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if is_held(column4) { v = loaded(dy[row / 4u + column4]); }
    return v;
}

fn put_y(row: u32, column4: u32, v: vec4<f32>) {
    if is_held(column4) { y[row / 4u + column4] = stored(v); }
}

fn put_dq(row: u32, column4: u32, v: vec4<f32>) {
    if is_held(column4) { dq[row / 4u + column4] = stored(v); }
}

fn put_dkv(row: u32, column4: u32, v: vec4<f32>) {
    if is_held(column4) { dkv[row / 4u + column4] = stored(v); }
}
