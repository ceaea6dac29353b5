"""Sessions of ONNX Runtime with the kernels of this package."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ivit_onnx
from ivit_onnx.errors import IvitError, MissingExtraError, ModelError
from ivit_onnx.files import utf8_path
from ivit_onnx.inputs import check_input, reason_of
from ivit_onnx.numbers import check_numbers
from ivit_onnx.opset_version import check_opset_version
from ivit_onnx.processors import processors

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "CHECKED",
    "CUDA",
    "DEVICES",
    "IVIT",
    "Provider",
    "create_session",
    "library_path",
    "load_runtime",
    "register",
    "require_providers",
]

LIBRARY = "lib/libivit_ort.so"

#: An execution provider by name, or with its options.
Provider = str | tuple[str, Mapping[str, Any]]

CPU, CUDA, IVIT = "CPUExecutionProvider", "CUDAExecutionProvider", "IVitExecutionProvider"

#: What each of `ivit_onnx.options.choices.Device` means to ONNX Runtime.
DEVICES: Mapping[str, tuple[Provider, ...]] = {
    "cpu": (CPU,),
    "cuda": (CUDA, CPU),
    "ivit-cpu": ((IVIT, {"device": "cpu"}), CPU),
    "ivit-cuda": ((IVIT, {"device": "cuda"}), CPU),
}

#: The oldest ONNX Runtime that has what the library calls.
OLDEST = (1, 23)

#: The execution providers that give the integers of the function bodies; tests compare each of them.
CHECKED = (CPU, CUDA, IVIT)

_registering = threading.Lock()


def library_path() -> str:
    """Path of the custom-operator library, for `onnxruntime.SessionOptions.register_custom_ops_library`.

    Raises:
        IvitError: The package was installed without its native library.
    """
    # In an editable installation the package has several folders, the built library in one of its own.
    candidates = [Path(folder) / LIBRARY for folder in ivit_onnx.__path__]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    searched = ", ".join(str(candidate) for candidate in candidates)
    raise IvitError(f"the native library of ivit-onnx is missing (looked for {searched}); install the package again")


def register() -> list[Any]:
    """Make IVitExecutionProvider known to ONNX Runtime, once in a process, and return its devices.

    The devices (`onnxruntime.OrtEpDevice`) are for `SessionOptions.add_provider_for_devices`; `create_session` with
    `provider="ivit-cpu"` does both.

    Raises:
        MissingExtraError: ONNX Runtime is not installed, or too old.
        IvitError: The package was installed without its native library, or it does not load.
    """
    ort = load_runtime()
    with _registering:
        found = _provider_devices(ort)
        if not found:
            try:
                ort.register_execution_provider_library(IVIT, library_path())
            except Exception as error:
                if not type(error).__module__.startswith("onnxruntime."):
                    raise
                raise IvitError(f"{IVIT} cannot be registered: {' '.join(str(error).split())}") from error
            found = _provider_devices(ort)
    return found


def _provider_devices(ort: Any) -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == IVIT]


def create_session(
    model: str | os.PathLike[str] | bytes,
    providers: Sequence[Provider] | None = None,
    *,
    provider: str | None = None,
    threads: int | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
    kernels: bool = True,
    unchecked_providers: bool = False,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session for a model that `export` wrote, in a file or in memory.

    Args:
        model: The model file, or its bytes. A model whose weights are in a file of their own has to be a file.
        providers: Execution providers in order of preference, each a name, or a name with a dictionary of its options;
            the CPU provider by default. Each of them takes part or the session is not created: ONNX Runtime itself
            would leave one out and run on the CPU. `IVitExecutionProvider` takes the options of
            docs/execution-provider.md.
        provider: One of `DEVICES` instead: "cpu", "cuda", or, compiled, "ivit-cpu" and "ivit-cuda".
        threads: Threads of the session's pool; by default one per core, or as many as the affinity mask and the
            quota of the container allow, if these are fewer.
        session_options: Options to start from; the kernel library is added to them. They serve for several sessions
            with the same kernels and the same options of `IVitExecutionProvider`.
        kernels: False runs the integer operators of the file's own functions: slow, the same integers.
        unchecked_providers: True allows execution providers other than those of `CHECKED`. They may return other
            integers without a word: `OpenVINOExecutionProvider` computes int64 as int32.

    Raises:
        MissingExtraError: ONNX Runtime is not installed, or a build of it without a provider.
        IvitError: The kernels of this installation are those for CPUs only, and the CUDA provider is asked for.
        ModelError: The file is missing, damaged, or rejected by ONNX Runtime or by a kernel.
        ModelError: The file is for a version of the domain `ivit` that this installation does not have. With
            `kernels=False` it runs, by its own functions.
        IvitError: A provider is there but does not start, for want of a device, a driver or CUDA's libraries.
        IvitError: `session_options` come from a session with other kernels.
        IvitError: A provider is not known to give the model's integers, and `unchecked_providers` is not set.
        OptionError: `threads` is out of its range.
    """
    ort = load_runtime()
    check_numbers(threads=threads)
    name, source = _source(model)
    if kernels:
        check_opset_version(model, name)
    wanted = _wanted(providers, provider)
    names = [entry if isinstance(entry, str) else entry[0] for entry in wanted]
    compiled = IVIT in names
    _check_together(names, kernels=kernels)
    if not unchecked_providers:
        _require_checked(names)
    if not compiled:
        require_providers(names)
    if CUDA in names:
        _prepare_cuda(ort, kernels=kernels)
    options = ort.SessionOptions() if session_options is None else session_options
    _set_threads(options, threads)
    _add_library(ort, options, wanted, kernels=kernels, compiled=compiled)
    session = _start(ort, source, name, options, names, None if compiled else wanted)
    if not unchecked_providers:  # those of the session options too
        _require_checked(session.get_providers())
    _require_present(names, session.get_providers())
    return session


def _source(model: str | os.PathLike[str] | bytes) -> tuple[str, str | bytes]:
    """What messages call a model, and what ONNX Runtime loads. Raises ModelError where there is no such file."""
    if isinstance(model, bytes):
        return "the model in memory", model
    name = os.fspath(model)
    try:
        check_input(model)
        return name, utf8_path(name)
    except FileNotFoundError:
        raise ModelError(f"{name}: no such model file") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: no model file: {reason_of(error)}") from None


def _wanted(providers: Sequence[Provider] | None, provider: str | None) -> list[Provider]:
    """The execution providers that are asked for, in order of preference."""
    if provider is not None:
        if providers is not None:
            raise IvitError("create_session: expected providers or provider, found both")
        if provider not in DEVICES:
            raise IvitError(f"create_session: provider: expected one of {', '.join(DEVICES)}, found {provider!r}")
        providers = DEVICES[provider]
    wanted: list[Provider] = [CPU] if providers is None else list(providers)
    if not wanted:
        raise IvitError(f"create_session: providers: expected at least one, such as {CPU}, found none")
    return wanted


def _check_together(names: Sequence[str], *, kernels: bool) -> None:
    """IVitExecutionProvider consists of kernels, and stands beside the CPU provider alone."""
    if IVIT not in names:
        return
    if not {*names} <= {IVIT, CPU}:
        raise IvitError(f"create_session: expected no other provider but {CPU} beside {IVIT}, found {', '.join(names)}")
    if not kernels:
        raise IvitError(
            f"create_session: expected no {IVIT} with kernels=False (--no-kernels), found both: it consists of kernels"
        )


def _prepare_cuda(ort: Any, *, kernels: bool) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses
        ort.preload_dlls()  # those of NVIDIA's Python packages, where the system has none
    if kernels:
        _require_cuda_kernels(Path(library_path()))


def _set_threads(options: Any, threads: int | None) -> None:
    if threads is not None:
        options.intra_op_num_threads = threads
    elif options.intra_op_num_threads == 0 and processors() < (os.cpu_count() or 1):
        options.intra_op_num_threads = processors()  # ONNX Runtime itself counts the machine's cores


def _add_library(ort: Any, options: Any, wanted: Sequence[Provider], *, kernels: bool, compiled: bool) -> None:
    """Adds operators and compiler to session options, unless a session before has added the same."""
    compiler = next((dict(p[1]) for p in wanted if not isinstance(p, str) and p[0] == IVIT), {})
    prepared = f"kernels {kernels}, {IVIT} {sorted(compiler.items()) if compiled else None}"
    if _is_prepared(options, prepared):
        return
    if kernels and not (compiled and _provider_brings_operators(ort)):
        _add_operators(options)
    if compiled:
        _add_compiler(options, compiler)
    options.add_session_config_entry(_PREPARED, prepared)


def _start(
    ort: Any, source: str | bytes, name: str, options: Any, names: list[str], providers: list[Provider] | None
) -> onnxruntime.InferenceSession:
    """The session. What ONNX Runtime and its providers raise becomes ModelError or IvitError."""
    try:
        session: onnxruntime.InferenceSession = ort.InferenceSession(
            source, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime has one exception type for each status, without a common base
        message = " ".join(str(error).split())
        if isinstance(error, UnicodeDecodeError):  # the error's own message, which has names of the model in it
            raise ModelError(f"{name} cannot be loaded: it has names that are not valid UTF-8") from error
        if type(error).__module__.startswith("onnxruntime."):
            raise ModelError(f"{name} cannot be loaded: {message}") from error
        if names != [CPU] and isinstance(error, (RuntimeError, ValueError)):  # a provider's, from before the model
            raise IvitError(f"{names[0]} does not start: {message}") from error
        raise
    return session


def _require_present(names: Sequence[str], found: Sequence[str]) -> None:
    """ONNX Runtime leaves out a provider that does not start, and runs on the CPU."""
    absent = [name for name in names if name not in found]
    if absent:
        raise IvitError(f"{absent[0]} does not start, and ONNX Runtime would run on the CPU: {_advice(absent[0])}")


#: The entry of session options that says what `create_session` has added to them.
_PREPARED = "ivit.prepared"


def _is_prepared(options: Any, wanted: str) -> bool:
    """Whether session options have the library already, from a session before: adding it twice is an error."""
    try:
        found = options.get_session_config_entry(_PREPARED)
    except RuntimeError:  # what ONNX Runtime raises for an entry that is not there
        return False
    if found != wanted:
        raise IvitError(
            f"create_session: session_options were used for a session with {found}, and keep that; expected new ones "
            f"for {wanted}"
        )
    return True


def _add_operators(options: Any) -> None:
    """Adds the library's operators to session options. It refuses a wrong IVIT_CPU, for example."""
    try:
        options.register_custom_ops_library(library_path())
    except Exception as error:  # ONNX Runtime has one exception type for each status, without a common base
        if not type(error).__module__.startswith("onnxruntime."):
            raise
        raise IvitError(f"the kernels cannot be registered: {' '.join(str(error).split())}") from error


def _add_compiler(options: Any, provider_options: dict[str, Any]) -> None:
    """Adds IVitExecutionProvider to session options. The option `device` chooses one of its devices, "cpu" if none."""
    wanted = provider_options.pop("device", "cpu")
    devices = register()
    chosen = [device for device in devices if device.ep_metadata["device"] == wanted]
    if not chosen and wanted == "cuda":
        raise IvitError(
            f"{IVIT} finds no GPU: it needs an NVIDIA GPU with its driver (see nvidia-smi), and an ivit-onnx that was "
            "installed where nvcc was (see docs/gpu.md)"
        )
    if not chosen:
        found = ", ".join(device.ep_metadata["device"] for device in devices)
        raise IvitError(f"{IVIT}: option device: expected one of {found}, found {wanted!r}")
    if options.intra_op_num_threads > 0:
        provider_options.setdefault("threads", options.intra_op_num_threads)
    options.add_provider_for_devices(chosen[:1], {name: str(value) for name, value in provider_options.items()})


def _provider_brings_operators(ort: Any) -> bool:
    """Whether session options get the library's operators with the provider; adding them twice is a warning."""
    major, minor = ort.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (1, 24)


def _require_checked(names: Sequence[str]) -> None:
    for name in names:
        if name in CHECKED:
            continue
        why = "may return other integers without a word"
        if name == "OpenVINOExecutionProvider":
            why = "computes int64 as int32, and returns other integers without a word"
        raise IvitError(
            f"create_session: expected providers of {', '.join(CHECKED)}, found {name}, which {why}: leave it out, or "
            "pass unchecked_providers=True and compare its integers"
        )


def require_providers(names: Sequence[str]) -> None:
    """Check that the installed ONNX Runtime was built with execution providers; whether they start is another matter.

    Raises MissingExtraError naming the package to install, IvitError for a provider that has no package of ours.
    """
    ort = load_runtime()
    available = ort.get_available_providers()
    for name in names:
        if name in available:
            continue
        found = f"expected {name}, found onnxruntime {ort.__version__} with {', '.join(available)} only"
        if name == CUDA:
            raise MissingExtraError(
                f"{found}: pip uninstall onnxruntime, then pip install 'ivit-onnx[gpu]', which brings onnxruntime-gpu"
            )
        raise IvitError(f"{found}: install a build of ONNX Runtime that has it")


def _require_cuda_kernels(library: Path) -> None:
    """A library that was built without CUDA has kernels for the CPU alone, and ONNX Runtime would use those.

    The library registers its kernels under the provider's name, so the name is in the file where they are.
    """
    if CUDA.encode() not in library.read_bytes():
        raise IvitError(
            f"expected kernels for {CUDA}, found a library for CPUs only ({library}): install ivit-onnx from its "
            "sources where nvcc is on PATH"
        )


def _advice(provider: str) -> str:
    if provider != CUDA:
        return "its device or its libraries are missing"
    return (
        "it needs an NVIDIA GPU with its driver (see nvidia-smi), and the libraries of CUDA and cuDNN for "
        "onnxruntime-gpu (pip install 'onnxruntime-gpu[cuda,cudnn]')"
    )


def load_runtime() -> Any:
    """The package onnxruntime. Raises MissingExtraError when it is not installed, does not start, or is too old."""
    advice = "pip install 'ivit-onnx[cpu]' (or 'ivit-onnx[gpu]') brings it"
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            if error.name != "onnxruntime":
                raise
            raise MissingExtraError(f"ONNX Runtime is not installed; {advice}") from None
        raise MissingExtraError(f"ONNX Runtime does not start ({' '.join(str(error).split())}); {advice}") from error
    found = re.match(r"(\d+)\.(\d+)", getattr(onnxruntime, "__version__", ""))
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        version = "one without a version" if found is None else onnxruntime.__version__
        wanted = ".".join(map(str, OLDEST))
        raise MissingExtraError(f"expected onnxruntime {wanted} or newer, found {version}; {advice}")
    return onnxruntime
