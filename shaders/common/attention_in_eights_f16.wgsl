// The values of a head's row in half precision, eight by eight, for HEAD a multiple of 8: a load or a store each. Past the
// row are zeros.
#include "common/attention.wgsl"
struct Eight { low: vec4<f16>, high: vec4<f16> }
@group(0) @binding(1) var<storage, read> q: array<Eight>;
@group(0) @binding(2) var<storage, read> kv: array<Eight>;
@group(0) @binding(3) var<storage, read> y_in: array<Eight>;
@group(0) @binding(4) var<storage, read> dy: array<Eight>;
@group(0) @binding(7) var<storage, read_write> y: array<Eight>;
@group(0) @binding(9) var<storage, read_write> dq: array<Eight>;
@group(0) @binding(11) var<storage, read_write> dkv: array<Eight>;

fn is_held(eight: u32) -> bool {
    return HEAD == EIGHTS * 8u || eight < HEAD / 8u;
}

fn q_eight(row: u32, eight: u32) -> Eight {
    var v = Eight();
    if is_held(eight) { v = q[row / 8u + eight]; }
    return v;
}

fn kv_eight(row: u32, eight: u32) -> Eight {
    var v = Eight();
    if is_held(eight) { v = kv[row / 8u + eight]; }
    return v;
}

fn y_eight(row: u32, eight: u32) -> Eight {
    var v = Eight();
    if is_held(eight) { v = y_in[row / 8u + eight]; }
    return v;
}

fn dy_eight(row: u32, eight: u32) -> Eight {
    var v = Eight();
    if is_held(eight) { v = dy[row / 8u + eight]; }
    return v;
}

fn put_y(row: u32, eight: u32, v: Eight) {
    if is_held(eight) { y[row / 8u + eight] = v; }
}

fn put_dq(row: u32, eight: u32, v: Eight) {
    if is_held(eight) { dq[row / 8u + eight] = v; }
}

fn put_dkv(row: u32, eight: u32, v: Eight) {
    if is_held(eight) { dkv[row / 8u + eight] = v; }
}
