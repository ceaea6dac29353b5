"""The commands: ivit-export, ivit-run, ivit-verify, ivit-bench, ivit-eval, ivit-report and ivit-train.

Exit status: 0 success, 1 `ivit-verify` found a difference, or some of the images of `ivit-run` or `ivit-eval` could not
be read, 2 the input or the options are wrong (one line on standard error says how). Anything else that is raised is a
defect and shows its traceback.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from ivit_onnx.errors import IvitError

__all__ = ["bench_main", "eval_main", "export_main", "report_main", "run_main", "train_main", "verify_main"]

#: Packages that only come with an extra of ivit-onnx.
OPTIONAL_PACKAGES = frozenset(
    {
        *("torch", "timm", "onnx", "onnx_ir", "onnxscript", "safetensors", "google"),
        *("onnxruntime", "typer", "click", "rich", "PIL", "matplotlib", "jinja2"),
        *("accelerate", "tensorboard"),
    }
)


def bench_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-bench`: how fast models are, beside other runtimes. Returns the exit status."""
    return _main("bench", arguments, extras="bench")


def export_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-export`: a checkpoint to an integer-only ONNX file. Returns the exit status."""
    return _main("export", arguments, extras="export")


def eval_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-eval`: accuracy on labelled images. Returns the exit status."""
    return _main("eval", arguments, extras="cpu,export")


def report_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-report`: where a model loses accuracy. Returns the exit status."""
    return _main("report", arguments, extras="report")


def run_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-run`: classify images with an exported model. Returns the exit status."""
    return _main("run", arguments, extras="cpu")


def train_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-train`: quantisation-aware training, and that of floating-point networks. Returns the exit status."""
    return _main("train", arguments, extras="train")


def verify_main(arguments: Sequence[str] | None = None) -> int:
    """`ivit-verify`: check that a model is integer-only and bit-exact. Returns the exit status."""
    return _main("verify", arguments, extras="cpu,export")


def _main(command: str, arguments: Sequence[str] | None, *, extras: str) -> int:
    _clean_up_when_terminated()
    # Pillow warns of what it can read all the same, and names of files need not be text.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app = importlib.import_module(f"ivit_onnx.cli.{command}").app
        name = f"ivit-{command}"
        status = app(args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except IvitError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in OPTIONAL_PACKAGES:
            raise
        return _complain(f'ivit-{command} needs the package {package}: pip install "ivit-onnx[{extras}]"')
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader of our output has gone, as in `ivit-run ... | head`
        sys.stdout = None  # type: ignore[assignment]
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors; their module moved between its versions
            return _complain(f"{error.format_message()} (see ivit-{command} --help)")
        if type(error).__name__ == "Abort":
            return _interrupted()
        raise


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return 130


def _complain(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _clean_up_when_terminated() -> None:
    """Let SIGTERM unwind the stack, so that no half-written file stays behind."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: whoever called us handles signals
        return
