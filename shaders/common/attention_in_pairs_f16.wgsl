// The same as `attention_in_eights_f16.wgsl` for HEAD a multiple of 2: two values a load or a store.
#include "common/attention.wgsl"
struct Eight { low: vec4<f16>, high: vec4<f16> }
@group(0) @binding(1) var<storage, read> q: array<vec2<f16>>;
@group(0) @binding(2) var<storage, read> kv: array<vec2<f16>>;
@group(0) @binding(3) var<storage, read> y_in: array<vec2<f16>>;
@group(0) @binding(4) var<storage, read> dy: array<vec2<f16>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec2<f16>>;
@group(0) @binding(9) var<storage, read_write> dq: array<vec2<f16>>;
@group(0) @binding(11) var<storage, read_write> dkv: array<vec2<f16>>;

fn of_pairs(v: array<vec2<f16>, 4>) -> Eight {
    return Eight(vec4(v[0], v[1]), vec4(v[2], v[3]));
}

fn to_pairs(v: Eight) -> array<vec2<f16>, 4> {
    return array<vec2<f16>, 4>(v.low.xy, v.low.zw, v.high.xy, v.high.zw);
}

fn q_eight(row: u32, eight: u32) -> Eight {
    var v = array<vec2<f16>, 4>();
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { v[i] = q[row / 2u + eight * 4u + i]; }
    }
    return of_pairs(v);
}

fn kv_eight(row: u32, eight: u32) -> Eight {
    var v = array<vec2<f16>, 4>();
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { v[i] = kv[row / 2u + eight * 4u + i]; }
    }
    return of_pairs(v);
}

fn y_eight(row: u32, eight: u32) -> Eight {
    var v = array<vec2<f16>, 4>();
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { v[i] = y_in[row / 2u + eight * 4u + i]; }
    }
    return of_pairs(v);
}

fn dy_eight(row: u32, eight: u32) -> Eight {
    var v = array<vec2<f16>, 4>();
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { v[i] = dy[row / 2u + eight * 4u + i]; }
    }
    return of_pairs(v);
}

fn put_y(row: u32, eight: u32, v: Eight) {
    let pairs = to_pairs(v);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { y[row / 2u + eight * 4u + i] = pairs[i]; }
    }
}

fn put_dq(row: u32, eight: u32, v: Eight) {
    let pairs = to_pairs(v);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { dq[row / 2u + eight * 4u + i] = pairs[i]; }
    }
}

fn put_dkv(row: u32, eight: u32, v: Eight) {
    let pairs = to_pairs(v);
    // unroll
    for (var i = 0u; i < 4u; i++) {
        if eight * 8u + i * 2u < HEAD { dkv[row / 2u + eight * 4u + i] = pairs[i]; }
    }
}
