"""The commands: ivit-export, ivit-run, ivit-verify, ivit-bench, ivit-eval, ivit-report and ivit-train.

Their exit status, whatever they meet, is one of `STATUSES`. With 2 there is one line on standard error that says what
was expected, what was found and what to do, and every output file is as it was before, or whole where standard output
alone could not be written. Text that comes from files or from the command line is printed with escapes for all that a
terminal would act on (`ivit_onnx.printable`). Anything else that is raised is a defect and shows its traceback.
"""

from __future__ import annotations

import importlib
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from ivit_onnx.cli._streams import standard_streams
from ivit_onnx.errors import IvitError
from ivit_onnx.printable import printable

__all__ = ["STATUSES", "bench_main", "eval_main", "export_main", "report_main", "run_main", "train_main", "verify_main"]

#: What each exit status means; docs/usage.md has the same. A reader of standard output that goes away changes nothing.
STATUSES = {
    0: "success",
    1: "`ivit-verify` found a float, a possible overflow, another body, a difference or images that show nothing, or "
    "`ivit-run` or `ivit-eval` could not read some of the images",
    2: "the input, an option or the environment is wrong, or a file or standard output cannot be written",
    129: "ended by SIGHUP, when its terminal was closed",
    130: "interrupted by Ctrl-C",
    143: "ended by SIGTERM",
}

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
    with standard_streams() as streams:
        status = _status(command, arguments, extras)
        lost = streams.lost()
        return status if lost is None else _complain(f"cannot write to standard output: {lost}")


def _status(command: str, arguments: Sequence[str] | None, extras: str) -> int:
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
    except OSError as error:  # the disk, a right, a name: never ours to know beforehand
        where = "" if error.filename is None else f"{error.filename}: "
        return _complain(f"{where}{error.strerror or error}")
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors; their module moved between its versions
            return _complain(f"{' '.join(error.format_message().split())} (see ivit-{command} --help)")
        if type(error).__name__ == "Abort":
            return _interrupted()
        raise


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return 130


def _complain(message: str) -> int:
    print(f"error: {printable(message)}", file=sys.stderr)
    return 2


def _clean_up_when_terminated() -> None:
    """Let SIGTERM and SIGHUP unwind the stack, so that no half-written file stays behind."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    try:
        signal.signal(signal.SIGTERM, stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, stop)
    except ValueError:  # not in the main thread: whoever called us handles signals
        return
