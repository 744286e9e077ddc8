//! A checkpoint's weights on a device, to look at what the network makes of images.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::{
    checkpoint::Model,
    device::Device,
    error::Result,
    model::{ModelConfig, Reconstruction, Reconstructor, Teacher, Weights},
    train::Trainer,
};

/// How many students are kept, each for one number of hidden patches.
const KEPT: usize = 8;

/// Student and teacher over the weights of a trainer, for one image at a time.
pub async fn of_trainer(trainer: &Trainer, config: &ModelConfig) -> Result<(Reconstructor, Option<Teacher>)> {
    let (device, layout, arenas) = (trainer.device(), trainer.layout(), trainer.arenas());
    let student = Reconstructor::over(device, config, layout, arenas).await?;
    let teacher = match config.feature_branch {
        true => Some(Teacher::over(device, config, layout, arenas).await?),
        false => None,
    };
    Ok((student, teacher))
}

/// Student and teacher with weights of their own.
pub struct Network {
    device: Device,
    config: ModelConfig,
    weights: Weights,
    /// The most recently used last.
    students: RefCell<VecDeque<(usize, Rc<Reconstructor>)>>,
    teacher: Option<Teacher>,
}

impl Network {
    /// Makes room for the weights of `config`, which are zero until they are written.
    pub async fn new(device: Device, config: &ModelConfig) -> Result<Network> {
        let weights = Weights::new(&device, config)?;
        let teacher = match config.feature_branch {
            true => Some(Teacher::over(&device, config, weights.layout(), weights.arenas()).await?),
            false => None,
        };
        Ok(Network { device, config: config.clone(), weights, students: RefCell::default(), teacher })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Values of all parameters.
    pub fn parameters(&self) -> usize {
        self.weights.layout().count()
    }

    /// Takes the weights that training with this seed starts from; the teacher's stay as they are.
    pub fn write_start(&self, seed: u64) {
        for param in &self.weights.layout().params {
            self.weights.write(&self.device, &param.name, &param.initial(seed));
        }
    }

    /// Takes a checkpoint's weights, or says in words which tensor is missing and changes nothing.
    pub fn write(&self, model: &Model) -> Result<(), String> {
        model.write(&self.device, &self.weights)
    }

    /// Reconstructs `image [channels, height, width]` from the visible patches of `order`, whose last `masked` are hidden.
    pub async fn reconstruct(&self, image: &[f32], order: &[u32], masked: usize) -> Result<Reconstruction> {
        let student = self.student(masked).await?;
        student.run(&self.device, image, order).await
    }

    /// The teacher's features of all patches of an image, `[patches, width]`, where there is a teacher.
    pub async fn features(&self, image: &[f32]) -> Result<Option<Vec<f32>>> {
        match &self.teacher {
            Some(teacher) => teacher.begin(&self.device, image).finish(&self.device).await.map(Some),
            None => Ok(None),
        }
    }

    /// The student for a number of hidden patches. A plan has fixed shapes, so that there is one for each number.
    async fn student(&self, masked: usize) -> Result<Rc<Reconstructor>> {
        let mut held = self.students.take();
        let student = match held.iter().position(|(count, _)| *count == masked).and_then(|at| held.remove(at)) {
            Some((_, student)) => student,
            None => {
                let config = self.config.clone().with_masked(masked);
                let (layout, arenas) = (self.weights.layout(), self.weights.arenas());
                Rc::new(Reconstructor::over(&self.device, &config, layout, arenas).await?)
            }
        };
        held.push_back((masked, student.clone()));
        while held.len() > KEPT {
            held.pop_front();
        }
        self.students.replace(held);
        Ok(student)
    }
}
