"""Spoiled checkpoints, calibration caches, images and labels: read, or refused with an error of one line."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

from fuzz.file_mutations import below, saved, spoil_bytes, spoil_safetensors, spoil_tensors
from fuzz.hostile_inputs import read_images_of, read_labels_of, samples, special, spoiled
from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import apply_calibration, collect_statistics, load_calibration, recipe, save_calibration
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.errors import CheckpointError, IvitError
from ivit_onnx.models import Twin, from_checkpoint, from_timm
from networks import SIZE, images, timm_network, timm_swin

FINGERPRINT = "fingerprint"

Tensors = dict[str, torch.Tensor]
_prepared: dict[str, Any] = {}


def prepare(folder: Path) -> None:
    """Good files of every kind, in memory."""
    torch.set_num_threads(1)
    vit = timm_network(embed_dim=12, depth=1)
    swin = timm_swin(embed_dim=12, depths=(2, 1), window_size=3)
    _prepared["tensors"] = [dict(vit.state_dict()), dict(swin.state_dict())]
    twin = from_timm(vit)
    save_calibration(folder / "cache", collect_statistics(twin, images(8), FINGERPRINT))
    _prepared["cache"] = (folder / "cache").read_bytes()
    _prepared["twin"] = twin
    _prepared["samples"] = samples(folder)


def good_files(kind: str) -> dict[str, bytes]:
    """Files that are read, small ones first, by name."""
    if kind == "cache":
        return {"cache": _prepared["cache"]}
    few = {"head.weight": torch.zeros(2, 4)}
    files = {"few.pth": saved(few), "few.legacy": saved(few, legacy=True), "few.safetensors": save_safetensors(few)}
    return files | {"vit.pth": saved(_prepared["tensors"][0]), "swin.pth": saved(_prepared["tensors"][1])}


def checkpoint(rng: np.random.Generator) -> bytes:
    """A spoiled checkpoint."""
    tensors: Tensors = _prepared["tensors"][int(rng.integers(2))]
    kind = rng.random()
    if kind < 0.25:
        return foreign(tensors, rng)
    if kind < 0.45:
        return saved(spoil_tensors(tensors, rng), legacy=bool(rng.random() < 0.3))
    if kind < 0.55:
        return spoil_safetensors(save_safetensors(tensors), rng)
    if kind < 0.65:
        return spoil_bytes(save_safetensors(tensors), rng)
    return spoil_bytes(saved(tensors, legacy=bool(rng.random() < 0.5)), rng)


class Foreign(dict):  # type: ignore[type-arg]
    """A class that PyTorch's own reader refuses, so that the inert reader is used."""


def foreign(tensors: Tensors, rng: np.random.Generator) -> bytes:
    """A file with objects beside the tensors, spoiled: the pickle in a whole archive, a plain pickle, or all of it."""
    content = {"model": tensors, "args": Foreign(lr=0.1, nested=[Foreign()]), "module": torch.nn.Linear(2, 2)}
    kind = rng.random()
    if kind < 0.3:
        return spoil_bytes(pickle.dumps(content, protocol=int(rng.integers(2, 6))), rng)
    file = saved(content, legacy=kind < 0.5)
    if kind < 0.6:
        return spoil_bytes(file, rng)
    spoiled = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as whole, zipfile.ZipFile(spoiled, "w") as archive:
        for entry in whole.infolist():
            data = whole.read(entry)
            archive.writestr(entry.filename, spoil_bytes(data, rng) if entry.filename.endswith("data.pkl") else data)
    return spoiled.getvalue()


def refused(kind: str, error: IvitError) -> str:
    if "\n" in str(error):
        raise AssertionError(f"expected a message of one line, found {str(error)!r}")
    return f"refused {kind}"


def read_checkpoint(path: Path) -> str:
    try:
        try:
            loaded = load_checkpoint(path, heads=3)
        except CheckpointError:
            loaded = load_checkpoint(path)  # a Swin's heads are in its file
        from_checkpoint(loaded, Preprocess(SIZE), 15)
    except IvitError as error:
        return refused("checkpoint", error)
    return "read checkpoint"


def read_cache(path: Path) -> str:
    for steps in ("minmax", "percentile", recipe("fast", None), recipe("default", None)):
        twin: Twin = copy.deepcopy(_prepared["twin"])
        try:
            apply_calibration(twin, load_calibration(path, FINGERPRINT), steps)
        except IvitError as error:
            return refused("cache", error)
        state = twin.quantization_state()
        assert all(np.isfinite(value) and value >= 0 for value in state.values()), state
    return "read cache"


READERS: dict[str, Callable[[Path], str]] = {
    "checkpoint": read_checkpoint,
    "cache": read_cache,
    "images": read_images_of,
    "labels": read_labels_of,
}


def read(kind: str, path: Path) -> str:
    """What becomes of a file of that kind."""
    try:
        return READERS[kind](path)
    except IvitError as error:
        return refused(kind, error)


def check(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    for old in folder.glob("case.*"):
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    kind = rng.random()
    if kind < 0.02:
        path, reader = folder / "case.png", [*READERS][below(rng, len(READERS))]
        special(path, rng)
        return read(reader, path)
    if kind < 0.4:
        reader, ending, content = spoiled(_prepared["samples"][below(rng, len(_prepared["samples"]))], rng)
        path = folder / f"case.{ending}"
        path.write_bytes(content)
        return read(reader, path)
    path = folder / "case.file"
    if kind < 0.55:
        spoil = spoil_safetensors if rng.random() < 0.7 else spoil_bytes
        path.write_bytes(spoil(_prepared["cache"], rng))
        return read_cache(path)
    path.write_bytes(checkpoint(rng))
    return read_checkpoint(path)
