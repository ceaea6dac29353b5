"""Time beside accuracy: which row of one file belongs to which of the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the export extra is not installed")

import time_and_accuracy

from ivit_onnx.bench.settings import Settings
from test_bench import TINY


def row(name: str, by: str, decibels: float, **settings: Any) -> dict[str, Any]:
    close = {"sqnr_db": decibels, "cosine": 0.99, "worst": 0.9}
    return {"name": name, "by": by, "settings": settings, "class_token": close, "patch_tokens": close}


def entry(name: str, milliseconds: float, settings: Settings | None = None) -> dict[str, Any]:
    notes = {} if settings is None else settings.to_json()
    return {"name": name, "title": name.upper(), "median_ms": milliseconds, "ratio": milliseconds / 2, "notes": notes}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    default = Settings.default(TINY)
    other = Settings("ivit", 8)
    assert other != default
    contestants = [
        entry("ivit", 2, default),
        entry("ivit-compiled", 1.5, default),
        entry("ivit-shifts-softmax8", 1.75, other),
        entry("ort-fp32", 9),
        entry("openvino-int8", 3),
        entry("litert-dynamic-int8", 4),
    ]
    case = {"model": "tiny", "batch": 1, "threads": 2, "arch": TINY.to_json(), "contestants": contestants}
    rows = [
        {"name": "float32", "tasks": {}},
        row("best", "ivit-onnx", 27.0, calib_preset="best"),
        row("default", "ivit-onnx", 26.0),
        row("shifts", "ivit-onnx", 19.0, nonlinear="ivit", softmax_bits=8),
        row("openvino-int8", "OpenVINO", 23.0),
        row("openvino-int8, the rest in float32", "OpenVINO", 24.0),
        {"name": "litert-dynamic-int8", "by": "LiteRT", "settings": {}, "skipped": "needs ai_edge_litert"},
    ]
    times, accuracy = tmp_path / "times.json", tmp_path / "accuracy.json"
    times.write_text(json.dumps({"kind": "models", "cases": [case, {**case, "batch": 8}]}))
    accuracy.write_text(json.dumps({"network": {"package": "focus", "version": "1"}, "rows": rows}))
    return times, accuracy


def test_table(capsys: pytest.CaptureFixture[str], files: tuple[Path, Path]) -> None:
    times, accuracy = files
    time_and_accuracy.main([str(times), "--accuracy", str(accuracy)])
    first, second = capsys.readouterr().out.split("tiny, ")[1:]
    assert first.startswith("batch 1, 2 threads; accuracy on focus 1:\n\n| ")
    assert second.startswith("batch 8, 2 threads;")
    assert first.strip().splitlines()[4:] == [
        "| IVIT-COMPILED | 1.50 | 0.75x | 26.0 | 26.0 | 0.9 |",
        "| IVIT-SHIFTS-SOFTMAX8 | 1.75 | 0.88x | 19.0 | 19.0 | 0.9 |",
        "| IVIT | 2.00 | 1.00x | 26.0 | 26.0 | 0.9 |",
        "| OPENVINO-INT8 | 3.00 | 1.50x | 23.0 | 23.0 | 0.9 |",
        "| LITERT-DYNAMIC-INT8 | 4.00 | 2.00x | - | - | - |",
        "| ORT-FP32 | 9.00 | 4.50x | - | - | - |",
    ]


def test_plot(capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    times, accuracy = files
    time_and_accuracy.main([str(times), "--accuracy", str(accuracy), "--plot", str(tmp_path / "plot.svg")])
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    for label in ("IVIT-COMPILED", "OPENVINO-INT8", "LITERT-DYNAMIC-INT8", "ORT-FP32", "tiny, batch 8, 2 threads"):
        assert f"<!-- {label} -->" in drawn


def test_other_files_are_refused(capsys: pytest.CaptureFixture[str], files: tuple[Path, Path]) -> None:
    times, accuracy = files
    with pytest.raises(SystemExit) as error:
        time_and_accuracy.main([str(accuracy), "--accuracy", str(times)])
    assert error.value.code == 2
    assert "from ivit-bench --compare --json" in capsys.readouterr().err


def test_committed_rows_have_names_that_are_measured() -> None:
    import real_baselines
    import real_exports

    folder = Path(time_and_accuracy.__file__).parent
    rows = json.loads((folder / "real.json").read_text(encoding="utf-8"))["rows"]
    assert {entry["name"] for entry in rows} <= {"float32", *real_exports.EXPORTS, *real_baselines.BASELINES}
