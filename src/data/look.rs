//! What a file that a person names is, told by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::formats::told::what_it_is;

/// A file of images that is read, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tar,
    Parquet,
    Idx,
    Npy,
}

/// Bytes that are looked at: a header of a tar archive.
const HEAD: u64 = 512;

/// What to do with files that are not read, by what they are called. The first that fits counts.
const ADVICE: [(&str, &str); 11] = [
    ("Git LFS", ""),
    ("zip archive", "; unpack it and give the folder"),
    ("7z archive", "; unpack it and give the folder"),
    ("RAR archive", "; unpack it and give the folder"),
    ("archive", "; unpack it"),
    ("picture", "; single images are given by their folder"),
    ("web page", ", not the file that it should be; fetch it again"),
    ("empty", "; fetch it again"),
    ("zero bytes", "; fetch it again"),
    ("HDF5", "; write its images as a .npy array of uint8, or as files"),
    ("Arrow", "; write it as parquet"),
];

/// What is said where there is no other advice.
const NEEDED: &str = ", neither a tar archive, a parquet file, nor an array of images (IDX or .npy); single images are \
                      given by their folder";

/// Tells what a file is.
///
/// # Errors
/// In words: it cannot be read, or it is something that is not read, and what to do with it.
pub(super) fn look(path: &Path) -> Result<Kind, String> {
    let found = std::fs::metadata(path).map_err(|error| format!("{error}; check the path of the images"))?;
    if !found.is_file() {
        return Err("not a file; give a folder alone, or files".into());
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| format!("{error}; make it readable"))?;
    (&file).take(HEAD).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if start.starts_with(&[0x1F, 0x8B]) {
        return match is_tar(&unpacked_start(path)) || has_ending(path, &["tgz", "tar.gz", "tar"]) {
            true => {
                Err("a tar archive compressed with gzip; unpack it with `gunzip`, so that it can be read anywhere"
                    .into())
            }
            false => Ok(Kind::Idx),
        };
    }
    match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => return Ok(Kind::Parquet),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => return Ok(Kind::Npy),
        [0, 0, 8, 1..=8, ..] => return Ok(Kind::Idx),
        [0, 0, 9 | 0x0B..=0x0E, 1..=8, ..] => {
            return Err("an IDX file of other values than bytes; write it with unsigned bytes".into());
        }
        start if is_tar(start) => return Ok(Kind::Tar),
        _ => {}
    }
    if has_ending(path, &["npz"]) && start.starts_with(b"PK") {
        return Err("a .npz archive; write its images alone with numpy.save, as .npy".into());
    }
    if let [0x80, 2..=5, ..] = start.as_slice() {
        return Err(
            "a Python pickle, which is never opened; get the images as files, or CIFAR in its binary version".into()
        );
    }
    if let Some(what) = what_it_is(&start) {
        let advice = ADVICE.iter().find(|(part, _)| what.contains(part)).map_or(NEEDED, |(_, advice)| advice);
        return Err(format!("{what}{advice}"));
    }
    // Tar archives older than 1988 carry no mark.
    match has_ending(path, &["tar"]) {
        true => Ok(Kind::Tar),
        false => Err(format!("a file of an unknown kind{NEEDED}")),
    }
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    endings.iter().any(|ending| name.strip_suffix(ending).is_some_and(|before| before.ends_with('.')))
}

/// The first bytes of what a gzip file holds, as far as it can be unpacked.
fn unpacked_start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    let _ = File::open(path)
        .and_then(|file| MultiGzDecoder::new(io::BufReader::new(file)).take(HEAD).read_to_end(&mut start));
    start
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn looked(name: &str, bytes: &[u8]) -> Result<Kind, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        look(&path)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_is_not_read_is_told_for_what_it_is_whatever_its_name() {
        let archive =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/collections/images.tar")).unwrap();
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 48211\n";
        let cases: [(&[u8], &str); 10] = [
            (pointer, "a Git LFS pointer"),
            (b"PK\x03\x04 and so on", "a zip archive; unpack it and give the folder"),
            (b"\n <!DOCTYPE html><html>", "a web page"),
            (b"<html>", "not the file that it should be; fetch it again"),
            (&gzip(&archive), "a tar archive compressed with gzip; unpack it"),
            (b"\x28\xB5\x2F\xFD....", "a zstd archive; unpack it"),
            (b"\xFD7zXZ\0....", "an xz archive; unpack it"),
            (b"\x80\x04pickle", "a Python pickle"),
            (b"\xFF\xD8\xFF\xE0", "a JPEG picture; single images are given by their folder"),
            (b"", "an empty file; fetch it again"),
        ];
        for name in ["a.tar", "a.parquet", "a.npy", "a"] {
            for (bytes, told) in cases {
                let reason = looked(name, bytes).unwrap_err();
                assert!(reason.contains(told), "{name}: {reason}");
            }
            assert_eq!(looked(name, &archive), Ok(Kind::Tar));
        }
        assert!(looked("a.npz", b"PK\x03\x04").unwrap_err().contains("numpy.save"));
        assert_eq!(looked("images.gz", &gzip(&[0, 0, 8, 3])), Ok(Kind::Idx));
        assert!(looked("a.idx", &[0, 0, 0x0D, 3]).unwrap_err().contains("IDX file of other values"));
        assert!(looked("a.bin", b"\x01\xFEunknown").unwrap_err().contains("neither a tar archive"));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(look(&path).unwrap_err().contains("not a file"));
    }
}
