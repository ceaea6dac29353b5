"""The state of a training in one file, written whole or not at all, so that a run can be killed at any moment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ivit_onnx.budgets import WEIGHT_BYTES
from ivit_onnx.checkpoints.restricted import restricted_load
from ivit_onnx.errors import TrainingError
from ivit_onnx.files import atomic_write, parse_json
from ivit_onnx.inputs import open_input

__all__ = ["STATE", "load_state", "save_state"]

STATE = "state.pt"
_FORMAT = "ivit-onnx-training 1"


def save_state(folder: Path, state: dict[str, Any], options: dict[str, Any]) -> None:
    """Replace the state file of an output folder. `state` has tensors, numbers, text and plain containers only."""
    with atomic_write(folder / STATE, force=True) as temporary, temporary.open("wb") as file:
        torch.save({"format": _FORMAT, "options": json.dumps(options), **state}, file)


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """State and options of an interrupted run, None when it had saved nothing. No code in the file is run.

    Raises TrainingError when the file is damaged or of another kind.
    """
    path = folder / STATE
    for left in folder.glob(f".{STATE}.*.tmp"):  # of a process that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    if not path.exists():
        return None
    try:
        with open_input(path, WEIGHT_BYTES) as file:
            state = restricted_load(file)
        if state is None:
            raise ValueError("PyTorch does not read it")
        if state.pop("format") != _FORMAT:
            raise ValueError("of another version")
        options = parse_json(state.pop("options"))
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        reason = " ".join(str(error).split()[:20]) or type(error).__name__
        raise TrainingError(f"{path} is no training state ({reason}); delete it to start again") from None
    return state, options
