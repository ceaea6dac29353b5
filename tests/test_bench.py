"""ivit-bench: what it counts and reports, who takes part. Nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from commands import MICRO, MICRO_OPTIONS, call  # noqa: E402
from ivit_onnx.api import export, read_metadata  # noqa: E402
from ivit_onnx.architectures import KNOWN, Architecture, SwinArchitecture, VitArchitecture  # noqa: E402
from ivit_onnx.bench import baselines, machine, models, performance_page, tables  # noqa: E402
from ivit_onnx.bench.kernel_models import kernel_cases, kernel_model  # noqa: E402
from ivit_onnx.bench.network import build_network, float_images, generated_images  # noqa: E402
from ivit_onnx.bench.products import CALIBRATION_IMAGES, Subject, make, our_product, product_path  # noqa: E402
from ivit_onnx.bench.profile import layer_of, read_profile, totals  # noqa: E402
from ivit_onnx.bench.settings import Settings, functions  # noqa: E402
from ivit_onnx.bench.timing import summarise, time_round  # noqa: E402
from ivit_onnx.checkpoints import Checkpoint  # noqa: E402
from ivit_onnx.options.choices import Nonlinear  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--rounds", "2", "--seconds", "0", "--repeat", "3", "--starts", "1", "--threads", "1", "--json")
TINY = VitArchitecture(
    name="tiny",
    image_size=32,
    patch_size=8,
    in_channels=3,
    classes=7,
    width=48,
    depth=2,
    heads=3,
    mlp_width=96,
    distilled=False,
)

TINY_SWIN = SwinArchitecture(
    name="tiny-swin",
    image_size=32,
    patch_size=4,
    in_channels=3,
    classes=7,
    width=16,
    depths=(2, 1),
    heads=(1, 2),
    windows=(4, 4),
    mlp_ratio=4,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro checkpoint, exported with tables and 8 bits."""
    from ivit_onnx.api import calibrate

    path = tmp_path_factory.mktemp("models") / "digits.onnx"
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    options: dict[str, Any] = {"num_heads": 2, "mean": (0.3,) * 3, "std": (0.4,) * 3}
    assert options["num_heads"] == int(MICRO_OPTIONS[1])
    calibration = calibrate(MICRO, images, **options)
    export(MICRO, path, calib=calibration, nonlinear="table", softmax_bits=8, **options)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def compared(model: Path, cache: Path) -> dict[str, Any]:
    """One comparison with ONNX Runtime fp32 on the checkpoint's own weights, with NNCF missing."""
    from ivit_onnx.bench.compare import Plan
    from ivit_onnx.bench.measure import measure_models
    from ivit_onnx.bench.models import model_file

    subject = model_file(model, cache, MICRO, [])
    chosen = baselines.choose_baselines(["ort-fp32", "openvino-int8"])
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_installed", lambda package: package != "nncf")
        result = measure_models([subject], chosen, [1, 2], [1], Plan(3, 0.0, 4, 2), said.append)
    assert any("preparing ONNX Runtime fp32" in line for line in said)
    reread: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return reread


def test_macs_against_a_hand_count() -> None:
    tokens = 16 + 1
    patches = 16 * 3 * 8 * 8 * 48
    attention_layers = tokens * 48 * 144 + tokens * 48 * 48
    feed_forward = 2 * tokens * 48 * 96
    macs = TINY.macs()
    assert macs.linear == patches + 2 * (attention_layers + feed_forward) + 48 * 7
    assert macs.attention == 2 * 2 * 3 * tokens * tokens * 16
    assert macs.total == macs.linear + macs.attention


def test_macs_of_a_swin_against_a_hand_count() -> None:
    macs = TINY_SWIN.macs()
    embed, head = 64 * 3 * 4 * 4 * 16, 32 * 7
    first = 64 * (16 * 48 + 16 * 16 + 2 * 16 * 64)
    merge = 16 * 64 * 32
    second = 16 * (32 * 96 + 32 * 32 + 2 * 32 * 128)
    assert macs.linear == embed + 2 * first + merge + second + head
    assert macs.attention == 2 * 2 * 64 * 16 * 16 + 2 * 16 * 16 * 32


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [
        ("deit_tiny_patch16_224", 1.25),
        ("deit_small_patch16_224", 4.6),
        ("deit_base_patch16_224", 17.5),
        ("swin_tiny_patch4_window7_224", 4.5),
        ("swin_small_patch4_window7_224", 8.75),
        ("swin_base_patch4_window12_384", 47.1),
    ],
)
def test_macs_of_known_models(name: str, gmacs: float) -> None:
    assert KNOWN[name].macs().total / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_summary_pools_the_rounds() -> None:
    summary = summarise([[0.001, 0.003], [0.002, 0.005, 0.004]])
    assert (summary.samples, summary.median_ms, summary.min_ms) == (5, 3.0, 1.0)
    assert summary.round_medians_ms == [2.0, 4.0]
    assert 4.9 < summary.p99_ms <= 5.0


def test_a_turn_counts_after_warming_up() -> None:
    calls: list[int] = []
    assert len(time_round(lambda: calls.append(1), seconds=0, repeat=3, warmup=2)) == 3
    assert len(calls) == 5


def test_networks_match_the_architecture() -> None:
    import torch

    for arch in (TINY, replace(TINY, depth=1, distilled=True), TINY_SWIN):
        images = torch.from_numpy(float_images(2, 3, arch.image_size))
        assert build_network(arch)(images).shape == (2, arch.classes)
    assert generated_images(2, 3, 50).shape == (2, 3, 50, 50)


def test_comparison_fields(compared: dict[str, Any]) -> None:
    assert compared["kind"] == "models"
    assert compared["machine"]["cpus"] >= 1
    assert {"python", "onnxruntime", "torch", "ivit-onnx"} <= compared["versions"].keys()
    assert compared["settings"]["spinning"] is True
    assert [case["batch"] for case in compared["cases"]] == [1, 2]
    for case in compared["cases"]:
        assert case["macs_per_image"]["total"] == case["macs_per_image"]["linear"] + case["macs_per_image"]["attention"]
        assert case["weights"] == MICRO.name
        for entry in case["contestants"]:
            assert entry["samples"] >= 12
            assert len(entry["round_medians_ms"]) == 3
            assert 0 < entry["min_ms"] <= entry["median_ms"] <= entry["p99_ms"]
            assert entry["images_per_second"] == pytest.approx(case["batch"] / entry["median_ms"] * 1e3, rel=1e-2)
            assert entry["start_samples"] == 2
            assert entry["start_seconds"] > 0
            assert entry["memory_mib"].keys() == {"process_before", "session", "start_peak", "running", "peak"}
        assert Settings.of(case["contestants"][0]["notes"]) == Settings("table", 8)


def test_ratios_are_of_medians(compared: dict[str, Any]) -> None:
    for case in compared["cases"]:
        ours, baseline = case["contestants"]
        assert (ours["name"], baseline["name"]) == ("ivit", "ort-fp32")
        assert ours["ratio"] == 1
        assert baseline["ratio"] == pytest.approx(baseline["median_ms"] / ours["median_ms"], rel=1e-3)


def test_missing_baseline_is_skipped_by_name(compared: dict[str, Any]) -> None:
    for case in compared["cases"]:
        (skipped,) = case["skipped"]
        assert skipped["name"] == "openvino-int8"
        assert 'nncf: pip install "ivit-onnx[bench]"' in skipped["reason"]


def test_the_float_baseline_computes_the_checkpoint(compared: dict[str, Any], cache: Path) -> None:
    import onnxruntime
    import torch

    (path,) = cache.glob("*/float-*.onnx")
    images = float_images(2, 3, 32)
    logits = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]
    arch = VitArchitecture.from_json(compared["cases"][0]["arch"])
    network = build_network(arch)
    network.load_state_dict(torch.load(path.with_name("weights.pt"), weights_only=True))
    with torch.inference_mode():
        np.testing.assert_allclose(logits, network(torch.from_numpy(images)).numpy(), atol=1e-3)


def test_quantised_baselines_are_made_from_the_float_model(tmp_path: Path) -> None:
    subject = Subject.at(tmp_path, TINY, None)
    for product, operator in (("static-int8", "QuantizeLinear"), ("dynamic-int8", "MatMulInteger")):
        path = make(subject, product)
        assert path == product_path(subject, product)
        assert operator in {node.op_type for node in onnx.load(path).graph.node}
    assert {file.suffix for file in subject.folder.iterdir()} == {".pt", ".onnx"}


def export_by_default(subject: Subject, path: Path, **options: Any) -> dict[str, str]:
    """The metadata of an export of the subject's weights that leaves its functions to the exporter."""
    images = generated_images(CALIBRATION_IMAGES, 3, subject.arch.image_size)
    named = {"num_heads": subject.arch.heads} if isinstance(subject.arch, VitArchitecture) else {"img_size": 32}
    export(make(subject, "weights"), path, calib=images, **named, **options)
    return read_metadata(path)


@pytest.mark.parametrize("arch", [TINY, TINY_SWIN], ids=["vit", "swin"])
def test_what_is_timed_is_what_the_exporter_writes(tmp_path: Path, arch: Architecture) -> None:
    subject = Subject.at(tmp_path, arch, None)
    timed = make(subject, our_product(Settings.default(arch)))
    assert read_metadata(timed) == export_by_default(subject, tmp_path / "fast.onnx", calib_preset="fast")
    export_by_default(subject, tmp_path / "default.onnx")
    graphs = [onnx.load(path).graph for path in (timed, tmp_path / "default.onnx")]
    # Calibration decides constants, not what there is to compute.
    first, second = ([(node.op_type, [a.name for a in node.attribute]) for node in graph.node] for graph in graphs)
    assert first == second
    first, second = ([(t.name, t.data_type, [*t.dims]) for t in graph.initializer] for graph in graphs)
    assert first == second


@pytest.mark.parametrize("settings", [Settings("ivit", 8), Settings("table", 15)], ids=str)
def test_other_settings_than_the_default(tmp_path: Path, settings: Settings) -> None:
    subject = Subject.at(tmp_path, TINY, None)
    path = make(subject, our_product(settings))
    assert f"ivit-{settings.nonlinear}-{settings.softmax_bits}-" in path.name
    assert Settings.of_metadata(read_metadata(path)) == settings
    assert models.model_file(path, tmp_path, None, []).variants[0].notes == {"file": path.name, **settings.to_json()}


@pytest.mark.parametrize("nonlinear", ["ivit", "table"])
def test_the_default_is_that_of_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nonlinear: Nonlinear
) -> None:
    monkeypatch.setattr(Checkpoint, "nonlinear", lambda self: nonlinear)
    monkeypatch.setattr(Checkpoint, "default_softmax_bits", 7)
    (variant,) = models.named_model("deit_tiny_patch16_224", tmp_path, None, []).variants
    assert (variant.name, variant.title) == ("ivit", "ivit-onnx")
    assert Settings.of(variant.notes) == Settings(nonlinear, 7)
    assert variant.path.name.startswith(f"ivit-{nonlinear}-7-")


def test_settings_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "default", lambda arch: Settings("table", 15))

    def names(nonlinear: list[Nonlinear], softmax_bits: list[int], kernels: list[str] | None = None) -> list[str]:
        model = models.named_model(
            "deit_tiny_patch16_224", tmp_path, None, kernels or [], nonlinear=nonlinear, softmax_bits=softmax_bits
        )
        return [variant.name for variant in model.variants]

    assert names([], []) == names(["table"], [15]) == ["ivit"]
    assert names([], [8]) == ["ivit-softmax8"]
    assert names([], [15, 8], ["avx2"]) == ["ivit-softmax15-avx2", "ivit-softmax8-avx2"]
    assert names(["ivit"], []) == ["ivit-shifts"]
    assert names(["ivit", "table"], [8]) == ["ivit-shifts-softmax8", "ivit-tables-softmax8"]


def test_functions_of_a_result_are_said_once() -> None:
    def case(model: str, *entries: tuple[str, Settings]) -> dict[str, Any]:
        ours = [{"title": title, "notes": settings.to_json()} for title, settings in entries]
        return {"model": model, "contestants": [*ours, {"title": "OpenVINO fp32", "notes": {}}]}

    table, shifts = Settings("table", 15), Settings("ivit", 8)
    words = "softmax of 15 bits and GELU by tables", "softmax of 8 bits and GELU by shifts"
    assert functions([]) == []
    assert functions([case("a", ("ivit-onnx", table)), case("b", ("ivit-onnx", table))]) == [f"ivit-onnx: {words[0]}"]
    assert functions([case("a", ("x", table), ("y", shifts))]) == [f"x: {words[0]}", f"y: {words[1]}"]
    assert functions([case("a", ("x", table)), case("b", ("x", shifts))]) == [f"a, x: {words[0]}", f"b, x: {words[1]}"]


def test_subjects_differ_by_weights(tmp_path: Path) -> None:
    assert Subject.at(tmp_path, TINY, None).folder != Subject.at(tmp_path, TINY, MICRO).folder
    subject = Subject.at(tmp_path, TINY, MICRO)
    assert Subject.from_json(json.loads(json.dumps(subject.to_json()))) == subject


def test_profile(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    result = call(capsys, "bench", "--profile", model, "--threads", "1", "--json")
    assert (result.status, result.err) == (0, "")
    (profile,) = json.loads(result.out)["profiles"]
    operators = {entry["name"]: entry for entry in profile["operators"]}
    assert operators["IntDeferredAttention"]["count"] >= 2
    assert Settings.of(profile["notes"]) == Settings("table", 8)
    assert {"patch_embed", "blocks.0", "blocks.1", "head"} <= {entry["name"] for entry in profile["layers"]}
    for key in ("operators", "layers"):
        assert sum(entry["share"] for entry in profile[key]) == pytest.approx(1, abs=0.01)
    assert profile["run_us"] > 0


def test_profile_takes_medians_after_warming_up() -> None:
    def event(name: str, duration: int, category: str = "Node") -> dict[str, Any]:
        return {"cat": category, "name": name, "dur": duration, "args": {"op_name": "IntLinear"}}

    events = [
        event("session_initialization", 5, "Session"),
        *(event("blocks.0.attn.qkv_kernel_time", duration) for duration in (900, 10, 30, 20)),
        *(event("head_kernel_time", duration) for duration in (900, 1, 1, 1)),
        *(event("model_run", duration, "Session") for duration in (2000, 40, 41, 42)),
    ]
    nodes, run = read_profile(events, skip=1)
    assert [(node.name, node.layer, node.median_us) for node in nodes] == [
        ("blocks.0.attn.qkv", "blocks.0", 20),
        ("head", "head", 1),
    ]
    assert run == 41
    assert totals(nodes, lambda node: node.operator)[0]["total_us"] == 21
    assert layer_of("image.quantized") == "image"


def test_kernels(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    options = ("--rounds", "1", "--seconds", "0", "--json", "--cpu", "portable")
    result = call(capsys, "bench", "--kernels", model, *options)
    assert (result.status, result.err) == (0, "")
    content = json.loads(result.out)
    assert content["functions"] == [{"nonlinear": "table", "softmax_bits": 8}]
    (variant,) = content["variants"]
    assert variant["variant"] == "portable"
    assert {entry["operator"] for entry in variant["kernels"]} == {
        "IntLinear",
        "IntDeferredAttention",
        "IntTokenMlpAdd",
        "IntLayerNorm",
    }
    assert any(entry["shape"].endswith(" heads, 8 bits") for entry in variant["kernels"])
    (listing,) = tables.listings(content)
    assert listing.notes == ["ivit-onnx: softmax of 8 bits and GELU by tables"]
    assert "\n\nivit-onnx: softmax of 8 bits and GELU by tables.\n\n" in performance_page.render("7-kernels", content)
    for entry in variant["kernels"]:
        assert (entry["gmacs_per_second"] is None) == (entry["operator"] == "IntLayerNorm")
        assert entry["median_us"] >= entry["min_us"] > 0


@pytest.mark.parametrize("settings", [Settings("table", 15), Settings("table", 8), Settings("ivit", 8)], ids=str)
@pytest.mark.parametrize("arch", [TINY, TINY_SWIN], ids=["vit", "swin"])
def test_kernel_models_have_varied_outputs(arch: Architecture, settings: Settings) -> None:
    """The constants are such that values neither vanish nor saturate."""
    from sessions import session

    for build in kernel_cases(arch, settings):
        case = build()
        output = session(onnx.load_from_string(kernel_model(case))).run(["y0"], dict(case.inputs))[0]
        ends = np.iinfo(output.dtype)
        assert output.dtype == case.output.dtype
        assert output.shape == case.output.shape
        assert len(np.unique(output)) > 20, case.operator
        assert np.isin(output, (ends.min, ends.max)).mean() < 0.5, case.operator


def test_peak_is_positive_where_known() -> None:
    variants = machine.cpu_variants()
    assert all(peak > 0 for peak in machine.int8_peak(variants, 0.01).values())
    assert machine.int8_peak(["no such variant"], 0.01) == {}


def test_tables_and_pages_of_results(compared: dict[str, Any]) -> None:
    first, second = tables.listings(compared)
    assert "batch 2" in second.title
    assert [row[0] for row in first.rows] == ["ivit-onnx", "ONNX Runtime fp32"]
    assert len(first.columns) == len(first.rows[0])
    assert first.notes[0] == "ivit-onnx: softmax of 8 bits and GELU by tables"
    assert "nncf" in first.notes[1]
    section = performance_page.render("1-cost-by-batch", compared)
    assert section.startswith("### Cost by batch\n")
    assert "\n\nivit-onnx: softmax of 8 bits and GELU by tables.\n\n" in section
    median = compared["cases"][0]["contestants"][1]["median_ms"]
    assert f"| {median:.2f} |" in section
    page = f"a\n\n{performance_page.BEGIN}\nold\n{performance_page.END}\n\nb\n"
    once = performance_page.replace_results(page, [section])
    assert "old" not in once
    assert performance_page.replace_results(once, [section]) == once
    with pytest.raises(ValueError, match="marks"):
        performance_page.replace_results("a", [])


def test_page_is_current() -> None:
    folder, page = ROOT / "benchmarks" / "results", ROOT / "docs" / "performance.md"
    assert performance_page.main(["--check", "--results", str(folder), "-o", str(page)]) == 0


def test_results_tell_nothing_about_the_place() -> None:
    """Committed results name machine and versions, no paths."""
    for file in (ROOT / "benchmarks" / "results").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "/home" not in text
        assert str(ROOT) not in text
        assert "NaN" not in text


def test_plot(compared: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    from ivit_onnx.bench.plot import plot

    plot(compared, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert math.isfinite((tmp_path / "speed.png").stat().st_size)


def test_lists_take_all_values(capsys: pytest.CaptureFixture[str], model: Path, cache: Path) -> None:
    result = call(capsys, "bench", "--batch", "1", "2", model, *QUICK, "--cache", cache)
    assert (result.status, result.err) == (0, "")
    assert [case["batch"] for case in json.loads(result.out)["cases"]] == [1, 2]


def test_table_for_people(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    result = call(capsys, "bench", model, *QUICK[:-1])
    assert (result.status, result.err) == (0, "")
    assert "digits.onnx, batch 1, 1 thread:" in result.out
    assert "GMAC/s" in result.out
    assert "ivit-onnx: softmax of 8 bits and GELU by tables" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to measure"),
        (("missing.onnx",), "no such model file"),
        (("--models", "deit_smal_patch16_224"), "did you mean"),
        (("--compare", "--peers", "tvm"), "unknown baseline 'tvm'; known are ort-fp32"),
        (("--peers", "ort-fp32"), "pass --compare too"),
        (("--profile", "--kernels"), "choose one"),
        (("--batch", "0"), "'--batch': expected an integer in 1..1000000, found '0'"),
        (("--softmax-bits", "9"), "'--softmax-bits': expected one of 7, 8, 15, found '9'"),
        (("--nonlinear", "relu"), "'--nonlinear': expected one of ivit, table, found 'relu'"),
        (("m.onnx", "--softmax-bits", "8"), "a model file has its own"),
        (("--plot", "speed.bmp"), ".png, .svg or .pdf"),
        (("--models", "deit_tiny_patch16_224", "--threads", "1000"), "1000 threads need as many processors"),
        (("--batch", "many"), "(see ivit-bench --help)"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert message in call(capsys, "bench", *arguments).error()


def test_unknown_kernel_variant(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_variants", lambda: ["avx2", "portable"])
    message = call(capsys, "bench", "m.onnx", "--cpu", "portable", "avx9").error()
    assert "'avx9' is not available on this machine; available: avx2, portable" in message


def test_another_checkpoint_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("--models", "deit_tiny_patch16_224", "--checkpoint", MICRO, "--cache", tmp_path, "--threads", "1")
    message = call(capsys, "bench", *arguments).error()
    assert f"{MICRO} is not of deit_tiny_patch16_224: tensor" in message


def test_no_plot_without_its_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'matplotlib: pip install "ivit-onnx[bench]"' in call(capsys, "bench", "m.onnx", "--plot", "a.png").error()
