"""`python -P -m fuzz.coverage_guided checkpoint|cache CORPUS [libFuzzer's options]`: bytes that reach new code.

The readers of checkpoints and calibration caches under atheris, which is libFuzzer for Python (`pip install atheris`).
The corpus is a folder; good files are put into it first. An exception that is not this package's, a hang (-timeout=N)
and growing memory (-rss_limit_mb=N) end the run, and the bytes that did it are written beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["torch._weights_only_unpickler", "torch.serialization", "ivit_onnx"]):
    import torch  # noqa: F401 - instrumented before others import it

    from fuzz import hostile_files


def main() -> None:
    kind, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        hostile_files.prepare(Path(folder))
        for name, content in hostile_files.good_files(kind).items():
            (corpus / name).write_bytes(content)
        path = Path(folder) / "case.file"
        read = {"checkpoint": hostile_files.read_checkpoint, "cache": hostile_files.read_cache}[kind]

        def once(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

        atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
