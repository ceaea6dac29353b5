"""Sessions, the library's entry point and the import of the package."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import ivit_onnx
from cases import random_case
from graphs import single_operator_model
from ivit_onnx.errors import IvitError, MissingExtraError, ModelError
from sessions import assert_equal, expected, run


def python(code: str) -> str:
    """Standard output of `code` in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_create_session(tmp_path: Path, kernels: bool, threads: int | None) -> None:
    case = random_case("IntAttention", np.random.default_rng(0))
    model = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case), model)
    session = ivit_onnx.create_session(model, threads=threads, kernels=kernels)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert_equal(run(session, case), expected(case))


def test_create_session_extends_given_options(tmp_path: Path) -> None:
    case = random_case("Shiftmax", np.random.default_rng(0))
    model = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, functions=False), model)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    assert_equal(run(ivit_onnx.create_session(model, session_options=options), case), expected(case))
    assert (tmp_path / "optimized.onnx").is_file()


@pytest.mark.parametrize("provider", ["cpu", "ivit-cpu"])
def test_session_options_serve_for_several_sessions(provider: str, tmp_path: Path) -> None:
    case = random_case("IntLayerNorm", np.random.default_rng(0))
    model = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case), model)
    options = onnxruntime.SessionOptions()
    for _ in range(2):
        session = ivit_onnx.create_session(model, provider=provider, session_options=options)
        assert_equal(run(session, case), expected(case))
    with pytest.raises(IvitError, match="session_options were used for a session with kernels True"):
        ivit_onnx.create_session(model, provider="cpu", session_options=options, kernels=provider == "ivit-cpu")


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such model file"):
        ivit_onnx.create_session(tmp_path / "absent.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256))], ids=["empty", "text", "binary"])
def test_damaged_model(tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "damaged.onnx"
    model.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged.onnx cannot be loaded: .") as error:
        ivit_onnx.create_session(model)
    assert "\n" not in str(error.value)


def test_truncated_model(tmp_path: Path) -> None:
    model = tmp_path / "truncated.onnx"
    content = single_operator_model(random_case("IntLinear", np.random.default_rng(0))).SerializeToString()
    model.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"truncated.onnx cannot be loaded"):
        ivit_onnx.create_session(model)


def test_rejected_by_a_kernel(tmp_path: Path) -> None:
    case = random_case("IntLayerNorm", np.random.default_rng(0))
    case.inputs["shift"][:] = 63
    model = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=True), model)
    with pytest.raises(ModelError, match=r"IntLayerNorm: values of input shift: expected 1\.\.62, found 63"):
        ivit_onnx.create_session(model)


def test_library_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ivit_onnx, "__path__", [str(tmp_path)])
    with pytest.raises(IvitError, match="native library of ivit-onnx is missing"):
        ivit_onnx.library_path()


CUDA = "CUDAExecutionProvider"


def model_file(folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(single_operator_model(random_case("IntAttention", np.random.default_rng(0)), constants=True), path)
    return path


def test_provider_with_options(tmp_path: Path) -> None:
    providers = [("CPUExecutionProvider", {"use_arena": 0})]
    session = ivit_onnx.create_session(model_file(tmp_path), providers)
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("provider", [CUDA, (CUDA, {"enable_cuda_graph": 1})], ids=["name", "options"])
def test_cuda_provider_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str | tuple[str, dict[str, int]]
) -> None:
    """ONNX Runtime itself would warn and run on the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        MissingExtraError, match=r"^expected CUDAExecutionProvider, found onnxruntime .*pip install 'ivit-onnx\[gpu\]'"
    ) as error:
        ivit_onnx.create_session(model_file(tmp_path), [provider, "CPUExecutionProvider"])
    assert "\n" not in str(error.value)


def test_other_provider_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(IvitError, match=r"expected NoSuchExecutionProvider, found onnxruntime .*: install a build"):
        ivit_onnx.create_session(model_file(tmp_path), ["NoSuchExecutionProvider"], unchecked_providers=True)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(ivit_onnx.runtime, "_require_cuda_kernels", lambda library: None)
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, providers, **k: real(*a, providers=None, **k))


def test_cuda_provider_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a GPU, ONNX Runtime leaves the provider out."""
    pretend_cuda(monkeypatch)
    with pytest.raises(IvitError, match=r"does not start, and ONNX Runtime would run on the CPU: .*nvidia-smi"):
        ivit_onnx.create_session(model_file(tmp_path), [CUDA])


def test_provider_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_cuda(monkeypatch)

    def fail(*arguments: object, **options: object) -> None:
        assert options["enable_fallback"] == 0
        raise RuntimeError("CUDA failure 35: driver version\nis insufficient")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(
        IvitError, match="CUDAExecutionProvider does not start: CUDA failure 35: driver version is insuf"
    ):
        ivit_onnx.create_session(model_file(tmp_path), [CUDA, "CPUExecutionProvider"])


def test_libraries_are_loaded_quietly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime prints which libraries of CUDA it misses; standard output is for results."""
    pretend_cuda(monkeypatch)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so"))
    with pytest.raises(IvitError):
        ivit_onnx.create_session(model_file(tmp_path), [CUDA])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "libcublas" in captured.err


def test_kernels_for_cpus_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "lib" / "libivit_ort.so"
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF" + bytes(100))
    monkeypatch.setattr(ivit_onnx, "__path__", [str(tmp_path)])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    with pytest.raises(IvitError, match=r"found a library for CPUs only .* install ivit-onnx from its sources"):
        ivit_onnx.create_session(model_file(tmp_path), [CUDA])


def test_missing_onnxruntime_names_the_extra() -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None
import ivit_onnx, ivit_onnx.errors
try:
    ivit_onnx.create_session("model.onnx")
except ivit_onnx.errors.MissingExtraError as error:
    print(error)
"""
    assert "pip install 'ivit-onnx[cpu]'" in python(code)


def test_missing_onnx_names_the_extra() -> None:
    code = """
import sys
sys.modules["onnx"] = None
import ivit_onnx, ivit_onnx.errors
try:
    ivit_onnx.export
except ivit_onnx.errors.MissingExtraError as error:
    print(error)
"""
    assert "pip install 'ivit-onnx[export]'" in python(code)


def test_import_is_light() -> None:
    code = """
import sys, time
start = time.perf_counter()
import ivit_onnx
ivit_onnx.library_path()
print(time.perf_counter() - start)
print(sorted({"torch", "onnx", "onnxruntime", "onnxscript", "timm"} & set(sys.modules)))
"""
    seconds, heavy = python(code).splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"


def test_public_names() -> None:
    assert set(ivit_onnx.__all__) <= set(dir(ivit_onnx))
    assert all(hasattr(ivit_onnx, name) for name in ivit_onnx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        ivit_onnx.absent  # noqa: B018


def test_library_exports_its_entry_points_only() -> None:
    library = ctypes.CDLL(ivit_onnx.library_path())
    assert library.RegisterCustomOps
    symbols = subprocess.run(
        ["nm", "--dynamic", "--defined-only", ivit_onnx.library_path()], check=True, capture_output=True, text=True
    ).stdout
    entries = ["CreateEpFactories", "RegisterCustomOps", "ReleaseEpFactory"]
    questions = ["ivit_cpu_variant", "ivit_cpu_variants", "ivit_int8_peak_gmacs", "ivit_processor_quota"]
    # A library that was built for GPUs answers one question more.
    found = sorted(line.split()[-1] for line in symbols.splitlines() if "ivit_gpu_count" not in line)
    assert found == [*entries, *questions]


def test_older_runtime_gets_a_clear_status() -> None:
    """The entry point meets a runtime without our version of the interface, here one made of three functions."""
    messages: list[bytes] = []
    create_status = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    get_api = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)
    get_version = ctypes.CFUNCTYPE(ctypes.c_void_p)

    class Base(ctypes.Structure):
        _fields_ = [("get_api", get_api), ("get_version", get_version)]

    def status(_code: int, message: bytes) -> int:
        messages.append(message)
        return 1

    first_version = (create_status * 1)(create_status(status))  # OrtApi begins with CreateStatus
    version = ctypes.create_string_buffer(b"1.17.0")
    base = Base(
        get_api(lambda requested: ctypes.addressof(first_version) if requested == 1 else None),
        get_version(lambda: ctypes.addressof(version)),
    )
    register = ctypes.CDLL(ivit_onnx.library_path()).RegisterCustomOps
    register.restype = ctypes.c_void_p
    assert register(None, ctypes.byref(base)) == 1
    assert messages == [b"ivit: this library needs ONNX Runtime 1.23 or newer, found 1.17.0"]
