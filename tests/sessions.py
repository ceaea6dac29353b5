"""Sessions for tests of single operators, and what they should return."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from cases import Case
from drawing import Array
from ivit_onnx import library_path
from ivit_onnx.opset import OPERATORS

SILENT = 4  # fatal errors only: tests provoke errors, which the runtime would also log


def session(
    model: onnx.ModelProto, *, kernels: bool = True, library: str | None = None, threads: int = 1, **options: Any
) -> onnxruntime.InferenceSession:
    """A CPU session; `options` are attributes of SessionOptions, `library` takes the place of the package's own."""
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = SILENT
    session_options.intra_op_num_threads = threads
    for name, value in options.items():
        setattr(session_options, name, value)
    if kernels:
        session_options.register_custom_ops_library(library or library_path())
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, case: Case) -> Array | tuple[Array, ...]:
    """The output, or a tuple of them where there are several."""
    outputs = session.run(None, {value.name: case.inputs[value.name] for value in session.get_inputs()})
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def expected(case: Case) -> Any:
    """What the numpy reference of the case's operator returns."""
    operator = OPERATORS[case.operator]
    return operator.reference(*(case.inputs[tensor.name] for tensor in operator.inputs), **case.attributes)


def assert_equal(actual: Any, wanted: Any) -> None:
    """Same type, same shape, same integers, in every output."""
    if isinstance(wanted, tuple):
        assert len(actual) == len(wanted)
        for one, other in zip(actual, wanted, strict=True):
            assert_equal(one, other)
        return
    assert actual.dtype == wanted.dtype
    np.testing.assert_array_equal(actual, wanted, strict=True)
