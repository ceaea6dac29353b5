"""`ivit-report`: where a model's integers leave the floating-point network, and what each layer costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ivit_onnx._version import __version__
from ivit_onnx.cli._data import SplitOption
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import print_json, print_lines, print_table
from ivit_onnx.cli._run import Threads
from ivit_onnx.datasets import DESCRIPTION
from ivit_onnx.files import atomic_write, check_output
from ivit_onnx.images import left_out
from ivit_onnx.printable import printable

if TYPE_CHECKING:
    from ivit_onnx.report import ErrorReport

__all__ = ["app"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

DEFAULT_IMAGES = 16


@app.command()
def report(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file written by ivit-export.")],
    against: Annotated[Path, typer.Option(metavar="CHECKPOINT", help="The checkpoint it was exported from.")],
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help=f"Images: a folder, an .npz (key `images`) or .npy file, or {DESCRIPTION}."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML page.  \\[default: MODEL with the suffix .html]")
    ] = None,
    split: SplitOption = "val",
    limit: Annotated[
        int, typer.Option(**number("limit"), help="At most this many images, evenly spaced.")
    ] = DEFAULT_IMAGES,
    top: Annotated[int, typer.Option(**number("top"), help="How many layers, and parts of layers, to print.")] = 10,
    threads: Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing page.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything but the histograms as one JSON object.")
    ] = False,
) -> None:
    """Show where a model loses accuracy: error by layer, and what each layer and each of its parts costs.

    Each layer is quantised alone in the floating-point network, and the noise in the output is its cost; then its
    roundings, weights and functions one after another, and what the noise grows by is theirs. The page has plots and
    all numbers, and needs no network.

    Examples:

    \b
      ivit-report deit_small.onnx --against deit_small.pth --data imagenet/
      ivit-report digits.onnx --against digits_vit.pt --data digits --limit 64
    """
    import torch

    from ivit_onnx.api import load_twin
    from ivit_onnx.evidence import check_different
    from ivit_onnx.report import measure
    from ivit_onnx.report.images import load_images
    from ivit_onnx.report.page import decibels, page, percent

    path = model.with_suffix(".html") if output is None else output
    check_output(path, force=force)
    if threads is not None:
        torch.set_num_threads(threads)
    twin = load_twin(model, against)
    unreadable: list[str] = []
    images = torch.from_numpy(load_images(data, split, twin.preprocess, limit, unreadable))
    check_different(images.numpy(), "images")
    notes = left_out("the report", unreadable)
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        result = measure(twin, images, lambda done, total: bar.update(task, completed=done, total=total))
    bits = twin.softmax_bits_of_layers()
    architecture = str(twin.arch.to_json()["name"])
    facts = {
        "model": printable(model.name),
        "architecture": printable(architecture),
        "checkpoint": printable(against.name),
        "attention": _bits(bits),
        "images": f"{result.images} of {printable(Path(data).name if Path(data).exists() else data)}",
        "ivit-onnx": __version__,
    }
    with atomic_write(path, force=force) as temporary:
        temporary.write_text(page(result, facts), encoding="utf-8")
    if as_json:
        names = {"model": str(model), "architecture": architecture, "checkpoint": str(against), "data": data}
        print_json(names | {"softmax_bits": bits, "page": str(path)} | result.to_json() | {"notes": notes})
        return
    print_lines(
        [f"output: SQNR {decibels(result.sqnr)}, {decibels(result.sum_sqnr)} if layers added up; {_likeness(result)}"]
    )
    layers = sorted(result.layers, key=lambda layer: -layer.share)[:top]
    print_table(
        "costliest layers: share of noise; SQNR of the output, it alone quantised; SQNR at the layer, all quantised",
        ["layer", "operator", "share", "alone", "all"],
        [
            [layer.name, layer.operator, percent(layer.share), decibels(layer.cost_sqnr), decibels(layer.sqnr)]
            for layer in layers
        ],
        right=(2, 3, 4),
    )
    whole = {layer.name: layer.share for layer in result.layers}
    clipped = {point.name: point.clipped for point in result.points}
    parts = sorted((part for part in result.parts if whole[part.layer] > 0), key=lambda part: -part.share)[:top]
    print_table(
        "costliest parts of layers: share of noise; of the layer's; values that do not fit the range",
        ["layer", "part", "share", "of layer", "clipped"],
        [
            [
                part.layer,
                part.part,
                percent(part.share),
                percent(part.share / whole[part.layer]),
                percent(max((clipped[name] for name in part.points), default=0)),
            ]
            for part in parts
        ],
        right=(2, 3, 4),
    )
    print_lines([*(f"note: {note}" for note in notes), f"wrote {path}"])


def _bits(layers: Mapping[str, int]) -> str:
    """Bits of the exponentials or probabilities of attention; the layers that have the fewer count are named."""
    count = Counter(layers.values())
    (most, _), *others = count.most_common()
    named = [f"{bits} bits in {', '.join(name for name, own in layers.items() if own == bits)}" for bits, _ in others]
    return "; ".join([f"{most} bits", *named])


def _likeness(result: ErrorReport) -> str:
    """How near the integers come to the float network in its task: the same class, or similar features."""
    if result.agreement is None:
        return f"cosine of the features of an image: mean {result.mean_cosine:.5f}, worst {result.worst_cosine:.5f}"
    return f"same class for {result.agreement:.2%} of {result.images} images"
