// Two values, or four in half precision, in 64 bits, the first in the low ones.
fn both(v: u64) -> vec2<f32> { return vec2(bitcast<f32>(u32(v)), bitcast<f32>(u32(v >> 32u))); }
fn of_halves(v: u64) -> vec4<f32> { return vec4(unpack2x16float(u32(v)), unpack2x16float(u32(v >> 32u))); }
fn joined(v: vec2<u32>) -> u64 { return u64(v.x) | (u64(v.y) << 32u); }

// Stored values in two such.
fn vec4_of(v: vec2<u64>) -> vec4<f32> { return vec4(both(v.x), both(v.y)); }
fn bits_of(v: vec4<f32>) -> vec2<u64> { return vec2(joined(bitcast<vec2<u32>>(v.xy)), joined(bitcast<vec2<u32>>(v.zw))); }
