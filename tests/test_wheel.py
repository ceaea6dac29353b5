"""What is in the wheel: the library, the package as it is in the source tree, licences and a bill of materials.

Takes the wheel that IVIT_WHEEL names, or the one that `make test` built.
"""

from __future__ import annotations

import ctypes
import email
import json
import os
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "ivit_onnx/lib/libivit_ort.so"
#: Where the wheel puts the folders of the source tree.
FOLDERS = {"ivit_onnx": "ivit_onnx", "exporters": "ivit_onnx/exporters"}


def wheels() -> list[Path]:
    named = os.environ.get("IVIT_WHEEL")
    return [Path(named)] if named else sorted((ROOT / "build" / "wheel").glob("*.whl"))


@pytest.fixture(scope="module")
def wheel() -> Path:
    if not wheels():
        pytest.skip("no wheel: make wheel builds one")
    return wheels()[0]


@pytest.fixture(scope="module")
def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def info(content: dict[str, bytes]) -> dict[str, bytes]:
    """Files of the folder *.dist-info."""
    pairs = (name.split("/", 1) for name in content if ".dist-info/" in name)
    return {name: content[f"{folder}/{name}"] for folder, name in pairs}


@pytest.fixture(scope="module")
def sbom(info: dict[str, bytes]) -> str:
    return info["sboms/ivit-onnx.cdx.json"].decode()


def third_party() -> dict[str, str]:
    """Components that THIRD_PARTY.md names, with its column `wheels`."""
    rows = re.findall(r"^\| ([a-z][\w+-]*) \|.*\| ([A-Z, ]+) \| [^|]* \|$", (ROOT / "THIRD_PARTY.md").read_text(), re.M)
    return dict(rows)


def test_package_is_that_of_the_source_tree(content: dict[str, bytes]) -> None:
    expected = {
        f"{target}/{file.relative_to(ROOT / source)}": file.read_bytes()
        for source, target in FOLDERS.items()
        for file in (ROOT / source).rglob("*")
        if file.is_file() and file.suffix not in (".pyc", ".so")
    }
    found = {name: data for name, data in content.items() if ".dist-info/" not in name and name != LIBRARY}
    assert "ivit_onnx/py.typed" in found
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def test_library_is_inside_and_loads(content: dict[str, bytes], tmp_path: Path) -> None:
    file = tmp_path / "libivit_ort.so"
    file.write_bytes(content[LIBRARY])
    library = ctypes.CDLL(str(file))
    library.ivit_cpu_variants.restype = ctypes.c_char_p
    assert b"portable" in library.ivit_cpu_variants()
    assert (getattr(library, "ivit_gpu_count", None) is not None) or b"cudart" not in content[LIBRARY]


def test_version_and_tag(wheel: Path, info: dict[str, bytes], sbom: str) -> None:
    version = re.search(r'"(.*)"', (ROOT / "ivit_onnx" / "_version.py").read_text().splitlines()[-1])
    assert version is not None
    metadata = email.message_from_bytes(info["METADATA"])
    public, _, local = metadata["Version"].partition("+")
    assert public == version[1]
    assert local in ("", "cu13")
    assert json.loads(sbom)["metadata"]["component"]["version"] == metadata["Version"]
    name, tagged, python, abi, platform = wheel.stem.split("-")
    assert (name, tagged, python, abi) == ("ivit_onnx", metadata["Version"], "py3", "none")
    tags = email.message_from_bytes(info["WHEEL"]).get_all("Tag")
    assert tags is not None
    assert {tag.rsplit("-", 1)[1] for tag in tags} == set(platform.split("."))
    assert email.message_from_bytes(info["WHEEL"])["Root-Is-Purelib"] == "false"


def test_requirements_are_those_of_pyproject(info: dict[str, bytes]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = email.message_from_bytes(info["METADATA"])
    assert metadata["Requires-Python"] == project["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_licences(info: dict[str, bytes]) -> None:
    files = [ROOT / "LICENSE", ROOT / "THIRD_PARTY.md", *(ROOT / "licenses").glob("*.txt")]
    expected = {f"licenses/{file.relative_to(ROOT)}": file.read_bytes() for file in files}
    found = {name: data for name, data in info.items() if name.startswith("licenses/")}
    assert found == expected
    metadata = email.message_from_bytes(info["METADATA"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {f"licenses/{name}" for name in metadata.get_all("License-File", [])} == set(expected)


def test_bill_of_materials_names_what_the_page_names(sbom: str) -> None:
    document = json.loads(sbom)
    gpu = "+" in document["metadata"]["component"]["version"]
    expected = {name for name, kinds in third_party().items() if gpu or "CPU" in kinds}
    assert {component["name"] for component in document["components"]} == expected
    assert document["dependencies"] == [{"ref": "ivit-onnx", "dependsOn": [c["name"] for c in document["components"]]}]
    assert all(component["licenses"] and component["version"] for component in document["components"])


def test_bill_of_materials_follows_the_schema(sbom: str) -> None:
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(sbom) is None
    assert validator.validate_str(sbom.replace('"library"', '"book"', 1)) is not None
