"""The header of a safetensors file: eight bytes with its length, then a JSON object."""

from __future__ import annotations

from typing import BinaryIO

from ivit_onnx.budgets import TEXT_BYTES

__all__ = ["header_length"]


def header_length(file: BinaryIO) -> int:
    """Bytes of the header of a file that stands at its beginning, and at the header afterwards.

    Raises OverBudgetError for a header that is larger than any text may be: the library takes up to 100 MB of JSON.
    """
    length = int.from_bytes(file.read(8), "little")
    TEXT_BYTES.check(length, "header")
    return length
