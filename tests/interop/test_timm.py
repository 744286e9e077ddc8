"""Folders in timm, and in Transformers by way of it."""

import json
import unittest

import lab
import timm
import torch
from safetensors import safe_open
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

    @torch.inference_mode()
    def test_a_network_of_random_weights_comes_back(self):
        """From timm to `torch.save`, to `embed`, to an exported folder, and to timm again."""
        torch.manual_seed(2)
        for words in [{"global_pool": "token"}, {"global_pool": "avg", "fc_norm": False}]:
            with self.subTest(**words):
                theirs = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=0, depth=3,
                                           **words).eval()
                for parameter in theirs.parameters():
                    parameter += 0.05 * torch.randn_like(parameter)
                file = lab.WORK / f"random-{words['global_pool']}.pth"
                torch.save(theirs.state_dict(), file)
                pool = ["--pool", "cls" if words["global_pool"] == "token" else "mean", "--norm", "final"]
                out = file.with_suffix(".safetensors")
                lab.bootmae("embed", "--checkpoint", file, "--data", lab.images(), "--split", "all", "--out", out, *pool)
                x = torch.from_numpy(lab.pixels([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
                with safe_open(out, "numpy") as features:
                    distance = lab.relative(features.get_tensor("features"), theirs(x))
                print(f"timm, random weights, {words}: {distance:.1e}")
                self.assertLess(distance, lab.FEATURES)
                folder = file.with_suffix(".timm")
                lab.bootmae("export", "--checkpoint", file, "--format", "timm", "--out", folder, *pool)
                self.assertLess(lab.relative(opened(folder)[0](x), theirs(x)), lab.FEATURES)

    def test_what_timm_has_no_place_for_is_refused(self):
        out = lab.WORK / "refused"
        words = ["export", "--checkpoint", lab.run("mae"), "--format", "timm", "--out"]
        self.assertIn("no decoders", lab.refused(*words, out, "--task", "pretraining"))
        self.assertIn("holds files", lab.refused(*words, lab.images()))
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
