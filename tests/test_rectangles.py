"""Images and grids that are not square: checkpoints, position tables, twins, exported files, preparation of images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from timm.data import create_transform  # noqa: E402
from timm.layers import resample_abs_pos_embed  # noqa: E402

import ivit_onnx  # noqa: E402
from commands import call, installed  # noqa: E402
from ivit_onnx.api import export  # noqa: E402
from ivit_onnx.architectures import (  # noqa: E402
    KNOWN,
    Preprocess,
    Size,
    SwinArchitecture,
    VitArchitecture,
    architecture_from_json,
    known_architecture,
)
from ivit_onnx.checkpoints import load_checkpoint, read_architecture  # noqa: E402
from ivit_onnx.checkpoints.positions import PositionResize, resize_positions  # noqa: E402
from ivit_onnx.datasets.dead_leaves import draw  # noqa: E402
from ivit_onnx.errors import CheckpointError, ImageError, IvitError  # noqa: E402
from ivit_onnx.exported import load_twin  # noqa: E402
from ivit_onnx.images import normalize, read_images, read_pixels  # noqa: E402
from ivit_onnx.models import from_timm  # noqa: E402
from networks import save_checkpoint, timm_network, timm_swin  # noqa: E402

Array = np.ndarray[Any, Any]

#: Height and width of the images below.
SIZE = Size(16, 64)

NETWORKS: dict[str, Callable[[], Any]] = {
    "class token": lambda: timm_network(img_size=SIZE),
    "upright": lambda: timm_network(img_size=SIZE[::-1]),
    "registers": lambda: timm_network(img_size=SIZE, reg_tokens=2),
    "registers without position": lambda: timm_network(img_size=SIZE, reg_tokens=3, no_embed_class=True),
    "mean of patches": lambda: timm_network(img_size=(24, 32), class_token=False, global_pool="avg"),
    "swin": lambda: timm_swin(img_size=(32, 64), window_size=2),
    "swin, padded": lambda: timm_swin(img_size=(36, 60), window_size=4, depths=(2, 1), num_heads=(2, 4)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Any:
    return NETWORKS[request.param]()


def size_of(network: Any) -> Size:
    return Size(*network.patch_embed.img_size)


def heads_of(network: Any) -> dict[str, int]:
    return {"num_heads": 3} if hasattr(network, "blocks") else {}


def pixels(count: int, size: Size, seed: int = 0) -> Array:
    """Drawn images uint8 [count, 3, height, width]."""
    return np.stack([draw(size, seed + index) for index in range(count)])


def exported(network: Any, folder: Path, **options: Any) -> tuple[Path, Path]:
    """The checkpoint and the exported file of a network."""
    checkpoint, size = save_checkpoint(network, folder / "model.pt"), size_of(network)
    options = {"calib": pixels(8, size), "calib_preset": "fast", **heads_of(network), **options}
    export(checkpoint, folder / "model.onnx", img_size=size, **options)
    return checkpoint, folder / "model.onnx"


def test_floating_point_mode_is_the_timm_network(network: Any) -> None:
    twin = from_timm(network)
    assert twin.arch.image_size == twin.preprocess.size == size_of(network)
    twin.set_quantized(False)
    x = torch.from_numpy(normalize(pixels(3, size_of(network)), twin.preprocess))
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_the_same_integers_everywhere(
    network: Any, tmp_path: Path, flat: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IVIT_EP_LOG", "1")
    checkpoint, model = exported(network, tmp_path, flat=flat)
    image = pixels(3, size_of(network), seed=100)
    with torch.inference_mode():
        expected = load_twin(model, checkpoint)(torch.from_numpy(image)).numpy()
    assert len({*map(tuple, expected.tolist())}) == 3
    for options in ({"kernels": False}, {"kernels": True}, {"provider": "ivit-cpu"}):
        session = ivit_onnx.create_session(model, threads=1, **options)
        assert session.get_inputs()[0].shape[1:] == [3, *size_of(network)]
        (found,) = session.run(None, {"image": image})
        np.testing.assert_array_equal(found, expected)
    assert "ivit: leaves" not in capfd.readouterr().err


def test_a_transposed_grid_is_another_network() -> None:
    """The same weights and as many patches, but rows and columns changed places."""
    wide, high = timm_network(img_size=SIZE), timm_network(img_size=SIZE[::-1])
    assert wide.state_dict().keys() == high.state_dict().keys()
    x = torch.rand(1, 3, *SIZE)
    with torch.inference_mode():
        other = timm_network(img_size=32)
        other.load_state_dict(wide.state_dict())
        assert not torch.allclose(wide(x), high(x.transpose(2, 3)))
        assert not torch.allclose(wide(x), other(torch.nn.functional.interpolate(x, (32, 32))))


# Recognition


def table_of(tokens: int, **features: Any) -> dict[str, torch.Tensor]:
    """A state_dict whose position table has that many tokens."""
    state_dict = timm_network(**features).state_dict()
    return {**state_dict, "pos_embed": torch.randn(1, tokens, 48)}


def loaded(folder: Path, state_dict: dict[str, torch.Tensor], **flags: Any) -> Any:
    torch.save(state_dict, folder / "model.pt")
    return load_checkpoint(folder / "model.pt", heads=3, **flags)


def test_a_square_number_of_patches_is_taken_as_square_and_said(tmp_path: Path) -> None:
    found = loaded(tmp_path, table_of(17))
    assert found.arch.image_size == (32, 32)
    assert ["--img-size HEIGHTxWIDTH" in warning for warning in found.warnings] == [True]
    told = loaded(tmp_path, table_of(17), image_size=SIZE)
    assert (told.arch.image_size, told.arch.name, told.warnings) == (SIZE, "vit_custom_patch8_16x64", ())
    assert loaded(tmp_path, table_of(17), image_size=32).warnings == ()
    assert loaded(tmp_path, table_of(17), image_size=32).arch == found.arch


def test_a_known_model_needs_no_warning() -> None:
    from ivit_onnx.checkpoints.facts import Facts
    from ivit_onnx.checkpoints.vit import READER

    with torch.device("meta"):
        import timm

        plain = timm.create_model("vit_base_patch16_siglip_gap_256").state_dict()
    assert READER.read(plain, Facts()).warnings == ()
    reading = READER.read(plain, Facts.asked(image_size=Size(128, 512)))
    assert reading.arch.grid == (8, 32)
    assert reading.arch.name == "vit_custom_patch16_128x512"
    assert any("8 x 32 patches, though vit_base_patch16_siglip_gap_256" in warning for warning in reading.warnings)
    reading = READER.read(plain, Facts.asked(name="vit_base_patch16_siglip_gap_256", image_size=Size(128, 512)))
    assert reading.arch.grid == (8, 32)
    assert ["resized to 8 x 32" in warning for warning in reading.warnings] == [True]
    table = READER.weights({"pos_embed": torch.randn(1, 256, 8)}, reading.arch, reading.facts)["pos_embed"]
    assert table.shape == (1, 256, 8)


@pytest.mark.parametrize(
    ("tokens", "features", "flags", "message"),
    [
        (16, {}, {}, r"16 tokens, which may be 15 or 16 patches; pass --img-size"),
        (9, {"reg_tokens": 4}, {}, r"9 tokens, which may be 4 or 9 patches; pass --img-size"),
        (33, {}, {}, r"33 tokens, which are no square of patches; .*--img-size HEIGHTxWIDTH"),
        (33, {}, {"image_size": 32}, r"33 tokens, neither 4 x 4 patches nor a square; .*--img-size HEIGHTxWIDTH"),
        (17, {}, {"image_size": (16, 60)}, "patches of 8 pixels do not divide an image of 16x60; pass --img-size"),
        (17, {}, {"image_size": (16, 8 * 513)}, "image_size must be at most 512 patches of 8 pixels, found 16x4104"),
    ],
    ids=str,
)
def test_tables_that_do_not_tell(
    tmp_path: Path, tokens: int, features: dict[str, Any], flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path, table_of(tokens, **features), **flags)


@pytest.mark.parametrize(
    ("tokens", "size", "no_embed_class"), [(16, (24, 40), False), (16, (16, 64), True), (33, (32, 64), False)]
)
def test_the_size_tells_which_tokens_have_a_position(
    tmp_path: Path, tokens: int, size: tuple[int, int], no_embed_class: bool
) -> None:
    arch = loaded(tmp_path, table_of(tokens), image_size=size).arch
    assert (arch.image_size, arch.no_embed_class, arch.positions) == (size, no_embed_class, tokens)


def test_a_known_model_tells_which_tokens_have_a_position() -> None:
    with torch.device("meta"):
        import timm

        state_dict = timm.create_model("deit3_small_patch16_224").state_dict()
    assert read_architecture(state_dict).no_embed_class


def test_windows_that_cannot_be_square(tmp_path: Path) -> None:
    swin = save_checkpoint(timm_swin(img_size=(32, 64), window_size=2), tmp_path / "swin.pth")
    for size, grid in (((16, 64), "2 x 8"), ((8, 64), "2 x 16")):
        with pytest.raises(CheckpointError, match=f"more than 2 rows and columns, found a grid of {grid} in stage"):
            load_checkpoint(swin, image_size=size)
    assert load_checkpoint(swin, image_size=(24, 40)).arch.stages[1].grid == (3, 5)
    for window in (4, 8):  # the first one is square, but timm shifts it along rows only
        with pytest.raises(CheckpointError, match="windows that are not square"):
            from_timm(timm_swin(img_size=(16, 64), window_size=window, depths=(2,), num_heads=(2,)))


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (32, 128), (64, 64)])
def test_masks_of_original_swin_files_tell_rectangles(tmp_path: Path, size: tuple[int, int]) -> None:
    from timm.models.swin_transformer import SwinTransformerBlock

    network = timm_swin(img_size=size, window_size=2, depths=(2,), num_heads=(2,), num_classes=0)
    block = network.layers[0].blocks[1]
    assert isinstance(block, SwinTransformerBlock)
    torch.save({**network.state_dict(), "layers.0.blocks.1.attn_mask": block.attn_mask}, tmp_path / "swin.pth")
    found = load_checkpoint(tmp_path / "swin.pth")
    assert (found.arch.image_size, found.warnings) == (size, ())


# Position tables for other sizes


@settings(deadline=None)
@given(
    old=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    new=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    prefix=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_resizing_is_that_of_timm(old: tuple[int, int], new: tuple[int, int], prefix: int, seed: int) -> None:
    table = torch.randn(1, prefix + math.prod(old), 5, generator=torch.Generator().manual_seed(seed))
    expected = resample_abs_pos_embed(table, [*new], [*old], num_prefix_tokens=prefix)
    torch.testing.assert_close(resize_positions(table, prefix, Size(*old), Size(*new)), expected, rtol=1e-4, atol=1e-5)


def dinov2_positions(table: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Their interpolate_pos_encoding with interpolate_offset=0.1 and interpolate_antialias=False, in float32."""
    side = int(math.sqrt(table.shape[1] - 1))
    factors = (float(rows + 0.1) / side, float(columns + 0.1) / side)
    patches = torch.nn.functional.interpolate(
        table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2),
        mode="bicubic",
        antialias=False,
        scale_factor=factors,
    )
    assert patches.shape[-2:] == (rows, columns)
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


def huggingface_positions(table: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """interpolate_pos_encoding of transformers' Dinov2Embeddings."""
    side = int((table.shape[1] - 1) ** 0.5)
    patches = torch.nn.functional.interpolate(
        table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2),
        size=(rows, columns),
        mode="bicubic",
        align_corners=False,
    )
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_resizing_is_that_of_the_authors(rows: int, columns: int) -> None:
    table = torch.randn(1, 1 + 37 * 37, 3, generator=torch.Generator().manual_seed(0))
    grids = Size(37, 37), Size(rows, columns)
    found = resize_positions(table, 1, *grids, PositionResize.DINOV2)
    torch.testing.assert_close(found, dinov2_positions(table, rows, columns), rtol=1e-3, atol=1e-3)
    found = resize_positions(table, 1, *grids, PositionResize.HUGGINGFACE)
    torch.testing.assert_close(found, huggingface_positions(table, rows, columns), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size", [Size(24, 24), Size(24, 40), Size(56, 48)])
def test_files_of_dinov2_are_resized_as_their_authors_do(tmp_path: Path, registers: int, size: Size) -> None:
    network = timm_network(init_values=0.3, reg_tokens=registers, no_embed_class=registers > 0, num_classes=0)
    table = torch.randn(1, 17, 48)
    published = {**network.state_dict(), "mask_token": torch.zeros(1, 48), "pos_embed": table}
    if registers:
        published["register_tokens"] = published.pop("reg_token")
    found = loaded(tmp_path, published, image_size=size).state_dict["pos_embed"]
    grid = [size.height // 8, size.width // 8]
    if registers:
        expected = resample_abs_pos_embed(table[:, 1:], grid, num_prefix_tokens=0)
    else:
        expected = dinov2_positions(table, *grid)
        other = resample_abs_pos_embed(table, grid, num_prefix_tokens=1)
        assert (found - other).abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [Size(24, 40), Size(64, 16)])
def test_a_square_network_at_a_rectangle(tmp_path: Path, size: Size) -> None:
    """The same network as timm makes it for that size; one with as many patches is named to be resized."""
    network = timm_network()
    other = timm_network(img_size=size)
    grid = [size.height // 8, size.width // 8]
    table = resample_abs_pos_embed(network.pos_embed.detach(), grid, num_prefix_tokens=1)
    found = loaded(tmp_path, network.state_dict(), image_size=size)
    if size.area != 32 * 32:
        assert "4 x 4 patches, and resized" in found.warnings[0]
        torch.testing.assert_close(found.state_dict["pos_embed"], table, rtol=1e-5, atol=1e-6)
    else:
        torch.testing.assert_close(found.state_dict["pos_embed"], network.pos_embed.detach(), rtol=0, atol=0)
    assert found.state_dict["pos_embed"].shape == other.pos_embed.shape


# Preparation of images

IMAGES = [Size(40, 50), Size(50, 40), Size(32, 96), Size(300, 31), Size(7, 9), Size(16, 64), Size(400, 500)]


@pytest.mark.parametrize("image", IMAGES, ids=str)
@pytest.mark.parametrize("size", [Size(16, 64), Size(64, 16), Size(33, 47), Size(32, 32)], ids=str)
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_pixels_are_those_of_timm(image: Size, size: Size, mode: str) -> None:
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*image, 3), dtype=np.uint8))
    for crop in (1.0, 0.9, 0.875):
        for interpolation in ("bicubic", "bilinear"):
            options = {"crop_pct": crop, "interpolation": interpolation, "crop_mode": mode}
            transform = create_transform((3, *size), normalize=False, **options)
            found = read_pixels(source, Preprocess(size, **options))
            np.testing.assert_array_equal(found, transform(source).numpy(), strict=True)


@settings(deadline=None)
@given(image=st.tuples(st.integers(1, 90), st.integers(1, 90)), size=st.tuples(st.integers(1, 70), st.integers(1, 70)))
def test_any_image_becomes_the_size_as_in_timm(image: tuple[int, int], size: tuple[int, int]) -> None:
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*image, 3), dtype=np.uint8))
    for mode in ("center", "squash"):
        transform = create_transform((3, *size), normalize=False, crop_pct=0.9, interpolation="bicubic", crop_mode=mode)
        found = read_pixels(source, Preprocess(size, 0.9, crop_mode=mode))
        np.testing.assert_array_equal(found, transform(source).numpy(), strict=True)


def test_arrays_of_rectangles() -> None:
    preprocess = Preprocess(SIZE)
    array = pixels(2, SIZE)
    for source in (array, array.transpose(0, 2, 3, 1), normalize(array, preprocess)):
        np.testing.assert_array_equal(np.stack([*read_images(source, preprocess)]), normalize(array, preprocess))
    turned = array.transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(
        next(read_images(turned, preprocess)),
        normalize(read_pixels(Image.fromarray(turned[0].transpose(1, 2, 0)), preprocess), preprocess),
    )
    with pytest.raises(ImageError, match=r"expected normalised images \[N, 3, 16, 64\], found shape \[2, 3, 64, 16\]"):
        next(read_images(normalize(turned, preprocess), preprocess))


def test_timm_says_the_crop_mode() -> None:
    network = timm_network()
    network.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0, "crop_mode": "squash"}
    assert from_timm(network).preprocess.crop_mode == "squash"
    network.pretrained_cfg["crop_mode"] = "border"
    with pytest.raises(IvitError, match="crop mode must be one of center, squash, found 'border'"):
        from_timm(network)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 999))
def test_drawn_images_have_any_form(height: int, width: int, seed: int) -> None:
    image = draw((height, width), seed)
    assert (image.shape, image.dtype) == ((3, height, width), np.uint8)
    if height == width:
        np.testing.assert_array_equal(image, draw(height, seed))


# Descriptions


@pytest.mark.parametrize("text", ["224", "64x256", "1x1"])
def test_text_of_a_size(text: str) -> None:
    size = Size.parse(text)
    assert Size.parse(str(size)) == size == Size.of(size.to_json())
    assert json.loads(json.dumps(size.to_json())) == ([64, 256] if text == "64x256" else size.height)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "32", None, (), (3,), (1, 2, 3), (1, 0), (1, 2.0), [True, 1]])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(IvitError, match=r"expected an integer in 1..65536, or a pair of them"):
        Size.of(value)
    with pytest.raises(CheckpointError, match="; pass --img-size"):
        VitArchitecture.from_json({**KNOWN["deit_tiny_patch16_224"].to_json(), "image_size": value})
    with pytest.raises(IvitError):
        Preprocess.from_json({**Preprocess(32).to_json(), "size": value})


@pytest.mark.parametrize("text", ["", "x", "64x", "64X256", "64x256x3", "-1", "1e3", "64 x 256", "0", "9" * 10])
def test_text_that_is_no_size(text: str) -> None:
    with pytest.raises(IvitError):
        Size.parse(text)


def test_square_descriptions_are_as_before() -> None:
    """Byte for byte what the files of earlier versions have, which are read as they are."""
    preprocess = Preprocess(224, 0.875, "bilinear", (0.5, 0.25, 0.125), (1.0, 2.0, 4.0))
    text = (
        '{"size": 224, "crop": 0.875, "interpolation": "bilinear", "mean": [0.5, 0.25, 0.125], "std": [1.0, 2.0, 4.0], '
        '"layout": "NCHW"}'
    )
    assert json.dumps(preprocess.to_json()) == text
    assert Preprocess.from_json(json.loads(text)) == preprocess
    arch = known_architecture("swin_s3_tiny_224")
    text = (
        '{"family": "swin", "name": "swin_s3_tiny_224", "image_size": 224, "patch_size": 4, "in_channels": 3, '
        '"classes": 1000, "width": 96, "depths": [2, 2, 6, 2], "heads": [3, 6, 12, 24], "windows": [7, 7, 14, 7], '
        '"mlp_ratio": 4}'
    )
    assert json.dumps(arch.to_json()) == text
    assert architecture_from_json(json.loads(text)) == arch


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_descriptions_of_rectangles(mode: str) -> None:
    preprocess = Preprocess((64, 256), crop_mode=mode)
    content = json.loads(json.dumps(preprocess.to_json()))
    assert content["size"] == [64, 256]
    assert content.get("crop_mode", "center") == mode
    assert Preprocess.from_json(content) == preprocess
    for arch in (from_timm(NETWORKS[name]()).arch for name in ("registers", "swin")):
        content = json.loads(json.dumps(arch.to_json()))
        assert content["image_size"] == [*arch.image_size]
        assert architecture_from_json(content) == arch
        assert isinstance(arch, VitArchitecture | SwinArchitecture)
    with pytest.raises(IvitError, match="crop mode must be one of center, squash, found 'border'"):
        Preprocess.from_json({**preprocess.to_json(), "crop_mode": "border"})


# Commands


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = timm_network(img_size=SIZE)
    checkpoint, model = save_checkpoint(network, tmp_path / "model.pt"), tmp_path / "model.onnx"
    command = ("export", checkpoint, "-o", model, "--num-heads", "3", "--calib-images", "4", "--calib-preset", "fast")
    message = "expected an integer in 1..65536, or HEIGHTxWIDTH such as 64x256, found '64,256'"
    assert message in call(capsys, *command, "--img-size", "64,256").error()
    assert not model.exists()
    done = installed(*command, "--img-size", "16x64")
    assert done.status == 0, done.err
    assert "16 x 64 pixels, 7 classes" in done.out

    for label in range(7):
        (tmp_path / "photos" / f"{label}").mkdir(parents=True)
        Image.fromarray(pixels(1, Size(50, 90), label)[0].transpose(1, 2, 0)).save(
            tmp_path / "photos" / f"{label}" / "a.png"
        )
    photo = tmp_path / "photos" / "3" / "a.png"
    ran = call(capsys, "run", model, photo, "--json", "--top", "7")
    found = {entry["class"]: entry["probability"] for entry in json.loads(ran.out)["images"][0]["top"]}
    twin = load_twin(model, checkpoint)
    with torch.inference_mode():
        logits = twin(torch.from_numpy(read_pixels(photo, twin.preprocess)[None])) * twin.output_scale
    np.testing.assert_allclose([found[index] for index in range(7)], logits.softmax(-1)[0].numpy(), atol=1e-6)

    evaluated = installed("eval", model, "--data", tmp_path / "photos", "--against", checkpoint)
    assert evaluated.status == 0, evaluated.err
    assert "to at least 17 x 71 (bicubic), centre of 16 x 64" in evaluated.out
    verified = installed("verify", model, "--against", checkpoint, "--count", "3")
    assert verified.status == 0, verified.err
