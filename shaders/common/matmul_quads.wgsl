// Matmul for adapters whose loads are dear and that have no subgroups to share them: a register tile as in
// `matmul.wgsl`, but a load brings four values and an accumulator takes four terms at a time. n and k are multiples of 4,
// and so is m where a is stored along it.
#include "common/matmul.wgsl"
const ROW_QUADS: u32 = 2u;  // rows of an invocation / 4
const COL_QUADS: u32 = 2u;
const TILE_M: u32 = 8u;     // ROW_QUADS * 4
const TILE_N: u32 = 8u;
const TILE: u32 = 64u;      // TILE_M * TILE_N
const GROUP_M: u32 = 1u;
const GROUP_N: u32 = 8u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

@group(0) @binding(4) var<storage, read> extra: array<Four>;
@group(0) @binding(5) var<storage, read_write> y: array<Four>;
@group(0) @binding(6) var<storage, read_write> slopes: array<Four>;

var<private> acc: array<f32, TILE>;

// Terms k to k + 3, a column of the result each row: of a's rows from `row` on, of b's columns from `column` on.
fn quad_of_a(row: u32, k: u32) -> mat4x4<f32> {
    if A_ALONG_K == 1u {
        let last = params.m - 1u;
        return mat4x4(
            a_at((min(row, last) * params.a_row + k) / 4u), a_at((min(row + 1u, last) * params.a_row + k) / 4u),
            a_at((min(row + 2u, last) * params.a_row + k) / 4u), a_at((min(row + 3u, last) * params.a_row + k) / 4u),
        );
    }
    let at = (min(row, params.m - 4u) + k * params.a_k) / 4u;
    let step = params.a_k / 4u;
    return transpose(mat4x4(a_at(at), a_at(at + step), a_at(at + 2u * step), a_at(at + 3u * step)));
}

fn quad_of_b(column: u32, k: u32) -> mat4x4<f32> {
    if B_ALONG_K == 1u {
        let last = params.n - 1u;
        return mat4x4(
            b_at((min(column, last) * params.b_column + k) / 4u), b_at((min(column + 1u, last) * params.b_column + k) / 4u),
            b_at((min(column + 2u, last) * params.b_column + k) / 4u), b_at((min(column + 3u, last) * params.b_column + k) / 4u),
        );
    }
    let at = (min(column, params.n - 4u) + k * params.b_k) / 4u;
    let step = params.b_k / 4u;
    return transpose(mat4x4(b_at(at), b_at(at + step), b_at(at + 2u * step), b_at(at + 3u * step)));
}

// Column of quad j of an invocation's tile.
fn column_of(group: u32, local: u32, j: u32) -> u32 {
    return (group * GROUP_N * COL_QUADS + j * GROUP_N + local) * 4u;
}

fn accumulate(row: u32, group: u32, local: u32) {
    // unroll
    for (var j = 0u; j < TILE_N; j++) {
        let start = bias_of(column_of(group, local, j / 4u) + j % 4u);
        // unroll
        for (var i = 0u; i < TILE_M; i++) { acc[i * TILE_N + j] = start; }
    }
    for (var k = 0u; k < params.k; k += 4u) {
        var x = array<vec4<f32>, TILE_N>();
        // unroll
        for (var j = 0u; j < COL_QUADS; j++) {
            let block = quad_of_b(column_of(group, local, j), k);
            // unroll
            for (var l = 0u; l < 4u; l++) { x[j * 4u + l] = block[l]; }
        }
        // unroll
        for (var q = 0u; q < ROW_QUADS; q++) {
            let block = quad_of_a(row + q * 4u, k);
            // unroll
            for (var i = 0u; i < 4u; i++) {
                let v = block[i];
                // unroll
                for (var j = 0u; j < TILE_N; j++) {
                    let at = (q * 4u + i) * TILE_N + j;
                    acc[at] += dot(v, x[j]);
                }
            }
        }
    }
}

@compute @workgroup_size(GROUP_N, GROUP_M)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = (group.y * GROUP_M + local.y) * TILE_M;
    accumulate(row, group.x, local.x);
    // unroll
    for (var i = 0u; i < TILE_M; i++) {
        // unroll
        for (var j = 0u; j < COL_QUADS; j++) {
            let column = column_of(group.x, local.x, j);
            if row + i < params.m && column < params.n {
                let at = ((row + i) * params.n + column) / 4u;
                let first = i * TILE_N + j * 4u;
                var e = vec4(0.0);
                if HAS_EXTRA { e = loaded(extra[at]); }
                y[at] = stored(vec4(
                    after(acc[first], e.x), after(acc[first + 1u], e.y),
                    after(acc[first + 2u], e.z), after(acc[first + 3u], e.w),
                ));
            }
        }
    }
}

@compute @workgroup_size(GROUP_N, GROUP_M)
fn forward_gelu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = (group.y * GROUP_M + local.y) * TILE_M;
    accumulate(row, group.x, local.x);
    // unroll
    for (var i = 0u; i < TILE_M; i++) {
        // unroll
        for (var j = 0u; j < COL_QUADS; j++) {
            let column = column_of(group.x, local.x, j);
            if row + i < params.m && column < params.n {
                let at = ((row + i) * params.n + column) / 4u;
                let first = i * TILE_N + j * 4u;
                let v = vec4(acc[first], acc[first + 1u], acc[first + 2u], acc[first + 3u]);
                let both = activated(v);
                y[at] = stored(both.y);
                slopes[at] = stored(both.slope);
            }
        }
    }
}
