"""A checkpoint read with what the user says of it."""

from __future__ import annotations

from ivit_onnx.checkpoints import Checkpoint, Choice, Given, load_checkpoint
from ivit_onnx.options.records import ReadingOptions

__all__ = ["choice_of", "read_checkpoint"]


def choice_of(reading: ReadingOptions) -> Choice:
    """Which tensors of the file are taken."""
    return Choice(reading.key, reading.prefix, reading.weights)


def read_checkpoint(given: Given, reading: ReadingOptions, arch: str | None = None) -> Checkpoint:
    """`load_checkpoint` with these options; `arch` names a known timm model to check the checkpoint against."""
    return load_checkpoint(
        given,
        arch=arch,
        heads=reading.num_heads,
        image_size=reading.img_size,
        act=reading.act,
        pool=reading.pool,
        plain=reading.plain,
        choice=choice_of(reading),
    )
