"""Verification of an exported model: integers only, and the same integers from every implementation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ivit_onnx.errors import ModelError
from ivit_onnx.float_audit import FloatAudit, audit
from ivit_onnx.images import ImageSource, left_out, normalize, read_images
from ivit_onnx.metadata import ModelDescription, describe
from ivit_onnx.model_files import load_graph, load_with_weights
from ivit_onnx.numbers import check_numbers
from ivit_onnx.proof import ProofReport, mismatch, prove, read_certificate

if TYPE_CHECKING:
    from ivit_onnx.checkpoints import Given
    from ivit_onnx.original import OriginalComparison

__all__ = ["Comparison", "Proof", "VerificationReport", "prove_file", "random_images", "verify"]

Array = np.ndarray[Any, Any]
Implementation = Callable[[Array], Array]

#: Batch sizes that every implementation is run with.
BATCHES = (1, 3)
REFERENCE = "function bodies"


@dataclass(frozen=True)
class Comparison:
    """One implementation against the function bodies on one set of images.

    `equal` of `total` images have the same logits, bit for bit; `elements` logits differ; `first` describes the first
    difference (image, class, expected, found).
    """

    implementation: str
    batch: int
    images: str
    equal: int
    total: int
    elements: int = 0
    first: dict[str, int] | None = None


@dataclass(frozen=True)
class Proof:
    """The proof that a model does not overflow; `mismatch` says how its certificate differs, if it has one."""

    report: ProofReport
    certified: bool
    mismatch: str | None

    @property
    def passed(self) -> bool:
        """Everything is proven, and the certificate says so of this graph."""
        return self.report.proven and self.mismatch is None

    def to_json(self) -> dict[str, Any]:
        """The proof as a JSON object."""
        return {**self.report.to_json(), "certified": self.certified, "mismatch": self.mismatch}


@dataclass(frozen=True)
class VerificationReport:
    """The result of `verify`: `passed` when nothing is float, every comparison is equal, and the certificate of the
    proof against overflow, if the model has one, is right. `proof` is None without a certificate, `original` where the
    library that made the checkpoint could not be asked."""

    model: str
    audit: FloatAudit
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    proof: Proof | None = None
    original: OriginalComparison | None = None

    @property
    def integer_only(self) -> bool:
        """Nothing float was found, save the boundary node of a float32 input."""
        return not self.audit.findings

    @property
    def equal(self) -> int:
        """Image runs with equal bits, over all comparisons."""
        return sum(comparison.equal for comparison in self.comparisons)

    @property
    def total(self) -> int:
        """Image runs that were compared."""
        return sum(comparison.total for comparison in self.comparisons)

    @property
    def passed(self) -> bool:
        proven = self.proof is None or self.proof.passed
        same = self.original is None or self.original.passed
        return self.integer_only and proven and same and self.equal == self.total

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "model": self.model,
            "passed": self.passed,
            "integer_only": self.integer_only,
            "float_findings": list(self.audit.findings),
            "boundary": self.audit.boundary,
            "proof": None if self.proof is None else self.proof.to_json(),
            "values_checked": self.audit.values,
            "functions_checked": self.audit.functions,
            "bit_exact": f"{self.equal}/{self.total}",
            "original": None if self.original is None else asdict(self.original),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "notes": list(self.notes),
        }


def verify(
    model: str | os.PathLike[str],
    against: Given | None = None,
    images: ImageSource | None = None,
    count: int = 8,
    seed: int = 0,
    *,
    threads: int | None = None,
    device: str = "cpu",
    on_stage: Callable[[str], None] | None = None,
) -> VerificationReport:
    """Check that a model is integer-only and that all its implementations give the same bits.

    The reference is the model's own function bodies in plain ONNX Runtime, one image at a time. Compared with it: the
    same in batches, the native kernels, with `device` "cuda" those of the GPU too, and with `against` (the checkpoint
    of the model) the PyTorch twin, whose floating-point network is compared with the forward of the library that made
    the checkpoint, where that is installed; each on `count` random images of the full pixel range, drawn from `seed`,
    and on up to `count` real `images`. `on_stage` is told what is being done.

    Raises ModelError, ImageError or CheckpointError when something cannot be read, OptionError when a
    number is out of its range, IvitError when the device is not there; differences are in the report.
    """
    check_numbers(count=count, seed=seed, threads=threads)
    stage = on_stage or _silent
    stage("looking for floating point")
    result = audit(load_graph(model))
    proof = None
    if not result.findings:
        stage("proving that nothing overflows")
        proof = prove_file(model, certified_only=True)
    stage("loading")
    implementations, description = _implementations(model, against, threads, device)
    sets = {
        "random": description.model_input(normalize(random_images(description, count, seed), description.preprocess))
    }
    notes = []
    original: OriginalComparison | str | None = None
    if images is None:
        notes.append("no real images were given: compared on random images only (pass --images)")
    else:
        unreadable: list[str] = []
        real = list(read_images(images, description.preprocess, count, unreadable))
        notes += left_out("verification", unreadable)
        sets["real"] = description.model_input(np.stack(real))
    if against is None:
        notes.append("no checkpoint was given: the PyTorch twin was not compared (pass --against)")
    else:
        stage("comparing with the library that made the checkpoint")
        from ivit_onnx.original import compare_with_original

        original = compare_with_original(model, against)
        if isinstance(original, str):
            notes.append(original)
    if proof is None and not result.findings:
        notes.append("the model has no certificate of a proof against overflow (see --prove)")
    comparisons: list[Comparison] = []
    for kind, inputs in sets.items():
        comparisons += _compare(implementations, inputs, kind, stage)
    other = None if isinstance(original, str) else original
    return VerificationReport(os.fspath(model), result, tuple(comparisons), tuple(notes), proof, other)


@overload
def prove_file(model: str | os.PathLike[str]) -> Proof: ...
@overload
def prove_file(model: str | os.PathLike[str], *, certified_only: bool) -> Proof | None: ...
def prove_file(model: str | os.PathLike[str], *, certified_only: bool = False) -> Proof | None:
    """Prove that a model does not overflow, and compare with its certificate. None if it has none and
    `certified_only`. Raises ModelError when it cannot be read or is not valid."""
    proto = load_with_weights(model)
    certified = read_certificate(proto) is not None
    if certified_only and not certified:
        return None
    report = prove(proto)
    return Proof(report, certified, mismatch(proto, report))


def random_images(description: ModelDescription, count: int, seed: int) -> Array:
    """uint8 [count, 3, height, width] over the full pixel range.

    Four kinds in turn: noise, noise of extreme values, coarse blocks, one colour.
    """
    size = description.preprocess.size
    shape = (3, *size)
    rng = np.random.default_rng(seed)
    coarse = [max(side // 8, 1) for side in size]
    rows, columns = (-(-side // blocks) for side, blocks in zip(size, coarse, strict=True))

    def image(kind: int) -> Array:
        if kind == 0:
            return rng.integers(0, 256, shape, dtype=np.uint8)
        if kind == 1:
            return np.asarray(rng.integers(0, 2, shape) * 255, np.uint8)
        if kind == 2:
            blocks = rng.integers(0, 256, (3, *coarse), dtype=np.uint8)
            return blocks.repeat(rows, axis=1).repeat(columns, axis=2)[:, : size.height, : size.width]
        return np.broadcast_to(rng.integers(0, 256, (3, 1, 1), dtype=np.uint8), shape)

    return np.stack([image(index % 4) for index in range(count)])


def _implementations(
    model: str | os.PathLike[str], against: Given | None, threads: int | None, device: str
) -> tuple[dict[str, Implementation], ModelDescription]:
    """Every implementation as a function from model inputs [N, 3, H, W] to logits [N, classes]."""
    import ivit_onnx
    from ivit_onnx.runtime import DEVICES

    bodies = ivit_onnx.create_session(model, kernels=False, threads=threads)
    description = describe(bodies, os.fspath(model))
    kernels = ivit_onnx.create_session(model, kernels=True, threads=threads)
    implementations = {
        REFERENCE: _session(bodies, description.input_name, os.fspath(model)),
        "kernels": _session(kernels, description.input_name, os.fspath(model)),
    }
    if device != "cpu":
        session = ivit_onnx.create_session(model, DEVICES[device], threads=threads)
        implementations[f"kernels on {device}"] = _session(session, description.input_name, os.fspath(model))
    if against is not None:
        implementations["PyTorch"] = _twin(model, against, threads)
    return implementations, description


def _session(session: Any, input_name: str, model: str) -> Implementation:
    def run(inputs: Array) -> Array:
        try:
            return np.asarray(session.run(None, {input_name: inputs})[0])
        except Exception as error:  # onnxruntime has one exception type for each status
            raise ModelError(f"{model} does not run: {' '.join(str(error).split())}") from None

    return run


def _twin(model: str | os.PathLike[str], checkpoint: Given, threads: int | None) -> Implementation:
    import torch

    from ivit_onnx.api import load_twin

    if threads is not None:
        torch.set_num_threads(threads)
    twin = load_twin(model, checkpoint)

    def run(inputs: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(twin(torch.from_numpy(inputs)).numpy())

    return run


def _silent(stage: str) -> None:
    """Nobody wants to know."""


def _compare(
    implementations: dict[str, Implementation], inputs: Array, kind: str, stage: Callable[[str], None]
) -> Iterator[Comparison]:
    """Every implementation and batch size against the function bodies with batch 1."""
    stage(f"{REFERENCE}, {len(inputs)} {kind} images")
    expected = _in_batches(implementations[REFERENCE], inputs, 1)
    for name, run in implementations.items():
        for batch in BATCHES:
            if name != REFERENCE or batch != 1:
                stage(f"{name}, {len(inputs)} {kind} images, batch {batch}")
                yield _comparison(name, batch, kind, expected, _in_batches(run, inputs, batch))


def _in_batches(run: Implementation, inputs: Array, batch: int) -> Array:
    """Logits [N, classes] of inputs [N, ..], always `batch` at a time; the last batch is filled up by repetition."""
    outputs: list[Array] = []
    for start in range(0, len(inputs), batch):
        chunk = inputs[start : start + batch]
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], batch - len(chunk), axis=0)])
        outputs.append(run(filled)[: len(chunk)])
    return np.concatenate(outputs)


def _comparison(name: str, batch: int, kind: str, expected: Array, found: Array) -> Comparison:
    if expected.shape != found.shape or not np.issubdtype(found.dtype, np.integer):
        raise ModelError(
            f"expected logits {expected.dtype} {list(expected.shape)} as from the function bodies, "
            f"found {found.dtype} {list(found.shape)} from {name}"
        )
    different = expected.astype(np.int64) != found.astype(np.int64)
    equal = int((~different.any(axis=1)).sum())
    if equal == len(expected):
        return Comparison(name, batch, kind, equal, len(expected))
    image, position = (int(index) for index in np.argwhere(different)[0])
    first = {
        "image": image,
        "class": position,
        "expected": int(expected[image, position]),
        "found": int(found[image, position]),
    }
    return Comparison(name, batch, kind, equal, len(expected), int(different.sum()), first)
