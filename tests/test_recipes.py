"""The recipes of CONTRIBUTING.md: what they name is there, nothing is left out, and following one is enough."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import ivit_onnx
from ivit_onnx.range_methods import METHODS

pytest.importorskip("torch", reason="exporting needs the extra export")

from commands import MICRO, MICRO_OPTIONS
from recipes import PAGE, ROOT, recipe, table

GENERATED = {"custom_ops/ort/contracts.h", "custom_ops/ep/flat/patterns.inc", "tests/data/definitions.json"}


def mentioning(pattern: str, *places: str) -> set[str]:
    """Sources in these files and folders whose text or path matches."""
    files = [file for place in places for file in ([ROOT / place] if "." in place else (ROOT / place).rglob("*.*"))]
    sources = [file for file in files if file.suffix in (".py", ".h", ".cc", ".cu", ".cmake", ".inc", ".json", ".txt")]
    names = {file.relative_to(ROOT).as_posix(): file for file in sources}
    return {name for name, file in names.items() if re.search(pattern, f"{name}\n{file.read_text(encoding='utf-8')}")}


@pytest.mark.parametrize("name", ["operator", "family", "instruction set", "calibration method"])
def test_what_a_recipe_names_is_there(name: str) -> None:
    rows = recipe(name)
    assert len(rows) == len(re.findall(r"^\| `", table(name), re.MULTILINE)) >= 4
    for file, text in rows:
        assert text in (ROOT / file).read_text(encoding="utf-8"), f"{file} lacks {text}"


def test_the_recipe_of_an_operator_leaves_nothing_out() -> None:
    found = mentioning(
        r"int_token_mean\b|\bIntTokenMean",
        *("ivit_onnx", "exporters", "custom_ops", "cmake", "CMakeLists.txt", "tests/cases", "tests/data"),
    )
    assert found - GENERATED == {file for file, _ in recipe("operator")} - {"ivit_onnx/opset_version.py"}


def test_the_recipe_of_an_instruction_set_leaves_nothing_out() -> None:
    """Outside of its folder, in which one may cut files as one likes."""
    folder = "custom_ops/kernels/cpu/x86/avx2/"
    found = mentioning(r"avx2", "ivit_onnx", "custom_ops", "cmake", "CMakeLists.txt", "tests/test_cpu_code.py")
    assert {file for file in found if not file.startswith(folder) and "/avx512" not in file} == {
        file for file, _ in recipe("instruction set") if not file.startswith(folder)
    }


def test_every_calibration_method_is_documented() -> None:
    usage = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    row = re.search(r"^\| `--calib-method` \|(.*)$", usage, re.MULTILINE)
    assert row is not None
    assert re.findall(r"`(\w+)`", row[1]) == list(METHODS)
    accuracy = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    equations = accuracy.split(" Methods, for values")[1].split("\n\n16-bit")[0]
    assert re.findall(r"^\* `(\w+)`: ", equations, re.MULTILINE) == list(METHODS)


FOLLOWED = """
import json, sys
from ivit_onnx.cli import export_main
from ivit_onnx.calibration import apply_calibration, collect_statistics
from networks import images, uncalibrated_twin

shown = export_main(["--help"])
exported = export_main(sys.argv[1:])
twin = uncalibrated_twin()
seen = collect_statistics(twin, iter(images(4)), "fingerprint")
scales = {}
for method in ("minmax", "half"):
    twin = uncalibrated_twin()
    apply_calibration(twin, seen, method)
    scales[method] = {name: float(point.scale) for name, point in twin.activations().items() if point.bits == 8}
print(json.dumps([shown, exported, scales]))
"""


def test_a_calibration_method_that_follows_the_recipe(tmp_path: Path) -> None:
    """In the help of the command, in an exported file, and in its ranges, which are half as wide."""
    block = re.search(r"^```python\n(@method\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    copy = tmp_path / "ivit_onnx"
    link(Path(ivit_onnx.__file__).parent, copy)
    source = (copy / "range_methods.py").read_text(encoding="utf-8")
    (copy / "range_methods.py").unlink()
    above = "# The choices are those"
    assert source.count(above) == 1
    (copy / "range_methods.py").write_text(source.replace(above, f"{block[1]}\n\n{above}"), encoding="utf-8")

    output = tmp_path / "half.onnx"
    options = ["--calib-method", "half", "--calib-preset", "fast", "--calib-images", "2", "--json", *MICRO_OPTIONS]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", FOLLOWED, str(MICRO), "-o", str(output), *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    text, _, last = done.stdout.rstrip().rpartition("\n")
    shown, exported, scales = json.loads(last)
    assert (shown, exported) == (0, 0), done.stderr
    help_page, _, report = text.partition("\n{")
    assert f"<{'|'.join([*METHODS, 'half'])}>" in help_page
    summary: dict[str, Any] = json.loads("{" + report)
    assert summary["calibration"]["method"] == "half"
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    assert json.loads(metadata["ivit.calibration"])["method"] == "half"
    halves = [name for name, scale in scales["half"].items() if scale == pytest.approx(scales["minmax"][name] / 2)]
    assert len(halves) > 3


def link(package: Path, copy: Path) -> None:
    """The package as links to its files, the library too; links are followed, as editable installations have some."""
    for folder, _, files in os.walk(package, followlinks=True):
        if "__pycache__" in folder:
            continue
        target = copy / Path(folder).relative_to(package)
        target.mkdir(parents=True)
        for file in files:
            (target / file).symlink_to(Path(folder) / file)
