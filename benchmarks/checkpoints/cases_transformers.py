"""Hugging Face transformers: networks as folders, files, shards and objects, with both spellings of their names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from case import Case, Expect, Made, Prepare
from sources import Tensors, forward, randomise, tensors_of

EITHER: Expect = "accept or refuse, never wrong"
#: Fields of most configurations. The heads are not of 64 channels: a reader has to take them from the configuration.
VIT = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "image_size": 32,
    "patch_size": 8,
}
CLIP_TEXT = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
CLIP_TEXT |= {"vocab_size": 99, "max_position_embeddings": 12, "eos_token_id": 2, "pad_token_id": 1, "bos_token_id": 0}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
CLASSES = {"num_labels": 7}


@dataclass(frozen=True)
class Network:
    """The configuration of a class of transformers, by class and fields, and how images go through the network.

    `lone` are the options of a file without its configuration: what its tensors do not tell.
    """

    config: str
    fields: dict[str, Any]
    call: Callable[[Any, torch.Tensor], torch.Tensor]
    lone: dict[str, Any] = field(default_factory=lambda: {"num_heads": 4})
    words: str = ""
    processor: str = ""


def _build(name: str) -> Any:
    """The network of that name; what follows a comma is about its configuration."""
    import transformers

    network = NETWORKS.get(name) or OTHERS[name]
    config = getattr(transformers, network.config)(**network.fields)
    return randomise(getattr(transformers, name.partition(",")[0])(config))


def _logits(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).logits


def _first(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).last_hidden_state[:, 0]


def _mean(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).last_hidden_state.mean(1)


def _pooled(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).pooler_output


def _embeds(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).image_embeds


def _unmasked(model: Any, x: torch.Tensor) -> torch.Tensor:
    """MAE: the class token with every patch in its place."""
    count = model.config.image_size // model.config.patch_size
    noise = torch.arange(count * count).float().expand(len(x), -1)
    return model(pixel_values=x, noise=noise).last_hidden_state[:, 0]


def _clip_projected(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model.visual_projection(model.vision_model(pixel_values=x).pooler_output)


_QUICK = {"num_heads": 4, "act": "quick_gelu"}
_SIZED = {"img_size": 32}
_CLIP = {"text_config": CLIP_TEXT, "vision_config": {**VIT, "projection_dim": 48}, "projection_dim": 48}
_DINO2 = {**VIT, "mlp_ratio": 2}
NETWORKS: dict[str, Network] = {
    "ViTForImageClassification": Network("ViTConfig", {**VIT, **CLASSES}, _logits, processor="ViTImageProcessor"),
    "ViTForImageClassification, gelu_new": Network(
        "ViTConfig",
        {**VIT, **CLASSES, "hidden_act": "gelu_new"},
        _logits,
        {"num_heads": 4, "act": "gelu_tanh"},
    ),
    "ViTForImageClassification, qkv without bias": Network("ViTConfig", {**VIT, **CLASSES, "qkv_bias": False}, _logits),
    "ViTModel": Network("ViTConfig", VIT, _first),
    "DeiTForImageClassification": Network("DeiTConfig", {**VIT, **CLASSES}, _logits, processor="DeiTImageProcessor"),
    "DeiTForImageClassificationWithTeacher": Network("DeiTConfig", {**VIT, **CLASSES}, _logits),
    "Dinov2Model": Network("Dinov2Config", _DINO2, _first, processor="BitImageProcessor"),
    "Dinov2WithRegistersModel": Network("Dinov2WithRegistersConfig", {**_DINO2, "num_register_tokens": 4}, _first),
    "CLIPVisionModel": Network("CLIPVisionConfig", VIT, _pooled, _QUICK, processor="CLIPImageProcessor"),
    "CLIPVisionModel, gelu": Network(
        "CLIPVisionConfig", {**VIT, "hidden_act": "gelu"}, _pooled, {"num_heads": 4, "act": "gelu"}
    ),
    "CLIPVisionModelWithProjection": Network("CLIPVisionConfig", {**VIT, "projection_dim": 48}, _embeds, _QUICK),
    "CLIPModel": Network("CLIPConfig", _CLIP, _clip_projected, _QUICK),
    "SwinForImageClassification": Network(
        "SwinConfig", {**SWIN, **CLASSES}, _logits, _SIZED, processor="ViTImageProcessor"
    ),
    "SwinModel": Network("SwinConfig", SWIN, _pooled, _SIZED),
    "IJepaModel": Network("IJepaConfig", VIT, _mean),
    "IJepaForImageClassification": Network("IJepaConfig", {**VIT, **CLASSES}, _logits),
    "ViTMAEModel": Network("ViTMAEConfig", {**VIT, "mask_ratio": 0.0}, _unmasked),
    "ViTMSNModel": Network("ViTMSNConfig", VIT, _first),
    "ViTMSNForImageClassification": Network("ViTMSNConfig", {**VIT, **CLASSES}, _logits),
    "SiglipForImageClassification": Network(
        "SiglipConfig",
        {"vision_config": VIT, "text_config": CLIP_TEXT, **CLASSES},
        _logits,
        {"num_heads": 4, "act": "gelu_tanh"},
        processor="SiglipImageProcessor",
    ),
}


def _other(config: str, fields: dict[str, Any], call: Any = None, words: str = "") -> Network:
    return Network(config, fields, call, {}, words)


_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 2]}
#: What is not one of the networks above, or only nearly; those with a reference may be accepted if it is met.
OTHERS: dict[str, Network] = {
    "Dinov2ForImageClassification": _other("Dinov2Config", {**_DINO2, **CLASSES}, _logits, "mean|average|patch"),
    "CLIPForImageClassification": _other("CLIPConfig", {**_CLIP, **CLASSES}, _logits, "normalisation|post_layernorm"),
    "DeiTModel": _other("DeiTConfig", VIT, _first, "distillation|head"),
    "ViTMAEForPreTraining": _other(
        "ViTMAEConfig",
        {**VIT, "mask_ratio": 0.0, "decoder_hidden_size": 64, "decoder_num_hidden_layers": 1}
        | {"decoder_num_attention_heads": 2, "decoder_intermediate_size": 64},
        lambda model, x: _unmasked(model.vit, x),
        "decoder",
    ),
    "SwinBackbone": _other("SwinConfig", SWIN, None, "normalis|stage|feature map"),
    "ViTForMaskedImageModeling": _other("ViTConfig", VIT, None, "decoder|mask"),
    "SiglipVisionModel": _other("SiglipVisionConfig", VIT, _pooled, "attention pooling|MAP"),
    "SiglipModel": _other(
        "SiglipConfig",
        {"vision_config": VIT, "text_config": CLIP_TEXT},
        lambda model, x: model.vision_model(pixel_values=x).pooler_output,
        "attention pooling|MAP",
    ),
    "Siglip2VisionModel": _other(
        "Siglip2VisionConfig", {**VIT, "num_patches": 16}, None, "siglip ?2|attention pooling"
    ),
    "DINOv3ViTModel": _other("DINOv3ViTConfig", VIT, _pooled, "rope|rotary"),
    "Swinv2Model": _other("Swinv2Config", SWIN, _pooled, "Swin V2|cosine"),
    "Swinv2ForImageClassification": _other("Swinv2Config", {**SWIN, **CLASSES}, _logits, "Swin V2|cosine"),
    "BeitModel": _other("BeitConfig", {**VIT, "use_relative_position_bias": True}, None, "BEiT|relative position"),
    "Data2VecVisionModel": _other(
        "Data2VecVisionConfig", {**VIT, "use_relative_position_bias": True}, None, "data2vec|relative position"
    ),
    "SamVisionModel": _other(
        "SamVisionConfig",
        {**VIT, "output_channels": 32, "global_attn_indexes": [1], "window_size": 2, "mlp_dim": 256},
        None,
        "SAM|relative position",
    ),
    "SegformerForImageClassification": _other("SegformerConfig", {**_STAGES, **CLASSES}, None, "segformer"),
    "YolosModel": _other("YolosConfig", {**VIT, "image_size": [32, 32], "num_detection_tokens": 5}, None, "yolos"),
    "VideoMAEModel": _other("VideoMAEConfig", {**VIT, "num_frames": 4}, None, "video"),
    "VivitModel": _other("VivitConfig", {**VIT, "num_frames": 4, "tubelet_size": [2, 8, 8]}, None, "video|vivit"),
    "Owlv2VisionModel": _other("Owlv2VisionConfig", VIT, None, "owl"),
    "OwlViTVisionModel": _other("OwlViTVisionConfig", VIT, None, "owl"),
    "DPTForDepthEstimation": _other(
        "DPTConfig",
        {**VIT, "backbone_out_indices": [0, 0, 1, 1], "neck_hidden_sizes": [16, 32, 48, 48], "fusion_hidden_size": 16},
        None,
        "DPT|depth",
    ),
    "DonutSwinModel": _other("DonutSwinConfig", SWIN, None, "donut|swin"),
    "MaskFormerSwinModel": _other("MaskFormerSwinConfig", SWIN, None, "maskformer|swin"),
    "HieraModel": _other(
        "HieraConfig",
        {"embed_dim": 32, "image_size": [64, 64], "depths": [1, 1], "num_heads": [1, 2], "num_query_pool": 1},
        None,
        "hiera",
    ),
    "PvtModel": _other("PvtConfig", {**_STAGES, "image_size": 32}, None, "pvt"),
    "LevitModel": _other("LevitConfig", {"hidden_sizes": [32, 64, 96], "depths": [1, 1, 1]}, None, "levit"),
    "BlipVisionModel": _other("BlipVisionConfig", VIT, None, "blip"),
    "InternVLVisionModel": _other("InternVLVisionConfig", {**VIT, "image_size": [32, 32]}, None, "internvl"),
    "PixtralVisionModel": _other("PixtralVisionConfig", VIT, None, "pixtral|rope|rotary"),
    "Aimv2VisionModel": _other("Aimv2VisionConfig", VIT, None, "aimv2|SwiGLU|RMSNorm"),
    "ConvNextModel": _other(
        "ConvNextConfig", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}, None, "convnext"
    ),
    "ResNetModel": _other(
        "ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4}, None, "resnet"
    ),
    "BertModel": _other(
        "BertConfig",
        {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99},
        None,
        "text model",
    ),
}


def _folder(folder: Path, network: Any) -> Path:
    network.save_pretrained(folder)
    return folder


def _folder_file(folder: Path, network: Any) -> Path:
    return _folder(folder, network) / "model.safetensors"


def _saved(folder: Path, network: Any) -> Tensors:
    """The tensors under the names that save_pretrained writes; leaves the folder with the configuration alone."""
    from safetensors.torch import load_file

    _folder(folder, network)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return tensors


def _folder_bin(folder: Path, network: Any) -> Path:
    torch.save(_saved(folder, network), folder / "pytorch_model.bin")
    return folder


def _folder_bin_memory(folder: Path, network: Any) -> Path:
    _saved(folder, network)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    return folder


def _folder_sharded(folder: Path, network: Any) -> Path:
    network.save_pretrained(folder, max_shard_size="300KB")
    assert (folder / "model.safetensors.index.json").exists()
    return folder


def _folder_sharded_bin(folder: Path, network: Any) -> Path:
    """As older versions wrote it."""
    tensors = _saved(folder, network)
    names = sorted(tensors)
    parts = {f"pytorch_model-0000{i + 1}-of-00003.bin": names[i::3] for i in range(3)}
    for file, part in parts.items():
        torch.save({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def _lone_file(folder: Path, network: Any) -> Path:
    from safetensors.torch import save_file

    save_file(_saved(folder / "saved", network), folder / "weights.safetensors", metadata={"format": "pt"})
    return folder / "weights.safetensors"


def _lone_memory(folder: Path, network: Any) -> Path:
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


#: How a network is handed over, and whether its configuration goes with it.
FORMS: dict[str, tuple[Callable[[Path, Any], Any], bool]] = {
    "folder": (_folder, True),
    "file in its folder": (_folder_file, True),
    "folder with .bin": (_folder_bin, True),
    "folder with .bin of state_dict()": (_folder_bin_memory, True),
    "folder of shards": (_folder_sharded, True),
    "folder of .bin shards": (_folder_sharded_bin, True),
    "safetensors alone": (_lone_file, False),
    "torch.save(state_dict()) alone": (_lone_memory, False),
    "module": (lambda folder, network: network, True),
    "state_dict": (lambda folder, network: tensors_of(network), False),
}


def cases() -> Iterator[Case]:
    """Every network in every form, with its image processor, and what is not supported in two forms."""
    for name, network in NETWORKS.items():
        for form, (write, told) in FORMS.items():
            make = partial(_made, name=name, write=write, told=told)
            yield _case(f"transformers, {form}", f"{name}, {form}", make, doubt="heads|normali")
        if network.processor:
            yield _case("transformers, images", f"{name}, processor", partial(_processed, name=name))
    for name, network in OTHERS.items():
        for form in ("folder", "torch.save(state_dict()) alone"):
            write, told = FORMS[form]
            make = partial(_made, name=name, write=write, told=told)
            words = network.words if told else ""
            doubt = "" if told else "heads|image size"
            yield _case(
                "transformers, other networks", f"{name}, {form}", make, expect=EITHER, words=words, doubt=doubt
            )
    yield _case("transformers, wrapped", "TimmWrapperForImageClassification", _timm_wrapper)
    yield _case("transformers, wrapped", "ViTForImageClassification in model.", _prefixed)
    yield _case("transformers, wrapped", "ViTForImageClassification of DDP", _parallel)
    yield _case("transformers, wrapped", "Trainer's checkpoint folder", _trainer)
    yield _case("transformers, wrapped", "VisionEncoderDecoderModel", _encoder_decoder, expect=EITHER, words="decoder")
    yield _case("transformers, folder", "Dinov2Model, --img-size", _resized, expect=EITHER, words="resiz|interpol")
    yield _case("transformers, wrapped", "LoRA adapter of peft", _adapter, expect="refuse", words="adapter|LoRA")
    yield _case(
        "transformers, folder", "folder without weights", _without_weights, expect="refuse", words="weights|safetensors"
    )
    yield _case(
        "transformers, folder", "folder with a shard missing", _shard_missing, expect="refuse", words="of-0000|shard"
    )


def _case(kind: str, name: str, make: Callable[[Path], Made], **more: Any) -> Case:
    needs = ("transformers", "timm") if "TimmWrapper" in name else ("transformers",)
    return Case(f"HF {name}", kind, make, needs=(*needs, "peft") if "peft" in name else needs, **more)


def _made(folder: Path, name: str, write: Callable[[Path, Any], Any], told: bool) -> Made:
    network, built = NETWORKS.get(name) or OTHERS[name], _build(name)
    checkpoint = write(folder, built)
    reference = forward(built, network.call) if network.call else None
    return Made(checkpoint, reference, 32, {} if told else network.lone)


def _processed(folder: Path, name: str) -> Made:
    """With preprocessor_config.json: another normalisation than the default's."""
    import transformers

    network, built = NETWORKS[name], _build(name)
    size: dict[str, int] = {"height": 32, "width": 32}
    if network.processor in ("CLIPImageProcessor", "BitImageProcessor"):
        size = {"shortest_edge": 32}
    processor = getattr(transformers, network.processor)(
        size=size, crop_size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    )
    built.save_pretrained(folder)
    processor.save_pretrained(folder)
    prepare: Prepare = lambda image: processor(image, return_tensors="pt")["pixel_values"][0]  # noqa: E731
    return Made(folder, forward(built, network.call), prepare=prepare)


def _timm_wrapper(folder: Path) -> Made:
    import transformers

    args = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4}
    config = transformers.TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=args, num_labels=7)
    network = randomise(transformers.TimmWrapperForImageClassification(config))
    network.save_pretrained(folder)
    return Made(folder, forward(network, _logits))


def _prefixed(folder: Path) -> Made:
    built = _build("ViTForImageClassification")
    torch.save({f"model.{name}": tensor for name, tensor in tensors_of(built).items()}, folder / "weights.pth")
    return Made(folder / "weights.pth", forward(built, _logits), options={"num_heads": 4})


def _parallel(folder: Path) -> Made:
    built = _build("ViTForImageClassification")
    torch.save({"epoch": 1, "state_dict": torch.nn.DataParallel(built).state_dict()}, folder / "weights.pth")
    return Made(folder / "weights.pth", forward(built, _logits), options={"num_heads": 4})


def _trainer(folder: Path) -> Made:
    """As `Trainer` leaves it: optimiser, schedule, random state and arguments beside the model."""
    built = _build("ViTForImageClassification")
    built.save_pretrained(folder)
    torch.save(torch.optim.AdamW(built.parameters()).state_dict(), folder / "optimizer.pt")
    torch.save({"python": (3, (1, 2), None)}, folder / "rng_state.pth")
    torch.save(Path("training"), folder / "training_args.bin")
    (folder / "trainer_state.json").write_text('{"epoch": 1.0}')
    return Made(folder, forward(built, _logits))


def _encoder_decoder(folder: Path) -> Made:
    import transformers

    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    decoder = transformers.BertConfig(**text, is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**VIT), decoder
    )
    network = randomise(transformers.VisionEncoderDecoderModel(config))
    network.save_pretrained(folder)
    return Made(folder, forward(network.encoder, _first))


def _resized(folder: Path) -> Made:
    built = _build("Dinov2Model")
    built.save_pretrained(folder)
    return Made(folder, forward(built, _first), 48, {"img_size": 48})


def _adapter(folder: Path) -> Made:
    import peft

    built = _build("ViTForImageClassification")
    targets = ["q_proj", "v_proj"] if any("q_proj" in name for name in built.state_dict()) else ["query", "value"]
    peft.get_peft_model(built, peft.LoraConfig(target_modules=targets)).save_pretrained(folder)
    return Made(folder)


def _without_weights(folder: Path) -> Made:
    built = _build("ViTForImageClassification")
    built.config.save_pretrained(folder)
    return Made(folder)


def _shard_missing(folder: Path) -> Made:
    _folder_sharded(folder, _build("ViTForImageClassification"))
    next(folder.glob("model-00002*")).unlink()
    return Made(folder)
