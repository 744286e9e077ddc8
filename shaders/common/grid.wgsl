// The number of an invocation in a dispatch whose workgroups continue from x to y.
fn grid_index(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return id.x + id.y * groups.x * 64u;
}
