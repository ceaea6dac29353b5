"""`ivit-train`: quantisation-aware training, and that of the floating-point networks it starts from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ivit_onnx.cli._output import print_json, print_lines, print_pairs
from ivit_onnx.cli._records import expanded
from ivit_onnx.options.training import Options

if TYPE_CHECKING:
    from ivit_onnx.training import TrainReport

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
@expanded
def train(
    *,
    options: Options,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --output, if it was interrupted."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Train a vision transformer for integers, from a floating-point checkpoint.

    The network is calibrated on training images, then trained on the values that its integers stand for. The result,
    OUTPUT/model.safetensors, is a checkpoint that ivit-export takes without calibration. Interrupted at any moment, the
    same command with --resume goes on and computes what it would have.

    Runs on one process as it is, and on many under torchrun or `accelerate launch`.

    Examples:

    \b
      ivit-train --data imagenet/ --model deit_tiny_patch16_224 --pretrained -o deit_tiny/
      ivit-train --data generated --checkpoint vit.pt --num-heads 2 --distill soft --no-augment -o vit_qat/
      torchrun --nproc-per-node 8 -m ivit_onnx.cli.train --data imagenet/ --checkpoint deit.pth -o deit_qat/
      ivit-export deit_tiny/model.safetensors -o deit_tiny.onnx
    """
    from ivit_onnx.training import train as run

    report = run(options, resume=resume, progress=sys.stderr.isatty())
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)


def _print_report(report: TrainReport) -> None:
    before = {"float": "floating point, before", "integers": "integers, before"}
    after = "accuracy of the integers" if report.network == "integers" else "accuracy"
    rows = [(before[name], f"{value:.2%}") for name, value in report.start.items()]
    rows.append((after, f"{report.accuracy:.2%}"))
    if report.agreement is not None:
        found = report.agreement
        rows.append(
            (
                "training forward against integers",
                f"same class for {found['argmax']:.2%} of {found['images']} images, logits differ by "
                f"{found['relative']:.2%} (root mean square), {found['largest']:.3g} at most",
            )
        )
    rows.append(
        (
            "time",
            f"{report.seconds:.0f} s for {report.steps} steps, {report.images_per_second:.0f} images/s on "
            f"{report.processes} x {report.device}",
        )
    )
    print_pairs(f"wrote {report.checkpoint}", rows)
    print_lines([f"warning: {warning}" for warning in report.warnings], style="yellow")


if __name__ == "__main__":
    from ivit_onnx.cli import train_main

    sys.exit(train_main())
