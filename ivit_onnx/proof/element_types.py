"""Element types of ONNX that the analysis follows."""

from __future__ import annotations

from onnx import TensorProto

__all__ = ["ELEMENT_TYPES"]

#: The name of each in numpy, by its number in ONNX.
ELEMENT_TYPES: dict[int, str] = {
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.INT32: "int32",
    TensorProto.UINT32: "uint32",
    TensorProto.INT64: "int64",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
}
