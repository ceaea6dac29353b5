"""Training and evaluation data: timm's augmentations, in an order that follows from the seed alone.

Every random number is a function of the seed, the epoch and the image, or of the seed, the step and the process. So a
run does the same whether it was interrupted or not, and whatever the number of processes that load images.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from timm.data.auto_augment import posterize
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ivit_onnx.architectures import Preprocess
from ivit_onnx.datasets import ImageDataset
from ivit_onnx.errors import ImageError, TrainingError
from ivit_onnx.images import normalize, read_pixels
from ivit_onnx.options.training import Options

__all__ = [
    "Plan",
    "calibration_images",
    "check_classes",
    "evaluation_batches",
    "loader_errors",
    "mixup",
    "seeded",
    "training_batches",
    "whole_images",
]

Array = np.ndarray[Any, Any]


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed the generators of Python, numpy and PyTorch (CPU) with a mixture of `numbers`, and restore them after."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first, second, third = (int(word) for word in np.random.SeedSequence(numbers).generate_state(3))
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(third)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


@dataclass(frozen=True)
class Plan:
    """Which images make up which step. A step takes `batch_size` images, `share` of them at a time on each process.

    An epoch is a permutation of the data set that follows from the seed; an incomplete last batch is left out.

    Raises TrainingError when the batch cannot be shared equally, or the data set is smaller.
    """

    images: int
    epochs: int
    batch_size: int
    accumulate: int
    processes: int
    seed: int

    def __post_init__(self) -> None:
        if self.batch_size % (self.processes * self.accumulate):
            raise TrainingError(
                f"expected a --batch-size that {self.processes} processes with --accumulate {self.accumulate} can "
                f"share equally, found {self.batch_size}"
            )
        if self.images < self.batch_size:
            raise TrainingError(
                f"expected at least one batch of {self.batch_size} training images, found {self.images}; lower "
                "--batch-size"
            )

    @property
    def share(self) -> int:
        """Images that a process handles at a time."""
        return self.batch_size // (self.processes * self.accumulate)

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the optimizer in the whole training."""
        return self.epochs * self.steps_per_epoch

    def keys(self, first_step: int, process: int) -> Iterator[list[tuple[int, int]]]:
        """(epoch, image) of each share of a process, `accumulate` shares a step, from `first_step` to the end."""
        order, ordered = np.zeros(0, np.int64), -1
        for step in range(first_step, self.steps):
            epoch, batch = divmod(step, self.steps_per_epoch)
            if ordered != epoch:
                order, ordered = np.random.default_rng([self.seed, epoch]).permutation(self.images), epoch
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            for part in range(self.accumulate):
                start = (part * self.processes + process) * self.share
                yield [(epoch, int(index)) for index in chosen[start : start + self.share]]


class _Augmented(Dataset[tuple[Tensor, int]]):
    """Augmented, normalised images by (epoch, index)."""

    def __init__(self, data: ImageDataset, transform: Any, seed: int) -> None:
        self.data, self.transform, self.seed = data, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        image, label = self.data[key[1]]
        with seeded(self.seed, 1, *key):
            return self.transform(image), label


class _Evaluated(Dataset[tuple[Tensor, int]]):
    """uint8 pixels as the model's metadata says to prepare them."""

    def __init__(self, data: ImageDataset, preprocess: Preprocess) -> None:
        self.data, self.preprocess = data, preprocess

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.data[index]
        return torch.from_numpy(read_pixels(image, self.preprocess)), label


def training_batches(
    data: ImageDataset, preprocess: Preprocess, options: Options, plan: Plan, first_step: int, process: int
) -> DataLoader[tuple[Tensor, int]]:
    """Batches (float32 images [share, 3, height, width], labels [share]) of one process, from a step to the end."""
    return DataLoader(
        _Augmented(data, _transform(preprocess, options), options.seed),
        batch_sampler=_Batches(plan, first_step, process),  # type: ignore[arg-type]
        num_workers=options.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_one_thread,
    )


class _Batches:
    def __init__(self, plan: Plan, first_step: int, process: int) -> None:
        self.plan, self.first_step, self.process = plan, first_step, process

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.plan.keys(self.first_step, self.process)


def evaluation_batches(
    data: ImageDataset, preprocess: Preprocess, batch_size: int, workers: int, process: int, processes: int
) -> DataLoader[tuple[Tensor, int]]:
    """Batches (uint8 images, labels) of the part of a data set that one process evaluates."""
    return DataLoader(
        _Evaluated(data, preprocess),
        batch_size=batch_size,
        sampler=range(process, len(data), processes),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_one_thread,
    )


@contextmanager
def loader_errors() -> Iterator[None]:
    """An ImageError of a process that loads images without the traceback that PyTorch makes its message of."""
    try:
        yield
    except ImageError as error:
        raise ImageError(str(error).strip().rpartition("ivit_onnx.errors.ImageError: ")[2]) from None


def calibration_images(data: ImageDataset, preprocess: Preprocess, count: int, seed: int) -> Iterator[Array]:
    """Normalised float32 images [3, height, width] of random training images, prepared as for evaluation."""
    for index in np.random.default_rng([seed, 2]).permutation(len(data))[:count]:
        yield normalize(read_pixels(data[int(index)][0], preprocess), preprocess)


def mixup(options: Options, classes: int) -> Any:
    """timm's Mixup with CutMix, a function of (images, labels), or None. The targets are probabilities [N, classes]."""
    from timm.data.mixup import Mixup

    if not (options.mixup or options.cutmix):
        return None
    kind: Any = Mixup
    return kind(options.mixup, options.cutmix, label_smoothing=options.smoothing, num_classes=classes)


def _transform(preprocess: Preprocess, options: Options) -> Any:
    """timm's training transform; without any augmentation, that of evaluation."""
    from timm.data.transforms_factory import create_transform

    # Crops have about the form of the network's images.
    form = preprocess.size.width / preprocess.size.height
    augment = options.auto_augment if options.auto_augment != "none" else None
    transform = create_transform(
        (3, *preprocess.size),
        is_training=True,
        scale=(options.crop_scale, 1.0),
        ratio=(3 / 4 * form, 4 / 3 * form) if options.crop_scale < 1 else (form, form),
        hflip=options.hflip,
        vflip=options.vflip,
        color_jitter=options.color_jitter,
        auto_augment=augment,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        re_prob=options.random_erasing,
        re_mode="pixel",
    )
    for step in transform.transforms:
        policies: Any = getattr(step, "policy", [getattr(step, "ops", [])])
        for operation in (operation for policy in policies for operation in policy):
            if operation.aug_fn is posterize:
                operation.aug_fn = _posterize
    return transform


def _posterize(image: Any, bits: int, **others: Any) -> Any:
    """timm's operation for Pillow 12, which refuses to keep no bit at all."""
    operation: Any = posterize
    return operation(image, max(1, bits), **others)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def check_classes(train: ImageDataset, val: ImageDataset, outputs: int) -> None:
    """Raise TrainingError unless both splits have the classes that the network has."""
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes)) or ["their order"]
        raise TrainingError(f"the splits of the data have different classes, first difference: {odd[0]}")
    if len(train.classes) != outputs:
        raise TrainingError(
            f"the data has {len(train.classes)} classes, the network {outputs}; start from a network with these "
            "classes (--float --pretrained trains a new head)"
        )


def whole_images(preprocess: Preprocess, data: Sequence[ImageDataset]) -> Preprocess:
    """Images of the network's own size are taken whole, without resizing and cropping."""
    same = all(entry.size == preprocess.size for entry in data)
    return replace(preprocess, crop_pct=1.0) if same else preprocess
