"""Reads a pickle without running it: tensors are built, everything else becomes plain data.

A pickle is a program for a small machine, which may name any function and call it. The machine here has the same
instructions and none of that power. It is safe because of what it never does:

* a name (GLOBAL, STACK_GLOBAL, INST, EXT) becomes a `Global`, which is text: nothing is imported or looked up;
* a call (REDUCE, NEWOBJ, NEWOBJ_EX, OBJ, INST) becomes an `Inert`, which remembers the name and the arguments, unless
  the name is one of `_CALLS`: a few functions of this file, which make tensors, dictionaries, lists and bytes;
* a state (BUILD) is remembered by an `Inert` and forgotten by everything else: no attribute is set and no
  `__setstate__` runs;
* only plain scalars are keys of a dictionary, so that no hash is computed that a file could make expensive;
* what a pickle makes is bounded: by the budget of instructions; calls make no more than `_MOST_EXPANSION` times what
  the file has; tensors are views of storages and never leave them.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

from ivit_onnx.budgets import INSTRUCTIONS, OverBudgetError

__all__ = ["Global", "Inert", "Storage", "entries", "measure", "unpickle"]

#: Elements that calls make, for each byte of the file: text of old pickles becomes bytes, and these a storage.
_MOST_EXPANSION = 4
#: What may be a key of a dictionary. Entries with other keys are left out.
_KEYS = (str, int, float, bool, bytes, type(None))


@dataclass(frozen=True)
class Global:
    """A name in a pickle: "module.name"."""

    name: str


@dataclass(eq=False, repr=False)
class Inert:
    """What stands for an object that is not made: its class by name, and what the file says of it."""

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Storage:
    """The elements that tensors are views of: one axis."""

    elements: torch.Tensor


def entries(value: Any) -> dict[Any, Any]:
    """What a mapping or the object of a class holds by name; {} for anything else."""
    if isinstance(value, Inert):
        state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
        return {**(state if isinstance(state, dict) else {}), **value.items}
    return dict(value) if isinstance(value, dict) else {}


def unpickle(file: io.BytesIO, storage: Callable[[Any], Any], load_bytes: Callable[[bytes], Any] | None = None) -> Any:
    """The object of the pickle that begins here; the file stands behind it afterwards.

    `storage` gives the `Storage` of a persistent id, `load_bytes` that of the bytes of a storage inside the pickle.
    Whatever a damaged pickle leads to is raised: ValueError, LookupError, TypeError and others.
    """
    return _Machine(storage, load_bytes).run(file, file.getbuffer().nbytes)


def measure(file: BinaryIO, size: int) -> None:
    """Go through the pickle that begins here, of a file of `size` bytes, for a reader that has no bounds of its own.

    Nothing is made. Raises OverBudgetError where a reader would make more than fits in the file, and something else
    where the pickle is damaged.
    """
    _Measure(lambda _: None, None).run(file, size)


class _Machine:
    def __init__(self, storage: Callable[[Any], Any], load_bytes: Callable[[bytes], Any] | None) -> None:
        self._storage = storage
        self._calls = dict(_CALLS)
        if load_bytes is not None:
            self._calls["torch.storage._load_from_bytes"] = load_bytes
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._left = 0

    def run(self, file: BinaryIO, size: int) -> Any:
        self._left = _MOST_EXPANSION * size
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file), 1):
            INSTRUCTIONS.check(count, "pickle")
            name = opcode.name
            if name in _PUSHES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self._stack.append(_EMPTY[name]())
            elif name == "STOP":
                return self._stack.pop()
            elif name not in _IGNORED:
                step = getattr(self, f"_{name.lower()}")
                step() if argument is None else step(argument)
        raise ValueError("no end")

    # The stack and the memo.

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    _binget = _long_binget = _get
    _binput = _long_binput = _put

    # Containers.

    def _last(self, count: int) -> list[Any]:
        items = self._stack[len(self._stack) - count :]
        if len(items) != count:
            raise IndexError("too few values")
        del self._stack[len(self._stack) - count :]
        return items

    def _tuple(self) -> None:
        items = tuple(self._since_mark())
        self._stack.append(items)

    def _tuple1(self) -> None:
        self._stack.append(tuple(self._last(1)))

    def _tuple2(self) -> None:
        self._stack.append(tuple(self._last(2)))

    def _tuple3(self) -> None:
        self._stack.append(tuple(self._last(3)))

    def _list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    _frozenset = _list  # the order of a set says nothing

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def _append(self) -> None:
        self._extend(self._last(1))

    def _appends(self) -> None:
        self._extend(self._since_mark())

    _additems = _appends

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)

    def _setitem(self) -> None:
        self._set(self._last(2))

    def _setitems(self) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        mapping = target.items if isinstance(target, Inert) else target
        if isinstance(mapping, dict):
            mapping.update(_pairs(zip(items[::2], items[1::2], strict=True)))

    # Names, calls and states: what a pickle could run.

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Global(f"{module}.{name}"))

    def _stack_global(self) -> None:
        module, name = self._last(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a name that is no text")
        self._stack.append(Global(f"{module}.{name}"))

    def _ext1(self, code: int) -> None:
        self._stack.append(Global(f"copyreg.extension {code}"))

    _ext2 = _ext4 = _ext1

    def _reduce(self) -> None:
        called, args = self._last(2)
        self._stack.append(self._called(called, args))

    _newobj = _reduce

    def _newobj_ex(self) -> None:
        called, args, _ = self._last(3)
        self._stack.append(self._called(called, args))

    def _obj(self) -> None:
        called, *args = self._since_mark()
        self._stack.append(self._called(called, tuple(args)))

    def _inst(self, argument: str) -> None:
        args = tuple(self._since_mark())
        self._stack.append(self._called(Global(argument.replace(" ", ".", 1)), args))

    def _called(self, called: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise TypeError("arguments that are no tuple")
        name = called.name if isinstance(called, Global) else f"a {type(called).__name__}"
        if isinstance(called, Global) and name in self._calls:
            return self._within_bounds(self._calls[name](*args))
        if name in _FROM_TYPE and len(args) == 4 and isinstance(args[0], Global):
            return self._called(args[0], args[2])
        if name in _RECONSTRUCTORS and args and isinstance(args[0], Global):
            return Inert(args[0].name)
        return Inert(name, args)

    def _within_bounds(self, made: Any) -> Any:
        """What a call made. One value of the file may be the argument of many calls, and each could copy it."""
        if isinstance(made, Storage):
            self._take(made.elements.nbytes)
        elif isinstance(made, dict | list | bytes):
            self._take(len(made))
        return made

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise OverBudgetError("pickle: more content than fits in the file; save the state_dict alone")

    def _build(self) -> None:
        (state,) = self._last(1)
        if isinstance(self._stack[-1], Inert):
            self._stack[-1].state = state

    def _binpersid(self) -> None:
        (identity,) = self._last(1)
        self._stack.append(self._storage(identity))

    def _persid(self, identity: str) -> None:
        self._stack.append(self._storage(identity))


class _Measure(_Machine):
    """Counts what calls and states would copy, whatever is called; only containers are made."""

    def _called(self, called: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise TypeError("arguments that are no tuple")
        name = called.name if isinstance(called, Global) else ""
        for argument in args:
            if isinstance(argument, _SIZED):
                self._take(len(argument))
            elif name == "builtins.bytearray" and isinstance(argument, int):
                self._take(argument)
        if name in _CONTAINERS:
            return _CALLS[name](*args)
        return Inert(name)

    def _build(self) -> None:
        (state,) = self._last(1)
        for part in state if isinstance(state, tuple) else (state,):
            self._take(len(part) if isinstance(part, _SIZED) else 0)


#: What a call may copy.
_SIZED = (dict, list, tuple, str, bytes, bytearray)
#: Calls whose results can be changed, and be the argument of others.
_CONTAINERS = ("collections.OrderedDict", "builtins.set", "_codecs.encode")
#: Instructions that push their argument.
_PUSHES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_PUSHES |= {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_PUSHES |= {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_IGNORED = frozenset({"PROTO", "FRAME"})
#: How protocols 0 and 1 make an object of a class.
_RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor")
#: How a tensor with attributes is made: function, type, arguments, attributes.
_FROM_TYPE = ("torch._tensor._rebuild_from_type_v2",)


def _pairs(items: Any) -> dict[Any, Any]:
    return {key: value for key, value in items if isinstance(key, _KEYS)}


def _dictionary(*args: Any) -> dict[Any, Any]:
    """An OrderedDict or a dict, of nothing, of pairs or of another one."""
    if not args:
        return {}
    return dict(args[0]) if isinstance(args[0], dict) else _pairs((key, value) for key, value in args[0])


def _listed(*args: Any) -> list[Any]:
    if args and not isinstance(args[0], list | tuple):
        raise TypeError("a set that is no list")
    return list(args[0]) if args else []


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("bytes that are no text in latin1")
    return text.encode("latin1")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A view of a storage. Raises where it would leave the storage."""
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError("a shape that is no shape")
    if 0 in size:
        return storage.elements.new_empty(size)
    # Never beyond the storage, which PyTorch checks here.
    return storage.elements.as_strided(size, stride, offset)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, *_: Any
) -> torch.Tensor:
    """A tensor whose type stands beside an untyped storage."""
    del requires_grad, hooks
    found = getattr(torch, dtype.name.removeprefix("torch.")) if isinstance(dtype, Global) else None
    if not isinstance(found, torch.dtype) or not isinstance(storage, Storage):
        raise TypeError("a tensor without type or storage")
    return _tensor(Storage(storage.elements.view(found)), offset, size, stride)


def _parameter(tensor: Any, *_: Any) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError("a parameter that is no tensor")
    return tensor


#: All that is ever called.
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _dictionary,
    "__builtin__.dict": _dictionary,
    "builtins.set": _listed,
    "__builtin__.set": _listed,
    "builtins.frozenset": _listed,
    "__builtin__.frozenset": _listed,
    "_codecs.encode": _encoded,
    "torch.Size": lambda size: size if isinstance(size, tuple) else _listed(size),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
