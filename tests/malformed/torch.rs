//! Files of weights that others made: those of `torch.save`, and safetensors where only headers are read.

use bootmae::formats::weights::{WeightFile, write_torch};

use super::*;

/// How many cases each reader gets.
const CASES: usize = 20_000;

/// Reads every tensor of a file.
fn read(bytes: &[u8]) -> Result<(), String> {
    let file = WeightFile::open(Box::new(bytes.to_vec()))?;
    for key in file.keys() {
        for entry in file.entries(key).expect("a set") {
            let values = file.read(key, &entry.name)?;
            assert_eq!(values.len(), entry.shape.iter().product::<usize>());
        }
    }
    Ok(())
}

fn sample(name: &str) -> Vec<u8> {
    fixture(&format!("interop/{name}"))
}

/// The pickle in an archive that uses no zip64.
fn pickle(archive: &[u8]) -> &[u8] {
    let find = |wanted: &[u8], bytes: &[u8]| bytes.windows(wanted.len()).rposition(|window| window == wanted).unwrap();
    let name = find(b"/data.pkl", archive);
    let central = &archive[find(b"PK\x01\x02", &archive[..name])..];
    let number = |bytes: &[u8], at: usize, width: usize| {
        bytes[at..at + width].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let local = &archive[number(central, 42, 4)..];
    &local[30 + number(local, 26, 2) + number(local, 28, 2)..][..number(central, 24, 4)]
}

/// A file in torch's format before 1.6: the object's pickle, one storage of key `0`, its count and its bytes.
fn legacy(pickle: &[u8], count: i64, values: &[u8]) -> Vec<u8> {
    let before = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    [&before[..], pickle, b"\x80\x02]X\x01\0\0\x000a.", &count.to_le_bytes(), values].concat()
}

fn four() -> Vec<u8> {
    [1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat()
}

/// Files of `tests/fixtures/interop/hostile`, and parts of what is said of them; nothing of those that are read.
const HOSTILE: [(&str, &str); 55] = [
    ("big_endian.pth", "big-endian"),
    ("binunicode_huge.pth", "cut short"),
    ("calls_eval_by_build.pth", "`__builtin__.eval`, which is made to run code"),
    ("calls_system.pth", "`posix.system`, which is made to run code"),
    ("calls_system_bare_pickle.pkl", "`posix.system`"),
    ("calls_system_legacy.pth", "`posix.system`"),
    ("calls_system_proto4.pth", "`posix.system`"),
    ("checksum_wrong.pth", "tensor `norm.weight`: `archive/data/0` in the archive is damaged"),
    ("deflated_small.pth", "`archive/data.pkl` is compressed"),
    ("empty.pth", "an empty file"),
    ("encrypted_flag.pth", "`archive/data/0` is encrypted"),
    ("end_counts_lie.pth", "its central directory is damaged"),
    ("entries_overlap.pth", "`archive/data/0` is not where the directory says"),
    ("entry_claims_4gib.pth", "`archive/data/0` lies outside the file"),
    ("entry_offset_outside.pth", "`archive/data/0` lies outside the file"),
    ("getattr_chain.pth", "`__builtin__.getattr`"),
    ("git_lfs_pointer.pth", "a Git LFS pointer"),
    ("good_control.pth", ""),
    ("inst_opcode.pth", "opcode STRING (0x53)"),
    ("local_extra_outside.pth", "`archive/data/0` lies outside the file"),
    ("long1_huge.pth", "opcode LONG4 (0x8b)"),
    ("memo_bomb.pth", ""),
    ("missing_storage.pth", "tensor `norm.weight`: its storage `7` is not in the file"),
    ("name_is_not_utf8.pth", "a name that is not UTF-8"),
    ("namespace_then_call.pth", "`posix.system`"),
    ("nan_weights.pth", "tensor `norm.weight`: it holds NaN"),
    ("negative_offset.pth", "tensor `norm.weight`: a negative offset"),
    ("negative_stride.pth", "tensor `norm.weight`: a negative stride"),
    ("no_stop.pth", "cut short"),
    ("not_a_checkpoint.pth", "a web page"),
    ("old_tar.pth", "torch.save wrote before 0.2"),
    ("path_traversal.pth", "`archive/../../../../tmp/BOOTMAE_INTEROP_PWNED` has the name of a place outside"),
    ("size_overflows.pth", "tensor `norm.weight`: shape [8589934592, 8589934592] has more values"),
    ("st_duplicate_key.safetensors", "two tensors named `a`"),
    ("st_header_200mb.safetensors", "200000000 bytes"),
    ("st_header_2_to_63.safetensors", "9223372036854775808 bytes"),
    ("st_hole.safetensors", "`a`"),
    ("st_not_json.safetensors", "the header is malformed"),
    ("st_offsets_outside.safetensors", "tensor `norm.weight` of F32 and shape ["),
    ("st_offsets_reversed.safetensors", "cannot be the bytes from 16 to 0"),
    ("st_overlap.safetensors", "`b`"),
    ("st_shape_overflows.safetensors", "tensor `norm.weight` of F32 and shape ["),
    ("st_size_mismatch.safetensors", "tensor `norm.weight` of F32 and shape ["),
    ("st_trailing_bytes.safetensors", "the file holds 20"),
    ("st_unknown_dtype.safetensors", "F99"),
    ("stack_underflow.pth", "a mark is missing"),
    ("storage_claims_4gib.pth", "tensor `norm.weight`: its storage `0` should have 1073741824 values"),
    ("storage_key_is_path.pth", "its storage `../../etc/passwd` is not in the file"),
    ("stride_outside_storage.pth", "tensor `norm.weight`: it reaches outside its storage of 4 values"),
    ("stride_zero_huge.pth", "tensor `norm.weight`: shape [1099511627776] has more values"),
    ("truncated_10_bytes.pth", "cut short"),
    ("two_archives.pth", "two archives of torch.save in one, `archive/` and `other/`"),
    ("two_data_pkl.pth", "two entries `archive/data.pkl`"),
    ("unknown_storage_type.pth", "tensor `norm.weight`: its values are torch.QUInt8Storage, which are not read"),
    ("view_outside_storage.pth", "tensor `norm.weight`: it reaches outside"),
];

#[test]
fn what_is_made_to_do_harm_is_refused_for_what_it_is() {
    let whole = sample("mae_zip64.pth");
    let control = pickle(&sample("hostile/good_control.pth")).to_vec();
    let nested = [b"\x80\x02".as_slice(), &b"]".repeat(200_000), &b"a".repeat(199_999), b"."].concat();
    let json = ["{\"a\":", &"[".repeat(100_000), &"]".repeat(100_000), "}"].concat().into_bytes();
    let made = [
        ("cut at 40 %", whole[..whole.len() * 2 / 5].to_vec(), "cut short"),
        ("cut by a byte", whole[..whole.len() - 1].to_vec(), "cut short"),
        ("with a byte behind", [&whole[..], &[0]].concat(), "bytes after its end"),
        ("nested", legacy(&nested, 4, &four()), "more than 200 deep"),
        ("JSON", [&(json.len() as u64).to_le_bytes(), &json[..]].concat(), "the header is malformed"),
        ("sound", legacy(&control, 4, &four()), ""),
        ("negative", legacy(&control, -1, &four()), "storage `0` has -1 values"),
        ("4 TiB", legacy(&control, 1 << 40, &four()), "outside the file"),
        ("a storage cut short", legacy(&control, 4, &four()[..15]), "outside the file"),
        ("a storage too long", legacy(&control, 4, &[0; 17]), "1 bytes after its last storage"),
        ("another count", legacy(&control, 3, &four()[..12]), "should have 4 values and has 12 bytes"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/interop/hostile");
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, HOSTILE.map(|(name, _)| name));
    let files = HOSTILE.map(|(name, part)| (name, sample(&format!("hostile/{name}")), part));
    let (mut held, mut wrong) = (Held::default(), Vec::new());
    for (name, bytes, part) in made.iter().chain(&files) {
        held.what = name.to_string();
        held.to(bytes.len(), || read(bytes));
        let said = read(bytes);
        let right = said.as_ref().map_or_else(|said| !part.is_empty() && said.contains(part), |()| part.is_empty());
        if !right {
            wrong.push(format!("{name}: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pieces of pickles that machines stumble over.
const PIECES: [&[u8]; 32] = [
    b"(",
    b"t",
    b"R",
    b"]",
    b"}",
    b"h\0",
    b"q\x05",
    b"2",
    b"0",
    b"1",
    b"s",
    b"u",
    b"a",
    b"e",
    b"Q",
    b"\x81",
    b"\x92",
    b"b",
    b"\x93",
    b"\x94",
    b"\x85",
    b"\x87",
    b"N",
    b"cposix\nsystem\n",
    b"\x8a\xff",
    b"X\xff\xff\xff\xff",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
    b"j\xff\xff\xff\xff",
    b"r\xff\xff\xff\xff",
    b"J\0\0\0\x80",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08\0\0\0\0\0\0\0\x80",
];

#[test]
fn pickles() {
    let seeds =
        ["hostile/good_control.pth", "mae_extras.pth", "hostile/good_control.pth", "bootmae_finetune_deepspeed.pt"]
            .map(|name| pickle(&sample(name)).to_vec());
    so_many_cases(CASES, "pickle", |case, rng, held| {
        let mut bytes = seeds[case % seeds.len()].clone();
        if rng.below(3) == 0 {
            let head = bytes.len();
            damage(&mut bytes, head, rng);
        } else {
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() + 1);
                let gone = rng.below(4).min(bytes.len() - at);
                bytes.splice(at..at + gone, PIECES[rng.below(PIECES.len())].iter().copied());
            }
        }
        let file = legacy(&bytes, 4, &four());
        held.to(file.len(), || read(&file))
    });
}

#[test]
fn archives() {
    let mut written = Vec::new();
    let values = [0.5; 12];
    let tensor = |name: &str, shape| Written { name: name.into(), shape, values: &values };
    write_torch(&mut written, Precision::F16, &[tensor("a", &[3, 4]), tensor("b", &[12])]).unwrap();
    let seeds = [written, sample("hostile/good_control.pth")];
    so_many_cases(CASES, "archive", |case, rng, held| {
        let mut bytes = seeds[case % seeds.len()].clone();
        let head = bytes.len();
        damage(&mut bytes, head, rng);
        held.to(bytes.len(), || read(&bytes))
    });
}

/// Whole files, mostly where their pickles are.
#[test]
fn legacy_files() {
    let seed = sample("mae_legacy.pth");
    so_many_cases(CASES, "torch before 1.6", |_, rng, held| {
        let mut bytes = seed.clone();
        damage(&mut bytes, 6000, rng);
        held.to(bytes.len(), || read(&bytes))
    });
}
