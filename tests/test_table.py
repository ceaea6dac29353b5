"""Softmax and GELU by table: the tables, whole models with them, and what they gain."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ivit_onnx
from commands import call
from ivit_onnx.api import export, load_twin
from ivit_onnx.errors import CheckpointError, ModelError
from ivit_onnx.opset import DOMAIN, OPERATORS
from ivit_onnx.quant.modules import ACTIVATIONS, MlpAdd
from ivit_onnx.quant.tables import exponentials, gelu_table
from ivit_onnx.verification import verify
from networks import (
    DATA,
    DIGITS_CHECKPOINT,
    DIGITS_MEAN,
    DIGITS_STD,
    digits,
    gradients_of_training,
    images,
    pixels,
    save_checkpoint,
    timm_network,
    timm_swin,
)

Array = np.ndarray[Any, Any]

SCALES = st.floats(1e-4, 3.0).map(np.float32)

#: Networks and the options of their export.
NETWORKS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "vit": (lambda: timm_network(distilled=True), {"num_heads": 3}),
    "vit-7-bits": (timm_network, {"num_heads": 3, "softmax_bits": 7, "act": "gelu_tanh"}),
    "swin": (lambda: timm_swin(img_size=36), {"img_size": 36, "softmax_bits": 8}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(network: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(NETWORKS[network][0](), tmp_path_factory.mktemp("checkpoint") / "model.pt")


def export_table(network: str, checkpoint: Path, output: Path, **others: Any) -> Path:
    options = {**NETWORKS[network][1], **others}
    size = options.get("img_size", 32)
    calibration = [np.resize(image, (3, size, size)) for image in images(16)]
    export(checkpoint, output, calib=calibration, nonlinear="table", **options)
    return output


@settings(deadline=None, max_examples=20)
@given(scale=SCALES)
def test_exponentials_are_exact(scale: np.float32) -> None:
    table = exponentials(scale)
    assert (table.dtype, table.shape, table[0]) == (np.int32, (256,), 2**14)
    assert (np.diff(table) <= 0).all()
    exact = [2**14 * math.exp(-d * float(scale)) for d in range(256)]
    np.testing.assert_allclose(table, exact, rtol=0, atol=0.5 + 1e-9)


@pytest.mark.parametrize("act", ACTIVATIONS)
@settings(deadline=None, max_examples=20)
@given(s_x=SCALES, s_y=SCALES)
def test_gelu_tables_are_exact(act: str, s_x: np.float32, s_y: np.float32) -> None:
    """Nearest integers of the function as PyTorch computes it in float64."""
    table = gelu_table(act, s_x, s_y)
    assert (table.dtype, table.shape) == (np.int8, (256,))
    exact = ACTIVATIONS[act](torch.arange(-128, 128, dtype=torch.float64) * float(s_x)).numpy() / float(s_y)
    np.testing.assert_allclose(table, np.clip(exact, -128, 127), rtol=0, atol=0.5 + 1e-9)


def test_halves_are_rounded_to_even() -> None:
    """quick_gelu of large values is the value itself, and 0 for large negative ones."""
    table = gelu_table("quick_gelu", np.float32(64.0), np.float32(128.0))
    assert list(table[128 + 1 : 128 + 8]) == [0, 1, 2, 2, 2, 3, 4]
    assert not table[:128].any()


@pytest.mark.parametrize("frac_bits", [7, 8, 15])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), tokens=st.integers(1, 300), scale=st.floats(0.01, 0.5).map(np.float32))
def test_probabilities_are_near_to_those_of_softmax(frac_bits: int, seed: int, tokens: int, scale: np.float32) -> None:
    """Within a step of the result, and what 14-bit exponentials and the reciprocal of their sum lose."""
    x = np.random.default_rng(seed).integers(-128, 128, (4, tokens)).astype(np.int8)
    y = OPERATORS["TableSoftmax"].reference(x, exponentials(scale), frac_bits=frac_bits)
    exact = np.exp(x.astype(np.float64) * float(scale))
    exact /= exact.sum(-1, keepdims=True)
    assert y.max() < 2**frac_bits
    assert np.abs(y * 2.0**-frac_bits - exact).max() < 2.0**-frac_bits + 0.01 * exact.max()


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_the_same_integers_everywhere(network: str, checkpoint: Path, tmp_path: Path, flat: bool) -> None:
    path = export_table(network, checkpoint, tmp_path / "m.onnx", flat=flat)
    report = verify(path, checkpoint, count=2)
    assert report.passed
    assert {entry.implementation for entry in report.comparisons} == {"function bodies", "kernels", "PyTorch"}
    model = onnx.load(path)
    kinds = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    assert not any(name.startswith("Shift") for name in (*kinds, *(f.name for f in model.functions)))
    swin = network.startswith("swin")
    if flat:
        assert kinds == {"IntLayerNorm", *(["IntLayerNorm16"] if swin else [])}
    else:
        attention = "IntDeferredWindowAttention" if swin else "IntDeferredAttention"
        assert kinds > {attention, "IntTokenMlpAdd", "IntTokenMlpAddNorm"}
    image = pixels(3, size=NETWORKS[network][1].get("img_size", 32))
    (bodies,) = ivit_onnx.create_session(path, kernels=False).run(None, {"image": image})
    (compiled,) = ivit_onnx.create_session(path, provider="ivit-cpu").run(None, {"image": image})
    np.testing.assert_array_equal(compiled, bodies, strict=True)


def test_export_is_deterministic(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(), tmp_path / "model.pt")
    first, second = (export_table("vit", checkpoint, tmp_path / f"{name}.onnx") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_training_follows_the_integers_and_reaches_every_parameter(
    network: str, checkpoint: Path, tmp_path: Path
) -> None:
    twin = load_twin(export_table(network, checkpoint, tmp_path / "m.onnx"), checkpoint)
    assert twin.nonlinear == "table"
    size = twin.preprocess.size.height
    x = torch.from_numpy(np.stack([np.resize(image, (3, size, size)) for image in images(8, seed=3)]))
    gradients_of_training(twin, x)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), act=st.sampled_from(list(ACTIVATIONS)), s_x=st.floats(0.01, 0.2))
def test_gelu_in_training_has_the_integers_of_the_table(seed: int, act: str, s_x: float) -> None:
    """But for halves, which float32 does not tell from their neighbours."""
    mlp = MlpAdd(4, 8, act).train()
    mlp.nonlinear = "table"
    scales = mlp.hidden.scale.fill_(s_x), mlp.activated.scale.fill_(s_x * 0.9)
    x = torch.randint(-128, 128, (4096,), generator=torch.Generator().manual_seed(seed))
    found = mlp.activated(mlp.act(mlp.hidden(x * scales[0]))) / scales[1]
    table = torch.from_numpy(gelu_table(act, *(np.float32(scale.item()) for scale in scales)))
    exact = ACTIVATIONS[act](torch.arange(-128, 128).double() * scales[0].double()) / scales[1].double()
    sure = ((exact - exact.floor() - 0.5).abs() > 1e-4)[x + 128]
    assert sure.float().mean() > 0.9
    assert torch.equal(found[sure].round(), table[x + 128][sure].float())


def signal_to_noise(found: Array, exact: Array) -> float:
    """In decibels, of what a common offset of all logits does not change."""
    found, exact = (logits - logits.mean(1, keepdims=True) for logits in (found, exact))
    return float(10 * np.log10(np.square(exact).mean() / np.square(found - exact).mean()))


@pytest.mark.parametrize(
    ("checkpoint", "options"),
    [(DIGITS_CHECKPOINT, {"num_heads": 2}), (DATA / "swin_micro_timm_fp.pth", {"img_size": 32})],
    ids=["deit", "swin"],
)
def test_digits_are_nearer_to_float_than_with_shifts(checkpoint: Path, options: dict[str, Any], tmp_path: Path) -> None:
    """Answers are compared on all images: of 1797, those that are wrong by a hair's breadth are a few."""
    x, _, test = digits()
    train = np.setdiff1d(np.arange(len(x)), test)[:128]
    distance, agreement = {}, {}
    for nonlinear in ("ivit", "table"):
        path = tmp_path / f"{nonlinear}.onnx"
        export(checkpoint, path, calib=x[train], mean=DIGITS_MEAN, std=DIGITS_STD, nonlinear=nonlinear, **options)
        twin = load_twin(path, checkpoint)
        (logits,) = ivit_onnx.create_session(path).run(None, {"image": x})
        scale = twin.output_scale
        twin.set_quantized(False)
        with torch.inference_mode():
            exact = twin(torch.from_numpy(x)).numpy()
        distance[nonlinear] = signal_to_noise(logits[test] * scale, exact[test])
        agreement[nonlinear] = (logits.argmax(1) == exact.argmax(1)).mean()
    assert distance["table"] > distance["ivit"] + 6
    # Up to five images of the DeiT have another answer, none of the Swin; with shifts, three to five.
    assert agreement["table"] > 0.997


def test_reference_ivit_checkpoints_keep_their_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference_ivit = DATA / "deit_micro_ivit.pth.tar"
    output = tmp_path / "m.onnx"
    with pytest.raises(
        CheckpointError, match="trained with the softmax and GELU of the paper: expected --nonlinear ivit"
    ):
        export(reference_ivit, output, num_heads=2, nonlinear="table")
    options = ("--num-heads", "2", "--nonlinear", "table")
    assert "--nonlinear ivit" in call(capsys, "export", reference_ivit, "-o", output, *options).error()
    assert not output.exists()


def test_metadata(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(), tmp_path / "model.pt")
    path = export_table("vit", checkpoint, tmp_path / "m.onnx")
    model = onnx.load(path)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "ivit.nonlinear")
    assert entry.value == "table"
    entry.value = "magic"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="of ivit, table, found 'magic'"):
        load_twin(path, checkpoint)
    # Files of before there were tables do not say.
    export(checkpoint, path, calib=images(16), num_heads=3, force=True, nonlinear="ivit")
    model = onnx.load(path)
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == "ivit.nonlinear"))
    onnx.save(model, path)
    assert load_twin(path, checkpoint).nonlinear == "ivit"
