"""Checkpoints of Swin, in timm's naming and in that of the original code.

The original code counts a patch merging to the stage before it: its `layers.0.downsample` is timm's
`layers.1.downsample`, and its `head` is timm's `head.fc`. It also saves buffers that follow from the architecture; they
are compared with what follows and left out.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch

from ivit_onnx.architectures import Architecture, Size, SwinArchitecture, known_architecture, matching_names
from ivit_onnx.checkpoints.facts import ASSUMED, PLAIN, Facts
from ivit_onnx.checkpoints.reader import Reader, Reading, known_to_fit, patch_shape
from ivit_onnx.checkpoints.tensors import Tensors, shape_of
from ivit_onnx.errors import CheckpointError
from ivit_onnx.opset import window_offsets, window_regions

__all__ = ["READER"]

DEFAULT_IMAGE_SIZE = Size(224, 224)
#: That of every normalisation of a Swin.
EPSILON = 1e-5

#: What a tensor name tells about features that are not supported, first match wins.
_UNSUPPORTED = (
    (r"\.attn\.(logit_scale|tau|cpb_mlp|meta_mlp|q_bias|v_bias)", "Swin V2 (cosine attention)"),
    (r"\.spatial_mlp\.", "spatial MLPs in place of attention (Swin-MLP)"),
    (r"^absolute_pos_embed$", "an absolute position embedding (ape)"),
    (r"\.(ls\d\.gamma|gamma_\d)$", "LayerScale"),
    (r"\.attn\.[qk]_norm\.", "normalised queries and keys (q_norm, k_norm)"),
    (r"\.mlp\.(w12|w3|fc1_g|fc1_x)\.", "gated MLP (SwiGLU)"),
    (r"^patch_embed\.proj\.\d", "a patch embedding of several convolutions"),
)

#: Where the reference I-ViT code quantises inside a block.
_REFERENCE_IVIT_BLOCK = {
    "norm1.output": "qact1",
    "attn.qkv.output": "attn.qact1",
    "attn.core.score": "attn.qact_attn1",
    "attn.core.table": "attn.qact_table",
    "attn.core.placed": "attn.qact2",
    "attn.core.output": "attn.qact3",
    "attn.proj.branch": "attn.qact4",
    "attn.proj.output": "qact2",
    "norm2.output": "qact3",
    "mlp.hidden": "mlp.qact_gelu",
    "mlp.activated": "mlp.qact1",
    "mlp.branch": "mlp.qact2",
    "mlp.output": "qact4",
}

_BUFFERS = re.compile(r"^layers\.(\d+)\.blocks\.(\d+)\.(attn_mask|attn\.relative_position_index)$")


def _detects(state_dict: Tensors) -> bool:
    return any(re.match(r"layers\.\d+\.blocks\.\d+\.", name) for name in state_dict)


def _read(state_dict: Tensors, facts: Facts) -> Reading:
    """The architecture; the size of images is that of the facts, the masks in the file, the known model, or 224."""
    if facts.value("heads") is not None and facts.found["heads"].origin.startswith("--"):
        raise CheckpointError("the heads of a Swin are read from the file; leave --num-heads out")
    if facts.value("act", "gelu") != "gelu":
        raise CheckpointError(f"not supported yet: a Swin with {facts.value('act')} ({facts.found['act'].origin})")
    if facts.value("eps", EPSILON) != EPSILON:
        raise CheckpointError(
            f"not supported yet: a Swin with an eps of {facts.value('eps')} ({facts.found['eps'].origin}); "
            f"it is {EPSILON}"
        )
    if facts.value("pool", "avg") != "avg":
        raise CheckpointError(f"not supported yet: a Swin with pooling by {facts.value('pool')}; it is avg")
    weights = _timm_names(state_dict)
    if "patch_embed.norm.weight" not in weights:
        raise CheckpointError("not supported yet: a Swin whose patch embedding has no normalisation (patch_embed.norm)")
    width, channels, patch = patch_shape(weights)
    depths = _depths(weights)
    windows, heads = zip(*(_window(weights, stage) for stage in range(len(depths))), strict=True)
    hidden = shape_of(weights, "layers.0.blocks.0.mlp.fc1.weight", 2)[0]
    if hidden % width:
        raise CheckpointError(f"not supported yet: feed-forward layers of {hidden} channels, no multiple of {width}")
    found: dict[str, Any] = {
        "patch_size": patch,
        "in_channels": channels,
        "width": width,
        "depths": depths,
        "heads": heads,
        "windows": windows,
        "mlp_ratio": hidden // width,
    }
    told, _, warnings = known_to_fit(facts, "swin", found)
    facts = facts if told is not None else facts.without("name")
    names = matching_names("swin", found) if told is None else [told.name]
    known = known_architecture(names[0]) if names else None
    size, origin = _image_size(state_dict, patch, windows, known)
    settled = (
        facts.without("heads")
        | Facts.told(origin, image_size=size)
        | Facts.told(ASSUMED if told is None else facts.found["name"].origin, act="gelu", eps=EPSILON, blocks=PLAIN)
    )
    size = settled.value("image_size")
    if settled.found["image_size"].origin == ASSUMED and known is None:
        warnings.append(
            f"the image size cannot be read from the file: assuming {size.sides} pixels; pass --img-size to say "
            "otherwise"
        )
    named = known is not None and known.image_size == size
    arch = SwinArchitecture(
        name=names[0] if named else f"swin_custom_patch{patch}_window{windows[0]}_{size}",
        image_size=size,
        classes=shape_of(weights, "head.fc.weight", 2)[0] if "head.fc.weight" in weights else 0,
        **found,
    )
    for stage in arch.stages:
        if stage.window != windows[stage.index]:
            raise CheckpointError(
                f"layers.{stage.index} has windows of {windows[stage.index]} tokens per side, but a grid of "
                f"{stage.grid.sides} for images of {size.sides} pixels; pass --img-size"
            )
    return Reading(arch, settled, tuple(warnings))


def _timm_names(state_dict: Tensors) -> dict[str, torch.Tensor]:
    """The weights under timm's names, without buffers."""
    original = "layers.0.downsample.reduction.weight" in state_dict or "head.weight" in state_dict
    weights = {}
    for name, tensor in state_dict.items():
        if _BUFFERS.match(name):
            continue
        if original:
            name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m[1]) + 1}.downsample.", name)
            name = re.sub(r"^head\.", "head.fc.", name)
        weights[name] = tensor
    return weights


def _depths(weights: Tensors) -> tuple[int, ...]:
    """Blocks of each stage."""
    found: dict[int, set[int]] = {}
    for name in weights:
        if match := re.match(r"layers\.(\d{1,6})\.blocks\.(\d{1,6})\.", name):
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    for stage in range(max(found) + 1):
        missing = sorted(set(range(len(found.get(stage, ())) or 1)) - found.get(stage, set()))
        if missing:
            raise CheckpointError(f"tensors of layers.{stage}.blocks.{missing[0]} are missing")
    return tuple(len(found[stage]) for stage in sorted(found))


def _window(weights: Tensors, stage: int) -> tuple[int, int]:
    """Side of the windows and number of heads of a stage, from its table of (2 * window - 1)^2 offsets."""
    name = f"layers.{stage}.blocks.0.attn.relative_position_bias_table"
    offsets, heads = shape_of(weights, name, 2)
    side = math.isqrt(offsets)
    if side * side != offsets or side % 2 == 0:
        raise CheckpointError(f"not supported yet: windows that are not square ({name} has {offsets} rows)")
    return (side + 1) // 2, heads


def _image_size(
    state_dict: Tensors, patch: int, windows: tuple[int, ...], known: Architecture | None
) -> tuple[Size, str]:
    """The size of the images, and what told it."""
    for name in state_dict:
        match = _BUFFERS.match(name)
        if match is None or match[3] != "attn_mask" or int(match[1]) >= len(windows):
            continue
        stage = int(match[1])
        shape_of(state_dict, name, 3)
        grid = _masked_grid(state_dict[name], windows[stage])
        return Size(*(side * 2**stage * patch for side in grid)), "masks of attention"
    return DEFAULT_IMAGE_SIZE if known is None else known.image_size, ASSUMED


def _masked_grid(mask: torch.Tensor, window: int) -> Size:
    """The grid whose mask the original code saved, [windows, T, T]; a square if it is that of none."""
    count, area = len(mask), window * window
    square = Size(*(math.isqrt(count) * window,) * 2)
    if mask.shape[1:] != (area, area) or not _is_dense(mask):
        return square
    others = (Size(rows * window, count // rows * window) for rows in range(1, count + 1) if count % rows == 0)
    return next((grid for grid in (square, *others) if _same(mask, _mask(grid, window, window // 2))), square)


def _weights(state_dict: Tensors, arch: SwinArchitecture, facts: Facts) -> dict[str, torch.Tensor]:
    """The weights under timm's names.

    Raises CheckpointError when a buffer is not what follows from the architecture.
    """
    for name, tensor in state_dict.items():
        match = _BUFFERS.match(name)
        if match is None or int(match[1]) >= len(arch.stages):
            continue
        stage = arch.stages[int(match[1])]
        if match[3] == "attn_mask":
            expected = _mask(stage.grid, stage.window, stage.shift)
        else:
            expected = torch.from_numpy(window_offsets(stage.window))
        if not _is_dense(tensor) or not _same(tensor, expected):
            raise CheckpointError(
                f"{name} is not what follows from windows of {stage.window} tokens per side on a grid of "
                f"{stage.grid.sides}, for images of {arch.image_size.sides} pixels"
            )
    return _timm_names(state_dict)


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_complex())


def _same(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    return tensor.shape == expected.shape and torch.equal(tensor.to(expected.dtype), expected)


def _mask(grid: Size, window: int, shift: int) -> torch.Tensor:
    """What the original code adds to the scores of shifted windows."""
    regions = torch.from_numpy(window_regions(*grid, window, shift))
    return torch.where(regions[:, None, :] == regions[:, :, None], 0.0, -100.0)


def _shapes(arch: SwinArchitecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `arch`."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (arch.width, arch.in_channels, arch.patch_size, arch.patch_size),
        "patch_embed.proj.bias": (arch.width,),
        **_norm("patch_embed.norm", arch.width),
    }
    for stage in arch.stages:
        width, hidden = stage.width, arch.mlp_ratio * stage.width
        if stage.index > 0:
            downsample = f"layers.{stage.index}.downsample"
            shapes |= {**_norm(f"{downsample}.norm", 2 * width), f"{downsample}.reduction.weight": (width, 2 * width)}
        linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        linears |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
        for block in (f"layers.{stage.index}.blocks.{index}." for index in range(stage.depth)):
            shapes |= {**_norm(f"{block}norm1", width), **_norm(f"{block}norm2", width)}
            shapes[f"{block}attn.relative_position_bias_table"] = ((2 * stage.window - 1) ** 2, stage.heads)
            for linear, shape in linears.items():
                shapes |= {f"{block}{linear}.weight": shape, f"{block}{linear}.bias": shape[:1]}
    shapes |= _norm("norm", arch.features)
    if arch.classes:
        shapes |= {"head.fc.weight": (arch.classes, arch.features), "head.fc.bias": (arch.classes,)}
    return shapes


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _reference_ivit_modules(arch: SwinArchitecture) -> dict[str, str]:
    modules = {
        "image.output": "qact_input",
        "patch_embed.projection": "patch_embed.qact_before_norm",
        "patch_embed.norm.output": "patch_embed.qact",
        "patch_embed.output": "qact1",
    }
    for stage in arch.stages:
        path = f"layers.{stage.index}"
        if stage.index > 0:
            downsample = f"layers.{stage.index - 1}.downsample"
            modules[f"{path}.downsample.norm.output"] = f"{downsample}.qact1"
            modules[f"{path}.downsample.output"] = f"{downsample}.qact2"
        for block in (f"{path}.blocks.{index}." for index in range(stage.depth)):
            modules |= {block + activation: block + module for activation, module in _REFERENCE_IVIT_BLOCK.items()}
    return {**modules, "norm.output": "qact2", "pool.output": "qact3"}


READER = Reader(
    title="Swin in timm's or the original naming",
    detects=_detects,
    unsupported=_UNSUPPORTED,
    read=_read,
    shapes=_shapes,
    reference_ivit=_reference_ivit_modules,
    reference_ivit_softmax_bits=7,
    optional=r"attn\.qkv\.bias$",
    weights=_weights,
)
