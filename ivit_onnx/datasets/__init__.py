"""Labelled image data sets by name: what training, calibration and evaluation read. No torch here."""

from __future__ import annotations

import os
from pathlib import Path

from ivit_onnx.datasets.dataset import SPLITS, ImageDataset, Split
from ivit_onnx.datasets.folder import FolderDataset
from ivit_onnx.datasets.labelled import LabelledFolder, Renumbered, read_classes
from ivit_onnx.datasets.order import CLASS_ORDERS, ClassOrder
from ivit_onnx.errors import ImageError

__all__ = ["CLASS_ORDERS", "DESCRIPTION", "SPLITS", "ClassOrder", "ImageDataset", "Split", "open_dataset"]

PathLike = str | os.PathLike[str]

#: What a data option accepts, for help texts.
DESCRIPTION = "a folder with one folder of images per class, hf:NAME of a Hugging Face data set, digits, or generated"


def open_dataset(
    spec: str,
    split: Split = "val",
    *,
    labels: PathLike | None = None,
    classes: PathLike | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    class_order: ClassOrder | None = None,
) -> ImageDataset:
    """A data set of pairs (Pillow image in upright RGB, label).

    `spec` is one of

    * `digits`: scikit-learn's handwritten digits, 32x32, 10 classes, 1437 images to train and 360 to evaluate;
    * `generated`: drawn shapes with fillings, 64x64, 24 classes, 9600 images to train and 2400 to evaluate;
    * `hf:NAME` or `hf:NAME:CONFIG`: a data set of Hugging Face's `datasets`, or a folder that it saved or reads;
      `image_column` and `label_column` name its columns where the first of their kind are not meant;
    * a folder with a folder of images for each class, below `train` and `val` (or `validation`, `test`) if those exist:
      the layout of ImageNet. Classes are numbered in the order of their folders' names;
    * with `labels`, a folder of images whose labels are in that text file, see `LabelledFolder`.

    `class_order` says how names of folders or of labels are sorted: "natural", the default, has 2 before 10, as timm;
    "text" has 10 before 2, as torchvision. Where both differ, `order_note` of the result says so.

    `classes` names a file with the names of all classes of a model in order, see `ivit_onnx.class_names`: a set with a
    part of the classes, or with them in another order, gets the model's numbers.

    Raises:
        ImageError: there is no such data set or split, or it has no images.
        MissingExtraError: a package that reads it is not installed.
    """
    if split not in SPLITS:
        raise ImageError(f"expected a split of {', '.join(SPLITS)}, found {split!r}")
    if (image_column or label_column) and not spec.startswith("hf:"):
        raise ImageError(f"columns belong to a data set hf:NAME, found {spec!r}")
    if labels is not None and not Path(spec).is_dir():
        raise ImageError(f"a file of labels belongs to a folder of images, found {spec!r}")
    if class_order not in (None, *CLASS_ORDERS):
        raise ImageError(f"expected a class order of {', '.join(CLASS_ORDERS)}, found {class_order!r}")
    if class_order is not None and (classes is not None or not Path(spec).is_dir()):
        found = f"the order of {classes}" if classes is not None else repr(spec)
        raise ImageError(f"an order of classes belongs to a folder whose classes no file numbers, found {found}")
    data = _open(spec, split, labels, image_column, label_column, class_order or "natural")
    if len(data) == 0:
        raise ImageError(f"the data set {spec!r} has no images")
    return data if classes is None else Renumbered(data, *read_classes(classes, data.classes))


def _open(
    spec: str,
    split: Split,
    labels: PathLike | None,
    image_column: str | None,
    label_column: str | None,
    class_order: ClassOrder,
) -> ImageDataset:
    if labels is not None:
        return LabelledFolder(spec, labels, class_order)
    if spec == "digits":
        from ivit_onnx.datasets.digits import digits

        return digits(split)
    if spec == "generated":
        from ivit_onnx.datasets.generated import generated

        return generated(split)
    if spec.startswith("hf:"):
        from ivit_onnx.datasets.huggingface import HuggingFaceDataset

        return HuggingFaceDataset(spec.removeprefix("hf:"), split, image_column, label_column)
    if not Path(spec).is_dir():
        raise ImageError(f"no data set {spec!r}: expected {DESCRIPTION}")
    return FolderDataset(spec, split, class_order)
