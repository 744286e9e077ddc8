"""ONNX files in ONNX Runtime."""

import json
import time
import unittest

import lab
import numpy as np
import onnx
import onnxruntime

ENCODERS = [("bootmae", []), ("mae", []), ("mae", ["--pool", "cls"]), ("bootmae", ["--norm", "final"]),
            ("bootmae", ["--norm", "plain", "--blocks", "4"]), ("bootmae", ["--weights", "teacher"])]


def opened(path):
    """A checked file: its session, its metadata and its images."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    about = {entry.key: entry.value for entry in model.metadata_props}
    prepared = json.loads(about["preprocessor_config"])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, about, lab.pixels(prepared["image_mean"], prepared["image_std"])


class Onnx(unittest.TestCase):
    def test_features_are_those_of_embed_in_batches_of_any_size(self):
        for name, words in ENCODERS:
            with self.subTest(name=name, words=words):
                session, _, x = opened(lab.export(name, "onnx", *words))
                want = lab.features(name, *words)
                began = time.time()
                got = session.run(["features"], {"pixel_values": x})[0]
                print(f"onnx {name} {words}: {lab.relative(got, want):.1e}, {500 / (time.time() - began):.0f} images/s")
                self.assertLess(lab.relative(got, want), lab.FEATURES)
                for size in (1, 7):
                    got, tokens = session.run(None, {"pixel_values": x[:size]})
                    self.assertLess(lab.relative(got, want[:size]), lab.FEATURES)
                    self.assertEqual(tokens.shape, (size, 65, 128))

    def test_classes_are_those_of_predict(self):
        for name in ("mean", "mae-mean", "cls"):
            with self.subTest(name=name):
                session, about, x = opened(lab.export(name, "onnx"))
                self.assertEqual(json.loads(about["classes"]), [f"class {kind}" for kind in range(lab.CLASSES)])
                got, logits = session.run(["probabilities", "logits"], {"pixel_values": x})
                lab.check_classes(self, got, lab.probabilities(name))
                powers = np.exp(logits - logits.max(1, keepdims=True))
                self.assertLess(np.abs(powers / powers.sum(1, keepdims=True) - got).max(), 1e-6)

    def test_half_precision_stays_near(self):
        session, _, x = opened(lab.export("bootmae", "onnx", "--precision", "f16"))
        distance = lab.relative(session.run(["features"], {"pixel_values": x})[0], lab.features("bootmae"))
        print(f"onnx f16: {distance:.1e}")
        self.assertTrue(1e-6 < distance < 2e-3, distance)


if __name__ == "__main__":
    unittest.main()
