"""What a user does with a network of the toy family, with the package that has it first on the path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from ivit_onnx import cli, create_session
from ivit_onnx.architectures import architecture_from_json, known_architecture
from ivit_onnx.bench.kernel_models import kernel_cases
from ivit_onnx.bench.network import build_network, float_images
from ivit_onnx.bench.settings import Settings
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.errors import CheckpointError
from ivit_onnx.exported import load_twin


def command(name: str, *arguments: str | Path) -> None:
    """`ivit-<name> arguments...`, which has to succeed."""
    status = getattr(cli, f"{name}_main")([str(argument) for argument in arguments])
    if status:
        sys.exit(status)


def refusal(state_dict: dict[str, torch.Tensor]) -> str:
    """Why a checkpoint is refused, "" if it is not."""
    try:
        load_checkpoint(state_dict)
    except CheckpointError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """Export, verify, report and run a network; writes what was found to found.json."""
    arch = known_architecture("toy_tiny")
    network = build_network(arch)
    checkpoint, model = folder / "toy.pth", folder / "toy.onnx"
    torch.save(network.state_dict(), checkpoint)
    command("export", checkpoint, "--output", model, "--calib-preset", "best", "--calib-images", "16")
    command("verify", model, "--against", checkpoint)
    data = ("--data", "generated", "--limit", "2")
    command("report", model, "--against", checkpoint, *data, "--output", folder / "report.html")

    images = float_images(16, 3, arch.image_size)
    twin = load_twin(model, checkpoint)
    integers = create_session(model).run(None, {"image": (images * 0 + 128).astype("uint8")})[0]
    with torch.no_grad():
        expected = network(torch.from_numpy(images))
        found = twin(torch.from_numpy(images)) * twin.output_scale
        same = twin(torch.full((16, 3, *arch.image_size), 128, dtype=torch.uint8)).numpy()
    error = float((found - expected).square().sum() / (expected - expected.mean(0)).square().sum())
    reference_ivit = {**network.state_dict(), "qact1.act_scaling_factor": torch.ones(1)}
    content = {
        "reference_ivit": refusal(reference_ivit),
        "read": load_checkpoint(checkpoint).arch == arch,
        "described": architecture_from_json(arch.to_json()) == arch,
        "equal": bool((integers == same).all()),
        "error": error,
        "macs": [arch.macs().linear, arch.macs().attention],
        "cases": [make().operator for make in kernel_cases(arch, Settings("table", 15))],
        "norms": [site.norm_name for site in twin.sites().linear],
        "sites": {kind: [site.name for site in getattr(twin.sites(), kind)] for kind in ("linear", "mlp")},
    }
    (folder / "found.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
