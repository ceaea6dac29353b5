"""Twins of every kind of network, made of exact numbers: the same integers on every machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ivit_onnx.exporters import InputType

from ivit_onnx.architectures import (
    Architecture,
    Preprocess,
    SwinArchitecture,
    VitArchitecture,
    family_of,
    known_architecture,
)
from ivit_onnx.architectures.size import Size
from ivit_onnx.calibration import apply_calibration, collect_statistics, recipe
from ivit_onnx.models import Twin
from ivit_onnx.options.choices import Nonlinear, Preset

__all__ = ["CALIBRATED", "EXACT", "FULL_SIZE", "Case", "make_twin"]


@dataclass(frozen=True)
class Case:
    """One export: the network, how it computes, and the form of the file.

    Without `deferred`, attention and feed-forward networks with tables are those of states without marks, as before
    there were any; without `tokens`, feed-forward networks alone are.
    Scales are `invented`, `reference I-ViT` (as the code of its paper has them), or those of a calibration preset.
    """

    arch: Architecture
    nonlinear: Nonlinear = "table"
    softmax_bits: int = 15
    input_type: InputType = "uint8"
    flat: bool = False
    scales: str = "invented"
    deferred: bool = True
    tokens: bool = True


def _vit(**changes: object) -> VitArchitecture:
    settings: dict[str, object] = {
        "name": "vit_small_case",
        "image_size": Size(32, 32),
        "patch_size": 8,
        "in_channels": 3,
        "classes": 7,
        "width": 48,
        "depth": 2,
        "heads": 3,
        "mlp_width": 192,
    }
    return VitArchitecture(**{**settings, **changes})  # type: ignore[arg-type]


def _swin(**changes: object) -> SwinArchitecture:
    settings: dict[str, object] = {
        "name": "swin_small_case",
        "image_size": Size(32, 32),
        "patch_size": 4,
        "in_channels": 3,
        "classes": 7,
        "width": 16,
        "depths": (2, 2),
        "heads": (2, 4),
        "windows": (4, 4),
        "mlp_ratio": 4,
    }
    return SwinArchitecture(**{**settings, **changes})  # type: ignore[arg-type]


_GAP = {"class_token": False, "pool": "avg"}

#: Small networks by what is special about them.
_NETWORKS: dict[str, Architecture] = {
    "vit": _vit(),
    "one block": _vit(depth=1),
    "one patch": _vit(patch_size=32),
    "rectangle": _vit(image_size=Size(32, 48)),
    "distilled": _vit(distilled=True),
    "deit3": _vit(no_embed_class=True, layer_scale=True),
    "gap": _vit(**_GAP),
    "gap, fc_norm": _vit(**_GAP, fc_norm=True),
    "gap, class token": _vit(pool="avg"),
    "gap, fc_norm, registers": _vit(**_GAP, fc_norm=True, reg_tokens=3),
    "registers": _vit(reg_tokens=4, no_embed_class=True),
    "dinov2": _vit(classes=0, layer_scale=True),
    "features, distilled": _vit(classes=0, distilled=True),
    "features, gap": _vit(**_GAP, classes=0),
    "features, gap, fc_norm": _vit(**_GAP, classes=0, fc_norm=True),
    "clip": _vit(pre_norm=True, act="quick_gelu", eps=1e-5),
    "gelu_tanh": _vit(act="gelu_tanh"),
    "swin": _swin(),
    "swin, padded": _swin(image_size=Size(36, 36)),
    "swin, mixed": _swin(image_size=Size(40, 40), depths=(2, 1, 1), heads=(2, 4, 8), windows=(5, 3, 7)),
    "swin, features": _swin(classes=0),
    "swin, one stage": _swin(depths=(2,), heads=(2,), windows=(4,)),
}

_FORMS: dict[str, Callable[[Case], Case]] = {
    "int8": lambda case: replace(case, input_type="int8"),
    "float32": lambda case: replace(case, input_type="float32"),
    "flat": lambda case: replace(case, flat=True),
    "flat, float32": lambda case: replace(case, flat=True, input_type="float32"),
    "ivit": lambda case: replace(case, nonlinear="ivit"),
    "ivit, flat": lambda case: replace(case, nonlinear="ivit", flat=True),
    "ivit, 7 bits": lambda case: replace(case, nonlinear="ivit", softmax_bits=7),
    "8 bits": lambda case: replace(case, softmax_bits=8),
    "not deferred": lambda case: replace(case, deferred=False),
    "not deferred, flat": lambda case: replace(case, deferred=False, flat=True),
    "not deferred, 8 bits": lambda case: replace(case, deferred=False, softmax_bits=8),
    "one scale": lambda case: replace(case, tokens=False),
    "one scale, flat": lambda case: replace(case, tokens=False, flat=True),
    "reference I-ViT": lambda case: replace(case, nonlinear="ivit", scales="reference I-ViT"),
}

#: Every network as a file of the default form, and some in every form.
EXACT: dict[str, Case] = {
    **{name: Case(arch) for name, arch in _NETWORKS.items()},
    **{
        f"{name}; {form}": change(Case(_NETWORKS[name]))
        for name in ("vit", "gap, fc_norm, registers", "swin, padded")
        for form, change in _FORMS.items()
    },
    "distilled; flat": Case(_NETWORKS["distilled"], flat=True),
    "clip; int8": Case(_NETWORKS["clip"], input_type="int8"),
    "dinov2; float32": Case(_NETWORKS["dinov2"], input_type="float32"),
}

#: Calibrated by floating point, whose last bits depend on the processor.
CALIBRATED: dict[str, Case] = {
    f"{name}; {preset}": Case(_NETWORKS[name], scales=preset)
    for name in ("vit", "swin, padded")
    for preset in ("fast", "default", "best")
}

FULL_SIZE: dict[str, Case] = {
    name: Case(known_architecture(name))
    for name in (
        "vit_tiny_patch16_224",
        "vit_base_patch16_384",
        "deit_tiny_patch16_224",
        "deit_small_patch16_224",
        "deit_base_distilled_patch16_224",
        "deit3_base_patch16_224",
        "vit_small_patch14_reg4_dinov2",
        "vit_base_patch16_clip_quickgelu_224",
        "vit_medium_patch16_gap_256",
        "vit_medium_patch16_reg4_gap_256",
        "swin_tiny_patch4_window7_224",
        "swin_base_patch4_window7_224",
    )
}


def make_twin(case: Case) -> Twin:
    """The calibrated twin of a case, in eval mode."""
    make = family_of(case.arch).load_twin()
    twin = make(case.arch, Preprocess(case.arch.image_size), case.softmax_bits).eval()
    twin.set_nonlinear(case.nonlinear)
    if not case.deferred:
        for site in twin.sites().attention:
            site.core.deferred.zero_()
    if not (case.deferred and case.tokens):
        for mlp in twin.sites().mlp:
            mlp.module.token_scales.zero_()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            numbers = rng.integers(-(2**12), 2**12, tuple(parameter.shape), np.int16)
            parameter.copy_(torch.from_numpy(numbers) * 2.0**-15)
    if case.scales in ("invented", "reference I-ViT"):
        _invent_scales(twin, reference_ivit=case.scales == "reference I-ViT")
    else:
        _calibrate(twin, case.scales)  # type: ignore[arg-type]
    return twin


def _invent_scales(twin: Twin, *, reference_ivit: bool) -> None:
    """A scale for each activation, none like another, and zero points where there may be some."""
    points = twin.activations()
    scales = {
        name: (1 + index % 61 / 64) * (2.0**-5 if point.bits == 8 else 2.0**-10)
        for index, (name, point) in enumerate(points.items())
    }
    if reference_ivit:
        twin.load_reference_ivit(scales)
        return
    for index, (name, point) in enumerate(points.items()):
        point.set_scale(scales[name])
        if point.zero_point is not None and twin.nonlinear == "table":
            point.zero_point.fill_(-(index % 50))
    twin.image.set_range()
    twin.choose_exponents()


def _calibrate(twin: Twin, preset: Preset) -> None:
    shape = (8, twin.arch.in_channels, *twin.arch.image_size)
    images = np.random.default_rng(1).integers(-(2**8), 2**8, shape).astype(np.float32) * np.float32(2**-7)
    apply_calibration(twin, collect_statistics(twin, list(images), "case"), recipe(preset))
