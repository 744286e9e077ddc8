//! What a file is by its first bytes, for telling people what was found in the place of an image or a collection.

/// What a file is, with its article, such as `a web page (HTML)`. None when its bytes say nothing.
///
/// `bytes` are the file, or its beginning of some hundred bytes. The words fit behind "is" or "but". For a Git LFS
/// pointer they also say how to get the file itself.
pub(crate) fn what_it_is(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file");
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Some("nothing but zero bytes");
    }
    let known = SIGNATURES.iter().find(|(at, wanted, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(wanted)));
    known.map(|(.., name)| *name).or_else(|| boxed(bytes)).or_else(|| text(bytes))
}

/// What files begin with: where it stands, the bytes, the name.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (0, b"version https://hawser.github.com/spec/", LFS_POINTER),
    (0, b"\xFF\xD8\xFF", "a JPEG picture"),
    (0, b"\x89PNG\r\n\x1A\n", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (8, b"CR\x02\0", "a camera's raw picture (CR2)"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"II+\0", "a BigTIFF picture"),
    (0, b"MM\0+", "a BigTIFF picture"),
    (0, b"\xFF\x0A", "a JPEG XL picture"),
    (0, b"\0\0\0\x0CJXL ", "a JPEG XL picture"),
    (0, b"\0\0\0\x0CjP  ", "a JPEG 2000 picture"),
    (0, b"\xFF\x4F\xFF\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop document (PSD)"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw picture (RAF)"),
    (0, b"IIRO", "a camera's raw picture (ORF)"),
    (0, b"IIRS", "a camera's raw picture (ORF)"),
    (0, b"MMOR", "a camera's raw picture (ORF)"),
    (0, b"IIU\0", "a camera's raw picture (RW2)"),
    (0, b"II\x1A\0\0\0HEAPCCDR", "a camera's raw picture (CRW)"),
    (0, b"FOVb", "a camera's raw picture (X3F)"),
    (0, b"\0MRM", "a camera's raw picture (MRW)"),
    (0, b"II\xBC\x01", "a JPEG XR picture"),
    (0, b"\x76\x2F\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"DDS ", "a DirectDraw surface (DDS)"),
    (0, b"qoif", "a QOI picture"),
    (0, b"gimp xcf", "a GIMP document (XCF)"),
    (0, b"\0\0\x01\0", "an icon (ICO)"),
    (0, b"P1\n", NETPBM),
    (0, b"P2\n", NETPBM),
    (0, b"P3\n", NETPBM),
    (0, b"P4\n", NETPBM),
    (0, b"P5\n", NETPBM),
    (0, b"P6\n", NETPBM),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\x1F\x8B", "a gzip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (0, b"Rar!\x1A\x07", "a RAR archive"),
    (0, b"\xFD7zXZ\0", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\x28\xB5\x2F\xFD", "a zstd archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"PAR1", "a parquet file"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"\x93NUMPY", "a NumPy array (NPY)"),
    (0, b"\x89HDF\r\n\x1A\n", "an HDF5 file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\0\x05\x16\x07", "macOS's notes on another file (AppleDouble)"),
    (0, b"\x1A\x45\xDF\xA3", "a video (Matroska or WebM)"),
    (8, b"AVI LIST", "a video (AVI)"),
    (0, b"\x7FELF", "a program"),
];

const LFS_POINTER: &str = "a Git LFS pointer, a note in the file's place: run `git lfs pull` to fetch the file itself";
const NETPBM: &str = "a Netpbm picture (PBM, PGM or PPM)";

/// The formats in boxes that begin with `ftyp`: a length of four bytes, the word, a brand.
fn boxed(bytes: &[u8]) -> Option<&'static str> {
    let brand = bytes.get(4..12)?.strip_prefix(b"ftyp")?;
    // Where the first brand only says that it is a picture, what it is compatible with says which.
    let brands = bytes.get(16..bytes.len().min(64)).unwrap_or_default();
    let has = |wanted: &[u8]| brand == wanted || brands.chunks_exact(4).any(|other| other == wanted);
    Some(match brand {
        b"crx " => "a camera's raw picture (CR3)",
        b"avif" | b"avis" => "an AVIF picture",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => "an HEIC picture",
        b"mif1" | b"msf1" | b"miaf" if has(b"avif") => "an AVIF picture",
        b"mif1" | b"msf1" | b"miaf" if has(b"heic") || has(b"heix") => "an HEIC picture",
        b"mif1" | b"msf1" | b"miaf" => "an HEIF picture",
        b"qt  " => "a video (QuickTime)",
        _ => "a video (MP4)",
    })
}

/// The formats that are text.
fn text(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(1024)];
    // A character may be cut at the end of the head.
    let sound = match std::str::from_utf8(head) {
        Ok(_) => head,
        Err(error) if error.error_len().is_none() && bytes.len() > head.len() => &head[..error.valid_up_to()],
        Err(_) => return None,
    };
    let words = std::str::from_utf8(sound).ok()?;
    if words.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let words = words.trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
    let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| words.starts_with(beginning));
    Some(if starts(&["<!doctype html", "<html", "<head", "<body"]) {
        "a web page (HTML)"
    } else if starts(&["<svg", "<?xml", "<!doctype", "<!--"]) {
        match words.contains("<svg") {
            true => "a vector picture (SVG)",
            false if words.contains("<html") => "a web page (HTML)",
            false => "an XML file",
        }
    } else if starts(&["{\"", "{}", "[{", "[\"", "[[", "[]"]) || words.starts_with('{') && words.contains('"') {
        "a JSON file"
    } else {
        "a text file"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_first_bytes() {
        let named: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (&[0; 700], "zero bytes"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 48211\n", "`git lfs pull`"),
            (b"\xFF\xD8\xFF\xE0", "JPEG picture"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
            (b"  \r\n<!DOCTYPE HTML><title>404</title>", "HTML"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "SVG"),
            (b"\xEF\xBB\xBF<svg>", "SVG"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"),
            (b"{\"error\": \"not found\"}", "JSON"),
            (b"{\n  \"error\": 404\n}", "JSON"),
            (b"[{\"a\": 1}]", "JSON"),
            (b"\0\0\0\x1Cftypheic\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x1Cftypavif\0\0\0\0", "AVIF"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01", "CR3"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
            (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
            (b"\xFF\x0A\x01", "JPEG XL"),
            (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
            (b"8BPS\0\x01", "PSD"),
            (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
            (b"MM\0+\0\x08\0\0", "BigTIFF"),
            (b"FUJIFILMCCD-RAW 0201", "RAF"),
            (b"%PDF-1.7", "PDF"),
            (b"\x1F\x8B\x08", "gzip"),
            (b"PK\x03\x04", "zip"),
            (b"PAR1\x15", "parquet"),
            (b"P6 and so on", "text"),
            ("Größe".as_bytes(), "text"),
        ];
        for (bytes, expected) in named {
            let told = what_it_is(bytes).unwrap_or_default();
            assert!(told.contains(expected), "{told:?} is not {expected}");
        }
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        tar[0] = b'a';
        assert_eq!(what_it_is(&tar), Some("a tar archive"));
        assert_eq!(what_it_is(b"\x01\x02\x03\xFE"), None);
    }
}
