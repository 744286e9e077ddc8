// Sums of rows, four columns at a time.
#include "common/stored_fours.wgsl"
#include "common/column_sum_fours.wgsl"
