"""What a training does: every option with its default, checked, and compared with those of an interrupted run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ivit_onnx.architectures.size import Size
from ivit_onnx.datasets import DESCRIPTION, ClassOrder
from ivit_onnx.errors import CalibrationError, OptionError, TrainingError
from ivit_onnx.numbers import RANGES, check_colours, check_number
from ivit_onnx.options.choices import METHODS, PRESETS, Distillation, Scales, check_choice, check_softmax_bits
from ivit_onnx.options.fields import choices_of
from ivit_onnx.options.records import CLASS_ORDER, CalibrationOptions, Flag, IntegerOptions, ReadingOptions

__all__ = ["Options"]

_START, _QUANTIZATION, _RECIPE = "Where to start", "Quantisation", "Recipe"
_AUGMENTATION, _MACHINE = "Augmentation, as in timm", "Where and how to run"

#: What may differ when a run is resumed: where and how it runs, not what it computes.
_FREE = ("workers", "accumulate", "cpu", "log_every", "save_every")

#: No augmentation.
_WHOLE: dict[str, Any] = {
    "auto_augment": "none",
    "color_jitter": 0.0,
    "hflip": 0.0,
    "vflip": 0.0,
    "crop_scale": 1.0,
    "random_erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Options(ReadingOptions, IntegerOptions, CalibrationOptions):
    """Options of a training; see `ivit-train --help` for each.

    `data` and `class_order` are what `ivit_onnx.datasets.open_dataset` takes, `output` is a folder. A
    quantisation-aware training starts from `checkpoint`, or from timm's weights of `model` with `pretrained`. With
    `floating`, the floating-point network itself is trained, from scratch if neither is given. `batch_size` is that of
    one step of the optimizer, over all processes. `lr` and `scale_lr` are the peak learning rates of weights and of the
    logarithms of scales.

    Without augmentation (`no_augment`) the options of augmentation are set to values that change nothing.

    Raises TrainingError when values are impossible or do not fit together.
    """

    data: Annotated[str, Flag(f"Images: {DESCRIPTION}.", metavar="DATA")]
    output: Annotated[
        str,
        Flag(
            "A folder for the checkpoint, the saved state and the metrics.",
            metavar="FOLDER",
            names=("--output", "-o"),
        ),
    ]
    class_order: Annotated[ClassOrder | None, CLASS_ORDER] = None
    checkpoint: Annotated[
        str | None,
        Flag("The floating-point network to start from, or one of ivit-train.", metavar="FILE", panel=_START),
    ] = None
    model: Annotated[
        str | None,
        Flag(
            "Name of a timm model, such as deit_tiny_patch16_224; with --checkpoint, to check the file against.",
            metavar="NAME",
            panel=_START,
        ),
    ] = None
    model_kwargs: Annotated[
        dict[str, Any],
        Flag(
            "Arguments of the timm model, such as patch_size=8,embed_dim=64,depths=(2,2).",
            metavar="NAME=VALUE,...",
            panel=_START,
        ),
    ] = field(default_factory=dict)
    pretrained: Annotated[bool, Flag("Start from timm's weights of --model.", panel=_START)] = False
    floating: Annotated[
        bool,
        Flag(
            "Train the floating-point network itself; from scratch without --checkpoint or --pretrained.",
            names=("--float",),
            panel=_START,
        ),
    ] = False
    calib_images: Annotated[int, Flag("How many training images are used for that.", panel=_QUANTIZATION)] = 256
    scales: Annotated[Scales, Flag("Train the scales of 8-bit activations, or keep them.", panel=_QUANTIZATION)] = (
        "learned"
    )
    scale_lr: Annotated[float, Flag("Peak learning rate of the logarithms of scales.", panel=_QUANTIZATION)] = 1e-3
    epochs: Annotated[int, Flag("Passes over the training images.", panel=_RECIPE)] = 10
    batch_size: Annotated[int, Flag("Images in one step of the optimizer, over all processes.", panel=_RECIPE)] = 128
    lr: Annotated[float, Flag("Peak learning rate of AdamW.", panel=_RECIPE)] = 1e-5
    min_lr: Annotated[float, Flag("The last learning rate as a part of the peak.", panel=_RECIPE)] = 0.01
    warmup: Annotated[float, Flag("Part of the steps in which the learning rate rises.", panel=_RECIPE)] = 0.05
    weight_decay: Annotated[float, Flag("Decay of matrices.", panel=_RECIPE)] = 1e-4
    clip_grad: Annotated[float, Flag("Largest norm of the gradient, 0 for any.", panel=_RECIPE)] = 1.0
    ema: Annotated[float, Flag("Decay of the moving average of weights that is kept, 0 for none.", panel=_RECIPE)] = (
        0.999
    )
    distill: Annotated[
        Distillation, Flag("Learn from a floating-point teacher's probabilities or choices.", panel=_RECIPE)
    ] = "none"
    teacher: Annotated[
        str | None, Flag("Its checkpoint.", "the network to start from", metavar="FILE", panel=_RECIPE)
    ] = None
    distill_weight: Annotated[
        float, Flag("Weight of the teacher in the loss; labels have the rest.", panel=_RECIPE)
    ] = 0.5
    temperature: Annotated[float, Flag("Temperature of soft distillation.", panel=_RECIPE)] = 1.0
    smoothing: Annotated[float, Flag("Label smoothing.", panel=_RECIPE)] = 0.1
    auto_augment: Annotated[str, Flag("timm's policy (RandAugment), or none.", panel=_AUGMENTATION)] = (
        "rand-m9-mstd0.5-inc1"
    )
    color_jitter: Annotated[float, Flag("Change of colours, without --auto-augment.", panel=_AUGMENTATION)] = 0.3
    hflip: Annotated[float, Flag("Probability of mirroring left and right.", panel=_AUGMENTATION)] = 0.5
    vflip: Annotated[float, Flag("Probability of mirroring top and bottom.", panel=_AUGMENTATION)] = 0.0
    crop_scale: Annotated[float, Flag("Smallest part of the image's area that is cut out.", panel=_AUGMENTATION)] = 0.08
    random_erasing: Annotated[float, Flag("Probability of erasing a rectangle.", panel=_AUGMENTATION)] = 0.25
    mixup: Annotated[float, Flag("Strength of Mixup, 0 for none.", panel=_AUGMENTATION)] = 0.8
    cutmix: Annotated[float, Flag("Strength of CutMix, 0 for none.", panel=_AUGMENTATION)] = 1.0
    no_augment: Annotated[
        bool, Flag("Whole images as they are; the options above have no effect.", panel=_AUGMENTATION)
    ] = False
    accumulate: Annotated[int, Flag("Parts in which a process handles its share of a batch.", panel=_MACHINE)] = 1
    amp: Annotated[bool, Flag("bfloat16 for floating-point networks and teachers.", panel=_MACHINE)] = False
    cpu: Annotated[bool, Flag("Not on a GPU.", panel=_MACHINE)] = False
    workers: Annotated[int, Flag("Processes that load images, for each that trains.", panel=_MACHINE)] = 4
    seed: Annotated[int, Flag("Seed of every random number.", panel=_MACHINE)] = 0
    log_every: Annotated[int, Flag("Steps between two metrics.", panel=_MACHINE)] = 20
    save_every: Annotated[int, Flag("Steps between two saved states; each epoch ends with one.", panel=_MACHINE)] = 200

    #: Where --help shows the options that other commands have too.
    panels: ClassVar = {ReadingOptions: _START, IntegerOptions: _QUANTIZATION, CalibrationOptions: _QUANTIZATION}

    def __post_init__(self) -> None:
        if self.no_augment:
            for name, value in _WHOLE.items():
                object.__setattr__(self, name, value)
        if self.img_size is not None:
            try:
                object.__setattr__(self, "img_size", Size.of(self.img_size).to_json())
            except OptionError as error:
                raise TrainingError(f"--img-size: {str(error).removeprefix('img_size: ')}") from None
        self._check_values()
        self._check_start()
        if self.floating and self.distill != "none" and self.teacher is None:
            raise TrainingError("--distill with --float needs --teacher with a checkpoint to learn from")
        if (self.mixup or self.cutmix) and self.batch_size % 2:
            raise TrainingError(f"--mixup and --cutmix need an even --batch-size, found {self.batch_size}")

    def _check_values(self) -> None:
        check_colours("mean", self.mean)
        check_colours("std", self.std)
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("mean", "std", "img_size") or (option.default is None and value is None):
                continue
            if option.name in RANGES:
                check_number(_flag(option.name), value, key=option.name, error=TrainingError)
        if self.softmax_bits is not None:
            check_softmax_bits(self.softmax_bits)
        check_choice("a calibration preset", self.calib_preset, PRESETS, CalibrationError)
        if self.calib_method is not None:
            check_choice("a calibration method", self.calib_method, METHODS, CalibrationError)
        for name, allowed in choices_of(Options).items():
            if getattr(self, name) is not None:
                check_choice(_flag(name), getattr(self, name), allowed, TrainingError)

    def _check_start(self) -> None:
        if self.pretrained and self.checkpoint is not None:
            raise TrainingError("--pretrained and --checkpoint both say where to start; leave one out")
        if self.pretrained and self.model is None:
            raise TrainingError("--pretrained needs --model with the name of a timm model")
        if self.floating and self.model is None:
            raise TrainingError("--float needs --model with the name of a timm model")
        if not self.floating and self.checkpoint is None and not self.pretrained:
            raise TrainingError(
                "quantisation-aware training starts from a floating-point network: pass --checkpoint FILE, or --model "
                "NAME --pretrained; --float trains one"
            )

    def to_json(self) -> dict[str, Any]:
        """The options as a JSON object."""
        found = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def check_same(self, earlier: dict[str, Any]) -> None:
        """Raise TrainingError unless an interrupted run with the options `earlier` computes what this one does."""
        own = self.to_json()
        if Path(self.data).is_dir():
            # Runs of versions without the option had the order of text.
            own["class_order"] = self.class_order or "natural"
            order = earlier.get("class_order", "text") or "natural"
        else:
            order = None
        earlier = earlier | {"class_order": order}
        for option in fields(self):
            if option.name in (*_FREE, "output", "no_augment"):
                continue
            # A run of a version without the option did what its default does.
            was = earlier.get(option.name, option.default)
            if was != own[option.name]:
                raise TrainingError(
                    f"the interrupted run had {_flag(option.name)} {was}, this one has "
                    f"{own[option.name]}; resume with the same options, or choose another --output"
                )


def _flag(name: str) -> str:
    return "--float" if name == "floating" else "--" + name.replace("_", "-")
