//! A task of one's own in a few lines: a linear classifier that tells from a view of 16×16 pixels which photo it was cut
//! from, trained with the trainer, the loader and the AdamW that pretraining uses. `cargo run --example linear_classifier`

use std::sync::Arc;

use bootmae::{
    data::{Loader, LoaderOptions, open},
    device::{Device, DeviceOptions},
    error::Result,
    kernels::Tuning,
    nn::{Init, Param, Params, linear},
    ops::{MaskedMse, Settings},
    shape::TensorType,
    tasks::{Inputs, MicroBatch, Objective, Task},
    train::{Trainer, TrainerOptions},
};

const SIDE: usize = 16;
const BATCH: usize = 16;

/// Least squares on one-hot targets, one class a photo.
struct WhichPhoto(usize);

impl Task for WhichPhoto {
    fn parameters(&self) -> Vec<Param> {
        let weight = Param::new("head.weight", &[self.0, 3 * SIDE * SIDE], Init::Zero, true);
        vec![weight, Param::new("head.bias", &[self.0], Init::Zero, false)]
    }

    fn record<'g>(&self, batch: usize, params: &Params<'g>, _: Option<&Params<'g>>) -> Objective<'g> {
        let input = |name, shape: &[usize]| params.graph().input(name, TensorType::f32(shape));
        let views = input("images", &[batch, 3, SIDE, SIDE]).reshape(&[1, batch, 3 * SIDE * SIDE]);
        let scores = linear(&params.root().at("head"), views);
        let loss = scores.then(MaskedMse, &[input("target", &[1, batch, self.0]), input("weight", &[1, batch])]);
        Objective { loss, scalars: vec![], inspected: vec![("scores", scores)] }
    }

    fn inputs<'b>(&self, _: u64, batch: &MicroBatch<'b>) -> Inputs<'b> {
        let one_hot = |photo: &usize| (0..self.0).map(|class| f32::from(class == *photo)).collect::<Vec<_>>();
        let target: Vec<f32> = batch.shown.iter().flat_map(one_hot).collect();
        Inputs::default()
            .with("images", batch.images)
            .with_owned("target", &target)
            .with_owned("weight", &[1.0f32; BATCH])
    }
}

fn main() -> Result<()> {
    let source = open("examples/photos/train")?;
    let device = pollster::block_on(Device::open(&DeviceOptions::default()))?;
    let options = TrainerOptions { inspect: true, ..TrainerOptions::new(BATCH, 1, Tuning::for_device(&device)) };
    let task = Arc::new(WhichPhoto(source.len()));
    let mut trainer = pollster::block_on(Trainer::new(device, task.clone(), options))?;
    trainer.initialise(0);
    let size = LoaderOptions { batch_size: BATCH, height: SIDE, width: SIDE, ..LoaderOptions::default() };
    let mut loader = Loader::new(source, size, 0)?;
    for step in 1..=500 {
        let batch = loader.next()?;
        let views = MicroBatch { images: &batch.images, samples: &batch.samples, shown: &batch.shown, prepared: &[] };
        trainer.step(&[task.inputs(step, &views)], Settings::new(step, 1e-3, 0.05, (0.9, 0.999), 1e-8, 0.0));
        let loss = pollster::block_on(trainer.take())?.loss;
        let scores = pollster::block_on(trainer.pass().read(trainer.device(), "scores"))?;
        let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let right = scores.chunks(task.0).zip(&batch.shown).filter(|(row, photo)| best(row) == Some(**photo)).count();
        if step % 100 == 0 {
            println!("step {step:3}  loss {loss:.4}  {right} of {BATCH} views told from {} photos", task.0);
        }
    }
    Ok(())
}
