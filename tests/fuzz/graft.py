"""Nodes that grow on one value of a model, with the constants that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fuzz.model_mutations import pick

Model = onnx.ModelProto
Rng = np.random.Generator


class Graft:
    """Nodes on one value of the model, `source` of element type `dtype`, with constants that they need."""

    def __init__(self, model: Model, rng: Rng, source: str, dtype: str, *, inside: bool) -> None:
        self.model, self.rng, self.source, self.dtype = model, rng, source, dtype
        self.nodes: list[onnx.NodeProto] = []
        self._inside = inside
        self._count = len(model.graph.node)

    def name(self) -> str:
        self._count += 1
        return f"graft.{self._count}"

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = self.name()
        self.nodes.append(helper.make_node(kind, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, array: Any, dtype: str = "int64") -> str:
        tensor = numpy_helper.from_array(np.asarray(array).astype(dtype), self.name())
        if self._inside or self.rng.random() < 0.3:
            return self.node("Constant", value=tensor)
        self.model.graph.initializer.append(tensor)
        return tensor.name

    def cast(self, value: str, dtype: str) -> str:
        return self.node("Cast", value, to=int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def back(self, value: str) -> str:
        """Within the bounds of the source's type, and of that type."""
        if self.dtype == "int64":
            return value
        wide = self.cast(value, "int64")
        info = np.iinfo(self.dtype)
        capped = self.node("Min", self.node("Max", wide, self.constant(info.min)), self.constant(info.max))
        return self.cast(capped, self.dtype)

    def number(self) -> int:
        numbers = [
            -(2**63),
            -(2**31),
            -129,
            -3,
            -1,
            0,
            1,
            2,
            3,
            7,
            100,
            2**16,
            2**24,
            2**30,
            2**31 - 1,
            2**40,
            2**63 - 1,
        ]
        return int(pick(numbers, self.rng))
