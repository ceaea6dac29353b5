"""Vision transformers with integers only, bit-exact in ONNX Runtime.

The public names below are imported when they are first used: running a model needs neither PyTorch nor the onnx
package, and exporting one does not need ONNX Runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ivit_onnx._version import __version__
from ivit_onnx.errors import MissingExtraError

if TYPE_CHECKING:
    from ivit_onnx.api import calibrate, export
    from ivit_onnx.runtime import create_session, library_path, register

__all__ = ["__version__", "calibrate", "create_session", "export", "library_path", "register"]

_MODULES = {
    "calibrate": "ivit_onnx.api",
    "export": "ivit_onnx.api",
    "create_session": "ivit_onnx.runtime",
    "library_path": "ivit_onnx.runtime",
    "register": "ivit_onnx.runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__:
            raise
        raise MissingExtraError(
            f"ivit_onnx.{name} needs the package {error.name}: pip install 'ivit-onnx[export]' brings it"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
