"""What the architectures of every family share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Self

from ivit_onnx.architectures.costs import Macs, OperatorShape
from ivit_onnx.architectures.size import Size
from ivit_onnx.errors import CheckpointError, IvitError

__all__ = ["Architecture"]

_FLAGS = {"heads": "; pass --num-heads"}
#: Most patches along a side: 8192 pixels at patches of 16. A larger image is a mistake, and takes gigabytes.
_MOST_PATCHES = 512
#: Most blocks of a network. Known ones have up to 40.
_MOST_BLOCKS = 1024
#: Numbers that may be 0: no classes is a network that returns features.
_OPTIONAL = ("classes", "reg_tokens")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Dimensions of a network: everything that shapes the graph. A subclass per family adds its own.

    `image_size` is made of a number, the side of a square, or of a pair (height, width).

    Raises CheckpointError when the numbers do not fit together; the message names the flag to pass.
    """

    #: Name of the family in descriptions and metadata.
    family: ClassVar[str]
    #: Fields that a checkpoint's shapes do not tell, or that fine-tuning changes.
    free_fields: ClassVar[tuple[str, ...]] = ("name", "classes")

    name: str
    image_size: Size
    patch_size: int
    in_channels: int
    classes: int

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "image_size", Size.of(self.image_size))
        except IvitError as error:
            raise CheckpointError(f"{error}; pass --img-size") from None
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in _OPTIONAL else 1
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                kind = "an integer of at least 0" if field.name in _OPTIONAL else "a positive integer"
                raise CheckpointError(f"{field.name} must be {kind}, found {value!r}{_FLAGS.get(field.name, '')}")
            if field.type == "float" and (not isinstance(value, float) or not value > 0):
                raise CheckpointError(f"{field.name} must be a positive number, found {value!r}")
            if field.type == "bool" and not isinstance(value, bool):
                raise CheckpointError(f"{field.name} must be true or false, found {value!r}")
            if field.type == "str" and not isinstance(value, str):
                raise CheckpointError(f"{field.name} must be a string, found {value!r}")
        if any(side % self.patch_size for side in self.image_size):
            raise CheckpointError(
                f"patches of {self.patch_size} pixels do not divide an image of {self.image_size}; pass --img-size"
            )
        if max(self.image_size) > _MOST_PATCHES * self.patch_size:
            raise CheckpointError(
                f"image_size must be at most {_MOST_PATCHES} patches of {self.patch_size} pixels, "
                f"found {self.image_size}; pass --img-size"
            )

        if self.blocks > _MOST_BLOCKS:
            raise CheckpointError(f"expected at most {_MOST_BLOCKS} blocks, found {self.blocks}")

    @property
    def grid(self) -> Size:
        """Rows and columns of patches."""
        return Size(*(side // self.patch_size for side in self.image_size))

    @property
    def blocks(self) -> int:
        """Number of transformer blocks."""
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """Length of the token sequence, that of the first stage where stages differ."""
        raise NotImplementedError

    def summary(self) -> str:
        """The dimensions in a few words."""
        raise NotImplementedError

    def macs(self) -> Macs:
        """The products of matrices for one image; everything else is linear in the activations."""
        raise NotImplementedError

    def operator_shapes(self) -> list[OperatorShape]:
        """The operators of the blocks at their shapes, which kernels are timed at."""
        raise NotImplementedError

    def traits(self) -> list[str]:
        """What is special about the network, in words."""
        return []

    def dimensions(self) -> dict[str, Any]:
        """The fields that the shapes of a checkpoint tell."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in self.free_fields}

    def to_json(self) -> dict[str, Any]:
        """The family and the fields as a JSON object."""
        return {"family": self.family, **asdict(self), "image_size": self.image_size.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; CheckpointError when a field is missing or of another type."""
        missing = [f.name for f in fields(cls) if f.name not in data and f.default is MISSING]
        if missing:
            raise CheckpointError(f"architecture description without {', '.join(missing)}")
        given: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**given)
