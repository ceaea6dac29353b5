"""`ivit-eval`: accuracy of a model on labelled images, beside its floating-point network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ivit_onnx.architectures import Preprocess
from ivit_onnx.cli._data import (
    Classes,
    ClassOrderOption,
    Data,
    ImageColumn,
    LabelColumn,
    Labels,
    SplitOption,
)
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import hush_runtime, print_json, print_lines, print_table, print_unreadable
from ivit_onnx.cli._run import DeviceOption, NoKernels, Threads
from ivit_onnx.datasets import open_dataset
from ivit_onnx.evaluation import Counts, Evaluation, evaluate
from ivit_onnx.evaluation.evaluate import DEFAULT_BATCH

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command("eval")
def evaluate_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file written by ivit-export.")],
    data: Data,
    against: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="The checkpoint it was exported from, to run in floating point too."),
    ] = None,
    split: SplitOption = "val",
    labels: Labels = None,
    classes: Classes = None,
    class_order: ClassOrderOption = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    limit: Annotated[
        int | None, typer.Option(**number("limit"), help="At most this many images, evenly spaced.")
    ] = None,
    batch_size: Annotated[int, typer.Option(**number("batch_size"), help="Images in a run.")] = DEFAULT_BATCH,
    workers: Annotated[
        int | None,
        typer.Option(**number("readers"), help="Threads that read images.  \\[default: one a core, up to 8]"),
    ] = None,
    threads: Threads = None,
    device: DeviceOption = "cpu",
    no_kernels: NoKernels = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Keep the state in this file, and go on from it after the command was stopped or killed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Measure the accuracy of an exported model on labelled images.

    Images are resized, cropped and normalised as the model's own metadata says; with --against the floating-point
    network of the checkpoint gets the very same ones.

    Exit status: 0 all images counted, 1 some could not be read and are named, 2 wrong input.

    Examples:

    \b
      ivit-eval deit.onnx --data imagenet/ --against deit.pth --state deit.json
      ivit-eval deit.onnx --data ILSVRC2012_img_val/ --labels val.txt
      ivit-eval deit.onnx --data hf:imagenet-1k --limit 5000 --json
    """
    hush_runtime()
    images = open_dataset(
        data,
        split,
        labels=labels,
        classes=classes,
        image_column=image_column,
        label_column=label_column,
        class_order=class_order,
    )
    with _Bar(against is not None) as bar:
        result = evaluate(
            model,
            images,
            against=against,
            limit=limit,
            batch=batch_size,
            workers=workers,
            threads=threads,
            device=device,
            kernels=not no_kernels,
            state=state,
            on_progress=bar.update,
        )
    content = {"model": str(model), "data": data, "split": split, "device": device} | result.to_json()
    if as_json:
        print_json(content)
    else:
        _print_result(result, content)
    if result.unreadable:
        print_unreadable(result.unreadable)
        raise typer.Exit(1)


class _Bar:
    """A progress bar on standard error with the accuracies so far; shown on a terminal only."""

    def __init__(self, floating: bool) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._floating = floating

    def __enter__(self) -> _Bar:
        self._progress.start()
        self._task = self._progress.add_task("loading", total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, counts: Counts, total: int) -> None:
        text = f"top-1 {counts.integer_top1 / max(counts.images, 1):.2%}"
        if self._floating:
            text += f", float {counts.float_top1 / max(counts.images, 1):.2%}"
        self._progress.update(self._task, completed=counts.images, total=total, description=text)


def _print_result(result: Evaluation, content: dict[str, Any]) -> None:
    counts, preprocess = result.counts, result.description.preprocess
    how = f"images of {preprocess.size.sides} as they are" if result.whole else _resizing(preprocess)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocess.mean, preprocess.std))
    lines = [f"preprocessing: {how}, mean {mean}, std {std}"]
    if result.resumed:
        lines.append(f"{result.resumed} images were counted before, {counts.images - result.resumed} in this run")
    print_lines([*lines, *(f"note: {note}" for note in result.notes)])
    rows = [
        [name, f"{entry['top1']:.2%}", "" if entry["top5"] is None else f"{entry['top5']:.2%}", _speed(entry)]
        for name, entry in (("integer", content["integer"]), ("float, PyTorch", content["float"]))
        if entry is not None
    ]
    title = f"{content['model']} ({result.description.architecture}), {counts.images} images of {content['data']}"
    print_table(title, ["model", "top-1", "top-5", "images/s"], rows, right=(1, 2, 3))
    if result.floating:
        print_lines(
            [
                f"same class for {content['agreement']:.2%}: of {counts.float_top1} images that the float model has "
                f"right, the integer model has {counts.lost} wrong; it has {counts.gained} others right"
            ]
        )


def _resizing(preprocess: Preprocess) -> str:
    """How images of another size become the network's, in words."""
    resize = preprocess.resize
    if preprocess.crop_mode == "squash":
        target = f"both sides to {resize.sides}"
    else:
        target = f"shorter side to {resize.height}" if resize.square else f"to at least {resize.sides}"
    return f"{target} ({preprocess.interpolation}), centre of {preprocess.size.sides}"


def _speed(entry: dict[str, Any]) -> str:
    return "" if entry["images_per_second"] is None else f"{entry['images_per_second']:.1f}"
