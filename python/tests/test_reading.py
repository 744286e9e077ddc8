"""The module against what the program writes, and against files that were made to do harm.

BOOTMAE names the program, which makes the files; it needs a GPU or a software driver. The comparison with timm runs
where timm is installed.

    BOOTMAE=target/debug/bootmae PYTHONPATH=python python3 -m unittest discover --start-directory python/tests
"""

import atexit
import csv
import importlib.util
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import unittest
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path
from unittest import mock

import numpy as np

import bootmae

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "examples/photos/train"
CIFAR = f"cifar10:{ROOT / 'tests/fixtures/labels/cifar-10-batches-bin'}"
VERSION_1 = ROOT / "tests/fixtures/checkpoint_1/checkpoint.safetensors"
WORK = Path(tempfile.mkdtemp(prefix="bootmae-python-"))
atexit.register(shutil.rmtree, WORK)
MODEL = ["--model", "nano", "--image-size", "32", "--patch-size", "4", "--batch-size", "2", "--no-tune"]
# The bar for features that timm computes: relative distance, at most this for one image.
FEATURES = 1e-5


def setUpModule():
    if not os.environ.get("BOOTMAE"):
        raise RuntimeError("BOOTMAE must name the program, whose files these tests read, such as target/debug/bootmae")
    os.environ["BOOTMAE"] = os.path.abspath(os.environ["BOOTMAE"])
    os.environ["BOOTMAE_NO_TUNE"] = "1"
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


@lru_cache(maxsize=None)
def pretrained():
    """A run folder with checkpoints after one, two and three steps."""
    out = WORK / "run"
    bootmae.run("pretrain", "--data", PHOTOS, "--out", out, "--steps", "3", "--save-every", "1", *MODEL)
    return out


@lru_cache(maxsize=None)
def finetuned():
    """A run folder of a classifier."""
    out = WORK / "tuned"
    words = ["--light", "--steps", "2", "--batch-size", "4", "--no-tune"]
    bootmae.run("finetune", "--checkpoint", pretrained(), "--data", CIFAR, "--out", out, *words)
    return out


@lru_cache(maxsize=None)
def embedded(ending, data=PHOTOS, *words):
    """A file of features."""
    kind = "labelled" if data == CIFAR else "photos"
    out = WORK / f"{kind}{'-'.join(words)}.{ending}"
    bootmae.run("embed", "--checkpoint", pretrained(), "--data", data, "--out", out, *words)
    return out


@lru_cache(maxsize=None)
def exported(checkpoint, *words):
    """A file of weights."""
    out = WORK / f"exported{'-'.join((str(checkpoint.relative_to(WORK)).replace(os.sep, '-'), *words))}.safetensors"
    bootmae.run("export", "--format", "own", "--checkpoint", checkpoint, "--out", out, *words)
    return out


def rows(path):
    """Names, labels, classes and values of a file of features in CSV."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    names, labels, classes = ([line[at] for line in lines] for at in range(3))
    return header, names, [int(label) for label in labels], classes, np.array([line[3:] for line in lines], np.float32)


class Made(unittest.TestCase):
    """Files of one test."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=WORK))

    def refused(self, part, read, *arguments):
        """Reading ends with ValueError, whose message has this part."""
        with self.assertRaises(ValueError) as caught:
            read(*arguments)
        self.assertIn(part, str(caught.exception))
        self.assertLess(len(str(caught.exception)), 1000)


class FeaturesOfTheProgram(unittest.TestCase):
    def test_unlabelled_photos_in_three_formats(self):
        header, names, labels, classes, values = rows(embedded("csv"))
        self.assertEqual((len(names), set(labels), set(classes), header[3]), (23, {-1}, {""}, "f0"))
        for ending in ("safetensors", "npy"):
            with self.subTest(ending=ending):
                read = bootmae.read_features(embedded(ending))
                np.testing.assert_array_equal(read.values, values)
                self.assertEqual((read.values.dtype, read.labels.dtype), (np.float32, np.int64))
                np.testing.assert_array_equal(read.labels, labels)
                self.assertEqual((read.classes, len(read)), ((), 23))
                read.values[0, 0] = 1
        self.assertEqual(list(bootmae.read_features(str(embedded("npy"))).names), names)
        read = bootmae.read_features(embedded("safetensors"))
        np.testing.assert_array_equal(read.images, np.arange(23))
        self.assertIsNone(read.names)
        said = {key: read.about[key] for key in ("step", "weights", "pool", "norm", "blocks", "source", "split")}
        expected = {"step": "3", "weights": "student", "pool": "mean", "norm": "none", "blocks": "6", "split": "all"}
        self.assertEqual(said, {**expected, "source": str(PHOTOS)})

    def test_labelled_images_in_three_formats(self):
        _, names, labels, classes, values = rows(embedded("csv", CIFAR))
        for ending in ("safetensors", "npy"):
            read = bootmae.read_features(embedded(ending, CIFAR))
            np.testing.assert_array_equal(read.values, values)
            np.testing.assert_array_equal(read.labels, labels)
        self.assertEqual(read.names, tuple(names))
        read = bootmae.read_features(embedded("safetensors", CIFAR))
        self.assertEqual([read.classes[label] for label in read.labels], classes)
        self.assertNotIn("classes", read.about)

    def test_the_teacher_has_features_of_its_own(self):
        student = bootmae.read_features(embedded("safetensors"))
        teacher = bootmae.read_features(embedded("safetensors", PHOTOS, "--weights", "teacher"))
        self.assertEqual(teacher.about["weights"], "teacher")
        self.assertGreater(np.abs(student.values - teacher.values).max(), 0)


class CheckpointsOfTheProgram(unittest.TestCase):
    def same(self, tensors, others):
        self.assertEqual(sorted(tensors), sorted(others))
        for name, values in tensors.items():
            np.testing.assert_array_equal(values, others[name], name)

    def test_a_run_folder_is_its_newest_checkpoint(self):
        run = bootmae.read_checkpoint(pretrained())
        folder = bootmae.read_checkpoint(pretrained() / "checkpoints/step-3")
        self.assertEqual((run.step, run.path, run.config), (3, folder.path, folder.config))
        self.same(run.tensors, folder.tensors)
        self.same(run.teacher, folder.teacher)
        self.assertEqual((run.config["model"]["width"], run.config["training"]["batch_size"]), (128, 2))
        self.assertEqual(run.tensors["patch_embed.proj.weight"].shape, (128, 3, 4, 4))
        self.assertEqual(run.tensors["blocks.5.attn.qkv.weight"].shape, (384, 128))
        self.assertEqual({values.dtype for values in run.tensors.values()}, {np.dtype(np.float32)})

    def test_every_step_has_its_own_weights(self):
        read = [bootmae.read_checkpoint(pretrained() / f"checkpoints/step-{step}") for step in (1, 2, 3)]
        self.assertEqual([one.step for one in read], [1, 2, 3])
        biases = [one.tensors["blocks.0.mlp.fc1.bias"] for one in read]
        self.assertFalse(np.array_equal(biases[0], biases[1]) or np.array_equal(biases[1], biases[2]))

    def test_exported_weights_are_those_of_the_checkpoint(self):
        run, own = bootmae.read_checkpoint(pretrained()), bootmae.read_checkpoint(exported(pretrained()))
        self.assertEqual((own.step, own.config), (run.step, run.config))
        self.same(own.tensors, run.tensors)
        encoder = {name: values for name, values in run.teacher.items() if "decoder" not in name}
        self.same(own.teacher, encoder)

    def test_half_precision_is_float32_unless_asked_for(self):
        path = exported(pretrained(), "--precision", "f16")
        run, single, half = (bootmae.read_checkpoint(pretrained()), bootmae.read_checkpoint(path),
                             bootmae.read_checkpoint(path, as_stored=True))
        self.assertEqual({values.dtype for values in half.tensors.values()}, {np.dtype(np.float16)})
        for name, values in single.tensors.items():
            self.assertEqual(values.dtype, np.float32)
            np.testing.assert_array_equal(values, run.tensors[name].astype(np.float16))
            np.testing.assert_array_equal(values, half.tensors[name])
        self.assertEqual(half.teacher["norm.bias"].dtype, np.float16)

    def test_a_model_file_alone_has_no_teacher(self):
        run = bootmae.read_checkpoint(pretrained())
        alone = bootmae.read_checkpoint(run.path / "model.safetensors")
        self.same(alone.tensors, run.tensors)
        self.assertIsNone(alone.teacher)

    def test_a_classifier_and_its_average(self):
        read = bootmae.read_checkpoint(finetuned())
        self.assertEqual(len(read.config["classifier"]["classes"]), read.tensors["head.bias"].shape[0])
        self.assertEqual(read.teacher.keys(), read.tensors.keys())

    def test_a_checkpoint_of_version_1(self):
        read = bootmae.read_checkpoint(VERSION_1)
        self.assertEqual((read.step, read.config["model"]["width"]), (2, 8))
        self.assertEqual(read.teacher.keys(), read.tensors.keys())


class DamagedCheckpoints(Made):
    def setUp(self):
        super().setUp()
        self.run = self.folder / "run"
        shutil.copytree(pretrained(), self.run)
        self.newest = self.run / "checkpoints/step-3"

    def older(self, part):
        """The checkpoint before the newest is read, and a warning says why."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.assertEqual(bootmae.read_checkpoint(self.run).step, 2)
        self.assertEqual([(warning.category, warning.filename) for warning in told], [(RuntimeWarning, __file__)])
        self.assertIn(part, str(told[0].message))
        with self.assertRaises((ValueError, OSError)):
            bootmae.read_checkpoint(self.newest)

    def test_a_file_cut_short_passes_over_to_the_one_before(self):
        path = self.newest / "optimizer.safetensors"
        os.truncate(path, path.stat().st_size - 1)
        self.older("where the manifest lists")

    def test_a_missing_file_passes_over_to_the_one_before(self):
        (self.newest / "teacher.safetensors").unlink()
        self.older("teacher.safetensors")

    def test_a_missing_manifest_passes_over_to_the_one_before(self):
        (self.newest / "MANIFEST.json").unlink()
        self.older("MANIFEST.json")

    def test_another_version_is_named(self):
        path = self.newest / "MANIFEST.json"
        path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
        self.older("checkpoint version 3; versions 1 and 2 are read")

    def test_the_step_is_that_of_the_name(self):
        shutil.rmtree(self.newest)
        shutil.copytree(self.run / "checkpoints/step-1", self.newest)
        with self.assertWarnsRegex(RuntimeWarning, "holds step 1"):
            self.assertEqual(bootmae.read_checkpoint(self.run).step, 2)

    def test_other_names_are_no_checkpoints(self):
        for name in ("step-9.partial", "step-9.set-aside", "step-09", "step-²", "step-"):
            shutil.copytree(self.newest, self.run / "checkpoints" / name)
        (self.run / "checkpoints/step-8").mkdir()
        (self.run / "checkpoints/step-8/notes.txt").write_text("left behind")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(bootmae.read_checkpoint(self.run).step, 3)

    def test_nothing_complete_is_an_error_that_says_why(self):
        for manifest in self.run.glob("checkpoints/*/MANIFEST.json"):
            manifest.write_text("{")
        self.refused("no checkpoint is complete", bootmae.read_checkpoint, self.run)

    def test_what_is_no_checkpoint_is_named(self):
        self.refused("give a run folder", bootmae.read_checkpoint, PHOTOS)
        self.refused("it holds nothing", bootmae.read_checkpoint, self.folder / self.made("empty"))
        self.refused("lies beside it", bootmae.read_checkpoint, self.newest / "teacher.safetensors")
        self.refused("lies beside it", bootmae.read_checkpoint, self.newest / "optimizer.safetensors")
        self.refused("not a bootmae checkpoint", bootmae.read_checkpoint, embedded("safetensors"))
        archive = shutil.make_archive(str(self.folder / "saved"), "tar", self.newest)
        self.refused("unpack it", bootmae.read_checkpoint, archive)
        with self.assertRaises(FileNotFoundError):
            bootmae.read_checkpoint(self.folder / "nowhere")

    def made(self, name):
        (self.folder / name).mkdir()
        return name

    def test_hostile_manifests_are_refused(self):
        path = self.newest / "MANIFEST.json"
        said = json.loads(path.read_text())
        self.refused("not the manifest", self.told, path, {**said, "format": "other"})
        self.refused("no `step`", self.told, path, {**said, "step": True})
        self.refused("no `step`", self.told, path, {**said, "files": []})
        self.refused("without its length", self.told, path, {**said, "files": {"model.safetensors": {"bytes": -1}}})
        self.refused("lists no state.json", self.told, path, {**said, "files": {"../../x": {"bytes": 1}}})
        self.refused("unlike the manifest", self.told, path, {**said, "step": 2})
        self.refused("nested too deeply", self.told, path, "[" * 100_000)
        self.refused("digits", self.told, path, f'{{"step": {"1" * 21}}}')
        self.refused("two entries", self.told, path, '{"step": 1, "step": 2}')
        self.refused("longer than", self.told, path, " " * (1 << 20) + "{}")

    def told(self, path, text):
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return bootmae.read_checkpoint(path.parent)


class HostileTensors(Made):
    """A safetensors file is refused in words, whatever it claims."""

    METADATA = {"format": "bootmae model", "version": "2", "step": "7", "config": '{"model": {}}'}

    def read(self, header, values=bytes(8), length=None):
        """What is read of a file with this header, which may be bytes, a text or an object."""
        if isinstance(header, dict):
            header = json.dumps({"__metadata__": self.METADATA, **header})
        header = header.encode() if isinstance(header, str) else header
        path = self.folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + values)
        return bootmae.read_checkpoint(path)

    @staticmethod
    def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    def test_a_plain_file_is_read(self):
        values = np.arange(6, dtype="<f4").tobytes()
        header = {"b": self.tensor(shape=[2, 2], offsets=[8, 24]), "a": self.tensor(),
                  "c": self.tensor("F16", [0], [24, 24]), "teacher/a": self.tensor(shape=[], offsets=[24, 28])}
        read = self.read(header, values + struct.pack("<f", 7))
        np.testing.assert_array_equal(read.tensors["a"], [0, 1])
        np.testing.assert_array_equal(read.tensors["b"], [[2, 3], [4, 5]])
        self.assertEqual((read.step, read.tensors["c"].shape, read.tensors.keys()), (7, (0,), {"a", "b", "c"}))
        self.assertEqual((read.teacher.keys(), read.teacher["a"].shape, float(read.teacher["a"])), ({"a"}, (), 7.0))

    def test_every_truncation_and_every_extra_byte_is_refused(self):
        self.read({"a": self.tensor()})
        path = self.folder / "model.safetensors"
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with self.assertRaises(ValueError, msg=f"{length} of {len(whole)} bytes"):
                bootmae.read_checkpoint(path)
        path.write_bytes(whole + b"\0")
        self.refused("promises 8 bytes of values, the file holds 9", bootmae.read_checkpoint, path)

    def test_offsets_that_do_not_fit_are_refused(self):
        for shape, offsets in [
            ([3], [0, 8]), ([1], [0, 8]), ([2], [8, 16]), ([2], [8, 0]), ([2], [-1, 7]), ([2], [0, 8.0]), ([2], [0]),
            ([2], [0, 8, 8]), ([2], "08"), ([2], None), ([2], [False, 8]), ([-2], [0, 8]), ([-2, -1], [0, 8]),
            ([2.0], [0, 8]), ([True, 2], [0, 8]), (2, [0, 8]), (None, [0, 8]), ([1 << 62, 4], [0, 8]),
            ([1 << 63], [0, 1 << 65]), ([2], [1 << 63, (1 << 63) + 8]), ([1] * 40 + [2], [0, 8]),
        ]:
            with self.subTest(shape=shape, offsets=offsets), self.assertRaises(ValueError):
                self.read({"a": self.tensor(shape=shape, offsets=offsets)})

    def test_tensors_that_overlap_or_leave_gaps_are_refused(self):
        self.refused("overlaps", self.read, {"a": self.tensor(), "b": self.tensor()})
        self.refused("overlaps", self.read, {"a": self.tensor(), "b": self.tensor(shape=[1], offsets=[4, 8])})
        self.refused("leaves a gap", self.read, {"a": self.tensor(shape=[1], offsets=[4, 8])})
        self.refused("promises 4 bytes", self.read, {"a": self.tensor(shape=[1], offsets=[0, 4])})
        self.refused("promises 16 bytes", self.read, {"a": self.tensor(shape=[4], offsets=[0, 16])})
        self.refused("promises 0 bytes", self.read, {})

    def test_a_shape_that_no_array_has_is_refused(self):
        shape = [0, 10**18, 10**18]
        self.refused("of which no array can be made", self.read, {"a": self.tensor(shape=shape, offsets=[0, 0])}, b"")

    def test_types_that_are_not_read_are_named(self):
        self.refused("'a' is 'BF16'; F16, F32, F64, I64 are read", self.read, {"a": self.tensor("BF16", [4])})
        self.refused("'O'", self.read, {"a": self.tensor("O", [1])})
        self.refused("None", self.read, {"a": self.tensor(None)})
        self.refused("['F32']", self.read, {"a": self.tensor(["F32"])})
        self.refused("weights are F32 or F16", self.read, {"a": self.tensor("F64", [1])})

    def test_names_stay_short_and_command_no_terminal(self):
        with self.assertRaises(ValueError) as caught:
            self.read({"\x1b[31m" + "x" * 10**5: self.tensor("y" * 10**5)})
        self.assertNotIn("\x1b", str(caught.exception))
        self.assertLess(len(str(caught.exception)), 600)

    def test_headers_that_are_none_are_refused(self):
        one = json.dumps({"a": self.tensor()})
        twice = f"{one[:-1]}, {one[1:]}"
        for header, part in [
            ("", "malformed"), ("{", "malformed"), (b"\xff\xfe{}", "malformed"), ("null", "no object"),
            ("[]", "no object"), ('{"a":1}', "by no object"), ('{"a":NaN}', "by no object"),
            ('{"__metadata__":{"a":1}}', "other than texts"), ('{"__metadata__":[1]}', "other than texts"),
            ("[" * 100_000, "nested too deeply"), ('{"a":' * 100_000, "nested too deeply"),
            (f'{{"a":{"9" * 100_000}}}', "digits"), (twice, "two entries named 'a'"),
        ]:
            with self.subTest(part=part, header=header[:20]):
                self.refused(part, self.read, header)

    def test_a_huge_header_is_refused_before_it_is_read(self):
        path = self.folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", (100 << 20) + 1))
        os.truncate(path, 1 << 28)
        with mock.patch("json.loads", side_effect=AssertionError("was read")):
            self.refused("more than the 104857600", bootmae.read_checkpoint, path)
        self.refused("follow: truncated", self.read, "{}", bytes(8), 1 << 63)
        self.refused("follow: truncated", self.read, "{}", bytes(8), (1 << 64) - 1)

    def test_metadata_that_makes_no_model_is_refused(self):
        for change, part in [
            ({"version": "3"}, "checkpoint version 3"), ({"version": "2.0"}, "version 2.0"), ({"step": "-1"}, "`step`"),
            ({"step": "²"}, "`step`"), ({"step": "1" * 10**4}, "`step`"), ({"config": "{"}, "`config`"),
            ({"config": "[]"}, "`config`"), ({"config": "[" * 10**5}, "nested"), ({"format": "pt"}, "not a bootmae"),
            ({"format": "bootmae checkpoint"}, "version 2"),
        ]:
            with self.subTest(change=str(change)[:60]), mock.patch.dict(self.METADATA, change):
                self.refused(part, self.read, {"a": self.tensor()})

    def test_other_kinds_of_files_are_refused(self):
        path = self.folder / "model.safetensors"
        zipped, page = b"PK\x03\x04" + bytes(60), b"<!DOCTYPE html>" * 9
        for content in (b"", b"\x80\x02}q\x00.", pickle.dumps({"a": 1}), zipped, page):
            path.write_bytes(content)
            with self.subTest(content=content[:8]), self.assertRaises(ValueError):
                bootmae.read_checkpoint(path)
        for read in (bootmae.read_features, bootmae.read_metrics):
            with self.assertRaises((ValueError, FileNotFoundError)):
                read(self.folder)

    @unittest.skipUnless(hasattr(os, "mkfifo"), "this system has no named pipes")
    def test_a_pipe_is_refused_and_not_waited_for(self):
        for name, read in [("a.safetensors", bootmae.read_features), ("a.npy", bootmae.read_features),
                           ("model.safetensors", bootmae.read_checkpoint), ("metrics.jsonl", bootmae.read_metrics)]:
            path = self.folder / name
            os.mkfifo(path)
            self.assertTrue(stat.S_ISFIFO(path.stat().st_mode))
            self.refused("not a file", read, path)


class HostileFeatures(Made):
    def file(self, **changes):
        """A file of three features of two values, with tensors replaced, and removed where they are None."""
        tensors = {"features": np.arange(6, dtype="<f4").reshape(3, 2), "labels": np.array([0, 1, -1], "<i8"),
                   "images": np.arange(3, dtype="<i8")}
        metadata = {"format": "bootmae features", "classes": json.dumps(["a", "b"])}
        metadata.update(changes.pop("metadata", {}))
        tensors.update(changes)
        header, values = {"__metadata__": metadata}, b""
        for name, array in tensors.items():
            if array is not None:
                dtype = {"f4": "F32", "f8": "F64", "i8": "I64", "f2": "F16"}[array.dtype.str[1:]]
                begins, values = len(values), values + array.tobytes()
                header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begins, len(values)]}
        text = json.dumps(header).encode()
        path = self.folder / "features.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + values)
        return path

    def test_a_file_of_others_may_say_nothing_of_its_making(self):
        read = bootmae.read_features(self.file(images=None))
        self.assertEqual((read.classes, read.labels.tolist(), read.images), (("a", "b"), [0, 1, -1], None))

    def test_what_knn_would_refuse_is_refused(self):
        def refused(part, **changes):
            with self.subTest(part=part):
                self.refused(part, bootmae.read_features, self.file(**changes))

        refused("no tensor `labels`", labels=None)
        refused("no tensor `features`", features=None)
        refused("float64", features=np.zeros((3, 2), "<f8"))
        refused("shape (6,)", features=np.zeros(6, "<f4"))
        refused("at least one image", features=np.zeros((0, 2), "<f4"), labels=np.zeros(0, "<i8"), images=None)
        refused("1 to 65536", features=np.zeros((3, 0), "<f4"))
        refused("not finite in row 1", features=np.array([[0, 0], [0, np.nan], [0, 0]], "<f4"))
        refused("shape (2,) for 3 images", labels=np.array([0, 1], "<i8"))
        refused("label 2 is none of the 2 classes", labels=np.array([0, 1, 2], "<i8"))
        refused("label -2 is negative", labels=np.array([0, 1, -2], "<i8"))
        refused("labels are float32", labels=np.zeros(3, "<f4"))
        refused("`images`", images=np.zeros(2, "<i8"))
        refused("`classes` in the metadata", metadata={"classes": "{"})
        refused("no list of names", metadata={"classes": "[1, 2]"})
        refused("one name", metadata={"classes": '["a", "a"]'})

    def test_endings_that_are_not_read_are_refused(self):
        self.refused(".safetensors and .npy", bootmae.read_features, embedded("csv"))


class HostileArrays(Made):
    def setUp(self):
        super().setUp()
        for ending in (".npy", ".labels.npy", ".names.txt"):
            shutil.copy(embedded("npy").with_suffix(ending), self.folder)
        self.path = self.folder / embedded("npy").name

    def test_an_array_saved_by_numpy_is_read(self):
        want = bootmae.read_features(self.path)
        for values in (want.values, np.asfortranarray(want.values)):
            np.save(self.path, values)
            read = bootmae.read_features(self.path)
            np.testing.assert_array_equal(read.values, want.values)
            self.assertTrue(read.values.flags.c_contiguous and read.values.flags.writeable)

    def test_pickles_are_never_opened(self):
        mark = self.folder / "opened"

        class Harm:
            def __reduce__(self):
                return (Path.touch, (mark,))

        with open(self.path, "wb") as file:
            np.save(file, np.array([[Harm()]], object), allow_pickle=True)
        self.refused("float32 or int64", bootmae.read_features, self.path)
        self.path.write_bytes(pickle.dumps(Harm()))
        self.refused("no .npy file", bootmae.read_features, self.path)
        np.savez(self.folder / "zip.npz", np.zeros((23, 2), np.float32))
        shutil.move(self.folder / "zip.npz", self.path)
        self.assertTrue(zipfile.is_zipfile(self.path))
        self.refused("no .npy file", bootmae.read_features, self.path)
        self.assertFalse(mark.exists())

    def test_every_cut_header_and_lengths_that_lie_are_refused(self):
        whole = self.path.read_bytes()
        for length in [*range(200), len(whole) - 1]:
            self.path.write_bytes(whole[:length])
            with self.subTest(length=length), self.assertRaises(ValueError):
                bootmae.read_features(self.path)
        self.path.write_bytes(whole + b"\0")
        self.refused("altered", bootmae.read_features, self.path)
        for shape in (b"(99999999999, 128)", b"(-1, 128)       ", b"(9223372036854775807, 9)", b"((((((((((1))))))))"):
            with self.subTest(shape=shape):
                self.path.write_bytes(whole.replace(b"(23, 128), }" + b" " * (len(shape) - 9), shape + b", }"))
                self.assertNotEqual(self.path.read_bytes(), whole)
                with self.assertRaises(ValueError):
                    bootmae.read_features(self.path)

    def test_companions_are_needed_and_have_to_fit(self):
        names = self.path.with_suffix(".names.txt")
        text = names.read_bytes()
        for wrong in (text[:-1], text + b"one more\n", b"", text.replace(b"a", b"\xff", 1)):
            names.write_bytes(wrong)
            with self.assertRaises(ValueError):
                bootmae.read_features(self.path)
        names.unlink()
        with self.assertRaises(FileNotFoundError):
            bootmae.read_features(self.path)
        names.write_bytes(text)
        labels = self.path.with_suffix(".labels.npy")
        np.save(labels, np.zeros(22, np.int64))
        self.refused("for 23 images", bootmae.read_features, self.path)
        labels.unlink()
        with self.assertRaises(FileNotFoundError):
            bootmae.read_features(self.path)


class Metrics(Made):
    def read(self, text):
        (self.folder / "metrics.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
        return bootmae.read_metrics(self.folder)

    def test_a_run_is_read_as_it_stands(self):
        path = pretrained() / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for read in (bootmae.read_metrics(pretrained()), bootmae.read_metrics(path)):
            self.assertEqual((read["step"].tolist(), read["step"].dtype), ([1, 2, 3], np.int64))
            self.assertEqual(set(read), set(lines[0]))
            for name, values in read.items():
                np.testing.assert_array_equal(values, [line[name] for line in lines], name)

    def test_accuracies_stand_at_the_steps_that_were_evaluated(self):
        read = bootmae.read_metrics(finetuned())
        self.assertEqual(len(read["validation_accuracy"]), len(read["step"]))
        self.assertFalse(np.isnan(read["validation_accuracy"][-1]))

    def test_absent_and_null_values_are_nan(self):
        lines = ['{"schema":1,"step":1,"a":1}', '{"schema":2,"step":2,"b":null}', '{"schema":2,"step":3,"b":2.5,"a":0}']
        read = self.read("\n".join(lines) + "\n")
        np.testing.assert_array_equal(read["a"], [1, np.nan, 0])
        np.testing.assert_array_equal(read["b"], [np.nan, np.nan, 2.5])

    def test_a_torn_last_line_is_passed_over_wherever_it_is_cut(self):
        first, last = b'{"schema":2,"step":1,"loss":1.5}\n', '{"schema":2,"step":2,"löss":2.5}'.encode()
        for length in range(len(last)):
            self.assertEqual(self.read(first + last[:length])["step"].tolist(), [1])
        self.assertEqual(self.read(first + last)["step"].tolist(), [1, 2])
        self.assertEqual(self.read(first + bytes(4096))["step"].tolist(), [1])

    def test_a_run_that_has_not_begun_has_no_steps(self):
        self.assertEqual({name: values.tolist() for name, values in self.read("").items()}, {"step": []})

    def test_what_is_no_number_is_left_out(self):
        read = self.read('{"schema":2,"step":1,"a":"x","b":true,"c":[1]}\n{"schema":2,"step":2,"a":1,"d":2}\n')
        self.assertEqual(set(read), {"schema", "step", "d"})

    def test_broken_lines_are_named_by_their_number(self):
        good = '{"schema":2,"step":1}\n'
        for line, part in [
            ("{", "line 2"), ("", "line 2"), ("[1]", "no object"), ('{"schema":2}', "no `step`"),
            ('{"schema":2,"step":true}', "no `step`"), ('{"schema":2,"step":"2"}', "no `step`"),
            ('{"schema":2,"step":1.5}', "no `step`"), ('{"schema":2,"step":-1}', "no `step`"),
            (f'{{"schema":2,"step":{"9" * 10**5}}}', "no `step`"), ('{"schema":2,"step":NaN}', "no `step`"),
            ('{"schema":3,"step":2}', "those up to 2 are read"), ('{"step":2}', "`schema` is None"),
            ("[" * 10**5, "nested too deeply"), ("\udcff", "line 2"),
        ]:
            with self.subTest(line=line[:30]):
                text = f"{good}{line}\n{good}".encode("utf-8", "surrogateescape")
                self.refused(part, self.read, text)


class Program(Made):
    def test_the_environment_comes_first_and_names_a_program(self):
        self.assertEqual(bootmae.program(), os.environ["BOOTMAE"])
        with mock.patch.dict(os.environ, BOOTMAE=str(self.folder / "nothing")), self.assertRaises(FileNotFoundError):
            bootmae.program()

    def test_then_the_scripts_of_this_python_and_then_the_path(self):
        name = "bootmae.exe" if os.name == "nt" else "bootmae"
        scripts, path = self.folder / "scripts", self.folder / "path"
        with mock.patch.dict(os.environ, PATH=str(path)), mock.patch("sysconfig.get_path", return_value=str(scripts)):
            del os.environ["BOOTMAE"]
            with self.assertRaisesRegex(FileNotFoundError, "install the wheel"):
                bootmae.program()
            for folder in (path, scripts):
                folder.mkdir()
                (folder / name).write_text("")
                (folder / name).chmod(0o755)
                self.assertEqual(Path(bootmae.program()), folder / name)

    def test_its_words_come_back_and_so_does_its_refusal(self):
        self.assertRegex(bootmae.run("--version").stdout, r"^bootmae \d+\.\d+\.\d+")
        with self.assertRaisesRegex(RuntimeError, "bootmae inspect ended with 6: .*nowhere"):
            bootmae.run("inspect", self.folder / "nowhere")

    def test_the_module_needs_numpy_alone(self):
        others = ["torch", "timm", "PIL", "safetensors"]
        code = f"import sys, bootmae; print([name for name in {others} if name in sys.modules])"
        folder = str(Path(bootmae.__file__).parents[1])
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")


@unittest.skipIf(importlib.util.find_spec("timm"), "timm is installed")
class WithoutTimm(unittest.TestCase):
    def test_what_is_missing_is_said(self):
        with self.assertRaisesRegex(ImportError, "pip install timm"):
            bootmae.to_timm(WORK / "nowhere")


@unittest.skipUnless(importlib.util.find_spec("timm"), "timm is not installed: nothing was compared with it")
class Timm(Made):
    SIDE = 32

    def setUp(self):
        super().setUp()
        from PIL import Image

        self.photos = []
        for name in sorted(PHOTOS.glob("*.jpg"))[:2]:
            # Of the network's size already, so that nothing is scaled or cut.
            photo = Image.open(name).convert("RGB").resize((self.SIDE, self.SIDE), Image.BICUBIC)
            photo.save(self.folder / f"{name.stem}.png")
            self.photos.append(np.asarray(photo))

    def pixels(self, model):
        """The photos as the model takes them: [2, 3, 32, 32]."""
        import torch

        cfg = model.pretrained_cfg
        values = np.stack(self.photos).astype(np.float32) / 255
        values = (values - np.float32(cfg["mean"])) / np.float32(cfg["std"])
        return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32))

    def embedded(self, *words):
        out = self.folder / f"features{'-'.join(words)}.safetensors"
        bootmae.run("embed", "--checkpoint", pretrained(), "--data", self.folder, "--out", out, *words)
        return bootmae.read_features(out).values.astype(np.float64)

    def near(self, got, want):
        got = got.detach().numpy().astype(np.float64)
        self.assertEqual(got.shape, want.shape)
        distance = (np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)).max()
        print(f"timm: relative distance {distance:.1e}")
        self.assertLess(distance, FEATURES)

    def test_features_are_those_of_embed(self):
        for words, options in [([], {}), (["--weights", "teacher"], {"weights": "teacher"}),
                               (["--pool", "cls"], {"pool": "cls"}), (["--norm", "final"], {"norm": "final"}),
                               (["--norm", "plain", "--blocks", "4"], {"norm": "plain", "blocks": 4})]:
            with self.subTest(words=words):
                model = bootmae.to_timm(pretrained(), **options).eval()
                self.near(model(self.pixels(model)), self.embedded(*words))

    def test_the_mean_of_the_last_block_is_the_feature(self):
        model = bootmae.to_timm(pretrained()).eval()
        tokens = model.forward_intermediates(self.pixels(model), indices=1, norm=False, output_fmt="NLC",
                                             intermediates_only=True)[-1]
        self.near(tokens.mean(1), self.embedded())

    def test_weights_are_those_of_the_checkpoint(self):
        held, model = bootmae.read_checkpoint(pretrained()), bootmae.to_timm(pretrained())
        weights = {name: values.numpy() for name, values in model.state_dict().items()}
        for name in ("cls_token", "patch_embed.proj.weight", "blocks.3.attn.qkv.weight", "blocks.5.mlp.fc2.bias"):
            np.testing.assert_array_equal(weights[name].reshape(held.tensors[name].shape), held.tensors[name], name)

    def test_a_classifier_gives_the_classes_of_predict(self):
        model = bootmae.to_timm(finetuned()).eval()
        got = model(self.pixels(model)).softmax(-1).detach().numpy()
        out = self.folder / "predictions.json"
        classes = bootmae.read_checkpoint(finetuned()).config["classifier"]["classes"]
        words = ["--top", str(len(classes)), "--out", out]
        bootmae.run("predict", "--checkpoint", finetuned(), "--data", self.folder, *words)
        said = [dict(row["classes"]) for row in json.loads(out.read_text())]
        np.testing.assert_allclose(got, [[row[name] for name in classes] for row in said], rtol=0, atol=FEATURES)

    def test_arguments_go_on_to_timm(self):
        model = bootmae.to_timm(pretrained(), num_classes=7)
        self.assertEqual(tuple(model.head.weight.shape), (7, 128))

    def test_what_the_program_refuses_is_said(self):
        with self.assertRaisesRegex(RuntimeError, "nowhere"):
            bootmae.to_timm(self.folder / "nowhere")


if __name__ == "__main__":
    unittest.main()
