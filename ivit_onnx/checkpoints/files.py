"""Reads the object in a checkpoint file: tensors and plain data only, whatever the file holds."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ivit_onnx.budgets import WEIGHT_BYTES, OverBudgetError
from ivit_onnx.checkpoints.archives import is_torchscript, read_archive, read_pickle
from ivit_onnx.checkpoints.kinds import HEAD, archive_kind, file_kind
from ivit_onnx.checkpoints.modules import script_tensors
from ivit_onnx.checkpoints.npz import is_npz, read_npz
from ivit_onnx.checkpoints.restricted import restricted_load
from ivit_onnx.errors import CheckpointError
from ivit_onnx.inputs import open_input, reason_of
from ivit_onnx.safetensors_header import header_length
from ivit_onnx.zip_members import members

__all__ = ["Content", "File", "first_bytes", "read_content"]

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


@dataclass(frozen=True)
class File:
    """A checkpoint file, on disk or in memory. `title` names it in messages."""

    title: str
    place: Path | bytes

    def open(self) -> BinaryIO:
        """The file for reading. Raises CheckpointError when there is none."""
        if isinstance(self.place, bytes):
            return io.BytesIO(self.place)
        try:
            return open_input(self.place, WEIGHT_BYTES)
        except FileNotFoundError:
            raise CheckpointError(f"checkpoint {self.title} does not exist") from None
        except IsADirectoryError:
            raise CheckpointError(f"{self.title} is a folder, expected a checkpoint file") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read checkpoint {self.title}: {reason_of(error)}") from None

    def read(self) -> bytes:
        """All bytes. Raises CheckpointError as `open`."""
        with self.open() as opened:
            return opened.read()


@dataclass(frozen=True)
class Content:
    """The object in a file, and sentences about how it was read."""

    value: Any
    notes: tuple[str, ...] = ()


def first_bytes(file: File) -> bytes:
    """The beginning of a file. Raises CheckpointError when it is missing, unreadable or empty."""
    with file.open() as opened:
        try:
            head = opened.read(HEAD)
        except OSError as error:
            raise CheckpointError(f"cannot read checkpoint {file.title}: {error.strerror}") from None
    if not head:
        raise CheckpointError(f"{file.title} is empty")
    return head


def read_content(file: File) -> Content:
    """The content of a file of torch.save, pickle.dump, TorchScript, safetensors or NumPy, told by its first bytes.

    Tensors are `torch.Tensor`; what is neither tensor nor plain container is an `Inert`, or an `argparse.Namespace`.
    Raises CheckpointError of one line when the file is missing, truncated or of another kind.
    """
    head = first_bytes(file)
    if _is_safetensors(head):
        return Content(_read_safetensors(file))
    if head.startswith(_ZIP):
        return _read_zip(file)
    if not head.startswith(_PICKLE):
        unknown = "is neither a file of torch.save nor safetensors: its first bytes are of no known kind"
        raise CheckpointError(f"{file.title} {file_kind(head) or unknown}")
    try:
        with file.open() as opened:
            value = restricted_load(opened)
        return Content(read_pickle(file.read()) if value is None else value)
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise _damaged(file, error) from None


def _read_zip(file: File) -> Content:
    try:
        with file.open() as opened:
            entries = members(opened)
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise _damaged(file, error) from None
    names = [entry.filename for entry in entries]
    if not any(name.endswith("/data.pkl") for name in names) and not is_npz(names):
        kind = archive_kind(names)
        raise CheckpointError(f"{file.title} {kind or 'is a zip archive, but none of torch.save (it has no data.pkl)'}")
    try:
        with file.open() as opened:
            if is_npz(names):
                return Content(read_npz(opened))
            if not is_torchscript(names) and (value := restricted_load(opened)) is not None:
                return Content(value)
            with zipfile.ZipFile(opened) as archive:
                value = read_archive(archive)
            if is_torchscript(names):
                return Content(
                    script_tensors(value), ("a TorchScript archive: its tensors were read, nothing was run",)
                )
            return Content(value)
    except Exception as error:
        raise _damaged(file, error) from None


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _read_safetensors(file: File) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load, load_file
    except ImportError:
        raise CheckpointError(
            f"{file.title} is a safetensors file; reading it needs `pip install safetensors`"
        ) from None
    try:
        with file.open() as opened:
            header_length(opened)
        return dict(load(file.place) if isinstance(file.place, bytes) else load_file(file.place, device="cpu"))
    except Exception as error:  # safetensors raises its own and several built-in types
        raise _damaged(file, error) from None


def _damaged(file: File, error: Exception) -> CheckpointError:
    """What a file is whose bytes do not fit together."""
    if isinstance(error, CheckpointError):
        return error
    if isinstance(error, OverBudgetError):
        return CheckpointError(f"{file.title}: {error}")
    text = " ".join(str(error).split())
    reason = re.split(r"(?<=[.:;]) ", text, maxsplit=1)[0].rstrip(".:;") or type(error).__name__
    return CheckpointError(f"{file.title} is damaged or truncated ({reason[:200]})")
