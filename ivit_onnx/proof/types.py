"""Types that a file declares beside those that follow from its nodes."""

from __future__ import annotations

import onnx

from ivit_onnx.proof.element_types import ELEMENT_TYPES
from ivit_onnx.proof.value import Value

__all__ = ["contradiction", "standard"]


def standard(domain: str) -> bool:
    """Whether a domain is that of ONNX's own operators, which has two names."""
    return domain in ("", "ai.onnx")


def contradiction(declared: onnx.TypeProto, value: Value) -> str | None:
    """What a file declares of a value and the nodes do not say; None if nothing.

    ONNX Runtime takes a declared dimension for the true one, and replaces `Shape` by it.
    """
    tensor = declared.tensor_type
    if tensor.elem_type and ELEMENT_TYPES.get(tensor.elem_type, "") != value.dtype:
        name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()  # type: ignore[arg-type,unused-ignore]
        return f"declared as {name}, but is {value.dtype or 'no integer'}"
    if not tensor.HasField("shape"):
        return None
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if value.shape is None or len(dims) != len(value.shape):
        found = "unknown" if value.shape is None else str(len(value.shape))
        return f"declared with {len(dims)} dimensions, but their number is {found}"
    for axis, (dim, own) in enumerate(zip(dims, value.shape, strict=True)):
        if dim is not None and dim != own:
            found = f"is {own}" if isinstance(own, int) else "can be another number"
            return f"dimension {axis} is declared as {dim}, but {found}"
    return None
