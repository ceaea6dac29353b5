"""Verification of an exported model: integers only, and the same integers from every implementation."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ivit_onnx.comparison import REFERENCE, Comparison, Implementation, compare, reference_logits
from ivit_onnx.errors import ModelError
from ivit_onnx.evidence import Evidence, check_different, check_normalisation, quantised
from ivit_onnx.float_audit import FloatAudit, audit
from ivit_onnx.function_bodies import foreign_functions, unused_functions
from ivit_onnx.function_calls import all_nodes
from ivit_onnx.images import ImageSource, left_out, normalize, read_images
from ivit_onnx.metadata import ModelDescription, describe
from ivit_onnx.model_files import load_graph, load_with_weights
from ivit_onnx.numbers import check_numbers
from ivit_onnx.opset_version import check_opset_version
from ivit_onnx.proof import ProofReport, mismatch, prove, read_certificate

if TYPE_CHECKING:
    import onnx

    from ivit_onnx.checkpoints import Given
    from ivit_onnx.original import OriginalComparison

__all__ = ["Comparison", "Proof", "VerificationReport", "prove_file", "random_images", "verify"]

Array = np.ndarray[Any, Any]

#: Operators that are not defined for every divisor; ONNX Runtime ends the process there.
DIVISIONS = frozenset({"Div", "Mod"})


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
    """The result of `verify`: `passed` when nothing is float, every function is the operator set's, every comparison is
    equal and of something, and the certificate of the proof against overflow, if the model has one, is right.

    `functions` says what is wrong with a function. `evidence` is what each set of images exercised. `proof` is None
    without a certificate, save where it is why nothing was run and `comparisons` is empty; `original` where the library
    that made the checkpoint could not be asked.
    """

    model: str
    audit: FloatAudit
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    proof: Proof | None = None
    original: OriginalComparison | None = None
    functions: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """What is wrong with functions and with the evidence."""
        return (*self.functions, *filter(None, (entry.finding for entry in self.evidence)))

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
        return self.integer_only and not self.findings and proven and same and self.equal == self.total > 0

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
            "function_findings": list(self.functions),
            "bit_exact": f"{self.equal}/{self.total}",
            "original": None if self.original is None else asdict(self.original),
            "evidence": [entry.to_json() for entry in self.evidence],
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
    """Check that a model is integer-only, has the operator set's functions, and gives the same bits everywhere.

    The reference is the model's own function bodies in plain ONNX Runtime, one image at a time. Compared with it: the
    same in batches, the native kernels, with `device` "cuda" those of the GPU too, and with `against` (the checkpoint
    of the model) the PyTorch twin, whose floating-point network is compared with the forward of the library that made
    the checkpoint, where that is installed; each on `count` random images of the full pixel range, drawn from `seed`,
    and on up to `count` real `images`. `on_stage` is told what is being done.

    A model that divides and is not proven is not run: at an undefined division ONNX Runtime ends the process.

    Raises ModelError, ImageError or CheckpointError when something cannot be read, ModelError for a model of a later
    version of the domain, and where its normalisation makes images the same; ImageError where several real images are
    the same; OptionError when a number is out of its range, IvitError when the device is not there. Differences are in
    the report.
    """
    check_numbers(count=count, seed=seed, threads=threads)
    stage = on_stage or _silent
    stage("looking for floating point")
    graph = load_graph(model)
    check_opset_version(model, os.fspath(model))
    functions = _function_findings(graph)
    result = audit(graph)
    proof = None
    divides = any(node.op_type in DIVISIONS for node in all_nodes(graph))
    if divides or not result.findings:
        stage("proving that nothing overflows")
        proof = prove_file(model, certified_only=not divides)
    if divides and proof is not None and not proof.report.proven:
        note = (
            "nothing was run: the model divides and is not proven, and a division that is not defined ends the process"
        )
        shown = None if result.findings else proof
        return VerificationReport(os.fspath(model), result, (), (note,), shown, functions=functions)
    if proof is not None and not proof.certified:
        proof = None
    stage("loading")
    implementations, description = _implementations(model, against, threads, device)
    sets = {"random": random_inputs(description, graph, count, seed, os.fspath(model))}
    notes = []
    original: OriginalComparison | str | None = None
    if images is None:
        notes.append("no real images were given: compared on random images only (pass --images)")
    else:
        unreadable: list[str] = []
        real = list(read_images(images, description.preprocess, count, unreadable))
        notes += left_out("verification", unreadable)
        sets["real"] = description.model_input(np.stack(real))
        check_different(quantised(sets["real"], description, graph), "real images")
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
    evidence: list[Evidence] = []
    for kind, inputs in sets.items():
        stage(f"{REFERENCE}, {len(inputs)} {kind} images")
        expected = reference_logits(implementations, inputs)
        evidence.append(Evidence.of(kind, quantised(inputs, description, graph), expected))
        comparisons += compare(implementations, inputs, expected, kind, stage)
    other = None if isinstance(original, str) else original
    return VerificationReport(
        os.fspath(model), result, tuple(comparisons), tuple(notes), proof, other, functions, tuple(evidence)
    )


@overload
def prove_file(model: str | os.PathLike[str]) -> Proof: ...
@overload
def prove_file(model: str | os.PathLike[str], *, certified_only: bool) -> Proof | None: ...
def prove_file(model: str | os.PathLike[str], *, certified_only: bool = False) -> Proof | None:
    """Prove that a model does not overflow, and compare with its certificate. None if it has none and
    `certified_only`. Raises ModelError when it cannot be read or is not valid."""
    proto = load_with_weights(model)
    check_opset_version(model, os.fspath(model))
    certified = read_certificate(proto) is not None
    if certified_only and not certified:
        return None
    report = prove(proto)
    return Proof(report, certified, mismatch(proto, report))


def _function_findings(model: onnx.ModelProto) -> tuple[str, ...]:
    """What is wrong with functions, each by its name."""
    foreign = [f"function {name}: {reason}" for name, reason in foreign_functions(model).items()]
    return (*foreign, *(f"function {name}: nothing calls it; remove it" for name in unused_functions(model)))


def random_inputs(description: ModelDescription, graph: onnx.ModelProto, count: int, seed: int, name: str) -> Array:
    """Model inputs [count, 3, H, W] made of `random_images`. Raises ModelError, with the model's `name` in it, where
    the normalisation leaves no images of them."""
    pixels = random_images(description, count, seed)
    inputs = description.model_input(normalize(pixels, description.preprocess))
    check_normalisation(pixels, quantised(inputs, description, graph), name)
    return inputs


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
