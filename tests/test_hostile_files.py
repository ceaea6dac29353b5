"""Checkpoints and calibration caches that were made to do harm: an error of one line, whatever they hold."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from commands import MICRO
from fuzz import hostile_exports, hostile_files
from ivit_onnx.api import export
from ivit_onnx.budgets import INSTRUCTIONS
from ivit_onnx.calibration import Calibration, load_calibration, save_calibration
from ivit_onnx.checkpoints import Choice, load_checkpoint
from ivit_onnx.checkpoints import inert as inert_module
from ivit_onnx.checkpoints.inert import Inert, unpickle
from ivit_onnx.checkpoints.opening import open_source
from ivit_onnx.errors import CalibrationError, CheckpointError, ExportError, IvitError
from ivit_onnx.options.choices import Preset
from ivit_onnx.quant.observers import Histogram
from networks import DATA, images, timm_network


def test_a_few_bytes_for_many_elements(tmp_path: Path) -> None:
    """A head of 2^33 classes in a file of some kilobytes: its copies would need 64 GB."""
    state_dict = dict(torch.load(MICRO, weights_only=True))
    state_dict["head.weight"] = torch.zeros(1).expand(2**33, 64)
    state_dict["head.bias"] = torch.zeros(1).expand(2**33)
    torch.save(state_dict, tmp_path / "large.pth")
    with pytest.raises(CheckpointError, match=r"head\.weight has more elements than the file .*contiguous"):
        load_checkpoint(tmp_path / "large.pth", heads=2)


def test_a_compressed_archive(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2**24 + 2**18)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    with pytest.raises(CheckpointError, match="expected at most 67,108,864 bytes after decompression"):
        load_checkpoint(tmp_path / "small.pth")


def test_names_that_a_terminal_would_obey(tmp_path: Path) -> None:
    torch.save({"weight\x1b[2J": torch.zeros(1)}, tmp_path / "names.pth")
    with pytest.raises(CheckpointError, match=r"'weight\\x1b\[2J' is not the name of a tensor"):
        load_checkpoint(tmp_path / "names.pth")


def text(value: str) -> bytes:
    """The instruction that pushes a text."""
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


#: Programs that would write MARKER or import `antigravity`, if anything of them were run. Each leaves one value.
MARKER = Path("/tmp/ivit_onnx_pwned")
COMMAND = text(f"touch {MARKER}")
PROGRAMS = {
    "reduce": b"cos\nsystem\n" + COMMAND + b"\x85R",
    "stack_global": text("os") + text("system") + b"\x93" + COMMAND + b"\x85R",
    "inst": b"(" + COMMAND + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + COMMAND + b"o",
    "newobj": b"cos\nsystem\n" + COMMAND + b"\x85\x81",
    "newobj_ex": b"cos\nsystem\n" + COMMAND + b"\x85}\x92",
    "eval": b"cbuiltins\neval\n" + text(f"open('{MARKER}', 'w')") + b"\x85R",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR" + COMMAND + b"\x85R",
    "import": b"cantigravity\nopen\n)R",
    "nested": b"cos.path\nos.system\n" + COMMAND + b"\x85R",
    "ext1": b"\x82\x01" + COMMAND + b"\x85R",
    "ext4": b"\x84\xff\xff\xff\x7f" + COMMAND + b"\x85R",
    "build": b"ctypes\nSimpleNamespace\n)R}" + text("__class__") + b"cos\nsystem\nsb",
    "setstate": b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"cos\nsystem\nsb",
    "call of a value": text("os.system") + COMMAND + b"\x85R",
    "called result": b"cfunctools\npartial\n(cos\nsystem\n" + COMMAND + b"tR)R",
    "rebuilt by a type": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN" + COMMAND + b"\x85NtR",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_not_run(name: str, tmp_path: Path) -> None:
    """As the whole pickle, beside weights, and as a storage of weights."""
    MARKER.unlink(missing_ok=True)
    before = set(sys.modules)
    found = unpickle(io.BytesIO(b"\x80\x02" + PROGRAMS[name] + b"."), lambda _: None)
    assert isinstance(found, Inert | dict)
    weights = pickle.dumps({"w": torch.ones(2)}, protocol=2)[2:-1]
    beside = b"\x80\x02}(" + text("model") + weights + text("args") + PROGRAMS[name] + b"u."
    assert torch.equal(open_source(io.BytesIO(beside), Choice()).tensors["w"], torch.ones(2))
    archive = io.BytesIO()
    torch.save({"model": {"w": torch.ones(2)}}, archive)
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "model.pth", "w") as spoiled:
        for entry in whole.infolist():
            data = whole.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = data.replace(b"X\x05\x00\x00\x00model", PROGRAMS[name] + b"0X\x05\x00\x00\x00model")
            spoiled.writestr(entry.filename, data)
    assert torch.equal(open_source(tmp_path / "model.pth", Choice()).tensors["w"], torch.ones(2))
    rebuilt = b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + PROGRAMS[name] + b"K\x00))NNtRs."
    with pytest.raises(CheckpointError, match="a tensor without storage"):
        open_source(io.BytesIO(rebuilt), Choice())
    assert set(sys.modules) == before
    assert not MARKER.exists()


def repeated(call: bytes, argument: bytes, times: int) -> bytes:
    """A pickle of a list of the results of one call with one argument, which is in the file once."""
    return b"\x80\x02" + argument + b"q\x000](" + (call + b"h\x00\x85R") * times + b"e."


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".", "holds a list"),
        (b"\x80\x02" + b"}" + b"(" * 300_000 + b".", "holds a|damaged"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "an empty state_dict"),
        (b"\x80\x02}j\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02\x8e" + (2**62).to_bytes(8, "little") + b".", "damaged"),
        (b"\x80\x02}N" + b"\x85" * 100 + b"2" * 3 + b"\x86" * 3 + b"Ns.", "an empty state_dict"),
        (b"\x80\x02}" + text("a") + b"N" + b"2\x86" * 60 + b"s.", "'a' is a tuple"),
        (b"\x80\x02}" + b"N" + b"2\x86" * 60 + b"Ns.", "an empty state_dict"),
        (repeated(b"c_codecs\nencode\n", text("a" * 100_000), 200), "more content than fits"),
        (
            repeated(
                b"ccollections\nOrderedDict\n", b"}(" + b"".join(text(f"{i}") + b"N" for i in range(9999)) + b"u", 99
            ),
            "more",
        ),
        (repeated(b"cbuiltins\nset\n", b"](" + b"N" * 100_000 + b"e", 200), "more content than fits"),
        (repeated(b"ctorch\nSize\n", b"](" + b"N" * 100_000 + b"e", 200), "more content than fits"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02}", "damaged"),
        (b"\x80\x02Ktb.", "damaged"),
    ],
)
def test_pickles_that_would_take_everything(content: bytes, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected) as error:
        open_source(io.BytesIO(content), Choice())
    assert len(str(error.value)) < 300


def test_a_pickle_of_too_many_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert_module, "INSTRUCTIONS", replace(INSTRUCTIONS, most=1000))
    with pytest.raises(CheckpointError, match="at most 1,000 instructions"):
        open_source(io.BytesIO(b"\x80\x02" + b"N0" * 1000 + b"}."), Choice())


@pytest.mark.parametrize(
    "view",
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2**40,), (1,)),
        (0, (2,), (2**61,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, ("2",), (1,)),
        (0, (True,), (1,)),
    ],
)
def test_tensors_that_leave_their_storage(view: tuple[Any, Any, Any]) -> None:
    arguments = b"".join(pickle.dumps(part, protocol=2)[2:-1] for part in view)
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NQ" + arguments + b"tR."
    with pytest.raises((ValueError, RuntimeError, TypeError)):
        unpickle(io.BytesIO(program), lambda _: inert_module.Storage(torch.arange(4.0)))


@pytest.mark.parametrize("count", [2**40, -1, 3, 1, "2"])
def test_legacy_storages_of_another_size(count: Any) -> None:
    """A file of 1.5 kB that claims terabytes, or less than what stands there."""
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2), "c": {1: 2}}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue().replace(b"K\x02Ntq", pickle.dumps(count, protocol=2)[2:-1] + b"Ntq")
    assert content != buffer.getvalue()
    content = content.replace(b"ccollections\nOrderedDict", b"cunknown\nOrderedDict")
    with pytest.raises(CheckpointError, match="damaged"):
        open_source(io.BytesIO(content), Choice())


def change(key: str, value: Any) -> Callable[[dict[str, Any], dict[str, str]], None]:
    """Another array or another text of metadata in a cache."""

    def changed(arrays: dict[str, Any], metadata: dict[str, str]) -> None:
        if key in arrays:
            arrays[key] = value(arrays[key])
        else:
            metadata[key] = value

    return changed


@pytest.mark.parametrize(
    "spoil",
    [
        change("names", "5"),
        change("names", '"ab"'),
        change("names", "[1, 2]"),
        change("names", '["a", "a"]'),
        change("names", "[" * 100_000),
        change("images", "0"),
        change("images", "9" * 5000),
        change("counts", lambda array: array * 0),
        change("counts", lambda array: np.full_like(array, 2**62)),
        change("counts", lambda array: array.astype(np.int32)),
        change("limits", lambda array: -array),
        change("limits", lambda array: array.astype(np.float32)),
        change("lows", lambda array: -array),
        change("lows", lambda array: array * 1e300),
        change("lows", lambda array: array * np.nan),
        change("lows", lambda array: array[:1]),
        change("highs", lambda array: -array),
        change("highs", lambda array: array * 1e300),
        change("highs", lambda array: array * np.nan),
        change("highs", lambda array: array[:1]),
        change("sample", lambda array: array * np.nan),
        change("sample", lambda array: array.astype(np.float32)),
        change("held", lambda array: array * np.nan),
        change("held", lambda array: array.astype(np.float32)),
        change("held", lambda array: array[0]),
        change("source", "photographs"),
    ],
)
def test_spoiled_cache(tmp_path: Path, spoil: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    histograms = {name: Histogram() for name in ("a", "b")}
    for histogram in histograms.values():
        histogram.update(torch.arange(-3.0, 10.0))
    path = tmp_path / "cache"
    image = np.ones((1, 3, 2, 2), np.float16)
    save_calibration(path, Calibration("fingerprint", 4, histograms, sample=image, held=image))
    assert load_calibration(path, "fingerprint").images == 4
    with safe_open(str(path), framework="np") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in ("counts", "limits", "lows", "highs", "sample", "held")}
    assert json.loads(metadata["names"]) == ["a", "b"]
    spoil(arrays, metadata)
    save_file(arrays, path, metadata)
    with pytest.raises(CalibrationError, match="is not a calibration cache of this version; delete it"):
        load_calibration(path, "fingerprint")


def test_random_files(tmp_path: Path) -> None:
    """A few of the cases that `make fuzz` runs by the thousand."""
    hostile_files.prepare(tmp_path)
    results = {hostile_files.check(seed, tmp_path) for seed in range(60)}
    assert results >= {"refused checkpoint", "refused cache"}
    readers = {"checkpoint": hostile_files.read_checkpoint, "cache": hostile_files.read_cache}
    for kind, read in readers.items():
        for name, content in hostile_files.good_files(kind).items():
            (tmp_path / name).write_bytes(content)
            assert read(tmp_path / name) == (f"refused {kind}" if name.startswith("few") else f"read {kind}")


def test_random_exports(tmp_path: Path) -> None:
    """A few of the cases that `make fuzz` runs by the thousand."""
    hostile_exports.prepare(tmp_path)
    results = {hostile_exports.check(seed, tmp_path) for seed in range(12)}
    assert len(results) >= 3


@pytest.mark.parametrize(
    ("ending", "spoil"),
    [
        (".channels", lambda array: array[:2]),
        (".channels", lambda array: np.repeat(array, 2, 1)),
        (".channels", lambda array: array[::-1].copy()),
        (".rows", lambda array: array.astype(np.float64)),
        (".rows", lambda array: array[:, :-1].copy()),
        (".center", lambda array: array[:-1].copy()),
        ("sample", lambda array: np.full_like(array, np.nan)),
        ("sample", lambda array: array[:, :, :-1].copy()),
    ],
)
def test_statistics_that_do_not_fit_the_network(
    ending: str, spoil: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    hostile_files.prepare(tmp_path)
    path = tmp_path / "cache"
    with safe_open(str(path), framework="np") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    name = [name for name in arrays if name.endswith(f"qkv{ending}" if ending != "sample" else ending)]
    name = name or [name for name in arrays if name.endswith(ending)]
    arrays[name[0]] = spoil(arrays[name[0]])
    save_file(arrays, path, metadata)
    assert hostile_files.read_cache(path) == "refused cache"


@pytest.mark.parametrize(
    "scale",
    [
        torch.ones(1, dtype=torch.complex64),
        torch.ones(1).to_sparse(),
        torch.ones(1).to("meta"),
    ],
)
def test_reference_ivit_scales_that_are_no_dense_tensors(scale: torch.Tensor, tmp_path: Path) -> None:
    state_dict = dict(torch.load(DATA / "deit_micro_ivit.pth.tar", weights_only=True))
    state_dict[next(name for name in state_dict if name.endswith("act_scaling_factor"))] = scale
    torch.save(state_dict, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"tensor .*act_scaling_factor (is|has no data)"):
        load_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("key", "number", "expected"),
    [
        ("softmax_bits", 2**63, "softmax_bits: expected one of 7, 8, 15"),
        ("quantization.n", 2**63, "n: expected a whole"),
        ("quantization.n", 4.5, "n: expected a whole"),
        ("quantization.scale", float("nan"), "scale: expected a scale"),
        ("quantization.scale", -1.0, "scale: expected a scale"),
        ("quantization.hidden.scale", 1e-10, "too small for the shift exponential"),
        ("arch.depth", 2**40, "at most 1024 blocks"),
        ("arch.reg_tokens", 16, "reg_token is missing"),
    ],
)
def test_numbers_of_a_training_that_cannot_be(key: str, number: float, expected: str, tmp_path: Path) -> None:
    hostile_exports.prepare(tmp_path)
    content = hostile_exports.trained_vit()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    part, _, name = key.partition(".")
    decided = json.loads(header["__metadata__"][part])
    if name:
        decided[next(entry for entry in decided if f".{entry}".endswith(f".{name}"))] = number
    else:
        decided = number
    header["__metadata__"][part] = json.dumps(decided)
    text = json.dumps(header).encode()
    path = tmp_path / "spoiled.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises((CalibrationError, CheckpointError, ExportError), match=expected):
        export(path, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("tensor", "preset"), [("blocks.0.attn.proj.weight", "default"), ("patch_embed.proj.bias", "best")]
)
def test_weights_whose_products_leave_float32(tensor: str, preset: Preset, tmp_path: Path) -> None:
    state_dict = dict(timm_network(embed_dim=12, depth=1).state_dict())
    state_dict[tensor].view(-1)[0] = 3e38
    torch.save(state_dict, tmp_path / "model.pth")
    with pytest.raises(IvitError, match="expected finite values on the calibration images"):
        export(tmp_path / "model.pth", tmp_path / "model.onnx", calib=images(3), num_heads=3, calib_preset=preset)
    assert not (tmp_path / "model.onnx").exists()
