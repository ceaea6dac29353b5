"""`ivit-export`: from a checkpoint to an integer-only ONNX file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivit_onnx.architectures import KNOWN, architecture_from_json
from ivit_onnx.cli._output import megabytes, print_json, print_lines, print_pairs, print_table
from ivit_onnx.cli._records import expanded
from ivit_onnx.errors import ExportError
from ivit_onnx.files import check_output
from ivit_onnx.options.choices import FEW_BITS, MANY_BITS
from ivit_onnx.options.records import ExportOptions, ReadingOptions

if TYPE_CHECKING:
    from ivit_onnx.api import ExportReport

__all__ = ["app"]

#: `ivit_onnx.calibration.DEAD_LEAVES`, which only comes with PyTorch.
_DRAWN = "dead leaves"
#: Measured as docs/accuracy.md says.
_OTHERS = (
    "drawn images serve as well as photographs (26.4 dB either way on a DINOv2-S); where the model sees other things, "
    "images of these in --calib bring more (4 dB on digits)"
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _list_models(wanted: bool) -> None:
    """Print the known models and end the command."""
    if not wanted:
        return
    if sys.stdout.isatty():
        rows = [[name, arch.image_size.sides, arch.summary(), ", ".join(arch.traits())] for name, arch in KNOWN.items()]
        print_table("known models of timm", ["name", "images", "dimensions", "features"], rows)
    else:
        print_lines([*KNOWN])
    raise typer.Exit


@app.command()
@expanded
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Weights of a vision transformer, as timm, Hugging Face transformers, torchvision, open_clip, "
            "mmpretrain or the authors save them, or as the I-ViT code trained them: a file, or a folder with "
            "config.json. Code in it never runs.",
        ),
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The ONNX file to write, whole or not at all.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only print what the checkpoint is recognised as, and why.")
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            help="timm name to check the file against, such as deit_tiny_patch16_224. It also decides the number of "
            "heads and the normalisation. Without it, the architecture is read from the shapes in the file."
        ),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(
            help="Calibration images, a hundred typical ones: a folder (searched recursively), an .npz file "
            "(key `images`) or an .npy file with uint8 pixels or normalised float32. Without, images are drawn."
        ),
    ] = None,
    calib_cache: Annotated[
        Path | None,
        typer.Option(help="Keep the calibration in this file: read when it exists, else written."),
    ] = None,
    options: ExportOptions,
    reading: ReadingOptions,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    list_models: Annotated[
        bool,
        typer.Option(
            "--list-models",
            callback=_list_models,
            is_eager=True,
            help="Print the names that --arch takes and end; one per line when the output is not a terminal.",
        ),
    ] = False,
) -> None:
    """Turn a vision transformer checkpoint into one ONNX file that computes with integers only.

    Example images show the range of each activation of a floating-point checkpoint. Where none are given, the command
    draws some. A checkpoint of the reference I-ViT code has the ranges already.

    Examples:

    \b
      ivit-export deit_tiny.pth -o deit_tiny.onnx
      ivit-export deit_tiny.pth -o deit_tiny.onnx --calib photos/
      ivit-export deit_tiny.pth -o deit_tiny.onnx --arch deit_tiny_patch16_224 \\
          --calib photos/ --calib-images 64 --calib-cache deit_tiny.calib
      ivit-export deit_tiny.pth -o flat.onnx --flat --calib-cache deit_tiny.calib
      ivit-export digits.pth -o digits.onnx --calib digits.npz --num-heads 2 \\
          --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5

      ivit-export --explain deit_tiny.pth
      ivit-export --list-models

    Then check the result with `ivit-verify deit_tiny.onnx --against deit_tiny.pth`, and try it with
    `ivit-run deit_tiny.onnx photo.jpg`.
    """
    if explain:
        _explain(checkpoint, reading, arch, as_json)
        return
    if output is None:
        raise ExportError("expected a file to write: pass --output, or --explain to write nothing")
    check_output(output, force=force)
    _refuse_overwriting(output, checkpoint, calib, calib_cache)
    from ivit_onnx import api

    report = api.export_checkpoint(
        checkpoint,
        output,
        reading,
        options,
        arch=arch,
        calib=calib,
        calib_cache=calib_cache,
        force=force,
        progress=sys.stderr.isatty(),
    )
    if as_json:
        print_json(report.to_json())
    else:
        _print_summary(report)


def _explain(checkpoint: Path, reading: ReadingOptions, arch: str | None, as_json: bool) -> None:
    from ivit_onnx import api

    found = api.explain_checkpoint(checkpoint, reading, arch)
    if as_json:
        print_json(found)
        return
    network = architecture_from_json(found["arch"])
    rows = [
        ("layout", found["layout"]),
        ("network", ", ".join([f"{network.name}: {network.summary()}", *network.traits()])),
    ]
    rows += [(fact["what"], f"{fact['text']} ({fact['from']})") for fact in found["facts"].values()]
    print_pairs(f"{checkpoint}", rows)
    print_lines([f"note: {note}" for note in found["notes"]])
    print_lines([f"assumed: {assumption}" for assumption in found["assumptions"]])
    print_lines([f"warning: {warning}" for warning in found["warnings"]], style="yellow")


def _print_summary(report: ExportReport) -> None:
    arch, calibration, recognised = architecture_from_json(report.arch), report.calibration, report.recognised
    output = f"{arch.classes} classes" if arch.classes else "features without a head"
    operators = sorted(report.operators.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        ("architecture", f"{arch.name}: {arch.summary()}"),
        ("read as", recognised["layout"]),
        ("assumed", "; ".join(recognised["assumptions"]) or "nothing"),
        ("images", f"{arch.image_size.sides} pixels, {output}"),
        ("calibration", _calibration(calibration)),
        *([("attention", _bits(calibration["softmax_bits"]))] if "softmax_bits" in calibration else []),
        ("parameters", f"{report.parameters:,}"),
        (
            "file size",
            f"{megabytes(report.file_bytes)}, {report.file_bytes / report.float32_bytes:.1%} of "
            f"{megabytes(report.float32_bytes)} in float32",
        ),
        ("operators", ", ".join(f"{count} {name}" for name, count in operators)),
        ("accuracy", _quality(report.quality)),
        ("overflow", f"excluded: {report.proof['checks']:,} ranges proven, certificate in the metadata"),
        ("float output", f"integer output * {report.output_scale:.9g}"),
        ("time", f"{report.seconds:.1f} s"),
    ]
    print_pairs(f"wrote {' and '.join(report.files)}", rows)
    print_lines([f"note: {note}" for note in recognised["notes"]])
    if calibration.get("source") == _DRAWN:
        print_lines([f"note: {_OTHERS}"])
    print_lines([f"warning: {warning}" for warning in report.warnings], style="yellow")


def _quality(quality: dict[str, Any] | None) -> str:
    if quality is None:
        return "of the checkpoint, which was trained with these integers"
    images = f"{quality['images']} image{'s' if quality['images'] > 1 else ''}"
    seen = "that calibration did not see" if quality["held_back"] else "of the calibration"
    return (
        f"{quality['sqnr_db']:.1f} dB of signal over noise, cosine {quality['cosine']:.4f} (worst "
        f"{quality['worst_cosine']:.3f}) against floating point, {images} {seen}"
    )


def _calibration(calibration: dict[str, Any]) -> str:
    if calibration["method"] == "checkpoint":
        return "scales of the checkpoint, from its training"
    kind = "drawn images (dead leaves)" if calibration["source"] == _DRAWN else "images"
    return f"{calibration['images']} {kind}, preset {calibration['preset']}, ranges by {calibration['method']}"


def _bits(layers: dict[str, dict[str, Any]]) -> str:
    """How many layers have 8 bits, and which have 15, with what 8 would add to the noise of their branches."""
    few = [layer for layer in layers.values() if layer["bits"] == FEW_BITS]
    text = f"exponentials of {FEW_BITS} bits in {len(few)} of {len(layers)} layers"
    many = [f"{name} (noise +{layer['cost']:.0%})" for name, layer in layers.items() if layer["bits"] != FEW_BITS]
    return f"{text}; of {MANY_BITS} in {', '.join(many)}" if many else text


def _refuse_overwriting(output: Path, *inputs: Path | None) -> None:
    """Even with --force, an input is not replaced by the output."""
    for path in inputs:
        if path is not None and os.path.realpath(output) == os.path.realpath(path):
            raise ExportError(f"the output {output} is also an input; choose another name")
