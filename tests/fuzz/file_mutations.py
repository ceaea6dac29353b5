"""Ways to spoil checkpoints and calibration caches: their bytes, and what the bytes say."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import numpy as np
import torch

Rng = np.random.Generator

#: Bytes that mean something to the formats: lengths, opcodes of pickle, brackets.
TOKENS = [
    b"\x00" * 8,
    b"\xff" * 8,
    struct.pack("<Q", 2**31),
    struct.pack("<Q", 2**63 - 1),
    struct.pack("<I", 2**32 - 1),
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x80\x02",
    b"cos\nsystem\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"R.",
    b"(lp0\n",
    b"Q",
    b"\x8a\xff" + b"\x7f" * 255,
    b"[" * 500,
    b'{"a":' * 200,
    b"\x93",
    b"e",
    b"h\xff",
    b"r\xff\xff\xff\x7f",
]


def spoil_bytes(content: bytes, rng: Rng) -> bytes:
    """One to four changes: flipped bits, other bytes, pieces cut out, repeated or moved, tokens put in."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        # The ends of these files say what is in the middle.
        near = [int(rng.integers(len(data))), int(rng.integers(min(len(data), 400)))]
        near.append(len(data) - 1 - int(rng.integers(min(len(data), 1500))))
        at = near[int(rng.integers(3))]
        end = min(len(data), at + int(rng.choice([1, 2, 8, 64, 1000])))
        token = TOKENS[int(rng.integers(len(TOKENS)))]
        kind = int(rng.integers(7))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:at] = token
        elif kind == 5:
            data[at : at + len(token)] = token
        else:
            del data[at:]
    return bytes(data)


def spoil_safetensors(content: bytes, rng: Rng) -> bytes:
    """Another header before the same data: types, shapes, offsets, metadata."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    numbers = [-1, 0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**64, 1.5, "1", None, [], True]
    texts = [
        "",
        "0",
        "-1",
        "[]",
        "{}",
        "null",
        "5",
        '"ab"',
        "[1]",
        "[[]]",
        "1e999",
        "9" * 5000,
        "[" * 100_000,
        "\u0000",
    ]
    for _ in range(int(rng.integers(1, 4))):
        name = list(header)[int(rng.integers(len(header)))]
        entry = header[name]
        kind = int(rng.integers(6))
        if name == "__metadata__" and entry:
            key = list(entry)[int(rng.integers(len(entry)))]
            if kind < 5:
                entry[key] = texts[int(rng.integers(len(texts)))]
            else:
                del entry[key]
        elif not isinstance(entry, dict) or "shape" not in entry:
            continue
        elif kind == 0:
            entry["dtype"] = str(rng.choice(["BF16", "F16", "F64", "I8", "U64", "BOOL", "F8_E4M3", "F4", "I64", "?"]))
        elif kind == 1 and entry["shape"]:
            entry["shape"][int(rng.integers(len(entry["shape"])))] = numbers[int(rng.integers(len(numbers)))]
        elif kind == 2:
            entry["shape"] = [*entry["shape"], 1] if rng.random() < 0.5 else entry["shape"][::-1]
        elif kind == 3:
            entry["data_offsets"][int(rng.integers(2))] = numbers[int(rng.integers(len(numbers)))]
        elif kind == 4:
            header[f"{name}\n\u20ac"] = header.pop(name)
        else:
            del header[name]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def spoil_tensors(tensors: dict[str, torch.Tensor], rng: Rng) -> Any:
    """Another content of a checkpoint: every file of it can be written by torch.save, and none is right."""
    spoiled: dict[Any, Any] = dict(tensors)
    for _ in range(int(rng.integers(1, 3))):
        name = list(spoiled)[int(rng.integers(len(spoiled)))]
        tensor = spoiled[name]
        if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0 or tensor.numel() > 2**24:
            continue
        if tensor.is_quantized or tensor.is_meta or tensor.layout is not torch.strided:
            continue  # by an earlier change; PyTorch cannot do much with it
        kind = int(rng.integers(14))
        shape = list(tensor.shape)
        if kind == 0:
            axis = int(rng.integers(len(shape)))
            shape[axis] = int(rng.choice([0, 1, 2, shape[axis] * 2, 2**20, 2**33, 2**40]))
            spoiled[name] = torch.zeros(1).expand(shape) if 0 not in shape else torch.zeros(shape)
        elif kind == 1:
            size = int(rng.choice([2**20, 2**33, 2**45]))
            for other, value in list(spoiled.items()):
                if isinstance(value, torch.Tensor) and shape[0] in value.shape:
                    larger = [size if d == shape[0] else d for d in value.shape]
                    if math.prod(larger) < 2**62:
                        spoiled[other] = torch.zeros(1).expand(larger)
        elif kind == 2:
            spoiled[name] = tensor.to(
                [torch.int64, torch.bool, torch.float64, torch.complex64, torch.uint8][below(rng, 5)]
            )
        elif kind == 3:
            spoiled[name] = tensor * float(rng.choice([float("nan"), float("inf"), 1e30, 1e-45, 0, -1]))
        elif kind == 4:
            spoiled[name] = tensor.to_sparse()
        elif kind == 5:
            spoiled[name] = tensor.to("meta")
        elif kind == 6:
            spoiled[name] = torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
        elif kind == 7:
            spoiled[[1, None, 2.5, ("a", 1), "x" * 10_000, "\ud800"[:0], b"b"][below(rng, 7)]] = tensor
        elif kind == 8:
            spoiled[name] = [None, "text", [tensor], {"a": tensor}, 3][below(rng, 5)]
        elif kind == 9:
            del spoiled[name]
        elif kind == 10:
            spoiled[name] = tensor.t() if tensor.ndim == 2 else tensor[..., None]
        elif kind == 11:
            other = list(spoiled)[int(rng.integers(len(spoiled)))]
            spoiled[name] = spoiled[other]
        elif kind == 12:
            numbers = "".join(c if not c.isdigit() else str(rng.choice([0, 7, 99, 10**12])) for c in str(name))
            spoiled[numbers] = tensor
        else:
            spoiled[str(name).replace("weight", "w")] = spoiled.pop(name)
    wrapper = below(rng, 6)
    if wrapper == 0:
        return {"state_dict": spoiled, "model": None, "epoch": 3}
    if wrapper == 1:
        return {"model": {"model": spoiled}}
    if wrapper == 2:
        return [spoiled]
    return spoiled


def below(rng: Rng, count: int) -> int:
    return int(rng.integers(count))


def saved(tensors: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()
