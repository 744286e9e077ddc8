//! IDX files of bytes, MNIST's layout: four bytes of magic, the extents, the values. Compressed ones are unpacked into
//! memory, others are read where they are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::decode::MAX_BYTES;
use super::layout::Layout;
use super::records::Records;

/// Opens `[images, rows, columns]` or `[images, rows, columns, channels]` in an IDX file, compressed or not.
pub(super) fn open(path: &Path) -> Result<Records, String> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(20).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if start.starts_with(&[0x1F, 0x8B]) {
        let bytes = unpack(path)?;
        let (offset, count, layout) = header(&bytes)?;
        return Records::in_memory(path, bytes, offset, count, layout);
    }
    let (offset, count, layout) = header(&start)?;
    Records::in_file(path, offset, count, 0, layout)
}

/// The files of images that lie in a folder as MNIST's do, by their names, sorted; of one that is there compressed and
/// not, the latter.
pub(super) fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_named_so(path)).collect();
    files.sort();
    files.dedup_by(|packed, plain| packed.extension().is_some() && packed.with_extension("") == *plain);
    files
}

/// Whether a name is that of a file of images in this layout: `train-images-idx3-ubyte.gz`, `t10k-images.idx3-ubyte`.
fn is_named_so(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let is_idx = plain.contains("idx3") || plain.contains("idx4");
    !name.starts_with('.') && is_idx && plain.contains("images") && plain.ends_with("-ubyte") && path.is_file()
}

/// The unpacked bytes of a gzip file.
fn unpack(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let unpacked = MultiGzDecoder::new(std::io::BufReader::new(file)).take(MAX_BYTES / 2 + 1).read_to_end(&mut bytes);
    unpacked.map_err(|error| format!("the compressed file is damaged: {error}; fetch it again"))?;
    match bytes.len() as u64 > MAX_BYTES / 2 {
        true => Err(format!("it unpacks to more than {} MiB; unpack it with gunzip", MAX_BYTES >> 21)),
        false => Ok(bytes),
    }
}

/// Where the images start, how many there are, and the layout of one.
fn header(bytes: &[u8]) -> Result<(u64, u64, Layout), String> {
    let extents = match bytes {
        [0, 0, 8, dimensions @ (3 | 4), rest @ ..] => rest.get(..4 * usize::from(*dimensions)),
        [0, 0, 8, dimensions, ..] => {
            return Err(format!("an IDX file of {dimensions} dimensions holds no images; it needs 3 or 4"));
        }
        _ => return Err("not an IDX file of bytes".into()),
    };
    let extents = extents.ok_or("the header is cut short; fetch it again")?;
    let extents: Vec<u64> = extents.as_chunks::<4>().0.iter().map(|&n| u64::from(u32::from_be_bytes(n))).collect();
    Ok((4 + 4 * extents.len() as u64, extents[0], Layout::of(&extents[1..])?))
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use std::io::Write;

    fn idx(extents: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        extents.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
        bytes.extend((0..extents.iter().product::<u32>()).map(|value| value as u8));
        bytes
    }

    fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn images_are_read_from_plain_and_compressed_files() {
        let bytes = idx(&[5, 3, 2]);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&bytes).unwrap();
        for (name, bytes) in [("train-images-idx3-ubyte", bytes), ("images.gz", packed.finish().unwrap())] {
            let (_folder, path) = written(name, &bytes);
            let source = open(&path).unwrap();
            assert_eq!(source.len(), 5);
            let picture = source.load(4, 1).unwrap();
            assert_eq!((picture.height, picture.width), (3, 2));
            assert_eq!(picture.pixels, [24, 25, 26, 27, 28, 29]);
            assert_eq!(source.load(0, 3).unwrap().pixels[15..], [5, 5, 5]);
            assert!(source.name(4).ends_with(&format!("{name} image 4")), "{}", source.name(4));
        }
        let (_folder, path) = written("colour", &idx(&[2, 3, 2, 3]));
        assert_eq!(open(&path).unwrap().load(1, 3).unwrap().pixels[..4], [18, 19, 20, 21]);
    }

    #[test]
    fn files_that_are_damaged_or_hold_labels_are_refused() {
        let mut short = idx(&[5, 3, 2]);
        short.pop();
        let cases = [
            (short, "45 bytes are not the 5 images of 3×2×1"),
            (idx(&[5, 3, 2])[..10].to_vec(), "cut short"),
            (vec![0x1F, 0x8B, 8, 0, 9], "compressed file is damaged"),
        ];
        for (bytes, reason) in cases {
            let (_folder, path) = written("file", &bytes);
            let message = open(&path).err().unwrap().to_string();
            assert!(message.contains(&path) && message.contains(reason), "{message}");
        }
        let mut labels = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        labels.write_all(&idx(&[5])).unwrap();
        let (_folder, path) = written("labels.gz", &labels.finish().unwrap());
        assert!(open(&path).err().unwrap().to_string().contains("1 dimensions holds no images"));
    }
}
