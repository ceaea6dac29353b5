"""`ivit-train`: quantisation-aware training, and that of the floating-point networks it starts from."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivit_onnx.architectures import Size
from ivit_onnx.cli._choice import choice
from ivit_onnx.cli._colours import colours
from ivit_onnx.cli._data import ClassOrderOption
from ivit_onnx.cli._image_size import image_size
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import print_json, print_lines, print_pairs
from ivit_onnx.cli._reading import Act, Key, Plain, Pooling, Prefix, WeightsOption
from ivit_onnx.datasets import DESCRIPTION
from ivit_onnx.errors import TrainingError
from ivit_onnx.options import choices

if TYPE_CHECKING:
    from ivit_onnx.training import TrainReport

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_START, _QUANTIZATION, _RECIPE = "Where to start", "Quantisation", "Recipe"
_AUGMENTATION, _MACHINE = "Augmentation, as in timm", "Where and how to run"


@app.command()
def train(
    data: Annotated[str, typer.Option(help=f"Images: {DESCRIPTION}.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder for the checkpoint, the saved state and the metrics.")
    ],
    class_order: ClassOrderOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The floating-point network to start from, or one of ivit-train.", rich_help_panel=_START),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a timm model, such as deit_tiny_patch16_224; with --checkpoint, to check the file against.",
            rich_help_panel=_START,
        ),
    ] = None,
    model_kwargs: Annotated[
        str | None,
        typer.Option(
            help="Arguments of the timm model, such as patch_size=8,embed_dim=64,depths=(2,2).", rich_help_panel=_START
        ),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from timm's weights of --model.", rich_help_panel=_START)
    ] = False,
    floating: Annotated[
        bool,
        typer.Option(
            "--float",
            help="Train the floating-point network itself; from scratch without --checkpoint or --pretrained.",
            rich_help_panel=_START,
        ),
    ] = False,
    num_heads: Annotated[
        int | None,
        typer.Option(
            **number("num_heads"), help="Attention heads, where the file does not tell.", rich_help_panel=_START
        ),
    ] = None,
    img_size: Annotated[
        Size | None,
        typer.Option(**image_size(), help="Image size to use the network at.", rich_help_panel=_START),
    ] = None,
    act: Act = None,
    pool: Pooling = None,
    plain: Plain = False,
    weights: WeightsOption = "auto",
    key: Key = "",
    prefix: Prefix = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Mean of the pixels in 0..1 to normalise with.", rich_help_panel=_START),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Standard deviation of the same.", rich_help_panel=_START),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --output, if it was interrupted.", rich_help_panel=_START),
    ] = False,
    softmax_bits: Annotated[
        choices.SoftmaxBits | None,
        typer.Option(
            **choice(choices.SoftmaxBits),
            help="Fractional bits of attention probabilities.  \\[default: 15, or as the checkpoint was trained]",
            rich_help_panel=_QUANTIZATION,
        ),
    ] = None,
    nonlinear: Annotated[
        choices.Nonlinear | None,
        typer.Option(
            **choice(choices.Nonlinear),
            help="Softmax and GELU by tables of their exact values (table), or by the shifts of the I-ViT paper "
            "(ivit).  \\[default: table, or as the checkpoint was trained]",
            rich_help_panel=_QUANTIZATION,
        ),
    ] = None,
    calib_preset: Annotated[
        choices.Preset,
        typer.Option(
            **choice(choices.Preset),
            help="How the network is calibrated before it is trained.",
            rich_help_panel=_QUANTIZATION,
        ),
    ] = "default",
    calib_method: Annotated[
        choices.Method | None,
        typer.Option(
            **choice(choices.Method),
            help="How the first ranges follow from training images.  \\[default: that of the preset]",
            rich_help_panel=_QUANTIZATION,
        ),
    ] = None,
    calib_images: Annotated[
        int,
        typer.Option(
            **number("calib_images"), help="How many training images are used for that.", rich_help_panel=_QUANTIZATION
        ),
    ] = 256,
    scales: Annotated[
        choices.Scales,
        typer.Option(
            **choice(choices.Scales),
            help="Train the scales of 8-bit activations, or keep them.",
            rich_help_panel=_QUANTIZATION,
        ),
    ] = "learned",
    scale_lr: Annotated[
        float,
        typer.Option(
            **number("scale_lr"), help="Peak learning rate of the logarithms of scales.", rich_help_panel=_QUANTIZATION
        ),
    ] = 1e-3,
    epochs: Annotated[
        int, typer.Option(**number("epochs"), help="Passes over the training images.", rich_help_panel=_RECIPE)
    ] = 10,
    batch_size: Annotated[
        int,
        typer.Option(
            **number("batch_size"),
            help="Images in one step of the optimizer, over all processes.",
            rich_help_panel=_RECIPE,
        ),
    ] = 128,
    lr: Annotated[
        float, typer.Option(**number("lr"), help="Peak learning rate of AdamW.", rich_help_panel=_RECIPE)
    ] = 1e-5,
    min_lr: Annotated[
        float,
        typer.Option(**number("min_lr"), help="The last learning rate as a part of the peak.", rich_help_panel=_RECIPE),
    ] = 0.01,
    warmup: Annotated[
        float,
        typer.Option(
            **number("warmup"), help="Part of the steps in which the learning rate rises.", rich_help_panel=_RECIPE
        ),
    ] = 0.05,
    weight_decay: Annotated[
        float, typer.Option(**number("weight_decay"), help="Decay of matrices.", rich_help_panel=_RECIPE)
    ] = 1e-4,
    clip_grad: Annotated[
        float,
        typer.Option(**number("clip_grad"), help="Largest norm of the gradient, 0 for any.", rich_help_panel=_RECIPE),
    ] = 1.0,
    ema: Annotated[
        float,
        typer.Option(
            **number("ema"),
            help="Decay of the moving average of weights that is kept, 0 for none.",
            rich_help_panel=_RECIPE,
        ),
    ] = 0.999,
    distill: Annotated[
        choices.Distillation,
        typer.Option(
            **choice(choices.Distillation),
            help="Learn from a floating-point teacher's probabilities or choices.",
            rich_help_panel=_RECIPE,
        ),
    ] = "none",
    teacher: Annotated[
        Path | None,
        typer.Option(help="Its checkpoint.  \\[default: the network to start from]", rich_help_panel=_RECIPE),
    ] = None,
    distill_weight: Annotated[
        float,
        typer.Option(
            **number("distill_weight"),
            help="Weight of the teacher in the loss; labels have the rest.",
            rich_help_panel=_RECIPE,
        ),
    ] = 0.5,
    temperature: Annotated[
        float, typer.Option(**number("temperature"), help="Temperature of soft distillation.", rich_help_panel=_RECIPE)
    ] = 1.0,
    smoothing: Annotated[
        float, typer.Option(**number("smoothing"), help="Label smoothing.", rich_help_panel=_RECIPE)
    ] = 0.1,
    auto_augment: Annotated[
        str, typer.Option(help="timm's policy (RandAugment), or none.", rich_help_panel=_AUGMENTATION)
    ] = "rand-m9-mstd0.5-inc1",
    color_jitter: Annotated[
        float,
        typer.Option(
            **number("color_jitter"), help="Change of colours, without --auto-augment.", rich_help_panel=_AUGMENTATION
        ),
    ] = 0.3,
    hflip: Annotated[
        float,
        typer.Option(**number("hflip"), help="Probability of mirroring left and right.", rich_help_panel=_AUGMENTATION),
    ] = 0.5,
    vflip: Annotated[
        float,
        typer.Option(**number("vflip"), help="Probability of mirroring top and bottom.", rich_help_panel=_AUGMENTATION),
    ] = 0.0,
    crop_scale: Annotated[
        float,
        typer.Option(
            **number("crop_scale"),
            help="Smallest part of the image's area that is cut out.",
            rich_help_panel=_AUGMENTATION,
        ),
    ] = 0.08,
    random_erasing: Annotated[
        float,
        typer.Option(
            **number("random_erasing"), help="Probability of erasing a rectangle.", rich_help_panel=_AUGMENTATION
        ),
    ] = 0.25,
    mixup: Annotated[
        float, typer.Option(**number("mixup"), help="Strength of Mixup, 0 for none.", rich_help_panel=_AUGMENTATION)
    ] = 0.8,
    cutmix: Annotated[
        float, typer.Option(**number("cutmix"), help="Strength of CutMix, 0 for none.", rich_help_panel=_AUGMENTATION)
    ] = 1.0,
    no_augment: Annotated[
        bool,
        typer.Option(
            "--no-augment",
            help="Whole images as they are; the options above have no effect.",
            rich_help_panel=_AUGMENTATION,
        ),
    ] = False,
    accumulate: Annotated[
        int,
        typer.Option(
            **number("accumulate"),
            help="Parts in which a process handles its share of a batch.",
            rich_help_panel=_MACHINE,
        ),
    ] = 1,
    amp: Annotated[
        bool,
        typer.Option("--amp", help="bfloat16 for floating-point networks and teachers.", rich_help_panel=_MACHINE),
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Not on a GPU.", rich_help_panel=_MACHINE)] = False,
    workers: Annotated[
        int,
        typer.Option(
            **number("workers"), help="Processes that load images, for each that trains.", rich_help_panel=_MACHINE
        ),
    ] = 4,
    seed: Annotated[
        int, typer.Option(**number("seed"), help="Seed of every random number.", rich_help_panel=_MACHINE)
    ] = 0,
    log_every: Annotated[
        int, typer.Option(**number("log_every"), help="Steps between two metrics.", rich_help_panel=_MACHINE)
    ] = 20,
    save_every: Annotated[
        int,
        typer.Option(
            **number("save_every"),
            help="Steps between two saved states; each epoch ends with one.",
            rich_help_panel=_MACHINE,
        ),
    ] = 200,
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
    values: dict[str, Any] = {name: value for name, value in locals().items() if name in _OPTIONS}
    values |= {name: None if values[name] is None else str(values[name]) for name in ("checkpoint", "teacher")}
    values |= {
        "output": str(output),
        "img_size": img_size,
        "mean": colours("mean", mean),
        "std": colours("std", std),
    }
    values["model_kwargs"] = _arguments(model_kwargs)
    if no_augment:
        values |= _WHOLE
    from ivit_onnx.training import Options
    from ivit_onnx.training import train as run

    report = run(Options(**values), resume=resume, progress=sys.stderr.isatty())
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)


#: Names of `ivit_onnx.training.Options` that the command's parameters share.
_OPTIONS = frozenset(
    {
        *("data", "checkpoint", "model", "pretrained", "floating", "num_heads", "img_size", "act"),
        *("pool", "plain", "weights", "key", "prefix", "softmax_bits"),
        *("class_order", "nonlinear"),
        *("calib_preset", "calib_method", "calib_images", "scales", "scale_lr", "epochs", "batch_size", "accumulate"),
        *("lr", "min_lr"),
        *("warmup", "weight_decay", "clip_grad", "ema", "distill", "teacher", "distill_weight", "temperature"),
        *("smoothing", "auto_augment", "color_jitter", "hflip", "vflip", "crop_scale", "random_erasing", "mixup"),
        *("cutmix", "amp", "cpu", "workers", "seed", "log_every", "save_every"),
    }
)

#: No augmentation.
_WHOLE: dict[str, Any] = {
    "auto_augment": "none",
    "color_jitter": 0.0,
    "hflip": 0.0,
    "vflip": 0.0,
    "crop_scale": 1.0,
    "random_erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}


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


def _arguments(text: str | None) -> dict[str, Any]:
    """NAME=VALUE, ... as a dictionary; values are Python literals."""
    if text is None:
        return {}
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        raise TrainingError(
            f"--model-kwargs expects NAME=VALUE,... such as patch_size=8,depths=(2,2), found {text!r}"
        ) from None


if __name__ == "__main__":
    from ivit_onnx.cli import train_main

    sys.exit(train_main())
