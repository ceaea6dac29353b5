"""One-operator models at the shapes of a network, with constants as in an exported model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil, erf, log2, prod
from typing import Any

import numpy as np

from ivit_onnx.architectures import Architecture
from ivit_onnx.architectures.costs import (
    AttentionShape,
    LinearShape,
    MlpShape,
    NormShape,
    OperatorShape,
    PatchMergeShape,
    WindowAttentionShape,
)
from ivit_onnx.bench.settings import Settings

__all__ = ["KernelCase", "kernel_cases", "kernel_model"]

Array = np.ndarray[Any, Any]

#: Repeated nodes make a run long beside the runtime's own cost of a few microseconds.
RUN_MACS = 4e8
MOST_NODES = 16


@dataclass(frozen=True)
class KernelCase:
    """One operator at one shape: graph inputs, constants, attributes, output type and shape, multiply-accumulates."""

    operator: str
    shape: str
    macs: int
    inputs: Mapping[str, Array]
    constants: Mapping[str, Array]
    output: Array
    attributes: Mapping[str, int] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """Copies of the operator in the model; each has its own packed weights, as layers have."""
        return int(np.clip(RUN_MACS // max(self.macs, 1), 1, MOST_NODES))


def kernel_cases(arch: Architecture, settings: Settings) -> list[Callable[[], KernelCase]]:
    """The operators of a network's blocks at its shapes, made when called since weights are large."""
    return [partial(_CASES[type(shape)], shape, settings) for shape in arch.operator_shapes()]


def kernel_model(case: KernelCase) -> bytes:
    """The ONNX model of a case: `nodes` copies of the operator on the same inputs, outputs y0, y1, ..."""
    from onnx import helper, numpy_helper

    from ivit_onnx.opset import DOMAIN, OPERATORS, OPSET_VERSION, STANDARD_OPSET_VERSION

    def value(name: str, array: Array) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    tensors = OPERATORS[case.operator].inputs
    arguments = [tensor.name for tensor in tensors]
    attributes: dict[str, Any] = dict(case.attributes)
    names = [f"y{index}" for index in range(case.nodes)]
    nodes = [helper.make_node(case.operator, arguments, [name], domain=DOMAIN, **attributes) for name in names]
    graph = helper.make_graph(
        nodes,
        case.operator,
        [value(name, array) for name, array in case.inputs.items()],
        [value(name, case.output) for name in names],
        [
            numpy_helper.from_array(case.constants[tensor.name].astype(tensor.dtype), tensor.name)
            for tensor in tensors
            if tensor.name in case.constants
        ],
    )
    opsets = [helper.make_opsetid("", STANDARD_OPSET_VERSION), helper.make_opsetid(DOMAIN, OPSET_VERSION)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return model


def _linear_case(shape: LinearShape, settings: Settings) -> KernelCase:
    del settings
    tokens, k, n = shape.tokens, shape.inputs, shape.outputs
    rng = np.random.default_rng(0)
    constants = _linear(rng, "", k, n, 40)
    return KernelCase(
        "IntLinear",
        f"[{tokens},{k}]x[{k},{n}]",
        tokens * k * n,
        {"x": _int8(rng, tokens, k)},
        constants,
        np.empty((1, tokens, n), np.int8),
    )


def _attention_case(shape: AttentionShape, settings: Settings) -> KernelCase:
    tokens, width, heads = shape.tokens, shape.width, shape.heads
    rng = np.random.default_rng(0)
    softmax = _softmax(rng, "IntAttention", settings, width // heads, tokens)
    return KernelCase(
        softmax.operator,
        f"[{tokens},{3 * width}], {heads} heads, {settings.softmax_bits} bits",
        2 * tokens * tokens * width,
        {"qkv": _int8(rng, tokens, 3 * width)},
        softmax.constants,
        np.empty((1, tokens, width), np.int8),
        {"heads": heads, **softmax.attributes},
    )


def _window_case(shape: WindowAttentionShape, settings: Settings) -> KernelCase:
    rng = np.random.default_rng(0)
    tokens, width, window = shape.grid.area, shape.width, shape.window
    softmax = _softmax(rng, "IntWindowAttention", settings, width // shape.heads, window**2)
    constants = {
        "padding": _int8(rng, 1, 3 * width)[0, 0],
        "relative_position": rng.integers(-20, 21, ((2 * window - 1) ** 2, shape.heads)),
        **_scale(rng, "placed_", 0.9),
        **softmax.constants,
    }
    grid = {"height": shape.grid.height, "width": shape.grid.width, "window": window, "shift": shape.shift}
    return KernelCase(
        softmax.operator,
        f"[{tokens},{3 * width}], {shape.heads} heads, windows of {window}, {settings.softmax_bits} bits",
        2 * tokens * window**2 * width,
        {"qkv": _int8(rng, tokens, 3 * width)},
        constants,
        np.empty((1, tokens, width), np.int8),
        {"heads": shape.heads, **grid, **softmax.attributes},
    )


def _merge_case(shape: PatchMergeShape, settings: Settings) -> KernelCase:
    del settings
    rng = np.random.default_rng(0)
    tokens, width = shape.grid.area, shape.width
    merged = prod(-(-side // 2) for side in shape.grid)
    multiplier, shift = _dyadic(rng, (4 * width,), 40 * (4 * width) ** 0.5 / 2**30)
    constants = {
        "norm_multiplier": multiplier,
        "norm_offset": np.zeros(4 * width, np.int64),
        "norm_shift": shift,
        **_linear(rng, "", 4 * width, 2 * width, 6000),
    }
    return KernelCase(
        "IntPatchMerge",
        f"[{tokens},{width}]",
        merged * 8 * width**2,
        {"x": _int16(rng, tokens, width)},
        constants,
        np.empty((1, merged, 2 * width), np.int16),
        {"height": shape.grid.height, "width": shape.grid.width, "bits": 16},
    )


def _mlp_case(shape: MlpShape, settings: Settings) -> KernelCase:
    tokens, width, hidden = shape.tokens, shape.width, shape.hidden
    rng = np.random.default_rng(0)
    gelu = _gelu(rng, settings)
    branch, residual = _dyadic(rng, (), 0.2), _dyadic(rng, (), 0.95)
    constants = {
        **_linear(rng, "fc1_", width, hidden, 40),
        **gelu.constants,
        **_linear(rng, "fc2_", hidden, width, 6000),
        "branch_multiplier": branch[0],
        "branch_shift": branch[1],
        "residual_multiplier": residual[0],
        "residual_shift": residual[1],
    }
    return KernelCase(
        gelu.operator,
        f"[{tokens},{width}], hidden {hidden}",
        2 * tokens * width * hidden,
        {"x": _int8(rng, tokens, width), "residual": _int16(rng, tokens, width)},
        constants,
        np.empty((1, tokens, width), np.int16),
        gelu.attributes,
    )


def _norm_case(shape: NormShape, settings: Settings) -> KernelCase:
    del settings
    tokens, width = shape.tokens, shape.width
    rng = np.random.default_rng(0)
    # The operator's normalised value is about 2^30 / sqrt(C); the shift brings three deviations to 8 bits.
    multiplier, shift = _dyadic(rng, (width,), 40 * width**0.5 / 2**30)
    constants = {"multiplier": multiplier, "offset": np.zeros(width, np.int64), "shift": shift}
    return KernelCase(
        "IntLayerNorm",
        f"[{tokens},{width}]",
        0,
        {"x": _int16(rng, tokens, width)},
        constants,
        np.empty((1, tokens, width), np.int8),
    )


@dataclass(frozen=True)
class _Function:
    """What an operator's function adds to it: its name, constants and attributes."""

    operator: str
    constants: Mapping[str, Array]
    attributes: Mapping[str, int]


def _softmax(rng: np.random.Generator, attention: str, settings: Settings, head_dim: int, keys: int) -> _Function:
    """The variant of an attention whose scores have a deviation of 1.5 in real units: 30 steps of 1/20, or, where
    it divides at its end, accumulators that keep 16 bits."""
    from ivit_onnx.opset import Part, variant

    bits, products = settings.softmax_bits, 74 * 74 * head_dim**0.5
    if settings.nonlinear == "table":
        # As many levels as the sum of a row has headroom for.
        levels = 2 ** min(bits, (2**24 // keys).bit_length() - 1)
        span, score_shift = 12 / 255, max(0, ceil(log2(head_dim)) - 1)
        exponentials = np.rint(32767 * np.exp(-np.arange(256) * span))
        multiplier = round(1.5 / products * 2**score_shift / span * 2**15)
        return _Function(
            variant(attention, {Part.DEFERRED}),
            {**_scale(rng, "context_", 0.8 / 2**15), "exponentials": exponentials},
            {"score_shift": score_shift, "distance_multiplier": multiplier, "levels": levels},
        )
    scales = {**_scale(rng, "score_", 30 / products), **_scale(rng, "context_", 0.8 / 2**bits)}
    return _Function(attention, scales, {"x0": -20, "n": 15, "frac_bits": bits})


def _gelu(rng: np.random.Generator, settings: Settings) -> _Function:
    """A feed-forward network with the GELU of values of scale 1/20, to results of the same scale."""
    from ivit_onnx.opset import variant
    from ivit_onnx.quant.tables import FUNCTION_PARTS

    name = variant("IntMlpAdd", FUNCTION_PARTS[settings.nonlinear])
    if settings.nonlinear == "table":
        results = [round(x * (1 + erf(x / 20 / 2**0.5)) / 2) for x in range(-128, 128)]
        return _Function(name, {"gelu_table": np.array(results)}, {})
    multiplier, shift = _dyadic(rng, (), 1 / 2**7)
    return _Function(name, {"gelu_multiplier": multiplier, "gelu_shift": shift}, {"x0": -20, "n": 15})


def _linear(rng: np.random.Generator, prefix: str, k: int, n: int, deviation: float) -> dict[str, Array]:
    """Constants of a linear layer whose outputs on `_int8` inputs have that deviation."""
    weight = np.clip(np.rint(rng.normal(0, 30, (k, n))), -127, 127).astype(np.int8)
    multiplier, shift = _dyadic(rng, (n,), deviation / (74 * 30 * k**0.5))
    bias = rng.integers(-5000, 5000, n).astype(np.int32)
    return {
        f"{prefix}weight": weight,
        f"{prefix}bias": bias,
        f"{prefix}multiplier": multiplier,
        f"{prefix}shift": shift,
    }


def _dyadic(rng: np.random.Generator, shape: tuple[int, ...], ratio: float) -> tuple[Array, Array]:
    """Multipliers in [2^30, 2^31) and shifts with quotients up to a tenth around `ratio`."""
    mantissa, exponent = np.frexp(ratio * rng.uniform(0.9, 1.1, shape))
    multiplier = np.minimum(np.rint(mantissa * 2.0**31), 2**31 - 1)
    return np.asarray(multiplier, np.int32), np.asarray(31 - exponent, np.int32)


def _scale(rng: np.random.Generator, prefix: str, ratio: float) -> dict[str, Array]:
    """Inputs of a scale, one for all channels."""
    multiplier, shift = _dyadic(rng, (), ratio)
    return {f"{prefix}multiplier": multiplier, f"{prefix}shift": shift}


def _int8(rng: np.random.Generator, tokens: int, width: int) -> Array:
    """Uniform, with a deviation of 74."""
    return rng.integers(-128, 128, (1, tokens, width)).astype(np.int8)


def _int16(rng: np.random.Generator, tokens: int, width: int) -> Array:
    return np.rint(rng.normal(0, 6000, (1, tokens, width))).clip(-32768, 32767).astype(np.int16)


#: What makes the case of each kind of operator.
_CASES: dict[type[OperatorShape], Callable[[Any, Settings], KernelCase]] = {
    LinearShape: _linear_case,
    AttentionShape: _attention_case,
    WindowAttentionShape: _window_case,
    MlpShape: _mlp_case,
    NormShape: _norm_case,
    PatchMergeShape: _merge_case,
}
