//! Features as files: safetensors, which the program reads again, and NumPy's arrays, CSV and parquet for others.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::features::Features;
use crate::{
    data::Classes,
    formats::{
        npy,
        parquet::{self, Column},
        tensors::{self, Written},
    },
    text::{csv_field, shown},
};

/// A format of feature files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// All of it in one file.
    Safetensors,
    /// An array of features, and beside it one of labels and a text file of names, a line each.
    Npy,
    /// A row an image: name, label, class, values.
    Csv,
    /// The columns `name`, `label` and `features`.
    Parquet,
}

impl Format {
    /// The format that the ending of a file's name says.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "safetensors" => Some(Format::Safetensors),
            "npy" => Some(Format::Npy),
            "csv" => Some(Format::Csv),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// The files of labels and of names beside an array `NAME.npy`: `NAME.labels.npy` and `NAME.names.txt`.
pub fn beside(array: &Path) -> [PathBuf; 2] {
    ["labels.npy", "names.txt"].map(|ending| array.with_extension(ending))
}

impl Features {
    /// Writes the features in a format; of [`Format::Npy`] the array alone.
    pub fn write(&self, format: Format, to: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Safetensors => self.write_safetensors(to),
            Format::Npy => npy::write_f32(to, &[self.len(), self.width], &self.values),
            Format::Csv => self.write_csv(to),
            Format::Parquet => self.write_parquet(to),
        }
    }

    /// Writes `features` [images, width] F32, `labels` and `images` [images] I64, with how they were made and the names of the
    /// classes as metadata.
    pub(super) fn write_safetensors(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut metadata: std::collections::BTreeMap<&str, String> =
            self.about.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        metadata.insert("format", "bootmae features".into());
        if let Classes::Names(names) = self.labels.classes() {
            metadata.insert("classes", serde_json::to_string(names)?);
        }
        let shape = [self.len(), self.width];
        let features = Written { name: "features".into(), shape: &shape, values: &self.values };
        let integers = [("labels", &self.classes()[..]), ("images", &self.images)];
        tensors::write_with_integers(to, &metadata, &integers, &[features])
    }

    /// Writes the labels as NumPy's array.
    pub fn write_labels(&self, to: &mut dyn Write) -> io::Result<()> {
        npy::write_i64(to, &[self.len()], &self.classes())
    }

    /// Writes the names, a line each.
    pub fn write_names(&self, to: &mut dyn Write) -> io::Result<()> {
        self.names.iter().try_for_each(|name| writeln!(to, "{}", shown(name)))
    }

    fn write_csv(&self, to: &mut dyn Write) -> io::Result<()> {
        write!(to, "name,label,class")?;
        (0..self.width).try_for_each(|at| write!(to, ",f{at}"))?;
        writeln!(to)?;
        for ((image, name), row) in self.names.iter().enumerate().zip(self.values.chunks(self.width)) {
            let class = self.labels.of(image);
            let label = class.map_or(-1, i64::from);
            let class = class.map_or_else(String::new, |class| self.labels.classes().name(class as usize));
            write!(to, "{},{label},{}", csv_field(name), csv_field(&class))?;
            row.iter().try_for_each(|value| write!(to, ",{value}"))?;
            writeln!(to)?;
        }
        Ok(())
    }

    fn write_parquet(&self, to: &mut dyn Write) -> io::Result<()> {
        let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
        let label = match self.labels.classes() {
            Classes::Names(names) => json!({"names": names, "_type": "ClassLabel"}),
            _ => value("int64"),
        };
        let features = json!({"feature": value("float32"), "_type": "Sequence"});
        // What Hugging Face's datasets read the classes from, and `data::Labels`.
        let info = json!({"info": {"features": {"name": value("string"), "label": label, "features": features}}});
        let metadata = [("huggingface", info.to_string()), ("bootmae", serde_json::to_string(&self.about)?)];
        let labels = self.classes();
        let columns = [
            ("name", Column::Texts(&self.names)),
            ("label", Column::Integers(&labels)),
            ("features", Column::Rows(self.width, &self.values)),
        ];
        parquet::write(to, &metadata, &columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::tests::of_labels;
    use super::*;

    #[test]
    fn a_format_follows_from_the_ending() {
        assert_eq!(Format::of(Path::new("a/b.c.NPY")), Some(Format::Npy));
        assert_eq!([Format::of(Path::new("a.txt")), Format::of(Path::new("npy"))], [None, None]);
        assert_eq!(beside(Path::new("a/b.c.npy")), [PathBuf::from("a/b.c.labels.npy"), "a/b.c.names.txt".into()]);
    }

    #[test]
    fn what_is_written_as_safetensors_reads_back() {
        let features = of_labels(&["b", "a"], &[1, 0, -1], "x");
        let file = tempfile::NamedTempFile::new().unwrap();
        features.write(Format::Safetensors, &mut file.as_file()).unwrap();
        let read = Features::read(file.path()).unwrap();
        assert_eq!((read.width, &read.values, &read.labels), (2, &features.values, &features.labels));
        assert_eq!((read.about["checkpoint"].as_str(), read.about["format"].as_str()), ("x", "bootmae features"));
        assert_eq!(read.differs(&features), None);
    }

    #[test]
    fn a_row_of_csv_is_an_image() {
        let mut text = Vec::new();
        of_labels(&["b,c", "a"], &[0, -1], "x").write(Format::Csv, &mut text).unwrap();
        let expected = "name,label,class,f0,f1\n\"a \"\"b\"\", 0\",0,\"b,c\",0,1\n\"a \"\"b\"\", 1\",-1,,2,3\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
