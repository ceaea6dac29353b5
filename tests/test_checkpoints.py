"""Reading, recognising and refusing checkpoints."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")

from ivit_onnx.architectures import (  # noqa: E402
    KNOWN,
    OTHER_NORMALISATION,
    VitArchitecture,
    architecture_from_json,
    default_preprocess,
    known_architecture,
    unsupported_feature,
)
from ivit_onnx.checkpoints import (  # noqa: E402
    checkpoint_fingerprint,
    load_checkpoint,
    load_state_dict,
    read_architecture,
)
from ivit_onnx.errors import CheckpointError, OptionError  # noqa: E402

MICRO = Path(__file__).parent / "data" / "deit_micro_fp.pth"
MICRO_ARCH = VitArchitecture(
    name="vit_custom_patch8_32",
    image_size=32,
    patch_size=8,
    in_channels=3,
    classes=10,
    width=64,
    depth=3,
    heads=2,
    mlp_width=256,
    distilled=False,
)

StateDict = dict[str, Any]


@pytest.fixture
def micro() -> StateDict:
    return dict(load_state_dict(MICRO))


class Malicious:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/ivit_onnx_pwned",)


def distilled(state_dict: StateDict) -> StateDict:
    extra = {
        "dist_token": torch.zeros(1, 1, 64),
        "head_dist.weight": state_dict["head.weight"].clone(),
        "head_dist.bias": state_dict["head.bias"].clone(),
        "pos_embed": torch.zeros(1, 18, 64),
    }
    return {**state_dict, **extra}


def one_line(error: pytest.ExceptionInfo[CheckpointError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_load_checkpoint_reads_everything() -> None:
    checkpoint = load_checkpoint(MICRO, heads=2, image_size=32)
    assert checkpoint.arch == MICRO_ARCH
    assert checkpoint.warnings == ()
    assert (checkpoint.arch.patches, checkpoint.arch.tokens, checkpoint.arch.head_dim) == (16, 17, 32)
    assert checkpoint.fingerprint == checkpoint_fingerprint(load_state_dict(MICRO))
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in checkpoint.state_dict.values())


def test_assumed_heads_are_a_warning() -> None:
    checkpoint = load_checkpoint(MICRO, image_size=32)
    assert checkpoint.arch.heads == 1
    assert "--num-heads" in checkpoint.warnings[0]


@pytest.mark.parametrize("wrapper", ["", "model", "state_dict", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".pt", ".bin"])
def test_wrappers_and_suffixes(tmp_path: Path, micro: StateDict, wrapper: str, suffix: str) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    torch.save({wrapper: micro, "epoch": 3} if wrapper else micro, path)
    assert load_checkpoint(path, heads=2).fingerprint == load_checkpoint(MICRO, heads=2).fingerprint


def test_averaged_weights_are_preferred(tmp_path: Path, micro: StateDict) -> None:
    other = {name: tensor + 1 for name, tensor in micro.items()}
    torch.save({"state_dict": other, "state_dict_ema": micro}, tmp_path / "both.pth")
    assert torch.equal(load_state_dict(tmp_path / "both.pth")["cls_token"], micro["cls_token"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_are_stripped(tmp_path: Path, micro: StateDict, prefix: str) -> None:
    torch.save({prefix + name: tensor for name, tensor in micro.items()}, tmp_path / "parallel.pth")
    assert load_state_dict(tmp_path / "parallel.pth").keys() == micro.keys()


def test_legacy_format_and_half_precision(tmp_path: Path, micro: StateDict) -> None:
    torch.save(micro, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({name: tensor.half() for name, tensor in micro.items()}, tmp_path / "half.pth")
    assert load_checkpoint(tmp_path / "legacy.pth").fingerprint == load_checkpoint(MICRO).fingerprint
    half = load_checkpoint(tmp_path / "half.pth")
    assert half.state_dict["head.bias"].dtype == torch.float32


def test_safetensors_by_content(tmp_path: Path, micro: StateDict) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    safetensors.save_file(micro, tmp_path / "named.pth")
    assert load_checkpoint(tmp_path / "named.pth").fingerprint == load_checkpoint(MICRO).fingerprint
    content = (tmp_path / "named.pth").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:5000])
    with pytest.raises(CheckpointError, match="damaged or truncated") as error:
        load_state_dict(tmp_path / "cut.safetensors")
    one_line(error)


def test_missing_file_folder_empty_file_and_text(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("hello world, this is no checkpoint")
    for name, expected in {
        "nowhere.pth": "does not exist",
        ".": "is a folder",
        "empty.pth": "is empty",
        "text.pth": "is text, not a checkpoint",
    }.items():
        with pytest.raises(CheckpointError, match=expected) as error:
            load_state_dict(tmp_path / name)
        one_line(error)


@pytest.mark.parametrize("kept", [20, 1000, 100_000, -1, -30])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files(tmp_path: Path, micro: StateDict, kept: int, zipped: bool) -> None:
    torch.save(micro, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"damaged|truncated") as error:
        load_state_dict(tmp_path / "cut.pth")
    one_line(error)


def save_zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def save_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def save_old_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle, save_old_pickle])
def test_code_never_runs(tmp_path: Path, save: Callable[[Any, Path], None], micro: StateDict) -> None:
    """It is refused where weights are expected, and left alone beside them."""
    marker = Path("/tmp/ivit_onnx_pwned")
    marker.unlink(missing_ok=True)
    save({"model": Malicious(), "epoch": 3}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="refused because it contains code") as error:
        load_state_dict(tmp_path / "code.pth")
    assert "system" in one_line(error)
    save({"model": micro, "args": Malicious()}, tmp_path / "beside.pth")
    assert load_checkpoint(tmp_path / "beside.pth").fingerprint == load_checkpoint(MICRO).fingerprint
    assert not marker.exists()


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_training_options_beside_the_weights_are_ignored(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    """timm and DeiT training scripts keep their parsed command line in the checkpoint."""
    weights = {"cls_token": torch.zeros(1, 1, 4)}
    save({"state_dict": weights, "args": argparse.Namespace(lr=0.1, name="run"), "epoch": 3}, tmp_path / "run.pth.tar")
    assert list(load_state_dict(tmp_path / "run.pth.tar")) == ["cls_token"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds a list"),
        ({}, "empty"),
        ({"state_dict": {}}, "empty"),
        ({"epoch": 3}, "'epoch' is a int"),
        (torch.zeros(3), "holds a Tensor"),
    ],
)
def test_other_content(tmp_path: Path, content: Any, expected: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=expected) as error:
        load_state_dict(tmp_path / "other.pth")
    one_line(error)


def test_distilled_and_without_qkv_bias(micro: StateDict) -> None:
    state_dict = distilled(micro)
    for name in [name for name in state_dict if name.endswith("qkv.bias")]:
        del state_dict[name]
    arch = read_architecture(state_dict, heads=2)
    assert arch.distilled
    assert (arch.tokens, arch.prefix_tokens) == (18, 2)
    loaded = load_checkpoint(state_dict, heads=2)
    assert loaded.arch == arch
    assert loaded.state_dict.keys() == state_dict.keys()


def test_wrong_flags(micro: StateDict) -> None:
    for flags, expected in [
        ({"heads": 3}, "3 heads do not divide the width 64.*--num-heads"),
        ({"image_size": 50}, "patches of 8 pixels do not divide an image of 50"),
        ({"image_size": 8 * 513}, "image_size must be at most 512 patches of 8 pixels, found 4104; pass --img-size"),
        ({"name": "vit_tiny_patch16_224"}, "not vit_tiny_patch16_224: image_size is 32, expected 224"),
        ({"name": "vit_tiny_patch16_22"}, "did you mean vit_tiny_patch16_224"),
        ({"name": "resnet50"}, "resnet50 is not supported yet: a network of timm's resnet"),
        ({"name": "vit_nothing"}, "unknown architecture 'vit_nothing'"),
    ]:
        with pytest.raises(CheckpointError, match=expected) as error:
            read_architecture(micro, **flags)
        one_line(error)
    with pytest.raises(OptionError, match="num_heads: expected an integer in 1"):
        read_architecture(micro, heads=0)
    assert read_architecture(micro, heads=2, image_size=32) == MICRO_ARCH


def drop(name: str) -> Callable[[StateDict], None]:
    return lambda state_dict: state_dict.__delitem__(name)


def put(name: str, *shape: int) -> Callable[[StateDict], None]:
    return lambda state_dict: state_dict.__setitem__(name, torch.zeros(*shape))


def set_value(name: str, value: float) -> Callable[[StateDict], None]:
    def change(state_dict: StateDict) -> None:
        state_dict[name] = state_dict[name].clone()
        state_dict[name].view(-1)[1] = value

    return change


def convert(name: str, dtype: Any) -> Callable[[StateDict], None]:
    return lambda state_dict: state_dict.__setitem__(name, state_dict[name].to(dtype))


def sparse(name: str) -> Callable[[StateDict], None]:
    return lambda state_dict: state_dict.__setitem__(name, state_dict[name].to_sparse())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("blocks.1.mlp.fc2.bias"), "tensor blocks.1.mlp.fc2.bias is missing"),
        (drop("norm.weight"), "not supported yet: a network without final normalisation"),
        (drop("norm.bias"), "tensor norm.bias is missing"),
        (drop("pos_embed"), "without position table .pos_embed."),
        (drop("patch_embed.proj.weight"), "no network that is read"),
        (drop("cls_token"), "neither .*nor|no square of patches.*--img-size HEIGHTxWIDTH"),
        (drop("head.weight"), "not supported yet: tensor head.bias"),
        (drop("blocks.0.norm1.bias"), "not supported yet: normalisation without bias"),
        (
            put("blocks.0.attn.qkv.weight", 190, 64),
            r"blocks.0.attn.qkv.weight has shape \[190, 64\], expected \[192, 64\]",
        ),
        (put("patch_embed.proj.weight", 64, 3), "patch_embed.proj.weight has shape"),
        (put("patch_embed.proj.weight", 64, 3, 8, 4), "patches that are not square"),
        (put("patch_embed.proj.weight", 64, 1, 8, 8), "images of 1 channels"),
        (put("pos_embed", 1, 19, 64), "neither .*nor|no square of patches.*--img-size HEIGHTxWIDTH"),
        (put("pos_embed", 0), "pos_embed has shape"),
        (put("blocks.4.norm1.weight", 64), "tensors of block 3 are missing"),
        (put("something.else", 64), "not supported yet: tensor something.else"),
        (set_value("blocks.2.norm2.weight", float("nan")), "blocks.2.norm2.weight has 1 NaN"),
        (set_value("head.weight", float("inf")), "head.weight has 1 NaN or infinite"),
        (convert("head.bias", torch.int64), "head.bias is int64, expected dense floating"),
        (sparse("norm.bias"), "norm.bias is float32 .sparse_coo."),
        (put("blocks.0.ls1.gamma", 64), "tensor blocks.0.ls2.gamma is missing"),
        (put("blocks.0.attn.q_norm.weight", 64), "not supported yet: .*q_norm"),
        (put("reg_token", 1, 4, 64), "neither .*nor|no square of patches.*--img-size HEIGHTxWIDTH"),
        (put("dist_token", 1, 1, 64), "neither .*nor|no square of patches.*--img-size HEIGHTxWIDTH"),
        (put("blocks.0.mlp.w12.weight", 64), "not supported yet: .*SwiGLU"),
        (put("rope.periods", 64), "not supported yet: rotary"),
        (put("norm_pre.weight", 64), "tensor norm_pre.bias is missing"),
        (put("fc_norm.weight", 64), "tensor fc_norm.bias is missing"),
        (put("pre_logits.fc.weight", 64), "not supported yet: pre_logits"),
        (put("blocks.0.mlp.fc2.weight", 64, 128), "not supported yet: gated MLP"),
        (drop("blocks.2.attn.proj.bias"), "tensor blocks.2.attn.proj.bias is missing"),
    ],
)
def test_bad_state_dicts(tmp_path: Path, micro: StateDict, change: Callable[[StateDict], None], expected: str) -> None:
    change(micro)
    torch.save(micro, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=expected) as error:
        load_checkpoint(tmp_path / "bad.pth", heads=2)
    one_line(error)


def test_values_beyond_float32(tmp_path: Path, micro: StateDict) -> None:
    micro["head.bias"] = torch.full((10,), 1e300, dtype=torch.float64)
    torch.save(micro, tmp_path / "large.pth")
    with pytest.raises(CheckpointError, match=r"head\.bias does not fit float32"):
        load_checkpoint(tmp_path / "large.pth")


def test_fingerprint_sees_names_shapes_and_values(micro: StateDict) -> None:
    original = checkpoint_fingerprint(micro)
    assert checkpoint_fingerprint(dict(reversed(micro.items()))) == original
    assert checkpoint_fingerprint({**micro, "norm.bias": micro["norm.bias"] + 1}) != original
    assert checkpoint_fingerprint({**micro, "norm.bias": micro["norm.bias"].reshape(1, 64)}) != original
    renamed = {**micro, "other": micro["norm.bias"]}
    del renamed["norm.bias"]
    assert checkpoint_fingerprint(renamed) != original


def test_architecture_json_round_trip() -> None:
    description = MICRO_ARCH.to_json()
    assert architecture_from_json(description) == MICRO_ARCH
    del description["family"]  # as older files have it
    assert architecture_from_json(description) == MICRO_ARCH
    with pytest.raises(CheckpointError, match="architecture family of vit, swin, found 'resnet'"):
        architecture_from_json({**description, "family": "resnet"})
    with pytest.raises(CheckpointError, match="without depth"):
        architecture_from_json({key: value for key, value in MICRO_ARCH.to_json().items() if key != "depth"})
    with pytest.raises(CheckpointError, match="depth must be a positive integer"):
        architecture_from_json({**MICRO_ARCH.to_json(), "depth": "3"})


def test_preprocessing_defaults() -> None:
    custom, notes = default_preprocess(MICRO_ARCH)
    assert custom.mean[0] == 0.485
    assert "--mean" in notes[0]
    vit, notes = default_preprocess(KNOWN["vit_base_patch16_224"])
    assert (vit.mean, notes) == ((0.5, 0.5, 0.5), [])
    unknown_tag, notes = default_preprocess(known_architecture("deit_tiny_patch16_224.no_such_tag"))
    assert unknown_tag.mean[0] == 0.485
    assert "no_such_tag" in notes[0]


def test_preprocessing_of_a_checkpoint() -> None:
    checkpoint = load_checkpoint(MICRO, heads=2)
    chosen, notes = checkpoint.preprocess(mean=(0.3, 0.3, 0.3), std=(0.4, 0.4, 0.4))
    assert (chosen.size, chosen.mean, notes) == ((32, 32), (0.3, 0.3, 0.3), [])
    assert checkpoint.preprocess()[1]


def meta_state_dict(name: str) -> StateDict:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    with torch.device("meta"):
        return dict(timm.create_model(name).state_dict())


@pytest.mark.parametrize("name", KNOWN)
def test_table_agrees_with_timm(name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    known = KNOWN[name]
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=known.classes)
    state_dict = dict(model.state_dict())
    assert read_architecture(state_dict, name=name) == known
    assert read_architecture(state_dict).dimensions() == known.dimensions()
    config = timm.models.get_pretrained_cfg(name)
    preprocess, notes = default_preprocess(known)
    assert notes == []
    size = tuple(side // known.patch_size * known.patch_size for side in config.input_size[-2:])
    assert preprocess.size == size
    assert preprocess.mean == tuple(config.mean)
    assert preprocess.std == tuple(config.std)
    assert preprocess.crop_pct == config.crop_pct
    assert preprocess.interpolation == config.interpolation
    assert preprocess.crop_mode == (config.crop_mode or "center")


def test_names_of_timm() -> None:
    """A network of timm is known, or refused by what it is, but for a few that timm has for its own tests."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    unknown = [name for name in timm.list_models() if name not in KNOWN and unsupported_feature(name) is None]
    assert unknown == ["test_vit", "test_vit2"]
    assert [name for name in KNOWN if unsupported_feature(name) is not None] == []


def test_tags_with_another_normalisation() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    for name in KNOWN:
        plain = default_preprocess(KNOWN[name])[0]
        configs = [timm.models.get_pretrained_cfg(tagged) for tagged in timm.list_pretrained(f"{name}.*")]
        found = {(tuple(config.mean), tuple(config.std)) for config in configs} - {(plain.mean, plain.std)}
        listed = [timm.models.get_pretrained_cfg(f"{name}.{tag}") for tag in OTHER_NORMALISATION.get(name, ())]
        assert sorted((tuple(config.mean), tuple(config.std)) for config in listed) == sorted(found), name


def test_a_tag_with_another_normalisation_is_a_warning(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = meta_state_dict("vit_base_patch8_224")
    torch.save({name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}, tmp_path / "base.pth")
    assert "fits vit_base_patch8_224.dino" in load_checkpoint(tmp_path / "base.pth").preprocess()[1][0]
    assert load_checkpoint(tmp_path / "base.pth", arch="vit_base_patch8_224.dino").preprocess()[1] == []


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if isinstance(known, VitArchitecture)])
def test_what_shapes_do_not_tell_agrees_with_timm(name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    known = KNOWN[name]
    with torch.device("meta"):
        model = timm.create_model(name, depth=1)
    block = model.blocks[0]
    activations = {"gelu": "GELU", "gelu_tanh": "GELUTanh", "quick_gelu": "QuickGELU"}
    assert block.attn.num_heads == known.heads
    assert block.norm1.eps == known.eps
    assert type(block.mlp.act).__name__ == activations[known.act]
    assert model.global_pool == known.pool
    assert not getattr(model, "pool_include_prefix", False)


def test_same_shapes_with_other_normalisation_are_a_warning(tmp_path: Path) -> None:
    state_dict = {name: torch.zeros(tensor.shape) for name, tensor in meta_state_dict("deit_tiny_patch16_224").items()}
    torch.save(state_dict, tmp_path / "tiny.pth")
    unnamed = load_checkpoint(tmp_path / "tiny.pth")
    assert unnamed.warnings == ()
    assert "deit_tiny_patch16_224" in unnamed.preprocess()[1][0]
    named = load_checkpoint(tmp_path / "tiny.pth", arch="deit_tiny_patch16_224")
    assert named.preprocess()[1] == []
    assert named.preprocess()[0].mean[0] == 0.485
