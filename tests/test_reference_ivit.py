"""Checkpoints of the reference I-ViT code: the integers of its simulation, computed exactly, everywhere.

The reference (digits_eval_deit.npz) holds, for a checkpoint that the reference code trained, the integers of an exact
int64 evaluation of it at every quantisation point (`exact_num2p31/<module>`, four images), its logits as real numbers
(`logits_exact_num2p31`, 64 images) and the logits of its float32 simulation (`logits_official`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx_ir.passes import common

from commands import installed
from ivit_onnx.api import calibrate, export, load_twin, read_metadata
from ivit_onnx.architectures import KNOWN, Preprocess, reference_ivit_preprocess
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.errors import CalibrationError, CheckpointError, ModelError
from ivit_onnx.models import from_checkpoint
from ivit_onnx.opset import DOMAIN, OPERATORS
from networks import DATA
from reference_ivit import quantized_images, recorded_integers
from sessions import session

CHECKPOINT = DATA / "deit_micro_ivit.pth.tar"

Array = np.ndarray[Any, Any]
StateDict = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def reference() -> dict[str, Array]:
    with np.load(DATA / "digits_eval_deit.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference_ivit") / "model.onnx"
    export(CHECKPOINT, path, num_heads=2, input="int8")
    return path


@pytest.fixture(scope="module")
def images(reference: dict[str, Array]) -> Array:
    return quantized_images(reference)


@pytest.fixture
def state_dict() -> StateDict:
    return dict(torch.load(CHECKPOINT, weights_only=True))


def quantisation_points() -> list[str]:
    """The reference modules in the order in which the network computes their integers."""
    block = (
        *("qact1", "attn.qact1", "attn.qact_attn1", "attn.qact2", "attn.qact3", "qact2"),
        *("qact3", "mlp.qact_gelu", "mlp.qact1", "mlp.qact2", "qact4"),
    )
    return ["patch_embed.qact", "qact1", *(f"blocks.{index}.{name}" for index in range(3) for name in block), "qact2"]


def assert_points_equal(found: Iterator[Array], reference: dict[str, Array]) -> None:
    """Each of `found`, in order, is what the reference has at the next quantisation point."""
    for name, array in zip(quantisation_points(), found, strict=True):
        expected = reference[f"exact_num2p31/{name}"].astype(np.int64)
        if name == "qact1" and array.shape != expected.shape:  # the patches, before the class token is put in front
            expected = expected[:, 1:]
        if name.endswith("attn.qact2") and array.ndim == 4:  # before the heads are merged
            array = array.transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(array.reshape(expected.shape), expected, err_msg=name)


def test_the_reference_has_these_points_and_no_other(reference: dict[str, Array]) -> None:
    recorded = {name.removeprefix("exact_num2p31/") for name in reference if name.startswith("exact_num2p31/")}
    assert recorded == {*quantisation_points(), "qact_input", "qact_pos"}
    assert len(recorded) == 38


def test_scales_are_those_of_the_file(model: Path, reference: dict[str, Array]) -> None:
    twin = load_twin(model, CHECKPOINT)
    scales = load_checkpoint(CHECKPOINT, heads=2).scales
    assert scales is not None
    assert scales.keys() == twin.activations().keys()
    assert sorted(scales.values()) == sorted(float(array) for name, array in reference.items() if "scale/" in name)


def test_every_integer_of_the_twin(
    model: Path, images: Array, reference: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recorded_integers(monkeypatch)
    twin = load_twin(model, CHECKPOINT)
    with torch.inference_mode():
        twin(torch.from_numpy(images[:4]))
    assert_points_equal(iter(found[:-1]), reference)  # the last ones are the logits
    expected = reference["exact_num2p31/qact_pos"][0]
    np.testing.assert_array_equal(twin.patch_embed.position_integers(), expected)


def opened(path: Path) -> onnx.ModelProto:
    """The model with composites replaced by their bodies, down to operators of one quantisation point each, and these
    as outputs."""
    model = ir.load(path)
    whole = {"IntLinear", "IntLinear16", "IntLinear32"}
    open_ = {name for name, operator in OPERATORS.items() if operator.composite and name not in whole}
    common.InlinePass(criteria=lambda function: function.domain == DOMAIN and function.name in open_)(model)
    points = ("Requantize", "AddRequantize", "IntLayerNorm", "IntLinear", "IntLinear16")
    for node in model.graph:
        if node.op_type in points or node.outputs[0].name == "patch_embed":
            model.graph.outputs.append(node.outputs[0])
    return ir.to_proto(model)


@pytest.mark.parametrize("kernels", [False, True], ids=["function bodies", "library"])
def test_every_integer_in_onnxruntime(model: Path, images: Array, reference: dict[str, Array], kernels: bool) -> None:
    outputs = session(opened(model), kernels=kernels).run(None, {"image": images[:4]})
    assert_points_equal(iter(outputs[1:]), reference)


@pytest.mark.parametrize("kernels", [False, True], ids=["function bodies", "library"])
def test_every_integer_between_composites(
    model: Path, images: Array, reference: dict[str, Array], kernels: bool
) -> None:
    """The model as it is: what its composite operators hand to each other."""
    proto = onnx.load(model)
    points = {"patch_embed": "qact1"}
    for block in (f"blocks.{index}." for index in range(3)):
        points |= {
            f"{block}norm1": f"{block}qact1",
            f"{block}attn.qkv": f"{block}attn.qact1",
            f"{block}attn.core": f"{block}attn.qact2",
            f"{block}attn.proj": f"{block}qact2",
            f"{block}norm2": f"{block}qact3",
            f"{block}mlp": f"{block}qact4",
        }
    points["features"] = "qact2"
    infos = {info.name: info for info in proto.graph.value_info}
    proto.graph.output.extend(infos[name] for name in points)
    found = session(proto, kernels=kernels).run(None, {"image": images[:4]})[1:]
    for name, array in zip(points.values(), found, strict=True):
        np.testing.assert_array_equal(array, reference[f"exact_num2p31/{name}"], err_msg=name, strict=True)


def test_logits(model: Path, images: Array, reference: dict[str, Array]) -> None:
    """Accumulators of the head are exactly those of the reference, in every implementation.

    The reference gives accumulator * scale of the class as a real number. The graph gives int32 logits of one scale
    for all classes: each is the accumulator's nearest multiple of it, so the integers have to be exactly those that
    IntLinear32 makes of the reference's accumulators.
    """
    twin = load_twin(model, CHECKPOINT)
    head = twin.head.lower(twin.feature_activation.number("norm"))
    weight, bias, scale = twin.head.quantize_linear(*twin.head.combined(), twin.feature_activation.number("norm"))
    exact = reference["logits_exact_num2p31"]
    accumulators = exact / scale.astype(np.float64)
    assert np.abs(accumulators - np.rint(accumulators)).max() < 1e-3
    accumulators = np.rint(accumulators).astype(np.int32)
    expected = OPERATORS["Requantize32"].reference(accumulators, head.constants["multiplier"], head.constants["shift"])

    with torch.inference_mode():
        features = twin.features(torch.from_numpy(images)).value.numpy()
        found = twin(torch.from_numpy(images)).numpy()
    np.testing.assert_array_equal(features @ weight.astype(np.int64) + bias, accumulators)
    np.testing.assert_array_equal(found, expected)
    for kernels in (False, True):
        (logits,) = session(onnx.load(model), kernels=kernels).run(None, {"image": images})
        np.testing.assert_array_equal(logits, expected, strict=True)

    error = np.abs(expected * float(head.scale) - exact).max()
    assert error <= head.scale  # half a step from rounding, less than that from the 31 bits of the multiplier
    assert (expected.argmax(1) == reference["logits_official"].argmax(1)).sum() == 64


def test_export_and_verify_with_the_commands(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    done = installed("export", CHECKPOINT, "-o", output, "--num-heads", "2", "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert report["calibration"] == {"method": "checkpoint", "images": 0}
    done = installed("verify", output, "--against", CHECKPOINT, "--json", "--count", "4")
    assert done.status == 0, done.err
    assert json.loads(done.out)["passed"]


def test_softmax_bits(tmp_path: Path) -> None:
    """15 as in the reference code, unless the user says otherwise."""
    for bits, option in ((15, {}), (7, {"softmax_bits": 7})):
        export(CHECKPOINT, tmp_path / "model.onnx", num_heads=2, force=True, **option)
        assert read_metadata(tmp_path / "model.onnx")["ivit.softmax_bits"] == str(bits)
        assert load_twin(tmp_path / "model.onnx", CHECKPOINT).softmax_bits == bits


@pytest.mark.parametrize("options", [{"calib": [np.zeros((3, 32, 32), np.float32)]}, {"calib_cache": "cache"}])
def test_calibration_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match=r"has the scales of its activations .* leave out --calib"):
        export(CHECKPOINT, tmp_path / "model.onnx", num_heads=2, **options)
    with pytest.raises(CalibrationError, match="has the scales"):
        calibrate(CHECKPOINT, [np.zeros((3, 32, 32), np.float32)], num_heads=2)
    assert not any(tmp_path.iterdir())


def saved(state_dict: StateDict, path: Path) -> Path:
    torch.save(state_dict, path)
    return path


def test_shapes_of_scales_and_stale_integers_do_not_matter(tmp_path: Path, state_dict: StateDict) -> None:
    shapes = ((), (1,), (5,))
    for index, name in enumerate([name for name in state_dict if name.endswith("act_scaling_factor")]):
        state_dict[name] = state_dict[name].reshape(()).expand(shapes[index % 3]).clone()
    for name in state_dict:
        if name.endswith("_integer"):
            state_dict[name] = torch.full_like(state_dict[name], float("nan"))
    path = saved(state_dict, tmp_path / "other.pth.tar")
    assert load_checkpoint(path, heads=2).fingerprint == load_checkpoint(CHECKPOINT, heads=2).fingerprint


def test_scales_belong_to_the_fingerprint(tmp_path: Path, model: Path, state_dict: StateDict) -> None:
    state_dict["qact1.act_scaling_factor"] *= 2
    with pytest.raises(ModelError, match="fingerprint"):
        load_twin(model, saved(state_dict, tmp_path / "other.pth.tar"))


def set_scale(module: str, value: torch.Tensor) -> Callable[[StateDict], None]:
    return lambda state_dict: state_dict.__setitem__(f"{module}.act_scaling_factor", value)


def zero_all(state_dict: StateDict) -> None:
    for name in state_dict:
        if name.endswith("act_scaling_factor"):
            state_dict[name] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (zero_all, "was never calibrated: all its activation scales .* are zero"),
        (set_scale("blocks.1.qact3", torch.zeros(1)), r"blocks\.1\.qact3.*found 0; this module was never calibrated"),
        (set_scale("qact_pos", torch.tensor(float("nan"))), "qact_pos.*expected a positive scale, found nan"),
        (set_scale("qact1", torch.tensor([0.1, 0.2])), "qact1.*expected one scale, found 2"),
        (set_scale("blocks.0.qact9", torch.ones(1)), r"not supported yet: quantisation at blocks\.0\.qact9"),
        (lambda state_dict: state_dict.pop("qact2.act_scaling_factor"), "tensor qact2.act_scaling_factor is missing"),
    ],
)
def test_bad_scales(tmp_path: Path, state_dict: StateDict, change: Callable[[StateDict], None], message: str) -> None:
    change(state_dict)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved(state_dict, tmp_path / "bad.pth.tar"), heads=2)


def test_channels_without_a_bias_in_the_reference_ivit_code(tmp_path: Path, state_dict: StateDict) -> None:
    """gamma = 0 leaves beta alone, and a gamma so small that floor(beta / gamma) does not fit is no error."""
    state_dict["norm.weight"][:2] = torch.tensor([0.0, 1e-30])
    state_dict["norm.bias"][:2] = 0.5
    path = saved(state_dict, tmp_path / "zero.pth.tar")
    twin = from_checkpoint(load_checkpoint(path, heads=2), Preprocess(32))
    with torch.inference_mode():
        features = twin.features(torch.from_numpy(np.zeros((1, 3, 32, 32), np.int8)))
    expected = round(0.5 / float(features.scale))
    assert features.value[0, :2].tolist() == [expected, expected]


def test_images_are_prepared_as_the_reference_ivit_code_does() -> None:
    """For every model of ImageNet, ViT included: ImageNet's mean and std, 256 pixels cropped to 224."""
    preprocess, notes = reference_ivit_preprocess(KNOWN["vit_base_patch16_224"])
    assert (preprocess.resize, preprocess.size, preprocess.mean[0], notes) == ((256, 256), (224, 224), 0.485, [])
    assert "--mean" in load_checkpoint(CHECKPOINT, heads=2).preprocess()[1][0]
