"""Everything that can be given as a checkpoint: files of every kind, folders, wrappers, modules, objects in memory."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import io
import json
import pathlib
import pickle
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock

from ivit_onnx.api import export, load_twin
from ivit_onnx.checkpoints import Choice, load_checkpoint, load_state_dict
from ivit_onnx.checkpoints.facts import PLAIN
from ivit_onnx.checkpoints.files import File, read_content
from ivit_onnx.checkpoints.missing import how_to_get
from ivit_onnx.checkpoints.opening import open_source
from ivit_onnx.checkpoints.source import Source
from ivit_onnx.checkpoints.values import act_name, image_size, told
from ivit_onnx.errors import CheckpointError, ModelError
from networks import images, timm_network, timm_swin

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Tensors:
    return dict(timm_network().state_dict())


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def refused(given: Any, choice: Choice | None = None) -> str:
    with pytest.raises(CheckpointError) as error:
        open_source(given, choice or Choice())
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


class Options(dict):  # type: ignore[type-arg]
    """A class of options that is not here when the file is read."""


# Files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "is an ONNX model: give the PyTorch checkpoint"),
        (b"\x08\x07:\xd2\x02\n", "is an ONNX model"),
        (b"GGUF\x03\x00\x00\x00", "is a GGUF model"),
        (b"\x1c\x00\x00\x00TFL3", "is a TensorFlow Lite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(10), "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00v\x00", "is a single NumPy array"),
        (b"\x1f\x8b\x08\x00rest", "gunzip"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\x00", "RAR"),
        (b"name".ljust(257, b"\0") + b"ustar\x0000", "is a tar archive"),
        (b"<!DOCTYPE html><html>", "is a web page, not a checkpoint"),
        (b"<?xml version='1.0'?><Error>", "is XML"),
        (b'{"error": "Repository not found", "a": 1}', "is JSON text"),
        (b"Repository not found, sorry", "is text"),
        (b"\xde\x00\x10\xa6params\x81", "is a Flax"),
        (bytes(range(200, 255)), "is neither a file of torch.save nor safetensors"),
        (b"", "is empty"),
    ],
)
def test_files_of_other_kinds(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    assert expected in refused(tmp_path / "model.pth")
    assert expected in refused(io.BytesIO(content))


def archive(names: list[str]) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["metadata.json", "config.json", "model.weights.h5"], "is a Keras model"),
        (["x/models/model.json", "x/archive_format"], "is a program of torch.export"),
        (["folder/model.pth"], "is a zip archive of other files"),
        (["a.txt"], "it has no data.pkl"),
    ],
)
def test_archives_of_other_kinds(names: list[str], expected: str) -> None:
    assert expected in refused(io.BytesIO(archive(names)))


def test_export_program() -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    assert "is a program of torch.export" in refused(io.BytesIO(buffer.getvalue()))


PLAIN_DATA = {
    "best": np.float64(0.81),
    "array": np.arange(3),
    "args": argparse.Namespace(lr=0.1, output=pathlib.PurePosixPath("/runs")),
    "when": datetime.datetime(2026, 12, 1),
    "history": collections.defaultdict(list, {"loss": [1.0]}),
    "config": Options(a=1),
    "metric": functools.partial(print, 1),
    "kinds": {1, 2},
}


def save_zip(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save_legacy(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "write", [save_zip, save_legacy, *(functools.partial(pickle.dumps, protocol=number) for number in (2, 3, 4, 5))]
)
def test_plain_data_beside_weights(write: Callable[[Any], bytes], weights: Tensors) -> None:
    """What PyTorch's restricted reader refuses is read without being made; the tensors have the same bits."""
    network = timm_network()
    tensors = {**weights, "head.weight": weights["head.weight"].t().contiguous().t()}
    content = {"state_dict": tensors, "parameters": list(network.parameters())[:2], **PLAIN_DATA}
    source = open_source(io.BytesIO(write(content)), Choice())
    assert equal(source.tensors, weights)
    assert source.tensors["head.weight"].stride() == tensors["head.weight"].stride()


@pytest.mark.parametrize("write", [save_zip, save_legacy, pickle.dumps])
def test_types_and_shared_storages(write: Callable[[Any], bytes]) -> None:
    """Every type, views of one storage, and a tensor without elements, read by the inert reader."""
    types = [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8, torch.complex64]
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in types}
    whole = torch.arange(12.0).reshape(3, 4)
    tensors |= {"whole": whole, "part": whole[1:, ::2], "none": torch.zeros(0, 3)}
    tensors |= {"parameter": torch.nn.Parameter(torch.ones(2))}
    content = io.BytesIO(write({"weights": tensors, "extra": Options()}))
    found = read_content(File("file", content.getvalue())).value["weights"]
    assert equal({name: tensor.detach() for name, tensor in tensors.items()}, found)
    assert all(found[name].dtype == tensor.dtype for name, tensor in tensors.items())
    if write is not pickle.dumps:  # which writes the elements of each tensor for itself
        assert found["part"].data_ptr() == found["whole"][1:].data_ptr()


def test_npz(tmp_path: Path) -> None:
    scale = np.arange(4, dtype=np.float32)
    half = np.frombuffer(torch.tensor([1.5, -2.0]).bfloat16().view(torch.uint16).numpy().tobytes(), dtype="V2")
    np.savez(tmp_path / "vit.npz", **{"Transformer/encoderblock_0/scale": scale, "head/half": half, "opt/count": scale})
    tensors = open_source(tmp_path / "vit.npz", Choice()).tensors
    assert equal(
        tensors,
        {"Transformer.encoderblock_0.scale": torch.arange(4.0), "head.half": torch.tensor([1.5, -2.0]).bfloat16()},
    )
    np.savez(tmp_path / "objects.npz", a=np.array([{"a": 1}], dtype=object))
    assert "damaged" in refused(tmp_path / "objects.npz")
    np.savez(tmp_path / "text.npz", a=np.array(["a"]))
    assert "expected numbers" in refused(tmp_path / "text.npz")
    np.savez_compressed(tmp_path / "large.npz", a=np.zeros(2**24 + 2**18, np.float32))
    assert "at most 67,108,864 bytes after decompression" in refused(tmp_path / "large.npz")


def test_torchscript(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), tmp_path / "script.pt")
        torch.jit.save(torch.jit.trace(network.eval(), torch.zeros(2, 2)), tmp_path / "trace.pt")
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    for name in ("script.pt", "trace.pt"):
        source = open_source(tmp_path / name, Choice())
        assert equal(source.tensors, expected)
        assert "TorchScript archive: its tensors were read, nothing was run" in source.notes[0]


# Wrappers


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("model_state_dict", {"optimizer_state_dict": {"state": {0: {"exp_avg": torch.zeros(2)}}}}),
        ("net", {"acc": 0.9}),
        ("weights", {}),
        ("params", {}),
        ("module", {"optimizer": None, "ds_config": {}}),
        ("model.state_dict", {"epoch": 3}),
        ("model", {"opt": {"state": [{"a": torch.zeros(2)}], "hypers": []}}),
        ("state_dict", {"hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.6", "loops": {}}),
        ("my_network", {"optimizer": {"state": {"w": torch.zeros(2)}}}),
        ("deep.my.network", {}),
    ],
)
def test_wrappers(path: str, others: dict[str, Any], weights: Tensors) -> None:
    content: Any = weights
    for key in reversed(path.split(".")):
        content = {key: content}
    source = open_source({**content, **others}, Choice())
    assert equal(source.tensors, weights)
    assert equal(open_source({**content, **others}, Choice(key=path)).tensors, weights)


@pytest.mark.parametrize(
    ("averaged", "last"),
    [
        ("state_dict_ema", "state_dict"),
        ("model_ema", "model"),
        ("params_ema", "params"),
        ("teacher", "student"),
        ("target_encoder", "encoder"),
        ("ema", "net"),
    ],
)
def test_averaged_and_last_weights(averaged: str, last: str, weights: Tensors) -> None:
    other = {name: tensor + 1 for name, tensor in weights.items()}
    content = {last: other, averaged: weights, "epoch": 1}
    source = open_source(content, Choice())
    assert equal(source.tensors, weights)
    assert source.notes == (
        f"took the averaged weights under {averaged!r}; the last ones, under {last!r}, are taken with --weights raw",
    )
    assert equal(open_source(content, Choice(weights="ema")).tensors, weights)
    assert equal(open_source(content, Choice(weights="raw")).tensors, other)
    assert "has no averaged weights" in refused({last: other}, Choice(weights="ema"))
    assert "expected last weights beside" in refused({averaged: other}, Choice(weights="raw"))
    assert equal(open_source(content, Choice(key=last)).tensors, other)


def test_keys(weights: Tensors) -> None:
    content = {"first": weights, "second": {"inner": weights}, "optimizer": {"a": torch.zeros(1)}}
    message = refused(content)
    assert "holds several networks; tensors are under 'first', 'second.inner'; pass one as --key" in message
    assert "has nothing under --key third; tensors are under 'first'" in refused(content, Choice(key="third"))
    assert "expected tensors under --key second, found a dict" in refused(content, Choice(key="second"))
    assert equal(open_source({"a.b": weights, "c": weights}, Choice(key="a.b")).tensors, weights)


@pytest.mark.parametrize("average", ["ema_model.", "model_ema.module.", "ema."])
@pytest.mark.parametrize("last", ["model.", ""])
def test_an_average_within_one_state_dict(average: str, last: str, weights: Tensors) -> None:
    other = {f"{last}{name}": tensor + 1 for name, tensor in weights.items()}
    both = {**other, **{average + name: tensor for name, tensor in weights.items()}, "train_acc.total": torch.ones(3)}
    source = open_source(both, Choice())
    assert equal(source.tensors, {average + name: tensor for name, tensor in weights.items()})
    assert "--weights raw" in source.notes[0]
    assert "left out train_acc.total" in source.notes[1]
    assert equal(open_source(both, Choice(weights="raw")).tensors, other)
    # A copy of a part is not the average of the network.
    del both[f"{average}head.weight"]
    assert len(open_source(both, Choice()).tensors) == len(both) - 1


def test_averaged_model_and_leftovers(weights: Tensors) -> None:
    averaged = {"n_averaged": torch.tensor(5), **{f"module.{name}": tensor for name, tensor in weights.items()}}
    source = open_source({"state_dict": averaged}, Choice())
    assert equal(source.tensors, weights)
    assert source.notes == ("the weights are averages (n_averaged)",)
    assert equal(open_source(averaged, Choice(weights="ema")).tensors, weights)
    assert "averaged weights only" in refused(averaged, Choice(weights="raw"))
    noise = {"criterion.weight": torch.ones(7), "steps": torch.tensor(3), "val_acc.tp": torch.zeros(7)}
    source = open_source({**weights, **noise}, Choice())
    assert equal(source.tensors, weights)
    assert source.notes == ("left out criterion.weight, steps and 1 more: counters, losses or metrics",)
    kept = {**weights, "scale": torch.tensor(3.0), "loss_token": torch.ones(2), "metrics": torch.ones(2)}
    assert equal(open_source(kept, Choice()).tensors, kept)


def test_prefixes_stay_where_the_network_is_only_a_part(weights: Tensors) -> None:
    lightning = {f"model.{name}": tensor for name, tensor in weights.items()}
    loaded = load_checkpoint({"state_dict": lightning}, heads=3)
    assert loaded.fingerprint == load_checkpoint(weights, heads=3).fingerprint
    assert loaded.notes == ("took the network under 'model.'",)


# Facts beside the tensors


def facts(content: dict[str, Any], weights: Tensors) -> dict[str, tuple[Any, str]]:
    source = open_source({"state_dict": weights, **content}, Choice())
    return {name: (fact.value, fact.origin) for name, fact in source.facts.found.items()}


def test_facts_beside_tensors(weights: Tensors) -> None:
    args = argparse.Namespace(
        model="vit_tiny_patch16_224", img_size=None, input_size=[3, 64, 96], mean=[0.1, 0.2, 0.3], std=None, gp="avg"
    )
    found = facts({"arch": "deit_tiny_patch16_224", "args": args, "epoch": 3}, weights)
    origin = "args in the checkpoint"
    assert found == {
        "name": ("deit_tiny_patch16_224", "arch in the checkpoint"),
        "image_size": ((64, 96), origin),
        "mean": ((0.1, 0.2, 0.3), origin),
        "pool": ("avg", origin),
    }
    hyper = {"hyper_parameters": {"model_name": "timm/vit_tiny_patch16_224.augreg_in21k", "act": "GELUTanh", "std": 3}}
    assert facts(hyper, weights) == {
        "name": ("vit_tiny_patch16_224.augreg_in21k", "hyper_parameters in the checkpoint"),
        "act": ("gelu_tanh", "hyper_parameters in the checkpoint"),
    }


def test_options_of_other_classes(weights: Tensors) -> None:
    """A tree of options of a class that is not made, as Swin's training script keeps."""
    tree = Options(MODEL=Options(NAME="swin_tiny_patch4_window7_224"), DATA=Options(IMG_SIZE=224))
    file = io.BytesIO(save_zip({"model": weights, "config": tree}))
    found = open_source(file, Choice()).facts
    assert (found.value("name"), found.value("image_size")) == ("swin_tiny_patch4_window7_224", (224, 224))
    assert found.found["name"].origin == "config in the checkpoint"


@pytest.mark.parametrize(
    "values",
    [
        {"mean": [0.5, 0.5]},
        {"mean": [123.0, 116.0, 103.0]},
        {"mean": "0.5"},
        {"std": [0.0, 1.0, 1.0]},
        {"std": [True, True, True]},
        {"img_size": 0},
        {"img_size": 2**40},
        {"img_size": [1, 2, 3, 4]},
        {"img_size": True},
        {"crop_pct": 1.5},
        {"crop_pct": float("nan")},
        {"crop_mode": "random"},
        {"interpolation": "random"},
        {"model": object()},
        {"model": "a model\x1b"},
        {"global_pool": ""},
        {"label_names": [1]},
    ],
)
def test_values_that_tell_nothing(values: dict[str, Any]) -> None:
    assert told("here", values).found == {}


def test_words() -> None:
    names = {
        "gelu": "gelu",
        "torch.nn.modules.activation.GELU": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "GELUTanh": "gelu_tanh",
        "QuickGELU": "quick_gelu",
        "SiLU": "SiLU",
    }
    assert {name: act_name(name) for name in names} == names
    assert [image_size(size) for size in (224, [224, 224], (3, 64, 96), [224], "224", [1.5, 2])] == [
        224,
        224,
        (64, 96),
        224,
        None,
        None,
    ]


# Folders


TIMM_CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 7,
    "global_pool": "token",
    "model_args": {"img_size": 32, "num_heads": 3},
    "pretrained_cfg": {
        "tag": "augreg_in21k",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "crop_pct": 0.95,
        "crop_mode": "squash",
        "interpolation": "bilinear",
        "input_size": [3, 224, 224],
        "label_names": ["a", "b"],
    },
}


def folder(place: Path, **contents: Any) -> Path:
    """A folder with JSON files by name (config for config.json)."""
    place.mkdir(exist_ok=True)
    for name, content in contents.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    return place


def told_by(source: Source) -> dict[str, Any]:
    return {name: fact.value for name, fact in source.facts.found.items()}


def test_folder_of_timm(tmp_path: Path, weights: Tensors) -> None:
    place = folder(tmp_path / "model", config=TIMM_CONFIG)
    save_file(weights, place / "model.safetensors")
    for given in (place, place / "model.safetensors"):
        source = open_source(given, Choice())
        assert equal(source.tensors, weights)
        assert told_by(source) == {
            "name": "vit_tiny_patch16_224.augreg_in21k",
            "heads": 3,
            "pool": "token",
            "image_size": (32, 32),
            "mean": (0.1, 0.2, 0.3),
            "std": (0.4, 0.5, 0.6),
            "crop_pct": 0.95,
            "crop_mode": "squash",
            "interpolation": "bilinear",
            "labels": ("a", "b"),
        }
        assert {fact.origin for fact in source.facts.found.values()} == {"config.json"}
        assert "read config.json beside the weights" in source.notes
        assert source.config == {}


def test_a_file_that_the_configuration_is_not_of(tmp_path: Path, weights: Tensors) -> None:
    place = folder(tmp_path / "downloads", config=TIMM_CONFIG)
    for name in ("mine.pth", "other.pth"):
        saved(weights, place / name)
    source = open_source(place / "mine.pth", Choice())
    assert not source.facts.found
    assert "did not read config.json beside the file" in source.notes[0]
    assert "2 files of weights (mine.pth, other.pth): give one of them" in refused(place)
    (place / "other.pth").unlink()
    assert open_source(place, Choice()).facts.value("heads") == 3


def test_folder_of_transformers(tmp_path: Path, weights: Tensors) -> None:
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "id2label": {"1": "dog", "0": "cat"}}
    prepared = {
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    place = folder(tmp_path / "hub", config=config, preprocessor_config=prepared)
    saved(weights, place / "pytorch_model.bin")
    source = open_source(str(place), Choice())
    assert source.config == config
    assert told_by(source) == {
        "labels": ("cat", "dog"),
        "image_size": (224, 224),
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "interpolation": "bilinear",
    }
    folder(place, config={**config, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    assert "labels" not in open_source(place, Choice()).facts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True},
            {"image_size": (224, 224), "crop_pct": 0.875, "crop_mode": "center"},
        ),
        (
            {"size": 224, "crop_size": 224, "do_center_crop": True, "feature_extractor_type": "CLIPFeatureExtractor"},
            {"image_size": (224, 224), "crop_pct": 1.0, "crop_mode": "center"},
        ),
        (
            {"size": 256, "crop_size": 224, "do_center_crop": True, "image_processor_type": "DeiTImageProcessor"},
            {"image_size": (224, 224), "crop_pct": 0.875, "crop_mode": "squash"},
        ),
        ({"size": {"height": 64, "width": 96}}, {"image_size": (64, 96), "crop_pct": 1.0, "crop_mode": "squash"}),
        ({"size": {"shortest_edge": 256}}, {}),
        ({"do_resize": False, "size": {"height": 64, "width": 64}}, {}),
        ({"do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"do_normalize": False, "do_rescale": False}, {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}),
        (
            {"rescale_factor": 2 / 255, "image_mean": [1.0, 1.0, 1.0], "image_std": [1, 1, 1]},
            {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        ),
        ({"image_processor": {"resample": 3, "size": {}}}, {"interpolation": "bicubic"}),
    ],
)
def test_preprocessors(content: dict[str, Any], expected: dict[str, Any], tmp_path: Path, weights: Tensors) -> None:
    place = folder(tmp_path, preprocessor_config=content)
    saved(weights, place / "pytorch_model.bin")
    found = told_by(open_source(place, Choice()))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (value if isinstance(value, str) else pytest.approx(value))


def test_preprocessors_that_mean_and_std_cannot_say(tmp_path: Path, weights: Tensors) -> None:
    saved(weights, tmp_path / "pytorch_model.bin")
    for content, expected in ({"rescale_offset": True}, "an offset"), ({"rescale_factor": 0}, "rescale_factor above 0"):
        folder(tmp_path, preprocessor_config=content)
        assert expected in refused(tmp_path)


def test_folder_of_open_clip(tmp_path: Path, weights: Tensors) -> None:
    model = {"embed_dim": 512, "vision_cfg": {"layers": 12}}
    prepared = {"size": 224, "mean": [0.1] * 3, "std": [0.2] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    place = folder(tmp_path, open_clip_config={"model_cfg": model, "preprocess_cfg": prepared})
    save_file(weights, place / "open_clip_model.safetensors")
    source = open_source(place, Choice())
    assert source.config == model
    assert told_by(source) == {
        "image_size": (224, 224),
        "mean": (0.1,) * 3,
        "std": (0.2,) * 3,
        "interpolation": "bicubic",
        "crop_mode": "squash",
        "crop_pct": 1.0,
    }


def in_parts(place: Path, weights: Tensors) -> dict[str, str]:
    names = sorted(weights)
    places = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for part in set(places.values()):
        save_file({name: weights[name] for name in names if places[name] == part}, place / part)
    return places


def test_weights_in_parts(tmp_path: Path, weights: Tensors) -> None:
    places = in_parts(tmp_path, weights)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert equal(open_source(tmp_path, Choice()).tensors, weights)
    assert equal(open_source(index, Choice()).tensors, weights)
    part = places["norm.weight"]
    assert "is one part of a model" in refused(tmp_path / part)
    for other, expected in [
        ("../secret.safetensors", "expected a file in the same folder"),
        ("/etc/passwd", "expected a file in the same folder"),
        ("..", "expected a file in the same folder"),
        (3, "expected a file in the same folder"),
        ("model-00003-of-00003.safetensors", "which is not beside it"),
        (next(place for place in places.values() if place != part), "other than model.safetensors.index.json says"),
    ]:
        index.write_text(json.dumps({"weight_map": {**places, "norm.weight": other}}))
        assert expected in refused(tmp_path)
    index.write_text('{"weight_map": {"a": "x", "a": "y"}}')
    assert "a name stands twice" in refused(tmp_path)
    index.write_text("[" * 100_000)
    assert "damaged index" in refused(tmp_path)
    index.write_text("{}")
    assert "JSON without a weight_map" in refused(index)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["saved_model.pb", "variables"], "SavedModel"),
        ([".metadata", "__0_0.distcp"], "dcp_to_torch"),
        (["zero_to_fp32.py", "latest"], "zero_to_fp32.py"),
        (["adapter_config.json", "adapter_model.safetensors"], "merge_and_unload"),
        (["tf_model.h5", "config.json"], "no weights of PyTorch"),
        ([], "it is empty"),
        (["notes.txt"], "is a folder without weights"),
    ],
)
def test_folders_without_weights(names: list[str], expected: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    assert expected in refused(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "not json", "[" * 100_000])
def test_damaged_configuration(text: str, tmp_path: Path, weights: Tensors) -> None:
    saved(weights, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(text)
    assert "config.json" in refused(tmp_path)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("timm/vit_tiny_patch16_224.augreg_in21k", "hf download timm/vit_tiny_patch16_224.augreg_in21k --local-dir"),
        ("hf-hub:timm/vit_tiny", "hf download timm/vit_tiny --local-dir vit_tiny"),
        ("google/vit-base-patch16-224", "then give the folder vit-base-patch16-224"),
        ("https://huggingface.co/google/vit-base-patch16-224", "hf download google/vit-base-patch16-224"),
        ("https:/huggingface.co/a/b/resolve/main/c/model.bin", "hf download a/b --local-dir b`, then give"),
        ("https:/example.org/x/vit.pth?download=1", "curl -L -o vit.pth 'https://example.org/x/vit.pth?download=1'"),
        ("s3://bucket/model.pth", "must be downloaded first"),
        ("vit_tiny_patch16_224", "timm.models.save_for_hf"),
        ("swinv2_tiny_window8_256", "timm.models.save_for_hf"),
    ],
)
def test_what_has_to_be_downloaded(given: str, command: str) -> None:
    message = refused(given)
    assert "does not exist" in message
    assert command in message


def test_mere_paths_that_do_not_exist() -> None:
    assert [how_to_get(path) for path in ("model.pth", "runs/model.pth", "/a/b/c", "nothing", "a/b/c")] == [None] * 5
    assert "does not exist" in refused("a\0b")
    assert "cannot read checkpoint" in refused("a" * 300)


# Objects


def test_objects_in_memory(tmp_path: Path, weights: Tensors) -> None:
    path = saved({"model": weights}, tmp_path / "model.pth")
    buffer = io.BytesIO(path.read_bytes())
    for _ in range(2):  # a file stands where it stood
        assert equal(load_state_dict(buffer), weights)
    with path.open("rb") as file:
        source = open_source(file, Choice())
    assert source.title == f"the open file {path}"
    assert equal(load_state_dict({"model": weights}), weights)
    with path.open(encoding="latin1") as text:
        assert "open it with mode 'rb'" in refused(text)
    assert "is empty" in refused(io.BytesIO())
    for wrong in (3, None, [weights], b"model.pth", torch.zeros(3)):
        assert "expected as checkpoint the path of a file or folder" in refused(wrong)
    assert "is a str, not a tensor" in refused({"a": torch.zeros(1), "b": "text"})


def test_module_of_timm() -> None:
    network = timm_network(act_layer="quick_gelu", num_classes=5, class_token=True, global_pool="avg", fc_norm=False)
    source = open_source(network, Choice())
    assert source.title == "the module VisionTransformer"
    assert told_by(source) == {
        "heads": 3,
        "act": "quick_gelu",
        "eps": 1e-6,
        "pool": "avg",
        "blocks": PLAIN,
        "image_size": (32, 32),
    }
    assert {fact.origin for fact in source.facts.found.values()} == {"the module"}
    inside = torch.nn.ModuleDict({"model": network, "loss": torch.nn.CrossEntropyLoss(weight=torch.ones(5))})
    assert told_by(open_source(inside, Choice())) == told_by(source)
    loaded = load_checkpoint(inside)
    assert (loaded.arch.heads, loaded.arch.act, loaded.arch.pool) == (3, "quick_gelu", "avg")
    twice = torch.nn.ModuleDict({"student": network, "teacher": timm_network()})
    assert not open_source(twice, Choice()).facts.found
    assert told_by(open_source(timm_swin(), Choice()))["pool"] == "avg"


def test_what_timm_knows_of_pretrained_weights() -> None:
    network = timm_network()
    network.pretrained_cfg = {  # type: ignore[assignment]
        "architecture": "vit_tiny_patch16_224",
        "tag": "augreg_in21k",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "input_size": (3, 224, 224),
    }
    found = told_by(open_source(network, Choice()))
    assert found["name"] == "vit_tiny_patch16_224.augreg_in21k"
    assert (found["mean"], found["crop_pct"], found["interpolation"]) == ((0.1, 0.2, 0.3), 0.875, "bilinear")
    assert found["image_size"] == (32, 32)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"block_fn": ResPostBlock, "init_values": None}, "blocks of class ResPostBlock"),
        ({"block_fn": ParallelScalingBlock}, "blocks of class ParallelScalingBlock"),
        ({"global_pool": "max"}, "pooling.* found 'max'"),
        ({"global_pool": ""}, "pooling.* found ''"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "pooling.* found 'avg with prefix tokens'"),
        ({"act_layer": "relu"}, "found 'ReLU'"),
    ],
)
def test_modules_that_compute_something_else(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(timm_network(**changes))


def test_odd_modules() -> None:
    network = timm_network()
    network.rope = torch.nn.Identity()
    assert "rotary position embedding" in refused(network)
    network = timm_network()
    network.blocks[0].attn.scale *= 2
    assert "attention scores times" in refused(network)
    network = timm_network()
    network.norm.eps = 1e-5
    assert "different eps (1e-06, 1e-05)" in refused(network)
    network = timm_network()
    torch.nn.utils.parametrizations.weight_norm(network.head)
    assert "parametrizations" in refused(network)
    assert "is on the meta device" in refused(timm_network().to("meta"))
    network = timm_network()
    network.blocks[0].register_forward_hook(lambda *_: None)
    assert "forward hooks (blocks.0)" in open_source(network, Choice()).notes[0]
    half = timm_network().half()
    assert load_checkpoint(half).state_dict["norm.weight"].dtype == torch.float32
    wrapped = torch.compile(timm_network())
    assert isinstance(wrapped, torch.nn.Module)
    assert equal(load_state_dict(wrapped), dict(timm_network().state_dict()))
    assert open_source(wrapped, Choice()).facts.value("heads") == 3


def test_module_of_torchvision() -> None:
    from torchvision.models import SwinTransformer, VisionTransformer

    vit = VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5)
    assert told_by(open_source(vit, Choice())) == {
        "heads": 4,
        "act": "gelu",
        "eps": 1e-6,
        "blocks": PLAIN,
        "image_size": (32, 32),
    }
    swin = SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4])
    assert told_by(open_source(swin, Choice())) == {"act": "gelu", "eps": 1e-5, "blocks": PLAIN}


@pytest.mark.parametrize("write", [save_zip, save_legacy, pickle.dumps])
def test_pickled_module(write: Callable[[Any], bytes], tmp_path: Path) -> None:
    """Nothing of it is imported, and it tells as much as the module itself."""
    network = timm_network(act_layer="gelu_tanh")
    network.register_buffer("passing", torch.zeros(2), persistent=False)
    for content in (network, {"model": network, "epoch": 3}):
        (tmp_path / "module.pth").write_bytes(write(content))
        source = open_source(tmp_path / "module.pth", Choice())
        assert equal(source.tensors, dict(network.state_dict()))
        assert told_by(source) == told_by(open_source(network, Choice()))
        assert "nothing was run" in source.notes[-1]
    (tmp_path / "other.pth").write_bytes(write(timm_network(block_fn=ResPostBlock)))
    assert "blocks of class ResPostBlock" in refused(tmp_path / "other.pth")


def test_configuration_of_a_pickled_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """As modules of transformers have one; its type is in the name of its class."""
    package = "transformers.models.clip.configuration_clip"
    made = types.ModuleType(package)
    configs = {}
    for name in ("CLIPConfig", "CLIPVisionConfig"):
        configs[name] = type(name, (), {"__module__": package})
        setattr(made, name, configs[name])
    network = timm_network()
    network.config = configs["CLIPConfig"]()  # type: ignore[assignment]
    network.config.projection_dim = 32  # type: ignore[union-attr]
    network.config.vision_config = configs["CLIPVisionConfig"]()  # type: ignore[union-attr]
    network.config.vision_config.num_attention_heads = 3  # type: ignore[union-attr]
    with monkeypatch.context() as patch:
        for parent in ("transformers", "transformers.models", "transformers.models.clip"):
            patch.setitem(sys.modules, parent, types.ModuleType(parent))
        patch.setitem(sys.modules, package, made)
        content = save_zip(network)
    assert open_source(io.BytesIO(content), Choice()).config == {
        "model_type": "clip",
        "projection_dim": 32,
        "vision_config": {"model_type": "clip_vision_model", "num_attention_heads": 3},
        "architectures": ["VisionTransformer"],
    }


def test_export_of_objects(tmp_path: Path) -> None:
    """The same integers from a module, its file and the open file; the twin is found again by any of them."""
    network = timm_network(embed_dim=24, depth=1)
    path = saved(network, tmp_path / "module.pth")
    calibration = images(4)
    for name, given in {"module": network, "file": path, "open": io.BytesIO(path.read_bytes())}.items():
        export(given, tmp_path / f"{name}.onnx", calib=calibration, calib_preset="fast")
    written = {(tmp_path / f"{name}.onnx").read_bytes() for name in ("module", "file", "open")}
    assert len(written) == 1
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    twins = [load_twin(tmp_path / "module.onnx", given) for given in (network, path)]
    assert torch.equal(twins[0](image), twins[1](image))
    with pytest.raises(ModelError, match="was not exported from the module VisionTransformer"):
        load_twin(tmp_path / "module.onnx", timm_network(embed_dim=24, depth=1, seed=1))
