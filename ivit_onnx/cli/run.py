"""`ivit-run`: classify images with an exported model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import Device, hush_runtime, print_json, print_table
from ivit_onnx.cli._run import DeviceOption, NoKernels, Threads
from ivit_onnx.errors import IvitError, ModelError
from ivit_onnx.files import parse_json
from ivit_onnx.images import find_images, read_images
from ivit_onnx.metadata import ModelDescription, describe

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file written by ivit-export.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Class names: a text file with one name a line, or a JSON list or object by class number."),
    ] = None,
    top: Annotated[int, typer.Option(**number("top"), help="How many classes to show for each image.")] = 5,
    threads: Threads = None,
    device: DeviceOption = Device.CPU,
    no_kernels: NoKernels = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Classify images with an exported model.

    Images are resized, cropped and normalised as the model's own metadata says. The probabilities are the softmax of
    the float logits, integer logits times the model's output scale.

    Examples:

    \b
      ivit-run deit_tiny.onnx cat.jpg dog.jpg --labels imagenet.txt
      ivit-run digits.onnx folder/ --top 1 --json
    """
    import ivit_onnx
    from ivit_onnx.runtime import DEVICES

    hush_runtime()
    session = ivit_onnx.create_session(model, DEVICES[device.value], kernels=not no_kernels, threads=threads)
    description = describe(session, model)
    if description.output != "logits":
        raise ModelError(
            f"{model} returns {description.output}, expected classes to choose from: its checkpoint has no head; "
            "run it with ivit_onnx.create_session"
        )
    names = None if labels is None else _read_labels(labels, description.classes)
    files = [file for path in images for file in (find_images(path) if path.is_dir() else [path])]
    results = [_classify(session, description, model, file, names, top) for file in files]
    if as_json:
        print_json({"model": str(model), "architecture": description.architecture, "images": results})
        return
    rows = []
    for result in results:
        for rank, entry in enumerate(result["top"]):
            image = result["image"] if rank == 0 else ""
            rows.append([image, f"{entry['probability']:.1%}", str(entry["class"]), entry.get("label", "")])
    columns = ["image", "probability", "class", "label"]
    if names is None:
        columns, rows = columns[:3], [row[:3] for row in rows]
    print_table(f"{model} ({description.architecture})", columns, rows, right=(1, 2))


def _classify(
    session: Any, description: ModelDescription, model: Path, file: Path, names: list[str] | None, top: int
) -> dict[str, Any]:
    """The `top` classes of one image, with the time that the model took."""
    (normalised,) = read_images(file, description.preprocess, 1)
    inputs = description.model_input(normalised[None])
    started = time.perf_counter()
    try:
        logits = session.run(None, {description.input_name: inputs})[0][0]
    except Exception as error:  # onnxruntime has one exception type for each status
        raise ModelError(f"{model} does not run: {error}") from None
    milliseconds = (time.perf_counter() - started) * 1e3
    real = logits.astype(np.float64) * description.output_scale
    exponentials = np.exp(real - real.max())
    probabilities = exponentials / exponentials.sum()
    best = np.argsort(-probabilities, kind="stable")[:top]
    entries = [
        {
            "class": int(index),
            **({} if names is None else {"label": names[index]}),
            "probability": float(probabilities[index]),
            "logit": int(logits[index]),
        }
        for index in best
    ]
    return {"image": str(file), "milliseconds": round(milliseconds, 3), "top": entries}


def _read_labels(path: Path, classes: int) -> list[str]:
    """One name for each class; IvitError when the file is unreadable or their number differs."""
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_json(text) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise IvitError(f"cannot read labels {path}: {getattr(error, 'strerror', None) or error}") from None
    if isinstance(content, dict):
        content = [content.get(str(index)) for index in range(max(classes, len(content)))]
    if not isinstance(content, list):
        raise IvitError(f"{path}: expected a list of labels or an object by class number")
    while len(content) > classes and content[-1] == "":
        content.pop()
    if len(content) != classes or None in content:
        raise IvitError(f"{path} has {len(content)} labels, the model {classes} classes")
    return [str(label[-1]) if isinstance(label, list) and label else str(label) for label in content]
