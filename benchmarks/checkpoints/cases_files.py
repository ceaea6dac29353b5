"""Files and paths that are something else than a checkpoint, or a damaged one: each has to be called what it is."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import Case, Expect, Made
from sources import of_timm, tensors_of, timm_vit

EITHER: Expect = "accept or refuse, never wrong"


def cases() -> Iterator[Case]:
    """Other formats, archives, text, damage, paths, tensors that no network of ours has."""
    for name, (write, words, needs) in FORMATS.items():
        yield Case(name, "other formats", partial(_written, write=write), "refuse", words, needs=needs)
    for name, (write, words) in PACKED.items():
        yield Case(name, "archives", partial(_packed, write=write), EITHER, words, needs=("timm",))
    for name, (content, words) in TEXTS.items():
        yield Case(name, "other formats", partial(_text, content=content), "refuse", words)
    for name, (damage, words) in DAMAGES.items():
        for form in ("pth", "safetensors"):
            make = partial(_damaged, form=form, damage=damage)
            yield Case(f"{name}, .{form}", "damage", make, "refuse", words, needs=("timm",))
    for name, (change, words) in TENSORS.items():
        yield Case(name, "tensors", partial(_changed, change=change), "refuse", words, needs=("timm",))
    for name, (text, words) in PATHS.items():
        yield Case(f"path: {name}", "paths", partial(_path, text=text), "refuse", words)
    for name, (make, words, needs) in FOLDERS.items():
        yield Case(name, "folders", make, "refuse", words, needs=needs)
    yield Case("folder with one .pth", "folders", _folder_of_one, EITHER, "checkpoint|file", needs=("timm",))
    yield Case("distributed checkpoint of torch", "folders", _distributed, EITHER, "distributed|DCP", needs=("timm",))


# -- other formats


def _onnx(path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [value],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    onnx.save(onnx.helper.make_model(graph), path.with_suffix(".onnx"))


def _gguf(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path.with_suffix(".gguf"), "clip")
    writer.add_tensor("v.patch_embd.weight", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _h5(path: Path) -> None:
    import h5py

    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file.create_dataset("vit/kernel:0", data=np.ones((4, 4), np.float32))


def _keras(path: Path) -> None:
    with zipfile.ZipFile(path.with_suffix(".keras"), "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
        archive.writestr("config.json", json.dumps({"class_name": "Functional"}))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))


def _tflite(path: Path) -> None:
    path.with_suffix(".tflite").write_bytes(struct.pack("<I", 28) + b"TFL3" + bytes(200))


def _exported(path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(3, 4), (torch.zeros(1, 3),)), str(path.with_suffix(".pt2")))


def _npz(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), images=np.zeros((2, 3, 32, 32), np.uint8))


def _npy(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros((2, 3, 32, 32), np.uint8))


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32)).save(path.with_suffix(".png"))


def _traced(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(3, 4), torch.zeros(1, 3)).save(str(path))


def _scripted(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(3, 4)).save(str(path))


def _msgpack(path: Path) -> None:
    """The beginning of a map of strings, as Flax writes it."""
    path.with_name("flax_model.msgpack").write_bytes(b"\x81\xa6params\x81\xa3vit\x80" + bytes(20))


#: A file by what writes it, what a refusal has to call it, and the packages that are needed.
FORMATS: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...]]] = {
    "ONNX": (_onnx, "ONNX", ("onnx",)),
    "GGUF": (_gguf, "GGUF", ("gguf",)),
    "HDF5": (_h5, "HDF5|h5|Keras|TensorFlow", ("h5py",)),
    "Keras": (_keras, "Keras", ()),
    "TensorFlow Lite": (_tflite, "TensorFlow Lite|TFLite", ()),
    "torch.export": (_exported, r"torch\.export", ()),
    "Flax msgpack": (_msgpack, "msgpack|Flax|JAX|neither", ()),
    "npz of images": (_npz, "no network", ()),
    "npy": (_npy, "npy|NumPy", ()),
    "PNG": (_picture, "PNG|image", ("PIL",)),
    "TorchScript, traced": (_traced, "no network", ()),
    "TorchScript, scripted": (_scripted, "no network", ()),
    "torch.save(model)": (lambda path: torch.save(torch.nn.Linear(3, 4), path), "code|state_dict", ()),
    "torch.save({'model': model})": (lambda p: torch.save({"model": torch.nn.Linear(3, 4)}, p), "code|state_dict", ()),
    "a tensor": (lambda path: torch.save(torch.zeros(3), path), "Tensor", ()),
    "a string": (lambda path: torch.save("vit", path), "str", ()),
    "a dictionary without tensors": (lambda path: torch.save({"epoch": 3}, path), "state_dict|tensor", ()),
    "an empty dictionary": (lambda path: torch.save({}, path), "empty", ()),
    "an optimizer's state": (
        lambda path: torch.save(torch.optim.AdamW(torch.nn.Linear(3, 4).parameters()).state_dict(), path),
        "state_dict|tensor",
        (),
    ),
    "pickle of text": (lambda path: path.write_bytes(pickle.dumps("text")) and None, "pickle|str", ()),
    "safetensors without tensors": (lambda path: path.write_bytes(struct.pack("<Q", 2) + b"{}") and None, "empty", ()),
}


def _written(folder: Path, write: Callable[[Path], None]) -> Made:
    write(folder / "model.pt")
    return Made(next(folder.iterdir()))


HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Entry not found</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 22882688\n"
INDEX = {"metadata": {"total_size": 99}, "weight_map": {"head.weight": "model-00001-of-00002.safetensors"}}
TEXTS: dict[str, tuple[bytes, str]] = {
    "HTML page of an error": (HTML, "HTML|web page"),
    "XML of an error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML|web page|HTML"),
    "JSON of an error": (b'{"error": "Repository not found"}', "JSON|text"),
    "Git LFS pointer": (LFS, "LFS"),
    "index without its shards": (json.dumps(INDEX).encode(), "index|shard|of-00002"),
    "YAML": (b"model:\n  name: vit\n", "text|neither"),
    "Python": (b"import torch\nmodel = torch.nn.Linear(3, 4)\n", "text|neither"),
    "empty file": (b"", "empty"),
    "one byte": (b"\x80", "damaged|truncated"),
    "zeros": (bytes(1000), "neither|damaged"),
}


def _text(folder: Path, content: bytes) -> Made:
    (folder / "model.pth").write_bytes(content)
    return Made(folder / "model.pth")


# -- a checkpoint inside an archive


def _gz(path: Path) -> Path:
    path.with_suffix(".pth.gz").write_bytes(gzip.compress(path.read_bytes()))
    return path.with_suffix(".pth.gz")


def _tar(path: Path, mode: str = "w") -> Path:
    packed = path.with_suffix(".tar.gz" if mode.endswith("gz") else ".tar")
    with tarfile.open(packed, mode) as archive:  # type: ignore[call-overload]
        archive.add(path, "model.pth")
    return packed


def _zip(path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(path, "model.pth")
    return path.with_suffix(".zip")


def _deflated(path: Path) -> Path:
    """The archive of torch.save, packed again with compression by a tool for zip files."""
    packed = path.with_suffix(".again.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return packed


PACKED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "gzip of .pth": (_gz, "gzip"),
    "tar of .pth": (_tar, "tar"),
    "tar.gz of .pth": (partial(_tar, mode="w:gz"), "gzip|tar"),
    "zip of .pth": (_zip, "zip|archive"),
    "torch.save, compressed again": (_deflated, "compress|damaged"),
}


def _packed(folder: Path, write: Callable[[Path], Path]) -> Made:
    network = timm_vit()
    torch.save(network.state_dict(), folder / "model.pth")
    packed = write(folder / "model.pth")
    (folder / "model.pth").unlink()
    return of_timm(packed, network)


# -- damage


def _cut(content: bytes, part: float) -> bytes:
    return content[: int(len(content) * part)]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "first half": (partial(_cut, part=0.5), "damaged|truncated"),
    "without its last tenth": (partial(_cut, part=0.9), "damaged|truncated"),
    "first 100 bytes": (lambda content: content[:100], "damaged|truncated"),
    "without its first bytes": (lambda content: content[50:], "damaged|truncated|neither|text"),
}


def _damaged(folder: Path, form: str, damage: Callable[[bytes], bytes]) -> Made:
    from safetensors.torch import save

    buffer = io.BytesIO()
    torch.save(timm_vit().state_dict(), buffer)
    content = buffer.getvalue() if form == "pth" else save(tensors_of(timm_vit()))
    (folder / f"model.{form}").write_bytes(damage(content))
    return Made(folder / f"model.{form}", options={"num_heads": 4})


# -- tensors


def _without(tensors: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def _float8(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for name, t in tensors.items()}


def _quantised(tensors: dict[str, Any]) -> dict[str, Any]:
    network = torch.ao.quantization.quantize_dynamic(timm_vit(), {torch.nn.Linear}, torch.qint8)
    return dict(network.state_dict())


def _dtensors(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.to("meta") for name, tensor in tensors.items()}


TENSORS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "float8 weights": (_float8, "float8"),
    "integers": (lambda t: {name: tensor.to(torch.int8) for name, tensor in t.items()}, "int8"),
    "8-bit weights of bitsandbytes": (
        lambda t: t | {"head.weight": t["head.weight"].to(torch.int8), "head.SCB": torch.ones(7)},
        "int8|SCB",
    ),
    "dynamic quantisation of torch": (_quantised, "quantized|quantised|packed_params|qint8|dtype"),
    "sparse weights": (lambda t: t | {"head.weight": t["head.weight"].to_sparse()}, "sparse|dense"),
    "complex weights": (lambda t: t | {"head.weight": t["head.weight"].to(torch.complex64)}, "complex"),
    "tensors of the meta device": (_dtensors, "meta"),
    "NaN": (lambda t: t | {"head.weight": t["head.weight"] * float("nan")}, "NaN"),
    "infinity": (lambda t: t | {"norm.bias": t["norm.bias"] / 0}, "infinite"),
    "one colour": (lambda t: t | {"patch_embed.proj.weight": torch.ones(128, 1, 8, 8)}, "1 channel"),
    "four colours": (lambda t: t | {"patch_embed.proj.weight": torch.ones(128, 4, 8, 8)}, "4 channel"),
    "video": (lambda t: t | {"patch_embed.proj.weight": torch.ones(128, 3, 2, 8, 8)}, "axes|video|patch_embed"),
    "patches that are not square": (
        lambda t: t | {"patch_embed.proj.weight": torch.ones(128, 3, 8, 16)},
        "square",
    ),
    "a block missing": (lambda t: {n: v for n, v in t.items() if not n.startswith("blocks.0.")}, "block 0|blocks.0"),
    "a bias missing": (lambda t: _without(t, "blocks.1.mlp.fc1.bias"), r"blocks\.1\.mlp\.fc1\.bias"),
    "final normalisation missing": (lambda t: _without(t, "norm.weight", "norm.bias"), "normalisation"),
    "position table missing": (lambda t: _without(t, "pos_embed"), "pos_embed"),
    "another width in one matrix": (lambda t: t | {"head.weight": torch.ones(7, 64)}, "head.weight"),
    "a mixture of experts": (
        lambda t: _without(t, "blocks.1.mlp.fc1.weight") | {"blocks.1.mlp.experts.0.fc1.weight": torch.ones(512, 128)},
        r"experts|blocks\.1\.mlp",
    ),
}


def _changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Made:
    torch.save(change(dict(tensors_of(timm_vit()))), folder / "model.pth")
    return Made(folder / "model.pth", options={"num_heads": 4})


# -- paths

#: What people give instead of a file; a refusal should say that a file has to be downloaded first.
PATHS: dict[str, tuple[str, str]] = {
    "a name of the hub": ("google/vit-base-patch16-224", "download"),
    "a name of the hub, of timm": ("timm/vit_tiny_patch16_224.augreg_in21k", "download"),
    "hf-hub:": ("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k", "download"),
    "a URL": ("https://example.com/deit_tiny_patch16_224.pth", "download"),
    "a name of timm": ("vit_tiny_patch16_224", "saved first"),
    "a file that is not there": ("./weights/model.pth", "does not exist"),
    "a device": ("/dev/null", "empty|file"),
}


def _path(folder: Path, text: str) -> Made:
    return Made(text)


# -- folders


def _with_file(folder: Path, name: str, content: bytes = b"x") -> Made:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return Made(folder)


def _one_shard(folder: Path) -> Made:
    from safetensors.torch import save_file

    tensors = {name: t for name, t in tensors_of(timm_vit()).items() if "blocks.0" in name}
    save_file(tensors, folder / "model-00001-of-00002.safetensors")
    return Made(folder / "model-00001-of-00002.safetensors", options={"num_heads": 4})


def _two_files(folder: Path) -> Made:
    for seed in range(2):
        torch.save(timm_vit(seed=seed).state_dict(), folder / f"epoch_{seed}.pth")
    return Made(folder, options={"num_heads": 4})


def _index_elsewhere(folder: Path) -> Made:
    """An index may only name files beside it."""
    (folder / "secret.safetensors").write_bytes(b"x")
    inner = folder / "model"
    inner.mkdir()
    index = {"metadata": {}, "weight_map": {"head.weight": "../secret.safetensors"}}
    (inner / "model.safetensors.index.json").write_text(json.dumps(index))
    (inner / "config.json").write_text('{"model_type": "vit"}')
    return Made(inner)


FOLDERS: dict[str, tuple[Callable[[Path], Made], str, tuple[str, ...]]] = {
    "empty folder": (lambda folder: Made(folder), "folder", ()),
    "folder of images": (partial(_with_file, name="cats/1.jpg"), "folder", ()),
    "folder of Core ML": (partial(_with_file, name="model.mlpackage/Manifest.json"), "folder", ()),
    "SavedModel of TensorFlow": (partial(_with_file, name="saved_model.pb"), "TensorFlow|folder", ()),
    "folder with tf_model.h5": (partial(_with_file, name="tf_model.h5"), "no weights of PyTorch", ()),
    "folder with flax_model.msgpack": (partial(_with_file, name="flax_model.msgpack"), "no weights of PyTorch", ()),
    "folder with model.onnx": (partial(_with_file, name="onnx/model.onnx"), "folder", ()),
    "folder with a damaged config.json": (partial(_with_file, name="config.json", content=b"{"), "config.json", ()),
    "folder with two checkpoints": (_two_files, "epoch_0|epoch_1", ("timm",)),
    "one shard of two": (_one_shard, "one part", ("timm", "safetensors")),
    "index that names a file elsewhere": (_index_elsewhere, "index|secret", ()),
}


def _folder_of_one(folder: Path) -> Made:
    network = timm_vit()
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder, network)


def _distributed(folder: Path) -> Made:
    import torch.distributed.checkpoint as dcp

    network = timm_vit()
    shutil.rmtree(folder / "dcp", ignore_errors=True)
    dcp.save(tensors_of(network), checkpoint_id=folder / "dcp", no_dist=True)
    return of_timm(folder / "dcp", network)
