"""Exports one case and says what became of it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import Case, Made
from PIL import Image

import ivit_onnx
from ivit_onnx import cli
from ivit_onnx.checkpoints import Choice, load_checkpoint
from ivit_onnx.errors import IvitError
from ivit_onnx.images import read_images
from ivit_onnx.models import from_checkpoint
from ivit_onnx.runtime import create_session

__all__ = ["Outcome", "judge", "smooth"]

#: Largest relative error of the float network: float32 in another order of operations gives less than 1e-6.
FLOAT_ERROR = 1e-5
#: Largest mean difference of normalised pixels: other rounding of pixels gives 0.005, another filter 0.05.
PIXEL_ERROR = 0.02
#: Names of `load_checkpoint` for options of `export`; of the others, these are about images.
_LOADING = {"num_heads": "heads", "img_size": "image_size"}
_IMAGES = ("mean", "std")
_CHOICE = ("key", "prefix", "weights")

Array = np.ndarray[Any, Any]


@dataclass
class Outcome:
    """What became of a case.

    `outcome` is "accepted" (and right), "warned" (another network, which a warning says), "silently wrong", "refused",
    "traceback", "skipped" or "not made"; `met` whether that is as expected. `message` is the refusal, or the warnings.
    `float_error` is the relative error of the float twin, `sqnr_db` of the integers, both against the source;
    `pixel_error` the mean difference of prepared images.
    """

    name: str
    kind: str
    expect: str
    outcome: str = ""
    met: bool = False
    message: str = ""
    float_error: float | None = None
    sqnr_db: float | None = None
    pixel_error: float | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields that say something."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def judge(case: Case, folder: Path) -> Outcome:
    """Make a case in an empty folder, export it, compare the network with the source's forward.

    Raises what making the case raises.
    """
    outcome = Outcome(case.name, case.kind, case.expect)
    missing = [module for module in case.needs if importlib.util.find_spec(module) is None]
    if missing:
        outcome.outcome, outcome.met, outcome.message = "skipped", True, f"needs {', '.join(missing)}"
        return outcome
    source = folder / "source"
    source.mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        made = case.make(source)
    started = time.perf_counter()
    model = folder / "model.onnx"
    try:
        report = _export(made, model, folder)
        outcome.message = said = "; ".join(_sentences(report))
        right = _compare(outcome, made, model)
    except RefusedError as refusal:
        outcome.outcome, outcome.message = "refused", str(refusal)
        said = outcome.message.replace(str(made.checkpoint), "")  # the name of a file explains nothing
    except Exception as error:
        outcome.outcome, outcome.message = "traceback", f"{type(error).__name__}: {error}"[:300]
        said = ""
    else:
        doubt = case.doubt or case.words
        named = doubt and re.search(doubt, outcome.message, re.IGNORECASE)
        outcome.outcome = "accepted" if right else "warned" if named else "silently wrong"
    outcome.seconds = round(time.perf_counter() - started, 2)
    outcome.message = outcome.message.replace(str(folder), "").replace("/source/", "")
    outcome.met = _met(case, outcome, said)
    return outcome


class RefusedError(Exception):
    """What the command or the API refused, with its message."""


def _met(case: Case, outcome: Outcome, said: str) -> bool:
    allowed = {"accept": ("accepted",), "refuse": ("refused",)}.get(case.expect, ("accepted", "warned", "refused"))
    must_say = case.words if case.expect != "accept or refuse, never wrong" or outcome.outcome == "refused" else ""
    return outcome.outcome in allowed and re.search(must_say, said, re.IGNORECASE) is not None


def _export(made: Made, model: Path, folder: Path) -> dict[str, Any]:
    """The report of the command, or of the API for an object."""
    options = {"calib": str(folder / "calibration.npz"), "calib_preset": "fast", "input": "float32", **made.options}
    side = made.size if isinstance(made.size, int) else min(made.size)
    pixels = np.clip(smooth(32, (side, side), seed=1) * 64 + 128, 0, 255).astype(np.uint8)
    np.savez(folder / "calibration.npz", images=pixels)
    if not isinstance(made.checkpoint, str | os.PathLike):
        try:
            return ivit_onnx.export(made.checkpoint, model, **options).to_json()
        except IvitError as error:
            raise RefusedError(str(error)) from None
    arguments = [str(made.checkpoint), "-o", str(model), "--json"]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.export_main(arguments)
    if status == 0:
        report: dict[str, Any] = json.loads(out.getvalue())
        return report
    message = err.getvalue()
    if status != 2 or not message.startswith("error: ") or message.count("\n") != 1 or out.getvalue():
        raise RuntimeError(f"status {status} and not one line of error: {message}")
    if model.exists():
        raise RuntimeError("a refusal that left an output file")
    raise RefusedError(message.removeprefix("error: ").strip())


def _sentences(report: dict[str, Any]) -> list[str]:
    """What a report says in words: the lists of sentences in it, as that of warnings."""
    parts = {**report, **report.get("recognised", {})}
    lists = (value for name, value in parts.items() if isinstance(value, list) and name != "files")
    return [sentence for value in lists for sentence in value if isinstance(sentence, str)]


def _compare(outcome: Outcome, made: Made, model: Path) -> bool:
    """Whether the network that was exported, and its preparation of images, are those of the source."""
    given = {_LOADING.get(name, name): value for name, value in made.options.items() if name not in _IMAGES}
    choice = Choice(**{name: given.pop(name) for name in _CHOICE if name in given})
    checkpoint = load_checkpoint(made.checkpoint, choice=choice, **given)
    preprocess, _ = checkpoint.preprocess(*(made.options.get(name) for name in _IMAGES))
    right = True
    if made.prepare is not None:
        photo = _photo()
        wanted = made.prepare(photo).numpy()
        found = next(read_images([photo], preprocess))
        same = wanted.shape == found.shape
        outcome.pixel_error = float(f"{np.abs(wanted - found).mean():.2g}") if same else None
        right = same and bool(np.abs(wanted - found).mean() < PIXEL_ERROR)
    session = create_session(model)
    size = made.size if isinstance(made.size, tuple) else (made.size, made.size)
    if made.reference is None or size != tuple(session.get_inputs()[0].shape[2:]):
        return False
    images = torch.from_numpy(smooth(4, size, seed=2))
    wanted = made.reference(images).float().numpy()
    twin = from_checkpoint(checkpoint, preprocess)
    twin.set_quantized(False)
    with torch.inference_mode():
        found = twin(images).numpy()
    if wanted.shape != found.shape:
        return False
    outcome.float_error = float(f"{np.linalg.norm(found - wanted) / np.linalg.norm(wanted):.2g}")
    integers = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    scale = float(session.get_modelmeta().custom_metadata_map["ivit.output_scale"])
    noise = np.linalg.norm(integers * scale - wanted) / np.linalg.norm(wanted)
    outcome.sqnr_db = round(float(-20 * np.log10(max(noise, 1e-12))), 1)
    return right and outcome.float_error < FLOAT_ERROR


def smooth(count: int, size: tuple[int, int], seed: int) -> Array:
    """Smooth images, as normalised pixels: float32 [count, 3, height, width], most of them between -2 and 2."""
    coarse = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False)
    pixels: Array = fine.numpy()
    return pixels


def _photo() -> Image.Image:
    """A picture of 80 x 56 pixels with detail of every size."""
    rng = np.random.default_rng(0)
    levels = sum(
        np.kron(rng.normal(size=(56 // step, 80 // step, 3)), np.ones((step, step, 1))) * 30 for step in (1, 2, 4, 8)
    )
    return Image.fromarray(np.clip(levels + 128, 0, 255).astype(np.uint8))
