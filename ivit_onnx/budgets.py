"""What a reader of files may spend, the same for all of them: counted before the work is done, refused in one line.

A file of a few kilobytes can stand for any amount of work: functions that call each other, compressed zeros, a shape
without its data. Every reader here counts what a file asks for and compares it with one of these budgets first. They
are far above what networks of this package and their images need; SECURITY.md says what they promise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ALL_BUDGETS",
    "CLASSES",
    "DEPTH",
    "FIELDS",
    "IMAGE_BYTES",
    "INPUT_ELEMENTS",
    "INPUT_PIXELS",
    "INSTRUCTIONS",
    "LITERAL_BYTES",
    "MEMBERS",
    "MODEL_BYTES",
    "NODES",
    "PIXELS",
    "SCORES",
    "TEXT_BYTES",
    "WEIGHT_BYTES",
    "Budget",
    "OverBudgetError",
    "check_depth",
    "check_expansion",
    "inflated",
]

#: What is compressed, shared or repeated in a file may become so many times as large, or `_FREE` bytes.
EXPANSION = 10
_FREE = 64 << 20


class OverBudgetError(ValueError):
    """A file asks for more than a reader may spend; readers make their own error of it, with the file's name."""


@dataclass(frozen=True)
class Budget:
    """At most `most` of `what`; `advice` says what to do about more."""

    most: int
    what: str
    advice: str

    def check(self, found: int, where: object = "", error: type[Exception] = OverBudgetError) -> None:
        """Raise `error` where more is asked for; `where` names the file or the part of it."""
        if found > self.most:
            place = f"{where}: " if where else ""
            raise error(f"{place}expected at most {self.most:,} {self.what}, found {found:,}; {self.advice}")


#: A large Swin of this package has some ten thousand.
NODES = Budget(1 << 18, "nodes with all functions expanded", "export the model again")
DEPTH = Budget(64, "levels of nesting", "expected a file that a program wrote for use")
#: Values, messages and texts that a protobuf is made of; a large Swin has some hundred thousand.
FIELDS = Budget(1 << 21, "fields of the protobuf", "export the model again")
#: The most that a protobuf can be.
MODEL_BYTES = Budget((1 << 31) - 1, "bytes in a model", "keep the weights in a file beside it")
#: Of a checkpoint, a calibration cache, or the weights beside a model.
WEIGHT_BYTES = Budget(1 << 36, "bytes of weights", "take out what is not the network, such as the optimizer's state")
#: Of labels, configurations, indices, JSON in metadata, headers.
TEXT_BYTES = Budget(16 << 20, "bytes of text", "take out what is not needed")
#: Python's parser takes 200 times as much memory.
LITERAL_BYTES = Budget(1 << 20, "bytes of a dictionary in Python", "write it as JSON")
#: Of an encoded image file; decoders read some kinds whole.
IMAGE_BYTES = Budget(1 << 30, "bytes in an image file", "make the image smaller")
#: Pillow's own limit, which a program may have taken away.
PIXELS = Budget(178_956_970, "pixels", "make the image smaller")
#: Of the images that a network takes: there are several at a time, as float32.
INPUT_PIXELS = Budget(1 << 24, "pixels in the images of a network", "choose another --img-size, or export again")
#: Of an input of a graph whose batch is a number: sessions may make constants that are as large as the batch.
INPUT_ELEMENTS = Budget(1 << 29, "elements of an input", "export the model again, which leaves the batch free")
#: Elements of the attention scores of one block for one image.
SCORES = Budget(1 << 30, "attention scores in a block", "choose a smaller --img-size")
CLASSES = Budget(1 << 20, "classes", "number the classes from 0 without gaps")
MEMBERS = Budget(1 << 18, "members of an archive", "save the tensors alone")
#: A checkpoint has some ten thousand; each makes at most some hundred bytes.
INSTRUCTIONS = Budget(1 << 22, "instructions of a pickle", "save the state_dict alone")

ALL_BUDGETS = tuple(value for value in globals().values() if isinstance(value, Budget))


def check_expansion(packed: int, unpacked: int, where: object, error: type[Exception] = OverBudgetError) -> None:
    """Raise `error` where `packed` bytes of a file would become more than EXPANSION times as many in memory.

    Some megabytes are free: zeros compress well.
    """
    most = max(_FREE, EXPANSION * packed)
    if unpacked > most:
        raise error(
            f"{where}: expected at most {most:,} bytes after decompression ({EXPANSION} times what is stored), "
            f"found {unpacked:,}; save it without compression"
        )


def inflated(data: bytes, where: object) -> bytes:
    """What zlib compressed. Raises ValueError where it is damaged, or more than `check_expansion` allows."""
    machine = zlib.decompressobj()
    most = max(_FREE, EXPANSION * len(data))
    try:
        content = machine.decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"{where}: damaged: {error}") from None
    if machine.unconsumed_tail:
        check_expansion(len(data), most + 1, where)
    if not machine.eof:
        raise ValueError(f"{where}: the compressed data end too early")
    return content


def check_depth(value: Any, where: object, error: type[Exception] = OverBudgetError) -> None:
    """Raise `error` where lists and dictionaries are nested more than DEPTH deep."""
    level, depth = [value], 0
    while level:
        depth += 1
        DEPTH.check(depth - 1, where, error)
        level = [inner for outer in level for inner in _inside(outer)]


def _inside(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (entry for entry in inner if isinstance(entry, list | dict))
