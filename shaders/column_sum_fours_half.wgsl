// Sums of rows in half precision, four columns at a time; the sums are f32.
#include "common/stored_fours_half.wgsl"
#include "common/column_sum_fours.wgsl"
