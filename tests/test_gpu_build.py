"""A library that was built with CUDA: what it needs, how large it is, and what its machine code computes with.

No GPU takes part. `IVIT_CUDA_LIBRARY` names the library; without it only the reading of listings is tested.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import sass
from cases import random_case
from graphs import single_operator_model
from sessions import expected

VARIABLE = "IVIT_CUDA_LIBRARY"
#: Bytes of the library: with the two architectures of the default, and with all.
LARGEST, LARGEST_OF_ALL = 8_000_000, 11_000_000

OURS = "_ZN4ivit4cuda"  # how names of the namespace ivit::cuda begin

#: The instruction that multiplies int8 matrices on tensor cores, by architecture.
TENSOR_CORE = {"sm_75": "IMMA", "sm_80": "IMMA", "sm_90a": "IGMMA", "sm_100": "IMMA", "sm_120": "IMMA"}

#: How the compiler divides integers by a divisor that it does not know: the divisor as a float, an estimate of its
#: reciprocal, back to an integer, and from there on integer arithmetic that corrects the quotient until it is exact.
#: Kernels divide positions by sizes (the channel of an element, the image of a token), and IntLayerNorm and Shiftmax
#: divide values, as their definitions say. Each division has one of each.
DIVISION = (
    {"I2F.RP", "I2F.U32.RP", "I2F.U64.RP", "UI2F.U32.RP"},
    {"MUFU.RCP"},
    {"F2I.FTZ.U32.TRUNC.NTZ", "UF2I.FTZ.U32.TRUNC.NTZ", "F2I.U64.TRUNC"},
)

#: How the compiler reads a block's place in its cluster, on Hopper in kernels of CUTLASS: the block's number times the
#: reciprocal of the cluster's size, which the driver puts among the kernel's constants.
CLUSTER = ({"I2FP.F32.U32"}, {"FMUL"}, {"F2I.U32.TRUNC.NTZ"})
CLUSTER_SIZE = re.compile(r"c\[0x0\]\[0x15[048]\]")

#: Runs in a process of its own: a session with the library on the CPU.
SCRIPT = """
import sys
import numpy as np
import onnxruntime
model, library, folder = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(library)
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
inputs = {value.name: np.load(f"{folder}/{value.name}.npy") for value in session.get_inputs()}
np.save(f"{folder}/output.npy", session.run(None, inputs)[0])
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """The library under test."""
    path = Path(os.environ.get(VARIABLE, ""))
    if not path.is_file():
        pytest.skip(f"{VARIABLE} names no library that was built with CUDA")
    return path.resolve()


@pytest.fixture(scope="module")
def functions(library: Path) -> list[sass.Function]:
    """All kernels of the library."""
    program = sass.find_cuobjdump()
    if program is None:
        pytest.skip("there is no cuobjdump: neither on PATH nor in the package triton")
    found = list(sass.dump(program, library))
    assert found
    return found


@pytest.mark.parametrize("devices", [None, "-1"], ids=["as-it-is", "none-visible"])
def test_the_library_runs_on_the_cpu_without_a_driver(library: Path, tmp_path: Path, devices: str | None) -> None:
    case = random_case("IntAttention", np.random.default_rng(0))
    onnx.save(single_operator_model(case, functions=False), tmp_path / "model.onnx")
    for name, array in case.inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    if devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = devices
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.onnx"), str(library), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "output.npy"), expected(case), strict=True)


def test_the_library_links_no_cuda(library: Path) -> None:
    """Neither the driver nor a run-time: both would have to be there when it is loaded."""
    needed = subprocess.run(["readelf", "--dynamic", str(library)], check=True, capture_output=True, text=True).stdout
    names = [line.split("[")[1].rstrip("]") for line in needed.splitlines() if "(NEEDED)" in line]
    assert names
    assert not [name for name in names if "cuda" in name or "nv" in name]


def test_the_library_is_small(library: Path, functions: list[sass.Function]) -> None:
    few = len({function.architecture for function in functions}) <= 2
    assert library.stat().st_size <= (LARGEST if few else LARGEST_OF_ALL)


@pytest.mark.parametrize("architecture", TENSOR_CORE)
def test_products_are_made_on_tensor_cores(functions: list[sass.Function], architecture: str) -> None:
    built = [function for function in functions if function.architecture == architecture]
    if not built:
        pytest.skip(f"the library was not built for {architecture}")
    wanted = TENSOR_CORE[architecture]
    if wanted == "IGMMA" and not any("cutlass" in function.name for function in built):
        pytest.skip("the library was built without CUTLASS, of which the products for Hopper are made")
    assert wanted in {name for function in built for name in sass.tensor_core(function)}


def test_kernels_compute_in_integers(functions: list[sass.Function]) -> None:
    """All kernels of the library, those that are made of CUTLASS too."""
    assert any(function.name.startswith(OURS) for function in functions)
    findings = {
        f"{function.architecture} {function.name}: {text}" for function in functions for text in odd_ones(function)
    }
    assert not findings, "\n".join(sorted(findings))


def odd_ones(function: sass.Function) -> list[str]:
    """The floating-point instructions of a kernel that belong to none of the sequences above."""
    found = [instruction for instruction in function.instructions if sass.floating_point(instruction)]
    odd = [str(entry) for entry in found if not any(entry.full_name in step for step in (*DIVISION, *CLUSTER))]
    for sequence in (DIVISION, CLUSTER):
        counts = [sum(entry.full_name in step for entry in found) for step in sequence]
        if len(set(counts)) > 1:
            odd.append(f"incomplete: {counts} of {sequence}")
    factors = [entry for entry in found if entry.name == "FMUL"]
    loads = sum(entry.name == "ULDC" and bool(CLUSTER_SIZE.search(entry.operands)) for entry in function.instructions)
    if factors and not loads:
        odd += [f"{entry}, which is no cluster size" for entry in factors]
    return odd + [str(entry) for entry in factors if not entry.operands.split(", ")[-1].startswith("UR")]


# -- the reading of listings

LISTING = """
Fatbin elf code:
================
arch = sm_80
\tcode for sm_80
\t.target\tsm_80
\t\tFunction : _ZN4ivit4cuda4gemmEv
\t.headerflags\t@"EF_CUDA_SM80 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM80)"
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;      /* 0x00000a00ff017624 */
                                                                                /* 0x000fe400078e00ff */
        /*0010*/               @!P0 IMMA.16832.S8.S8 R4, R8.ROW, R2.COL, R4 ;   /* 0x0000000208047237 */
        /*0020*/                   HFMA2.MMA R5, -RZ, RZ, 0, 5.9604644775390625e-08 ; /* 0x00000001ff057435 */
        /*0030*/               @P1 EXIT ;                                       /* 0x000000000000194d */
\t\t..........

\t\tFunction : _ZN4ivit4cuda19requantize_elementsIiEEvv
        /*0000*/                   MUFU.RCP R3, R3 ;                            /* 0x0000000300037308 */
        /*0010*/              @UP0 UIADD3 UR4, UR4, 0x1, URZ ;                  /* 0x0000000104047890 */
        /*0020*/                   HFMA2 R5, R6, R7, R8 ;                       /* 0x0000000706057231 */
        /*0030*/                   I2F.U32.RP R5, R4 ;                          /* 0x0000000400057306 */
        /*0040*/                   F2I.FTZ.U32.TRUNC.NTZ R6, R5 ;               /* 0x0000000500067305 */
\tcode for sm_90a
\t\tFunction : _ZN4ivit4cuda4gemmEv
        /*0000*/                   IGMMA.64x64x32.S8.S8 R24, gdesc[UR4], R24, !UPT ; /* 0x0060000004187df1 */
        /*0010*/                   FADD R1, R2, R3 ;                            /* 0x0000000302017221 */
"""


def test_listings_are_read() -> None:
    first, second, third = sass.parse(LISTING)
    assert (first.architecture, first.name) == ("sm_80", "_ZN4ivit4cuda4gemmEv")
    assert [entry.name for entry in first.instructions] == ["IMAD", "IMMA", "HFMA2", "EXIT"]
    assert str(first.instructions[1]) == "IMMA.16832.S8.S8 R4, R8.ROW, R2.COL, R4"
    assert sass.tensor_core(first) == {"IMMA"}
    assert not any(map(sass.floating_point, first.instructions))
    assert [entry.name for entry in second.instructions if sass.floating_point(entry)] == [
        "MUFU",
        "HFMA2",
        "I2F",
        "F2I",
    ]
    assert odd_ones(first) == []
    assert odd_ones(second) == ["HFMA2 R5, R6, R7, R8"]
    del second.instructions[0]
    assert odd_ones(second)[0] == "HFMA2 R5, R6, R7, R8"
    assert odd_ones(second)[1].startswith("incomplete: [1, 0, 1]")
    assert (third.architecture, sass.tensor_core(third)) == ("sm_90a", {"IGMMA"})
    assert odd_ones(third) == ["FADD R1, R2, R3"]


CLUSTERED = """
\tcode for sm_90a
\t\tFunction : _ZN7cutlass13device_kernelEv
        /*0020*/                   ULDC UR5, c[0x0][0x150] ;     /* 0x0000540000057ab9 */
        /*0050*/                   I2FP.F32.U32 R0, UR4 ;        /* 0x0000000400007c45 */
        /*0060*/                   FMUL R0, R0, UR5 ;            /* 0x0000000500007c20 */
        /*0070*/                   F2I.U32.TRUNC.NTZ R0, R0 ;    /* 0x0000000000007305 */
"""


@pytest.mark.parametrize(
    ("old", "new", "odd"),
    [
        ("", "", []),
        ("c[0x0][0x150]", "c[0x0][0x210]", ["FMUL R0, R0, UR5, which is no cluster size"]),
        ("FMUL R0, R0, UR5", "FMUL R0, R0, R5", ["FMUL R0, R0, R5"]),
        ("FMUL R0, R0, UR5", "FADD R0, R0, R5", ["FADD R0, R0, R5", "incomplete: [1, 0, 1]"]),
    ],
)
def test_places_in_clusters_are_no_arithmetic(old: str, new: str, odd: list[str]) -> None:
    (function,) = sass.parse(CLUSTERED.replace(old, new))
    assert [found.split(" of (")[0] for found in odd_ones(function)] == odd


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("FADD", "FMUL", "FFMA", "DADD", "DFMA", "HMMA", "HGMMA", "QGMMA", "MUFU", "I2F")),
        *((name, True) for name in ("I2FP", "F2I", "F2F", "F2FP", "FSETP", "HADD2", "FRND", "UFADD", "UI2F", "DMMA")),
        *((name, False) for name in ("IMAD", "IMMA", "IGMMA", "IADD3", "I2I", "I2IP", "IDP", "LDGSTS", "UTMALDG")),
        *((name, False) for name in ("DEPBAR", "FLO", "UFLO", "PRMT", "SHF", "LOP3", "VIADD", "FENCE", "HFMA")),
    ],
)
def test_floating_point_by_name(name: str, expected: bool) -> None:
    assert sass.floating_point(sass.Instruction(name, "", "R0, R1, R2")) is expected
