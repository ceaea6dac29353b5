"""Checkpoints of other libraries and of training code: a selection of benchmarks/checkpoints, and its judgement."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("timm", reason="the networks of these cases come from timm")

import run
from case import Case, Made
from judge import judge
from run import catalogue
from sources import of_timm, timm_vit

#: One or two cases of each kind, those that are quick.
SELECTED = (
    "timm ViT, plain",
    "timm ViT, pickle protocol 4",
    "timm Swin, plain",
    "timm folder, ViT",
    "timm folder, ViT, the file in it",
    "timm folder, res-post-norm",
    "timm folder, rope_ape",
    "train.py, EMA beside raw weights",
    "module of timm, plain",
    "module of timm, mean without fc_norm",
    "module of timm, pooling by max",
    "state_dict of timm",
    "an integer",
    "untold: pooling by max",
    "untold: ReLU",
    "untold: images of 16 x 64",
    "told by args: vit_small_patch16_rope_ape_224",
    "timm vit_small_patch16_dinov3",
    "HF ViTForImageClassification, folder",
    "HF ViTForImageClassification, folder with .bin of state_dict()",
    "HF ViTForImageClassification, processor",
    "HF DeiTForImageClassificationWithTeacher, file in its folder",
    "HF Dinov2WithRegistersModel, folder of shards",
    "HF CLIPModel, safetensors alone",
    "HF CLIPVisionModelWithProjection, module",
    "HF SwinForImageClassification, torch.save(state_dict()) alone",
    "HF SiglipForImageClassification, folder",
    "HF DINOv3ViTModel, folder",
    "torchvision vit_b_16, small, state_dict",
    "torchvision swin_t, small, state_dict",
    "torchvision vit_b_16, small, module",
    "DINO, full checkpoint",
    "DINOv2, training checkpoint",
    "MAE, linear probe",
    "I-JEPA",
    "mmpretrain ViT",
    "mmpretrain Swin",
    "augreg .npz",
    "ViT with prefix model.",
    "Swin with prefix backbone.",
    "weights under model_state_dict",
    "numpy scalar beside the weights",
    "object of a script beside the weights",
    "Lightning, criterion and metric beside model.",
    "AveragedModel",
    "two towers of the same shapes",
    "LoRA of peft, not merged",
    "an embedding of time",
    "ONNX",
    "Git LFS pointer",
    "one shard of two",
    "index that names a file elsewhere",
    "path: a name of the hub",
)
CASES = {case.name: case for case in catalogue()}


@pytest.mark.parametrize("name", SELECTED)
def test_is_the_network_of_its_source_or_refused(name: str, tmp_path: Path) -> None:
    outcome = judge(CASES[name], tmp_path)
    if outcome.outcome == "skipped":
        pytest.skip(outcome.message)
    assert outcome.met, outcome


def _plain(folder: Path, off: float = 0.0) -> Made:
    """A network of timm, with a reference that is off by a part of itself."""
    network = timm_vit()
    torch.save(network.state_dict(), folder / "model.pth")
    made = of_timm(folder / "model.pth", network)
    right = made.reference
    assert right is not None
    return replace(made, reference=lambda images: right(images) * (1 + off))


def test_another_network_is_silently_wrong(tmp_path: Path) -> None:
    outcome = judge(Case("off", "test", lambda folder: _plain(folder, off=1e-4)), tmp_path)
    assert (outcome.outcome, outcome.met) == ("silently wrong", False)
    assert outcome.float_error == pytest.approx(1e-4, rel=0.1)


def test_a_warning_with_the_words_is_not_silent(tmp_path: Path) -> None:
    case = Case("off", "test", lambda f: _plain(f, off=1e-4), "accept or refuse, never wrong", words="normalisation")
    outcome = judge(case, tmp_path)
    assert (outcome.outcome, outcome.met) == ("warned", True)


def test_other_images_are_silently_wrong(tmp_path: Path) -> None:
    case = Case("images", "test", lambda f: replace(_plain(f), prepare=lambda image: torch.zeros(3, 32, 32)))
    outcome = judge(case, tmp_path)
    assert (outcome.outcome, outcome.met) == ("silently wrong", False)
    assert outcome.pixel_error is not None
    assert outcome.pixel_error > 0.1


def test_another_image_size_is_silently_wrong(tmp_path: Path) -> None:
    outcome = judge(Case("size", "test", lambda f: replace(_plain(f), size=(16, 64))), tmp_path)
    assert (outcome.outcome, outcome.met) == ("silently wrong", False)


@pytest.mark.parametrize(
    ("expect", "words", "met"), [("refuse", "HTML", False), ("refuse", "", True), ("accept", "", False)]
)
def test_a_refusal_needs_its_words(tmp_path: Path, expect: str, words: str, met: bool) -> None:
    def make(folder: Path) -> Made:
        (folder / "page.html").write_bytes(bytes(100))
        return Made(folder / "page.html")

    outcome = judge(Case("page", "test", make, expect, words), tmp_path)
    assert (outcome.outcome, outcome.met) == ("refused", met)


def test_an_export_needs_its_words(tmp_path: Path) -> None:
    outcome = judge(Case("plain", "test", _plain, words="which weights were taken"), tmp_path)
    assert (outcome.outcome, outcome.met) == ("accepted", False)


def test_what_is_not_installed_is_skipped(tmp_path: Path) -> None:
    outcome = judge(Case("plain", "test", _plain, needs=("a_module_that_nobody_has",)), tmp_path)
    assert (outcome.outcome, outcome.message) == ("skipped", "needs a_module_that_nobody_has")


def test_command_writes_outcomes_and_counts(tmp_path: Path) -> None:
    status = run.main(["-o", str(tmp_path / "results.json"), "--only", "^damage: first 100 bytes"])
    content = json.loads((tmp_path / "results.json").read_text())
    assert status == 0
    assert content["counts"]["all"] == {"cases": 2, "as expected": 2, "refused": 2}
    assert [case["outcome"] for case in content["cases"]] == ["refused", "refused"]


def test_a_case_that_cannot_be_made_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path) -> Made:
        raise AttributeError("the library has no such class")

    monkeypatch.setattr(run, "catalogue", lambda: iter([Case("new version", "test", make)]))
    assert run.main(["-o", str(tmp_path / "results.json")]) == 1
    (outcome,) = json.loads((tmp_path / "results.json").read_text())["cases"]
    assert (outcome["outcome"], outcome["met"]) == ("not made", False)
    assert outcome["message"] == "AttributeError: the library has no such class"
