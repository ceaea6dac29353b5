"""Checkpoints: read without running any code in them, recognised by names and shapes, checked.

What is given becomes a `Source` (opening.py), a layout gives its tensors timm's names (layouts/, one file per
library), the reader of a family finds the architecture (vit.py, swin.py), and facts say where everything else comes
from. load.py goes this way.
"""

from __future__ import annotations

from ivit_onnx.checkpoints.checkpoint import Checkpoint
from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.load import check_source, load_as, load_checkpoint, read_architecture
from ivit_onnx.checkpoints.opening import Given, load_state_dict, title_of
from ivit_onnx.checkpoints.source import AUTO, Choice, Source
from ivit_onnx.checkpoints.tensors import StateDict, checkpoint_fingerprint
from ivit_onnx.checkpoints.trained import Trained, write_trained

__all__ = [
    "AUTO",
    "Checkpoint",
    "Choice",
    "Facts",
    "Given",
    "Source",
    "StateDict",
    "Trained",
    "check_source",
    "checkpoint_fingerprint",
    "load_as",
    "load_checkpoint",
    "load_state_dict",
    "read_architecture",
    "title_of",
    "write_trained",
]
