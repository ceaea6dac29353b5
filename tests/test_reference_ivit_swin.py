"""A Swin of the reference I-ViT code: the integers of its simulation, computed exactly, everywhere.

The reference (digits_eval_swin.npz) is made like that of test_reference_ivit.py. The reference code cuts windows out of
the normalised tokens and works on windows up to the output projection; here tokens keep their order, and its arrays are
put into it before they are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx_ir.passes import common

from ivit_onnx.api import export, load_twin, read_metadata
from ivit_onnx.architectures import SwinArchitecture
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.opset import DOMAIN, OPERATORS, token_places
from networks import DATA
from reference_ivit import quantized_images, recorded_integers
from sessions import session

CHECKPOINT = DATA / "swin_micro_ivit.pth.tar"

Array = np.ndarray[Any, Any]

#: Quantisation points in the order in which the network computes them.
_BLOCK = (
    *("qact1", "attn.qact1", "attn.qact_attn1", "attn.qact2", "attn.qact3", "attn.qact4", "qact2"),
    *("qact3", "mlp.qact_gelu", "mlp.qact1", "mlp.qact2", "qact4"),
)
POINTS = [
    *("patch_embed.qact_before_norm", "patch_embed.qact", "qact1"),
    *(f"layers.0.blocks.{index}.{name}" for index in range(2) for name in _BLOCK),
    *("layers.0.downsample.qact1", "layers.0.downsample.qact2"),
    *(f"layers.1.blocks.{index}.{name}" for index in range(2) for name in _BLOCK),
    *("qact2", "qact3"),
]


@pytest.fixture(scope="module")
def reference() -> dict[str, Array]:
    """Arrays on tokens in their natural order, heads apart where the reference has them so."""
    with np.load(DATA / "digits_eval_swin.npz") as file:
        arrays = dict(file)
    for name in POINTS:
        if name.endswith(("attn.qact1", "attn.qact3", "attn.qact4")):
            stage, block = int(name.split(".")[1]), int(name.split(".")[3])
            grid = 8 // 2**stage
            places = token_places(grid, grid, 4, 2 if block % 2 and grid > 4 else 0)
            key = f"exact_num2p31/{name}"
            arrays[key] = arrays[key].reshape(4, grid * grid, -1)[:, places]
    return arrays


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference_ivit") / "model.onnx"
    export(CHECKPOINT, path, input="int8")
    return path


@pytest.fixture(scope="module")
def images(reference: dict[str, Array]) -> Array:
    return quantized_images(reference)


def assert_points_equal(names: list[str], found: Iterator[Array], reference: dict[str, Array]) -> None:
    for name, array in zip(names, found, strict=True):
        expected = reference[f"exact_num2p31/{name}"].astype(np.int64)
        np.testing.assert_array_equal(array.reshape(expected.shape), expected, err_msg=name)


def test_the_reference_has_these_points_and_no_other(reference: dict[str, Array]) -> None:
    recorded = {name.removeprefix("exact_num2p31/") for name in reference if name.startswith("exact_num2p31/")}
    tables = {f"layers.{stage}.blocks.{block}.attn.qact_table" for stage in range(2) for block in range(2)}
    assert recorded == {*POINTS, *tables, "qact_input"}


def test_what_the_file_tells(model: Path, reference: dict[str, Array]) -> None:
    checkpoint = load_checkpoint(CHECKPOINT)
    assert isinstance(checkpoint.arch, SwinArchitecture)
    assert (checkpoint.arch.image_size, checkpoint.arch.windows, checkpoint.arch.heads) == ((32, 32), (4, 4), (2, 4))
    twin = load_twin(model, CHECKPOINT)
    assert checkpoint.scales is not None
    assert checkpoint.scales.keys() == twin.activations().keys()
    assert sorted(checkpoint.scales.values()) == sorted(float(v) for name, v in reference.items() if "scale/" in name)
    assert read_metadata(model)["ivit.softmax_bits"] == "7"


def test_every_integer_of_the_twin(
    model: Path, images: Array, reference: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recorded_integers(monkeypatch)
    with torch.inference_mode():
        load_twin(model, CHECKPOINT)(torch.from_numpy(images[:4]))
    assert_points_equal(POINTS, iter(found[:-1]), reference)  # the last array is the logits


def test_tables(model: Path, reference: dict[str, Array]) -> None:
    twin = load_twin(model, CHECKPOINT)
    for stage, block in itertools.product(range(2), range(2)):
        path = f"layers.{stage}.blocks.{block}.attn"
        expected = reference[f"exact_num2p31/{path}.qact_table"]
        np.testing.assert_array_equal(twin.get_submodule(f"{path}.core").table_integers(), expected)


@pytest.mark.parametrize("kernels", [False, True], ids=["function bodies", "library"])
def test_every_integer_in_onnxruntime(model: Path, images: Array, reference: dict[str, Array], kernels: bool) -> None:
    """Composites replaced by their bodies, so that nearly every quantisation point is an output of a node."""
    opened = ir.load(model)
    whole = {"IntLinear", "IntLinear16", "IntLinear32"}
    open_ = {name for name, operator in OPERATORS.items() if operator.composite and name not in whole}
    common.InlinePass(criteria=lambda function: function.domain == DOMAIN and function.name in open_)(opened)
    kinds = ("Requantize", "Requantize16", "AddRequantize", "IntLayerNorm", "IntLayerNorm16", "IntLinear", "ClampBits")
    for node in opened.graph:
        after = [use.op_type for use in node.outputs[0].consumers()]
        if node.op_type in (*kinds, "IntTokenMean") or (node.op_type == "IntLinear16" and "ClampBits" not in after):
            opened.graph.outputs.append(node.outputs[0])
    found = session(ir.to_proto(opened), kernels=kernels).run(None, {"image": images[:4]})[1:]
    # Biased scores are clamped by standard operators.
    names = [name for name in POINTS if not name.endswith("attn.qact2")]
    assert_points_equal(names, iter(found), reference)


@pytest.mark.parametrize("kernels", [False, True], ids=["function bodies", "library"])
def test_every_integer_between_composites(
    model: Path, images: Array, reference: dict[str, Array], kernels: bool
) -> None:
    """The model as it is: what its composite operators hand to each other."""
    proto = onnx.load(model)
    points = {"patch_embed": "qact1", "layers.1.downsample": "layers.0.downsample.qact2"}
    for block in (f"layers.{stage}.blocks.{index}." for stage in range(2) for index in range(2)):
        points |= {
            f"{block}norm1": f"{block}qact1",
            f"{block}attn.qkv": f"{block}attn.qact1",
            f"{block}attn.core": f"{block}attn.qact3",
            f"{block}attn.proj": f"{block}qact2",
            f"{block}norm2": f"{block}qact3",
            f"{block}mlp": f"{block}qact4",
        }
    points |= {"norm": "qact2", "features": "qact3"}
    infos = {info.name: info for info in proto.graph.value_info}
    proto.graph.output.extend(infos[name] for name in points)
    found = session(proto, kernels=kernels).run(None, {"image": images[:4]})[1:]
    assert_points_equal(list(points.values()), iter(found), reference)


def test_logits(model: Path, images: Array, reference: dict[str, Array]) -> None:
    """As in test_reference_ivit.py: accumulators of the head are exactly those of the reference."""
    twin = load_twin(model, CHECKPOINT)
    s_x = twin.feature_activation.number("features")
    head = twin.head.lower(s_x)
    scale = twin.head.quantize_linear(*twin.head.combined(), s_x)[2]
    exact = reference["logits_exact_num2p31"]
    accumulators = exact / scale.astype(np.float64)
    assert np.abs(accumulators - np.rint(accumulators)).max() < 1e-3
    accumulators = np.rint(accumulators).astype(np.int32)
    expected = OPERATORS["Requantize32"].reference(accumulators, head.constants["multiplier"], head.constants["shift"])
    with torch.inference_mode():
        np.testing.assert_array_equal(twin(torch.from_numpy(images)).numpy(), expected)
    for kernels in (False, True):
        (logits,) = session(onnx.load(model), kernels=kernels).run(None, {"image": images})
        np.testing.assert_array_equal(logits, expected, strict=True)
    assert (expected.argmax(1) == reference["logits_official"].argmax(1)).sum() == 64
