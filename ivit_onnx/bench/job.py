"""What a worker is asked to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ivit_onnx.architectures import Architecture, architecture_from_json
from ivit_onnx.bench.network import float_images

__all__ = ["Job", "Run", "Start"]

Run = Callable[[], object]
Start = Callable[[], Run]


@dataclass
class Job:
    """What a worker runs: the file `path`, batches of `batch` images on `threads` threads. `notes` fills on start."""

    path: str
    arch: Architecture
    batch: int
    threads: int
    spinning: bool = True
    config: Mapping[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        return cls(**{**data, "arch": architecture_from_json(data["arch"])})

    def floats(self) -> Any:
        return float_images(self.batch, self.arch.in_channels, self.arch.image_size)
