"""A node under analysis, as rules see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import onnx
from onnx import AttributeProto

from ivit_onnx.proof.element_types import ELEMENT_TYPES
from ivit_onnx.proof.ledger import Ledger, Path

__all__ = ["Attributes", "Node", "NotCoveredError"]

Attributes = Mapping[str, AttributeProto]


class NotCoveredError(Exception):
    """A node that the analysis does not cover."""


class Node:
    """One node, with the attributes of the calling function filled in, and the way to it."""

    def __init__(self, ledger: Ledger, proto: onnx.NodeProto, attributes: Attributes, path: Path) -> None:
        self._ledger, self._proto = ledger, proto
        self._attributes = _bound(proto, attributes)
        self._path = path

    @property
    def kind(self) -> str:
        """The operator's name."""
        return self._proto.op_type

    @property
    def outputs(self) -> int:
        """How many results it has."""
        return len(self._proto.output)

    @property
    def attributes(self) -> Attributes:
        """The attributes, those of the calling function filled in."""
        return self._attributes

    @property
    def path(self) -> Path:
        """The node of the main graph, and the way from there to the value."""
        return self._path

    def find(self, name: str) -> Any:
        """The value of an attribute, or None."""
        found = self._attributes.get(name)
        return None if found is None else onnx.helper.get_attribute_value(found)

    def attribute(self, name: str, default: Any) -> Any:
        """The value of an attribute."""
        found = self.find(name)
        return default if found is None else found

    def type_attribute(self, name: str) -> str:
        """The element type that an attribute names."""
        number = self.find(name)
        if number not in ELEMENT_TYPES:
            self.stop(f"a result of element type {number} is no integer")
        return ELEMENT_TYPES[number]

    def axes(self, given: Iterable[int], rank: int) -> list[int]:
        """Axes counted from the first; ONNX Runtime refuses a node that has others, or one of them twice."""
        axes = [int(axis) for axis in given]
        if len({axis % rank for axis in axes if -rank <= axis < rank}) < len(axes):
            self.stop(f"expected different axes from {-rank} to {rank - 1}, found {axes}")
        return [axis % rank for axis in axes]

    def count(self) -> None:
        """One more check."""
        self._ledger.checks += 1

    def fail(self, message: str) -> None:
        """Something that is not proven."""
        self._ledger.found(self._path, f"{self.kind}: {message}")

    def stop(self, message: str) -> NoReturn:
        """Something that the analysis does not cover."""
        self.fail(message)
        raise NotCoveredError

    def check_partial(self, low: int, high: int, dtype: str) -> None:
        """Sums on the way to the result."""
        self._ledger.check(self._path, self.kind, low, high, dtype)


def _bound(proto: onnx.NodeProto, attributes: Attributes) -> dict[str, AttributeProto]:
    """The attributes of a node, with those of the calling function in the place of references."""
    return {
        attribute.name: attributes[attribute.ref_attr_name] if attribute.ref_attr_name else attribute
        for attribute in proto.attribute
    }
