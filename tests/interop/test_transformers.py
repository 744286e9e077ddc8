"""Folders in Transformers."""

import unittest

import lab
import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTForImageClassification, ViTMAEForPreTraining, ViTModel


def opened(test, kind, folder, **words):
    """The network, each tensor of which has its place, and the images by the folder's own processor."""
    model, told = kind.from_pretrained(folder, output_loading_info=True, **words)
    for wrong in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        test.assertFalse(told[wrong], wrong)
    processor = AutoImageProcessor.from_pretrained(folder)
    paths = sorted(lab.images().glob("*/*.png"))
    x = processor(images=[Image.open(path) for path in paths], return_tensors="pt")["pixel_values"]
    test.assertLess(np.abs(x.numpy() - lab.pixels(processor.image_mean, processor.image_std)).max(), 1e-6)
    return model.eval(), x


class Transformers(unittest.TestCase):
    @torch.inference_mode()
    def test_tokens_are_those_of_embed(self):
        for name in ("bootmae", "mae"):
            with self.subTest(name=name):
                folder = lab.export(name, "hf", "--task", "features")
                model, x = opened(self, ViTModel, folder, add_pooling_layer=False)
                tokens = model(pixel_values=x).last_hidden_state
                for got, words in [(tokens[:, 1:].mean(1), ["--norm", "final"]), (tokens[:, 0], ["--pool", "cls"])]:
                    distance = lab.relative(got, lab.features(name, *words))
                    print(f"transformers {name} {words}: {distance:.1e}")
                    self.assertLess(distance, lab.FEATURES)

    @torch.inference_mode()
    def test_classes_are_those_of_predict(self):
        model, x = opened(self, ViTForImageClassification, lab.export("cls", "hf"))
        self.assertEqual(model.config.id2label[4], "class 4")
        lab.check_classes(self, model(pixel_values=x).logits.softmax(-1), lab.probabilities("cls"))
        words = ["export", "--checkpoint", lab.run("mean"), "--format", "hf", "--out", lab.WORK / "refused"]
        self.assertIn("takes the class token", lab.refused(*words))
        self.assertIn("has none there", lab.refused(*words, "--task", "features"))

    @torch.inference_mode()
    def test_the_decoder_reconstructs(self):
        """With its decoder MAE has the loss of training, some 1.5 early on and 2.6 at its start; tables or an order of pixels
        mixed up would make it worse than random."""
        model, x = opened(self, ViTMAEForPreTraining, lab.export("mae", "hf"))
        noise = torch.rand(len(x), 64, generator=torch.Generator().manual_seed(1))
        loss = model(pixel_values=x, noise=noise).loss.item()
        print(f"transformers, MAE's loss: {loss:.4f}")
        self.assertLess(loss, 2.0)


if __name__ == "__main__":
    unittest.main()
