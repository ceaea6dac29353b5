"""From what a user gives - a file, a folder, a module, a state_dict - to a `Source`."""

from __future__ import annotations

import os
from pathlib import Path

from ivit_onnx.checkpoints.source import Choice, Source
from ivit_onnx.checkpoints.tensors import load_state_dict
from ivit_onnx.checkpoints.trained import read_trained

__all__ = ["Given", "open_source"]

#: What stands for a checkpoint.
Given = str | os.PathLike[str]


def open_source(given: Given, choice: Choice) -> Source:
    """Read what is given. Raises CheckpointError when it is missing, damaged, unsafe or of a kind that is not read."""
    del choice
    tensors = load_state_dict(given)
    return Source(str(given), tensors, trained=read_trained(Path(given), tensors))
