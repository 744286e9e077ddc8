// The scale of a loss whose gradients are rounded to half precision: after a step whose gradients are not all finite it
// halves, after PATIENCE good ones in a row it doubles.
//   health    [2]  sum of squares of the scaled gradients, number of values that are not finite
//   state     [2]  scale, good steps since it changed; in place
//   unscaled  [3]  sum of squares of the gradients themselves, number of values that are not finite, 1 / scale
struct Params { least: f32, most: f32, patience: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> health: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> unscaled: array<f32>;

@compute @workgroup_size(1)
fn forward() {
    let scale = state[0];
    let inverse = 1.0 / scale;
    unscaled[0] = health[0] * inverse * inverse;
    unscaled[1] = health[1];
    unscaled[2] = inverse;
    if health[1] > 0.0 {
        state[0] = max(scale * 0.5, params.least);
        state[1] = 0.0;
    } else if state[1] + 1.0 >= params.patience {
        state[0] = min(scale * 2.0, params.most);
        state[1] = 0.0;
    } else {
        state[1] += 1.0;
    }
}
