//! Features of many images with their labels, and how they were made: what a feature file holds.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use crate::{
    checkpoint::what_it_is,
    data::Labels,
    error::{Error, Result},
    formats::tensors::{self, TensorData, TensorFile, Values},
};

/// The most values of a feature.
pub const MOST_WIDTH: usize = 1 << 16;

/// What two sets of features must agree in to be compared.
const MADE_BY: [&str; 8] =
    ["checkpoint", "weights", "pool", "norm", "blocks", "precision", "transform", "normalisation"];

/// Features of images, in the order of their source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Where they come from, as a message names it: a feature file, or the source of the images.
    pub place: String,
    /// How they were made (see [`Encoder::about`](super::encoder::Encoder::about)), with the `source` of the images and its
    /// `split`.
    pub about: BTreeMap<String, String>,
    /// The label of each image.
    pub labels: Labels,
    /// Values of a feature.
    pub width: usize,
    /// `[images, width]`.
    pub values: Vec<f32>,
    /// The number of each image in its source; nothing where they were read from a file.
    pub images: Vec<i64>,
    /// The name of each image; nothing where they were read from a file.
    pub names: Vec<String>,
}

impl Features {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The class of each image, −1 for none.
    pub fn classes(&self) -> Vec<i64> {
        (0..self.len()).map(|image| self.labels.of(image).map_or(-1, i64::from)).collect()
    }

    /// Reads a feature file in safetensors. A file of others may lack what says how the features were made.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] or [`Error::Io`] with the path: it cannot be read, is damaged or no feature file, a value is not
    /// finite, or a label is no class.
    pub fn read(path: &Path) -> Result<Features> {
        let fail = |reason: String| Error::checkpoint(path, reason);
        let file = File::open(path).map_err(Error::io(path))?;
        let found = file.metadata().map_err(Error::io(path))?;
        if !found.is_file() {
            return Err(fail("not a file".into()));
        }
        let mut file = BufReader::new(file);
        if let Some(what) = what_it_is(file.fill_buf().map_err(Error::io(path))?) {
            return Err(fail(format!(
                "no safetensors but {what}; `bootmae embed --out NAME.safetensors` makes features"
            )));
        }
        let file = tensors::read(file, found.len()).map_err(fail)?;
        let features = Features::of_file(file).map_err(fail)?;
        Ok(Features { place: path.display().to_string(), ..features })
    }

    /// The features in a safetensors file that is in memory.
    ///
    /// # Errors
    /// In words, as [`Features::read`].
    pub fn parse(bytes: &[u8]) -> Result<Features, String> {
        Features::of_file(tensors::parse(bytes)?)
    }

    /// The features in the tensors of a file.
    fn of_file(mut file: TensorFile) -> Result<Features, String> {
        let advice =
            |e: String| format!("{e}; a feature file, as `bootmae embed` writes it, has `features` and `labels`");
        let (shape, values) = file.f32("features").map_err(advice)?;
        let &[images, width] = shape else {
            return Err(format!("`features` has shape {shape:?}, which is not [images, values]"));
        };
        if images == 0 || !(1..=MOST_WIDTH).contains(&width) || u32::try_from(images).is_err() {
            return Err(format!(
                "`features` has shape {shape:?}; at least one image and 1 to {MOST_WIDTH} values are read"
            ));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(format!("`features` holds {} in row {}", values[at], at / width));
        }
        let (counted, of) = file.i64("labels").map_err(advice)?;
        if counted != [images] {
            return Err(format!("`labels` has shape {counted:?} for {images} images"));
        }
        let names: Option<Vec<String>> =
            file.metadata.contains_key("classes").then(|| file.json("classes")).transpose()?;
        let labels = Labels::new(names, of.iter().copied()).map_err(|reason| format!("`labels`: {reason}"))?;
        let Some(TensorData { values: Values::F32(values), .. }) = file.tensors.remove("features") else {
            unreachable!()
        };
        Ok(Features { about: file.metadata, labels, width, values, ..Features::default() })
    }

    /// What keeps these features from being compared with others, in words.
    pub fn differs(&self, other: &Features) -> Option<String> {
        if self.width != other.width {
            return Some(format!("features of {} values against {} in {}", self.width, other.width, other.place));
        }
        MADE_BY.iter().find(|key| self.about.get(**key) != other.about.get(**key)).map(|key| {
            let told =
                |of: &Features| of.about.get(*key).map_or_else(|| "nothing".into(), |value| format!("`{value}`"));
            let (own, others) = (told(self), told(other));
            format!("features of another kind than those of {}: {key} is {own} against {others}", other.place)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Features of these labels, two values each, of a checkpoint with this hash.
    pub(crate) fn of_labels(names: &[&str], labels: &[i64], checkpoint: &str) -> Features {
        let names = names.iter().map(|name| name.to_string()).collect();
        Features {
            place: checkpoint.into(),
            about: BTreeMap::from([("checkpoint".into(), checkpoint.into()), ("source".into(), "here".into())]),
            labels: Labels::new(Some(names), labels.iter().copied()).unwrap(),
            width: 2,
            values: (0..2 * labels.len()).map(|at| at as f32).collect(),
            images: (0..labels.len() as i64).collect(),
            names: (0..labels.len()).map(|image| format!("a \"b\", {image}")).collect(),
        }
    }

    fn refusal(change: impl FnOnce(&mut TensorFile)) -> String {
        let mut bytes = Vec::new();
        of_labels(&["a", "b"], &[0, 1, -1], "x").write_safetensors(&mut bytes).unwrap();
        Features::parse(&bytes).unwrap();
        let mut file = tensors::parse(&bytes).unwrap();
        change(&mut file);
        Features::of_file(file).unwrap_err()
    }

    #[test]
    fn what_is_no_feature_file_is_refused_in_words() {
        let features = |shape: &[usize], values: &[f32]| TensorData {
            shape: shape.to_vec(),
            values: Values::F32(values.to_vec()),
        };
        let labels = |values: &[i64]| TensorData { shape: vec![values.len()], values: Values::I64(values.to_vec()) };
        let with =
            |name: &'static str, tensor: TensorData| refusal(|file| drop(file.tensors.insert(name.into(), tensor)));
        assert!(refusal(|file| drop(file.tensors.remove("labels"))).contains("no tensor `labels`; a feature file"));
        assert!(with("features", labels(&[1])).contains("not F32"));
        assert!(with("features", features(&[6], &[0.0; 6])).contains("[6], which is not [images, values]"));
        assert!(with("features", features(&[0, 2], &[])).contains("at least one image"));
        assert!(
            with("features", features(&[1, MOST_WIDTH + 1], &vec![0.0; MOST_WIDTH + 1])).contains("1 to 65536 values")
        );
        let broken = features(&[3, 2], &[0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0]);
        assert!(with("features", broken).contains("holds NaN in row 1"));
        assert!(with("labels", labels(&[0, 1])).contains("shape [2] for 3 images"));
        assert!(with("labels", labels(&[0, 1, 2])).contains("number 2: the label 2 is none of the 2 classes"));
        assert!(with("labels", labels(&[0, -2, 1])).contains("the label -2 is negative"));
        let classes = |text: &'static str| refusal(|file| drop(file.metadata.insert("classes".into(), text.into())));
        assert!(classes("[\"a\", \"a\"]").contains("two classes are called `a`"));
        assert!(classes("{").contains("`classes` in the metadata"));
    }

    #[test]
    fn only_features_made_alike_are_compared() {
        let one = of_labels(&["a"], &[0], "x");
        let mut other = one.clone();
        other.about.insert("source".into(), "elsewhere".into());
        assert_eq!(one.differs(&other), None);
        other.about.insert("pool".into(), "cls".into());
        let told = other.differs(&one).unwrap();
        assert!(told.contains("those of x: pool is `cls` against nothing"), "{told}");
        other.width = 3;
        assert!(other.differs(&one).unwrap().contains("features of 3 values against 2 in x"));
    }
}
