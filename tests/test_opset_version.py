"""Files for other versions of the domain: what is refused, before any work, and what runs by its own bodies."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import ivit_onnx
from cases import random_case
from commands import MICRO, call
from graphs import single_operator_model, with_negated_body, with_opset_version
from ivit_onnx import opset_version
from ivit_onnx.errors import ModelError
from ivit_onnx.function_bodies import definition_digest
from ivit_onnx.opset import OPERATORS, OPSET_VERSION
from ivit_onnx.opset_version import check_opset_version
from sessions import assert_equal, expected, run

CASE = random_case("IntLinear", np.random.default_rng(4))
NEXT = OPSET_VERSION + 1
LATER = f"for version {NEXT} of the operators of the domain ivit, expected {OPSET_VERSION} at most: install a newer"
#: The definitions of each version as they were published: a hash of the body by operator.
DEFINITIONS = Path(__file__).parent / "data" / "definitions.json"


def model(version: int | None, *, functions: bool = True) -> onnx.ModelProto:
    return with_opset_version(single_operator_model(CASE, constants=True, functions=functions), version)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("provider", ["cpu", "ivit-cpu"])
@pytest.mark.parametrize(
    ("version", "message"),
    [
        (NEXT, LATER),
        (1000, "for version 1000 of the operators"),
        (2**31, "for version 2147483648 of the operators"),
        (0, "expected version 1 of the domain ivit or a later one, found 0; export the model again"),
        (-1, "expected version 1 of the domain ivit or a later one, found -1; export the model again"),
        (None, "it has operators of the domain ivit and does not say of which version; export the model again"),
    ],
)
def test_other_versions_are_refused(
    version: int | None, message: str, provider: str, functions: bool, tmp_path: Path
) -> None:
    """As bytes and as a file, in one line."""
    path = tmp_path / "model.onnx"
    content = model(version, functions=functions).SerializeToString()
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ModelError, match=re.escape(message)) as error:
            ivit_onnx.create_session(source, provider=provider)
        assert "\n" not in str(error.value)


def test_bodies_of_a_later_version_run() -> None:
    """Without kernels a file is what its own bodies say."""
    later = with_negated_body(model(NEXT), "IntLinear")
    session = ivit_onnx.create_session(later.SerializeToString(), kernels=False)
    assert_equal(run(session, CASE), tuple(~array for array in expected(CASE)))


def test_one_function_of_a_later_version_is_enough() -> None:
    proto = model(OPSET_VERSION)
    (opset,) = (entry for entry in proto.functions[-1].opset_import if entry.domain == "ivit")
    opset.version = NEXT
    with pytest.raises(ModelError, match=LATER):
        check_opset_version(proto.SerializeToString(), "the model")


def test_operators_inside_of_other_graphs_count() -> None:
    """A node of the domain in a branch of an If, in a file that imports no version of it."""
    node = helper.make_node("Requantize", ["x"], ["y"], domain="ivit")
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("y", onnx.TensorProto.INT8, None)])
    outer = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    proto = helper.make_model(helper.make_graph([outer], "outer", [], []), opset_imports=[helper.make_opsetid("", 21)])
    with pytest.raises(ModelError, match="does not say of which version"):
        check_opset_version(proto.SerializeToString(), "the model")
    for graph in (outer.attribute[0].g, outer.attribute[1].g):
        graph.node[0].domain = ""
    proto = helper.make_model(helper.make_graph([outer], "outer", [], []), opset_imports=[helper.make_opsetid("", 21)])
    check_opset_version(proto.SerializeToString(), "the model")


@given(st.lists(st.tuples(st.sampled_from(["", "ivit", "ivit2", "other"]), st.integers(1, 3)), max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_versions_are_those_of_the_message(imports: list[tuple[str, int]], data: st.DataObject) -> None:
    """Whatever else is in the file, and in whatever order the fields come."""
    parts = [onnx.ModelProto(opset_import=[helper.make_opsetid(*entry)]).SerializeToString() for entry in imports]
    parts.append(onnx.ModelProto(producer_name="x" * 300, ir_version=2**40).SerializeToString())
    parts.append(onnx.ModelProto(graph=onnx.GraphProto(name="opset_import ivit 2")).SerializeToString())
    content = b"".join(data.draw(st.permutations(parts)))
    versions = {version for domain, version in imports if domain == "ivit"}
    read = onnx.ModelProto.FromString(content)
    assert {entry.version for entry in read.opset_import if entry.domain == "ivit"} == versions
    if max(versions, default=0) > OPSET_VERSION:
        with pytest.raises(ModelError, match=f"for version {max(versions)} of"):
            check_opset_version(content, "the model")
    else:
        check_opset_version(content, "the model")


@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_refused_or_without_a_version(noise: bytes, start: int, end: int) -> None:
    """No other exception, and whatever protobuf reads as a later version is refused."""
    whole = model(NEXT, functions=False).SerializeToString()
    content = whole[:start] + noise + whole[end:]
    try:
        check_opset_version(content, "the model")
    except ModelError:
        return
    try:
        read = onnx.ModelProto.FromString(content)
    except Exception:  # protobuf's own, for what is no message
        return
    assert not any(entry.domain == "ivit" and entry.version == NEXT for entry in read.opset_import)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0b\x0c", "a field of wire type 3"),
        (b"\x0a\x7fabc", "a field that ends behind its message"),
        (b"\xff" * 30, "a number without an end"),
        (b"\x3a" + b"\xff" * 9 + b"\x01", "a field that ends behind its message"),
        (b"\x08\x01" * 5000, "more than 4096 fields"),
    ],
)
def test_what_is_no_model(content: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opset_version, "MOST_FIELDS", 4096)
    with pytest.raises(ModelError, match=f"^m cannot be loaded: expected an ONNX model, found {message}"):
        check_opset_version(content, "m")


def test_graphs_nested_without_end() -> None:
    inner = b""
    for _ in range(200):  # graph.node.attribute.g, each a field of bytes around the next
        for tag in (0x32, 0x2A, 0x0A):
            inner = bytes([tag]) + varint(len(inner)) + inner
    with pytest.raises(ModelError, match="graphs inside of each other, more than 64 deep"):
        check_opset_version(b"\x3a" + varint(len(inner)) + inner, "m")


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def test_weights_are_skipped(tmp_path: Path) -> None:
    """What is read of a file of a gigabyte is a few kilobytes of it."""
    path = tmp_path / "large.onnx"
    head, size = model(NEXT).SerializeToString(), 1 << 30
    with path.open("wb") as stream:
        stream.write(b"\x3a" + varint(size))
        stream.truncate(stream.tell() + size)
        stream.seek(0, io.SEEK_END)
        stream.write(head)
    script = """
import resource, sys
from ivit_onnx.opset_version import check_opset_version
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
check_opset_version(sys.argv[1], "large")
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert LATER in done.stderr.splitlines()[-1]


def test_no_onnx_package_is_needed() -> None:
    script = """
import sys
sys.modules["onnx"] = None
import ivit_onnx
ivit_onnx.create_session(sys.stdin.buffer.read())
"""
    content = model(OPSET_VERSION).SerializeToString()
    subprocess.run([sys.executable, "-c", script], input=content, check=True)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that says it is for the next version."""
    from ivit_onnx.api import export

    path = tmp_path_factory.mktemp("later") / "later.onnx"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    export(MICRO, path, calib=pixels, num_heads=2)
    onnx.save(with_opset_version(onnx.load(path), NEXT), path)
    return path


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", ["{image}"]),
        ("eval", ["--data", "digits"]),
        ("verify", []),
        ("verify", ["--prove"]),
        ("verify", ["--device", "ivit-cpu"]),
        ("bench", []),
        ("report", ["--against", str(MICRO), "--data", "digits"]),
    ],
)
def test_commands_refuse_a_later_version(
    capsys: pytest.CaptureFixture[str], later: Path, tmp_path: Path, command: str, options: list[str]
) -> None:
    from PIL import Image

    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    result = call(capsys, command, later, *(option.format(image=image) for option in options))
    assert LATER in result.error()
    assert sorted(path.name for path in later.parent.iterdir()) == ["later.onnx"]


def test_a_name_of_the_domain_never_changes_its_meaning() -> None:
    """ONNX Runtime shows operators no version: kernels of this version run for every later file that has the name.

    Another meaning takes another name, and new names take a new version: add them to the file under that version.
    """
    published: dict[str, dict[str, str]] = json.loads(DEFINITIONS.read_text())
    assert max(map(int, published)) == OPSET_VERSION
    names: dict[str, str] = {}
    for version in published.values():
        assert not {*names} & {*version}
        names |= version
    assert {name: definition_digest(name) for name in OPERATORS} == names


def test_runtime_shows_operators_no_version() -> None:
    """What the rule of names rests on. If this fails, ONNX Runtime has begun to compare: refuse there too."""
    options: Any = onnxruntime.SessionOptions()
    options.register_custom_ops_library(ivit_onnx.library_path())
    changed = with_negated_body(model(NEXT), "IntLinear").SerializeToString()
    assert_equal(run(onnxruntime.InferenceSession(changed, options), CASE), expected(CASE))
