"""What a module tells that its tensors do not: heads, activation, eps, pooling, images, the class of its blocks.

Modules of timm, torchvision, open_clip, OpenAI's CLIP and the authors' own code are looked at by their attributes,
given as objects or pickled as a whole (modules.py); those of transformers have a configuration, which the layout reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.inert import Inert, entries
from ivit_onnx.checkpoints.modules import children, class_name, is_module, look
from ivit_onnx.checkpoints.values import act_name, image_size, told
from ivit_onnx.errors import CheckpointError

__all__ = ["config_of_module", "facts_of_module", "notes_of_module"]

#: How deep in other modules a network is looked for.
_MOST_LEVELS = 3


@dataclass(frozen=True)
class _Kind:
    """Where modules of one library have what is looked for. `block`: the first block; the others are in it."""

    block: str
    heads: str
    act: str
    norm: str


_KINDS = (
    _Kind("blocks.0", "attn.num_heads", "mlp.act", "norm1"),
    _Kind("layers.0.blocks.0", "", "mlp.act", "norm1"),
    _Kind("encoder.layers.encoder_layer_0", "self_attention.num_heads", "mlp.1", "ln_1"),
    _Kind("features.1.0", "", "mlp.1", "norm1"),
    _Kind("transformer.resblocks.0", "attn.num_heads", "mlp.gelu", "ln_1"),
)
#: Where sizes of images, pooling and eps of further normalisations are.
_SIZES = ("patch_embed.img_size", "image_size", "input_resolution")
_POOLS = ("global_pool", "head.global_pool.pool_type", "pool_type")
_NORMS = ("norm", "fc_norm", "norm_pre", "encoder.ln", "ln_pre", "ln_post")
#: What other classes of blocks do that is not supported.
_OTHER_BLOCKS = {
    "ResPostBlock": "normalisation after each branch (res-post-norm)",
    "ParallelScalingBlock": "parallel blocks",
    "ParallelThingsBlock": "parallel blocks",
    "SwinTransformerBlockV2": "Swin V2 (cosine attention)",
    "SwinTransformerV2Block": "Swin V2 (cosine attention)",
}
#: Blocks that normalise before each branch and do nothing else that tensors do not tell.
_BLOCKS = {"Block", "NestedTensorBlock", "Layer_scale_init_Block", "EvaBlock", "SwinTransformerBlock", "EncoderBlock"}
_BLOCKS |= {"ResidualAttentionBlock", "QuantizableBlock"}
#: Libraries whose other blocks compute something else.
_LIBRARIES = ("timm.", "torchvision.", "open_clip.")
_CLIP_POOLS = {"tok": "token"}


def facts_of_module(module: Any) -> Facts:
    """The facts that a module tells. Raises CheckpointError where it computes what is not supported.

    A module with several networks in it tells nothing: which is meant is chosen later.
    """
    found = list(_networks(module))
    if len(found) != 1:
        return Facts()
    network, kind = found[0]
    origin = "the module" if isinstance(module, nn.Module) else "the pickled module"
    block = look(network, kind.block)
    return (
        Facts.told(
            origin,
            heads=_whole(look(block, kind.heads)) if kind.heads else None,
            act=_act(look(block, kind.act)),
            eps=_eps(network, look(block, kind.norm)),
            pool=_pool(network),
            blocks=_blocks(network, block),
            image_size=next((size for path in _SIZES if (size := _size(look(network, path))) is not None), None),
        )
        | _pretrained(network, origin)
        | told(origin, {"mean": _listed(look(network, "image_mean")), "std": _listed(look(network, "image_std"))})
    )


def config_of_module(module: Any) -> Mapping[str, Any]:
    """The configuration of a module of transformers; {} where there is none, or more than one."""
    found = [part for part in _parts(module) if _configuration(part) is not None]
    if len(found) != 1:
        return {}
    config = dict(_configuration(found[0]) or {})
    return config if config.get("architectures") else config | {"architectures": [_short(found[0])]}


def notes_of_module(module: nn.Module) -> list[str]:
    """Sentences about what a module does besides computing with its tensors."""
    hooked = [
        name or "itself" for name, part in module.named_modules() if part._forward_hooks or part._forward_pre_hooks
    ]
    if not hooked:
        return []
    return [f"the module has forward hooks ({hooked[0]}), which are not exported"]


def _networks(module: Any, level: int = 0) -> Iterator[tuple[Any, _Kind]]:
    """The outermost networks of a known kind in a module. Beside an image tower, that of text is none of ours."""
    visual = look(module, "visual")
    if is_module(visual):
        yield from _networks(visual, level)
        return
    kind = next((kind for kind in _KINDS if is_module(look(module, kind.block))), None)
    if kind is not None:
        yield module, kind
    elif level < _MOST_LEVELS:
        for _, child in children(module):
            yield from _networks(child, level + 1)


def _parts(module: Any, level: int = 0) -> Iterator[Any]:
    """The module, or the outermost ones in it that have a configuration."""
    if _configuration(module) is not None:
        yield module
    elif level < _MOST_LEVELS:
        for _, child in children(module):
            yield from _parts(child, level + 1)


def _configuration(module: Any) -> dict[str, Any] | None:
    """What a module of transformers is configured with."""
    config = look(module, "config")
    if isinstance(config, Inert):
        return _pickled_configuration(config) if _is_configuration(config) else None
    if isinstance(module, nn.Module) and class_name(config).startswith("transformers.") and hasattr(config, "to_dict"):
        return dict(config.to_dict())
    return None


def _pickled_configuration(config: Inert) -> dict[str, Any]:
    """The values of a pickled configuration, whose class tells its type: transformers.models.vit.(..).ViTConfig."""
    package = class_name(config).split(".")[2]
    kind = f"{package}_vision_model" if _short(config).endswith("VisionConfig") else package
    parts = {name: _pickled_configuration(value) for name, value in entries(config).items() if _is_configuration(value)}
    return {"model_type": kind, **entries(config), **parts}


def _is_configuration(value: Any) -> bool:
    return (
        isinstance(value, Inert) and re.fullmatch(r"transformers\.models\.\w+\.\w+\.\w+Config", value.name) is not None
    )


def _blocks(network: Any, block: Any) -> str | None:
    """`PLAIN` for a class of blocks that is known. Raises CheckpointError for others of the same libraries."""
    rotary = [path for path in ("rope", "rope_embed", "rotary_emb") if look(network, path) is not None]
    if rotary:
        raise CheckpointError(f"not supported yet: rotary position embedding (the module has {rotary[0]})")
    if _short(block) not in _BLOCKS:
        if class_name(block).startswith(_LIBRARIES):
            feature = _OTHER_BLOCKS.get(_short(block))
            of_class = f"blocks of class {_short(block)}"
            raise CheckpointError(f"not supported yet: {of_class if feature is None else f'{feature} ({of_class})'}")
        return None
    scale, heads, width = (look(block, f"attn.{name}") for name in ("scale", "num_heads", "qkv.in_features"))
    if (
        isinstance(scale, float)
        and _whole(heads)
        and _whole(width)
        and not math.isclose(scale, (width / heads) ** -0.5)
    ):
        raise CheckpointError(f"not supported yet: attention scores times {scale:g}, not 1/sqrt({width // heads})")
    return PLAIN


def _pool(network: Any) -> str | None:
    """Pooling in timm's words, as it is: that which is not supported is refused by its name."""
    pool = next((found for path in _POOLS if isinstance(found := look(network, path), str)), None)
    if pool == "avg" and look(network, "pool_include_prefix") and look(network, "num_prefix_tokens"):
        return "avg with prefix tokens"
    return None if pool is None else _CLIP_POOLS.get(pool, pool)


def _act(act: Any) -> str | None:
    if act is None:
        return None
    tanh = _short(act) == "GELU" and look(act, "approximate") == "tanh"
    return "gelu_tanh" if tanh else act_name(_short(act))


def _eps(network: Any, norm: Any) -> float | None:
    """The eps of all normalisations. Raises CheckpointError where they differ."""
    norms = [norm, *(look(network, path) for path in _NORMS)]
    found = {float(eps) for one in norms if isinstance(eps := look(one, "eps"), float | int)}
    if len(found) > 1:
        raise CheckpointError(
            f"not supported yet: normalisations with different eps ({', '.join(map(str, sorted(found)))})"
        )
    return next(iter(found), None)


def _size(value: Any) -> int | tuple[int, int] | None:
    return None if value is None else image_size(value)


def _pretrained(network: Any, origin: str) -> Facts:
    """What timm keeps of the weights a network was made for: its name with the tag, how images are prepared."""
    config = look(network, "pretrained_cfg")
    config = config if isinstance(config, dict) else {}
    name, tag = config.get("architecture"), config.get("tag")
    name = f"{name}.{tag}" if isinstance(name, str) and isinstance(tag, str) and tag else name
    return told(origin, {**config, "architecture": name}).without("image_size", "pool")


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else None


def _short(value: Any) -> str:
    """The name of a class without its module."""
    return class_name(value).rpartition(".")[2]
