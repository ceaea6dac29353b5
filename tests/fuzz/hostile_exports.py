"""Spoiled checkpoints through the whole exporter: an error of one line and no file, or a model that is right.

Right is a model that `ivit-verify` passes: without floating point, proven, and with the same integers from function
bodies, kernels and the PyTorch twin, and from the provider besides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import ivit_onnx
from fuzz.file_mutations import below, saved, spoil_bytes, spoil_tensors
from ivit_onnx.api import export, load_twin
from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import apply_calibration, collect_statistics, recipe
from ivit_onnx.checkpoints import Trained, write_trained
from ivit_onnx.errors import IvitError
from ivit_onnx.metadata import describe
from ivit_onnx.model_files import load_with_weights
from ivit_onnx.models import Twin, from_timm
from ivit_onnx.proof import prove
from ivit_onnx.quant.tables import nonlinear_named
from ivit_onnx.verification import verify
from model_bombs import bomb_of_zlib
from networks import DATA, SIZE, images, timm_network, timm_swin

REFERENCE_IVIT = ("deit_micro_ivit.pth.tar", "swin_micro_ivit.pth.tar")
NUMBERS = [0, -1, 1, 2, 7, 16, 31, 64, 1e-30, 1e-6, 0.5, 3e4, 1e30, 2**31, 2**63, float("nan"), float("inf")]
NUMBERS += [None, "1", [], True]
NUMBERS += [12_000, 10**400, 5e-324]
#: Texts of metadata that ask for too much.
TEXTS: list[Callable[[], str]] = [
    lambda: bomb_of_zlib(""),
    lambda: "[" * 500 + "]" * 500,
    lambda: "[" + "0," * (9 << 20) + "0]",
    lambda: "9" * 4000,
]
#: What is spoiled of the metadata of a training, scales and n more often than the rest.
DECISIONS = ("quantization", "quantization", "quantization", "arch", "preprocess", "softmax_bits", "nonlinear")

Rng = np.random.Generator
_prepared: dict[str, Any] = {}


def prepare(folder: Path) -> None:
    """A floating-point network, one as `ivit-train` writes it, and those of the reference I-ViT code."""
    torch.set_num_threads(1)
    vit = timm_network(embed_dim=12, depth=1)
    swin = timm_swin(embed_dim=12, depths=(2, 1), window_size=3)
    _prepared["float"] = [dict(vit.state_dict()), dict(swin.state_dict())]
    for network, nonlinear in ((vit, "ivit"), (vit, "table"), (swin, "ivit")):
        twin = from_timm(network)
        assert isinstance(twin, Twin)
        twin.set_nonlinear(nonlinear_named(nonlinear))
        apply_calibration(twin, collect_statistics(twin, images(2), "fingerprint"), recipe("fast"))
        # The weights that calibration adjusted are those that are written.
        twin.adjustments = {}
        decided = Trained(twin.arch, Preprocess(SIZE), 15, twin.nonlinear, twin.quantization_state())
        path = folder / "trained.safetensors"
        write_trained(path, twin.timm_weights(), decided)
        _prepared.setdefault("trained", []).append(path.read_bytes())
    for name in REFERENCE_IVIT:
        _prepared.setdefault("reference_ivit", []).append(dict(torch.load(DATA / name, weights_only=True)))


def trained_vit() -> bytes:
    """A checkpoint of `ivit-train`, after `prepare`."""
    return bytes(_prepared["trained"][0])


def check(seed: int, folder: Path) -> str:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    kind = ("float", "trained", "reference_ivit")[below(rng, 3)]
    source = _prepared[kind][below(rng, 2)]
    checkpoint, model = folder / "case.checkpoint", folder / "case.onnx"
    options: dict[str, Any] = {}
    if kind == "trained":
        checkpoint.write_bytes(spoil_decisions(source, rng))
    else:
        values = spoil_values(source, rng)
        checkpoint.write_bytes(saved(spoil_tensors(values, rng) if below(rng, 2) else values))
    if kind == "float":
        options = {"calib": images(3), "num_heads": 3, "img_size": 32}
        options["calib_preset"] = ("fast", "default", "default", "best")[below(rng, 4)]
        options["nonlinear"] = ("ivit", "table")[below(rng, 2)]
    elif kind == "reference_ivit":
        options = {"num_heads": (None, 3, 4)[below(rng, 3)]}
    model.unlink(missing_ok=True)
    refusal = None
    try:
        export(checkpoint, model, force=True, **options)
    except IvitError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal, refusal
        assert not list(folder.glob("*case.onnx*"))
        return f"refused {kind}"
    assert prove(load_with_weights(model)).proven
    result = verify(model, against=checkpoint, count=2, seed=seed % 2**31, threads=1)
    # Networks of such numbers may give every image the same logits, which a verification of theirs would not accept.
    assert replace(result, evidence=()).passed, result.to_json()
    bodies = ivit_onnx.create_session(model, kernels=False)
    (entry,) = bodies.get_inputs()
    image = rng.integers(0, 256, (2, *entry.shape[1:]), dtype=np.uint8)
    compiled = ivit_onnx.create_session(model, provider="ivit-cpu")
    np.testing.assert_array_equal(compiled.run(None, {entry.name: image}), bodies.run(None, {entry.name: image}))
    return f"exported {kind}, {with_other_metadata(model, checkpoint, rng)}"


def with_other_metadata(path: Path, checkpoint: Path, rng: Rng) -> str:
    """What becomes of the twin of a model whose metadata is spoiled."""
    model = onnx.load(path)
    entry = model.metadata_props[below(rng, len(model.metadata_props))]
    try:
        value = json.loads(entry.value)
    except ValueError:
        value = None
    if below(rng, 6) == 0:
        entry.value = TEXTS[below(rng, len(TEXTS))]()
    elif isinstance(value, dict) and value and below(rng, 2):
        spoil_number(value, rng)
        entry.value = json.dumps(value)
    else:
        entry.value = spoil_bytes(entry.value.encode(), rng).decode("utf-8", "ignore")
    onnx.save(model, path)
    try:
        load_twin(path, checkpoint)
        describe(ivit_onnx.create_session(path), path)
    except IvitError:
        return "metadata refused"
    return "metadata read"


def spoil_values(tensors: dict[str, torch.Tensor], rng: Rng) -> dict[str, torch.Tensor]:
    """Other numbers in one to three tensors."""
    spoiled = dict(tensors)
    for _ in range(1 + below(rng, 3)):
        name = list(spoiled)[below(rng, len(spoiled))]
        tensor = spoiled[name].clone()
        kind = below(rng, 5)
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        if kind == 0:
            tensor *= float(rng.choice([0, -1, 1e-38, 1e-10, 1e-3, 1e3, 1e10, 1e30]))
        elif kind == 1:
            tensor.view(-1)[below(rng, tensor.numel())] = float(rng.choice([np.nan, np.inf, 0, 1e20, -1e4, 3e38]))
        elif kind == 2:
            tensor = tensor.abs() * 1e4 * (1 - 2 * below(rng, 2))
        elif kind == 3:
            tensor = torch.zeros_like(tensor)
        else:
            tensor = tensor.to([torch.float16, torch.bfloat16, torch.float64][below(rng, 3)])
        spoiled[name] = tensor
    return spoiled


def spoil_decisions(content: bytes, rng: Rng) -> bytes:
    """Other numbers in what `ivit-train` decided: scales, n, the architecture, preprocessing."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    for _ in range(1 + below(rng, 3)):
        key = DECISIONS[below(rng, len(DECISIONS))]
        if key == "nonlinear":
            metadata[key] = ("ivit", "table", "exact")[below(rng, 3)]
            continue
        value = json.loads(metadata[key])
        if not isinstance(value, dict):
            metadata[key] = json.dumps(NUMBERS[below(rng, len(NUMBERS))])
            continue
        spoil_number(value, rng)
        metadata[key] = json.dumps(value)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def spoil_number(value: dict[str, Any], rng: Rng) -> None:
    """Another value in some place of nested JSON objects."""
    place = value
    name = list(place)[below(rng, len(place))]
    while isinstance(place[name], dict) and place[name]:
        place = place[name]
        name = list(place)[below(rng, len(place))]
    if below(rng, 8) == 0:
        del place[name]
    elif isinstance(place[name], float) and below(rng, 2):
        place[name] *= float(rng.choice([1e-20, 1e-4, 0.3, 1.7, 100, 1e20]))
    else:
        place[name] = NUMBERS[below(rng, len(NUMBERS))]
