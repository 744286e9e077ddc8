//! The list from which both proofs of every operation come.

use super::{
    Sample, assemble_tokens, attention, attention_bias, cast, column_sum, copy, elementwise, fill_masked, gather_rows,
    gelu, layer_norm, loss_scale, masked_mse, matmul, optimiser, patchify, pool_tokens, reshape, scale_images,
    slice_rows, soft_cross_entropy,
};

/// Samples of every operation, at shapes that straddle the kernels' tiles. Tests and `bootmae doctor` check each
/// against the oracle, forward and gradient.
pub fn samples() -> Vec<Sample> {
    let lists = [
        assemble_tokens::samples(),
        attention::samples(),
        attention_bias::samples(),
        cast::samples(),
        column_sum::samples(),
        copy::samples(),
        elementwise::samples(),
        fill_masked::samples(),
        gather_rows::samples(),
        gelu::samples(),
        layer_norm::samples(),
        loss_scale::samples(),
        masked_mse::samples(),
        optimiser::samples(),
        patchify::samples(),
        pool_tokens::samples(),
        matmul::samples(),
        reshape::samples(),
        scale_images::samples(),
        slice_rows::samples(),
        soft_cross_entropy::samples(),
    ];
    lists.into_iter().flatten().collect()
}
