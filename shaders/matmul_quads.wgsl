// Matmul for adapters whose loads are dear and that have no subgroups.
#include "common/operands_fours.wgsl"
#include "common/stored_fours.wgsl"
#include "common/matmul_quads.wgsl"
