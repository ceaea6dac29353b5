"""Checkpoints of timm's VisionTransformer: ViT, DeiT and their relatives, in timm's naming."""

from __future__ import annotations

import re
from typing import Any

import torch

from ivit_onnx.architectures import KNOWN, VitArchitecture, known_architecture, matching_names
from ivit_onnx.checkpoints.facts import ASSUMED, PLAIN, Facts
from ivit_onnx.checkpoints.positions import PositionResize, position_fields, resize_positions, trained_grid
from ivit_onnx.checkpoints.reader import Reader, Reading, known_to_fit, patch_shape
from ivit_onnx.checkpoints.tensors import Tensors, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["READER"]

#: What a tensor name tells about features that are not supported, first match wins.
_UNSUPPORTED = (
    (r"relative_position_bias_table$|rel_pos", "relative position bias"),
    (r"\.attn\.[qk]_norm\.", "normalised queries and keys (q_norm, k_norm)"),
    (r"\.attn\.(norm|sub_norm)\.|\.mlp\.norm\.", "normalisation inside attention or MLP"),
    (r"\.attn\.(lambda|q_proj|k_proj|v_proj)", "attention with other projections than qkv"),
    (r"\.mlp\.(w12|w3|fc1_g|fc1_x)\.", "gated MLP (SwiGLU)"),
    (r"(^|\.)(rope|freqs)", "rotary position embedding (rope)"),
    (r"^attn_pool\.", "attention pooling"),
    (r"^pre_logits\.", "pre_logits (a representation layer before the head)"),
    (r"^blocks\.\d+\.(attns|ffns|in_proj|in_norm|mlp_out_proj)\.", "parallel blocks"),
    (r"^patch_embed\.(backbone|norm)\.", "patch embeddings with a backbone or a normalisation"),
    (r"^(stem|patch_embed\.(conv|stem|blocks))", "convolutional stems"),
)

#: Width and depth of Perception Encoders, whose tensors are those of a CLIP.
_PERCEPTION = {(192, 12), (384, 12), (768, 12), (1024, 24), (1536, 50), (1024, 23), (1536, 47)}

#: Where the reference code quantises inside a block.
_REFERENCE_IVIT_BLOCK = {
    "norm1.output": "qact1",
    "attn.qkv.output": "attn.qact1",
    "attn.core.score": "attn.qact_attn1",
    "attn.core.output": "attn.qact2",
    "attn.proj.branch": "attn.qact3",
    "attn.proj.output": "qact2",
    "norm2.output": "qact3",
    "mlp.hidden": "mlp.qact_gelu",
    "mlp.activated": "mlp.qact1",
    "mlp.branch": "mlp.qact2",
    "mlp.output": "qact4",
}


def _detects(state_dict: Tensors) -> bool:
    return "patch_embed.proj.weight" in state_dict


def _read(state_dict: Tensors, facts: Facts) -> Reading:
    """The architecture; what neither shapes nor facts tell is that of the known model with these shapes."""
    original, state_dict = state_dict, _timm_names(state_dict)
    width, channels, patch = patch_shape(state_dict)
    depth = _depth(state_dict)
    mlp_width = _mlp_width(state_dict)
    class_token, distilled = "cls_token" in state_dict, "dist_token" in state_dict
    reg_tokens = shape_of(state_dict, "reg_token", 3)[1] if "reg_token" in state_dict else 0
    fc_norm = _fc_norm(state_dict)
    if distilled and not (class_token and "head.weight" in state_dict):
        raise CheckpointError("not supported yet: a distillation token (dist_token) without class token or head")
    found: dict[str, Any] = {
        "patch_size": patch,
        "in_channels": channels,
        "width": width,
        "depth": depth,
        "mlp_width": mlp_width,
        "distilled": distilled,
        "class_token": class_token,
        "reg_tokens": reg_tokens,
        "pre_norm": "norm_pre.weight" in state_dict,
        "fc_norm": fc_norm,
        "layer_scale": "blocks.0.ls1.gamma" in state_dict,
    }
    tokens = shape_of(state_dict, "pos_embed", 3)[1]
    prefix = int(class_token) + int(distilled) + reg_tokens
    fields, warnings = position_fields(found, tokens, prefix, facts, separate="register_tokens" in original)
    found = {"no_embed_class": fields["no_embed_class"], **found}
    table_size = fields["image_size"]
    shapes = found if "image_size" in facts else {"image_size": table_size, **found}
    told, shared, doubts = known_to_fit(facts, "vit", shapes, ("heads", "act", "pool"))
    facts = facts if told is not None else facts.without("name") | shared
    fitting = matching_names("vit", {**found, "image_size": table_size}) if told is None else [told.name]
    names = fitting if told is not None else _agreeing(fitting, facts) or fitting
    like = known_architecture(names[0]) if names else None
    if told is None and "blocks" not in facts:
        _refuse_lookalikes(original, found, known=bool(names))
    known = like if isinstance(like, VitArchitecture) else None
    defaults = {
        "heads": known.heads if known is not None else _standard_heads(width, facts),
        "act": known.act if known is not None else "gelu",
        "eps": known.eps if known is not None else 1e-5 if found["pre_norm"] else 1e-6,
        "pool": known.pool if known is not None else "token" if class_token and not fc_norm else "avg",
        "blocks": PLAIN,
    }
    origin = ASSUMED if told is None else facts.found["name"].origin
    guesses = facts.assumed()
    facts = facts.without(*guesses) | Facts.told("the position table", image_size=table_size)
    # What a layout assumes is nearer than a model with the same shapes, but not than one that is named.
    settled = facts | (guesses | Facts.told(origin, **defaults) if told is None else Facts.told(origin, **defaults))
    size = settled.value("image_size")
    arch = VitArchitecture(
        name=names[0] if names else f"vit_custom_patch{patch}_{size}",
        image_size=size,
        classes=shape_of(state_dict, "head.weight", 2)[0] if "head.weight" in state_dict else 0,
        **{field: settled.value(field) for field in ("heads", "act", "eps", "pool")},
        **found,
    )
    return Reading(arch, settled, (*warnings, *doubts, *_unsure(arch, fitting, settled)))


def _refuse_lookalikes(names: Tensors, found: dict[str, Any], known: bool) -> None:
    """Raise CheckpointError where a network that is not supported has just these tensors, and is as likely.

    `names`: the tensors as they are called in the file; `known`: whether the shapes are those of a known model.
    """
    plain = not (found["distilled"] or found["reg_tokens"] or found["fc_norm"])
    rotary = plain and found["class_token"] and found["no_embed_class"] and "blocks.0.gamma_1" in names
    perception = plain and found["pre_norm"] and (found["width"], found["depth"]) in _PERCEPTION and not known
    free = not (found["layer_scale"] or found["reg_tokens"] or found["class_token"])
    after = free and found["fc_norm"] and "blocks.0.attn.qkv.bias" not in names
    other = {
        "vit_*_rope_ape_*, with rotary position embedding": rotary,
        "vit_pe_*, with rotary position embedding": perception,
        "vit_*_rpn_*, with normalisation after each branch": after,
    }
    for network, fits in other.items():
        if fits:
            raise CheckpointError(
                f"a network that is not supported has just these tensors: {network}; pass --arch with the name of this "
                f"one or, if its blocks are plain ({PLAIN}), --plain"
            )


def _agreeing(names: list[str], facts: Facts) -> list[str]:
    """The known models that have the heads, activation function and pooling that the facts tell."""
    told = {field: fact.value for field, fact in facts.only("heads", "act", "pool").found.items()}
    return [name for name in names if all(getattr(KNOWN[name], field) == value for field, value in told.items())]


def _unsure(arch: VitArchitecture, names: list[str], facts: Facts) -> list[str]:
    """Warnings about assumptions in which known models differ, or that are a guess."""
    warnings = []
    candidates = [known for name in names if isinstance(known := known_architecture(name), VitArchitecture)]
    if facts.found["heads"].origin == ASSUMED and len({known.heads for known in candidates}) != 1:
        warnings.append(
            f"the number of heads cannot be read from the file: assuming {arch.heads} "
            f"({arch.head_dim} channels each); pass --num-heads to say otherwise"
        )
    if facts.found["act"].origin == ASSUMED and len({known.act for known in candidates}) > 1:
        warnings.append(
            f"the activation function cannot be read from the file, and known models with its shapes differ: assuming "
            f"{arch.act}; pass --arch or --act to say otherwise"
        )
    return warnings


def _timm_names(state_dict: Tensors) -> dict[str, torch.Tensor]:
    """timm's current names for the files of DeiT III and DINOv2 as their authors publish them.

    DINOv2 with registers has a position for the class token alone: it is part of the class token in timm.
    """
    old = re.compile(r"^(blocks\.\d+)\.gamma_([12])$")
    renamed = {old.sub(r"\1.ls\2.gamma", name): tensor for name, tensor in state_dict.items() if name != "mask_token"}
    registers = renamed.pop("register_tokens", None)
    if registers is not None:
        position = renamed.get("pos_embed", torch.zeros(0))
        if position.ndim != 3 or "cls_token" not in renamed:
            raise CheckpointError(
                "register_tokens: expected cls_token and a position table pos_embed [1, tokens, width]"
            )
        renamed["reg_token"] = registers
        renamed["cls_token"] = renamed["cls_token"] + position[:, :1]
        renamed["pos_embed"] = position[:, 1:]
    return renamed


def _mlp_width(state_dict: Tensors) -> int:
    """Width of the feed-forward network, which a gate would double before its second layer."""
    mlp_width = shape_of(state_dict, "blocks.0.mlp.fc1.weight", 2)[0]
    if "blocks.0.mlp.fc2.weight" in state_dict:
        second = shape_of(state_dict, "blocks.0.mlp.fc2.weight", 2)[1]
        if mlp_width == 2 * second:
            raise CheckpointError(
                f"not supported yet: gated MLP (SwiGLU); blocks.0.mlp.fc1 has {mlp_width} outputs, fc2 {second} inputs"
            )
    return mlp_width


def _fc_norm(state_dict: Tensors) -> bool:
    """Whether the final normalisation comes after the pooling."""
    if "blocks.0.norm1.weight" in state_dict and "blocks.0.norm1.bias" not in state_dict:
        raise CheckpointError("not supported yet: normalisation without bias (RMSNorm); no blocks.0.norm1.bias")
    if "norm.weight" not in state_dict and "fc_norm.weight" not in state_dict:
        raise CheckpointError("not supported yet: a network without final normalisation (norm or fc_norm)")
    return "fc_norm.weight" in state_dict


def _weights(state_dict: Tensors, arch: VitArchitecture, facts: Facts) -> dict[str, torch.Tensor]:
    """The weights with timm's names, and with a position table for the image size of `arch`."""
    adapted = _timm_names(state_dict)
    table = adapted.get("pos_embed")
    if table is None or table.ndim != 3 or table.shape[0] != 1 or not table.is_floating_point():
        return adapted
    trained = trained_grid(table.shape[1], arch)
    if trained is not None and trained != arch.grid:
        prefix = 0 if arch.no_embed_class else arch.prefix_tokens
        adapted["pos_embed"] = resize_positions(table, prefix, trained, arch.grid, _resizing(state_dict, facts))
    return adapted


def _resizing(state_dict: Tensors, facts: Facts) -> PositionResize:
    """How the authors of a file resize its position table."""
    if "position_resize" in facts:
        return PositionResize(facts.value("position_resize"))
    dinov2 = {"mask_token", "blocks.0.ls1.gamma"} <= state_dict.keys() and "register_tokens" not in state_dict
    return PositionResize.DINOV2 if dinov2 else PositionResize.TIMM


def _depth(state_dict: Tensors) -> int:
    found = {int(match[1]) for name in state_dict if (match := re.match(r"blocks\.(\d{1,6})\.", name))}
    missing = sorted(set(range(len(found))) - found)
    if missing:
        raise CheckpointError(f"tensors of block {missing[0]} are missing (found blocks up to {max(found)})")
    return len(found)


def _standard_heads(width: int, facts: Facts) -> int | None:
    if "heads" in facts:
        return None
    if width % 64:
        raise CheckpointError(f"cannot tell the number of heads from a width of {width}; pass --num-heads")
    return width // 64


def _shapes(arch: VitArchitecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `arch`."""
    width, hidden = arch.width, arch.mlp_width
    shapes: dict[str, tuple[int, ...]] = {
        **({"cls_token": (1, 1, width)} if arch.class_token else {}),
        **({"dist_token": (1, 1, width)} if arch.distilled else {}),
        **({"reg_token": (1, arch.reg_tokens, width)} if arch.reg_tokens else {}),
        "pos_embed": (1, arch.positions, width),
        "patch_embed.proj.weight": (width, arch.in_channels, arch.patch_size, arch.patch_size),
        "patch_embed.proj.bias": (width,),
    }
    norms = ["norm_pre"] if arch.pre_norm else []
    linears: dict[str, tuple[int, int]] = {}
    for block in (f"blocks.{index}." for index in range(arch.depth)):
        norms += [f"{block}norm1", f"{block}norm2"]
        linears |= {f"{block}attn.qkv": (3 * width, width), f"{block}attn.proj": (width, width)}
        linears |= {f"{block}mlp.fc1": (hidden, width), f"{block}mlp.fc2": (width, hidden)}
        if arch.layer_scale:
            shapes |= {f"{block}ls1.gamma": (width,), f"{block}ls2.gamma": (width,)}
    norms.append("fc_norm" if arch.fc_norm else "norm")
    if arch.classes:
        linears |= dict.fromkeys(("head", "head_dist") if arch.distilled else ("head",), (arch.classes, width))
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for linear, shape in linears.items():
        shapes |= {f"{linear}.weight": shape, f"{linear}.bias": shape[:1]}
    return shapes


def _reference_ivit_modules(arch: VitArchitecture) -> dict[str, str]:
    modules = {
        "image.output": "qact_input",
        "patch_embed.projection": "patch_embed.qact",
        "patch_embed.position": "qact_pos",
        "patch_embed.output": "qact1",
        "norm.output": "qact2",
    }
    for block in (f"blocks.{index}." for index in range(arch.depth)):
        modules |= {block + activation: block + module for activation, module in _REFERENCE_IVIT_BLOCK.items()}
    return modules


READER = Reader(
    title="ViT or DeiT in timm's naming",
    detects=_detects,
    unsupported=_UNSUPPORTED,
    read=_read,
    shapes=_shapes,
    reference_ivit=_reference_ivit_modules,
    reference_ivit_softmax_bits=15,
    optional=r"attn\.qkv\.bias$|^patch_embed\.proj\.bias$",
    weights=_weights,
)
