"""Files that a comparison needs, made once and kept in a cache: weights, our model, the models of the baselines.

Requires: the packages of the baseline. Ensures: a file appears whole or not at all, and its name holds everything it
depends on (architecture, weights, versions of what made it), so that an old one is never taken for a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ivit_onnx
from ivit_onnx.architectures import KNOWN, Architecture, architecture_from_json
from ivit_onnx.bench.network import (
    CALIBRATION_IMAGES,
    build_network,
    calibration_images,
    float_images,
    generated_images,
    load_network,
)
from ivit_onnx.bench.runtimes import litert, openvino
from ivit_onnx.bench.runtimes import onnxruntime as ort
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import CheckpointError, IvitError
from ivit_onnx.files import atomic_write

if TYPE_CHECKING:
    import torch

__all__ = ["CALIBRATION_IMAGES", "Subject", "make", "our_product", "product_path"]

#: Products of this package: "ivit-table-15" is the integer model with tables and 15 softmax bits.
_OURS = "ivit-"


@dataclass(frozen=True)
class Subject:
    """A network of the comparison: its architecture, where its weights come from (None: random), and its folder."""

    arch: Architecture
    folder: Path
    checkpoint: Path | None = None

    @classmethod
    def at(cls, cache: Path, arch: Architecture, checkpoint: Path | None) -> Subject:
        """The subject with its folder in the cache; IvitError when the checkpoint cannot be read."""
        weights = "random" if checkpoint is None else _file_hash(checkpoint)
        shape = {key: value for key, value in arch.to_json().items() if key != "name"}
        digest = hashlib.sha256(json.dumps([shape, weights]).encode()).hexdigest()[:10]
        return cls(arch, cache / f"{arch.name}-{arch.image_size}-{digest}", checkpoint)

    def to_json(self) -> dict[str, Any]:
        checkpoint = None if self.checkpoint is None else str(self.checkpoint)
        return {"arch": self.arch.to_json(), "folder": str(self.folder), "checkpoint": checkpoint}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Subject:
        checkpoint = None if data["checkpoint"] is None else Path(data["checkpoint"])
        return cls(architecture_from_json(data["arch"]), Path(data["folder"]), checkpoint)


def our_product(settings: Settings) -> str:
    """The integer model with these settings, as a product."""
    return f"{_OURS}{settings.nonlinear}-{settings.softmax_bits}"


def product_path(subject: Subject, product: str) -> Path:
    """Where a product is or will be: one of `our_product`, or of `_RECIPES` with a batch size where that needs one."""
    if product.startswith(_OURS):
        return subject.folder / f"{product}-{_sources_hash()}.onnx"
    recipe, _ = _recipe(product)
    name = "-".join([product, *(f"{package}{_version(package)}" for package in recipe.packages)])
    return subject.folder / f"{name}{recipe.suffix}"


def make(subject: Subject, product: str) -> Path:
    """The product's file, made now unless it exists, with what it is made from."""
    path = product_path(subject, product)
    if path.is_file():
        return path
    subject.folder.mkdir(parents=True, exist_ok=True)
    if product.startswith(_OURS):
        recipe, arguments = _Recipe("weights", _write_ivit), product.removeprefix(_OURS).split("-")
    else:
        recipe, arguments = _recipe(product)
    source = path if recipe.source is None else make(subject, recipe.source)
    with atomic_write(path, force=True) as temporary:
        recipe.write(subject, source, temporary, *arguments)
    return path


def _write_weights(subject: Subject, source: Path, path: Path) -> None:
    import torch

    state = build_network(subject.arch).state_dict()
    if subject.checkpoint is not None:
        from ivit_onnx.checkpoints import load_as

        try:
            loaded = load_as(subject.checkpoint, subject.arch).state_dict
        except CheckpointError as error:
            raise CheckpointError(f"{subject.checkpoint} is not of {subject.arch.name}: {error}") from None
        # A checkpoint without biases of queries, keys and values has zeros.
        state = {name: loaded[name] if name in loaded else 0 * zero for name, zero in state.items()}
    with path.open("wb") as file:  # its errors are those of the system
        torch.save(state, file)


def _write_float(subject: Subject, source: Path, path: Path) -> None:
    ort.export_network(*_network_and_images(subject, source, 2), path)


def _write_half(subject: Subject, source: Path, path: Path) -> None:
    """Everything in half precision, the image too."""
    network, images = _network_and_images(subject, source, 2)
    ort.export_network(network.half(), images.half(), path)


def _write_litert(subject: Subject, source: Path, path: Path, batch: str) -> None:
    litert.quantise(*_network_and_images(subject, source, int(batch)), path)


def _network_and_images(subject: Subject, source: Path, batch: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """The float32 network with the weights of `source`, and images for it."""
    import torch

    arch = subject.arch
    return load_network(arch, source), torch.from_numpy(float_images(batch, arch.in_channels, arch.image_size))


def _is_known(arch: Architecture) -> bool:
    """Whether the name tells everything but image size and classes."""
    known = KNOWN.get(arch.name)
    return known is not None and replace(known, image_size=arch.image_size, classes=arch.classes) == arch


def _untold(arch: Architecture, field: str) -> Any:
    """A field that the shapes of a checkpoint do not tell; None where they do, or there is no such field."""
    return getattr(arch, field) if field in arch.free_fields else None


def _write_ivit(subject: Subject, source: Path, path: Path, nonlinear: str, softmax_bits: str) -> None:
    from ivit_onnx import api
    from ivit_onnx.quant.tables import nonlinear_named

    arch = subject.arch
    api.export(
        source,
        path,
        arch=arch.name if _is_known(arch) else None,
        calib=generated_images(CALIBRATION_IMAGES, arch.in_channels, arch.image_size),
        calib_preset="fast",
        softmax_bits=int(softmax_bits),
        nonlinear=nonlinear_named(nonlinear),
        num_heads=_untold(arch, "heads"),
        act=_untold(arch, "act"),
        img_size=arch.image_size,
    )


@dataclass(frozen=True)
class _Recipe:
    """How a product is made: from another one, by `write`, with packages whose versions are part of its name."""

    source: str | None
    write: Callable[..., None]
    packages: tuple[str, ...] = ()
    suffix: str = ".onnx"


_EXPORT = ("torch", "onnxscript")
_NNCF = (*_EXPORT, "openvino", "nncf")
_RECIPES = {
    "weights": _Recipe(None, _write_weights, suffix=".pt"),
    "float": _Recipe("weights", _write_float, _EXPORT),
    "half": _Recipe("weights", _write_half, _EXPORT),
    "static-int8": _Recipe(
        "float",
        lambda subject, source, path: ort.quantise_static(source, calibration_images(subject.arch), path),
        (*_EXPORT, "onnxruntime"),
    ),
    "dynamic-int8": _Recipe(
        "float", lambda subject, source, path: ort.quantise_dynamic(source, path), (*_EXPORT, "onnxruntime")
    ),
    "openvino-int8": _Recipe(
        "float",
        lambda subject, source, path: openvino.quantise(source, calibration_images(subject.arch), path),
        _NNCF,
        ".xml",
    ),
    "openvino-int8-weights": _Recipe(
        "float", lambda subject, source, path: openvino.compress_weights(source, path), _NNCF, ".xml"
    ),
    "litert-int8": _Recipe("weights", _write_litert, ("torch", "litert_torch", "ai_edge_quantizer"), ".tflite"),
}


def _recipe(product: str) -> tuple[_Recipe, list[str]]:
    """The recipe of a baseline's product, and the batch size in its name, if there is one: "litert-int8-batch8"."""
    name, _, batch = product.partition("-batch")
    return _RECIPES[name], [batch] if batch else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IvitError(f"cannot read the checkpoint {path}: {error.strerror or error}") from None


def _sources_hash() -> str:
    """Identifies the code that exports: a model of other code is not reused."""
    digest = hashlib.sha256(ivit_onnx.__version__.encode())
    skipped = {"bench", "cli"}
    for folder in sorted(set(ivit_onnx.__path__)):
        for file in sorted(Path(folder).rglob("*.py")):
            if skipped.isdisjoint(file.relative_to(folder).parts):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:10]
