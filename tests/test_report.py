"""ivit-report: its figures against direct computations, the parts of layers, a planted fault, mistakes."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("matplotlib", reason="the report extra is not installed")
pytest.importorskip("jinja2", reason="the report extra is not installed")
pytest.importorskip("sklearn", reason="needs scikit-learn")

import networks  # noqa: E402
from commands import call  # noqa: E402
from ivit_onnx.api import export, load_twin  # noqa: E402
from ivit_onnx.images import normalize  # noqa: E402
from ivit_onnx.models import Twin  # noqa: E402
from ivit_onnx.quant.modules import QuantModule, WeightedModule  # noqa: E402
from ivit_onnx.report import ErrorReport, measure  # noqa: E402
from ivit_onnx.report.costs import Costs  # noqa: E402
from ivit_onnx.report.distributions import Distribution, Error, Span  # noqa: E402
from ivit_onnx.report.page import page, percent  # noqa: E402
from ivit_onnx.report.parts import only_layer, only_parts, parts_of  # noqa: E402
from ivit_onnx.report.taps import layers_called  # noqa: E402

Array = np.ndarray[Any, Any]
Capsys = pytest.CaptureFixture[str]

#: Checkpoint and options of its export; one of the reference I-ViT code needs no calibration.
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "vit": ("deit_micro_fp.pth", {"num_heads": 2, "nonlinear": "ivit"}, True),
    "swin": ("swin_micro_timm_fp.pth", {"img_size": 32, "nonlinear": "ivit"}, True),
    "table vit": ("deit_micro_fp.pth", {"num_heads": 2, "nonlinear": "table"}, True),
    "table swin": ("swin_micro_timm_fp.pth", {"img_size": 32, "nonlinear": "table"}, True),
    "reference vit": ("deit_micro_ivit.pth.tar", {"num_heads": 2}, False),
    "reference swin": ("swin_micro_ivit.pth.tar", {"img_size": 32}, False),
}
NORMALISATION = {"mean": networks.DIGITS_MEAN, "std": networks.DIGITS_STD}


def make(kind: str, folder: Path) -> tuple[Path, Path]:
    """An exported model of a kind, and its checkpoint."""
    name, options, calibrated = KINDS[kind]
    path = folder / f"{kind.replace(' ', '_')}.onnx"
    calib = {"calib": networks.digits()[0][:32]} if calibrated else {}
    export(networks.DATA / name, path, **calib, **options, **NORMALISATION)
    return path, networks.DATA / name


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Twin]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: load_twin(*make(kind, folder)) for kind in KINDS}


def images(twin: Twin, count: int = 16) -> torch.Tensor:
    pixels, _, test = networks.digits()
    return torch.from_numpy(normalize(pixels[test[:count]], twin.preprocess))


@pytest.fixture(scope="module")
def reports(twins: dict[str, Twin]) -> dict[str, ErrorReport]:
    return {kind: measure(twin, images(twin)) for kind, twin in twins.items()}


def ratio(exact: torch.Tensor, found: torch.Tensor) -> float:
    """Signal to noise in decibels."""
    f, q = exact.double().numpy(), found.double().numpy()
    return float(10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()))


def outputs(twin: Twin, x: torch.Tensor, *, quantized: bool) -> dict[str, torch.Tensor]:
    """Real output of every layer in one pass, and the logits as "": in integers or in floating point."""
    values: dict[str, torch.Tensor] = {}

    def keep(module: QuantModule, inputs: Any, output: Any) -> None:
        values.setdefault(module.path, output.value.double() * (output.scale if quantized else 1))

    hooks = [module.register_forward_hook(keep) for module in twin.modules() if isinstance(module, QuantModule)]
    twin.set_quantized(quantized)
    with torch.inference_mode():
        values[""] = twin(x) * (twin.output_scale if quantized else 1)
    twin.set_quantized(True)
    for hook in hooks:
        hook.remove()
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_compared_with_the_integers(
    twins: dict[str, Twin], reports: dict[str, ErrorReport], kind: str
) -> None:
    twin, report = twins[kind], reports[kind]
    x = images(twin)
    exact, found = outputs(twin, x, quantized=False), outputs(twin, x, quantized=True)
    assert [layer.name for layer in report.layers] == [name for name in exact if name]
    for layer in report.layers:
        assert layer.sqnr == pytest.approx(ratio(exact[layer.name], found[layer.name]), abs=1e-3)
        f, q = exact[layer.name].flatten(), found[layer.name].flatten()
        assert layer.cosine == pytest.approx(float(f @ q / f.norm() / q.norm()), abs=1e-9)
    assert report.sqnr == pytest.approx(ratio(exact[""], found[""]), abs=1e-3)
    assert report.agreement == float((exact[""].argmax(1) == found[""].argmax(1)).double().mean())
    assert report.images == 16


@pytest.mark.parametrize("kind", KINDS)
def test_costs_and_shares_fit_together(twins: dict[str, Twin], reports: dict[str, ErrorReport], kind: str) -> None:
    report = reports[kind]
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    assert {point.name for point in report.points} == set(twins[kind].used_activations())
    for point in report.points:
        assert point.minimum <= point.maximum
        assert 0 <= point.clipped <= 1
        assert 0 <= point.saturated <= 1
        assert point.low < 0 < point.high
        (part,) = (part for part in report.parts if point.name in part.points)
        assert (point.layer, point.share) == (part.layer, part.share)
    # Layers that hardly influence each other: their noises nearly add up.
    assert report.sqnr is not None
    assert report.sum_sqnr == pytest.approx(report.sqnr, abs=6)
    json.dumps(report.to_json(), allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_explain_their_layer(reports: dict[str, ErrorReport], kind: str) -> None:
    report = reports[kind]
    for layer in report.layers:
        assert sum(part.share for part in report.parts_of(layer.name)) == pytest.approx(layer.share)
    for layer in sorted(report.layers, key=lambda layer: -layer.share)[:5]:
        parts = report.parts_of(layer.name)
        assert max(part.share for part in parts) > layer.share / 3
        # Not much noise is taken back by a later part.
        assert min(part.share for part in parts) > -layer.share / 2


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_all_that_a_layer_quantises(twins: dict[str, Twin], kind: str) -> None:
    """Each activation is in one part, and the parts together are the layer, bit for bit."""
    twin = twins[kind]
    used = set(twin.used_activations().values())
    x = images(twin, 2)
    twin.set_quantized(False)
    try:
        with torch.inference_mode():
            for layer in layers_called(twin, x[:1]).values():
                parts = parts_of(layer)
                rounded = [activation for part in parts for activation in part.activations]
                own = [module for module in layer.modules() if module in used]
                assert len(rounded) == len(own)
                assert set(rounded) == set(own)
                with only_layer(layer):
                    whole = outputs_of(twin, layer, x)
                with only_parts(layer, parts):
                    assert torch.equal(outputs_of(twin, layer, x), whole), layer.path
                with only_parts(layer, []):
                    exact = outputs_of(twin, layer, x)
                assert torch.equal(outputs_of(twin, layer, x), exact)
                assert not torch.equal(exact, whole), layer.path
    finally:
        twin.set_quantized(True)


def test_parts_have_the_names_of_what_the_model_computes(reports: dict[str, ErrorReport]) -> None:
    """Shiftmax and ShiftGELU are in no report of a model with tables, and the other way round."""
    shifts, tables = {"Shiftmax", "ShiftGELU"}, {"scores and exponentials", "GELU table"}
    for kind, report in reports.items():
        names = {part.part for part in report.parts}
        assert names & (shifts | tables) == (tables if kind.startswith("table") else shifts)
    mlp = [part.part for part in reports["table vit"].parts_of("blocks.0.mlp")]
    assert mlp == [
        "weights of fc1",
        "rounding of hidden",
        "GELU table",
        "weights of fc2",
        "rounding of branch",
        "rounding of output",
    ]
    attention = [part.part for part in reports["vit"].parts_of("blocks.0.attn.core")]
    assert attention == ["rounding of score", "Shiftmax", "rounding of output"]
    for kind, core in (("table vit", "blocks.0.attn.core"), ("table swin", "layers.0.blocks.0.attn.core")):
        deferred = [part.part for part in reports[kind].parts_of(core)]
        assert deferred == ["scores and exponentials", "rounding of output"]


def test_a_table_rounds_twice(twins: dict[str, Twin], reports: dict[str, ErrorReport]) -> None:
    """What a GELU table costs is measured on arguments that are rounded already, as it gets them."""
    twin = twins["table vit"]
    mlp = twin.get_submodule("blocks.0.mlp")
    x = images(twin)
    twin.set_quantized(False)
    try:
        with torch.inference_mode():
            exact = twin(x)
            noise = []
            for count in (2, 3):
                with only_parts(mlp, parts_of(mlp)[:count]):
                    noise.append(float((twin(x) - exact).square().sum() / exact.square().sum()))
    finally:
        twin.set_quantized(True)
    report = reports["table vit"]
    assert report.sum_sqnr is not None
    (table,) = (part for part in report.parts_of("blocks.0.mlp") if part.part == "GELU table")
    assert table.share * 10 ** (-report.sum_sqnr / 10) == pytest.approx(noise[1] - noise[0], rel=1e-3)
    assert table.points == ["blocks.0.mlp.activated"]


def check_costs_against_whole_runs(twin: Twin, x: torch.Tensor) -> None:
    """The cost of each layer with what comes before it skipped is that of a run of the whole network."""
    twin.set_quantized(False)
    try:
        with torch.inference_mode():
            costs, exact = Costs(twin, [x[:3], x[3:]]), twin(x)
            assert twin.stream()[0] is twin.get_submodule("patch_embed")
            for layer in layers_called(twin, x).values():
                logits, _ = costs.of(layer, only_layer(layer))
                with only_layer(layer):
                    found = twin(x)
                assert logits.sqnr == pytest.approx(ratio(exact, found), abs=0.05), layer.path
            assert torch.equal(twin(x), exact)
    finally:
        twin.set_quantized(True)


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_skipping_what_comes_before_changes_nothing(twins: dict[str, Twin], kind: str) -> None:
    check_costs_against_whole_runs(twins[kind], images(twins[kind], 4))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 0},
        {"pre_norm": True, "reg_tokens": 2},
        {"global_pool": "avg", "fc_norm": True},
        {"global_pool": "avg", "class_token": False, "fc_norm": False},
        {"distilled": True},
    ],
    ids=str,
)
def test_other_vision_transformers(changes: dict[str, Any]) -> None:
    twin = networks.calibrated_twin(networks.timm_network(**changes))
    x = torch.from_numpy(np.stack(networks.images(4, seed=3)))
    report = measure(twin, x)
    exact, found = outputs(twin, x, quantized=False), outputs(twin, x, quantized=True)
    assert report.sqnr == pytest.approx(ratio(exact[""], found[""]), abs=1e-3)
    assert [layer.name for layer in report.layers] == [name for name in exact if name]
    assert (report.agreement is None) == (report.mean_cosine is not None) == (twin.head is None)
    check_costs_against_whole_runs(twin, x)


def test_windows_with_padding(tmp_path: Path) -> None:
    """Queries, keys and values of padding come from a second run of their layer."""
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    settings = {"patch_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 5}
    network = SwinTransformer(img_size=36, window_size=4, **settings).eval()
    checkpoint = networks.save_checkpoint(network, tmp_path / "swin.pth")
    export(checkpoint, tmp_path / "swin.onnx", calib=networks.pixels(4, size=36), img_size=36)
    twin = load_twin(tmp_path / "swin.onnx", checkpoint)
    x = torch.from_numpy(normalize(networks.pixels(4, seed=1, size=36), twin.preprocess))
    assert any(module.padded for module in twin.modules() if hasattr(module, "padded"))
    check_costs_against_whole_runs(twin, x)
    report = measure(twin, x)
    assert min(layer.sqnr for layer in report.layers if layer.sqnr is not None) > 5


def test_widths_of_the_reference_ivit_code(twins: dict[str, Twin], reports: dict[str, ErrorReport]) -> None:
    bits = {point.name: point.bits for point in reports["reference swin"].points}
    assert bits["patch_embed.projection"] == bits["layers.1.downsample.output"] == 8
    assert bits["patch_embed.output"] == 16
    assert {point.name: point.bits for point in reports["swin"].points}["patch_embed.projection"] == 16


def test_one_point_and_one_layers_weights_alone(twins: dict[str, Twin]) -> None:
    twin = twins["vit"]
    x = images(twin, 3)
    layer = twin.get_submodule("blocks.1.attn.qkv")
    assert isinstance(layer, WeightedModule)
    weights, rounding = parts_of(layer)
    assert (weights.name, rounding.name) == ("weights", "rounding of output")
    twin.set_quantized(False)
    try:
        with torch.inference_mode():
            exact = outputs_of(twin, layer, x)
            with only_parts(layer, [rounding]):
                rounded = outputs_of(twin, layer, x)
            step = layer.output.scale
            assert torch.equal(rounded, (exact / step).round().clamp(-128, 127) * step)
            scale = layer.weight.abs().amax(1, keepdim=True) / 127
            with only_parts(layer, [weights]):
                found = outputs_of(twin, layer, x)
            # What is compared with are the weights before calibration rounded them.
            weight = layer.exact_weight(layer.weight)
            before = weight.clone()
            weight.copy_(torch.round(layer.weight / scale) * scale)
            expected = outputs_of(twin, layer, x)
            weight.copy_(before)
            torch.testing.assert_close(found, expected)
            assert not torch.equal(found, exact)
            assert torch.equal(outputs_of(twin, layer, x), exact)
    finally:
        twin.set_quantized(True)


def outputs_of(twin: Twin, layer: Any, x: torch.Tensor) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output.value))
    twin(x)
    hook.remove()
    return kept[0]


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    twin = load_twin(*make("vit", tmp_path))
    twin.get_submodule("blocks.1.mlp.hidden").scale.div_(12)
    twin.choose_exponents()
    report = measure(twin, images(twin, 4))
    assert max(report.layers, key=lambda layer: layer.share).name == "blocks.1.mlp"
    worst = max(report.points, key=lambda point: point.share)
    assert worst.name == "blocks.1.mlp.hidden"
    assert worst.clipped > 0.1
    assert worst.saturated > 0.1
    names = [layer.name for layer in report.layers]
    drops = [before.sqnr - after.sqnr for before, after in itertools.pairwise(report.layers)]
    assert names[1 + int(np.argmax(drops))] == "blocks.1.mlp"


def test_measuring_leaves_the_twin_as_it_was(twins: dict[str, Twin]) -> None:
    twin = twins["swin"]
    x = images(twin, 2)
    state = twin.quantization_state()
    with torch.inference_mode():
        before = twin(x)
        seen: list[tuple[int, int]] = []
        measure(twin, x, lambda done, total: seen.append((done, total)))
        assert torch.equal(twin(x), before)
    assert twin.quantization_state() == state
    assert [done for done, _ in seen] == list(range(seen[-1][1] + 1))


def test_statistics_against_numpy() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=5000).astype(np.float32) * 3
    x = torch.from_numpy(exact)
    scale, levels = 0.05, 127
    found = (x / scale).round().clamp(-levels - 1, levels) * scale
    error = Error()
    error.add(x[:1000], found[:1000])
    error.add(x[1000:], found[1000:])
    assert error.sqnr == pytest.approx(ratio(x, found))
    assert error.relative == pytest.approx(10 ** (-ratio(x, found) / 10))
    span = Span(scale, -(levels + 1) * scale, levels * scale)
    span.add(x)
    steps = np.rint(exact / np.float32(scale))
    assert span.clipped == pytest.approx(((steps > 127) | (steps < -128)).mean())
    assert (span.minimum, span.maximum) == (exact.min(), exact.max())
    distribution = Distribution(span)
    distribution.add_before(x)
    distribution.add_after(found)
    assert distribution.before.sum() == distribution.after.sum() == 5000
    assert distribution.edges[0] <= exact.min()
    assert distribution.edges[-1] >= exact.max()
    assert len(distribution.before) <= 100
    np.testing.assert_array_equal(distribution.before, np.histogram(steps * scale, distribution.edges)[0])
    assert distribution.saturated == pytest.approx(((steps >= 127) | (steps <= -128)).mean())
    same = Error()
    same.add(x, x)
    assert (same.sqnr, same.relative) == (None, 0)
    assert same.cosine == pytest.approx(1)
    assert [percent(value) for value in (0, 1e-6, 0.5, -1e-6, -0.02)] == [
        "0",
        "< 0.01%",
        "50.00%",
        "> -0.01%",
        "-2.00%",
    ]


@pytest.fixture
def no_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the many small plots out, where they do not matter."""
    monkeypatch.setattr("ivit_onnx.report.plots.histogram", lambda point, distribution, number: f"<svg>{number}</svg>")


@pytest.mark.usefixtures("no_histograms")
def test_page_names_everything_and_escapes(reports: dict[str, ErrorReport]) -> None:
    report = reports["swin"]
    text = page(report, {"model": "<micro> & co", "images": "6"})
    assert "&lt;micro&gt; &amp; co" in text
    assert "<micro>" not in text
    for entry in (*report.layers, *report.points):
        assert f"<td>{entry.name}</td>" in text
    for number in range(len(report.points)):
        assert f"<svg>{number}</svg>" in text
    assert page(report, {"model": "<micro> & co", "images": "6"}) == text


def without_head(folder: Path) -> tuple[Path, Path]:
    """An exported model that gives features, and its checkpoint."""
    checkpoint = networks.save_checkpoint(networks.timm_network(num_classes=0), folder / "features.pth")
    export(checkpoint, folder / "features.onnx", calib=networks.pixels(16), num_heads=3, nonlinear="table")
    return folder / "features.onnx", checkpoint


def test_features_have_cosines_and_no_classes(tmp_path: Path) -> None:
    twin = load_twin(*without_head(tmp_path))
    x = torch.from_numpy(normalize(networks.pixels(5, seed=1), twin.preprocess))
    report = measure(twin, x)
    exact, found = outputs(twin, x, quantized=False)[""], outputs(twin, x, quantized=True)[""]
    cosines = torch.nn.functional.cosine_similarity(exact.double(), found.double())
    assert report.agreement is None
    assert report.mean_cosine == pytest.approx(float(cosines.mean()))
    assert report.worst_cosine == pytest.approx(float(cosines.min()))


@pytest.mark.usefixtures("no_histograms")
def test_nothing_about_classes_without_a_head(capsys: Capsys, tmp_path: Path) -> None:
    model, checkpoint = without_head(tmp_path)
    np.save(tmp_path / "images.npy", networks.pixels(2))
    arguments = (model, "--against", checkpoint, "--data", tmp_path / "images.npy", "--force")
    shown = call(capsys, "report", *arguments)
    assert (shown.status, shown.err) == (0, "")
    assert "cosine of the features of an image: mean 0.9" in shown.out
    for text in (shown.out, model.with_suffix(".html").read_text()):
        assert "class of" not in text
        assert "same class" not in text
        assert "logits" not in text
        assert "Shift" not in text
    assert "mean cosine of the features" in model.with_suffix(".html").read_text()
    content = json.loads(call(capsys, "report", *arguments, "--json").out)
    assert content["agreement"] is None
    assert 0.9 < content["worst_cosine"] <= content["mean_cosine"] <= 1


@pytest.mark.usefixtures("no_histograms")
def test_json_and_a_folder_of_images(capsys: Capsys, tmp_path: Path) -> None:
    model, checkpoint = make("reference vit", tmp_path)
    for index, image in enumerate(networks.digits()[0][:3]):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "flat" / f"{index}.png")
    arguments = (
        model,
        "--against",
        checkpoint,
        "--data",
        tmp_path / "flat",
        "--limit",
        "2",
        "--json",
        "--threads",
        "1",
    )
    result = call(capsys, "report", *arguments)
    assert (result.status, result.err) == (0, "")
    content = json.loads(result.out)
    assert content["images"] == 2
    assert content["page"] == str(model.with_suffix(".html"))
    assert model.with_suffix(".html").read_text().startswith("<!DOCTYPE html>")
    assert math.isfinite(content["sqnr"])
    assert len(content["layers"]) > 20
    assert "exists; pass --force" in call(capsys, "report", *arguments).error()


def test_mistakes_are_one_line(capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, checkpoint = make("vit", tmp_path)
    page_file = tmp_path / "page.html"

    def error(*arguments: str | Path) -> str:
        message = call(capsys, "report", model, *arguments, "-o", page_file).error()
        assert not page_file.exists()
        return message

    other = networks.DATA / "deit_micro_ivit.pth.tar"
    assert "was not exported from" in error("--against", other, "--data", "digits")
    assert "no data set 'nowhere'" in error("--against", checkpoint, "--data", "nowhere")
    assert "Missing option" in error("--data", "digits")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith(("matplotlib.", "ivit_onnx.report.p"))]:
        monkeypatch.delitem(sys.modules, name)
    message = error("--against", checkpoint, "--data", "digits")
    assert message == 'error: ivit-report needs the package matplotlib: pip install "ivit-onnx[report]"\n'
