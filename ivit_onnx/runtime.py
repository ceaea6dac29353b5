"""Sessions of ONNX Runtime with the kernels of this package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ivit_onnx
from ivit_onnx.errors import IvitError, MissingExtraError, ModelError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["create_session", "library_path"]

LIBRARY = "lib/libivit_ort.so"


def library_path() -> str:
    """Path of the custom-operator library, for `onnxruntime.SessionOptions.register_custom_ops_library`.

    Raises:
        IvitError: The package was installed without its native library.
    """
    # In an editable installation the package has several folders, the built library in one of its own.
    candidates = [Path(folder) / LIBRARY for folder in ivit_onnx.__path__]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    searched = ", ".join(str(candidate) for candidate in candidates)
    raise IvitError(f"the native library of ivit-onnx is missing (looked for {searched}); install the package again")


def create_session(
    path: str | os.PathLike[str],
    providers: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
    kernels: bool = True,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session for a model that `export` wrote.

    Args:
        path: The model file.
        providers: Execution providers in order of preference; the CPU provider by default.
        threads: Threads of the session's pool; by default one per core.
        session_options: Options to start from; the kernel library is added to them.
        kernels: False runs the integer operators of the file's own functions: slow, the same integers.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ModelError: The file is missing, damaged, or rejected by ONNX Runtime or by a kernel.
    """
    ort = _onnxruntime()
    if not Path(path).is_file():
        raise ModelError(f"{os.fspath(path)}: no such model file")
    options = ort.SessionOptions() if session_options is None else session_options
    if threads is not None:
        options.intra_op_num_threads = threads
    if kernels:
        options.register_custom_ops_library(library_path())
    try:
        session: onnxruntime.InferenceSession = ort.InferenceSession(
            os.fspath(path), options, providers=list(providers or ["CPUExecutionProvider"])
        )
        return session
    except Exception as error:  # ONNX Runtime has one exception type for each status, without a common base
        if not type(error).__module__.startswith("onnxruntime."):
            raise
        raise ModelError(f"{os.fspath(path)} cannot be loaded: {' '.join(str(error).split())}") from error


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingExtraError(
            "ONNX Runtime is not installed; pip install 'ivit-onnx[cpu]' (or 'ivit-onnx[gpu]') brings it"
        ) from None
    return onnxruntime
