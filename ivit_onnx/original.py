"""The network of a checkpoint as its own library computes it, beside ours in floating point.

Names and shapes can fit and the network still be another one: an activation function, a pooling, an order of
normalisations leave no trace in tensors. Where the library that made the checkpoint is installed, its own forward
tells.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.budgets import TEXT_BYTES
from ivit_onnx.checkpoints import Checkpoint, Given, load_as
from ivit_onnx.errors import IvitError
from ivit_onnx.exported import read_origin
from ivit_onnx.files import parse_json
from ivit_onnx.inputs import read_input
from ivit_onnx.models import from_checkpoint

__all__ = ["LARGEST_ERROR", "OriginalComparison", "compare_with_original"]

#: Largest relative error of float32 sums in another order.
LARGEST_ERROR = 1e-4
_IMAGES = 4
_SEED = 0

Forward = Callable[[Tensor], Tensor]


class _NotComparedError(IvitError):
    """Why the library's own forward is not at hand."""


@dataclass(frozen=True)
class OriginalComparison:
    """Our floating-point network beside that of `library`; `error` is relative to its outputs (Euclidean norm)."""

    library: str
    error: float

    @property
    def passed(self) -> bool:
        """Whether both are the same network, up to the order of sums."""
        return self.error <= LARGEST_ERROR


def compare_with_original(model: str | os.PathLike[str], given: Given) -> OriginalComparison | str:
    """Run both on the same random normalised images; a sentence where the other is not at hand.

    `model`: the exported model, which says how `given`, its checkpoint, was read. Raises ModelError and CheckpointError
    when one of them cannot be read.
    """
    arch, preprocess, choice = read_origin(model)
    loaded = load_as(given, arch, choice)
    if loaded.calibrated:
        return "the checkpoint was trained with integers, which no other library computes"
    try:
        library, forward = _original(given, loaded)
    except _NotComparedError as error:
        return f"not compared with the forward of the library that made it: {error}"
    twin = from_checkpoint(loaded, preprocess)
    twin.set_quantized(False)
    images = torch.randn((_IMAGES, 3, *arch.image_size), generator=torch.Generator().manual_seed(_SEED))
    with torch.inference_mode():
        expected, found = forward(images).double(), twin(images).double()
    if expected.shape != found.shape:
        return f"not compared with {library}: its output is {list(expected.shape)}, ours {list(found.shape)}"
    return OriginalComparison(library, float((found - expected).norm() / expected.norm()))


def _original(given: Given, loaded: Checkpoint) -> tuple[str, Forward]:
    """The library and its network's forward, from normalised images to what our network gives."""
    if isinstance(given, nn.Module):
        module = given.float().eval()
        return f"the module {type(given).__name__}", lambda images: _output(module(images))
    folder = Path(os.fspath(given)) if isinstance(given, str | os.PathLike) else None
    if folder is not None:
        folder = folder if folder.is_dir() else folder.parent
        config = _config(folder / "config.json")
        if "model_type" in config:
            return _transformers(folder, config)
    return _timm(loaded)


def _config(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_input(path, TEXT_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _transformers(folder: Path, config: dict[str, Any]) -> tuple[str, Forward]:
    if importlib.util.find_spec("transformers") is None:
        raise _NotComparedError("pip install transformers")
    import transformers

    name = next(iter(config.get("architectures") or ()), "AutoModel")
    made: Any = getattr(transformers, str(name), transformers.AutoModel)
    try:
        network = made.from_pretrained(folder, local_files_only=True, trust_remote_code=False).float().eval()
    except Exception as error:  # whatever a library makes of files that it does not like
        raise _NotComparedError(f"{name}: {' '.join(str(error).split())[:200]}") from None

    def forward(images: Tensor) -> Tensor:
        options: dict[str, Any] = {"pixel_values": images}
        if "interpolate_pos_encoding" in made.forward.__code__.co_varnames:
            options["interpolate_pos_encoding"] = True
        return _output(network(**options))

    return f"transformers {transformers.__version__} ({name})", forward


def _timm(loaded: Checkpoint) -> tuple[str, Forward]:
    if importlib.util.find_spec("timm") is None:
        raise _NotComparedError("pip install timm")
    import timm

    name = str(loaded.facts.value("name", loaded.arch.name))
    if not timm.models.is_model(name):
        raise _NotComparedError(f"{name} is no name of timm; pass the module itself to ivit_onnx.export to be sure")
    try:
        network = timm.create_model(name, num_classes=loaded.arch.classes, img_size=tuple(loaded.arch.image_size))
        network.load_state_dict(loaded.state_dict)
    except Exception as error:  # whatever a library makes of settings that it does not like
        raise _NotComparedError(f"timm's {name}: {' '.join(str(error).split())[:200]}") from None
    return f"timm {timm.__version__} ({name})", network.eval()


def _output(found: Any) -> Tensor:
    """Logits, or the features that our networks give, of what a library returns."""
    for name in ("logits", "image_embeds", "pooler_output", "last_hidden_state"):
        value = getattr(found, name, None)
        if isinstance(value, Tensor):
            return value[:, 0] if value.ndim == 3 else value
    if isinstance(found, Tensor):
        return found
    raise _NotComparedError(f"an output of {type(found).__name__}")
