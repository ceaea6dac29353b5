"""The integer twin of a timm VisionTransformer (ViT and DeiT, distilled included)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess, VitArchitecture, default_preprocess
from ivit_onnx.errors import CalibrationError
from ivit_onnx.quant.exponents import choose_gelu_n, choose_shiftmax_n
from ivit_onnx.quant.modules import (
    Activation,
    Attention,
    Classifier,
    ImageInput,
    LayerNorm,
    Linear,
    LinearAdd,
    MlpAdd,
    PatchEmbed,
    QuantModule,
)
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["Block", "SelfAttention", "VisionTransformer", "from_state_dict", "from_timm"]


class SelfAttention(nn.Module):
    """qkv, attention, output projection with residual."""

    def __init__(self, arch: VitArchitecture, softmax_bits: int) -> None:
        super().__init__()
        self.qkv = Linear(arch.width, 3 * arch.width)
        self.core = Attention(arch.heads, arch.head_dim, softmax_bits)
        self.proj = LinearAdd(arch.width, arch.width)

    def forward(self, x: QuantTensor, residual: QuantTensor) -> QuantTensor:
        y: QuantTensor = self.proj(self.core(self.qkv(x)), residual)
        return y


class Block(nn.Module):
    """One pre-norm transformer block on the int16 residual stream."""

    def __init__(self, arch: VitArchitecture, softmax_bits: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(arch.width)
        self.attn = SelfAttention(arch, softmax_bits)
        self.norm2 = LayerNorm(arch.width)
        self.mlp = MlpAdd(arch.width, arch.mlp_width)

    def forward(self, x: QuantTensor) -> QuantTensor:
        x = self.attn(self.norm1(x), x)
        y: QuantTensor = self.mlp(self.norm2(x), x)
        return y


class VisionTransformer(nn.Module):
    """ViT/DeiT twin.

    In eval mode it computes the exported graph's integers: uint8, int8 or normalised float32 images [N, C, H, W] to
    int64 logits [N, classes] (float logits = integers * `output_scale`). In train mode, and in floating point
    (`set_quantized(False)`), it maps uint8 or normalised float32 images to float32 logits.

    Parameter names follow timm, except that the class and distillation tokens are `patch_embed.prefix_tokens`, the
    position table is `patch_embed.pos_embed`, and a distillation head is `head.dist_weight` and `head.dist_bias`.
    """

    def __init__(self, arch: VitArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__()
        self.arch, self.preprocess, self.softmax_bits = arch, preprocess, softmax_bits
        self.image = ImageInput(preprocess.mean, preprocess.std)
        self.patch_embed = PatchEmbed(arch.in_channels, arch.patch_size, arch.width, arch.prefix_tokens, arch.patches)
        self.blocks = nn.ModuleList(Block(arch, softmax_bits) for _ in range(arch.depth))
        self.norm = LayerNorm(arch.width)
        self.head = Classifier(arch.width, arch.classes, distilled=arch.distilled)
        for name, module in self.named_modules():
            if isinstance(module, QuantModule):
                module.path = name

    def features(self, image: Tensor) -> QuantTensor:
        """Normalised features of the prefix tokens, [N, prefix * width], the input of the head."""
        x = self.patch_embed(self.image(QuantTensor(image, torch.ones(()))))
        for block in self.blocks:
            x = block(x)
        features = self.norm(QuantTensor(x.value[:, : self.arch.prefix_tokens], x.scale))
        return QuantTensor(features.value.flatten(1), features.scale)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image)).value  # type: ignore[no-any-return]

    @property
    def output_scale(self) -> float:
        """Float logits = integer logits * output_scale."""
        return float(self.head.lower(self.norm.output.number("norm")).scale)

    def set_quantized(self, quantized: bool) -> None:
        """True: integers in eval mode, fake quantisation in train mode. False: floating point, observers on."""
        for module in self.modules():
            if isinstance(module, QuantModule | Activation):
                module.quantized = quantized

    def block_list(self) -> list[Block]:
        """The transformer blocks in order, as what they are."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def activations(self) -> dict[str, Activation]:
        """Every quantisation point by name, in network order; the image's, which follows from mean and std, first."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Activation)}

    def choose_exponents(self) -> None:
        """Choose n of every Shiftmax and ShiftGELU from the calibrated scales."""
        for block in self.block_list():
            core, mlp = block.attn.core, block.mlp
            score_scale = float(core.score.number(core.path))
            core.n.fill_(choose_shiftmax_n(score_scale, self.arch.tokens, self.softmax_bits))
            mlp.n.fill_(choose_gelu_n(float(mlp.hidden.number(mlp.path))))

    def quantization_state(self) -> dict[str, float | int]:
        """Every activation scale and every n by buffer name: with the weights, all that the integers depend on."""
        return {name: buffer.item() for name, buffer in self._quantization_buffers().items()}

    def load_quantization_state(self, state: Mapping[str, float | int]) -> None:
        """The reverse of `quantization_state`.

        Raises:
            CalibrationError: names or values do not fit this network.
        """
        buffers = self._quantization_buffers()
        if set(state) != set(buffers):
            odd = sorted(set(state) ^ set(buffers))
            raise CalibrationError(
                f"expected {len(buffers)} scales of this architecture, found {len(state)} (first difference: {odd[0]})"
            )
        for name, buffer in buffers.items():
            value = state[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise CalibrationError(f"{name}: expected a number, found {value!r}")
            buffer.fill_(value)

    def _quantization_buffers(self) -> dict[str, Tensor]:
        return {name: buffer for name, buffer in self.named_buffers() if name.endswith((".scale", ".n"))}


def from_state_dict(
    state_dict: Mapping[str, Tensor], arch: VitArchitecture, preprocess: Preprocess, softmax_bits: int = 15
) -> VisionTransformer:
    """The twin of a timm checkpoint, not yet calibrated, in eval mode.

    `state_dict` has timm's names and has been validated against `arch` (see ivit_onnx.checkpoints).
    """
    model = VisionTransformer(arch, preprocess, softmax_bits)
    own = {name for name, _ in model.named_parameters()}
    renamed = {"patch_embed.prefix_tokens": _prefix_tokens(state_dict)}
    for name, tensor in state_dict.items():
        target = _RENAMED.get(name, name)
        if target in own:
            renamed[target] = tensor[0] if name == "pos_embed" else tensor
    for index in range(arch.depth):
        renamed.setdefault(f"blocks.{index}.attn.qkv.bias", torch.zeros(3 * arch.width))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(renamed[name])
    return model.eval()


def from_timm(model: nn.Module, softmax_bits: int = 15) -> VisionTransformer:
    """The twin of a timm VisionTransformer instance, not yet calibrated, in eval mode.

    Raises:
        CheckpointError: the model uses a feature that is not supported.
    """
    from ivit_onnx.checkpoints import read_architecture, validate

    state_dict = dict(model.state_dict())
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    heads = model.blocks[0].attn.num_heads  # type: ignore[index, union-attr]
    arch = read_architecture(state_dict, heads=heads)  # type: ignore[arg-type]
    validate(state_dict, arch)
    preprocess, _ = default_preprocess(arch)
    if "mean" in config:
        preprocess = Preprocess(
            arch.image_size,
            float(config.get("crop_pct", preprocess.crop_pct)),
            str(config.get("interpolation", preprocess.interpolation)),
            tuple(config["mean"]),
            tuple(config["std"]),
        )
    return from_state_dict(state_dict, arch, preprocess, softmax_bits)


_RENAMED = {
    "patch_embed.proj.weight": "patch_embed.weight",
    "patch_embed.proj.bias": "patch_embed.bias",
    "pos_embed": "patch_embed.pos_embed",
    "head_dist.weight": "head.dist_weight",
    "head_dist.bias": "head.dist_bias",
}


def _prefix_tokens(state_dict: Mapping[str, Tensor]) -> Tensor:
    """Class token and, when there is one, distillation token: [K, width]."""
    return torch.cat([state_dict[name][0] for name in ("cls_token", "dist_token") if name in state_dict])
