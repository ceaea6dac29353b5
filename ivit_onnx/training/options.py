"""What a training does: every option with its default, checked, and compared with those of an interrupted run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ivit_onnx.architectures import Size, SizeLike
from ivit_onnx.calibration import recipe
from ivit_onnx.datasets import ClassOrder
from ivit_onnx.errors import OptionError, TrainingError
from ivit_onnx.numbers import RANGES, check_colours, check_number
from ivit_onnx.options.choices import (
    Act,
    Distillation,
    Method,
    Nonlinear,
    Pool,
    Preset,
    Scales,
    SoftmaxBits,
    Weights,
    check_choice,
    check_softmax_bits,
)
from ivit_onnx.options.fields import choices_of

__all__ = ["Options"]

#: What may differ when a run is resumed: where and how it runs, not what it computes.
_FREE = ("workers", "accumulate", "cpu", "log_every", "save_every")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a training; see `ivit-train --help` for each.

    `data` and `class_order` are what `ivit_onnx.datasets.open_dataset` takes, `output` is a folder. A
    quantisation-aware training starts from `checkpoint`, or from timm's weights of `model` with `pretrained`. With
    `floating`, the floating-point network itself is trained, from scratch if neither is given. `batch_size` is that of
    one step of the optimizer, over all processes. `lr` and `scale_lr` are the peak learning rates of weights and of the
    logarithms of scales.

    Raises TrainingError when values are impossible or do not fit together.
    """

    data: str
    output: str
    class_order: ClassOrder | None = None
    model: str | None = None
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    pretrained: bool = False
    floating: bool = False
    num_heads: int | None = None
    img_size: SizeLike | None = None
    act: Act | None = None
    pool: Pool | None = None
    plain: bool = False
    weights: Weights = "auto"
    key: str = ""
    prefix: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    softmax_bits: SoftmaxBits | None = None
    nonlinear: Nonlinear | None = None
    calib_preset: Preset = "default"
    calib_method: Method | None = None
    calib_images: int = 256
    scales: Scales = "learned"
    scale_lr: float = 1e-3
    epochs: int = 10
    batch_size: int = 128
    accumulate: int = 1
    lr: float = 1e-5
    min_lr: float = 0.01
    warmup: float = 0.05
    weight_decay: float = 1e-4
    clip_grad: float = 1.0
    ema: float = 0.999
    distill: Distillation = "none"
    teacher: str | None = None
    distill_weight: float = 0.5
    temperature: float = 1.0
    smoothing: float = 0.1
    auto_augment: str = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.3
    hflip: float = 0.5
    vflip: float = 0.0
    crop_scale: float = 0.08
    random_erasing: float = 0.25
    mixup: float = 0.8
    cutmix: float = 1.0
    amp: bool = False
    cpu: bool = False
    workers: int = 4
    seed: int = 0
    log_every: int = 20
    save_every: int = 200

    def __post_init__(self) -> None:
        if self.img_size is not None:
            try:
                object.__setattr__(self, "img_size", Size.of(self.img_size).to_json())
            except OptionError as error:
                raise TrainingError(f"--img-size: {str(error).removeprefix('img_size: ')}") from None
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("mean", "std"):
                check_colours(option.name, value)
            elif option.name == "img_size" or (option.default is None and value is None):
                continue
            elif option.name in RANGES:
                check_number(_flag(option.name), value, key=option.name, error=TrainingError)
        if self.softmax_bits is not None:
            check_softmax_bits(self.softmax_bits)
        recipe(self.calib_preset, self.calib_method)
        for name, allowed in choices_of(Options).items():
            if getattr(self, name) is not None:
                check_choice(_flag(name), getattr(self, name), allowed, TrainingError)
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
        if self.floating and self.distill != "none" and self.teacher is None:
            raise TrainingError("--distill with --float needs --teacher with a checkpoint to learn from")
        if (self.mixup or self.cutmix) and self.batch_size % 2:
            raise TrainingError(f"--mixup and --cutmix need an even --batch-size, found {self.batch_size}")

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
            if option.name in (*_FREE, "output"):
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
