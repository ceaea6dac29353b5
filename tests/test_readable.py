"""Names and constants of the function bodies, as a graph viewer shows them."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from onnx import FunctionProto

from ivit_onnx.opset import function_protos


@pytest.mark.parametrize("function", function_protos(), ids=lambda function: function.name)
def test_names_and_constants(function: FunctionProto) -> None:
    names = [*function.input, *(name for node in function.node for name in node.output)]
    assert len(names) == len(set(names))
    assert not [name for name in names if re.fullmatch(r"tmp(_\d+)?", name)]
    readers = Counter(name for node in function.node for name in node.input)
    for node in function.node:
        if node.op_type == "Constant" and not node.attribute[0].ref_attr_name:
            assert node.attribute[0].name == "value"
            assert readers[node.output[0]] == 1
    assert all(readers[name] for node in function.node for name in node.output if name not in function.output)
