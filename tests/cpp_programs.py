"""Small C++ programs for tests, built against the ONNX Runtime of the Python package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import onnxruntime
import pytest


def headers_of_the_build() -> str:
    """Where the build found ONNX Runtime's headers."""
    cache = Path(os.environ.get("IVIT_EMULATED_LIBRARY", "")).parent / "CMakeCache.txt"
    if not cache.is_file() or shutil.which("cmake") is None:
        pytest.skip("IVIT_EMULATED_LIBRARY names no library of a build; make test builds one")
    text = cache.read_text()
    for name in ("ONNXRUNTIME_INCLUDE_DIR:PATH", "IVIT_HEADER_CACHE:PATH"):
        found = re.search(rf"^{name}=(.+)$", text, re.MULTILINE)
        if found and (Path(found[1]) / "onnxruntime_cxx_api.h").is_file():
            return found[1]
    return pytest.skip("the build's headers are in a place of the system")


def build(source: Path, folder: Path) -> None:
    """Builds the CMake project in `source`, which takes the headers and the library as examples/cpp does."""
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    given = [f"-DONNXRUNTIME_INCLUDE_DIR={headers_of_the_build()}", f"-DONNXRUNTIME_LIBRARY={library}"]
    subprocess.run(["cmake", "-S", source, "-B", folder, *given], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder], check=True, capture_output=True)
