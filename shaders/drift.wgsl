// How far the teacher's weights are from the student's, and how long the student's are, a workgroup a chunk: neighbouring
// invocations read neighbouring values.
//   teacher, student  [len]
//   sums              [ceil(len / chunk), 2]  of (teacher - student)^2 and of student^2; chunk is a multiple of 4
#include "common/fours.wgsl"
struct Params { len: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> teacher: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> student: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

const GROUP: u32 = 64u;

var<workgroup> held: array<vec2<f32>, GROUP>;

@compute @workgroup_size(GROUP)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let chunk = group.y * groups.x + group.x;
    let first = chunk * params.chunk;
    if first >= params.len { return; }
    let end = (min(first + params.chunk, params.len) + 3u) / 4u;
    var apart = vec4(0.0);
    var long = vec4(0.0);
    for (var i = first / 4u + local.x; i < end; i += GROUP) {
        let own = student[i];
        let between = up_to(teacher[i] - own, i, params.len);
        let length = up_to(own, i, params.len);
        apart = fma(between, between, apart);
        long = fma(length, length, long);
    }
    held[local.x] = vec2((apart.x + apart.y) + (apart.z + apart.w), (long.x + long.y) + (long.z + long.w));
    workgroupBarrier();
    // In an order that never changes.
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        if local.x < half { held[local.x] += held[local.x + half]; }
        workgroupBarrier();
    }
    if local.x == 0u {
        sums[chunk * 2u] = held[0].x;
        sums[chunk * 2u + 1u] = held[0].y;
    }
}
