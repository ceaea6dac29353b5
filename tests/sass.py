"""Machine code of GPU kernels, as `cuobjdump --dump-sass` prints it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Function", "Instruction", "dump", "find_cuobjdump", "floating_point", "parse", "tensor_core"]

_ARCHITECTURE = re.compile(r"^\s*(?:code for|arch =) (sm_\w+)")
_FUNCTION = re.compile(r"^\s*Function : (\S+)")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)([.\w]*)\s*([^;]*);")

#: Instructions that compute with, compare, or convert floating-point numbers; beginnings of their names.
FLOATING_POINT = re.compile(
    r"(?:F(?:ADD|MUL|FMA|CHK|MNMX|SETP?|SWZ|RND|2)|D(?:ADD|MUL|FMA|MNMX|SETP|MMA)|H(?:ADD2|MUL2|FMA2|MNMX2|SET2|SETP2|MMA|GMMA)"
    r"|QMMA|QGMMA|OMMA|MUFU|I2F|UF(?:ADD|MUL|FMA|MNMX|SET|RND|2)|UI2F|RRO)"
)

#: 0 = -RZ * RZ + constant: how the compiler writes a constant with another unit than the integer one.
_CONSTANT = re.compile(r"^R\d+, -RZ, RZ, ")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, what follows a dot, and its operands."""

    name: str
    modifiers: str
    operands: str

    @property
    def full_name(self) -> str:
        return f"{self.name}{self.modifiers}"

    def __str__(self) -> str:
        return f"{self.full_name} {self.operands}".strip()


@dataclass
class Function:
    """A kernel for one architecture."""

    architecture: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)


def find_cuobjdump() -> str | None:
    """The program of CUDA's toolkit on PATH, or the copy in the Python package triton."""
    found = shutil.which("cuobjdump")
    if found:
        return found
    package = importlib.util.find_spec("triton")
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder) / "backends" / "nvidia" / "bin" / "cuobjdump"
        if program.is_file():
            return str(program)
    return None


def dump(cuobjdump: str, binary: Path) -> Iterator[Function]:
    """All kernels of a library, in all its architectures."""
    command = [cuobjdump, "--dump-sass", str(binary)]
    return parse(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def parse(text: str) -> Iterator[Function]:
    """The kernels of a listing."""
    architecture = ""
    function: Function | None = None
    for line in text.splitlines():
        if head := _ARCHITECTURE.match(line):
            architecture = head[1]
        elif name := _FUNCTION.match(line):
            if function is not None:
                yield function
            function = Function(architecture, name[1])
        elif function is not None and (found := _INSTRUCTION.match(line)):
            function.instructions.append(Instruction(found[1], found[2], found[3].strip()))
    if function is not None:
        yield function


def floating_point(instruction: Instruction) -> bool:
    """Whether an instruction computes with floating-point numbers; moving a constant does not."""
    if not FLOATING_POINT.match(instruction.name):
        return False
    return not (instruction.name == "HFMA2" and _CONSTANT.match(instruction.operands))


def tensor_core(function: Function) -> set[str]:
    """The integer matrix instructions of a kernel, such as IMMA and IGMMA."""
    return {entry.name for entry in function.instructions if entry.name in ("IMMA", "IGMMA")}
