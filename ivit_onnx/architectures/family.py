"""What a family of networks is made of: one record, from which everything else about it is found."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.preprocess import Preprocess

if TYPE_CHECKING:
    import torch

    from ivit_onnx.checkpoints.reader import Reader
    from ivit_onnx.models.twin import Twin

__all__ = ["Family"]


@dataclass(frozen=True)
class Family:
    """A family of networks.

    `architecture`: the record of a network's dimensions. `reader` and `twin` are loaded when they are used, as they
    need torch: "module:name" of a `ivit_onnx.checkpoints.reader.Reader`, and of a subclass of `ivit_onnx.models.Twin`,
    called with an architecture, a `Preprocess` and the fractional bits of softmax. `counterpart`: the network of an
    architecture in the source library, randomly initialised; it may import torch when it is called.

    `known`: models by timm's name, with the number of classes of their weights, and `preprocess` how these prepare
    images. `other_normalisation`: tags of timm whose weights normalise otherwise. `unsupported`: patterns of names of
    unsupported networks, and the feature that is missing. `timm_modules`: those of timm whose networks are read by
    their shapes.
    """

    architecture: type[Architecture]
    reader: str
    twin: str
    counterpart: Callable[[Any], torch.nn.Module]
    known: Mapping[str, Architecture] = field(default_factory=dict)
    preprocess: Mapping[str, Preprocess] = field(default_factory=dict)
    other_normalisation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)
    timm_modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the family in descriptions and metadata."""
        return self.architecture.family

    def load_reader(self) -> Reader:
        """What reads checkpoints of the family."""
        reader: Reader = pkgutil.resolve_name(self.reader)
        return reader

    def load_twin(self) -> Callable[[Any, Preprocess, int], Twin]:
        """What makes the twin of an architecture, for a preprocessing and fractional bits of softmax."""
        twin: Callable[[Any, Preprocess, int], Twin] = pkgutil.resolve_name(self.twin)
        return twin
