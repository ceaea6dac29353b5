"""What a training did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["TrainReport"]


@dataclass(frozen=True)
class TrainReport:
    """Accuracies are top-1 on the evaluation set, in 0..1.

    `checkpoint` is the file that was trained. `start` has the accuracy before the first step: `float`, and `integers`
    for those of the calibrated twin; `accuracy` is that of the trained network, in integers where it is quantised.
    `agreement` compares the training forward with these integers. `seconds` is the time of the steps of this process,
    of interrupted runs too, `images_per_second` the mean over them.
    """

    checkpoint: str
    network: str
    start: dict[str, float]
    accuracy: float
    loss: float
    agreement: dict[str, float] | None
    steps: int
    epochs: int
    images: int
    seconds: float
    images_per_second: float
    processes: int
    device: str
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)
