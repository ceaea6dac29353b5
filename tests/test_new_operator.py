"""An operator is added in nine files of its own and the version of the domain, and no list anywhere names it.

The recipe of CONTRIBUTING.md, followed with tests/toy_operator/files: a copy of the source tree gets them, what is
generated is generated, the library is built, and the tests of all operators are those of this one too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ivit_onnx.opset_version import OPSET_VERSION
from recipes import ROOT, recipe
from test_new_family import PLACES, REGISTRY

TOY = Path(__file__).parent / "toy_operator"
FILES = TOY / "files"
#: What the tests of operators need of the tree.
NEEDED = ("ivit_onnx", "exporters", "custom_ops", "cmake", "docs", "tests", "benchmarks/checkpoints")
GENERATED = {
    "operators_page": "docs/operators.md",
    "contracts": "custom_ops/ort/contracts.h",
    "patterns": "custom_ops/ep/flat/patterns.inc",
    "definitions": "tests/data/definitions.json",
}
#: Tests of operators, each with what is compared.
TESTS = {
    "test_opset.py": "in_onnxruntime in_the_reference_evaluator model_passes_the_checker",
    "test_quant_operators.py": "torch_equals_reference",
    "test_kernels.py": "kernel_equals_reference empty_batch",
    "test_kernel_errors.py": "",
    "test_provider.py": "compiles_every_operator",
    "test_provider_flat.py": "every_operator_is_found table_is_made_from_the_function_bodies",
    "test_proof.py": "every_intermediate_is_in_its_range",
    "test_contracts.py": "header_is_current records_describe_calls records_name_what_functions_take",
    "test_docs.py": "operators_page_is_current operators_page_describes_every_operator",
    "test_opset_version.py": "a_name_of_the_domain_never_changes_its_meaning",
}
SELECTED = (
    "(IntTokenMax and not gpu) or page_is_current or header_is_current or table_is_made or describes_every "
    "or never_changes"
)
#: In the twin of the toy family, so that its network has the operator.
POOLING = {
    ", TokenMean\n": "\nfrom ivit_onnx.quant.token_max import TokenMax\n",
    "TokenMean()": "TokenMax()",
    "self.norm(x).mean(1)": "self.norm(x).amax(1)",
}
#: With IVIT_TOY_EMULATOR=1 the GPU's kernels are built for the emulator and tested too, which takes a minute more.
EMULATOR = bool(os.environ.get("IVIT_TOY_EMULATOR"))
if EMULATOR:
    TESTS["test_cuda_kernels.py"] = "kernel_equals_reference empty_batch"
#: Where programs are looked for: beside Python first.
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def added() -> list[str]:
    return sorted(str(path.relative_to(FILES)) for path in FILES.rglob("*.*") if "__pycache__" not in path.parts)


def test_the_files_are_those_of_the_recipe() -> None:
    rows = {file.replace("token_mean", "token_max") for file, _ in recipe("operator")}
    assert {*added(), "ivit_onnx/opset_version.py"} == rows
    assert len(rows) == 10
    assert not [file for file in added() if (ROOT / file).exists()]


def replace(path: Path, changes: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def tree_with_the_toy(tree: Path) -> None:
    """A copy of the source tree that the files are added to; the package finds its other parts there, too."""
    ignored = shutil.ignore_patterns("__pycache__", "images", "lib", "exporters")
    for name in NEEDED:
        shutil.copytree(ROOT / name, tree / name, ignore=ignored if "/" not in name else None)
    for file in ("CMakeLists.txt", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, tree)
    shutil.copytree(FILES, tree, dirs_exist_ok=True)
    (tree / "ivit_onnx" / "exporters").symlink_to(tree / "exporters")
    (tree / "ivit_onnx" / "lib").mkdir()
    (tree / "ivit_onnx" / "lib" / "libivit_ort.so").symlink_to(tree / "build" / "libivit_ort.so")
    version = {f"\nOPSET_VERSION = {OPSET_VERSION}\n": f"\nOPSET_VERSION = {OPSET_VERSION + 1}\n"}
    replace(tree / "ivit_onnx" / "opset_version.py", version)


def call(tree: Path, *command: str | Path, timeout: int = 300) -> str:
    """What a command prints in the tree, with its package and its tests; it has to succeed."""
    paths = [tree, tree / "tests", tree / "benchmarks" / "checkpoints"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONSAFEPATH": "1", "PATH": TOOLS}
    environment = {name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "IVIT_"))}
    if EMULATOR:
        environment["IVIT_EMULATED_LIBRARY"] = str(tree / "build" / "libivit_cuda_emulated.so")
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def generate(tree: Path) -> None:
    """As `make docs` does it, in one process; the rest of a page must stay as it is."""
    modules = [f"ivit_onnx.opset.generators.{module}" for module in GENERATED]
    call(tree, sys.executable, "-c", f"from importlib import import_module as i\nfor m in {modules}: i(m).main([])")
    for file in GENERATED.values():
        before, after = ((root / file).read_text(encoding="utf-8").splitlines() for root in (ROOT, tree))
        changed = [line for line in before if line not in after]
        assert len(changed) <= 2, f"{file} changed more than what is new: {changed}"
        assert any("IntTokenMax" in line for line in after)


def build(tree: Path) -> None:
    """The library, quickly: not optimised, kernels in plain C++ only. Of the GPU's part, what is new is compiled."""
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-O0 -g0", "-DIVIT_CUDA=OFF", "-DIVIT_EMULATOR=ON"]
    options += ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=generic"]
    call(tree, "cmake", "-S", ".", "-B", "build", "-G", "Ninja", *options)
    gpu = [f"{tree / file}^" for file in added() if "/cuda/" in file and not file.endswith(".h")]
    assert len(gpu) == 2
    call(tree, "ninja", "-C", "build", "ivit_ort", *(["ivit_cuda_emulated"] if EMULATOR else gpu), timeout=900)


def passed(tree: Path) -> dict[str, set[str]]:
    """The tests that are selected, by file, all of which have passed."""
    files = [f"tests/{file}" for file in TESTS]
    options = ["-q", "-p", "no:cacheprovider", "-k", SELECTED, "--junitxml=results.xml"]
    call(tree, sys.executable, "-m", "pytest", *options, *files)
    found: dict[str, set[str]] = {file: set() for file in TESTS}
    for case in ET.parse(tree / "results.xml").iter("testcase"):
        assert len(case) == 0, f"{case.get('name')} was skipped"
        file, name = case.get("classname", "").split(".")[1], case.get("name", "")
        found[f"{file}.py"].add(name.removeprefix("test_").split("[")[0])
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    not all(shutil.which(tool, path=TOOLS) for tool in ("cmake", "ninja")),
    reason="building needs cmake and ninja, which make test installs",
)
def test_an_operator_that_follows_the_recipe(tmp_path: Path) -> None:
    """Body, numpy, PyTorch, kernel and provider agree, by the tests that all operators have; and so in a network."""
    tree_with_the_toy(tmp_path)
    generate(tmp_path)
    build(tmp_path)
    found = passed(tmp_path)
    for file, names in TESTS.items():
        assert found[file] >= set(names.split()), file
    assert found["test_kernel_errors.py"]

    for file, place in PLACES.items():
        shutil.copy(tmp_path / "tests" / "toy_family" / file, tmp_path / "ivit_onnx" / place / "toy.py")
    replace(tmp_path / "ivit_onnx" / "architectures" / "families.py", REGISTRY)
    replace(tmp_path / "ivit_onnx" / "models" / "toy.py", POOLING)
    call(tmp_path, sys.executable, TOY / "uses.py", tmp_path)
    network = json.loads((tmp_path / "found.json").read_text())
    assert network == {"differ": [], "constant": False, "pooling": ["IntTokenMax"]}
