"""What is no checkpoint of PyTorch, told by the first bytes of a file or by the names in an archive: one table each."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["HEAD", "archive_kind", "file_kind"]

#: Bytes to look at: the mark of a tar archive stands at 257.
HEAD = 512

_PYTORCH = "give the PyTorch checkpoint it was made from"
_UNPACK = "unpack it and give the file inside"
_AGAIN = "download the file itself"

#: Pattern of the first bytes, and what such a file is, with what to do. The first match is meant.
_FILES: tuple[tuple[bytes, str], ...] = (
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the file: run `git lfs pull` in its repository"),
    (rb"GGUF", f"is a GGUF model: {_PYTORCH}"),
    (rb"....TFL3", f"is a TensorFlow Lite model: {_PYTORCH}"),
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes: give a PyTorch checkpoint of the same network"),
    (rb"\x93NUMPY", "is a single NumPy array: give a checkpoint with all tensors"),
    (rb"\x1f\x8b", f"is compressed with gzip: {_UNPACK} (gunzip)"),
    (rb"BZh\d1AY", f"is compressed with bzip2: {_UNPACK} (bunzip2)"),
    (rb"\xfd7zXZ\x00", f"is compressed with xz: {_UNPACK} (unxz)"),
    (rb"\x28\xb5\x2f\xfd", f"is compressed with Zstandard: {_UNPACK} (unzstd)"),
    (
        rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP",
        "is an image: give it with --calib, beside a checkpoint",
    ),
    (rb"7z\xbc\xaf\x27\x1c", f"is a 7-Zip archive: {_UNPACK} (7z x)"),
    (rb"Rar!\x1a\x07", f"is a RAR archive: {_UNPACK} (unrar x)"),
    (rb".{257}ustar", f"is a tar archive: {_UNPACK} (tar xf)"),
    (rb"[\x81-\x8f\xde\xdf].{0,4}[\xa1-\xbf\xd9][ -~]", "is a Flax (msgpack) file: give a PyTorch checkpoint"),
    (rb"\s*(?i:<!doctype html|<html)", f"is a web page, not a checkpoint: {_AGAIN}"),
    (rb"\s*<(\?xml|Error)", f"is XML, as servers send for an error: {_AGAIN}"),
    # Protocol buffers have no mark: the version of ONNX, then a producer, a version or a graph.
    (rb"\x08[\x01-\x1f](\x12[\x00-\x40][ -~]*|[\x1a\x22\x3a\x42\x28])", f"is an ONNX model: {_PYTORCH}"),
    (rb"\x08\x01\x12", f"is a SavedModel of TensorFlow: {_PYTORCH}"),
    (rb'\s*\{.*"weight_map"', "is the index of a model in parts: give the folder that holds it and them"),
    (rb"\s*[\[{]", "is JSON text: give the file of the weights"),
    (rb"[\t\r\n -~]{16,}", "is text, not a checkpoint"),
)

#: Pattern of a name in a zip archive, and what an archive with such a file is.
_ARCHIVES: tuple[tuple[str, str], ...] = (
    (
        r"(^|/)(archive_format|serialized_exported_program\.json|models/\w+\.json)$",
        "is a program of torch.export: give the checkpoint it was made from (torch.save(model.state_dict(), path))",
    ),
    (r"^(model\.weights\.h5|keras_metadata.*)$", "is a Keras model: give a PyTorch checkpoint of the same network"),
    (r"^(.*/)?saved_model\.pb$", f"holds a SavedModel of TensorFlow: {_PYTORCH}"),
    (r"^(.*/)?(bytecode\.pkl|.*\.ptl)$", f"is a program of PyTorch Mobile: {_PYTORCH}"),
    (r"\.(pth|pt|bin|ckpt|safetensors|tar|onnx)$", f"is a zip archive of other files: {_UNPACK} (unzip)"),
)


def file_kind(head: bytes) -> str | None:
    """What a file is that begins so, as a sentence that follows its name; None where the bytes tell nothing."""
    return next((kind for mark, kind in _FILES if re.match(mark, head, re.DOTALL)), None)


def archive_kind(names: Iterable[str]) -> str | None:
    """What a zip archive with these names is, if it is not one of torch.save; None where the names tell nothing."""
    listed = list(names)
    found = (kind for mark, kind in _ARCHIVES if any(re.search(mark, name) for name in listed))
    return next(found, None)
