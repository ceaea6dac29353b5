"""Models of little size that ask for any amount of work: functions, fields, external data, metadata.

Each function writes one and says what the refusal has to say. Those of metadata change an exported model.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from bombs import MEGABYTES

__all__ = ["GRAPHS", "METADATA", "SPECIAL"]

_IMPORTS = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]


def model(nodes: Iterable[onnx.NodeProto] = (), functions: Iterable[onnx.FunctionProto] = ()) -> onnx.ModelProto:
    """A graph from x to y, int64 [n]; without nodes it adds."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "xy")
    nodes = [*nodes] or [helper.make_node("Add", ["x", "x"], ["y"])]
    graph = helper.make_graph(nodes, "graph", [x], [y])
    return helper.make_model(graph, functions=[*functions], opset_imports=_IMPORTS, ir_version=10)


def chain(levels: int, last: onnx.NodeProto, calls: int = 2, domain: str = "f") -> list[onnx.FunctionProto]:
    """Functions of a domain that call the next one `calls` times; the last has one node."""

    def body(level: int) -> list[onnx.NodeProto]:
        if level == levels:
            return [last]
        names = ["x", *(f"v{number}" for number in range(1, calls)), "y"]
        return [helper.make_node(f"f{level + 1}", [a], [b], domain=domain) for a, b in pairwise(names)]

    imports = [_IMPORTS[0], helper.make_opsetid(domain, 1)]
    return [helper.make_function(domain, f"f{n}", ["x"], ["y"], body(n), imports) for n in range(levels + 1)]


_ADD = helper.make_node("Add", ["x", "x"], ["y"])


def uncalled_functions(path: Path) -> str:
    onnx.save(model(functions=chain(40, _ADD)), path)
    return "at most 262,144 nodes with all functions expanded"


def called_functions(path: Path) -> str:
    onnx.save(model([helper.make_node("f0", ["x"], ["y"], domain="f")], chain(40, _ADD)), path)
    return "at most 262,144 nodes with all functions expanded"


def uncalled_circle(path: Path) -> str:
    onnx.save(model(functions=chain(3, helper.make_node("f0", ["x"], ["y"], domain="f"))), path)
    return r"function f\.f\d calls itself"


def a_long_chain(path: Path) -> str:
    onnx.save(model(functions=chain(200, _ADD, calls=1)), path)
    return "at most 64 levels of nesting"


def a_large_constant(path: Path) -> str:
    """A megabyte in a function that is called a thousand times."""
    tensor = helper.make_tensor("t", TensorProto.INT8, [1 << 20], bytes(1 << 20), raw=True)
    onnx.save(model(functions=chain(10, helper.make_node("Constant", [], ["y"], value=tensor))), path)
    return "bytes after decompression"


def empty_fields(path: Path) -> str:
    path.write_bytes(model().SerializeToString() + b"\x72\x00" * (1 << 22))
    return "fields of the protobuf"


def deep_graphs(path: Path) -> str:
    """Nested in bytes: what writes protobufs does not go so deep."""
    content = b""
    for _ in range(5000):
        for key in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            content = key + _length(len(content)) + content
    path.write_bytes(b"\x3a" + _length(len(content)) + content)
    return "cannot read"


def _length(number: int) -> bytes:
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def external(
    location: str, expected: str, *, count: int = 1, length: int | None = 8, prepare: Callable[[Path], object] = id
) -> Callable[[Path], str]:
    """A model with weights in the file `location`, which `prepare` makes."""

    def write(path: Path) -> str:
        proto = model([helper.make_node("Add", ["x", "w0"], ["y"])])
        for number in range(count):
            tensor = proto.graph.initializer.add(name=f"w{number}", dims=[1], data_type=TensorProto.INT64)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)
            if length is not None:
                tensor.external_data.add(key="length", value=str(length))
        prepare(path.parent / location)
        path.write_bytes(proto.SerializeToString())
        return expected

    return write


def sparse_file(path: Path, size: int = 1 << 40) -> None:
    """A file of a terabyte of nothing."""
    with path.open("wb") as file:
        file.truncate(size)


GRAPHS: dict[str, Callable[[Path], str]] = {
    "uncalled": uncalled_functions,
    "called": called_functions,
    "circle": uncalled_circle,
    "chain": a_long_chain,
    "constant": a_large_constant,
    "fields": empty_fields,
    "deep": deep_graphs,
    "pipe": external("pipe", "expected a regular file, found a named pipe", prepare=os.mkfifo),
    "folder": external("folder", "found a folder", prepare=os.mkdir),
    "device": external("../../../../../../../../dev/zero", "expected external data in the folder of the model"),
    "absolute": external("/dev/zero", "expected external data in the folder of the model"),
    "absent": external("absent", "No such file"),
    "huge length": external("small", "found bytes 0 to 1099511627776", length=1 << 40, prepare=lambda p: p.touch()),
    "terabyte": external("sparse", "at most 68,719,476,736 bytes of weights", length=None, prepare=sparse_file),
    "one for all": external(
        "shared", "bytes after decompression", count=1000, length=None, prepare=lambda p: p.write_bytes(bytes(4 << 20))
    ),
}


def changed(key: str, value: Callable[[str], str]) -> Callable[[Path], None]:
    """Another value of a key of the metadata."""

    def change(path: Path) -> None:
        proto = onnx.load(path)
        entries = {entry.key: entry for entry in proto.metadata_props}
        (entries[key] if key in entries else proto.metadata_props.add(key=key)).value = value(
            entries[key].value if key in entries else ""
        )
        path.write_bytes(proto.SerializeToString())

    return change


def put(**values: object) -> Callable[[str], str]:
    """Other values in a JSON object."""
    return lambda text: json.dumps({**json.loads(text), **values})


@cache
def bomb_of_zlib(_: str) -> str:
    machine = zlib.compressobj(1)
    parts = [machine.compress(bytes(1 << 20)) for _ in range(MEGABYTES)]
    return base64.b64encode(b"".join(parts) + machine.flush()).decode()


def put_functions(path: Path) -> None:
    """Functions that nothing calls, in a certified model."""
    proto = onnx.load(path)
    proto.functions.extend(chain(40, _ADD, domain="ivit"))
    path.write_bytes(proto.SerializeToString())


#: By name: what is changed, which readers see it, what they say.
METADATA: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "functions": (put_functions, ("verify", "weights"), "at most 262,144 nodes with all functions expanded"),
    "adjustments": (changed("ivit.adjustments", bomb_of_zlib), ("twin",), "bytes after decompression"),
    "size": (
        changed("ivit.preprocess", put(size=12_000)),
        ("describe", "twin", "verify"),
        "pixels in the images of a network",
    ),
    "other size": (
        changed("ivit.preprocess", put(size=64)),
        ("describe", "twin", "verify"),
        r"ivit\.preprocess: expected images as the graph's input takes them, \[3, 32, 32\], found \[3, 64, 64\]",
    ),
    "network": (changed("ivit.arch", put(image_size=64)), ("describe", "twin"), r"ivit\.arch: expected images as"),
    "channels": (changed("ivit.arch", put(in_channels=10**9)), ("describe", "twin"), r"ivit\.arch: expected images as"),
    "crop": (changed("ivit.preprocess", put(crop=1e-6)), ("describe", "twin"), "resized: expected at most"),
    "least crop": (changed("ivit.preprocess", put(crop=5e-324)), ("describe", "twin"), "resized: expected at most"),
    "labels": (changed("ivit.labels", lambda _: '["a"]'), ("describe",), "ivit.labels: expected"),
    "depth": (changed("ivit.arch", lambda _: "[" * 300 + "]" * 300), ("describe", "twin"), "levels of nesting"),
    "number": (changed("ivit.arch", put(heads=10**400)), ("describe", "twin"), "an integer of 401 digits"),
    "length": (changed("ivit.preprocess", lambda text: text + " " * (17 << 20)), ("describe", "twin"), "bytes of text"),
}


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound_to:
        bound_to.bind(str(path))


#: What stands where a file is expected: made at a path, and what is said of it.
SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "named pipe"),
    "socket": (bound, "socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "device"),
    "folder": (Path.mkdir, "folder"),
}
