//! A checkpoint's weights on a device, to look at what the network makes of images.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::{
    checkpoint::Model,
    device::Device,
    error::Result,
    model::{ModelConfig, Reconstruction, Reconstructor, Teacher, Weights, of_decoder},
    train::{Trainer, snapshot::NamedTensor},
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
    /// Positions of the patches that no table computes, as a checkpoint has them.
    positions: RefCell<Option<Vec<f32>>>,
}

impl Network {
    /// Makes room for the weights of `config`, which are zero until they are written.
    pub async fn new(device: Device, config: &ModelConfig) -> Result<Network> {
        let weights = Weights::new(&device, config)?;
        let teacher = match config.feature_branch {
            true => Some(Teacher::over(&device, config, weights.layout(), weights.arenas()).await?),
            false => None,
        };
        let (students, positions) = (RefCell::default(), RefCell::default());
        Ok(Network { device, config: config.clone(), weights, students, teacher, positions })
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
        if !model.tensors.iter().any(|tensor| of_decoder(&tensor.name)) {
            return Err("it has no decoder, and without one nothing is reconstructed".into());
        }
        let wanted = (1 + self.config.patches()) * self.config.width;
        let held = |tensors: &[NamedTensor]| {
            let held = tensors.iter().find(|tensor| tensor.name == "pos_embed" && tensor.data.len() == wanted);
            held.map(|tensor| tensor.data.clone())
        };
        let (own, teachers) = (held(&model.tensors), model.teacher.as_deref().and_then(held));
        model.write(&self.device, &self.weights)?;
        // The class token's position is the first row.
        let class = |tensors: &[NamedTensor], positions: &[f32]| {
            let token = tensors.iter().find(|tensor| tensor.name == "cls_token").map(|tensor| &tensor.data);
            token.into_iter().flatten().zip(positions).map(|(value, position)| value + position).collect::<Vec<_>>()
        };
        if let Some(positions) = &own {
            self.weights.write(&self.device, "cls_token", &class(&model.tensors, positions));
        }
        if let (Some(teacher), Some(tensors), Some(positions)) = (&self.teacher, &model.teacher, &teachers) {
            self.weights.write_teacher(&self.device, "cls_token", &class(tensors, positions));
            teacher.set_positions(&self.device, &positions[self.config.width..]);
        }
        self.students.take();
        self.positions.replace(own.map(|positions| positions[self.config.width..].to_vec()));
        Ok(())
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
                let student = Reconstructor::over(&self.device, &config, layout, arenas).await?;
                self.positions.borrow().iter().for_each(|table| student.set_positions(&self.device, table));
                Rc::new(student)
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
