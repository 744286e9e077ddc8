// The same as `attention_in_vec4.wgsl` for heads of any number of columns: a value a load or a store.
#include "common/attention.wgsl"
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv: array<f32>;
@group(0) @binding(3) var<storage, read> y_in: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;
@group(0) @binding(9) var<storage, read_write> dq: array<f32>;
@group(0) @binding(11) var<storage, read_write> dkv: array<f32>;

fn q_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { v[i] = q[row + column4 * 4u + i]; }
    }
    return v;
}

fn kv_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { v[i] = kv[row + column4 * 4u + i]; }
    }
    return v;
}

fn y_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { v[i] = y_in[row + column4 * 4u + i]; }
    }
    return v;
}

fn dy_vec4(row: u32, column4: u32) -> vec4<f32> {
    var v = vec4(0.0);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { v[i] = dy[row + column4 * 4u + i]; }
    }
    return v;
}

fn put_y(row: u32, column4: u32, v: vec4<f32>) {
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { y[row + column4 * 4u + i] = v[i]; }
    }
}

fn put_dq(row: u32, column4: u32, v: vec4<f32>) {
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { dq[row + column4 * 4u + i] = v[i]; }
    }
}

fn put_dkv(row: u32, column4: u32, v: vec4<f32>) {
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if column4 * 4u + i < HEAD { dkv[row + column4 * 4u + i] = v[i]; }
    }
}
