"""Reads the object in a checkpoint file: tensors and plain containers only, whatever the file holds."""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ivit_onnx.errors import CheckpointError

__all__ = ["read_object"]

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
#: How many times larger than the file what it holds may be.
_MOST_EXPANSION = 10


def read_object(path: Path) -> Any:
    """The content of a file of torch.save or of a safetensors file, told apart by their first bytes.

    Raises CheckpointError of one line when the file is missing, truncated, of another kind, or contains code.
    """
    head = _first_bytes(path)
    if _is_safetensors(head):
        return _read_safetensors(path)
    if not head.startswith((_ZIP, _PICKLE)):
        raise CheckpointError(f"{path} is neither a file of torch.save nor safetensors")
    if head.startswith(_ZIP):
        _check_archive(path)
    try:
        # Training scripts keep their options beside the weights. A Namespace is plain data: making one runs no code.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, head, str(error)) from None
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        if "TorchScript" in str(error):
            raise CheckpointError(_contains_code(path, "a TorchScript program")) from None
        raise CheckpointError(f"{path} is damaged or truncated ({_first_sentence(error)})") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive that becomes far larger than its file: torch.save compresses nothing, TorchScript its code."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise CheckpointError(f"{path} is damaged or truncated ({_first_sentence(error)})") from None
    if sum(entry.file_size for entry in entries) > _MOST_EXPANSION * path.stat().st_size:
        raise CheckpointError(f"{path} is a compressed archive, expected a file as torch.save writes it")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, expected a checkpoint file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot read checkpoint {path}: {reason}") from None
    if not head:
        raise CheckpointError(f"{path} is empty")
    return head


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(f"{path} is a safetensors file; reading it needs `pip install safetensors`") from None
    try:
        return dict(load_file(path, device="cpu"))
    except Exception as error:  # safetensors raises its own and several built-in types
        raise CheckpointError(f"{path} is damaged or truncated ({_first_sentence(error)})") from None


def _refused(path: Path, head: bytes, message: str) -> CheckpointError:
    """Why torch would not unpickle the file: code in it, damage, or a pickle that torch.save did not write."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return CheckpointError(_contains_code(path, named[1]))
    if head.startswith(_PICKLE):
        called = _globals_of_pickle(path)
        if called:
            return CheckpointError(_contains_code(path, called[0]))
        return CheckpointError(f"{path} is a damaged pickle, or one that torch.save did not write")
    if "Unsupported" in message:
        return CheckpointError(_contains_code(path, "more than tensors and plain containers"))
    return CheckpointError(f"{path} is damaged or truncated")


def _contains_code(path: Path, what: str) -> str:
    return (
        f"{path} refused because it contains code ({what}); "
        "save the tensors alone: torch.save(model.state_dict(), path)"
    )


def _globals_of_pickle(path: Path) -> list[str]:
    """Names that a raw pickle would import, read from its opcodes without running them."""
    names: list[str] = []
    strings: list[str] = []
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if isinstance(argument, str) and opcode.name in ("GLOBAL", "INST"):
                    names.append(argument.replace(" ", "."))
                elif isinstance(argument, str):
                    strings.append(argument)
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(strings[-2:]))
    except Exception:  # damaged: what was found so far is enough
        return names
    return names


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.:;]) ", text, maxsplit=1)[0].rstrip(".:;") or type(error).__name__
