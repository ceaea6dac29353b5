"""`ivit-bench`: how fast exported models are, beside other runtimes, by operator and by kernel, on CPU or GPU."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand

from ivit_onnx.architectures import Size
from ivit_onnx.bench.baselines import baseline_names
from ivit_onnx.cli._choice import choice
from ivit_onnx.cli._image_size import image_size
from ivit_onnx.cli._numbers import number
from ivit_onnx.cli._output import print_json, print_lines, print_table
from ivit_onnx.errors import IvitError, MissingExtraError
from ivit_onnx.files import check_output
from ivit_onnx.options.choices import BenchDevice, BenchProvider, Nonlinear, SoftmaxBits
from ivit_onnx.printable import printable
from ivit_onnx.processors import processors

if TYPE_CHECKING:
    from ivit_onnx.bench.baselines import Baseline
    from ivit_onnx.bench.models import Model
    from ivit_onnx.bench.rounds import Plan

__all__ = ["app"]

#: Runs that --profile takes medians of.
PROFILED_RUNS = 20

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

#: Options that take one or more values: `--batch 1 8` is `--batch 1 --batch 8`.
LISTS = (
    *("--models", "--batch", "--threads", "--nonlinear", "--softmax-bits", "--cpu", "--peers", "--img-size"),
    "--provider",
)

#: The networks of `--kernels` when no model is named.
KERNEL_NETWORKS = ("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224")


class _ListCommand(TyperCommand):
    """A command whose list options take all values that follow them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args))


def _spread(arguments: list[str]) -> list[str]:
    """Repeat a list option in front of each of its values; a value that ends in .onnx is a model, not one of them."""
    spread: list[str] = []
    current, values = "", 0
    for argument in arguments:
        if argument.startswith("-") and not argument[1:2].isdigit():  # -1 is a value, if a wrong one
            current, values = (argument if argument in LISTS else ""), 0
        elif current and argument.endswith(".onnx"):
            current = ""
        elif current:
            values += 1
            if values > 1:
                spread.append(current)
        spread.append(argument)
    return spread


@app.command(cls=_ListCommand)
def bench(
    model: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL.onnx...", help="Models that ivit-export wrote.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="Architectures by timm's name, such as deit_tiny_patch16_224: exported with random weights and "
            "generated calibration images, and kept in the cache.",
        ),
    ] = None,
    device: Annotated[
        BenchDevice,
        typer.Option(**choice(BenchDevice), help="Where to measure; cuda, an NVIDIA GPU, needs onnxruntime-gpu."),
    ] = "cpu",
    batch: Annotated[
        list[int] | None, typer.Option(**number("batch_size", "N..."), help="Batch sizes.  \\[default: 1]")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            **number("threads", "N..."), help="CPU threads, each pinned.  \\[default: 2, or 1 on one processor]"
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure baselines beside our model, interleaved.")
    ] = False,
    peers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help=f"Only these baselines: {baseline_names('cpu')}; with --device cuda {baseline_names('cuda')}.  "
            "\\[default: all]",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights for the baselines and for --models.  \\[default: random]")
    ] = None,
    nonlinear: Annotated[
        list[str] | None,
        typer.Option(
            **choice(Nonlinear, "..."),
            help="How softmax and GELU are computed, one or more, for --models.  \\[default: that of ivit-export]",
        ),
    ] = None,
    softmax_bits: Annotated[
        list[int] | None,
        typer.Option(
            **choice(SoftmaxBits, "..."),
            help="Bits of attention, one or more, for --models.  \\[default: that of ivit-export]",
        ),
    ] = None,
    img_size: Annotated[
        list[Size] | None,
        typer.Option(
            **image_size("SIZE|HEIGHTxWIDTH..."),
            help="Image sizes, for --models.  \\[default: the architecture's]",
        ),
    ] = None,
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIANT...",
            help="Kernel variants to force; an unknown name lists those of this machine.  \\[default: the fastest]",
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            **choice(BenchProvider, "..."),
            help="cpu, custom operators of ONNX Runtime's own provider, or ivit-cpu, the compiled graph; the first is "
            "the one that others are compared with.  \\[default: cpu]",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(**number("rounds"), help="Measurements of each model, interleaved.")] = 5,
    seconds: Annotated[float, typer.Option(**number("seconds"), help="Length of a measurement.")] = 1.0,
    repeat: Annotated[int, typer.Option(**number("repeat"), help="Batches in a measurement, at least.")] = 3,
    starts: Annotated[
        int | None,
        typer.Option(
            **number("starts"), help="Session starts, each in a new process.  \\[default: 3, with --device cuda 1]"
        ),
    ] = None,
    no_spinning: Annotated[
        bool, typer.Option("--no-spinning", help="Threads of ONNX Runtime sleep between operators, for all its models.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Show time by operator, layer and node instead; with --device cuda, by kernel of the GPU."
        ),
    ] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time single operators on every kernel variant instead, on one thread.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw bars into this file, such as out.png.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for prepared models.  \\[default: ~/.cache/ivit-bench]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Measure how fast exported models run: latency, throughput, memory and start of a session.

    Threads are pinned, runs are warmed up, models are measured in interleaved rounds. Baselines come with
    pip install "ivit-onnx\\[bench]", some with packages of their own; one that is not installed is named and skipped.
    On a GPU, inputs and outputs stay there, and CUDA graphs are used; it takes pip install "ivit-onnx\\[gpu,export]".

    Examples:

    \b
      ivit-bench deit_small.onnx --batch 1 8
      ivit-bench deit_small.onnx --compare --peers ort-fp32 openvino-int8
      ivit-bench --compare --models deit_tiny_patch16_224 deit_small_patch16_224 \\
          --batch 1 8 --json --plot speed.png > results.json
      ivit-bench --models deit_small_patch16_224 --softmax-bits 15 8
      ivit-bench deit_small.onnx --provider ivit-cpu cpu --compare
      ivit-bench --profile deit_small.onnx
      ivit-bench --kernels
      ivit-bench deit_small.onnx --device cuda --compare --batch 1 8 32 128
    """
    from ivit_onnx.bench.baselines import choose_baselines
    from ivit_onnx.bench.cuda.measure import require_device
    from ivit_onnx.bench.measure import measure_kernels
    from ivit_onnx.bench.rounds import Plan

    on_gpu = device == "cuda"
    _check_modes(compare=compare, peers=bool(peers), profile=profile, kernels=kernels)
    if on_gpu:
        _refuse_on_gpu({"--threads": threads, "--cpu": cpu, "--no-spinning": no_spinning, "--kernels": kernels})
        _refuse_on_gpu({"--provider": provider})
    if provider and (profile or kernels):
        raise IvitError("--provider does not go with --profile or --kernels, which show operators one by one")
    _check_variants(cpu or [])
    if plot is not None:
        _check_plot(plot)
    chosen = choose_baselines(peers or [], device) if compare else []
    plan = Plan(rounds, seconds, repeat, (1 if on_gpu else 3) if starts is None else starts, spinning=not no_spinning)
    names = [*(models or []), *(KERNEL_NETWORKS if kernels and not models and not model else [])]
    if (nonlinear or softmax_bits) and not names:
        raise IvitError("--nonlinear and --softmax-bits are for --models; a model file has its own")
    if on_gpu:
        require_device()
    subjects = _subjects(
        model or [], names, img_size or [], cache, checkpoint, cpu or [], provider or [], nonlinear, softmax_bits
    )
    batches, counts = batch or [1], threads or [min(2, processors())]
    if kernels:
        result = measure_kernels(subjects, cpu or [], seconds, rounds, _say)
    elif profile:
        result = _profile(subjects, batches, counts, plan, on_gpu=on_gpu)
    else:
        result = _compare(subjects, chosen, batches, counts, plan, on_gpu=on_gpu)
    if plot is not None:
        from ivit_onnx.bench.plot import plot as draw

        draw(result, plot)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _check_modes(*, compare: bool, peers: bool, profile: bool, kernels: bool) -> None:
    if profile and kernels:
        raise IvitError("--profile and --kernels are two different measurements: choose one")
    if peers and not compare:
        raise IvitError("--peers chooses among the baselines of --compare; pass --compare too")
    if compare and (profile or kernels):
        raise IvitError("--compare does not go with --profile or --kernels")


def _subjects(
    files: list[Path],
    names: list[str],
    sizes: list[Size],
    cache: Path | None,
    checkpoint: Path | None,
    cpu: list[str],
    providers: list[str],
    nonlinear: list[str] | None,
    softmax_bits: list[int] | None,
) -> list[Model]:
    """What is measured: the files, then each named network at each size."""
    from ivit_onnx.bench.models import default_cache, model_file, named_model

    folder = cache or default_cache()
    wanted: list[Size | None] = [*sizes] if sizes else [None]
    subjects = [model_file(path, folder, checkpoint, cpu, providers) for path in files]
    subjects += [
        named_model(
            name,
            folder,
            checkpoint,
            cpu,
            size,
            providers,
            nonlinear=cast(Sequence[Nonlinear], nonlinear or []),
            softmax_bits=softmax_bits or [],
        )
        for name in names
        for size in wanted
    ]
    if not subjects:
        raise IvitError("nothing to measure: pass a model file, or --models with names such as deit_tiny_patch16_224")
    return subjects


def _profile(
    subjects: list[Model], batches: list[int], threads: list[int], plan: Plan, *, on_gpu: bool
) -> dict[str, Any]:
    from ivit_onnx.bench.cuda.measure import measure_cuda_profile
    from ivit_onnx.bench.measure import measure_profile

    if on_gpu:
        return measure_cuda_profile(subjects, batches, PROFILED_RUNS, _say)
    return measure_profile(subjects, batches[0], threads[0], plan, PROFILED_RUNS, _say)


def _compare(
    subjects: list[Model],
    baselines: list[Baseline],
    batches: list[int],
    threads: list[int],
    plan: Plan,
    *,
    on_gpu: bool,
) -> dict[str, Any]:
    from ivit_onnx.bench.cuda.measure import measure_cuda_models
    from ivit_onnx.bench.measure import measure_models

    if on_gpu:
        return measure_cuda_models(subjects, baselines, batches, plan, _say)
    return measure_models(subjects, baselines, batches, threads, plan, _say)


def _refuse_on_gpu(options: dict[str, Any]) -> None:
    """What is chosen for processors has no meaning on a GPU."""
    for name, value in options.items():
        if value:
            raise IvitError(f"{name} is for --device cpu; it does not go with --device cuda")


def _check_variants(chosen: list[str]) -> None:
    """A library that cannot list its variants has the last word itself."""
    from ivit_onnx.bench.machine import cpu_variants

    available = cpu_variants()
    for name in chosen:
        if available and name not in available:
            raise IvitError(
                f"kernel variant {name!r} is not available on this machine; available: {', '.join(available)}"
            )


def _check_plot(path: Path) -> None:
    """Before hours of measurement: can the plot be drawn, and written?"""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError('--plot needs the package matplotlib: pip install "ivit-onnx[bench]"')
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise IvitError(f"--plot writes .png, .svg or .pdf, not {path.name}")
    check_output(path, force=True)


def _print(result: dict[str, Any]) -> None:
    from ivit_onnx.bench.tables import listings

    for listing in listings(result):
        numbers = range(listing.right, len(listing.columns))
        print_table(listing.title, listing.columns, listing.rows, numbers)
        print_lines([*listing.notes, ""])


def _say(text: str) -> None:
    """Progress, for people only."""
    if sys.stderr.isatty():
        print(printable(text), file=sys.stderr, flush=True)
