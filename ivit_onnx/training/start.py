"""Where a training starts: a floating-point network, or its twin calibrated on training images."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ivit_onnx.architectures import Preprocess, Size
from ivit_onnx.architectures.normalisation import check_normalisation
from ivit_onnx.calibration import apply_calibration, collect_statistics, recipe
from ivit_onnx.checkpoints import Checkpoint, load_checkpoint, load_state_dict
from ivit_onnx.datasets import ImageDataset, open_dataset
from ivit_onnx.errors import TrainingError
from ivit_onnx.models import Twin, from_checkpoint, from_timm
from ivit_onnx.options.choices import DEFAULT_NONLINEAR
from ivit_onnx.options.training import Options
from ivit_onnx.reading import read_checkpoint
from ivit_onnx.training.data import calibration_images, check_classes, whole_images

__all__ = ["Start", "open_start"]


@dataclass
class Start:
    """A network to train, the data to train and evaluate it on, and a teacher to learn from, if asked for.

    `network` is a calibrated Twin, or a timm model when the floating-point network is trained. `reference` is the twin
    in floating point of the network that a quantisation-aware training starts from, if it starts from one.
    """

    network: nn.Module
    preprocess: Preprocess
    train: ImageDataset
    val: ImageDataset
    teacher: Twin | None
    reference: Twin | None
    warnings: list[str]

    @property
    def classes(self) -> int:
        return len(self.train.classes)


def open_start(options: Options) -> Start:
    """Open data and checkpoints and calibrate.

    Raises:
        IvitError: a checkpoint or the data cannot be used, or they do not fit together.
    """
    data = (
        open_dataset(options.data, "train", class_order=options.class_order),
        open_dataset(options.data, "val", class_order=options.class_order),
    )
    assumed = list(filter(None, [data[0].order_note]))
    teacher = _teacher(options, data) if options.distill != "none" and options.teacher is not None else None
    if options.floating:
        network, preprocess = _floating(options, len(data[0].classes))
        return Start(network, whole_images(preprocess, data), *data, teacher, None, assumed)
    twin, warnings, calibrated = _twin(options, data)
    warnings = assumed + warnings
    check_classes(*data, twin.arch.classes)
    reference = None
    if not calibrated:
        # Calibration may adjust weights; the reference has those of the checkpoint.
        reference = _floating_copy(twin)
        # Weights that are trained lie between integers: it is training that rounds them.
        steps = replace(recipe(options.calib_preset, options.calib_method), compensate_rounding=False)
        apply_calibration(twin, _statistics(twin, data[0], options), steps)
        # The adjusted weights are those that are trained, and saved.
        twin.adjustments = {}
    if options.distill != "none" and teacher is None:
        if reference is None:
            raise TrainingError("--distill from a network that has been trained with integers needs --teacher")
        teacher = reference
    if options.scales == "learned":
        twin.learn_scales()
    return Start(twin, twin.preprocess, *data, teacher, reference, warnings)


def _twin(options: Options, data: tuple[ImageDataset, ImageDataset]) -> tuple[Twin, list[str], bool]:
    """The twin to train, warnings about what was assumed, and whether it is calibrated."""
    if options.checkpoint is None:
        model = _timm(options, pretrained=True, classes=None)
        twin = from_timm(model, 15 if options.softmax_bits is None else options.softmax_bits)
        twin.set_nonlinear(DEFAULT_NONLINEAR if options.nonlinear is None else options.nonlinear)
        preprocess = _normalisation(twin.preprocess, options)
        twin.prepare_images(whole_images(preprocess, data))
        return twin, [], False
    loaded = read_checkpoint(options.checkpoint, options, options.model)
    if loaded.arch.classes == 0:
        raise TrainingError(f"{options.checkpoint} has no head: expected a network that classifies")
    if loaded.scales is not None:
        raise TrainingError(
            f"{options.checkpoint} was trained by the I-ViT code, whose definitions differ; start from a "
            "floating-point checkpoint or one of ivit-train"
        )
    preprocess, warnings = loaded.preprocess(options.mean, options.std)
    twin = from_checkpoint(loaded, whole_images(preprocess, data), options.softmax_bits, options.nonlinear)
    return twin, [*loaded.warnings, *warnings], loaded.calibrated


def _statistics(twin: Twin, data: ImageDataset, options: Options) -> Any:
    images = calibration_images(data, twin.preprocess, options.calib_images, options.seed)
    return collect_statistics(twin, images, "training")


def _floating_copy(twin: Twin) -> Twin:
    copied = copy.deepcopy(twin).eval().requires_grad_(False)
    copied.set_quantized(False)
    return copied


def _teacher(options: Options, data: tuple[ImageDataset, ImageDataset]) -> Twin:
    """The floating-point network of --teacher; it sees the student's images, so its preprocessing plays no part."""
    assert options.teacher is not None
    loaded: Checkpoint = load_checkpoint(options.teacher, heads=options.num_heads, image_size=options.img_size)
    if loaded.arch.classes != len(data[0].classes):
        raise TrainingError(
            f"the teacher {options.teacher} has {loaded.arch.classes} classes, the data {len(data[0].classes)}"
        )
    return _floating_copy(from_checkpoint(loaded, loaded.preprocess()[0]))


def _floating(options: Options, classes: int) -> tuple[nn.Module, Preprocess]:
    """A timm model with a head for the classes of the data, from scratch or from weights, and its preprocessing."""
    model = _timm(options, pretrained=options.pretrained, classes=classes)
    if options.checkpoint is not None:
        weights = load_state_dict(options.checkpoint)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split()[:30])
            raise TrainingError(f"{options.checkpoint} does not fit {options.model}: {reason}") from None
    return model, _normalisation(from_timm(model).preprocess, options)


def _normalisation(preprocess: Preprocess, options: Options) -> Preprocess:
    check_normalisation(options.mean, options.std)
    mean = preprocess.mean if options.mean is None else tuple(options.mean)
    return replace(preprocess, mean=mean, std=preprocess.std if options.std is None else tuple(options.std))


def _timm(options: Options, *, pretrained: bool, classes: int | None) -> nn.Module:
    import timm

    settings: dict[str, Any] = dict(options.model_kwargs)
    if options.img_size is not None:
        settings["img_size"] = tuple(Size.of(options.img_size))
    if classes is not None:
        settings["num_classes"] = classes
    try:
        model: nn.Module = timm.create_model(options.model or "", pretrained=pretrained, **settings)
    except Exception as error:  # an unknown name, an impossible argument, no network: timm and its hub raise many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TrainingError(f"timm cannot make {options.model}: {reason}") from None
    return model
