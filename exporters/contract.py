"""What a graph needs to know of an operator, of the domain or of standard ONNX, to call it."""

from __future__ import annotations

from dataclasses import dataclass

from ivit_onnx.errors import ExportError
from ivit_onnx.opset import DOMAIN, OPERATORS

__all__ = ["Contract", "contract"]


@dataclass(frozen=True)
class Contract:
    """Names and element types of inputs, element types of outputs ("": that of the first input), documentation."""

    domain: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]
    doc: str = ""


#: Standard operators that a graph has outside of functions: they bring values in, and move them.
_STANDARD = {
    "QuantizeLinear": Contract(
        "",
        {"image": "float32", "scale": "float32", "zero_point": "int8"},
        ("int8",),
        "round(image / scale), clamped. The only node that sees a float.",
    ),
    "Slice": Contract("", {"x": "", "from": "int64", "to": "int64", "axis": "int64"}, ("",)),
    "Flatten": Contract("", {"x": ""}, ("",)),
    "Cast": Contract("", {"x": ""}, ("int32",)),
}


def contract(op_type: str) -> Contract:
    """The contract of an operator. Raises ExportError where a graph cannot have it."""
    if op_type in _STANDARD:
        return _STANDARD[op_type]
    if op_type not in OPERATORS:
        raise ExportError(
            f"expected an operator of the domain (ivit_onnx.opset) or one of {', '.join(_STANDARD)}, found {op_type!r}"
        )
    spec = OPERATORS[op_type]
    inputs = {tensor.name: tensor.dtype for tensor in spec.inputs}
    return Contract(DOMAIN, inputs, tuple(tensor.dtype for tensor in spec.outputs), f"{spec.summary} {spec.formula}")
