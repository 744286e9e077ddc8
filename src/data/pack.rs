//! Writing a collection again as tar shards of scaled images, which are read and decoded faster than the originals.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::augment::shrink;
use super::check::Unreadable;
use super::each::each;
use super::labels::{Classes, Labels};
use super::{Picture, Source};
use crate::error::{Error, Result};
use crate::text::{shown, shown_path};

/// Images of a shard.
const SHARD: usize = 2048;

/// The file of the names of the classes.
const NAMES: &str = "classes.txt";

/// What [`pack`] wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Images written.
    pub images: usize,
    /// Shards that hold them.
    pub shards: usize,
    /// Bytes of the shards.
    pub bytes: u64,
    /// The images left out.
    pub unreadable: Vec<Unreadable>,
    /// Why labels were left out, where there are some that cannot be used.
    pub labels_refused: Option<String>,
}

/// Writes the readable images of a collection, in order, into shards in the new or empty folder `to`, as PNG files
/// `FOLDER/NUMBER.png`, where `FOLDER` is the first folder of the image; within a shard they are then numbered by these
/// names. Beside each labelled image `NUMBER.cls` holds the number of its class, and beside the shards `classes.txt` the
/// names of the classes, if they have any. Images whose shorter side is longer than `side` pixels are scaled down to it
/// with PIL's bicubic arithmetic.
///
/// The shards are written into `TO.partial` beside the folder, which is then renamed: a crash leaves no folder `to`.
///
/// # Errors
/// [`Error::Config`] when `to` holds something, [`Error::Io`] when writing fails, [`Error::Images`] when no image can
/// be read.
pub fn pack(
    source: &dyn Source,
    to: &Path,
    side: usize,
    threads: usize,
    mut progress: impl FnMut(usize),
) -> Result<Packed> {
    let partial = prepare(to)?;
    let mut packed = Packed::default();
    let labels = source.labels(None).unwrap_or_else(|error| {
        packed.labels_refused = Some(error.to_string());
        Labels::none(source.len())
    });
    let mut shard: Option<tar::Builder<BufWriter<File>>> = None;
    let mut failure = write_names(&partial, labels.classes()).err();
    each(
        source.len(),
        threads,
        |index| encode(source, index, side),
        |index, encoded| {
            progress(index);
            let bytes = match encoded {
                Ok(bytes) => bytes,
                Err(reason) => {
                    packed.unreadable.push(Unreadable { name: source.name(index), reason });
                    return true;
                }
            };
            let name = entry_name(source, index);
            let added = add(&mut shard, &partial, &mut packed, &name, &bytes, labels.of(index));
            failure = added.err().or(failure.take());
            failure.is_none()
        },
    );
    let finished = match failure {
        Some(error) => Err(error),
        None => shard.map_or(Ok(0), close).map(|bytes| packed.bytes += bytes),
    };
    let result = match finished {
        Err(error) => Err(Error::io(&partial)(error)),
        Ok(()) if packed.images == 0 => {
            Err(Error::Images(format!("none of the {} images of {} can be read", source.len(), shown(&source.place()))))
        }
        Ok(()) => publish(&partial, to).map_err(Error::io(to)),
    };
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result.map(|()| packed)
}

/// Makes the folder to write into. One that an interrupted run left is removed.
fn prepare(to: &Path) -> Result<PathBuf> {
    let occupied = |path: &Path| match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    };
    if occupied(to)? {
        return Err(Error::Config(format!("{} is not empty; give a new folder", shown_path(to))));
    }
    let name = to.file_name().ok_or_else(|| Error::Config(format!("{} names no folder", shown_path(to))))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = to.with_file_name(partial);
    if occupied(&partial)? {
        let ours = fs::read_dir(&partial).map_err(Error::io(&partial))?.all(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name == NAMES || name.starts_with("shard-") && name.ends_with(".tar")
            })
        });
        if !ours {
            return Err(Error::Config(format!("{} is in the way; move it elsewhere", shown_path(&partial))));
        }
        fs::remove_dir_all(&partial).map_err(Error::io(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(Error::io(&partial))?;
    Ok(partial)
}

/// An image scaled and encoded.
fn encode(source: &dyn Source, index: usize, side: usize) -> Result<Vec<u8>, String> {
    let Picture { height, width, channels, pixels } = shrink(source.read(index)?.decode()?.picture, side);
    let colours = [ExtendedColorType::L8, ExtendedColorType::La8, ExtendedColorType::Rgb8, ExtendedColorType::Rgba8];
    let mut bytes = Vec::new();
    // Half again as long as the best, but such files decode faster than JPEGs.
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up);
    let written = encoder.write_image(&pixels, width as u32, height as u32, colours[channels - 1]);
    written.map_err(|error| error.to_string()).map(|()| bytes)
}

/// Writes the names of the classes, one a line.
fn write_names(folder: &Path, classes: &Classes) -> io::Result<()> {
    let Classes::Names(names) = classes else { return Ok(()) };
    let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    let mut file = File::create(folder.join(NAMES))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The name of an image in its shard, with its first folder.
fn entry_name(source: &dyn Source, index: usize) -> String {
    let folder = source.folder(index).map(|folder| folder.replace(['/', '\\'], "_"));
    let folder = folder.filter(|folder| !folder.starts_with('.'));
    folder.map_or_else(|| format!("{index:08}.png"), |folder| format!("{folder}/{index:08}.png"))
}

/// Adds an image and the number of its class to the open shard, or to a new one when it is full.
fn add(
    shard: &mut Option<tar::Builder<BufWriter<File>>>,
    folder: &Path,
    packed: &mut Packed,
    name: &str,
    bytes: &[u8],
    class: Option<u32>,
) -> io::Result<()> {
    if packed.images.is_multiple_of(SHARD) {
        if let Some(full) = shard.take() {
            packed.bytes += close(full)?;
        }
        let path = folder.join(format!("shard-{:06}.tar", packed.shards));
        *shard = Some(tar::Builder::new(BufWriter::with_capacity(1 << 20, File::create(path)?)));
        packed.shards += 1;
    }
    let shard = shard.as_mut().expect("opened above");
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        shard.append_data(&mut header, name, bytes)
    };
    append(name, bytes)?;
    if let Some(class) = class {
        append(&format!("{}.cls", name.trim_end_matches(".png")), class.to_string().as_bytes())?;
    }
    packed.images += 1;
    Ok(())
}

/// Finishes a shard and gives its length.
fn close(shard: tar::Builder<BufWriter<File>>) -> io::Result<u64> {
    let mut file = shard.into_inner()?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(file.get_ref().metadata()?.len())
}

/// Gives the written folder its name.
fn publish(partial: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir(to)?;
    }
    fs::rename(partial, to)?;
    if cfg!(unix) {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::augment::{CropBox, resize};
    use super::*;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/collections/images.tar");

    #[test]
    fn packed_images_are_the_scaled_originals_in_order() {
        let source = crate::data::open(FIXTURE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("packed");
        fs::create_dir(&to).unwrap();
        let packed = pack(&*source, &to, 8, 2, |_| {}).unwrap();
        assert_eq!((packed.images, packed.shards, packed.unreadable.len()), (12, 1, 0));
        assert!(!folder.path().join("packed.partial").exists());
        let again = crate::data::open(to.to_str().unwrap()).unwrap();
        assert_eq!(again.len(), 12);
        for index in 0..12 {
            let original = source.load(index, 3).unwrap();
            let whole = CropBox { top: 0, left: 0, height: original.height, width: original.width };
            let (height, width) = (original.height * 8 / 16, original.width * 8 / 16);
            assert_eq!(again.load(index, 3).unwrap(), resize(&original, whole, height, width), "{index}");
            assert_eq!(again.folder(index), source.folder(index));
        }
        assert_eq!(again.labels(None).unwrap(), source.labels(None).unwrap());
        // Packing the packed again changes nothing.
        let twice = folder.path().join("twice");
        pack(&*again, &twice, 8, 1, |_| {}).unwrap();
        let bytes = |folder: &Path| fs::read(folder.join("shard-000000.tar")).unwrap();
        assert_eq!(bytes(&to), bytes(&twice));
    }

    #[test]
    fn labels_keep_their_numbers_and_names() {
        let folders = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/labels/folders/train");
        let source = crate::data::open(folders).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("packed");
        pack(&*source, &to, 8, 1, |_| {}).unwrap();
        assert_eq!(fs::read_to_string(to.join("classes.txt")).unwrap(), "Zebra\nclass10\nclass2\näpfel\n");
        let (again, labels) = (crate::data::open(to.to_str().unwrap()).unwrap(), source.labels(None).unwrap());
        let told = again.labels(None).unwrap();
        assert_eq!(told.classes(), labels.classes());
        assert!((0..5).all(|index| told.of(index) == labels.of(index)));
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let source = crate::data::open(FIXTURE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (to, partial) = (folder.path().join("packed"), folder.path().join("packed.partial"));
        fs::create_dir(&to).unwrap();
        fs::write(to.join("mine"), "").unwrap();
        let error = pack(&*source, &to, 8, 1, |_| {}).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("packed is not empty"), "{error}");
        fs::remove_file(to.join("mine")).unwrap();
        // What an interrupted run left is removed; anything else is not.
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("shard-000007.tar"), "half").unwrap();
        fs::write(partial.join("mine"), "").unwrap();
        let error = pack(&*source, &to, 8, 1, |_| {}).unwrap_err();
        assert!(error.to_string().contains("packed.partial is in the way"), "{error}");
        fs::remove_file(partial.join("mine")).unwrap();
        pack(&*source, &to, 8, 1, |_| {}).unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    }
}
