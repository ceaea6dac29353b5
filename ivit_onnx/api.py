"""The Python API: calibrate a checkpoint, export it, and rebuild the PyTorch twin of an exported model."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ivit_onnx._version import __version__
from ivit_onnx.architectures import Preprocess, SizeLike
from ivit_onnx.calibration import (
    DEAD_LEAVES,
    Branches,
    Calibration,
    Quality,
    Reference,
    apply_calibration,
    choose_softmax_bits,
    collect_statistics,
    load_calibration,
    recipe,
    save_calibration,
)
from ivit_onnx.checkpoints import Checkpoint, Given
from ivit_onnx.datasets.dead_leaves import dead_leaves
from ivit_onnx.errors import CalibrationError, ExportError
from ivit_onnx.exported import load_twin, read_metadata, write_metadata
from ivit_onnx.exporters import build_graph, certify, finish, save
from ivit_onnx.files import atomic_write, check_output, is_file, utf8_path
from ivit_onnx.images import ImageSource, count_images, left_out, read_images
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.numbers import check_numbers
from ivit_onnx.options.choices import (
    MANY_BITS,
    InputType,
    Method,
    Nonlinear,
    Pool,
    Preset,
    Weights,
)
from ivit_onnx.options.records import ExportOptions, ReadingOptions
from ivit_onnx.reading import choice_of, read_checkpoint
from ivit_onnx.remarks import limits, quality_remarks

__all__ = [
    "DEFAULT_IMAGES",
    "DRAWN_IMAGES",
    "ExportReport",
    "calibrate",
    "explain",
    "explain_checkpoint",
    "export",
    "export_checkpoint",
    "load_twin",
    "read_metadata",
]

PathLike = str | os.PathLike[str]

#: Calibration images taken of those given, and drawn where none are given.
DEFAULT_IMAGES = 128
DRAWN_IMAGES = 48
_NO_CALIBRATION = (
    "this checkpoint of ivit-train or of the I-ViT code has the scales of its activations from training: expected no "
    "calibration; leave out --calib and --calib-cache"
)


@dataclass(frozen=True)
class ExportReport:
    """What an export did. Sizes in bytes, `operators` counts the nodes of the main graph by type.

    `quality`: how near the integers come to the floating-point network, see `ivit_onnx.calibration.Quality`; None for a
    checkpoint that was trained with integers. `recognised`: how the checkpoint was read, see `explain`.
    """

    output: str
    files: list[str]
    arch: dict[str, Any]
    parameters: int
    float32_bytes: int
    file_bytes: int
    operators: dict[str, int]
    input_scale: float
    output_scale: float
    calibration: dict[str, Any]
    seconds: float
    quality: dict[str, Any] | None = None
    proof: dict[str, Any] = field(default_factory=dict)
    recognised: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def explain(
    checkpoint: Given,
    *,
    arch: str | None = None,
    num_heads: int | None = None,
    img_size: int | None = None,
    act: str | None = None,
    pool: Pool | None = None,
    plain: bool = False,
    weights: Weights = "auto",
    key: str = "",
    prefix: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What a checkpoint is recognised as, and why; nothing is written.

    Options as in `export`. Returns a JSON object: `layout`, how the tensors are named; `arch`, the architecture;
    `facts`, everything that cannot be inferred from tensors, with its value and where it was found; `assumptions`, a
    sentence for each fact that is stated nowhere; `notes`, what was chosen and left out; `warnings`, which assumptions
    are doubtful.

    Raises:
        CheckpointError, OptionError: as `export`.
    """
    return explain_checkpoint(checkpoint, ReadingOptions.of(locals()), arch)


def explain_checkpoint(checkpoint: Given, reading: ReadingOptions, arch: str | None = None) -> dict[str, Any]:
    """`explain` with the options as a record."""
    loaded = read_checkpoint(checkpoint, reading, arch)
    _, warnings = loaded.preprocess(reading.mean, reading.std)
    found = {"arch": loaded.arch.to_json(), **_recognised(loaded, reading)}
    return {**found, "warnings": [*loaded.warnings, *warnings]}


def _recognised(loaded: Checkpoint, reading: ReadingOptions) -> dict[str, Any]:
    facts = loaded.settled(reading.mean, reading.std)
    return {
        "layout": loaded.layout,
        "facts": facts.to_json(),
        "assumptions": facts.assumptions(),
        "notes": list(loaded.notes),
    }


def calibrate(
    checkpoint: Given,
    images: ImageSource | None = None,
    *,
    arch: str | None = None,
    num_heads: int | None = None,
    img_size: SizeLike | None = None,
    act: str | None = None,
    pool: Pool | None = None,
    plain: bool = False,
    weights: Weights = "auto",
    key: str = "",
    prefix: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    limit: int | None = None,
    cache: PathLike | None = None,
    progress: bool = False,
) -> Calibration:
    """Run example images through a floating-point checkpoint and record the ranges of its activations.

    `checkpoint`: as in `export`.
    `images`: a folder, an .npz (key `images`) or .npy file, an array, or an iterable of images; see
    `ivit_onnx.images.read_images` for types and shapes. At most `limit` of them are used (default 128). Without
    `images`, `limit` (default 48) images are drawn, see `ivit_onnx.datasets.dead_leaves`. With `cache`, the result is
    also written there, for `export(..., calib_cache=...)`. Files of a folder that cannot be read are left out, with a
    UserWarning that names them.

    Raises:
        CheckpointError, ImageError, CalibrationError, ExportError: see each class.
        OptionError: a number is out of its range (`ivit_onnx.numbers`).
    """
    check_numbers(limit=limit)
    reading = ReadingOptions.of(locals())
    loaded = read_checkpoint(checkpoint, reading, arch)
    if loaded.calibrated:
        raise CalibrationError(_NO_CALIBRATION)
    preprocess, _ = loaded.preprocess(reading.mean, reading.std)
    model = from_checkpoint(loaded, preprocess)
    calibration, remarks = _calibrate(model, _fingerprint(loaded, preprocess), images, limit, cache, progress)
    for remark in remarks:
        warnings.warn(remark, stacklevel=2)
    return calibration


def export(
    checkpoint: Given,
    output: PathLike,
    *,
    arch: str | None = None,
    calib: ImageSource | Calibration | None = None,
    calib_preset: Preset = "default",
    calib_method: Method | None = None,
    calib_images: int | None = None,
    calib_cache: PathLike | None = None,
    softmax_bits: int | Literal["auto"] | None = None,
    nonlinear: Nonlinear | None = None,
    input: InputType = "uint8",
    num_heads: int | None = None,
    img_size: SizeLike | None = None,
    act: str | None = None,
    pool: Pool | None = None,
    plain: bool = False,
    weights: Weights = "auto",
    key: str = "",
    prefix: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    flat: bool = False,
    force: bool = False,
    progress: bool = False,
) -> ExportReport:
    """Write a checkpoint as an integer-only ONNX model.

    Args:
        checkpoint: weights of a vision transformer, also of one that `ivit-train` or the I-ViT code trained: the path
            of a file (.pt, .pth, .pth.tar, .ckpt, .bin, .safetensors, .npz; the content decides) or of a folder, a file
            open for reading bytes, a state_dict, or a module. Nothing in a file is run.
        output: the ONNX file; written whole or not at all. Weights over 2 GB go to `output`.data beside it.
        arch: name of a known timm model, to check the file against and to take heads and preprocessing from.
        calib: calibration images (as in `calibrate`) or a Calibration. Without, `calib_cache` is read if it exists, and
            images are drawn otherwise. Has to be left out for a checkpoint of `ivit-train` or of the I-ViT code, which
            has its own scales.
        calib_preset: how much is done with the statistics: "fast", "default" or "best" (minutes instead of seconds);
            docs/accuracy.md has what each does.
        calib_method: how 8-bit ranges follow from the statistics: "minmax", "percentile", "mse" or "entropy" (default:
            the preset's).
        calib_images: at most this many images are used (default 128), or drawn (default 48).
        calib_cache: statistics are read from this file if it exists, and written to it otherwise.
        softmax_bits: bits of attention's exponentials (tables) or probabilities (shifts), 7, 8 or 15 (default: 15, or
            those of the checkpoint's training). "auto" is for floating-point checkpoints and tables: 8 in each layer
            where calibration shows that they cost little, else 15.
        nonlinear: how softmax and GELU are computed: "ivit", by the shifts of the paper, or "table", by tables of
            their exact values (default: as the checkpoint was trained, "table" for a floating-point one). A trained
            checkpoint takes no other than it was trained with.
        input: type of the graph's input: "uint8" pixels, quantised "int8" or normalised "float32".
        num_heads: attention heads, where the file does not determine them (default: 64 channels per head).
        img_size: image size to use the network at (default: that of the file), the side of a square or (height, width);
            its position table is resized to it.
        act: activation function, where the file does not determine it: "gelu", "gelu_tanh" or "quick_gelu".
        pool: what the head reads, where the file does not determine it: "token", the class token, or "avg", the mean
            of the patches.
        plain: say that blocks are normalised before each branch and have no rotary embedding, where another network has
            the same tensors.
        weights: "ema", averaged weights, or "raw", the last ones, of a file that has both ("auto": averaged ones).
        key: where in the file the weights are, as "model.state_dict".
        prefix: what the names of the network's tensors begin with, where the file holds more than one.
        mean, std: normalisation of pixels in 0..1, three numbers each.
        flat: inline the composite operators, leaving IntLayerNorm, GELU and, by shifts, softmax.
        force: replace an existing output.
        progress: show a progress bar on standard error.

    Raises:
        CheckpointError, ImageError, CalibrationError, ExportError: see each class; no file is left behind. A model
        that is not proven to be free of overflow is an ExportError.
        OptionError: a number is out of its range (`ivit_onnx.numbers`).
    """
    reading, options = ReadingOptions.of(locals()), ExportOptions.of(locals())
    return export_checkpoint(
        checkpoint,
        output,
        reading,
        options,
        arch=arch,
        calib=calib,
        calib_cache=calib_cache,
        force=force,
        progress=progress,
    )


def export_checkpoint(
    checkpoint: Given,
    output: PathLike,
    reading: ReadingOptions,
    options: ExportOptions,
    *,
    arch: str | None = None,
    calib: ImageSource | Calibration | None = None,
    calib_cache: PathLike | None = None,
    force: bool = False,
    progress: bool = False,
) -> ExportReport:
    """`export` with the options as records."""
    started = time.perf_counter()
    steps = recipe(options.calib_preset, options.calib_method)
    check_output(output, force=force)
    try:
        utf8_path(output)  # as ONNX Runtime wants it
    except ValueError as error:
        raise ExportError(f"cannot write {output}: {error}") from None
    loaded = read_checkpoint(checkpoint, reading, arch)
    preprocess, doubts = loaded.preprocess(reading.mean, reading.std)
    by_layer = options.softmax_bits == "auto"
    bits = MANY_BITS if options.softmax_bits == "auto" else options.softmax_bits
    model = from_checkpoint(loaded, preprocess, bits, options.nonlinear)
    if by_layer:
        _check_bits_by_layer(loaded, model.nonlinear)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    quality: Quality | None = None
    remarks = limits(model) if loaded.calibrated else []
    if loaded.calibrated:
        if calib is not None or calib_cache is not None:
            raise CalibrationError(_NO_CALIBRATION)
        calibrated = {"method": "checkpoint", "images": 0}
    else:
        calibration, unread = _calibration(
            model, loaded, preprocess, calib, options.calib_images, calib_cache, progress
        )
        reference = Reference.collect(model, calibration)
        branches = Branches.collect(model, calibration) if by_layer else None
        apply_calibration(model, calibration, steps)
        chosen = {} if branches is None else choose_softmax_bits(model, branches)
        remarks = unread + limits(model, calibration)
        if reference is not None:
            quality = reference.compare(model)
            remarks += quality_remarks(loaded, model, calibration, steps, reference, quality)
        calibrated = {
            "preset": options.calib_preset,
            "method": steps.method,
            "source": calibration.source,
            "images": calibration.images,
        }
        if by_layer:
            calibrated["softmax_bits"] = {name: layer.to_json() for name, layer in chosen.items()}

    graph, output_scale = build_graph(model, options.input)
    operators = Counter(node.op_type for node in graph)
    shown = None if quality is None else quality.to_json()
    metadata = write_metadata(
        model,
        loaded.fingerprint,
        options.input,
        output_scale,
        calibrated,
        shown,
        choice_of(reading),
        loaded.facts.value("labels"),
        flat=options.flat,
    )
    proto = finish(graph, metadata, flat=options.flat, producer_version=__version__)
    if options.flat:
        operators = Counter(node.op_type for node in proto.graph)
    proof = certify(proto)
    with atomic_write(output, force=force) as temporary:
        save(proto, temporary)
    files = [path for path in (Path(output), Path(f"{output}.data")) if is_file(path)]
    return ExportReport(
        output=str(output),
        files=[str(path) for path in files],
        arch=model.arch.to_json(),
        parameters=parameters,
        float32_bytes=4 * parameters,
        file_bytes=sum(path.stat().st_size for path in files),
        operators=dict(sorted(operators.items())),
        input_scale=float(model.image.output.scale),
        output_scale=output_scale,
        calibration=calibrated,
        seconds=round(time.perf_counter() - started, 3),
        quality=shown,
        proof={"checks": proof.checks, "spare_bits": proof.spare_bits()},
        recognised=_recognised(loaded, reading),
        warnings=[*loaded.warnings, *doubts, *remarks],
    )


def _check_bits_by_layer(loaded: Checkpoint, nonlinear: Nonlinear) -> None:
    """Raises ExportError where `--softmax-bits auto` has nothing to choose from."""
    if loaded.calibrated:
        raise ExportError(
            "--softmax-bits auto chooses by calibration, and this checkpoint of ivit-train or of the I-ViT code has "
            f"its scales from training: expected 7, 8 or 15, or no such option for {loaded.default_softmax_bits}, as "
            "trained"
        )
    if nonlinear != "table":
        raise ExportError(
            f"--softmax-bits auto is for --nonlinear table, whose attention is deferred; found {nonlinear}: "
            "expected 7, 8 or 15"
        )


def _calibration(
    model: Twin,
    loaded: Checkpoint,
    preprocess: Preprocess,
    calib: ImageSource | Calibration | None,
    limit: int | None,
    cache: PathLike | None,
    progress: bool,
) -> tuple[Calibration, list[str]]:
    """The calibration given, cached, or made from the images given or drawn; and which of these were left out."""
    fingerprint = _fingerprint(loaded, preprocess)
    if isinstance(calib, Calibration):
        if calib.fingerprint != fingerprint:
            raise CalibrationError("the calibration given was made for another checkpoint or normalisation")
        return calib, []
    if cache is not None and Path(cache).exists():
        cached = load_calibration(cache, fingerprint)
        if calib is not None and cached.source == DEAD_LEAVES:
            raise CalibrationError(
                f"expected statistics of images in the calibration cache {cache}, as calibration images are given, "
                "found those of drawn images; delete it or name another file"
            )
        return cached, []
    if cache is not None:
        check_output(cache)
    return _calibrate(model, fingerprint, calib, limit, cache, progress)


def _calibrate(
    model: Twin,
    fingerprint: str,
    images: ImageSource | None,
    limit: int | None,
    cache: PathLike | None,
    progress: bool,
) -> tuple[Calibration, list[str]]:
    """Statistics of the images given or, without, of drawn ones; and which images were left out as unreadable."""
    unreadable: list[str] = []
    if images is None:
        total: int | None = DRAWN_IMAGES if limit is None else limit
        stream = read_images(dead_leaves(model.preprocess.size), model.preprocess, total)
    else:
        limit = DEFAULT_IMAGES if limit is None else limit
        stream = read_images(images, model.preprocess, limit, unreadable)
        total = count_images(images, limit) if progress else None
    calibration = collect_statistics(model, stream, fingerprint, progress=progress, total=total)
    if images is None:
        calibration = replace(calibration, source=DEAD_LEAVES)
    if cache is not None:
        save_calibration(cache, calibration)
    return calibration, left_out("calibration", unreadable)


def _fingerprint(loaded: Checkpoint, preprocess: Preprocess) -> str:
    """Identifies what the statistics depend on besides the images: weights, architecture, normalisation."""
    arch = {key: value for key, value in loaded.arch.to_json().items() if key != "name"}
    return f"{loaded.fingerprint}:{json.dumps(arch)}:{json.dumps(preprocess.to_json())}"
