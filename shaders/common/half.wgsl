// Values in half precision, two in 32 bits, the first in the low ones. WebGPU's core alone suffices for them, so that every
// adapter has them, also one without f16 arithmetic.

// The bits of the nearest half, of two equally near ones the even; infinity beyond the range. (`pack2x16float` may round
// otherwise, and may give anything beyond the range.)
fn half_bits(v: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let size = bits & vec4(0x7fffffffu);
    // Halves from 2^-14 on: another bias of the exponent, and 13 bits less.
    let normal = (size - vec4(0x38000000u) + vec4(0xfffu) + ((size >> vec4(13u)) & vec4(1u))) >> vec4(13u);
    // Below, whole multiples of 2^-24; `round` takes the even of two equally near ones.
    let small = vec4<u32>(round(min(abs(v), vec4(1.0)) * 16777216.0));
    var found = select(normal, small, size < vec4(0x38800000u));
    found = select(found, vec4(0x7c00u), size >= vec4(0x47800000u));
    found = select(found, vec4(0x7e00u), size > vec4(0x7f800000u));
    return found | ((bits >> vec4(16u)) & vec4(0x8000u));
}

fn to_halves(v: vec4<f32>) -> vec2<u32> {
    let bits = half_bits(v);
    return vec2(bits.x | (bits.y << 16u), bits.z | (bits.w << 16u));
}
