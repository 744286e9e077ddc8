// What becomes of a matmul's sum and bias: itself, with a residual added, its GELU, or times a slope of GELU. Residual and
// slope are `extra`, a tensor as y.
#include "common/gelu.wgsl"
// 0 itself, 1 with extra added, 2 its GELU, 3 times extra.
const EPILOGUE: u32 = 0u;
const HAS_EXTRA: bool = EPILOGUE == 1u || EPILOGUE == 3u;


fn after(v: f32, extra: f32) -> f32 {
    if EPILOGUE == 1u { return v + extra; }
    if EPILOGUE == 2u { return gelu(v); }
    if EPILOGUE == 3u { return v * extra; }
    return v;
}
