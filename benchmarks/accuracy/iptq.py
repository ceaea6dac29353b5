"""The functions of IPTQ-ViT beside those of this project, each by itself: a table of docs/accuracy.md.

    python benchmarks/accuracy/iptq.py [weights.pt] [--calib images.npz] [--num-heads 6] [--img-size 224] -o iptq.json

IPTQ-ViT (Kim, Lee and Kim, arXiv 2511.15369) has a softmax and a GELU for networks that are not trained with them:

* Bit-Softmax: 2^r of a remainder r is 1 + (r >> 1) + (r >> 3) + (r >> 4), 0.6875 being ln 2 in four bits. The remainder
  is in (-1, 0] (`floor`) or, with the exponent rounded, in [-0.5, 0.5] (`rounded`).
* Poly-GELU: the polynomial of I-BERT's i-GELU to the power of four, fitted to erf: a = -0.019913, b = -2.698088.

Both are written here as exact integer functions of int8 codes, from these formulas; what they have in common with
Shiftmax (the factor log2 e, the reciprocal of the sum) is as it is there. Scores get as many further bits as make a
power of two 15 bits long, since the shifts of a remainder of a few steps would be 0; one row has none, and one has
Shiftmax with them.

Rows: scores and arguments of GELU of a checkpoint's layers in floating point, with the scales of the preset `default`
for shifts, neither weights clipped nor biases corrected; without a checkpoint, normal ones alone. Columns: signal to
noise ratio in decibels against the exact function of the real values (`total_db`), and of their integers
(`function_db`), which leaves out what rounding the argument costs.

IPTQ-ViT chooses by Omega = 3 / (1 / N(Q) + N(P) + N(C)), N(x) = ln(1 + e^x), Q in decibels, P the squared error and C
the number of operations, whose units are not stated. Here P is the mean square, C the logarithm of 1 and the operations
on one element.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.calibration import apply_calibration, collect_statistics
from ivit_onnx.calibration.exponentials import fit_gelu, fit_softmax
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.datasets.dead_leaves import dead_leaves
from ivit_onnx.images import read_images
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.opset import OPERATORS
from ivit_onnx.options.records import ReadingOptions
from ivit_onnx.quant.deferred import DeferredSoftmax
from ivit_onnx.quant.exponents import choose_shiftmax_n, exp_x0, gelu_x0
from ivit_onnx.quant.tables import exponentials, gelu_table
from ivit_onnx.reading import read_checkpoint

Array = np.ndarray[Any, Any]

A, B = -0.019913, -2.698088
#: Of the remainder in Bit-Softmax.
SHIFTS = (1, 3, 4)
#: Bits of |x0|, a power of two in steps of a score: those of Bit-Softmax's remainders.
POWER_BITS = 15
#: Those of 1 in the erf of Poly-GELU.
ERF_BITS = 15

RECIPE = replace(
    RECIPES["default"], scale_neurons=False, clip_weights=False, compensate_rounding=False, correct_biases=False
)
ROWS, COLUMNS = 256, 1024
IMAGES = 16
#: Operations on one element: comparisons, additions, shifts, products, divisions and loads; what is done once for a
#: row is left out. Results of GELU are requantised (3) but for a table.
OPERATIONS = {
    "Shiftmax": 16,
    "TableSoftmax": 8,
    "deferred": 11,
    "Bit-Softmax": 20,
    "ShiftGELU": 17,
    "TableGELU": 2,
    "Poly-GELU": 14,
}


def further_bits(scale: float) -> int:
    """With so many more bits, scores of that scale have an |x0| of POWER_BITS bits."""
    return max(POWER_BITS - math.floor(1 / scale).bit_length(), 0)


def bit_exponential(d: Array, x0: int, n: int, *, rounded: bool, shifts: tuple[int, ...] = SHIFTS) -> Array:
    """2^n * |x0| * exp(d * scale) with x0 = floor(-1 / scale), for int64 d <= 0; int64.

    `shifts`: of the remainder, whose sum stands for 2^r - 1; (1,) is Shiftmax.
    """
    p = d + (d >> 1) - (d >> 4)
    q = (p + (x0 >> 1 if rounded else 0)) // x0
    r = p - q * x0
    found: Array = (sum((r >> shift for shift in shifts), start=-x0) << n) >> np.minimum(q, 62)
    return found


def bit_softmax(
    x: Array,
    scale: float,
    *,
    rounded: bool,
    frac_bits: int = 15,
    m: int = 31,
    further: int | None = None,
    shifts: tuple[int, ...] = SHIFTS,
) -> Array:
    """Bit-Softmax over the last axis: int8 scores [.., T] of `scale` to int64 probabilities of scale 2^-frac_bits.

    The division is floor(2^m / sum). `further`: bits that scores get beforehand, `further_bits` by default; fewer than
    |x0| has to have are added to the exponentials, as n of Shiftmax. `shifts`: see `bit_exponential`.
    """
    further = further_bits(scale) if further is None else further
    x0 = math.floor(-(2.0**further) / scale)
    d = x.astype(np.int64) - x.max(-1, keepdims=True)
    n = max(POWER_BITS - (-x0).bit_length(), 0)
    e = bit_exponential(d << further, x0, n, rounded=rounded, shifts=shifts)
    factor = 2**m // e.sum(-1, keepdims=True)
    return np.minimum((e * factor) >> (m - frac_bits), 2**frac_bits - 1)


def poly_gelu(x: Array, scale: float) -> tuple[Array, float]:
    """x / 2 * (1 + L(x / sqrt 2)), L(t) = sgn(t) * (a * (min(|t|, -b) + b)^4 + 1); int8 of `scale` to int64, and its
    scale.

    As i-GELU: b in steps of t, rounded down. Squares lose the bits that make 1 longer than ERF_BITS.
    """
    step = scale / math.sqrt(2)
    b = math.floor(B / step)
    lost = max((b * b).bit_length() - ERF_BITS, 0)
    one = math.floor(-1 / (A * step**4 * 4.0**lost))
    more = max(one.bit_length() - ERF_BITS, 0)
    one >>= more
    x64 = x.astype(np.int64)
    square = (np.minimum(np.abs(x64), -b) + b) ** 2 >> lost
    erf = np.sign(x64) * (one - (square * square >> more))
    return x64 * (one + erf), scale / (2 * one)


def shiftmax(x: Array, scale: float, *, frac_bits: int) -> Array:
    """Shiftmax as an exporter sets it up."""
    n = choose_shiftmax_n(float(scale), x.shape[-1], frac_bits)
    return OPERATORS["Shiftmax"].reference(x, x0=exp_x0(np.float32(scale)), n=n, frac_bits=frac_bits).astype(np.int64)


def by_table(x: Array, scale: float, *, frac_bits: int) -> Array:
    found = OPERATORS["TableSoftmax"].reference(x, exponentials(np.float32(scale)), frac_bits=frac_bits)
    return found.astype(np.int64)


#: Functions of int8 scores and their scale; the fractional bits of each.
SOFTMAX: dict[str, tuple[Callable[..., Array], int]] = {
    "Bit-Softmax, floor, 15 bits": (partial(bit_softmax, rounded=False, frac_bits=15), 15),
    "Bit-Softmax, rounded, 15 bits": (partial(bit_softmax, rounded=True, frac_bits=15), 15),
    "Bit-Softmax, rounded, 15 bits, no further bits": (partial(bit_softmax, rounded=True, further=0), 15),
    "Bit-Softmax, floor, 7 bits": (partial(bit_softmax, rounded=False, frac_bits=7), 7),
    "Bit-Softmax, rounded, 7 bits": (partial(bit_softmax, rounded=True, frac_bits=7), 7),
    "Shiftmax, 7 bits": (partial(shiftmax, frac_bits=7), 7),
    "Shiftmax, 15 bits": (partial(shiftmax, frac_bits=15), 15),
    "Shiftmax, 15 bits, further bits": (partial(bit_softmax, rounded=False, shifts=(1,)), 15),
    "TableSoftmax, 8 bits": (partial(by_table, frac_bits=8), 8),
    "TableSoftmax, 15 bits": (partial(by_table, frac_bits=15), 15),
}


def exact_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    found: Array = e / e.sum(-1, keepdims=True)
    return found


def exact_gelu(x: Array) -> Array:
    found: Array = torch.nn.functional.gelu(torch.from_numpy(np.asarray(x, np.float64))).numpy()
    return found


def decibels(found: Array, real: Array) -> float:
    return float(10 * np.log10(np.square(real).sum() / max(np.square(found - real).sum(), 1e-300)))


def omega(found: Array, real: Array, operations: int) -> float:
    """The metric of IPTQ-ViT: larger is better."""
    q, p, c = (
        float(np.logaddexp(0, value))
        for value in (decibels(found, real), np.square(found - real).mean(), math.log1p(operations))
    )
    return 3 / (1 / q + p + c)


@dataclass(frozen=True)
class Scores:
    """Rows of real scores [R, T], the scale of their 8-bit codes, and that of the products they are in a network."""

    name: str
    values: Array
    scale: float
    product_scale: float
    head_dim: int = 64


@dataclass(frozen=True)
class Hidden:
    """Rows of real arguments of GELU [R, C], the scale of their 8-bit codes, and n of ShiftGELU."""

    name: str
    values: Array
    scale: float
    n: int


def codes(values: Array, scale: float) -> Array:
    return np.clip(np.rint(values / scale), -128, 127).astype(np.int8)


def _row(data: Scores | Hidden, name: str, found: Array, real: Array, of_integers: Array) -> dict[str, Any]:
    operations = OPERATIONS[name.split(",")[0]]
    return {
        "data": data.name,
        "function": name,
        "total_db": round(decibels(found, real), 1),
        "function_db": round(decibels(found, of_integers), 1),
        "operations": operations,
        "omega": round(omega(found, real, operations), 4),
    }


def softmax_rows(scores: Scores) -> Iterator[dict[str, Any]]:
    """Every softmax on the same scores."""
    x, real = codes(scores.values, scores.scale), exact_softmax(scores.values)
    of_codes = exact_softmax(x * scores.scale)
    for name, (function, bits) in SOFTMAX.items():
        yield _row(scores, name, function(x, scores.scale) * 2.0**-bits, real, of_codes)
    products = np.rint(scores.values / scores.product_scale)
    for bits in (8, 15):
        softmax = DeferredSoftmax(np.float64(scores.product_scale), scores.head_dim, x.shape[-1], bits)
        found = softmax.simulate(torch.from_numpy(products)).numpy()
        narrow = exact_softmax(products * scores.product_scale)
        yield _row(scores, f"deferred, {bits} bits", found, real, narrow)


def gelu_rows(hidden: Hidden) -> Iterator[dict[str, Any]]:
    """Every GELU on the same arguments; results have 8 bits, and one scale, that of the largest."""
    x, real = codes(hidden.values, hidden.scale), exact_gelu(hidden.values)
    of_codes = exact_gelu(x * hidden.scale)
    s_y = np.float32(np.abs(real).max() / 127)

    def rounded(y: Array, scale: float) -> Array:
        return np.clip(np.rint(y * (scale / float(s_y))), -128, 127) * float(s_y)

    table = gelu_table("gelu", np.float32(hidden.scale), s_y)
    by_shifts = OPERATORS["ShiftGELU"].reference(x, x0=gelu_x0(np.float32(hidden.scale)), n=hidden.n)
    found = {
        "Poly-GELU": rounded(*poly_gelu(x, hidden.scale)),
        "ShiftGELU": rounded(by_shifts, hidden.scale / 128),
        "TableGELU": OPERATORS["TableGELU"].reference(x, table) * float(s_y),
    }
    for name, y in found.items():
        yield _row(hidden, name, y, real, of_codes)


def synthetic(seed: int = 0) -> tuple[list[Scores], list[Hidden]]:
    """Normal scores of standard deviation 1, 2 and 4 for 197 tokens, and arguments of GELU in ranges of 3 and 6.

    Products are those of 64 channels whose codes have a standard deviation of 30. A range has 4 standard deviations.
    """
    rng = np.random.default_rng(seed)
    scores, hidden = [], []
    for deviation in (1, 2, 4):
        values = rng.standard_normal((ROWS, 197)) * deviation
        largest = float(np.abs(values).max())
        scale = fit_softmax(largest)
        scale = np.float32(largest / 127) if scale is None else scale
        scores.append(Scores(f"normal, {deviation}", values, float(scale), deviation / (8 * 30**2)))
    for largest in (3, 6):
        values = np.clip(rng.standard_normal((ROWS, COLUMNS)) * largest / 4, -largest, largest)
        found = fit_gelu(values.astype(np.float16), largest, torch.nn.functional.gelu)
        assert found is not None
        hidden.append(Hidden(f"normal, to {largest}", values, float(found[0]), int(found[1])))
    return scores, hidden


def of_network(model: Twin, images: Tensor) -> tuple[list[Scores], list[Hidden]]:
    """What the layers of a calibrated twin for shifts have in floating point on normalised images, some rows of it.

    Scores of shifted windows are those before the mask.
    """
    rng = np.random.default_rng(0)
    kept: dict[str, Array] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            chosen = rng.choice(len(rows), min(ROWS, len(rows)), replace=False)
            kept[name] = rows[np.sort(chosen)].double().numpy()

        return hook

    sites = model.sites()
    points = {site.core.path: site.core.scaled_scores()[-1] for site in sites.attention}
    points |= {site.name: site.module.hidden for site in sites.mlp}
    hooks = [point.register_forward_pre_hook(keep(name)) for name, point in points.items()]
    model.set_quantized(False)
    with torch.inference_mode():
        model(images)
    model.set_quantized(True)
    for hook in hooks:
        hook.remove()
    activations, scores, hidden = model.activations(), [], []
    for site in sites.attention:
        core = site.core
        products = core.product_scale(np.float32(activations[site.qkv.target].scale.item()))
        scale = float(points[core.path].scale)
        scores.append(Scores(core.path, kept[core.path], scale, float(products), core.head_dim))
    for mlp in sites.mlp:
        module = mlp.module
        hidden.append(Hidden(mlp.name, kept[mlp.name], float(module.hidden.scale), int(module.n)))
    return scores, hidden


def calibrated(path: str, calib: str | None, count: int, reading: ReadingOptions) -> tuple[Twin, Tensor]:
    """A twin for shifts, and the images that its layers are shown on: the first four of calibration."""
    loaded = read_checkpoint(path, reading)
    preprocess, _ = loaded.preprocess(reading.mean, reading.std)
    model = from_checkpoint(loaded, preprocess, 15, "ivit")
    source = dead_leaves(preprocess.size) if calib is None else calib
    images = np.stack(list(read_images(source, preprocess, count)))
    apply_calibration(model, collect_statistics(model, images, loaded.fingerprint), RECIPE)
    return model, torch.from_numpy(images[:4])


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each function the mean over layers, and how many layers would choose it by decibels and by Omega.

    A layer chooses among functions of its kind; decibels are those of the real values.
    """
    kinds = {name: name.split(",")[0].endswith("GELU") for name in dict.fromkeys(row["function"] for row in rows)}
    chosen: dict[tuple[str, str], int] = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        for kind in (False, True):
            group = [row for row in rows if row["data"] == data and kinds[row["function"]] is kind]
            for key in ("total_db", "omega") if group else ():
                best = max(group, key=lambda row: row[key])["function"]
                chosen[best, key] = chosen.get((best, key), 0) + 1
    found = []
    for name in kinds:
        group = [row for row in rows if row["function"] == name]
        means = {key: round(float(np.mean([row[key] for row in group])), 1) for key in ("total_db", "function_db")}
        omegas = round(float(np.mean([row["omega"] for row in group])), 4)
        counts = {f"chosen_by_{key}": chosen.get((name, key), 0) for key in ("total_db", "omega")}
        found.append({"function": name, "layers": len(group), **means, "omega": omegas, **counts})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="a floating-point checkpoint; normal values alone without one")
    parser.add_argument("--calib", help="folder, .npz or .npy of images; dead leaves are drawn without it")
    parser.add_argument("--images", type=int, default=IMAGES, help="how many of them (default: %(default)s)")
    parser.add_argument("--num-heads", type=int)
    parser.add_argument("--img-size", type=int)
    parser.add_argument("--mean", type=float, nargs=3)
    parser.add_argument("--std", type=float, nargs=3)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    sources = {"synthetic": synthetic()}
    if arguments.checkpoint is not None:
        reading = ReadingOptions.of(vars(arguments))
        found = calibrated(arguments.checkpoint, arguments.calib, arguments.images, reading)
        sources["network"] = of_network(*found)
    result: dict[str, Any] = {}
    for name, (scores, hidden) in sources.items():
        rows = [row for part in scores for row in softmax_rows(part)]
        rows += [row for part in hidden for row in gelu_rows(part)]
        result[name] = {"summary": summary(rows), "rows": rows}
        for row in result[name]["summary"] if name == "network" else rows:
            print(name, json.dumps(row), flush=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
