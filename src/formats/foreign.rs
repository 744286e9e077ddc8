//! Files that are no safetensors, named for what they are.

use super::told;

/// What a file is that begins so; none where it may be safetensors. An answer is a whole sentence's end, with advice.
pub fn what_it_is(start: &[u8]) -> Option<&'static str> {
    // The length of a header of JSON, and the header.
    if start.get(8) == Some(&b'{') {
        return None;
    }
    match start {
        // Of protocols 2 to 5.
        [0x80, 2..=5, ..] => return Some("a pickle, as torch.save wrote .pth, .pt, .ckpt and .bin before 1.6"),
        [b'P', b'K', 3, 4, ..] => return Some("a zip archive, as torch.save writes .pth, .pt, .ckpt and .bin"),
        [8, 1..=32, 0x12, length, ..] if start.get(4..4 + usize::from(*length)).is_some_and(<[u8]>::is_ascii) => {
            return Some("an ONNX model; weights are read from files of torch.save and safetensors");
        }
        _ => {}
    }
    // The archive's first file.
    if start.starts_with(b"sys_info\0") && start.get(257..262) == Some(b"ustar") {
        return Some("a tar archive, as torch.save wrote before 0.2; load it with an older torch and save it anew");
    }
    if start.starts_with(b"GGUF") {
        return Some("a GGUF file, for llama.cpp");
    }
    told::what_it_is(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named_and_safetensors_are_not() {
        let tar = [&b"sys_info"[..], &[0; 249], b"ustar"].concat();
        let onnx = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0";
        for (start, part) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04\x00\x00\x08\x08", "torch.save"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
            (b"\x80\x04\x95", "pickle"),
            (b"GGUF\x03\x00\x00\x00", "GGUF"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (onnx, "ONNX"),
            (&tar, "before 0.2"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"),
            (b"<!DOCTYPE html>\n<html>", "web page"),
            (b"\xef\xbb\xbf\n <HTML lang=en>", "web page"),
            (b"{\"architectures\": [", "JSON"),
            (b"\x93NUMPY\x01\x00", "NumPy"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"\x89PNG\r\n\x1a\n", "picture"),
        ] {
            assert!(what_it_is(start).is_some_and(|what| what.contains(part)), "{part}: {:?}", what_it_is(start));
        }
        // The length of a header may be any number, also one that is a letter or more.
        for length in [0x50u64, 0x80 + (2 << 8), 8 + (7 << 8) + (0x12 << 16), 0x0403_4b50] {
            let start = [&length.to_le_bytes()[..], b"{\"__metadata__\":"].concat();
            assert_eq!(what_it_is(&start), None, "{length}");
        }
        assert_eq!(what_it_is(b"\x01\x02\x03\x04something else"), None);
    }
}
