"""Files of little size that ask for any amount of work. Each function writes one, and says what the refusal has to say.

`tests/test_budgets.py` reads them with little memory; tests/fuzz/hostile_files.py mixes them with other harm.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

__all__ = ["CHECKPOINTS", "IMAGES", "TEXTS", "Bomb"]

#: Writes a file and returns a pattern of the error.
Bomb = Callable[[Path], str]

#: What zeros become: more than a reader of the tests may take.
MEGABYTES = 500
_EXPANDED = "bytes after decompression"


def _compressed(path: Path, entries: dict[str, bytes | int]) -> None:
    """A zip archive of these members; of a number, so many megabytes of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            with archive.open(name, "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                    continue
                for _ in range(content):
                    member.write(bytes(1 << 20))


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The beginning of an .npy file."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz_of_zeros(path: Path) -> str:
    path.write_bytes(_npz_of_zeros())
    return _EXPANDED


@cache
def _npz_of_zeros() -> bytes:
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(npy_header((MEGABYTES, 1024, 1024, 1)))
        for _ in range(MEGABYTES):
            member.write(bytes(1 << 20))
    return content.getvalue()


def npz_of_a_shape(path: Path) -> str:
    _compressed(path, {"images.npy": npy_header((2**20, 2**20, 1, 3))})
    return "is not in its file"


def npz_of_many(path: Path) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", npy_header((1, 1, 1, 3)) + bytes(3))
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    directory = content[start:end] * 400_000
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + tail)
    return "bytes of text, found"


def npy_of_a_shape(path: Path) -> str:
    path.write_bytes(npy_header((2**40, 224, 224, 3)) + bytes(100))
    return "cannot read"


def torch_of_zeros(path: Path) -> str:
    pickled = io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, pickled)
    with zipfile.ZipFile(pickled) as archive:
        entries: dict[str, bytes | int] = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = next(name for name in entries if name.endswith("data/0"))
    _compressed(path, {**entries, name: MEGABYTES})
    return _EXPANDED


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _in_archive(path: Path, program: bytes) -> None:
    """A file of torch.save with that pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")


def _copies(times: int) -> bytes:
    """A pickle that copies one dictionary of 100,000 entries for each six bytes."""
    entries = b"}(" + b"".join(_text(str(number)) + b"N" for number in range(100_000)) + b"u"
    call = b"ccollections\nOrderedDict\nq\x01"
    return b"\x80\x02" + entries + b"q\x00" + call + b"](" + b"h\x01h\x00\x85R" * times + b"e."


def dictionaries_in_an_archive(path: Path) -> str:
    _in_archive(path, _copies(2000))
    return "more content than fits in the file"


def dictionaries_with_a_wrong_checksum(path: Path) -> str:
    """Which some readers of archives look at, and others do not."""
    dictionaries_in_an_archive(path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02")) + 16] ^= 1
    path.write_bytes(content)
    return "is damaged or truncated"


def dictionaries_before_archives(path: Path) -> str:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2))
    with path.open("ab") as file:
        file.write(_copies(2000))
    return "more content than fits in the file"


def states_in_an_archive(path: Path) -> str:
    """BUILD copies a dictionary into an OrderedDict, as often as it stands there."""
    entries = b"}(" + b"".join(_text(str(number)) + b"N" for number in range(100_000)) + b"u"
    made = b"ccollections\nOrderedDict\n)Rh\x00b"
    _in_archive(path, b"\x80\x02" + entries + b"q\x00](" + made * 2000 + b"e.")
    return "more content than fits in the file"


def a_bytearray_in_an_archive(path: Path) -> str:
    number = b"\x8a\x05" + (4 << 30).to_bytes(5, "little")
    _in_archive(path, b"\x80\x02cbuiltins\nbytearray\n" + number + b"\x85R.")
    return "more content than fits in the file"


def one_storage_for_all(path: Path) -> str:
    """A thousand tensors of the same 16 MB."""
    whole = torch.zeros(1 << 22)
    torch.save({f"blocks.{number}.weight": whole.view(2048, 2048) for number in range(1000)}, path)
    return _EXPANDED


def header_of_safetensors(path: Path) -> str:
    text = b"{" + b" " * (32 << 20) + b"}"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return "bytes of text, found"


def one_colour(path: Path) -> str:
    """A PNG of 40,000 x 40,000 pixels in a megabyte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side, packer = 40_000, zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(side // 8 + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return "at most 178,956,970 pixels"


def another_program(path: Path) -> str:
    """Pillow would give PostScript to Ghostscript."""
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    return "expected an image in a format that Pillow reads"


def a_long_text(path: Path) -> str:
    path.write_bytes(b"class\n" * (3 << 20))
    return "bytes of text, found"


def a_long_dictionary(path: Path) -> str:
    path.write_text("{" + ",".join(f"{number}:'a'" for number in range(1 << 17)) + "}", encoding="utf-8")
    return "bytes of a dictionary in Python, found"


def a_deep_list(path: Path) -> str:
    path.write_text('{"id2label": ' + "[" * 500 + "]" * 500 + "}", encoding="utf-8")
    return "levels of nesting|nested too deeply"


def a_long_number(path: Path) -> str:
    path.write_text(json.dumps({"id2label": {"0": 1}}).replace("1", "1" * 400), encoding="utf-8")
    return "an integer of 400 digits"


CHECKPOINTS: dict[str, Bomb] = {
    "checkpoint.npz": npz_of_zeros,
    "shape.npz": npz_of_a_shape,
    "many.npz": npz_of_many,
    "zeros.pth": torch_of_zeros,
    "dictionaries.pth": dictionaries_in_an_archive,
    "checksum.pth": dictionaries_with_a_wrong_checksum,
    "legacy.pth": dictionaries_before_archives,
    "states.pth": states_in_an_archive,
    "bytearray.pth": a_bytearray_in_an_archive,
    "storage.pth": one_storage_for_all,
    "header.safetensors": header_of_safetensors,
}
IMAGES: dict[str, Bomb] = {
    "zeros.npz": npz_of_zeros,
    "shape.npz": npz_of_a_shape,
    "many.npz": npz_of_many,
    "shape.npy": npy_of_a_shape,
    "colour.png": one_colour,
    "program.jpg": another_program,
}
TEXTS: dict[str, Bomb] = {
    "long.txt": a_long_text,
    "long.json": a_long_text,
    "dictionary.txt": a_long_dictionary,
    "deep.json": a_deep_list,
    "number.json": a_long_number,
}
