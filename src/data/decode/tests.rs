//! Whole, cut, damaged and hostile files.

use super::*;
use image::ImageFormat;
use std::path::PathBuf;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pil")
}

fn fixture(name: &str) -> PathBuf {
    fixtures().join(name)
}

fn rgb(bytes: &[u8]) -> Result<Picture, String> {
    decode_bytes(bytes).map(|decoded| decoded.picture.with_channels(3))
}

/// Every file `kinds/NAME` beside `kinds/NAME.rgb.png`, what PIL makes of it.
#[test]
fn every_kind_of_image_decodes_as_in_pil() {
    let (mut kinds, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(fixture("kinds")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".rgb.png") {
            continue;
        }
        kinds += 1;
        let expected = decode(&fixture(&format!("kinds/{name}.rgb.png")), 3).unwrap();
        let picture = match decode(&path, 3) {
            Ok(picture) if (picture.height, picture.width) == (expected.height, expected.width) => picture,
            other => {
                wrong.push(format!("{name}: {:?}", other.map(|picture| (picture.height, picture.width))));
                continue;
            }
        };
        let worst = picture.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if worst > 2 {
            wrong.push(format!("{name} differs by {worst}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(kinds, 47);
}

#[test]
fn grey_and_alpha_are_as_in_pil() {
    let opaque = decode(&fixture("kinds/rgb.png"), 4).unwrap();
    assert!(opaque.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255));
    let grey = decode(&fixture("kinds/rgb.png"), 1).unwrap();
    let expected = decode(&fixture("kinds/grey.png"), 1).unwrap();
    assert_eq!(grey, expected);
    let transparent = decode(&fixture("kinds/rgba.png"), 2).unwrap();
    assert!(transparent.pixels.chunks_exact(2).any(|pixel| pixel[1] < 255));
}

/// One file of each format and compression.
const SHORT: [&str; 15] = [
    "rgb.jpg",
    "subsampled.jpg",
    "progressive.jpg",
    "rgb.png",
    "palette.png",
    "lossy.webp",
    "lossless.webp",
    "turned_8.webp",
    "palette.gif",
    "interlaced.gif",
    "rgb.bmp",
    "packbits.tiff",
    "rgb.tiff",
    "tiff_lzw.tiff",
    "palette.tiff",
];

#[test]
fn a_file_cut_short_is_refused_or_whole() {
    for name in SHORT {
        let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
        let whole = rgb(&bytes).unwrap();
        let mut refused = 0;
        for length in 0..bytes.len() {
            match rgb(&bytes[..length]) {
                Ok(picture) => assert!(picture == whole, "{name} cut to {length} bytes"),
                Err(_) => refused += 1,
            }
        }
        // What may be missing: an end's marker or chunk, the metadata behind the picture.
        let spare = if name == "turned_8.webp" { 64 } else { 17 };
        assert!(refused + spare >= bytes.len(), "{name}: {refused} of {} lengths refused", bytes.len());
    }
}

/// Programs that mend files put an end marker behind what there is; broken downloads end in zero bytes.
#[test]
fn a_cut_jpeg_is_refused_whatever_stands_in_the_place_of_its_end() {
    for name in ["rgb.jpg", "subsampled.jpg", "progressive.jpg", "cmyk.jpg"] {
        let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
        let whole = rgb(&bytes).unwrap();
        for behind in [&[0xFF, 0xD9][..], &[0; 300], &[0xFF; 30]] {
            let mut refused = 0;
            for length in 2..bytes.len() {
                match rgb(&[&bytes[..length], behind].concat()) {
                    Ok(picture) => assert!(picture == whole, "{name} cut to {length} bytes, then {:?}", behind[0]),
                    Err(_) => refused += 1,
                }
            }
            assert!(refused + 16 >= bytes.len(), "{name}: {refused} of {} lengths refused", bytes.len());
        }
    }
}

#[test]
fn bytes_behind_the_end_are_nothing() {
    for name in SHORT {
        let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
        let whole = rgb(&bytes).unwrap();
        let video = [b"\0\0\0\x18ftypmp42", &[0x11; 99][..]].concat();
        for behind in [&[0; 500][..], b"\r\n", b"x", &[0xFF; 77], &video, &bytes] {
            let found = rgb(&[&bytes, behind].concat());
            assert!(found.as_ref() == Ok(&whole), "{name} with {} bytes", behind.len());
        }
    }
}

#[test]
fn flipped_bits_give_a_picture_or_a_reason() {
    let mut refused = 0;
    for name in ["rgb.jpg", "rgb.png", "lossy.webp", "lossless.webp"] {
        let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match rgb(&damaged) {
                Ok(picture) => picture.check().unwrap(),
                Err(reason) => refused += usize::from(!reason.is_empty()),
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn sixteen_bit_colours_keep_their_high_byte() {
    let deep =
        image::ImageBuffer::from_fn(5, 4, |x, y| image::Rgba([x * 12000, y * 20000, 65535, 40000].map(|v| v as u16)));
    let mut encoded = Cursor::new(Vec::new());
    DynamicImage::ImageRgba16(deep.clone()).write_to(&mut encoded, ImageFormat::Png).unwrap();
    let picture = decode_bytes(&encoded.into_inner()).unwrap().picture;
    assert!(picture.pixels.iter().zip(deep.iter()).all(|(eight, sixteen)| eight.abs_diff((sixteen >> 8) as u8) <= 1));
}

#[test]
fn an_image_without_rows_is_refused() {
    let mut bytes = std::fs::read(fixture("kinds/grey.gif")).unwrap();
    // The screen's height, and the frame's, which enlarges it.
    bytes[8..10].fill(0);
    let frame = bytes.windows(9).position(|part| part == [b',', 0, 0, 0, 0, 24, 0, 18, 0]).unwrap();
    bytes[frame + 7] = 0;
    assert_eq!(rgb(&bytes).unwrap_err(), "24×0 pixels are none");
}

/// A valid start of a PNG of any size: its header chunk, then the start of its pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut encoded = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(1, 1).write_to(&mut encoded, ImageFormat::Png).unwrap();
    let mut bytes = encoded.into_inner();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 });
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn a_decompression_bomb_is_refused_for_its_size() {
    for (width, height) in [(100_000, 100_000), (16_384, 16_384), (20_000, 1), (1, 20_000)] {
        let reason = rgb(&png_header(width, height)).unwrap_err();
        assert!(reason.contains("limit") || reason.contains("size"), "{width}×{height}: {reason}");
    }
    let jpeg = std::fs::read(fixture("kinds/rgb.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let mut bomb = jpeg;
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    let reason = rgb(&bomb).unwrap_err();
    assert!(reason.contains("limit") || reason.contains("size"), "{reason}");
}

#[test]
fn what_is_no_image_is_named_so() {
    assert_eq!(rgb(b"").unwrap_err(), "neither JPEG, PNG, WebP, GIF, BMP nor TIFF but an empty file");
    assert_eq!(rgb(b"\x01\xFE and so on").unwrap_err(), "neither JPEG, PNG, WebP, GIF, BMP nor TIFF");
    assert!(rgb(b"version https://git-lfs.github.com/spec/v1\noid").unwrap_err().contains("`git lfs pull`"));
    assert_eq!(decode(&fixtures(), 3).unwrap_err(), "not a file");
    assert!(decode(&fixture("missing.png"), 3).unwrap_err().contains("No such file"));
}
