"""Features of the pictures of real.py, by the network in floating point and by ONNX files of it; kept in the cache.

Features of a quantised network are compared with those of floating point on the same pictures:

* photographs: the tokens after the final norm, class token first;
* objects: the class token;
* residual streams after each block, for exports of this package, on the first photographs only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_weights import DEPTH, MEAN, STD, float_model

Array = np.ndarray[Any, Any]

#: Residual streams are kept of this many photographs: each of EVALUATION once.
STREAMS = 31
BATCH = 4


@dataclass(frozen=True)
class Pictures:
    """The data of real_data.py: uint8 images [.., 3, 224, 224], and what is known of them.

    `photographs` [N] and `pictures` [M] tell which crops are of one photograph and which objects of one picture;
    `labels` [M] has the classes of objects.
    """

    calibration: Array
    photos: Array
    photographs: Array
    objects: Array
    labels: Array
    pictures: Array
    classes: list[str]

    @classmethod
    def load(cls, cache: Path, limit: int | None = None) -> Pictures:
        """The data in the cache folder; with `limit`, that many photographs and pictures of objects (evenly spaced)."""
        calibration, photos, stamps = (np.load(cache / f"{name}.npz") for name in ("calib", "eval", "stamps"))
        count = int(stamps["pictures"].max()) + 1
        chosen = np.arange(count) if limit is None else np.unique(np.linspace(0, count - 1, limit).astype(int))
        kept = np.isin(stamps["pictures"], chosen)
        return cls(
            calibration["images"],
            photos["images"][:limit],
            photos["photographs"][:limit],
            stamps["images"][kept],
            stamps["labels"][kept],
            stamps["pictures"][kept],
            stamps["classes"].tolist(),
        )

    def digest(self) -> str:
        """Identifies all pictures."""
        digest = hashlib.sha256()
        for images in (self.calibration, self.photos, self.objects):
            digest.update(np.ascontiguousarray(images))
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Features:
    """float32 `tokens` [N, 257, 384] of photographs, `objects` [M, 384], `streams` [12, up to 31, 257, 384] or none."""

    tokens: Array
    objects: Array
    streams: Array

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, tokens=self.tokens, objects=self.objects, streams=self.streams)
        part.rename(path)

    @classmethod
    def load(cls, path: Path) -> Features:
        with np.load(path) as data:
            return cls(data["tokens"], data["objects"], data["streams"])


def cached(cache: Path, key: dict[str, Any], make: Callable[[], Features]) -> Features:
    """The features that were kept under this key, or else made now and kept."""
    path = cache / "features" / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        make().save(path)
    return Features.load(path)


def normalise(images: Array) -> Array:
    """uint8 [N, 3, H, W] to the network's float32 input of the same shape."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def batches(images: Array, run: Callable[[Array], Any]) -> list[Any]:
    return [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]


def float_features(state: dict[str, torch.Tensor], pictures: Pictures) -> Features:
    """By timm's network in float32."""
    model = float_model(state)
    seen: list[list[Array]] = [[] for _ in range(DEPTH)]
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _, __, output, index=index: seen[index].append(output.numpy()))

    def tokens(images: Array) -> Array:
        found: Array = model.forward_features(torch.from_numpy(normalise(images))).numpy()
        return found

    with torch.inference_mode():
        first = batches(pictures.photos[:STREAMS], tokens)
        streams = np.stack([np.concatenate(stream) for stream in seen])
        for block in model.blocks:
            block._forward_hooks.clear()
        rest = batches(pictures.photos[STREAMS:], tokens)
        objects = batches(pictures.objects, lambda images: tokens(images)[:, 0])
    return Features(np.concatenate(first + rest), np.concatenate(objects), streams)


def tokens_features(run: Callable[[Array], Array], pictures: Pictures) -> Features:
    """By a function from normalised float32 images to tokens [N, 257, 384]."""
    tokens = batches(pictures.photos, lambda images: run(normalise(images)))
    objects = batches(pictures.objects, lambda images: run(normalise(images))[:, 0])
    return Features(np.concatenate(tokens), np.concatenate(objects), np.zeros((0,), np.float32))
