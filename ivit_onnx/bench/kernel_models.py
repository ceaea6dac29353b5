"""One-operator models at the shapes of a network, with constants as in an exported model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
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
    softmax = _softmax(rng, "IntAttention", tokens, width // heads, settings)
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
    softmax = _softmax(rng, "IntWindowAttention", window**2, width // shape.heads, settings)
    grid = {"height": shape.grid.height, "width": shape.grid.width, "window": window, "shift": shape.shift}
    return KernelCase(
        softmax.operator,
        f"[{tokens},{3 * width}], {shape.heads} heads, windows of {window}, {settings.softmax_bits} bits",
        2 * tokens * window**2 * width,
        {"qkv": _int8(rng, tokens, 3 * width)},
        {
            "padding": _int8(rng, 1, 3 * width)[0, 0],
            "relative_position": softmax.biases(rng.uniform(-1, 1, ((2 * window - 1) ** 2, shape.heads))),
            **softmax.constants,
        },
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
    constants = {
        **_linear(rng, "fc1_", width, hidden, 40),
        **_linear(rng, "fc2_", hidden, width, 6000),
        **_scale(rng, "branch_", 0.2),
        **_scale(rng, "residual_", 0.95),
    }
    gelu = _token_gelu(rng, width) if settings.nonlinear == "table" else _shift_gelu(rng)
    constants |= gelu.constants
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


@dataclass(frozen=True)
class _Softmax(_Function):
    """The softmax of an attention; `biases` makes integers of real biases, the relative positions of windows."""

    biases: Callable[[Array], Array]


def _softmax(rng: np.random.Generator, base: str, keys: int, head_dim: int, settings: Settings) -> _Softmax:
    """Softmax over rows of `keys` scores, whose real values have a deviation of 1.5."""
    products = 74 * 74 * head_dim**0.5
    if settings.nonlinear == "table":
        return _deferred_softmax(rng, base, 1.5 / products, keys, head_dim, settings.softmax_bits)
    constants = {
        **_scale(rng, "score_", 30 / products),
        **(_scale(rng, "placed_", 0.9) if base == "IntWindowAttention" else {}),
        **_scale(rng, "context_", 0.8 / 2**settings.softmax_bits),
    }
    attributes = {"x0": -20, "n": 15, "frac_bits": settings.softmax_bits}
    return _Softmax(base, constants, attributes, lambda real: np.rint(20 * real))


def _deferred_softmax(
    rng: np.random.Generator, base: str, product_scale: float, keys: int, head_dim: int, bits: int
) -> _Softmax:
    from ivit_onnx.opset import variant
    from ivit_onnx.quant.deferred import CONTEXT_RATIO, DEFERRED, DeferredSoftmax

    softmax = DeferredSoftmax(np.float64(product_scale), head_dim, keys, bits)
    constants = {**_scale(rng, "context_", 0.8 * CONTEXT_RATIO), **softmax.constants()}
    return _Softmax(variant(base, DEFERRED), constants, softmax.attributes(), softmax.biases)


def _shift_gelu(rng: np.random.Generator) -> _Function:
    """A feed-forward network with ShiftGELU of values of scale 1/20, to results of the same scale."""
    return _Function("IntMlpAdd", _scale(rng, "gelu_", 1 / 2**7), {"x0": -20, "n": 15})


def _token_gelu(rng: np.random.Generator, width: int) -> _Function:
    """A feed-forward network with the GELU of values of scale 1/20, to results of scale 1/36 and less, by token."""
    from ivit_onnx.quant.tables import gelu_tables
    from ivit_onnx.quant.token_mlp import SCALES, token_scales

    tokens = token_scales("gelu", 1 / 20, 0, 1 / 36, -121, SCALES)
    multiplier, shift = _dyadic(rng, (len(tokens.scales),), 1.0)
    constants = {
        "token_scale": tokens.of_largest,
        "gelu_tables": gelu_tables("gelu", np.float32(1 / 20), list(tokens.scales), 0, tokens.zeros.tolist()),
        "fc2_bias": rng.integers(-5000, 5000, (len(tokens.scales), width)),
        "branch_multiplier": np.rint(multiplier * 0.2 * tokens.ratios),
        "branch_shift": shift,
    }
    return _Function("IntTokenMlpAdd", constants, {})


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


def _scale(rng: np.random.Generator, prefix: str, ratio: float) -> dict[str, Array]:
    """The two constants of a ratio as `_dyadic` makes it."""
    multiplier, shift = _dyadic(rng, (), ratio)
    return {f"{prefix}multiplier": multiplier, f"{prefix}shift": shift}


def _dyadic(rng: np.random.Generator, shape: tuple[int, ...], ratio: float) -> tuple[Array, Array]:
    """Multipliers in [2^30, 2^31) and shifts with quotients up to a tenth around `ratio`."""
    mantissa, exponent = np.frexp(ratio * rng.uniform(0.9, 1.1, shape))
    multiplier = np.minimum(np.rint(mantissa * 2.0**31), 2**31 - 1)
    return np.asarray(multiplier, np.int32), np.asarray(31 - exponent, np.int32)


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
