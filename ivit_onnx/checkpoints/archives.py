"""The files of torch.save and of TorchScript, and plain pickles, read by the inert reader of pickles (inert.py)."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterable
from typing import Any

import torch

from ivit_onnx.checkpoints.inert import Global, Storage, unpickle

__all__ = ["is_torchscript", "read_archive", "read_pickle"]

#: The first object of a file of torch.save before 1.6.
_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_STORAGES = {f"torch.{name}Storage": dtype for name, dtype in _TYPES.items()} | {
    "torch.storage.UntypedStorage": torch.uint8
}


def is_torchscript(names: Iterable[str]) -> bool:
    """Whether an archive with these names is a program of TorchScript."""
    return any(name.endswith("/constants.pkl") for name in names)


def read_archive(archive: zipfile.ZipFile) -> Any:
    """The object of a zip archive of torch.save, or the module of a TorchScript archive, whose code is not read."""
    roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    roots = [root for root in roots if root.count("/") == 1]
    if len(roots) != 1:
        raise ValueError(f"expected one data.pkl, found {len(roots)}")
    (root,) = roots
    order = f"{root}byteorder"
    if order in archive.namelist() and archive.read(order).decode("ascii", "replace") != sys.byteorder:
        raise ValueError(f"numbers of another byte order than {sys.byteorder}")
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Any:
        dtype, key = _identity(identity)
        if key not in storages:
            record = archive.read(f"{root}data/{key}")
            elements = torch.frombuffer(bytearray(record), dtype=dtype) if record else torch.empty(0, dtype=dtype)
            storages[key] = Storage(elements)
        return Storage(storages[key].elements.view(dtype))

    return unpickle(io.BytesIO(archive.read(f"{root}data.pkl")), storage)


def read_pickle(content: bytes) -> Any:
    """The object of a file of torch.save before 1.6, or of pickle.dump, with the tensors inside."""
    file = io.BytesIO(content)
    first = unpickle(file, _nothing, _storage_of_bytes)
    return _legacy(file, len(content)) if type(first) is int and first == _MAGIC else first


def _legacy(file: io.BytesIO, size: int) -> Any:
    """What follows the magic number: version, machine, object, the keys of storages, the storages."""
    for _ in range(2):
        unpickle(file, _nothing)
    storages: dict[str, Storage] = {}
    taken = 0

    def storage(identity: Any) -> Any:
        nonlocal taken
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]
        dtype, key = _identity(identity)
        if key not in storages:
            count = identity[4]
            if type(count) is not int or not 0 <= count <= size:
                raise ValueError("a storage larger than the file")
            taken += count * dtype.itemsize
            if taken > size:
                raise ValueError("storages larger than the file")
            # Filled below: the elements stand behind the object.
            storages[key] = Storage(torch.empty(count, dtype=dtype))
        elements = storages[key].elements.view(dtype)
        view = identity[5] if len(identity) > 5 else None
        if view is None:
            return Storage(elements)
        _, offset, length = view
        return Storage(elements.narrow(0, offset, length))

    found = unpickle(file, storage)
    keys = unpickle(file, _nothing)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ValueError("storages that do not fit the object")
    for key in map(str, keys):
        elements = storages[key].elements
        count = int.from_bytes(file.read(8), "little")
        data = file.read(elements.nbytes)
        if count != len(elements) or len(data) != elements.nbytes:
            raise ValueError("a storage that ends too early")
        if data:
            elements.copy_(torch.frombuffer(bytearray(data), dtype=elements.dtype))
    return found


def _identity(identity: Any) -> tuple[torch.dtype, str]:
    """Type and key of a storage: ("storage", type, key, location, elements, ...)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ValueError("a persistent id that is none of PyTorch")
    kind, key = identity[1], identity[2]
    if not isinstance(kind, Global) or kind.name not in _STORAGES:
        raise ValueError("a storage of unknown type")
    return _STORAGES[kind.name], str(key)


def _storage_of_bytes(content: Any) -> Any:
    """The storage that a plain pickle holds as the bytes of a file of torch.save."""
    if not isinstance(content, bytes):
        raise TypeError("a storage that is no bytes")
    file = io.BytesIO(content)
    if unpickle(file, _nothing) != _MAGIC:
        raise ValueError("a storage that torch.save did not write")
    found = _legacy(file, len(content))
    if not isinstance(found, Storage):
        raise TypeError("a storage that is none")
    return found


def _nothing(identity: Any) -> Any:
    raise ValueError(f"a persistent id in a plain pickle: {type(identity).__name__}")
