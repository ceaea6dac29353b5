"""Options that several commands and functions share, as records that are passed whole.

Each field says in its `Flag` what --help shows of it, so that the commands are made from the records. Fields are named
as in the Python functions; the command's flag has "-" for "_".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Self

from ivit_onnx.architectures.size import SizeLike
from ivit_onnx.errors import ExportError, OptionError
from ivit_onnx.numbers import check_colours, check_numbers
from ivit_onnx.options.choices import (
    ACTIVATIONS,
    INPUT_TYPES,
    NONLINEAR,
    POOLS,
    SOFTMAX_BITS,
    SOFTMAX_BITS_OR_AUTO,
    WEIGHTS,
    Act,
    InputType,
    Method,
    Nonlinear,
    Pool,
    Preset,
    SoftmaxBits,
    SoftmaxBitsOrAuto,
    Weights,
    check_choice,
    check_softmax_bits,
)

__all__ = ["CLASS_ORDER", "CalibrationOptions", "ExportOptions", "Flag", "IntegerOptions", "ReadingOptions", "Record"]


@dataclass(frozen=True)
class Flag:
    """What --help says of an option: a sentence, what the default stands for, what a value looks like, the panel.

    `names` are on the command line, where they are not the field's.
    """

    help: str
    default: str = ""
    metavar: str | None = None
    names: tuple[str, ...] = ()
    panel: str | None = None


#: An option of all that read folders of images.
CLASS_ORDER = Flag(
    "How folders of classes are sorted to number them: natural (1, 2, 10), as timm does, or text (1, 10, 2), as "
    "torchvision does.",
    "natural",
)


class Record:
    """A dataclass of options. `panels`: where --help shows the options of records that it extends."""

    panels: ClassVar[Mapping[type, str]] = {}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The record with the values of its fields among those given, such as the arguments of a function."""
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(Record):
    """What cannot be inferred from tensors of a checkpoint, and which are taken; `ivit_onnx.export` describes each.

    Raises OptionError on impossible values.
    """

    num_heads: Annotated[
        int | None, Flag("Attention heads, where the file does not determine them.", "one for 64 channels")
    ] = None
    img_size: Annotated[
        SizeLike | None, Flag("Image size to use the network at; a position table is resized to it.", "as trained")
    ] = None
    act: Annotated[
        Act | None,
        Flag(
            "Activation function of the floating-point network, where the file does not determine it.",
            "the architecture's",
        ),
    ] = None
    pool: Annotated[
        Pool | None,
        Flag(
            "What the head reads, where the file does not determine it: the class token, or the mean of the patches.",
            "the architecture's",
        ),
    ] = None
    plain: Annotated[
        bool,
        Flag(
            "Say that blocks are normalised before each branch and have no rotary embedding, where another network has "
            "the same tensors."
        ),
    ] = False
    weights: Annotated[
        Weights, Flag("Averaged or last weights, of a file that has both; auto takes averaged ones.")
    ] = "auto"
    key: Annotated[str, Flag("Where in the file the weights are, as model.state_dict.", metavar="NAME")] = ""
    prefix: Annotated[
        str | None,
        Flag("What the names of the network begin with, as visual., of a file with several networks.", metavar="NAME"),
    ] = None
    mean: Annotated[
        Sequence[float] | None,
        Flag("Mean of pixels in 0..1 in training.", "the architecture's", metavar="R,G,B"),
    ] = None
    std: Annotated[
        Sequence[float] | None,
        Flag("Standard deviation of the same.", "the architecture's", metavar="R,G,B"),
    ] = None

    def __post_init__(self) -> None:
        check_numbers(num_heads=self.num_heads)
        check_colours("mean", self.mean)
        check_colours("std", self.std)
        if self.act is not None:
            check_choice("act", self.act, ACTIVATIONS, OptionError)
        if self.pool is not None:
            check_choice("pool", self.pool, POOLS, OptionError)
        check_choice("weights", self.weights, WEIGHTS, OptionError)


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions(Record):
    """How a network is calibrated. Raises OptionError on an impossible number; `recipe` checks preset and method."""

    calib_preset: Annotated[
        Preset,
        Flag(
            "How much is done for accuracy: fast chooses ranges and smooths, default also fits and corrects, best also "
            "reconstructs the weights of each block, which takes minutes."
        ),
    ] = "default"
    calib_method: Annotated[
        Method | None, Flag("How 8-bit ranges follow from what the images showed.", "the preset's")
    ] = None
    calib_images: Annotated[
        int | None,
        Flag("Use at most this many images, evenly spaced over the folder, or draw this many.", "128, or 48 drawn"),
    ] = None

    def __post_init__(self) -> None:
        check_numbers(calib_images=self.calib_images)


@dataclass(frozen=True, kw_only=True)
class IntegerOptions(Record):
    """How softmax and GELU are computed with integers. Raises ExportError on anything else."""

    #: What `softmax_bits` may be.
    softmax_bits_allowed: ClassVar[Sequence[SoftmaxBitsOrAuto]] = SOFTMAX_BITS

    softmax_bits: Annotated[
        SoftmaxBits | None,
        Flag(
            "Bits of attention's exponentials (tables) or probabilities (shifts): 15 for accuracy, 8 for speed, 7 as "
            "in the I-ViT paper.",
            "15, or as trained",
        ),
    ] = None
    nonlinear: Annotated[
        Nonlinear | None,
        Flag(
            "Softmax and GELU by tables of their exact values (table), or by the shifts of the I-ViT paper (ivit): as "
            "fast, but many decibels worse without training; a trained checkpoint has its own.",
            "table, or as trained",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.softmax_bits is not None:
            check_softmax_bits(self.softmax_bits, self.softmax_bits_allowed)
        if self.nonlinear is not None:
            check_choice("non-linear functions", self.nonlinear, NONLINEAR, ExportError)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(CalibrationOptions, IntegerOptions):
    """What an exported model is. Raises OptionError and ExportError on impossible values."""

    softmax_bits_allowed: ClassVar[Sequence[SoftmaxBitsOrAuto]] = SOFTMAX_BITS_OR_AUTO

    softmax_bits: Annotated[
        SoftmaxBitsOrAuto | None,
        Flag(
            "Bits of attention's exponentials (tables) or probabilities (shifts): 15 for accuracy, 8 for speed, 7 as "
            "in the I-ViT paper; auto, for tables: 8 in each layer where calibration shows little loss, else 15.",
            "15, or as trained",
        ),
    ] = None  # type: ignore[assignment]
    input: Annotated[
        InputType,
        Flag("What the model takes: uint8 pixels (normalisation is inside), quantised int8, or normalised float32."),
    ] = "uint8"
    flat: Annotated[bool, Flag("Write standard ONNX operators, keeping only GELU, IntLayerNorm and Shiftmax.")] = False

    def __post_init__(self) -> None:
        CalibrationOptions.__post_init__(self)
        IntegerOptions.__post_init__(self)
        check_choice("an input type", self.input, INPUT_TYPES, ExportError)
