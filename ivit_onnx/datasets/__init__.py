"""Labelled image data sets by name: what training, calibration and evaluation read. No torch here."""

from __future__ import annotations

from pathlib import Path

from ivit_onnx.datasets.base import SPLITS, ImageDataset, Split
from ivit_onnx.errors import ImageError

__all__ = ["DESCRIPTION", "SPLITS", "ImageDataset", "Split", "open_dataset"]

#: What a data option accepts, for help texts.
DESCRIPTION = "a folder with one folder of images a class, hf:NAME of a Hugging Face data set, digits, or generated"


def open_dataset(spec: str, split: Split = "val") -> ImageDataset:
    """A data set of pairs (Pillow image in RGB, label).

    `spec` is one of

    * `digits`: scikit-learn's handwritten digits, 32x32, 10 classes, 1437 images to train and 360 to evaluate;
    * `generated`: drawn shapes with fillings, 64x64, 24 classes, 9600 images to train and 2400 to evaluate;
    * `hf:NAME` or `hf:NAME:CONFIG`: a data set of Hugging Face's `datasets`, or a folder that it saved;
    * a folder with a folder of images for each class, below `train` and `val` (or `validation`, `test`) if those exist:
      the layout of ImageNet. Classes are numbered in sorted order of their folders' names.

    Raises:
        ImageError: there is no such data set or split, or it has no images.
        MissingExtraError: a package that reads it is not installed.
    """
    if split not in SPLITS:
        raise ImageError(f"expected a split of {', '.join(SPLITS)}, found {split!r}")
    if spec == "digits":
        from ivit_onnx.datasets.digits import digits

        return digits(split)
    if spec == "generated":
        from ivit_onnx.datasets.generated import generated

        return generated(split)
    if spec.startswith("hf:"):
        from ivit_onnx.datasets.huggingface import HuggingFaceDataset

        return HuggingFaceDataset(spec.removeprefix("hf:"), split)
    from ivit_onnx.datasets.folder import FolderDataset

    if not Path(spec).is_dir():
        raise ImageError(f"no data set {spec!r}: expected {DESCRIPTION}")
    return FolderDataset(spec, split)
