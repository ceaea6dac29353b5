"""`ivit-run`: classify images with an exported model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ivit_onnx.class_names import read_class_names
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import hush_runtime, print_json, print_lines, print_table, print_unreadable
from ivit_onnx.cli._run import DeviceOption, NoKernels, Threads
from ivit_onnx.errors import ImageError, ModelError
from ivit_onnx.images import ARRAY_SUFFIXES, Array, count_images, find_images, normalize, read_file, read_images
from ivit_onnx.metadata import ModelDescription, describe

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file written by ivit-export.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, folders of them, .npy or .npz.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names: text with one name per line, CSV, or a JSON list or object by class number, such as the "
            "config.json of Hugging Face.  \\[default: those of the checkpoint, where it had any]",
        ),
    ] = None,
    top: Annotated[int, typer.Option(**number("top"), help="How many classes to show for each image.")] = 5,
    threads: Threads = None,
    device: DeviceOption = "cpu",
    no_kernels: NoKernels = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Classify images with an exported model.

    Images are resized, cropped and normalised as the model's own metadata says. The probabilities are the softmax of
    the float logits, integer logits times the model's output scale.

    Exit status: 0 all images answered, 1 some could not be read and are named, 2 wrong input.

    Examples:

    \b
      ivit-run deit_tiny.onnx cat.jpg dog.jpg --labels imagenet.txt
      ivit-run digits.onnx folder/ --top 1 --json
    """
    import ivit_onnx
    from ivit_onnx.runtime import DEVICES

    hush_runtime()
    session = ivit_onnx.create_session(model, DEVICES[device], kernels=not no_kernels, threads=threads)
    description = describe(session, model)
    if description.output != "logits":
        raise ModelError(
            f"{model} returns {description.output}, expected classes to choose from: its checkpoint has no head; "
            "run it with ivit_onnx.create_session"
        )
    rows, note = (None, None) if labels is None else read_class_names(labels, description.classes)
    names = description.labels if rows is None else [row[-1] for row in rows]
    files = [file for path in images for file in (find_images(path) if path.is_dir() else [path])]
    results: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for file in files:
        try:
            for name, normalised, remarks in _open(file, description):
                result = _classify(session, description, model, normalised, names, top)
                results.append({"image": name, **result, "notes": list(remarks)})
        except ImageError as error:
            unreadable.append({"image": str(file), "error": str(error)})
    if not results:
        first = unreadable[0]["error"]
        raise ImageError(first if len(files) == 1 else f"none of {len(files)} images can be read, the first: {first}")
    notes = [*([] if note is None else [note]), *_notes(results)]
    if as_json:
        content = {"model": str(model), "architecture": description.architecture, "images": results}
        print_json(content | {"unreadable": unreadable, "notes": notes})
    else:
        _print_results(f"{model} ({description.architecture})", results, labelled=names is not None)
        print_lines([f"note: {note}" for note in notes])
    if unreadable:
        print_unreadable([entry["error"] for entry in unreadable])
        raise typer.Exit(1)


def _print_results(title: str, results: Sequence[Mapping[str, Any]], *, labelled: bool) -> None:
    columns, rows = ["image", "probability", "class", "label"], []
    for result in results:
        for rank, entry in enumerate(result["top"]):
            image = result["image"] if rank == 0 else ""
            rows.append([image, f"{entry['probability']:.1%}", str(entry["class"]), entry.get("label", "")])
    shown = len(columns) if labelled else len(columns) - 1
    print_table(title, columns[:shown], [row[:shown] for row in rows], right=(1, 2))


def _notes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was done to images while they were read, in a line for each kind."""
    images: dict[str, list[str]] = {}
    for result in results:
        for remark in result["notes"]:
            images.setdefault(remark, []).append(result["image"])
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {remark}"
        for remark, names in images.items()
    ]


def _open(file: Path, description: ModelDescription) -> Iterator[tuple[str, Array, Sequence[str]]]:
    """The name of each image in a file, the image as normalised float32 [3, size, size], and remarks on reading it."""
    preprocess = description.preprocess
    if file.suffix.lower() not in ARRAY_SUFFIXES:
        pixels, remarks = read_file(file, preprocess)
        yield str(file), normalize(pixels, preprocess), remarks
        return
    several = count_images(file) != 1
    for index, image in enumerate(read_images(file, preprocess)):
        yield f"{file}[{index}]" if several else str(file), image, ()


def _classify(
    session: Any, description: ModelDescription, model: Path, normalised: Array, names: Sequence[str] | None, top: int
) -> dict[str, Any]:
    """The `top` classes of one image, with the time that the model took."""
    inputs = description.model_input(normalised[None])
    started = time.perf_counter()
    try:
        logits = session.run(None, {description.input_name: inputs})[0][0]
    except Exception as error:  # onnxruntime has one exception type for each status
        raise ModelError(f"{model} does not run: {' '.join(str(error).split())}") from None
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
    return {"milliseconds": round(milliseconds, 3), "top": entries}
