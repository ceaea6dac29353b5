"""Swin: the float network it came from, the same integers everywhere, checkpoints in both namings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.swin_transformer import SwinTransformerBlock, get_relative_position_index, window_partition

import ivit_onnx
from ivit_onnx.api import export, load_twin
from ivit_onnx.architectures import SwinArchitecture, known_architecture
from ivit_onnx.checkpoints import load_checkpoint, read_architecture
from ivit_onnx.errors import CheckpointError
from ivit_onnx.models import SwinTransformer, from_timm
from ivit_onnx.opset import DOMAIN, merged_tokens, token_places, window_offsets, window_regions, window_tokens
from ivit_onnx.options.choices import Nonlinear
from networks import (
    DATA,
    DIGITS_MEAN,
    DIGITS_STD,
    digits,
    gradients_of_training,
    images,
    pixels,
    save_checkpoint,
    timm_swin,
)

FLOAT = DATA / "swin_micro_timm_fp.pth"

Array = np.ndarray[Any, Any]

#: Windows that divide the grid; windows that do not, on grids that are odd; windows of other sizes a stage.
SHAPES: dict[str, dict[str, Any]] = {
    "whole": {"img_size": 32, "window_size": 4},
    "padded": {"img_size": 36, "window_size": 4},
    "mixed": {"img_size": 40, "window_size": [(5, 5), (3, 3), (7, 7)], "depths": (2, 1, 1), "num_heads": (2, 4, 8)},
}


def images_of(network: TimmSwin, count: int, seed: int) -> torch.Tensor:
    """Smooth normalised images of the network's size."""
    size = network.patch_embed.img_size[0]
    small = torch.from_numpy(np.stack(images(count, seed=seed)))
    return torch.nn.functional.interpolate(small, size=size)


@pytest.fixture(scope="module", params=SHAPES)
def network(request: pytest.FixtureRequest) -> TimmSwin:
    return timm_swin(**SHAPES[request.param])


@pytest.fixture(scope="module")
def checkpoint(network: TimmSwin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(network, tmp_path_factory.mktemp("swin") / "model.pth")


def export_small(network: TimmSwin, checkpoint: Path, output: Path, **options: Any) -> Path:
    size = network.patch_embed.img_size[0]
    export(checkpoint, output, calib=list(images_of(network, 16, 0).numpy()), img_size=size, **options)
    return output


@given(st.data())
def test_windows_are_those_of_timm(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    window = data.draw(st.integers(1, min(height, width)))
    shift = data.draw(st.integers(0, window - 1))
    down, across = -height % window, -width % window
    grid = torch.arange(height * width).reshape(1, height, width, 1)
    shifted = torch.roll(grid, (-shift, -shift), (1, 2))
    padded = torch.nn.functional.pad(shifted, (0, 0, 0, across, 0, down), value=height * width)
    expected = window_partition(padded, (window, window)).flatten(1).numpy()
    tokens = window_tokens(height, width, window, shift)
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(tokens.ravel()[token_places(height, width, window, shift)], grid.ravel())
    if shift:
        block = SwinTransformerBlock(8, (height, width), 1, window_size=window, shift_size=shift, always_partition=True)
        regions = window_regions(height, width, window, shift)
        np.testing.assert_array_equal(regions[:, None] == regions[:, :, None], (block.attn_mask == 0).numpy())
    np.testing.assert_array_equal(window_offsets(window), get_relative_position_index(window, window).numpy())


@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_merged_tokens_are_those_of_timm(height: int, width: int) -> None:
    x = torch.nn.functional.pad(
        torch.arange(height * width).reshape(1, height, width, 1), (0, 0, 0, width % 2, 0, height % 2), value=-1
    )
    _, rows, columns, _ = x.shape
    expected = x.reshape(1, rows // 2, 2, columns // 2, 2, 1).permute(0, 1, 3, 4, 2, 5).reshape(-1, 4).numpy()
    found = merged_tokens(height, width)
    np.testing.assert_array_equal(np.where(found == height * width, -1, found), expected)


def test_floating_point_mode_is_the_timm_network(network: TimmSwin) -> None:
    twin = from_timm(network)
    twin.set_quantized(False)
    x = images_of(network, 3, seed=1)
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-4)


def test_integers_follow_the_float_network(network: TimmSwin, checkpoint: Path, tmp_path: Path) -> None:
    x = images_of(network, 32, seed=2)
    for bits in (8, 15):
        path = export_small(network, checkpoint, tmp_path / f"{bits}.onnx", softmax_bits=bits)
        twin = load_twin(path, checkpoint)
        with torch.inference_mode():
            exact, found = network(x), twin(x) * twin.output_scale
        noise = (found - exact).pow(2).mean() / exact.pow(2).mean()
        assert noise < 0.02, f"signal to noise ratio {-10 * noise.log10():.1f} dB"


@pytest.mark.parametrize("softmax_bits", [7, 8, 15])
def test_the_same_integers_everywhere(
    network: TimmSwin,
    checkpoint: Path,
    tmp_path: Path,
    softmax_bits: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IVIT_EP_LOG", "1")
    models = {
        flat: export_small(network, checkpoint, tmp_path / f"{flat}.onnx", softmax_bits=softmax_bits, flat=flat)
        for flat in (False, True)
    }
    twin = load_twin(models[False], checkpoint)
    for batch in (1, 3):
        image = pixels(batch, seed=batch, size=network.patch_embed.img_size[0])
        with torch.inference_mode():
            expected = twin(torch.from_numpy(image)).numpy()
        for flat, kernels, threads in itertools.product((False, True), (False, True), (1, 2)):
            session = ivit_onnx.create_session(str(models[flat]), kernels=kernels, threads=threads)
            (found,) = session.run(None, {"image": image})
            np.testing.assert_array_equal(found, expected, err_msg=f"{flat=} {kernels=} {threads=} {batch=}")
        for flat, model in models.items():
            (found,) = ivit_onnx.create_session(model, provider="ivit-cpu").run(None, {"image": image})
            np.testing.assert_array_equal(found, expected, err_msg=f"{flat=} {batch=}")
            log = capfd.readouterr().err
            assert log.count("ivit: compiles") == 1
            assert "ivit: leaves" not in log


@pytest.mark.parametrize("input_type", ["int8", "float32"])
def test_input_types(tmp_path: Path, input_type: str) -> None:
    network = timm_swin()
    checkpoint = save_checkpoint(network, tmp_path / "model.pth")
    path = export_small(network, checkpoint, tmp_path / "model.onnx", input=input_type)
    image = images_of(network, 2, seed=3).numpy()
    if input_type == "int8":
        image = pixels(2).view(np.int8)
    with torch.inference_mode():
        expected = load_twin(path, checkpoint)(torch.from_numpy(image)).numpy()
    for kernels in (False, True):
        (found,) = ivit_onnx.create_session(str(path), kernels=kernels).run(None, {"image": image})
        np.testing.assert_array_equal(found, expected)


def test_without_a_head_there_are_features(tmp_path: Path) -> None:
    network = timm_swin(num_classes=0)
    checkpoint = save_checkpoint(network, tmp_path / "model.pth")
    path = export_small(network, checkpoint, tmp_path / "model.onnx")
    twin, image = load_twin(path, checkpoint), pixels(3)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(image)).numpy()
        exact = network(images_of(network, 8, seed=4))
        error = (twin(images_of(network, 8, seed=4)) * twin.output_scale - exact).abs().max()
    assert error < 0.1 * exact.abs().max()
    for kernels in (False, True):
        session = ivit_onnx.create_session(str(path), kernels=kernels)
        assert [output.name for output in session.get_outputs()] == ["features"]
        np.testing.assert_array_equal(session.run(None, {"image": image})[0], expected)


@pytest.mark.parametrize(
    ("nonlinear", "attention"), [("ivit", "IntWindowAttention"), ("table", "IntDeferredWindowAttention")]
)
def test_form_of_the_graph(
    network: TimmSwin, checkpoint: Path, tmp_path: Path, nonlinear: Nonlinear, attention: str
) -> None:
    """Four nodes a block, one a stage, and shapes known but for the batch."""
    model = onnx.load(export_small(network, checkpoint, tmp_path / "m.onnx", nonlinear=nonlinear))
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert {node.domain for node in model.graph.node} == {DOMAIN}
    assert {"IntPixelEmbedNorm16", attention, "IntPatchMerge", "IntTokenMean", "IntLinear32"} <= kinds
    stages, blocks = len(network.layers), sum(len(stage.blocks) for stage in network.layers)
    assert len(model.graph.node) == 4 * blocks + stages + (stages - 1) + 4
    shapes = {info.name: info.type.tensor_type.shape.dim for info in [*model.graph.value_info, *model.graph.output]}
    for name in (name for node in model.graph.node for name in node.output):
        assert shapes[name][0].dim_param == "batch", name
        assert all(dim.dim_value or dim.dim_param for dim in shapes[name]), name


def test_digits_accuracy_is_within_a_point_of_float(tmp_path: Path) -> None:
    levels, labels, test = digits()
    train = np.setdiff1d(np.arange(len(levels)), test)[:128]
    path = tmp_path / "m.onnx"
    export(FLOAT, path, calib=levels[train], img_size=32, mean=DIGITS_MEAN, std=DIGITS_STD)
    twin = load_twin(path, FLOAT)
    (logits,) = ivit_onnx.create_session(str(path)).run(None, {"image": levels[test]})
    twin.set_quantized(False)
    with torch.inference_mode():
        exact = twin(torch.from_numpy(levels[test])).argmax(1).numpy()
    accuracy, exact_accuracy = ((found == labels[test]).mean() for found in (logits.argmax(1), exact))
    assert exact_accuracy == pytest.approx(0.9556, abs=1e-4)
    assert accuracy >= exact_accuracy - 0.01


def test_training_mode_follows_the_integers_and_reaches_every_parameter(tmp_path: Path) -> None:
    network = timm_swin(**SHAPES["padded"])
    checkpoint = save_checkpoint(network, tmp_path / "model.pth")
    twin = load_twin(export_small(network, checkpoint, tmp_path / "m.onnx"), checkpoint)
    x = images_of(network, 8, seed=3)
    for name, gradient in gradients_of_training(twin, x).items():
        assert gradient.abs().sum() > 0, f"{name} gets no gradient"


def original_names(network: TimmSwin) -> dict[str, torch.Tensor]:
    """The state_dict as the original code has it, buffers included."""
    state_dict = {}
    for name, tensor in network.state_dict().items():
        if match := re.match(r"layers\.(\d+)\.downsample(.*)", name):
            name = f"layers.{int(match[1]) - 1}.downsample{match[2]}"
        state_dict[name.replace("head.fc.", "head.")] = tensor
    for index, stage in enumerate(network.layers):
        for number, block in enumerate(stage.blocks):
            path = f"layers.{index}.blocks.{number}"
            state_dict[f"{path}.attn.relative_position_index"] = block.attn.relative_position_index
            if block.attn_mask is not None:
                state_dict[f"{path}.attn_mask"] = block.attn_mask
    return state_dict


def test_the_original_naming_is_the_same_model(tmp_path: Path) -> None:
    network = timm_swin()
    ours = save_checkpoint(network, tmp_path / "timm.pth")
    torch.save({"model": original_names(network), "epoch": 3}, tmp_path / "original.pth")
    original = load_checkpoint(tmp_path / "original.pth")
    assert (original.arch.image_size, original.warnings) == ((32, 32), ())
    assert original.fingerprint == load_checkpoint(ours, image_size=32).fingerprint
    export_small(network, tmp_path / "original.pth", tmp_path / "m.onnx")
    assert isinstance(load_twin(tmp_path / "m.onnx", ours), SwinTransformer)


def test_image_size_of_a_checkpoint(tmp_path: Path) -> None:
    network = timm_swin()
    path = save_checkpoint(network, tmp_path / "model.pth")
    assumed = load_checkpoint(path)
    assert assumed.arch.image_size == (224, 224)
    assert "--img-size" in assumed.warnings[0]
    assert load_checkpoint(path, image_size=48).arch.name == "swin_custom_patch4_window4_48"
    with torch.device("meta"):
        meta = TimmSwin(embed_dim=96).state_dict()
    assert read_architecture(meta).name == "swin_tiny_patch4_window7_224"
    assert read_architecture(meta, image_size=256).name == "swin_custom_patch4_window7_256"


def change(name: str, value: Any) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda state_dict: state_dict.__setitem__(name, value)


MASK = "layers.0.blocks.1.attn_mask"
INDEX = "layers.0.blocks.0.attn.relative_position_index"


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (change("layers.0.blocks.0.attn.logit_scale", torch.ones(2)), {}, "not supported yet: Swin V2"),
        (change("absolute_pos_embed", torch.ones(1, 64, 16)), {}, "not supported yet: an absolute position embedding"),
        (change("layers.0.blocks.0.attn.relative_position_bias_table", torch.ones(15, 2)), {}, "windows .* not square"),
        (change("layers.1.blocks.1.attn.relative_position_bias_table", torch.ones(25, 4)), {}, r"expected \[49, 4\]"),
        (change(MASK, torch.zeros(4, 16, 16)), {}, f"{MASK} is not what follows from windows of 4 tokens"),
        (change(INDEX, torch.zeros(16, 16)), {}, f"{INDEX} is not what follows"),
        (change(INDEX, torch.zeros(16, 16).to_sparse()), {}, f"{INDEX} is not what follows"),
        (change(INDEX, torch.zeros(16, 16, device="meta")), {}, f"{INDEX} is not what follows"),
        (change(INDEX, torch.zeros(16, 16, dtype=torch.complex64)), {}, f"{INDEX} is not what follows"),
        (change("layers.0.blocks.0.mlp.fc1.weight", torch.ones(40, 16)), {}, "feed-forward layers of 40 channels"),
        (change("patch_embed.proj.weight", torch.ones(16, 1, 4, 4)), {}, "images of 1 channels"),
        (lambda s: s.pop("patch_embed.norm.weight"), {}, "patch embedding has no normalisation"),
        (lambda s: s.pop("head.weight"), {}, "not supported yet: tensor head.fc.bias"),
        (lambda s: None, {"act": "quick_gelu"}, "a Swin with quick_gelu"),
        (lambda s: s.pop("norm.bias"), {}, "tensor norm.bias is missing"),
        (lambda s: None, {"heads": 2}, "heads of a Swin are read from the file"),
        (lambda s: None, {"image_size": 64}, "is not what follows .* for images of 64 x 64 pixels"),
        (lambda s: None, {"arch": "swin_tiny_patch4_window7_224"}, "the file is not swin_tiny_patch4_window7_224"),
        (lambda s: None, {"arch": "deit_tiny_patch16_224"}, "family is swin, expected vit"),
        (lambda s: [s.pop(name) for name in list(s) if "attn_mask" in name], {"image_size": 20}, "a grid of 3 x 3"),
    ],
)
def test_bad_checkpoints(
    tmp_path: Path, edit: Callable[[dict[str, torch.Tensor]], Any], options: dict[str, Any], message: str
) -> None:
    state_dict = original_names(timm_swin())
    edit(state_dict)
    torch.save(state_dict, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(tmp_path / "bad.pth", **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": (2, 3)}, "3 heads do not divide width 32 of stage 1"),
        ({"depths": (2,)}, "heads must have one number per stage"),
        ({"windows": (4, 0)}, "windows must be positive integers"),
        ({"image_size": 30}, "patches of 4 pixels do not divide"),
    ],
)
def test_bad_dimensions(changes: dict[str, Any], message: str) -> None:
    fields = read_architecture(timm_swin().state_dict(), image_size=32).to_json()
    with pytest.raises(CheckpointError, match=message):
        SwinArchitecture.from_json({**fields, **changes})


def test_windows_never_exceed_the_grid() -> None:
    known = known_architecture("swin_base_patch4_window12_384.ms_in22k")
    assert isinstance(known, SwinArchitecture)
    assert [(stage.grid, stage.window, stage.shift) for stage in known.stages] == [
        ((96, 96), 12, 6),
        ((48, 48), 12, 6),
        ((24, 24), 12, 6),
        ((12, 12), 12, 0),
    ]
