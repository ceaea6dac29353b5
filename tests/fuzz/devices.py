"""Sessions on an NVIDIA GPU, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ivit_onnx
from ivit_onnx.runtime import DEVICES


def cuda_session(path: Path) -> Any:
    """A session of the CUDA provider with this package's kernels."""
    return ivit_onnx.create_session(path, DEVICES["cuda"])
