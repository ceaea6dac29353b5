"""`ivit-verify`: show that a model is integer-only and bit-exact in every implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ivit_onnx.cli._choice import choice
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import hush_runtime, print_json, print_lines, print_table
from ivit_onnx.cli._proof import print_proof, proof_lines
from ivit_onnx.cli._run import Threads
from ivit_onnx.comparison import REFERENCE, Comparison
from ivit_onnx.options.choices import Device
from ivit_onnx.printable import printable
from ivit_onnx.verification import VerificationReport, prove_file
from ivit_onnx.verification import verify as verify_model

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

#: Findings shown to people; JSON has all of them.
SHOWN = 10


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file written by ivit-export.")],
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="The checkpoint it was exported from, to compare with PyTorch too, and in floating point with the "
            "library that made it, where that is installed.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Real images to compare on: a folder, an image, an .npz (key `images`) or .npy file."),
    ] = None,
    count: Annotated[
        int, typer.Option(**number("count"), help="How many random images, and at most how many real ones.")
    ] = 8,
    seed: Annotated[int, typer.Option(**number("seed"), help="Seed of the random images.")] = 0,
    threads: Threads = None,
    device: Annotated[
        Device,
        typer.Option(
            **choice(Device),
            help="Compare kernels there too: operators of the CUDA provider (an NVIDIA GPU; needs onnxruntime-gpu), or "
            "the compiled graph (ivit-cuda needs no other package).",
        ),
    ] = "cpu",
    prove: Annotated[
        bool,
        typer.Option("--prove", help="Only prove that nothing overflows, and show how much headroom each node leaves."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Check that a model has no floating point in it, cannot overflow, and computes the same bits everywhere.

    First every value, initializer, attribute and function body is looked at, and each function is compared with the
    operator set's own. Then the same images run through the function bodies in plain ONNX Runtime, through the native
    kernels, and with --against through PyTorch. With --device cuda the kernels of the GPU take part too, compared with
    the function bodies on the CPU. What the images made the model do is part of the report; equal bits of images that
    are all the same, or that all give the same logits, verify nothing.

    The proof against overflow bounds every intermediate result from the types of the inputs and the weights. It is made
    again and compared with the certificate that ivit-export put into the file. With --prove, nothing else is done.

    Exit status: 0 all equal, 1 something is float, can overflow, differs or shows nothing, 2 wrong input.

    Examples:

    \b
      ivit-verify deit_tiny.onnx
      ivit-verify deit_tiny.onnx --against deit_tiny.pth --images photos/
      ivit-verify --prove deit_tiny.onnx
    """
    if prove:
        proof = prove_file(model)
        if as_json:
            print_json({"model": str(model), "passed": proof.passed, **proof.to_json()})
        else:
            print_proof(proof)
        raise typer.Exit(0 if proof.passed else 1)
    hush_runtime()
    with Console(stderr=True).status("starting") as status:  # shown on a terminal only
        report = verify_model(
            model,
            against,
            images,
            count,
            seed,
            threads=threads,
            device=device,
            on_stage=lambda stage: status.update(Text(printable(stage))),
        )
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if not report.passed:
        raise typer.Exit(1)


def _print_report(report: VerificationReport) -> None:
    audit = report.audit
    if report.integer_only:
        what = f"no floating point in {audit.values} values, their attributes and {audit.functions} function bodies"
        lines = [f"integer-only: {what}"]
        if audit.boundary is not None:
            lines.append(f"the only exception is the boundary of the float32 input: {audit.boundary}")
        print_lines(lines)
    else:
        print_lines([f"NOT integer-only: {len(audit.findings)} findings", *audit.findings[:SHOWN]], style="red")
    if report.findings:
        print_lines([f"NOT verified: {len(report.findings)} findings", *report.findings[:SHOWN]], style="red")
    if report.proof is not None:
        print_lines(proof_lines(report.proof), style="" if report.proof.passed else "red")
    if report.comparisons:
        _print_comparisons(report)
    if report.original is not None:
        found = report.original
        same = "the same network" if found.passed else "ANOTHER NETWORK"
        print_lines(
            [f"in floating point, against {found.library}: {same}, relative error {found.error:.1e}"],
            style="" if found.passed else "red",
        )
    print_lines([f"note: {note}" for note in report.notes])
    verdict = "verified" if report.passed else "FAILED"
    print_lines([f"{verdict}: bit-exact {report.equal}/{report.total}"], style="green" if report.passed else "red")


def _print_comparisons(report: VerificationReport) -> None:
    print_table(
        f"against the {REFERENCE} in plain ONNX Runtime, one image at a time",
        ["implementation", "batch", "images", "result"],
        [[entry.implementation, str(entry.batch), entry.images, _result(entry)] for entry in report.comparisons],
        right=(1,),
    )
    print_table(
        "what the images exercised: as the model sees them, and what it makes of them",
        ["images", "number", "different", "pixel values", "different answers", "classes chosen", "logits"],
        [
            [
                entry.images,
                *map(str, (entry.count, entry.different, entry.values, entry.answers, entry.classes)),
                f"{entry.least}..{entry.most}",
            ]
            for entry in report.evidence
        ],
        right=(1, 2, 3, 4, 5, 6),
    )


def _result(entry: Comparison) -> str:
    text = f"bit-exact {entry.equal}/{entry.total}"
    if entry.first is None:
        return text
    first = entry.first
    return (
        f"{text}; {entry.elements} logits differ, the first in image {first['image']}, class {first['class']}: "
        f"expected {first['expected']}, found {first['found']}"
    )
