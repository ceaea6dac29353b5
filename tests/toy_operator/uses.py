"""What a user does with a network that has the toy operator, with the package that has both first on the path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from ivit_onnx.models.toy import FloatToy

from ivit_onnx import cli, create_session
from ivit_onnx.architectures import known_architecture
from ivit_onnx.exported import load_twin


def command(name: str, *arguments: str | Path) -> None:
    """`ivit-<name> arguments...`, which has to succeed."""
    status = getattr(cli, f"{name}_main")([str(argument) for argument in arguments])
    if status:
        sys.exit(status)


def main(folder: Path) -> None:
    """Export, prove, verify and run a network; writes what was found to found.json."""
    arch = known_architecture("toy_tiny")
    torch.manual_seed(3)
    network = FloatToy(arch).eval()
    checkpoint, model, flat = folder / "toy.pth", folder / "toy.onnx", folder / "flat.onnx"
    torch.save(network.state_dict(), checkpoint)
    for path, options in ((model, ()), (flat, ("--flat",))):
        command("export", checkpoint, "--output", path, "--calib-preset", "fast", "--calib-images", "8", *options)
        command("verify", path, "--prove")
    command("verify", model, "--against", checkpoint)

    image = np.random.default_rng(5).integers(0, 256, (8, 3, *arch.image_size), np.uint8)
    outputs = {
        "bodies": create_session(model, kernels=False).run(None, {"image": image})[0],
        "kernels": create_session(model).run(None, {"image": image})[0],
        "provider": create_session(model, provider="ivit-cpu").run(None, {"image": image})[0],
        "flat, provider": create_session(flat, provider="ivit-cpu").run(None, {"image": image})[0],
    }
    with torch.no_grad():
        twin = load_twin(model, checkpoint)(torch.from_numpy(image)).numpy()
    content = {
        "differ": [name for name, output in outputs.items() if not np.array_equal(output, twin)],
        "constant": bool((twin == twin[0]).all()),
        "pooling": [
            node.op_type for node in onnx.load(model).graph.node if node.op_type in ("IntTokenMax", "IntTokenMean")
        ],
    }
    (folder / "found.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
