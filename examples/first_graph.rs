//! The core in forty lines: record a computation, ask for gradients, plan it, run it on the GPU, and check it against
//! the f64 oracle. `cargo run --example first_graph`

use bootmae::{
    device::{Device, DeviceOptions},
    error::Result,
    exec::{Arenas, Executor},
    graph::{Array, Graph, gradients, interpret},
    kernels::Form,
    lower::{Fetch, Plan, PlanOptions},
    ops::{Gelu, Matmul},
    shape::TensorType,
};

fn main() -> Result<()> {
    // Recording: ordinary Rust over handles; nothing runs yet.
    let graph = Graph::new();
    let x = graph.input("x", TensorType::f32(&[4, 8]));
    let weight = graph.input("weight", TensorType::f32(&[3, 8]));
    let y = Matmul::of(Form::Nt, x, weight).then(Gelu, &[]);
    let dy = graph.input("dy", TensorType::f32(&[4, 3]));
    let dweight = gradients(y, dy, &[weight])[0];

    // A plan is plain data: dispatches over numbered buffers.
    let plan = Plan::new(&graph, &[Fetch::new("y", y), Fetch::new("dweight", dweight)], &PlanOptions::default());
    println!("{plan}\n");

    let device = pollster::block_on(Device::open(&DeviceOptions::default()))?;
    println!("on {}", device.adapter());
    let executor = pollster::block_on(Executor::new(&device, plan, &Arenas::default()))?;
    let wave = |len: usize, step: f32| (0..len).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
    let leaves = [("x", x, wave(32, 0.7)), ("weight", weight, wave(24, 1.3)), ("dy", dy, wave(12, 0.4))];
    for (name, _, values) in &leaves {
        executor.write(&device, name, bytemuck::cast_slice(values));
    }
    executor.run(&device);
    let got = pollster::block_on(executor.read(&device, "dweight"))?;

    let exact: Vec<_> = leaves.iter().map(|(_, t, values)| (*t, Array::from_f32(&t.shape(), values))).collect();
    let want = &interpret(&graph, &exact, &[dweight])[0];
    let worst = got.iter().zip(&want.data).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
    println!("gradient of the weight: largest difference from the oracle {worst:.1e}");
    Ok(())
}
