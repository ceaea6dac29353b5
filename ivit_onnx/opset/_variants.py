"""Parts that make another operator of a composite: the normalisation after it, and pixels before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ivit_onnx.opset import int_layer_norm, quantize_image
from ivit_onnx.opset._compose import call, in_a_row
from ivit_onnx.opset._shapes import parse
from ivit_onnx.opset._spec import Operator, Part, Role, Tensor, activation, tensors

__all__ = ["from_pixels", "then_norm"]

_NORM = int_layer_norm.INT_LAYER_NORM
_QUANTIZE = quantize_image.QUANTIZE_IMAGE


def then_norm(base: Operator, name: str, *, summary: str, doc: str) -> Operator:
    """The operator `name`: `base`, which writes a residual stream, and the 8-bit normalisation of what it writes.

    It has both results. `doc` is the documentation of its function.
    """
    (stream,) = base.outputs
    kept = len(base.inputs)
    norm = int_layer_norm.norm_inputs("norm_", "s_n", parse(stream.shape).axes[-1])
    normalized = Tensor("normalized", "int8", stream.shape, "scale s_n")

    def compute(of_base: Callable[..., Any], of_norm: Callable[..., Any], *inputs: Any, **attributes: Any) -> Any:
        y = of_base(*inputs[:kept], **attributes)
        return y, of_norm(y, *inputs[kept:])

    names = [tensor.name for tensor in base.inputs]
    data = [tensor.name for tensor in base.inputs if tensor.role is Role.ACTIVATION]
    calls = [
        call(base, names, [stream.name]),
        call(_NORM, [stream.name, *(tensor.name for tensor in tensors(norm.members))], [normalized.name]),
    ]
    signature, outputs = (*base.signature, norm), (stream, normalized)
    return replace(
        base,
        function=in_a_row(name, doc, signature, base.attributes, calls, outputs),
        compute=compute,
        uses=(base, _NORM),
        summary=summary,
        formula=f"{stream.name} = {base.name}({', '.join(data)}); {normalized.name} = {_NORM.name}({stream.name})",
        signature=signature,
        outputs=outputs,
        parts=base.parts | {Part.NORM},
    )


def from_pixels(base: Operator, name: str, *, summary: str, doc: str) -> Operator:
    """The operator `name`: the normalisation and quantisation of pixels, and `base`, which takes the quantised image.

    `doc` is the documentation of its function.
    """
    image, *others = base.inputs
    (tokens,) = base.outputs
    pixels = activation(image.name, "uint8", image.shape, "pixels 0..255")
    scales = quantize_image.pixel_inputs("pixel_", "s_x")
    names = [tensor.name for tensor in tensors(scales.members)]

    def compute(
        quantize: Callable[..., Any], embed: Callable[..., Any], image: Any, *rest: Any, **attributes: Any
    ) -> Any:
        return embed(quantize(image, *rest[: len(names)]), *rest[len(names) :], **attributes)

    calls = [
        call(_QUANTIZE, [pixels.name, *names], ["quantized"]),
        call(base, ["quantized", *(tensor.name for tensor in others)], [tokens.name]),
    ]
    signature = (pixels, scales, *base.signature[1:])
    return replace(
        base,
        function=in_a_row(name, doc, signature, base.attributes, calls, base.outputs),
        compute=compute,
        uses=(_QUANTIZE, base),
        summary=summary,
        formula=f"{tokens.name} = {base.name}({_QUANTIZE.name}({image.name}))",
        signature=signature,
        parts=base.parts | {Part.PIXELS},
    )
