"""Files that a comparison needs, made once and kept in a cache: weights, our model, the models of the baselines.

Requires: the packages of the baseline. Ensures: a file appears whole or not at all, and its name holds everything it
depends on (architecture, weights, versions of what made it), so that an old one is never taken for a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ivit_onnx
from ivit_onnx.architectures import KNOWN, Architecture, architecture_from_json
from ivit_onnx.bench.network import build_network, float_images, generated_images
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import CheckpointError, IvitError
from ivit_onnx.files import atomic_write

__all__ = ["CALIBRATION_IMAGES", "Subject", "make", "our_product", "product_path"]

CALIBRATION_IMAGES = 8

#: Products of this package: "ivit-table-15" is the integer model with tables and 15 softmax bits.
_OURS = "ivit-"

#: What each product of a baseline is made from, and by which packages.
_SOURCES = {
    "weights": None,
    "float": "weights",
    "half": "weights",
    "static-int8": "float",
    "dynamic-int8": "float",
    "openvino-int8": "float",
}
_MAKERS = {
    "weights": (),
    "float": ("torch", "onnxscript"),
    "half": ("torch", "onnxscript"),
    "static-int8": ("torch", "onnxscript", "onnxruntime"),
    "dynamic-int8": ("torch", "onnxscript", "onnxruntime"),
    "openvino-int8": ("torch", "onnxscript", "openvino", "nncf"),
}
_SUFFIXES = {"weights": ".pt", "openvino-int8": ".xml"}


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
    """Where a product is or will be: one of `_SOURCES` or of `our_product`."""
    if product.startswith(_OURS):
        return subject.folder / f"{product}-{_sources_hash()}.onnx"
    name = "-".join([product, *(f"{package}{_version(package)}" for package in _MAKERS[product])])
    return subject.folder / f"{name}{_SUFFIXES.get(product, '.onnx')}"


def make(subject: Subject, product: str) -> Path:
    """The product's file, made now unless it exists, with what it is made from."""
    path = product_path(subject, product)
    if path.is_file():
        return path
    subject.folder.mkdir(parents=True, exist_ok=True)
    ours = product.startswith(_OURS)
    needed = "weights" if ours else _SOURCES[product]
    source = path if needed is None else make(subject, needed)
    with atomic_write(path, force=True) as temporary:
        if ours:
            _write_ivit(subject, source, temporary, *product.removeprefix(_OURS).split("-"))
        else:
            _WRITERS[product](subject, source, temporary)
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
    _write_network(subject, source, path, "float32")


def _write_half(subject: Subject, source: Path, path: Path) -> None:
    """Everything in half precision, the image too."""
    _write_network(subject, source, path, "float16")


def _write_network(subject: Subject, source: Path, path: Path, number_type: str) -> None:
    import torch

    dtype = getattr(torch, number_type)
    network = build_network(subject.arch)
    network.load_state_dict(torch.load(source, weights_only=True))
    network.to(dtype)
    image = torch.zeros(2, subject.arch.in_channels, *subject.arch.image_size, dtype=dtype)
    torch.onnx.export(
        network,
        (image,),
        path,
        input_names=["image"],
        output_names=["logits"],
        opset_version=20,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def _write_static(subject: Subject, source: Path, path: Path) -> None:
    """QDQ around every operator that the quantizer knows: faster here than around matrix products alone."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(_preprocessed(source, path)),
        str(path),
        _Reader(subject.arch),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    _drop_preprocessed(path)


def _write_dynamic(subject: Subject, source: Path, path: Path) -> None:
    """Matrix products only: the convolution of the patch embedding is faster in float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(_preprocessed(source, path)),
        str(path),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    _drop_preprocessed(path)


def _write_openvino(subject: Subject, source: Path, path: Path) -> None:
    import nncf
    import openvino

    images = [image[None] for image in _calibration(subject.arch)]
    model = nncf.quantize(
        openvino.Core().read_model(source),
        nncf.Dataset(images),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(model, path, compress_to_fp16=False)


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


_WRITERS = {
    "weights": _write_weights,
    "float": _write_float,
    "half": _write_half,
    "static-int8": _write_static,
    "dynamic-int8": _write_dynamic,
    "openvino-int8": _write_openvino,
}


class _Reader:
    """Calibration images for ONNX Runtime's quantizer."""

    def __init__(self, arch: Architecture) -> None:
        self.images: Iterator[Any] = iter(_calibration(arch))

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image[None]}


def _calibration(arch: Architecture) -> Any:
    return float_images(CALIBRATION_IMAGES, arch.in_channels, arch.image_size)


def _preprocessed(source: Path, path: Path) -> Path:
    """The float model after ONNX Runtime's own preparation for quantisation, beside the output."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    return prepared


def _drop_preprocessed(path: Path) -> None:
    path.with_suffix(".prepared").unlink()


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
