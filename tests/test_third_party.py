"""Every header of others that was compiled belongs to a component that THIRD_PARTY.md names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")

#: How the path of a header tells its component, in this order; None is the C library, Linux and ourselves.
OWNERS = {
    rf"^{re.escape(str(ROOT))}/(custom_ops|cmake|build/[^/]+/(manylinux|generated))/": None,
    r"/onnxruntime_(ep_)?c_api\.h$": "onnxruntime",
    r"/(cutlass|cute)/": "cutlass",
    r"/cccl/": "cccl",
    r"/(cuda|cu13)[^/]*/(.*/)?include/": "cuda-runtime",
    r"/c\+\+/\d+|/gcc/": "gcc-libstdc++",
    r"^/usr/include/": None,
}


def builds() -> list[Path]:
    """Of what is given away, or links the same: not those with sanitizers, which other compilers make too."""
    folders = [file.parent for file in sorted((ROOT / "build").glob("*/.ninja_deps"))]
    return [folder for folder in folders if not folder.name.startswith("sanitize-")]


def headers(build: Path) -> set[str]:
    """What the compiler read for the objects of a build, as ninja remembers it."""
    beside = Path(sys.executable).with_name("ninja")
    ninja = str(beside) if beside.exists() else shutil.which("ninja")
    if ninja is None:
        pytest.skip("ninja is not installed")
    done = subprocess.run([ninja, "-C", str(build), "-t", "deps"], capture_output=True, text=True, check=True)
    lines = (line.strip() for line in done.stdout.splitlines() if line.startswith(" "))
    return {os.path.normpath(build / line) for line in lines}


def owner(header: str) -> str | None:
    """The component that a header belongs to.

    Raises:
        LookupError: None of the components.
    """
    for pattern, component in OWNERS.items():
        if re.search(pattern, header):
            return component
    raise LookupError(
        f"{header} belongs to no component: name its component in THIRD_PARTY.md, and here how to tell it"
    )


@pytest.mark.skipif(not builds(), reason="nothing was built here")
def test_every_compiled_header_has_an_owner_on_the_page() -> None:
    found = {component for build in builds() for header in headers(build) if (component := owner(header))}
    named = set(re.findall(r"^\| ([a-z][\w+-]*) \|", PAGE, re.MULTILINE)) - {"component"}
    assert {"onnxruntime", "gcc-libstdc++"} <= found <= named
    assert named == {component for component in OWNERS.values() if component}


def test_an_unknown_header_is_found() -> None:
    assert owner("/usr/include/stdio.h") is None
    assert owner("/opt/toolkit/cu13/include/crt/host_defines.h") == "cuda-runtime"
    with pytest.raises(LookupError, match="belongs to no component"):
        owner("/usr/local/include/boost/any.hpp")
