// No sums of a over k beside the matmul.
const SUM_ROWS: u32 = 0u;
fn store_column_sums(row: u32, lane: u32) {}
