"""Folders in timm, and in Transformers by way of it."""

import json
import unittest

import lab
import timm
import torch
from transformers import AutoModelForImageClassification

ENCODERS = [("bootmae", []), ("mae", []), ("mae", ["--pool", "cls"]), ("mae", ["--norm", "final"]),
            ("bootmae", ["--norm", "plain", "--blocks", "4"])]


def opened(folder):
    """The network and its images; every tensor has its place, or timm raises an error."""
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return model, torch.from_numpy(lab.pixels(config["mean"], config["std"]))


class Timm(unittest.TestCase):
    @torch.inference_mode()
    def test_features_are_those_of_embed(self):
        for name, words in ENCODERS:
            with self.subTest(name=name, words=words):
                model, x = opened(lab.export(name, "timm", *words))
                distance = lab.relative(model(x), lab.features(name, *words))
                print(f"timm {name} {words}: {distance:.1e}")
                self.assertLess(distance, lab.FEATURES)

    @torch.inference_mode()
    def test_classes_are_those_of_predict_in_timm_and_transformers(self):
        for name in ("mean", "mae-mean", "cls"):
            with self.subTest(name=name):
                folder = lab.export(name, "timm")
                model, x = opened(folder)
                lab.check_classes(self, model(x).softmax(-1), lab.probabilities(name))
                wrapped = AutoModelForImageClassification.from_pretrained(folder).eval()
                self.assertEqual(wrapped.config.id2label[3], "class 3")
                lab.check_classes(self, wrapped(pixel_values=x).logits.softmax(-1), lab.probabilities(name))

    def test_what_timm_has_no_place_for_is_refused(self):
        out = lab.WORK / "refused"
        words = ["export", "--checkpoint", lab.run("mae"), "--format", "timm", "--out"]
        self.assertIn("no decoders", lab.refused(*words, out, "--task", "pretraining"))
        self.assertIn("holds files", lab.refused(*words, lab.images()))
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
