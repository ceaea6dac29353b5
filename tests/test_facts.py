"""What cannot be inferred from tensors: stated beside them, by an option, assumed and said, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from commands import call
from ivit_onnx import api
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.checkpoints.facts import ASSUMED, FIELDS, Fact, Facts
from ivit_onnx.errors import CheckpointError
from ivit_onnx.models import from_checkpoint
from networks import pixels, save_checkpoint, timm_network


def test_stronger_facts_win_and_what_they_overrule_is_said() -> None:
    asked = Facts.asked(heads=6, act=None)
    beside = Facts.told("config.json", heads=3, act="gelu", mean=(0.1, 0.2, 0.3))
    both = asked | beside
    assert both.found["heads"] == Fact(6, "--num-heads")
    assert both.found["act"] == Fact("gelu", "config.json")
    assert asked.differences(beside) == ["attention heads: 3 by config.json; taking 6 of --num-heads"]
    assert Facts.asked(heads=3).differences(beside) == []
    assert list(both) == [name for name in FIELDS if name in ("heads", "act", "mean")]
    assert both.to_json()["mean"]["value"] == [0.1, 0.2, 0.3]
    with pytest.raises(KeyError):
        Facts.told("config.json", colour="red")


def test_assumptions_name_the_option_that_settles_them() -> None:
    facts = Facts.told(ASSUMED, pool="token", crop_pct=0.9) | Facts.told("config.json", heads=3)
    assert facts.assumptions() == [
        "pooling: token (settle it with --pool)",
        "share of the image that is kept: 0.9",
    ]


def checkpoint(path: Path, **changes: Any) -> Path:
    return save_checkpoint(timm_network(**changes), path / "model.pt")


def test_what_nothing_tells_is_listed_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(tmp_path, embed_dim=64, num_heads=1)
    report = api.export(path, tmp_path / "model.onnx", calib=pixels(4), calib_preset="fast")
    assumed = {name for name, fact in report.recognised["facts"].items() if fact["from"] == ASSUMED}
    assert {"heads", "act", "eps", "pool", "blocks", "mean", "std"} <= assumed
    assert report.recognised["facts"]["image_size"]["from"] == "the position table"
    told = {"num_heads": 1, "act": "gelu", "pool": "token", "plain": True, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    found = api.explain(path, **told)
    assumed = {name for name, fact in found["facts"].items() if fact["from"] == ASSUMED}
    assert assumed.isdisjoint({"heads", "act", "pool", "blocks", "mean", "std"})
    assert found["facts"]["pool"]["from"] == "--pool"
    text = call(
        capsys, "export", path, "-o", tmp_path / "two.onnx", "--calib-images", "4", "--calib-preset", "fast"
    ).out
    assert re.search(r"assumed +.*attention heads: 1 \(settle it with\s+--num-heads\)", text)


def test_a_name_settles_everything(tmp_path: Path) -> None:
    from timm import create_model

    path = save_checkpoint(create_model("vit_tiny_patch16_224"), tmp_path / "model.pt")
    unnamed, named = (api.explain(path, arch=arch)["facts"] for arch in (None, "vit_tiny_patch16_224"))
    assert unnamed["heads"] == {**named["heads"], "from": ASSUMED}
    assert named["heads"]["value"] == 3
    assert ASSUMED not in {fact["from"] for fact in named.values()}


def test_explain_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = call(capsys, "export", "--explain", path, "--num-heads", "3")
    assert done.status == 0
    assert re.search(r"attention heads +3 \(--num-heads\)", done.out)
    found = json.loads(call(capsys, "export", "--explain", path, "--num-heads", "3", "--json").out)
    assert found["arch"]["heads"] == 3
    assert found["facts"]["act"]["from"] == ASSUMED
    assert sorted(tmp_path.iterdir()) == before
    assert "--explain" in call(capsys, "export", path).error()


@pytest.mark.parametrize(
    ("changes", "pool"),
    [({"global_pool": "avg", "fc_norm": False}, "avg"), ({"global_pool": "token"}, "token")],
    ids=["mean of patches, normalised before", "class token"],
)
def test_pooling_that_tensors_do_not_tell(tmp_path: Path, changes: dict[str, Any], pool: str) -> None:
    network = timm_network(**changes)
    loaded = load_checkpoint(save_checkpoint(network, tmp_path / "model.pt"), heads=3, pool=pool)
    twin = from_checkpoint(loaded, loaded.preprocess()[0])
    twin.set_quantized(False)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-5)


def test_poolings_that_there_are_not(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, class_token=False, global_pool="avg")
    with pytest.raises(CheckpointError, match="pooling of avg, or token where there is a class token; found 'token'"):
        load_checkpoint(path, heads=3, pool="token")
    with pytest.raises(CheckpointError, match="found 'max'"):
        load_checkpoint(path, heads=3, pool="max")


def rotary() -> nn.Module:
    """A network of timm's Eva with rotary position embedding, whose buffers are not saved."""
    from timm import create_model

    settings: dict[str, Any] = {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 7}
    return create_model("vit_small_patch16_rope_ape_224", **settings)


def post_norm() -> nn.Module:
    from timm.models.vision_transformer import ResPostBlock

    return timm_network(block_fn=ResPostBlock, class_token=False, global_pool="avg", qkv_bias=False, fc_norm=True)


@pytest.mark.parametrize(("make", "name"), [(rotary, "_rope_ape_"), (post_norm, "_rpn_")], ids=["rotary", "post-norm"])
def test_networks_that_only_their_name_tells_apart_are_refused(tmp_path: Path, make: Any, name: str) -> None:
    path = save_checkpoint(make(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=rf"{name}.*--arch.*--plain"):
        load_checkpoint(path, heads=3, image_size=32)
    assert load_checkpoint(path, heads=3, image_size=32, plain=True).facts.found["blocks"].origin == "--plain"


def test_perception_encoders_are_not_taken_for_clip(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, embed_dim=192, depth=12, num_heads=3, pre_norm=True, num_classes=0)
    with pytest.raises(CheckpointError, match="vit_pe_"):
        load_checkpoint(path)
    assert load_checkpoint(path, plain=True).arch.pre_norm


def test_the_order_of_blocks_stays_an_assumption_where_nothing_else_is_likely(tmp_path: Path) -> None:
    assert load_checkpoint(checkpoint(tmp_path), heads=3).facts.found["blocks"].origin == ASSUMED
