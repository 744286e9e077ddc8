// The sums of a over k, one for each row: the gradient of a bias beside that of its weights. Packs of a lie across k.
@group(0) @binding(6) var<storage, read_write> column_sums: array<Pack>;
const SUM_ROWS: u32 = ROW_VECTORS;
const SUM_PACKS: u32 = ROW_VECTORS / PACK;

fn store_column_sums(row: u32, lane: u32) {
    // unroll
    for (var i = 0u; i < SUM_PACKS; i++) {
        var parts = array<vec4<f32>, PARTS>();
        // unroll
        for (var p = 0u; p < PARTS; p++) {
            const first = PACK * i + 4u * p;
            parts[p] = vec4(sums[first], sums[first + 1u], sums[first + 2u], sums[first + 3u]);
        }
        column_sums[row_of(row, PACK * i * LANES + lane, params.m) / PACK] = whole(parts);
    }
}
