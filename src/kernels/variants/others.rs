//! Variants of kernels that are not measured: the built-in table alone chooses them.

/// How the loss shares its rows among invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossVariant {
    /// A row an invocation.
    Scalar,
    /// A row a workgroup, which adds up in its shared memory.
    SharedMemory,
}

/// What AdamW, the moving average and the sums of gradients load and store at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimiserVariant {
    /// A vec4.
    Vec4,
    /// Two vec4s, as 64-bit integers; needs these.
    Wide,
}
