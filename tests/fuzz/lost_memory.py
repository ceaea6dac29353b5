"""`python -P -m fuzz.lost_memory [--sessions N]`: memory of the library that nobody can free any more.

For the library of `make sanitize`, with the sanitizer's run-time library preloaded. A process does what `fuzz.leaks`
does, and has LeakSanitizer look, when it ends, for blocks that nothing points to. Python and ONNX Runtime lose some of
their own; counted are those that the library took. A second process loses some on purpose: they have to be found.
Ends with status 1 when the first lost any, or when those of the second are not found.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime

import ivit_onnx
from fuzz.leaks import workloads

#: Frames of a stack among which the library has to be: it, or what it called, asked for the memory.
NEAR = 12
#: A line of a stack: the frame's number, its module, and its function with the place in the source.
FRAME = "    #%n %m %f %S"


def work(sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, once in workloads(Path(folder)).items():
            for _ in range(sessions):
                once()
            print(f"{name}: {sessions}", flush=True)


def lose(blocks: int) -> None:
    """Makes factories of the execution provider as ONNX Runtime does, and forgets them."""
    (runtime,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    base = ctypes.CDLL(str(runtime)).OrtGetApiBase
    base.restype = ctypes.c_void_p
    create = ctypes.CDLL(ivit_onnx.library_path()).CreateEpFactories
    create.restype = ctypes.c_void_p
    factory, count = (ctypes.c_void_p * 1)(), ctypes.c_size_t()
    for _ in range(blocks):
        status = create(b"lost", ctypes.c_void_p(base()), None, factory, ctypes.c_size_t(1), ctypes.byref(count))
        if status or count.value != 1:
            raise AssertionError(f"expected one factory, found {count.value}")
    factory[0] = None


TASKS = {"work": work, "lose": lose}


def lost_blocks(task: str, times: int) -> list[str]:
    """Stacks of the blocks that the library took and that are lost when a process with this task ends."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            # Python's own allocator keeps objects, and pointers in them, where LeakSanitizer does not look.
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=1:stack_trace_format='{FRAME}'",
            "LSAN_OPTIONS": f"exitcode=0:log_path={folder}/report",
        }
        command = [sys.executable, "-P", "-m", "fuzz.lost_memory", "--task", task, "--sessions", str(times)]
        subprocess.run(command, check=True, env={**os.environ, **settings})
        report = "".join(path.read_text(errors="replace") for path in Path(folder).glob("report*"))
    blocks = re.split(r"\n(?=Direct leak|Indirect leak|SUMMARY)", report)[1:]
    return [block for block in blocks if any("libivit_ort.so" in line for line in block.splitlines()[1 : NEAR + 1])]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m fuzz.lost_memory", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.environ.get("IVIT_SANITIZER") != "address":
        parser.error("expected the library of the address sanitizer: use make leaks")
    if options.task:
        TASKS[options.task](options.sessions)
        return 0
    found, planted = lost_blocks("work", options.sessions), lost_blocks("lose", 8)
    print("\n".join(found), end="")
    print(f"places of the library that lost memory: {len(found)}; lost on purpose and found: {len(planted)}")
    return 0 if planted and not found else 1


if __name__ == "__main__":
    sys.exit(main())
