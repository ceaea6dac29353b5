"""A family of networks is added in four files: its architecture, its reader, its twin, and one line of the registry.

The recipe of CONTRIBUTING.md, followed with tests/toy_family: a copy of the package gets the files, and everything that
is done with a network works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ivit_onnx

TOY = Path(__file__).parent / "toy_family"
#: Where the files of a family go.
PLACES = {"architecture.py": "architectures", "reader.py": "checkpoints", "twin.py": "models"}
#: The one change to a file that is there.
REGISTRY = {
    "from ivit_onnx.architectures import swin, vit": "from ivit_onnx.architectures import swin, toy, vit",
    "(vit.FAMILY, swin.FAMILY)": "(vit.FAMILY, swin.FAMILY, toy.FAMILY)",
}


def link_all(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name != "__pycache__" and not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and the toy family in it."""
    root = tmp_path_factory.mktemp("package")
    target = root / "ivit_onnx"
    for part in map(Path, ivit_onnx.__path__):
        for place in PLACES.values():
            if (part / place).is_dir():
                target.mkdir(exist_ok=True)
                link_all(part / place, target / place)
        link_all(part, target)
    registry = target / "architectures" / "families.py"
    text = registry.read_text()
    registry.unlink()
    for old, new in REGISTRY.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    registry.write_text(text)
    for file, place in PLACES.items():
        (target / place / "toy.py").write_text((TOY / file).read_text())
    return root


@pytest.fixture(scope="module")
def found(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/toy_family/uses.py found."""
    folder = tmp_path_factory.mktemp("toy")
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, "-P", TOY / "uses.py", folder],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return result


def test_four_files_are_touched(package: Path) -> None:
    own = [path for path in (package / "ivit_onnx").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sorted(str(path.relative_to(package / "ivit_onnx")) for path in own if path.suffix == ".py") == [
        "architectures/families.py",
        "architectures/toy.py",
        "checkpoints/toy.py",
        "models/toy.py",
    ]


def test_its_record_needs_no_torch(package: Path) -> None:
    code = "import sys; from ivit_onnx.architectures import KNOWN; print('toy_tiny' in KNOWN, 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "False"]


def test_its_networks_are_read_exported_and_run(found: dict[str, Any]) -> None:
    assert found["read"]
    assert found["described"]
    assert found["equal"]
    assert found["error"] < 0.01
    assert found["reference_ivit"] == "not supported yet: scales of the reference I-ViT code for a toy network"


def test_its_costs_are_known(found: dict[str, Any]) -> None:
    tokens, width, hidden = 16, 32, 64
    block = tokens * (width * 3 * width + width * width + 2 * width * hidden)
    assert found["macs"] == [tokens * 3 * 8 * 8 * width + 2 * block + width * 7, 2 * 2 * tokens * tokens * width]
    assert found["cases"] == [*["IntLinear"] * 4, "IntDeferredAttention", "IntTokenMlpAdd", "IntLayerNorm"]


def test_its_blocks_say_what_is_in_them(found: dict[str, Any]) -> None:
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    blocks = ("blocks.0", "blocks.1")
    assert found["sites"] == {
        "linear": [*(f"{block}.{layer}" for block in blocks for layer in layers), "head"],
        "mlp": [f"{block}.mlp" for block in blocks],
    }
    # What one normalisation makes is read by two layers of a block: it is not changed for one of them.
    assert found["norms"] == [*[""] * 8, "norm"]
