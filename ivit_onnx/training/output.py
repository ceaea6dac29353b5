"""The output folder of a training, and the checkpoint in it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ivit_onnx.architectures import Preprocess
from ivit_onnx.checkpoints import Trained, write_trained
from ivit_onnx.errors import TrainingError
from ivit_onnx.files import atomic_write, check_output
from ivit_onnx.models import Twin
from ivit_onnx.training.metrics import CSV
from ivit_onnx.training.state import STATE

__all__ = ["MODEL", "open_folder", "write_model"]

MODEL = "model.safetensors"


def open_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder. Raises TrainingError when it cannot be, or has a run in it that is not to be resumed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise TrainingError(f"cannot write to {folder}: expected a folder or a new name, found another file") from None
    except OSError as error:
        raise TrainingError(f"cannot make the folder {folder}: {error.strerror}") from None
    for name in (MODEL, STATE, CSV):
        check_output(folder / name, force=True)
    if not resume and any((folder / name).exists() for name in (STATE, MODEL)):
        raise TrainingError(
            f"{folder} has a training in it; pass --resume to go on with it, or another --output to start a new one"
        )


def write_model(folder: Path, network: nn.Module, preprocess: Preprocess) -> None:
    """Replace the checkpoint: a twin's weights with its quantisation, or the state_dict of a timm model."""
    if isinstance(network, Twin):
        state = network.quantization_state()
        decided = Trained(network.arch, preprocess, network.softmax_bits, network.nonlinear, state)
        write_trained(folder / MODEL, network.timm_weights(), decided)
        return
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    with atomic_write(folder / MODEL, force=True) as temporary:
        Path(temporary).write_bytes(save(tensors))
