"""Deferred attention: its softmax at every scale, states with and without its marks, training, versions of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ivit_onnx.exporters import build_graph, finish, save
from torch import Tensor

import ivit_onnx
from ivit_onnx.api import export, load_twin, read_metadata
from ivit_onnx.architectures.size import Size
from ivit_onnx.calibration import apply_calibration, collect_statistics, recipe
from ivit_onnx.checkpoints import Checkpoint, Trained, load_checkpoint, write_trained
from ivit_onnx.errors import CalibrationError, CheckpointError
from ivit_onnx.exported import write_metadata
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.opset import DOMAIN, OPERATORS
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant.attention import Attention, AttentionCore
from ivit_onnx.quant.deferred import DeferredSoftmax
from ivit_onnx.quant.swin import WindowAttention
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.verification import verify
from networks import images, pixels, save_checkpoint, timm_network, timm_swin, uncalibrated_twin

BITS = st.sampled_from([7, 8, 15])
#: Networks, and the options of their export.
NETWORKS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "vit": (lambda: timm_network(depth=1), {"num_heads": 3}),
    "swin": (lambda: timm_swin(depths=(1, 1)), {"img_size": 32}),
}
OPERATOR = {
    "vit": ("IntTableAttention", "IntDeferredAttention"),
    "swin": ("IntTableWindowAttention", "IntDeferredWindowAttention"),
}


# The softmax as attributes and constants.


@given(
    product_scale=st.floats(-90, 77).map(lambda exponent: np.float64(10.0**exponent)),
    head_dim=st.sampled_from([1, 2, 3, 8, 32, 64, 80, 256]),
    keys=st.sampled_from([1, 2, 49, 197, 512, 513, 65535]),
    bits=BITS,
    largest_bias=st.sampled_from([0.0, 1e-30, 0.7, 16.0, 3e38]),
)
@settings(max_examples=200, deadline=None)
def test_attributes_are_in_the_contract(
    product_scale: np.float64, head_dim: int, keys: int, bits: int, largest_bias: float
) -> None:
    softmax = DeferredSoftmax(product_scale, head_dim, keys, bits, largest_bias)
    found = softmax.attributes()
    operator = OPERATORS["IntDeferredAttention"]
    ranges = {attribute.name: attribute for attribute in operator.attributes if attribute.name != "heads"}
    assert set(found) == set(ranges)
    for name, value in found.items():
        assert type(value) is int
        assert ranges[name].minimum <= value <= ranges[name].maximum
        assert not ranges[name].allowed or value in ranges[name].allowed
    (limit,) = operator.limits
    assert limit.form == "T*levels"
    assert keys * found["levels"] <= limit.maximum
    # As many as were asked for, unless twice as many would be too many.
    assert found["levels"] == 2**bits or (found["levels"] < 2**bits and 2 * keys * found["levels"] > limit.maximum)
    table = softmax.constants()["exponentials"]
    assert (table.dtype, table.shape, table[0]) == (np.int16, (256,), 32767)
    assert (np.diff(table) <= 0).all()
    biases = softmax.biases(np.array([[largest_bias, -largest_bias, 0.0]]))
    assert (biases.dtype, biases.shape, biases[0, 2]) == (np.int16, (1, 3), 0)


@pytest.mark.parametrize(
    ("head_dim", "shift"), [(1, 0), (2, 0), (3, 1), (4, 1), (32, 4), (64, 5), (65, 6), (128, 6), (256, 7)]
)
def test_products_of_bytes_fit_scores(head_dim: int, shift: int) -> None:
    """With the fewest bits lost; the product of two rows of -128 may be clamped by one."""
    softmax = DeferredSoftmax(np.float64(1e-4), head_dim, 50, 15)
    assert softmax.score_shift == shift
    assert softmax.scale == 1e-4 * 2**shift
    largest = head_dim * 128 * 128
    assert largest >> shift <= 2**15
    assert shift == 0 or largest >> shift - 1 > 2**15


@pytest.mark.parametrize(("largest_bias", "shift"), [(0.0, 5), (52.0, 5), (53.0, 6), (1e4, 13), (1e6, 15), (1e9, 15)])
def test_biases_are_half_of_what_scores_have_room_for(largest_bias: float, shift: int) -> None:
    """A scale of 1e-4 is 52.4 of real bias in 2^14 steps of 2^5; beyond a shift of 15 biases are clamped."""
    softmax = DeferredSoftmax(np.float64(1e-4), 64, 49, 15, largest_bias)
    assert softmax.score_shift == shift
    table = np.array([largest_bias, -largest_bias, largest_bias / 3])
    exact = np.rint(table / (1e-4 * 2**shift))
    assert np.array_equal(softmax.biases(table), np.clip(exact, -(2**15), 2**15 - 1))
    assert shift == 15 or np.abs(exact).max() <= 2**14


@given(exponent=st.floats(-9, 1), head_dim=st.sampled_from([1, 32, 64]))
@settings(max_examples=50, deadline=None)
def test_the_step_of_the_table_is_what_distances_are_counted_in(exponent: float, head_dim: int) -> None:
    """Entries are the exponentials of the real distances that fall into them, and 0 at the end that all others take."""
    softmax = DeferredSoftmax(np.float64(10.0**exponent), head_dim, 197, 15)
    table = softmax.constants()["exponentials"].astype(np.float64)
    distance = np.unique(np.geomspace(1, 32767, 2000).astype(np.int64))
    entry = (distance * softmax.multiplier + 2**14) >> 15
    real, step = distance * float(softmax.scale), float(softmax.scale) * 2**15 / softmax.multiplier
    inside = entry <= 255
    # Half a step away at most, and rounded.
    assert (table[entry[inside]] <= 32767 * np.exp(-(real[inside] - step / 2)) + 0.5).all()
    assert (table[entry[inside]] >= 32767 * np.exp(-(real[inside] + step / 2)) - 0.5).all()
    if not inside.all():
        assert table[255] == 0
        assert (32767 * np.exp(-real[~inside]) < 0.5).all()


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-10, 1e10, 1e38])
@pytest.mark.parametrize("family", NETWORKS)
def test_any_scale_of_queries_and_keys_has_integers(family: str, scale: float) -> None:
    core = core_of(family, 8)
    core.output.set_scale(scale)
    lowered = core.lower(np.float32(scale), np.float32(scale))
    operator = OPERATORS[OPERATOR[family][1]]
    assert lowered.operator == operator.name
    for attribute in operator.attributes:
        assert attribute.minimum <= lowered.attributes[attribute.name] <= attribute.maximum


# Training: values are those of the integers, gradients those of softmax.


def core_of(family: str, bits: int, *, head_dim: int = 16, shift: int = 1) -> AttentionCore:
    """An attention with tables: of 7 tokens, or in windows of 3 x 3, padded, on a grid of 4 x 5."""
    torch.manual_seed(bits)
    core: AttentionCore
    if family == "vit":
        core = Attention(2, head_dim, 7, bits)
    else:
        core = WindowAttention(2, head_dim, Size(4, 5), 3, shift, bits)
        torch.nn.init.normal_(core.relative_position_bias_table, std=0.7)
    core.set_nonlinear("table")
    core.output.set_scale(2.0**-5)
    return core


def inputs(family: str, core: AttentionCore, seed: int) -> list[Tensor]:
    """Integers: packed queries, keys and values, and those of a padding token."""
    generator = torch.Generator().manual_seed(seed)
    width = 3 * core.heads * core.head_dim
    spread = float(torch.rand((), generator=generator)) * 100 + 1
    tokens = (torch.randn(2, 7 if family == "vit" else 20, width, generator=generator) * spread).round()
    padding = (torch.randn(width, generator=generator) * 30).round()
    return [x.clamp(-127, 127) for x in ([tokens] if family == "vit" else [tokens, padding])]


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("head_dim", [4, 16])
@pytest.mark.parametrize("family", NETWORKS)
@given(seed=st.integers(0, 2**31), bits=BITS)
@settings(max_examples=15, deadline=None)
def test_training_has_the_values_of_the_integers(family: str, head_dim: int, shift: int, seed: int, bits: int) -> None:
    """But for halves. Scales that are powers of two make the real products exact."""
    core = core_of(family, bits, head_dim=head_dim, shift=shift)
    scale = torch.tensor(2.0**-4)
    x = inputs(family, core, seed)
    with torch.no_grad():
        expected = core.eval()(*(QuantTensor(array.long(), scale) for array in x)).value
        core.output.quantized = False
        steps = core.train()(*(QuantTensor(array * scale, scale) for array in x)).value / core.output.scale
    # The integers have contexts of 15 fractional bits.
    sure = (steps - steps.floor() - 0.5).abs() > 2.0**-12
    assert torch.equal(steps.round().clamp(-128, 127)[sure].long(), expected[sure])
    assert sure.float().mean() > 0.5


@pytest.mark.parametrize("family", NETWORKS)
def test_gradients_are_those_of_attention_in_floating_point(family: str) -> None:
    core = core_of(family, 15).train()
    scale = torch.tensor(2.0**-6)
    x = inputs(family, core, 3)
    found, real = ([(array * scale).requires_grad_() for array in x] for _ in range(2))
    y = core(*(QuantTensor(array, scale) for array in found)).value
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(g)
    biases = [] if family == "vit" else [core.relative_position_bias_table]
    given_gradients = [array.grad for array in (*found, *biases)]
    core.zero_grad()
    core.quantized = core.output.quantized = False
    for point in core.scaled_scores():
        point.quantized = False
    if isinstance(core, WindowAttention):
        core.table.quantized = False
    core(*(QuantTensor(array, scale) for array in real)).value.backward(g)
    for gradient, exact in zip(given_gradients, (array.grad for array in (*real, *biases)), strict=True):
        assert gradient is not None
        assert exact is not None
        assert float(exact.norm()) > 0
        assert float((gradient - exact).norm()) < 0.02 * float(exact.norm())


# Files, and the states in them.


@pytest.fixture(scope="module", params=NETWORKS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(NETWORKS[family][0](), tmp_path_factory.mktemp("checkpoint") / f"{family}.pt")


def load(checkpoint: Path) -> Checkpoint:
    return load_checkpoint(checkpoint, heads=3 if checkpoint.stem == "vit" else None, image_size=32)


def calibrated(checkpoint: Path, *, deferred: bool) -> Twin:
    loaded = load(checkpoint)
    twin = from_checkpoint(loaded, loaded.preprocess()[0], None, "table")
    for site in twin.sites().attention:
        site.core.deferred.fill_(deferred)
    for mlp in twin.sites().mlp if not deferred else ():
        mlp.module.token_scales.zero_()
    apply_calibration(twin, collect_statistics(twin, images(8), "test"), recipe("fast"))
    return twin


def write(twin: Twin, checkpoint: Path, path: Path) -> Path:
    """The file of a twin, as `export` writes it."""
    graph, scale = build_graph(twin, "uint8")
    metadata = write_metadata(twin, load(checkpoint).fingerprint, "uint8", scale, {}, flat=False)
    save(finish(graph, metadata, flat=False, producer_version=""), path)
    return path


def attentions(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node if "Attention" in node.op_type}


def marks(state: dict[str, Any]) -> list[Any]:
    return [value for name, value in state.items() if name.endswith(".deferred")]


def version_of(path: Path) -> tuple[str, set[int]]:
    """What the metadata says, and what the graph and its functions import."""
    model = onnx.load(path)
    imports = [model.opset_import, *(function.opset_import for function in model.functions)]
    return read_metadata(path)["ivit.opset"], {i.version for group in imports for i in group if i.domain == DOMAIN}


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_versions_are_what_files_need(family: str, checkpoint: Path, tmp_path: Path, flat: bool) -> None:
    """The flat form inlines attention: its operators are all of version 1."""
    options = {"calib": list(pixels(2)), "calib_preset": "fast", "flat": flat, **NETWORKS[family][1]}
    for nonlinear, version in (("ivit", 1), ("table", 1 if flat else 2)):
        path = tmp_path / f"{nonlinear}.onnx"
        export(checkpoint, path, nonlinear=nonlinear, **options)
        assert version_of(path) == (str(version), {version})
        state = json.loads(read_metadata(path)["ivit.quantization"])
        blocks = len(load_twin(path, checkpoint).sites().attention)
        assert marks(state) == ([1] * blocks if nonlinear == "table" else [])
        assert attentions(path) == (
            set()
            if flat
            else {OPERATOR[family][1] if nonlinear == "table" else OPERATOR[family][0].replace("Table", "")}
        )


def test_a_state_without_marks_is_the_operator_of_before(family: str, checkpoint: Path, tmp_path: Path) -> None:
    """Its integers are not those of deferred attention, and all implementations have them."""
    deferred, plain = (calibrated(checkpoint, deferred=deferred) for deferred in (True, False))
    state = plain.quantization_state()
    assert marks(state) == []
    image = pixels(3)
    with torch.inference_mode():
        expected, other = plain(torch.from_numpy(image)).numpy(), deferred(torch.from_numpy(image)).numpy()
    assert not np.array_equal(expected, other)
    path = write(plain, checkpoint, tmp_path / "old.onnx")
    assert attentions(path) == {OPERATOR[family][0]}
    assert version_of(path) == ("1", {1})
    loaded = load_twin(path, checkpoint)
    assert loaded.quantization_state() == state
    assert loaded.nonlinear == "table"
    assert verify(path, checkpoint, count=2).passed
    for how in ({"kernels": False}, {"kernels": True}, {"provider": "ivit-cpu"}):
        found = ivit_onnx.create_session(path, **how).run(None, {"image": image})[0]
        np.testing.assert_array_equal(found, expected)
    # A twin that was deferred takes it too.
    deferred.load_quantization_state(state)
    with torch.inference_mode():
        np.testing.assert_array_equal(deferred(torch.from_numpy(image)).numpy(), expected)


def test_each_layer_has_its_own_mark(checkpoint: Path, family: str, tmp_path: Path) -> None:
    """A file with both operators: what version 2 has is needed."""
    twin = calibrated(checkpoint, deferred=False)
    last = twin.sites().attention[-1].core
    last.deferred.fill_(1)
    state = twin.quantization_state()
    assert [name for name in state if name.endswith(".deferred")] == [f"{last.path}.deferred"]
    path = write(twin, checkpoint, tmp_path / "m.onnx")
    assert attentions(path) == {*OPERATOR[family]} if family == "swin" else {OPERATOR[family][1]}
    assert version_of(path) == ("2", {2})
    assert load_twin(path, checkpoint).quantization_state() == state
    assert verify(path, checkpoint, count=2).passed


@pytest.mark.parametrize(
    ("nonlinear", "value", "message"),
    [
        ("table", 2, r"expected 1 \(deferred\) or 0, found 2"),
        ("table", -1, r"expected 1 \(deferred\) or 0, found -1"),
        ("table", 0.5, r"expected 1 \(deferred\) or 0, found 0.5"),
        ("table", float("nan"), r"expected 1 \(deferred\) or 0, found nan"),
        ("table", True, "expected a number, found True"),
        ("table", "1", "expected a number, found '1'"),
        ("table", None, "expected a number, found None"),
        ("ivit", 1, "expected 0, as shifts are not deferred, found 1"),
    ],
)
def test_other_marks_are_refused(nonlinear: Nonlinear, value: Any, message: str) -> None:
    twin = uncalibrated_twin(nonlinear=nonlinear)
    state = dict.fromkeys(twin.quantization_state(), 0)
    name = "blocks.1.attn.core.deferred"
    with pytest.raises(CalibrationError, match=rf"^blocks\.1\.attn\.core\.deferred: {message}"):
        twin.load_quantization_state({**state, name: value})
    twin.load_quantization_state({**state, name: 0})
    assert marks(twin.quantization_state()) == []


def test_a_mark_of_another_place_is_refused() -> None:
    twin = uncalibrated_twin(nonlinear="table")
    with pytest.raises(CalibrationError, match=r"first difference: blocks\.0\.mlp\.deferred"):
        twin.load_quantization_state({**twin.quantization_state(), "blocks.0.mlp.deferred": 1})


@pytest.mark.parametrize("deferred", [True, False])
def test_trained_checkpoints_keep_their_attention(
    family: str, checkpoint: Path, tmp_path: Path, deferred: bool
) -> None:
    """A checkpoint of ivit-train from before there were marks is exported as it was trained."""
    twin = calibrated(checkpoint, deferred=deferred)
    state, path, model = twin.quantization_state(), tmp_path / "trained.safetensors", tmp_path / "m.onnx"
    trained = Trained(twin.arch, twin.preprocess, twin.softmax_bits, "table", state)
    write_trained(path, twin.timm_weights(), trained)
    report = export(path, model)
    assert report.calibration["method"] == "checkpoint"
    assert attentions(model) == {OPERATOR[family][deferred]}
    assert json.loads(read_metadata(model)["ivit.quantization"]) == state
    assert verify(model, path, count=2).passed
    image = pixels(2)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(ivit_onnx.create_session(model).run(None, {"image": image})[0], expected)


def test_a_mark_with_the_functions_of_the_paper_is_damage(tmp_path: Path) -> None:
    twin = uncalibrated_twin(nonlinear="ivit")
    state = {**dict.fromkeys(twin.quantization_state(), 1), "blocks.0.attn.core.deferred": 1}
    state |= {name: 0 for name in state if name.endswith(".zero_point")}
    path = tmp_path / "trained.safetensors"
    write_trained(path, twin.timm_weights(), Trained(twin.arch, twin.preprocess, 15, "ivit", state))
    message = r"damaged metadata of a checkpoint of ivit-train: blocks\.0\.attn\.core\.deferred: expected 0"
    with pytest.raises(CheckpointError, match=message):
        export(path, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


# Calibration.


def test_scores_that_have_no_scale_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """And statistics are the same, so that a cache serves every kind of functions."""
    searched: list[str] = []

    def search(core: AttentionCore, reference: Any, largest: float, outgoing: Tensor) -> float:
        searched.append(core.path)
        return largest

    monkeypatch.setattr("ivit_onnx.calibration.apply.score_range", search)
    monkeypatch.setattr("ivit_onnx.calibration.apply.COARSE", 0.0)
    found = {}
    for nonlinear in ("ivit", "table"):
        twin = uncalibrated_twin(nonlinear=nonlinear)
        found[nonlinear] = statistics = collect_statistics(twin, images(4), "test")
        apply_calibration(twin, statistics, recipe("default"))
        assert searched == ["blocks.0.attn.core", "blocks.1.attn.core"]
        idle = set(twin.activations()) - set(twin.used_activations())
        scores = {f"blocks.{block}.attn.core.score" for block in (0, 1)}
        assert idle == (scores if nonlinear == "table" else set())
    assert found["ivit"].histograms.keys() == found["table"].histograms.keys()
    for name, histogram in found["ivit"].histograms.items():
        other = found["table"].histograms[name]
        assert histogram.maximum == other.maximum
        assert np.array_equal(histogram.counts, other.counts)


def test_learned_scales_leave_out_scores() -> None:
    twin = uncalibrated_twin(nonlinear="table")
    apply_calibration(twin, collect_statistics(twin, images(4), "test"), recipe("fast"))
    twin.learn_scales()
    learned = {name for name, point in twin.activations().items() if point.log_scale is not None}
    assert {f"blocks.{block}.attn.core.output" for block in (0, 1)} <= learned
    assert not [name for name in learned if name.endswith(".score")]
