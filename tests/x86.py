"""Machine code of a library for x86-64, as `objdump --disassemble` prints it, by function.

A stripped library has no names of functions; where they begin and end is in its unwind table all the same.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Function", "dump", "floating_point", "find_programs"]

_INSTRUCTION = re.compile(
    r"^\s+([0-9a-f]+):\s+(?:(?:rep[a-z]*|lock|bnd|data16|notrack|[cdefgs]s|\{\w+\})\s+)*(\(bad\)|[a-z][\w.]*)\s*(.*)$"
)
_LABEL = re.compile(r"^([0-9a-f]+) <(.*)>:$")
_RANGE = re.compile(r"FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)")

#: Instructions that compute with, compare or convert floating-point numbers. Moves, shuffles and bitwise operations
#: have the same endings but compute nothing, and compilers use them for integers as well.
FLOATING_POINT = re.compile(
    r"v?(?:"
    r"(?:add|sub|mul|div|sqrt|rsqrt\w*|rcp\w*|min|max|minmax|round|rndscale|reduce|range|getexp|getmant|scalef"
    r"|fixupimm|cmp\w*|u?comi|ucomx|comx|dp|hadd|hsub|addsub|f?n?madd\d*|f?n?msub\d*|fn?m(?:add|sub)\w*|f[c]?(?:madd|mul)c"
    r"|fpclass|exp2|add?ne)(?:p[sdh]|s[sdh]|bf16|nepbf16)"
    r"|cvt\w*(?:p[sdh]|s[sdh]|bf16)\w*|dpbf16ps|dpphps|4f\w+"
    r")$"
)
#: The floating-point unit of old: every name that begins with f, but for a fence.
_X87 = re.compile(r"f(?!emms)\w+$")


@dataclass
class Function:
    """What lies between two addresses: the names of its instructions with their operands."""

    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def floating_point(self) -> list[str]:
        """The floating-point instructions."""
        return [name for name, _ in self.instructions if floating_point(name)]


def find_programs() -> bool:
    """Whether binutils are here."""
    return shutil.which("objdump") is not None and shutil.which("readelf") is not None


def floating_point(instruction: str) -> bool:
    """Whether an instruction of this name computes with floating-point numbers."""
    return bool(FLOATING_POINT.match(instruction) or _X87.match(instruction))


def dump(library: Path) -> list[Function]:
    """All functions of a library."""
    frames = _output("readelf", "--debug-dump=frames", str(library))
    ranges = sorted({(int(begin, 16), int(end, 16)) for begin, end in _RANGE.findall(frames)})
    return parse(_output("objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(library)), ranges)


def parse(listing: str, ranges: list[tuple[int, int]]) -> list[Function]:
    """The functions of a listing: `ranges` of addresses, with their names where the listing has them."""
    functions: dict[str, Function] = {}
    begins = [begin for begin, _ in ranges]
    label, labelled = "", 0
    for line in listing.splitlines():
        if head := _LABEL.match(line):
            labelled, label = int(head[1], 16), head[2]
        elif found := _INSTRUCTION.match(line):
            address = int(found[1], 16)
            name = label
            place = bisect_right(begins, address) - 1
            # In a stripped library the label is that of some function far before.
            if place >= 0 and address < ranges[place][1] and labelled < begins[place]:
                name = f"{begins[place]:#x}"
            functions.setdefault(name, Function(name)).instructions.append((found[2], found[3]))
    return list(functions.values())


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
