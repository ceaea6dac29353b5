"""Runs cases of one harness in this process: `python -m fuzz.worker HARNESS FOLDER`, seeds as lines on standard input.

Answers each seed with a line of JSON: what became of the case, the megabytes by which it raised the peak of memory.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path

#: Bytes of memory of its own that a process may take: more than any case needs, less than a machine has.
DATA_LIMIT = 12 << 30


def peak() -> int:
    """The largest resident size since the last reset, in bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main(harness: str, folder: str) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print goes to standard error
    if "IVIT_SANITIZER" not in os.environ:  # sanitizers reserve terabytes
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = importlib.import_module(f"fuzz.{harness}")
    if hasattr(module, "prepare"):
        module.prepare(Path(folder))
    for line in sys.stdin:
        reset_peak()
        before = peak()
        answer = {"result": "", "error": None}
        try:
            answer["result"] = module.check(int(line), Path(folder))
        except Exception:
            answer["error"] = traceback.format_exc()
        answers.write(json.dumps({**answer, "megabytes": (peak() - before) >> 20}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
