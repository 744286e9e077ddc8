// Values in vec4s. What is bound ends at a multiple of four values; what lies past the last one becomes zero.
fn up_to(v: vec4<f32>, i: u32, len: u32) -> vec4<f32> {
    return select(vec4(0.0), v, vec4(i * 4u) + vec4(0u, 1u, 2u, 3u) < vec4(len));
}
