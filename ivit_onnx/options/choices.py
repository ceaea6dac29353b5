"""The values of every option that is a choice among names or a few numbers. Commands and functions take them from here.

Numbers within bounds are in `ivit_onnx.numbers`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from ivit_onnx.errors import ExportError, IvitError
from ivit_onnx.range_methods import METHODS, Method

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_NONLINEAR",
    "DISTILLATIONS",
    "FEW_BITS",
    "INPUT_TYPES",
    "MANY_BITS",
    "METHODS",
    "NONLINEAR",
    "POOLS",
    "PRESETS",
    "SCALES",
    "SOFTMAX_BITS",
    "SOFTMAX_BITS_OR_AUTO",
    "WEIGHTS",
    "Act",
    "BenchDevice",
    "BenchProvider",
    "Device",
    "Distillation",
    "InputType",
    "Method",
    "Nonlinear",
    "Pool",
    "Preset",
    "Scales",
    "SoftmaxBits",
    "SoftmaxBitsOrAuto",
    "Weights",
    "check_choice",
    "check_softmax_bits",
]

#: The activation function of a floating-point network; `ivit_onnx.quant.act` has what each computes.
Act = Literal["gelu", "gelu_tanh", "quick_gelu"]
ACTIVATIONS: tuple[Act, ...] = get_args(Act)

#: What a head reads: the class token, or the mean of the patches.
Pool = Literal["token", "avg"]
POOLS: tuple[Pool, ...] = get_args(Pool)

#: Averaged or last weights of a file that has both; "auto" takes averaged ones.
Weights = Literal["auto", "ema", "raw"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)

#: How much calibration does: `ivit_onnx.calibration.presets` has the recipe of each.
Preset = Literal["fast", "default", "best"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

#: How softmax and GELU are computed: by the shifts of the I-ViT paper, or by tables of their exact values.
Nonlinear = Literal["ivit", "table"]
NONLINEAR: tuple[Nonlinear, ...] = get_args(Nonlinear)
#: That of a floating-point checkpoint: no training has adapted it to the shifts.
DEFAULT_NONLINEAR: Nonlinear = "table"

#: Fractional bits of a probability: what the attribute `frac_bits` of the operators allows.
SoftmaxBits = Literal[7, 8, 15]
SOFTMAX_BITS: tuple[SoftmaxBits, ...] = get_args(SoftmaxBits)
#: What an export may ask for: "auto" is 8 or 15 for each layer, as its calibration shows.
SoftmaxBitsOrAuto = Literal[7, 8, 15, "auto"]
SOFTMAX_BITS_OR_AUTO: tuple[SoftmaxBitsOrAuto, ...] = get_args(SoftmaxBitsOrAuto)
#: What "auto" chooses from.
FEW_BITS, MANY_BITS = 8, 15

#: What an exported model takes.
InputType = Literal["uint8", "int8", "float32"]
INPUT_TYPES: tuple[InputType, ...] = get_args(InputType)

#: Where a model runs: `ivit_onnx.runtime.DEVICES` has the execution providers of each.
Device = Literal["cpu", "cuda", "ivit-cpu", "ivit-cuda"]
#: Where `ivit-bench` measures, and the CPU providers that it compares.
BenchDevice = Literal["cpu", "cuda"]
BenchProvider = Literal["cpu", "ivit-cpu"]

#: What a training learns from a floating-point teacher.
Distillation = Literal["none", "soft", "hard"]
DISTILLATIONS: tuple[Distillation, ...] = get_args(Distillation)

#: Whether a training adapts the scales of 8-bit activations.
Scales = Literal["learned", "fixed"]
SCALES: tuple[Scales, ...] = get_args(Scales)


def check_choice(what: str, value: object, allowed: Collection[object], error: type[IvitError]) -> None:
    """Raise `error` unless `value` is one of those allowed; `what` names it, as in "a calibration method"."""
    if value not in allowed:
        raise error(f"expected {what} of {', '.join(map(str, allowed))}, found {value!r}")


def check_softmax_bits(bits: object, allowed: Sequence[object] = SOFTMAX_BITS) -> None:
    """Raises ExportError where a probability cannot have so many fractional bits."""
    if isinstance(bits, bool) or not isinstance(bits, int | str) or bits not in allowed:
        *others, last = allowed
        raise ExportError(
            f"softmax_bits (--softmax-bits): expected {', '.join(map(str, others))} or {last}, found {bits!r}"
        )
