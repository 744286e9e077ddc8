//! Labels beside images: every layout against known answers, what is refused and with what words, and the two sides of a
//! data set.

use std::fs;
use std::io::Write;
use std::process::Command;

use bootmae::data::{self, Classes, LabelOptions, Labelled, Labels, Loader, LoaderOptions};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/labels");

fn fixture(name: &str) -> String {
    format!("{FIXTURES}/{name}")
}

fn read(place: &str, column: Option<&str>) -> Labels {
    data::open(place).unwrap().labels(column).unwrap()
}

/// The class of each image, −1 for none.
fn of(labels: &Labels) -> Vec<i64> {
    (0..labels.len()).map(|image| labels.of(image).map_or(-1, i64::from)).collect()
}

fn names(labels: &Labels) -> Vec<String> {
    (0..labels.classes().len()).map(|class| labels.classes().name(class)).collect()
}

/// Why labels cannot be used. The images can be, all of them.
fn refused(place: &str, column: Option<&str>, parts: &[&str]) {
    let source = data::open(place).unwrap();
    (0..source.len()).for_each(|index| drop(source.load(index, 3).unwrap()));
    let error = source.labels(column).expect_err("labels must be refused");
    assert_eq!(error.exit_code(), 3);
    let message = error.to_string();
    parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}` in: {message}"));
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|label| label.as_i64().unwrap_or(-1)).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// A folder with files of these names and contents.
fn folder<B: AsRef<[u8]>>(files: &[(&str, B)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn at(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// A small image of one grey.
fn png(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(3, 2, image::Luma([grey])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An archive of these files; those without contents are images.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (number, (name, text)) in files.iter().enumerate() {
        let bytes = if text.is_empty() { png(number as u8) } else { text.as_bytes().to_vec() };
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

fn npy(kind: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
}

fn idx(extents: &[u32], values: &[u8]) -> Vec<u8> {
    let extents_at = extents.iter().flat_map(|n| n.to_be_bytes());
    [0, 0, 8, extents.len() as u8].into_iter().chain(extents_at).chain(values.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn every_layout_gives_the_answers() {
    let answers: Value = serde_json::from_slice(&fs::read(fixture("labels.json")).unwrap()).unwrap();
    for name in
        ["train-00000-of-00001.parquet", "test-two-labels.parquet", "plain-integers.parquet", "plain-strings.parquet"]
    {
        let labels = read(&fixture(name), None);
        assert_eq!(
            (of(&labels), names(&labels)),
            (numbers(&answers[name]["labels"]), texts(&answers[name]["classes"]))
        );
    }
    let coarse = &answers["test-two-labels.parquet"]["also"]["coarse_label"];
    for column in ["coarse", "coarse_label"] {
        assert_eq!(of(&read(&fixture("test-two-labels.parquet"), Some(column))), numbers(coarse));
    }
    let (name, shard) = ("shard-000000.tar", data::open(&fixture("shard-000000.tar")).unwrap());
    let labels = shard.labels(None).unwrap();
    assert_eq!(names(&labels), texts(&answers[name]["classes"]));
    for (key, label) in answers[name]["labels"].as_object().unwrap() {
        let found = |index: &usize| shard.name(*index).contains(&format!("tar: {key}."));
        let index = (0..shard.len()).find(found).unwrap();
        assert_eq!(labels.of(index).map(u64::from), label.as_u64(), "{key}");
    }
    let name = "train-images-idx3-ubyte.gz";
    let labels = read(&fixture(name), None);
    assert_eq!((of(&labels), names(&labels)), (numbers(&answers[name]["labels"]), texts(&answers[name]["classes"])));
    let ten = read(&format!("cifar10:{FIXTURES}"), None);
    let each = numbers(&answers["cifar-10-batches-bin"]["labels_of_each_file"]);
    assert_eq!((of(&ten), ten.classes().name(3)), (each.repeat(5), "cat".into()));
    let hundred = format!("cifar100:{FIXTURES}");
    let (fine, coarse) = (read(&hundred, None), read(&hundred, Some("coarse")));
    assert_eq!(of(&fine), numbers(&answers["cifar-100-binary"]["labels_of_each_file"]));
    assert_eq!(of(&coarse), numbers(&answers["cifar-100-binary"]["coarse"]));
    assert_eq!((names(&fine)[19].as_str(), coarse.classes().len()), ("fine19", 20));
    let folders = read(&fixture("folders/train"), None);
    assert_eq!((of(&folders), names(&folders)), (vec![0, 1, 2, 2, 3], texts(&answers["folders"]["classes"])));
    // Both parts at once: the classes lie below them.
    let both = read(&fixture("folders"), None);
    assert_eq!((of(&both), names(&both)), (vec![0, 1, 2, 2, 3, 0], names(&folders)));
}

#[test]
fn columns_of_every_type_are_read_or_refused() {
    let columns = fixture("columns.parquet");
    for width in [8, 16, 32, 64] {
        assert_eq!(of(&read(&columns, Some(&format!("int{width}")))), [1, -1, -1, 2]);
        assert_eq!(of(&read(&columns, Some(&format!("uint{width}")))), [1, -1, 0, 2]);
        refused(&columns, Some(&format!("least{width}")), &["row 3: the label -", "is negative; only -1 may be"]);
    }
    let most = read(&columns, Some("most16"));
    assert_eq!((of(&most)[3], most.classes()), (65_535, &Classes::Numbers(65_536)));
    // All bits set are a number, not −1.
    refused(&columns, Some("most32"), &["row 3: the label 4294967295 is no class"]);
    refused(&columns, Some("most64"), &["row 3: the label 18446744073709551615 is no class"]);
    let category = read(&columns, Some("category"));
    assert_eq!((of(&category), names(&category)), (vec![1, 0, -1, 1], vec!["a".to_owned(), "b".into()]));
    assert_eq!(names(&read(&columns, Some("coarse"))), ["sea", "land"]);
    for (column, reason) in [
        ("single", "`single` holds floating-point numbers; labels are whole numbers or texts"),
        ("double", "floating-point numbers"),
        ("truth", "truth values"),
        ("day", "dates"),
        ("plain_bytes", "values of another type"),
        ("lists", "no column `lists`"),
        ("lists.list.element", "part of a list or structure"),
        ("empty", "class 0 has an empty name"),
        ("over", "row 2: the label 2 is none of the 2 classes"),
        ("twice", "two classes are called `a`"),
        ("other", "no column `other`; its columns are image.bytes, "),
    ] {
        refused(&columns, Some(column), &["columns.parquet", reason]);
    }
    // None of the usual names.
    assert_eq!(read(&columns, None), Labels::none(4));
    let groups: Vec<i64> = (0..200).map(|n| if n % 7 == 3 { -1 } else { n % 11 }).collect();
    assert_eq!(of(&read(&fixture("groups.parquet"), None)), groups);
}

#[test]
fn archives_have_labels_of_three_kinds_beside_images() {
    let images = [("a.png", ""), ("b.left.png", ""), ("c/d.png", ""), ("e.png", ""), ("f.png", "")];
    let with = |files: &[(&str, &str)]| archive(&[&images[..], files].concat());
    let given = folder(&[(
        "a.tar",
        with(&[
            ("a.cls", " 2\n"),
            ("a.json", "{\"label\": 0}"),
            ("b.JSON", "{\"label\": 1, \"x\": [2]}"),
            ("c/d.txt", "0"),
            ("c/d.json", "{\"label\": null}"),
            ("e.txt", "a caption of 3 words"),
            ("f.json", "[3]"),
            ("f.cls", "-1"),
        ]),
    )]);
    let labels = read(&at(&given, "a.tar"), None);
    assert_eq!((of(&labels), labels.classes()), (vec![2, 1, 0, -1, -1], &Classes::Numbers(3)));
    for (text, name) in
        [("zebra\nant\ncow\n", "classes.txt"), ("{\"classes\": [\"zebra\", \"ant\", \"cow\"]}", "_info.json")]
    {
        fs::write(at(&given, name), text).unwrap();
        assert_eq!(names(&read(&at(&given, "a.tar"), None)), ["zebra", "ant", "cow"]);
        fs::remove_file(at(&given, name)).unwrap();
    }
    fs::write(at(&given, "classes.txt"), "zebra\nant\n").unwrap();
    refused(&at(&given, "a.tar"), None, &["a.tar: what lies beside a.png: the label 2 is none of the 2 classes"]);
    fs::write(at(&given, "classes.txt"), "zebra\nzebra\n").unwrap();
    refused(&at(&given, "a.tar"), None, &["classes.txt: two classes are called `zebra`"]);
    for (name, text, reason) in [
        ("a.cls", "1.5", "beside a.png: the .cls file holds `1.5`, which is no whole number"),
        ("a.cls", "cat", "`cat`, which is no whole number"),
        ("a.cls", "-2", "the label -2 is negative"),
        ("a.json", "{\"label\": 1.0}", "the label 1.0 is no whole number"),
        ("a.json", "{\"label\": \"cat\"}", "the field `label` of the .json file is a text"),
        ("a.json", "{\"label\": 1", "the .json file is damaged"),
        ("a.txt", "-7", "the label -7 is negative"),
    ] {
        let given = folder(&[("a.tar", with(&[(name, text)]))]);
        refused(&at(&given, "a.tar"), None, &["a.tar", reason]);
    }
    let twice = folder(&[
        ("a.tar", with(&[("a.cls", "1"), ("a.cls", "2")])),
        ("b.tar", with(&[("a.cls", "1"), ("a.cls", "1")])),
    ]);
    refused(&at(&twice, "a.tar"), None, &["a.cls is there twice, with other contents"]);
    assert_eq!(of(&read(&at(&twice, "b.tar"), None))[0], 1);
    // Without any, first folders are the classes.
    let folders = folder(&[("a.tar", with(&[("a.txt", "a caption")]))]);
    let labels = read(&at(&folders, "a.tar"), None);
    assert_eq!((of(&labels), names(&labels)), (vec![-1, -1, 0, -1, -1], vec!["c".to_owned()]));
    refused(&at(&folders, "a.tar"), Some("coarse"), &["a.tar: it has no labels called `coarse`"]);
}

#[test]
fn arrays_have_labels_in_files_of_their_own() {
    let images = npy("|u1", "(3, 5, 5)", &[7; 75]);
    let longs = |labels: [i64; 3]| npy("<i8", "(3,)", &labels.map(i64::to_le_bytes).concat());
    let given = folder(&[
        ("x.npy", images.clone()),
        ("x_labels.npy", longs([2, -1, 0])),
        ("labels.npy", longs([1, 1, 1])),
        ("other.npy", images.clone()),
        ("sub/x.npy", images.clone()),
        ("sub/y.npy", npy(">u2", "(3,)", &[0, 1, 1, 0, 0, 2])),
    ]);
    assert_eq!(of(&read(&at(&given, "x.npy"), None)), [2, -1, 0]);
    assert_eq!(of(&read(&at(&given, "other.npy"), None)), [1, 1, 1]);
    assert_eq!(of(&read(&at(&given, "sub/x.npy"), None)), [1, 256, 2]);
    for (bytes, reason) in [
        (longs([0, -2, 0]), "labels.npy: number 1: the label -2 is negative"),
        (npy("<i8", "(2,)", &[0; 16]), "it has 2 labels for 3 images"),
        (npy("<i8", "(3,)", &[0; 23]), "bytes are not the 3 labels"),
        (npy("<i8", "(3, 1)", &[0; 24]), "shape (3, 1) holds no labels; they need the shape (3,)"),
        (npy("<f4", "(3,)", &[0; 12]), "labels are of type <f4; save whole numbers"),
        (npy("|b1", "(3,)", &[0; 3]), "of type |b1"),
        (b"junk".to_vec(), "not a .npy file"),
    ] {
        let given = folder(&[("x.npy", images.clone()), ("labels.npy", bytes)]);
        refused(&at(&given, "x.npy"), None, &[reason]);
    }
    let images = idx(&[3, 2, 2], &[7; 12]);
    let named = |labels: Vec<u8>| folder(&[("a-images-idx3-ubyte", images.clone()), ("a-labels-idx1-ubyte", labels)]);
    let mut cut = gzip(&idx(&[3], &[1, 2, 3]));
    cut.truncate(14);
    for (bytes, reason) in [
        (fs::read(fixture("short-labels-idx1-ubyte")).unwrap(), "it has 2 labels for 3 images"),
        (idx(&[3], &[1, 2]), "cut short or too long for its 3 labels"),
        (idx(&[3], &[1, 2, 3, 4]), "cut short or too long"),
        (gzip(&idx(&[3], &[1; 9000])), "cut short or too long"),
        (idx(&[3, 1], &[1, 2, 3]), "no IDX file of one dimension"),
        (vec![0, 0, 0x0D, 1, 0, 0, 0, 3, 0, 0, 0, 0], "of one dimension of bytes"),
        (vec![1; 1 << 16], "more than"),
        (cut, "the compressed file is damaged"),
    ] {
        let given = named(bytes);
        refused(&at(&given, "a-images-idx3-ubyte"), None, &["a-labels-idx1-ubyte: ", reason]);
    }
    assert_eq!(of(&read(&at(&named(gzip(&idx(&[3], &[4, 0, 1]))), "a-images-idx3-ubyte"), None)), [4, 0, 1]);
    assert_eq!(read(&at(&folder(&[("a-images-idx3-ubyte", images)]), "a-images-idx3-ubyte"), None), Labels::none(3));
}

/// CIFAR-10 as PNG tables of two images each.
fn tables() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in (1..=5).map(|number| format!("data_batch_{number}.png")).chain(["test_batch.png".into()]) {
        image::RgbImage::new(1024, 2).save(folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn tables_have_lists_of_numbers() {
    let folder = tables();
    let place = format!("cifar10:{}", folder.path().display());
    assert_eq!(read(&place, None), Labels::none(10));
    let list = at(&folder, "train_lables.json");
    fs::write(&list, "[0,1,2,3,4,5,6,7,8,9]").unwrap();
    fs::write(at(&folder, "test_lables.json"), "[9, 2]").unwrap();
    let labels = read(&place, None);
    assert_eq!((of(&labels), labels.classes().name(9)), ((0..10).collect(), "truck".into()));
    let sides = data::labelled(&place, &LabelOptions::default()).unwrap();
    assert_eq!((sides.train.labels.len(), sides.test.labels), (10, vec![9, 2]));
    for (text, reason) in [
        ("[0,1,2,3,4,5,6,7,8]", "it has 9 labels for 10 images"),
        ("[0,1,2,3,4,5,6,7,8,10]", "number 9: the label 10 is none of the 10 classes"),
        ("[0,1,2,3,4.5,5,6,7,8,9]", "number 4: the label 4.5 is no whole number"),
        ("[0,1,\"2\",3,4,5,6,7,8,9]", "no list of numbers"),
        ("{}", "no list of numbers"),
    ] {
        fs::write(&list, text).unwrap();
        refused(&place, None, &["train_lables.json: ", reason]);
    }
    fs::write(&list, vec![b' '; 4096]).unwrap();
    refused(&place, None, &["train_lables.json: it has more than"]);
}

#[test]
fn records_of_cifar_have_labels_of_the_set() {
    let copy = tempfile::tempdir().unwrap();
    let place = |name: &str| copy.path().join(name);
    for entry in fs::read_dir(fixture("cifar-10-batches-bin")).unwrap().flatten() {
        fs::copy(entry.path(), place(entry.file_name().to_str().unwrap())).unwrap();
    }
    let spec = copy.path().to_str().unwrap();
    let mut bytes = fs::read(place("data_batch_2.bin")).unwrap();
    bytes[3073] = 10;
    fs::write(place("data_batch_2.bin"), bytes).unwrap();
    refused(spec, None, &["data_batch_2.bin: record 1: the label 10 is none of the 10 classes"]);
    refused(spec, Some("coarse"), &["no labels called `coarse`"]);
    fs::write(place("batches.meta.txt"), "a\nb\n").unwrap();
    refused(spec, None, &["batches.meta.txt: it names 2 classes, not 10"]);
    // The names are known without that file.
    fs::remove_file(place("batches.meta.txt")).unwrap();
    fs::copy(fixture("cifar-10-batches-bin/data_batch_1.bin"), place("data_batch_2.bin")).unwrap();
    assert_eq!(read(spec, None).classes().name(3), "cat");
}

#[test]
fn folders_are_classes_and_none_may_be_empty() {
    let images = ["cat/1.png", "cat/deep/2.png", "dog/x/y/3.png", "4.png", ".hidden/5.png"];
    let given = folder(&images.map(|name| (name, png(1))));
    let place = given.path().to_str().unwrap();
    let labels = read(place, None);
    assert_eq!((of(&labels), names(&labels)), (vec![-1, 0, 0, 1], vec!["cat".to_owned(), "dog".into()]));
    fs::create_dir_all(given.path().join("eel/deeper")).unwrap();
    refused(place, None, &["eel: the class holds no image; put some into its folder, or remove it"]);
    // Unless a run writes there.
    let run = LabelOptions { run: Some(given.path().join("eel")), ..LabelOptions::default() };
    assert_eq!(sides(place, &run).classes.len(), 2);
    // Where no folder is a class, none is an empty one.
    let flat = folder(&[("1.png", png(1)), ("notes/a.txt", Vec::new())]);
    assert_eq!(read(flat.path().to_str().unwrap(), None), Labels::none(1));
}

#[test]
fn files_joined_into_one_collection_join_classes_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| fs::copy(fixture(from), folder.path().join(to)).unwrap();
    copy("plain-strings.parquet", "a.parquet");
    copy("train-00000-of-00001.parquet", "b.parquet");
    let place = at(&folder, "{a,b}.parquet");
    let labels = read(&place, None);
    assert_eq!(names(&labels), ["Zebra", "ant", "cat", "dog", "eel"]);
    assert_eq!(of(&labels), [3, 0, 1, 3, 2, 4, 3, 4, -1, 2]);
    copy("plain-integers.parquet", "b.parquet");
    refused(&place, None, &["b.parquet: its classes have numbers and those of", "a.parquet have names"]);
    let shards = self::folder(&[
        ("0.tar", archive(&[("b/1.png", ""), ("d/2.png", "")])),
        ("1.tar", archive(&[("a/3.png", ""), ("d/4.png", "")])),
    ]);
    let place = at(&shards, "*.tar");
    let labels = read(&place, None);
    assert_eq!((of(&labels), names(&labels).concat()), (vec![1, 2, 0, 2], "abd".into()));
}

fn sides(place: &str, options: &LabelOptions) -> Labelled {
    data::labelled(place, options).unwrap()
}

fn no_sides(place: &str, options: &LabelOptions, parts: &[&str]) {
    let error = data::labelled(place, options).err().expect("must be refused").to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "no `{part}` in: {error}"));
}

#[test]
fn both_sides_of_a_data_set_are_found() {
    let plain = LabelOptions::default();
    let found = sides(&fixture("folders"), &plain);
    assert_eq!((found.train.labels, found.test.labels, found.held_out), (vec![0, 1, 2, 2, 3], vec![0], false));
    assert!(found.how.contains("5 images of ") && found.how.contains("folders/val to test on, 4 classes"));
    for spec in [format!("cifar10:{FIXTURES}"), fixture("cifar-10-batches-bin")] {
        let found = sides(&spec, &plain);
        assert_eq!((found.train.labels.len(), found.test.labels), (15, vec![3, 8, 0]));
        assert!(found.test.source.name(0).contains("test_batch.bin"), "{}", found.test.source.name(0));
    }
    let coarse = LabelOptions { column: Some("coarse".into()), ..plain.clone() };
    assert_eq!(sides(&fixture("cifar-100-binary"), &coarse).test.labels, [11, 0, 15]);
    // MNIST, of which the test side has fewer classes, compressed and not.
    let arrays = folder(&[
        ("train-images-idx3-ubyte", idx(&[3, 2, 2], &[7; 12])),
        ("train-images-idx3-ubyte.gz", gzip(&idx(&[3, 2, 2], &[7; 12]))),
        ("train-labels-idx1-ubyte", idx(&[3], &[2, 0, 1])),
        ("t10k-images-idx3-ubyte.gz", gzip(&idx(&[2, 2, 2], &[5; 8]))),
        ("t10k-labels-idx1-ubyte.gz", gzip(&idx(&[2], &[1, 1]))),
    ]);
    let place = arrays.path().to_str().unwrap();
    let found = sides(place, &plain);
    assert_eq!(
        (found.train.labels, found.test.labels, found.classes),
        (vec![2, 0, 1], vec![1, 1], Classes::Numbers(3))
    );
    assert_eq!(data::open(place).unwrap().len(), 3);
    // By name, whatever the numbers are; a part for validation before one for testing.
    let (dog, ant) = ([("dog/1.png", "")], [("ant/2.png", ""), ("dog/3.png", "")]);
    let shards = folder(&[
        ("train-0.tar", archive(&[("ant/0.png", ""), ("dog/1.png", "")])),
        ("validation-0.tar", archive(&dog)),
        ("test-0.tar", archive(&ant)),
    ]);
    for spec in [shards.path().to_str().unwrap().to_owned(), at(&shards, "*.tar")] {
        let found = sides(&spec, &plain);
        assert_eq!((found.train.labels, found.test.labels), (vec![0, 1], vec![1]));
    }
    let given = LabelOptions { test: Some(at(&shards, "test-0.tar")), ..plain.clone() };
    assert_eq!(sides(&at(&shards, "train-0.tar"), &given).test.labels, [0, 1]);
    // A class that is there to test on alone, also one that is known but has no image.
    no_sides(&at(&shards, "validation-0.tar"), &given, &["test-0.tar: the class `ant` (such as ", "ant/2.png) has no"]);
    let numbers = LabelOptions { test: Some(fixture("plain-integers.parquet")), ..plain.clone() };
    no_sides(&at(&shards, "train-0.tar"), &numbers, &["its classes have numbers and those of", "have names"]);
    no_sides(&fixture("train-images-idx3-ubyte.gz"), &numbers, &["plain-integers.parquet: the class `3` (such as "]);
    let same = LabelOptions { test: Some(at(&shards, "test-0.tar")), ..plain };
    no_sides(&at(&shards, "test-0.tar"), &same, &["is both to train and to test on"]);
}

#[test]
fn a_tenth_is_held_out_where_there_is_nothing_to_test_on() {
    let files: Vec<(String, Vec<u8>)> =
        (0..40).map(|n| (format!("{}/{n:02}.png", if n < 30 { "a" } else { "b" }), png(n))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let all = folder(&[&files[..], &[("root.png", &png(99)[..])]].concat());
    let place = all.path().to_str().unwrap();
    let seeded = |seed| sides(place, &LabelOptions { seed, ..LabelOptions::default() });
    let found = seeded(1);
    let count = |labels: &[u32]| [0, 1].map(|class| labels.iter().filter(|label| **label == class).count());
    assert_eq!((count(&found.train.labels), count(&found.test.labels)), ([27, 9], [3, 1]));
    assert!(found.held_out && found.how.contains("a tenth of each class was held out by the seed 1"), "{}", found.how);
    let named = |found: &Labelled| -> Vec<String> { (0..4).map(|image| found.test.source.name(image)).collect() };
    assert_eq!(named(&found), named(&seeded(1)));
    assert_ne!(named(&found), named(&seeded(2)));
    for (image, &label) in found.test.labels.iter().enumerate() {
        let folder = ["/a/", "/b/"][label as usize];
        assert!(found.test.source.name(image).contains(folder));
        let train = (0..found.train.source.len()).map(|image| found.train.source.name(image));
        assert!(!train.into_iter().any(|name| name == found.test.source.name(image)));
    }
    // A side to test on without labels is none.
    let unlabelled = folder(&[
        ("train-images-idx3-ubyte", idx(&[4, 2, 2], &[7; 16])),
        ("train-labels-idx1-ubyte", idx(&[4], &[0, 0, 1, 1])),
        ("t10k-images-idx3-ubyte", idx(&[2, 2, 2], &[5; 8])),
    ]);
    let found = sides(unlabelled.path().to_str().unwrap(), &LabelOptions::default());
    assert_eq!((found.train.labels, found.test.labels), (vec![0, 1], vec![0, 1]));
    assert!(found.how.contains("t10k-images-idx3-ubyte has no labels"), "{}", found.how);
    let given = LabelOptions { test: Some(at(&unlabelled, "t10k-images-idx3-ubyte")), ..LabelOptions::default() };
    no_sides(place, &given, &["t10k-images-idx3-ubyte: no image to test on has a label"]);
    let single = folder(&[("a/1.png", png(1)), ("b/2.png", png(2))]);
    no_sides(single.path().to_str().unwrap(), &LabelOptions::default(), &["no class has two images"]);
    let flat = folder(&[("1.png", png(1)), ("2.png", png(2))]);
    no_sides(flat.path().to_str().unwrap(), &LabelOptions::default(), &["no image has a label; put images into"]);
}

#[test]
fn an_image_in_place_of_an_unreadable_one_has_its_own_label() {
    let files: Vec<(String, Vec<u8>)> = (0..8)
        .map(|n| (format!("train/{}/{n}.png", n % 4), if n == 5 { b"broken".to_vec() } else { png(n * 20) }))
        .collect();
    let mut files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let test = png(1);
    files.push(("val/1/x.png", &test));
    let given = folder(&files);
    let train = sides(given.path().to_str().unwrap(), &LabelOptions::default()).train;
    let options =
        LoaderOptions { batch_size: 8, height: 4, width: 4, max_bad_fraction: 0.2, ..LoaderOptions::default() };
    let mut loader = Loader::new(train.source.clone(), options, 0).unwrap();
    let mut replaced = 0;
    for _ in 0..8 {
        let batch = loader.next().unwrap();
        let classes = train.classes_of(&batch.shown);
        let size = batch.images.len() / 8;
        for (slot, (&(_, sample), class)) in batch.samples.iter().zip(classes).enumerate() {
            // The grey that is there tells the image, and so the class.
            let image = ((batch.images[slot * size] + 1.0) * 127.5 / 20.0).round() as usize;
            assert_eq!((image % 4) as u32, class, "sample {sample}");
            let own = train.source.name(sample).ends_with("/5.png");
            assert!(!own || image != 5);
            replaced += usize::from(own && class != 1);
        }
    }
    assert!(replaced > 0, "the unreadable image was never replaced by one of another class");
}

#[test]
fn training_without_labels_never_meets_wrong_ones() {
    let given = folder(&[("a.npy", npy("|u1", "(8, 5, 5)", &[7; 200])), ("labels.npy", b"junk".to_vec())]);
    let source = data::open(&at(&given, "a.npy")).unwrap();
    assert!(source.labels(None).is_err());
    let options = LoaderOptions { batch_size: 8, height: 4, width: 4, ..LoaderOptions::default() };
    assert_eq!(Loader::new(source, options, 0).unwrap().next().unwrap().shown.len(), 8);
}

fn check(arguments: &[&str]) -> (String, Value) {
    let run = |more: &[&str]| {
        let arguments = [&["data", "check"], arguments, more].concat();
        Command::new(env!("CARGO_BIN_EXE_bootmae")).args(arguments).output().expect("the program starts")
    };
    let (text, json) = (run(&[]), run(&["--json"]));
    assert_eq!((text.status.code(), json.status.code()), (Some(0), Some(0)));
    (String::from_utf8(text.stdout).unwrap(), serde_json::from_slice(&json.stdout).unwrap())
}

#[test]
fn check_counts_the_images_of_each_class() {
    let says = |text: &str, line: &str| assert!(text.lines().any(|found| found == line), "no `{line}` in: {text}");
    let (text, json) = check(&[&fixture("folders/train")]);
    says(&text, "classes           4 of 1 (Zebra) to 2 (class2) images");
    let counts = |json: &Value| -> Vec<(String, u64)> {
        let classes = json["images_per_class"].as_array().unwrap().iter();
        classes.map(|class| (class["class"].as_str().unwrap().into(), class["images"].as_u64().unwrap())).collect()
    };
    let expected = [("Zebra", 1), ("class10", 1), ("class2", 2), ("äpfel", 1)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!((counts(&json), &json["unlabelled"]), (expected.into(), &0.into()));
    let (text, json) = check(&[&fixture("plain-integers.parquet")]);
    says(&text, "classes           4 of 0 (1) to 2 (3) images");
    says(&text, "unlabelled        1");
    assert_eq!(json["classes"], 4);
    let (text, _) = check(&[&fixture("columns.parquet"), "--label-column", "coarse"]);
    says(&text, "classes           2 of 2 images");
    let (text, json) = check(&[&fixture("columns.parquet"), "--label-column", "over"]);
    assert!(
        text.contains("none: the labels cannot be used (images: ") && text.contains("row 2: the label 2"),
        "{text}"
    );
    assert!(json["labels_refused"].as_str().unwrap().contains("none of the 2 classes"));
    // What is to be tested on is compared with what is trained on, though it is no part of the collection.
    let (text, json) = check(&[&fixture("cifar-10-batches-bin")]);
    assert!(text.contains("sides             15 images of ") && text.contains("test_batch.bin to test on, 3 classes"));
    assert_eq!(json["test_duplicates"].as_array().unwrap().len(), 3);
    let (text, json) = check(&[&fixture("folders")]);
    assert_eq!((&json["images"], json["test_duplicates"].as_array().unwrap().len()), (&6.into(), 0));
    says(&text, "classes           4 of 1 (class10) to 2 (Zebra) images");
}
