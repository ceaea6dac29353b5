"""The machine code of the library for CPUs: kernels compute with integers, but for the exceptions listed here."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import ivit_onnx
import x86

if platform.machine() not in ("x86_64", "AMD64"):
    pytest.skip("reads machine code of x86-64", allow_module_level=True)
if not x86.find_programs():
    pytest.skip("needs objdump and readelf of binutils", allow_module_level=True)


@dataclass(frozen=True)
class Allowed:
    """A function that may use floating point: part of its name, these instructions, and why the result is exact or
    does not matter."""

    name: str
    instructions: frozenset[str]
    reason: str


_TIMES = {
    *("addsd", "comisd", "cvtsi2sd", "divsd", "mulsd", "subsd", "cvttsd2si", "ucomisd"),
    *("vaddsd", "vcomisd", "vcvtsi2sd", "vdivsd", "vmulsd", "vsubsd", "vcvttsd2si", "vucomisd", "cvtsi2sdq"),
}

#: docs/trust.md has the same list, with proofs.
EXCEPTIONS = (
    Allowed(
        "avx2::layer_norm_rows",
        frozenset({"vaddpd", "vcvtsi2sd", "vcvtsi2sdq", "vcvtsi2sdl", "vcvttpd2dq", "vdivpd", "vmulpd", "vroundpd"}),
        "quotients of integers below 2^53, rounded down: equal to the integer division",
    ),
    Allowed(
        "avx512vnni::attend_window",
        frozenset({"vcvtdq2pd", "vcvttpd2udq", "vcvtusi2sd", "vcvtusi2sdl", "vdivpd"}),
        "an integer of at most 2^31 divided by a sum below 2^31, rounded down: equal to the integer division",
    ),
    *(
        Allowed(name, frozenset(_TIMES | {f"{i}{w}" for i in _TIMES if i.endswith("si2sd") for w in "lq"}), reason)
        for name, reason in (
            ("generic::peak(double)", "how fast this machine multiplies, for ivit-bench: no kernel"),
            ("avx2::peak(double)", "the same"),
            ("avx2::peak_vnni(double)", "the same"),
            ("avx512vnni::peak(double)", "the same"),
            ("Profile::~Profile()", "prints the times of an option for measuring"),
        )
    ),
)


def odd_ones(functions: list[x86.Function]) -> list[str]:
    """Functions that compute with floating point and are none of the exceptions."""
    odd = []
    unused = list(EXCEPTIONS)
    for function in functions:
        found = set(function.floating_point())
        if not found:
            continue
        named = not function.name.startswith("0x")
        matches = [e for e in unused if found <= e.instructions and (not named or e.name in function.name)]
        if matches:
            unused.remove(matches[0])
        else:
            odd.append(f"{function.name}: {', '.join(sorted(found))}")
    return odd


#: The same kernels, beside those of the GPU on the emulator.
UNSTRIPPED = [Path(path) for path in [os.environ.get("IVIT_EMULATED_LIBRARY")] if path]


@pytest.fixture(scope="module")
def functions() -> list[x86.Function]:
    """The functions of the library as it is installed."""
    return x86.dump(Path(ivit_onnx.library_path()))


def test_kernels_compute_in_integers(functions: list[x86.Function]) -> None:
    odd = odd_ones(functions)
    assert not odd, "\n".join(odd)


def test_the_listing_is_whole(functions: list[x86.Function]) -> None:
    """Every variant is in it, and every instruction was understood."""
    assert len(functions) > 300
    names = {name for function in functions for name, _ in function.instructions}
    assert "(bad)" not in names
    assert {"vpdpbusd", "vpmaddwd", "vpermi2b", "imul"} <= names
    operands = [text for function in functions for _, text in function.instructions]
    for register in ("%xmm", "%ymm", "%zmm"):
        assert any(register in text for text in operands)


@pytest.fixture(scope="module")
def named(functions: list[x86.Function]) -> list[x86.Function]:
    """Functions with their names: those of the emulator's library where the installed one has none."""
    for found in (functions, *map(x86.dump, filter(Path.is_file, UNSTRIPPED))):
        if any("avx512vnni::" in function.name for function in found):
            return [function for function in found if not function.name.startswith("0x")]
    return pytest.skip("no library with names was built")


def test_instructions_of_a_variant_stay_in_its_functions(named: list[x86.Function]) -> None:
    """A processor without AVX runs everything else, functions of headers that several variants include among it."""
    variants = {name: [f for f in named if f"{name}::" in f.name] for name in ("avx2", "avx512vnni")}
    assert all(any(map(_beyond_baseline, variant)) for variant in variants.values())
    others = [f for f in named if not any(f"{name}::" in f.name for name in variants)]
    assert not [function.name for function in others if _beyond_baseline(function)]


def _beyond_baseline(function: x86.Function) -> bool:
    return any(name.startswith("v") and "mm" in operands for name, operands in function.instructions)


SOURCE = """
#include <cmath>
extern "C" float product(const float* x, int n) { float s = 0; for (int i = 0; i < n; ++i) s += x[i] * 0.3f; return s; }
extern "C" int scaled(int x) { return static_cast<int>(std::lrint(x * 0.7)); }
extern "C" long double old(long double x) { return x * x; }
extern "C" int integers(const int* x, int n) { int s = 0; for (int i = 0; i < n; ++i) s += x[i] * 3; return s; }
"""


@pytest.mark.parametrize("options", [["-O1"], ["-O3", "-mavx2", "-mfma"], ["-O3", "-march=x86-64-v4"]])
@pytest.mark.parametrize("stripped", [False, True])
def test_floating_point_is_found(tmp_path: Path, options: list[str], stripped: bool) -> None:
    """In a library that has some on purpose, with names and without."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    source, library = tmp_path / "float.cc", tmp_path / "float.so"
    source.write_text(SOURCE)
    flags = ["-shared", "-fPIC", "-ffast-math", *options, *(["-s"] if stripped else [])]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    functions = x86.dump(library)
    assert len(odd_ones(functions)) == 3
    if not stripped:
        assert {line.split(":")[0] for line in odd_ones(functions)} == {"product", "scaled", "old"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("addps", "vaddpd", "mulss", "vdivsd", "vsqrtps", "vfmadd231ps", "vfnmsub132sd")),
        *((name, True) for name in ("cvtsi2sd", "vcvttps2dq", "vcvtdq2pd", "comiss", "vucomisd", "vcmpltps", "maxss")),
        *((name, True) for name in ("vroundpd", "vrndscaleps", "vrcp14ps", "rsqrtps", "haddps", "vdpps", "vaddph")),
        *((name, True) for name in ("fld", "fmul", "fistp", "vdpbf16ps", "vreducepd", "vcvtneps2bf16")),
        *(
            (name, False)
            for name in ("movaps", "vmovupd", "movsd", "xorps", "vandpd", "shufps", "vshuff64x2", "vpdpbusd")
        ),
        *((name, False) for name in ("unpcklps", "vbroadcastss", "vinsertf128", "vpminsd", "pmaxsd", "vpmaxsd", "cdq")),
        *((name, False) for name in ("vpermilps", "vblendps", "vextractf128", "paddd", "imul", "vpmaddwd", "lfence")),
    ],
)
def test_floating_point_by_name(name: str, expected: bool) -> None:
    assert x86.floating_point(name) is expected
