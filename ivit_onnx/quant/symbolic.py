"""Tensors without values, through which a network's own forward tells its graph."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ivit_onnx.errors import ExportError
from ivit_onnx.quant.tensors import Lowered

__all__ = ["SymbolicTensor", "symbolic"]

#: What may be read of a tensor without values. Its shape may not: the size of its batch is anything.
_READABLE = (Tensor.dtype.__get__, Tensor.device.__get__)  # type: ignore[attr-defined]


class SymbolicTensor(Tensor):
    """A tensor of a graph that is being traced; it takes the place of integers in a forward.

    Only a `Step` (ivit_onnx.quant.step) takes it, and records itself. Everything else that is done with it raises
    ExportError: its result would be missing in the graph.
    """

    #: The tensor itself, of a batch of no images: what is computed with it has its shape, and costs nothing.
    empty: Tensor

    @classmethod
    def of(cls, empty: Tensor) -> Self:
        """A symbolic tensor of the type and shape of a tensor [0, ...]."""
        tensor = empty.as_subclass(cls)
        tensor.empty = empty
        return tensor

    @abstractmethod
    def record(
        self, name: str, role: str, lowered: Lowered, values: Sequence[Tensor], result: Tensor
    ) -> SymbolicTensor:
        """The result of an operator on `values`, of which this is one, as a tensor of the same graph.

        `name` is that of its node, `role` what it does in the network, `result` what it makes of no images. Values that
        are not symbolic are constants.
        """

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READABLE:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if func is Tensor.long and not args[0].dtype.is_floating_point:
            # The type in which PyTorch holds integers is none of the graph.
            return args[0]
        name = torch.overrides.resolve_name(func) or getattr(func, "__name__", str(func))
        raise ExportError(
            f"{name} cannot be exported: expected only modules that are operators on a tensor of the graph; write it "
            "as a Step (ivit_onnx.quant.step), and take sizes from the architecture"
        )


def symbolic(values: Sequence[Tensor]) -> SymbolicTensor | None:
    """The first of them that is symbolic, if one is."""
    return next((value for value in values if isinstance(value, SymbolicTensor)), None)
