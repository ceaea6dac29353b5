"""Evaluation of a model: the same images, prepared once, for the integers and for the floating-point network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivit_onnx.architectures import Preprocess
from ivit_onnx.datasets import ImageDataset
from ivit_onnx.errors import ImageError, ModelError
from ivit_onnx.evaluation.counts import Counts
from ivit_onnx.evaluation.loading import Findings, chosen, load_batches, takes_whole
from ivit_onnx.evaluation.state import State, file_hash
from ivit_onnx.images import normalize
from ivit_onnx.metadata import ModelDescription, describe
from ivit_onnx.numbers import check_number, check_numbers
from ivit_onnx.processors import processors

__all__ = ["DEFAULT_BATCH", "Evaluation", "default_workers", "evaluate"]

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]
Network = Callable[[Array], Array]

DEFAULT_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    `whole`: the images had the model's size and were neither resized nor cropped. `unreadable`: what is wrong with each
    image that could not be read and is not among `counts`. `notes`: what was assumed, and done to images in this run.
    """

    description: ModelDescription
    counts: Counts
    whole: bool
    floating: bool
    resumed: int
    seconds: float
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object; accuracies in 0..1, a top-5 accuracy only of more than five classes.

        `images_per_second` is of a model alone; `seconds` is the time of this run, with the reading of images.
        """
        counts = self.counts
        five = self.description.classes > 5

        def model(top1: int, top5: int, seconds: float) -> dict[str, Any]:
            return {
                "top1": top1 / counts.images,
                "top5": top5 / counts.images if five else None,
                "top1_images": top1,
                "top5_images": top5 if five else None,
                "images_per_second": round(counts.images / seconds, 3) if seconds > 0 else None,
            }

        floating = model(counts.float_top1, counts.float_top5, counts.float_seconds) if self.floating else None
        return {
            "architecture": self.description.architecture,
            "classes": self.description.classes,
            "images": counts.images,
            "labels": len(counts.labels),
            "classes_chosen": len(counts.chosen),
            "preprocess": self.description.preprocess.to_json() | {"resized": not self.whole},
            "integer": model(counts.integer_top1, counts.integer_top5, counts.integer_seconds),
            "float": floating,
            "agreement": counts.agree / counts.images if self.floating else None,
            "lost": counts.lost if self.floating else None,
            "gained": counts.gained if self.floating else None,
            "resumed_images": self.resumed,
            "unreadable": self.unreadable,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    model: PathLike,
    data: ImageDataset,
    *,
    against: PathLike | None = None,
    limit: int | None = None,
    batch: int = DEFAULT_BATCH,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    kernels: bool = True,
    state: PathLike | None = None,
    on_progress: Callable[[Counts, int], None] | None = None,
) -> Evaluation:
    """Top-1 and top-5 accuracy of a model on labelled images, and of the floating-point network it was made from.

    Images are prepared once, as the model's metadata says, and given to both. Those that are not readable are left out
    and named in the result; a run that goes on from a `state` tries them again.

    Args:
        model: a file that `export` wrote.
        data: labelled images, see `ivit_onnx.datasets.open_dataset`; its classes are the model's.
        against: the checkpoint of the model: its network runs too, in PyTorch and floating point.
        limit: at most this many images, evenly spaced.
        batch: images in a run of a model.
        workers: threads that read images; by default one for each processor, up to 8.
        threads: threads of ONNX Runtime, and of PyTorch.
        device: one of `ivit_onnx.runtime.DEVICES`. With a GPU, PyTorch runs there too if it can.
        kernels: False runs the function bodies of the file.
        state: a file to keep the counts in, and to go on from if it is there.
        on_progress: is told the counts and the number of all images, at the start and after each batch.

    Raises:
        ModelError: the model is not ours, has no head, or has other classes than the data.
        ImageError: no image is readable, or there are none.
        OptionError: a number is out of its range.
        IvitError: the state is of another model or data.
    """
    import ivit_onnx

    check_number("batch", batch, key="batch_size")
    check_numbers(limit=limit, threads=threads)
    if workers is not None:
        check_number("workers", workers, key="readers")
    session = ivit_onnx.create_session(model, provider=device, threads=threads, kernels=kernels)
    description = describe(session, model)
    check_classes(description, data, model)
    floating = None if against is None else _floating(model, against, threads, device)
    indices = chosen(len(data), limit)
    identity: dict[str, Any] = {}
    if state is not None:
        identity = {"model": file_hash(model), "images": len(indices)}
        identity["float network"] = floating is not None  # of the checkpoint that the model tells
    progress = State(state, identity, data.fingerprint)
    counts, resumed, started = progress.counts, progress.counts.images, time.perf_counter()
    if on_progress is not None:
        on_progress(counts, len(indices))
    integer = _integer(session, description, model)
    workers = default_workers() if workers is None else workers
    findings = Findings()

    def count(part: Sequence[int], *, save: bool) -> None:
        for pixels, labels in load_batches(data, description.preprocess, part, batch, workers, findings):
            if labels.min() < 0 or labels.max() >= description.classes:
                raise ImageError(
                    f"expected labels from 0 to {description.classes - 1}, found {labels.min()}..{labels.max()}"
                )
            logits, seconds = _timed(integer, pixels)
            others, float_seconds = (None, 0.0) if floating is None else _timed(floating, pixels)
            counts.integer_seconds += seconds
            counts.float_seconds += float_seconds
            counts.add(labels, logits, others)
            if save:
                progress.unreadable = list(findings.unreadable)
                progress.save()
            if on_progress is not None:
                on_progress(counts, len(indices))

    rest = indices[resumed + len(progress.unreadable) :]
    count(progress.unreadable, save=False)
    count(rest, save=True)
    progress.unreadable = list(findings.unreadable)
    if counts.images == 0:
        raise ImageError(
            f"none of {len(indices)} images can be read, the first: {next(iter(findings.unreadable.values()))}"
        )
    progress.save(now=True)
    notes = [*data.notes, *filter(None, [data.order_note]), *findings.notes(), *counts.notes()]
    return Evaluation(
        description,
        counts,
        takes_whole(data, description.preprocess),
        floating is not None,
        resumed,
        time.perf_counter() - started,
        list(findings.unreadable.values()),
        notes,
    )


def default_workers() -> int:
    """Threads that read images, when nothing is said."""
    return min(8, processors())


def check_classes(description: ModelDescription, data: ImageDataset, model: PathLike) -> None:
    """Raise ModelError unless the model chooses among the classes of the data."""
    if description.output != "logits":
        raise ModelError(
            f"{model} returns {description.output}, expected classes to choose from: its checkpoint has no head"
        )
    found, expected = len(data.classes), description.classes
    numbers = data.classes == [str(number) for number in range(found)]
    if found == expected or (numbers and found < expected):
        return
    advice = "labels are counted from 0" if numbers else "name the model's classes in order with --classes"
    raise ModelError(f"{model} has {expected} classes, the data {found}, from {data.classes[0]!r}: {advice}")


def _integer(session: Any, description: ModelDescription, model: PathLike) -> Network:
    def run(pixels: Array) -> Array:
        inputs = pixels
        if description.input_type != "uint8":
            inputs = description.model_input(normalize(pixels, description.preprocess))
        try:
            return np.asarray(session.run(None, {description.input_name: inputs})[0])
        except Exception as error:  # onnxruntime has one exception type for each status
            raise ModelError(f"{model} does not run: {' '.join(str(error).split())}") from None

    return run


def _floating(model: PathLike, against: PathLike, threads: int | None, device: str) -> Network:
    """The network of a checkpoint without quantisation: uint8 pixels to float32 logits."""
    import torch

    from ivit_onnx.api import load_twin

    if threads is not None:
        torch.set_num_threads(threads)
    twin = load_twin(model, against)
    twin.set_quantized(False)
    place = "cuda" if device.endswith("cuda") and torch.cuda.is_available() else "cpu"
    twin.to(place)
    preprocess: Preprocess = twin.preprocess

    def run(pixels: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(twin(torch.from_numpy(normalize(pixels, preprocess)).to(place)).cpu().numpy())

    return run


def _timed(network: Network, pixels: Array) -> tuple[Array, float]:
    started = time.perf_counter()
    logits = network(pixels)
    return logits, time.perf_counter() - started
