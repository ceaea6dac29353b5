"""Models changed after they were certified. What is accepted all the same has to give the integers that it means.

A certified export, operator or plain graph is changed at any field of the file, in its bytes, or with an aim
(protobuf_mutations, rewrites, splices). Then the checks of `ivit-verify` judge the file, its certificate left out of
account, because whoever changes a file can write another. What has to hold:

- of what the audit passes and is proven: the function bodies in ONNX Runtime, the kernels and the provider give the
  integers of an interpreter without limits (`exact`), for inputs of every shape that a session takes, and no number of
  the interpreter leaves its type;
- of what the audit passes: whatever runs computes in integers alone;
- of what has the hash of the certificate: the outputs are those of the model that was certified.

Everything else is counted by what refused it, for each path of fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import ivit_onnx
from exact import FloatError, Interpreter, NotKnownError, NotRunnableError
from fuzz import certified, hostile_models
from fuzz.model_mutations import MISFITS, pick
from fuzz.protobuf_mutations import mutate_field, mutate_wire
from fuzz.rewrites import REWRITES
from fuzz.splices import splice
from ivit_onnx.errors import IvitError
from ivit_onnx.float_audit import audit
from ivit_onnx.function_calls import all_nodes
from ivit_onnx.model_files import load_graph, load_with_weights
from ivit_onnx.proof import graph_hash
from ivit_onnx.verification import DIVISIONS, prove_file

Rng = np.random.Generator
Session = onnxruntime.InferenceSession

#: Results are counted for each change, not only in all.
FIELDS = True
#: Elements of an input; larger ones take the interpreter too long.
MOST_ELEMENTS = 1 << 14
_IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "bodies": {"kernels": False},
    "kernels": {"kernels": True},
    "provider": {"provider": "ivit-cpu"},
}

prepare = certified.prepare


class BrokenPromiseError(Exception):
    """A file that the checks of `ivit-verify` pass, and that does something else than they say."""


def check(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    for old in folder.glob("case.*"):
        old.unlink()
    base = certified.base(rng, folder)
    content, names = changed(base, rng, folder)
    path = folder / "case.onnx"
    path.write_bytes(content)
    (folder / "case.base").write_bytes(base.SerializeToString())
    (folder / "case.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    result = judge(path, base, rng)
    return f"{result} @ {'; '.join(names)}"


def changed(base: onnx.ModelProto, rng: Rng, folder: Path) -> tuple[bytes, list[str]]:
    """A few changes; those that do not fit the model are left out. Returns the file, and what was changed."""
    content, names = base.SerializeToString(), list[str]()
    only_nodes = rng.random() < 0.3  # which leave the file in its form, for what comes behind the form
    wanted = int(pick([1, 2, 3, 4] if only_nodes else [1, 1, 1, 2, 3], rng))
    for _ in range(20):
        if len(names) == wanted:
            break
        kind = 1 if only_nodes else rng.random()
        try:
            if kind < 0.15:
                content, name = mutate_wire(content, rng)
            else:
                model = onnx.ModelProto.FromString(content)
                if kind < 0.55:
                    name = mutate_field(model, rng)
                elif kind < 0.85:
                    rewrite = pick(REWRITES, rng)
                    rewrite(model, rng, folder)
                    name = rewrite.__name__
                else:
                    name = splice(model, rng)
                content = model.SerializePartialToString()
        except MISFITS:
            continue
        names.append(name)
    return content, names


def judge(path: Path, base: onnx.ModelProto, rng: Rng) -> str:
    """What became of a file. Raises BrokenPromiseError."""
    stage = "reader"
    try:
        graph = load_graph(path)
        model = load_with_weights(path)
        stage = "audit, as damaged"
        findings = audit(graph).findings
        stage = "proof, as damaged"
        proof = None if findings else prove_file(path)
    except IvitError:
        return f"refused by the {stage}"
    same = has_hash(model, certified.hash_of(base))
    if proof is None and not same:
        return "refused by the audit"
    proven = proof is not None and proof.report.proven
    verdict = ("accepted" if proven else "not proven") + (", same hash" if same else "")
    if not proven and not same and any(node.op_type in DIVISIONS for node in all_nodes(model)):
        return "not proven, with a division"  # which `ivit-verify` does not run
    sessions = loaded(path, rng)
    if not sessions:
        return f"{verdict}, not loadable"
    if same:
        compare_with_base(sessions, base, rng, path.parent)
    if proof is None:
        return "refused by the audit, same hash"
    return f"{verdict}, {min(run(sessions, model, rng, proven=proven) for _ in range(2))}"


def has_hash(model: onnx.ModelProto, wanted: str) -> bool:
    try:
        return graph_hash(model) == wanted
    except (IvitError, *MISFITS):
        return False


def loaded(path: Path, rng: Rng) -> dict[str, Session]:
    """Sessions of the implementations that take the file."""
    levels = onnxruntime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if rng.random() < 0.7 else levels.ORT_DISABLE_ALL
    found = {}
    for name, options in _IMPLEMENTATIONS.items():
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.graph_optimization_level = level
        try:
            found[name] = ivit_onnx.create_session(path, session_options=settings, threads=1, **options)
        except Exception as error:
            if not hostile_models.is_refusal(error):
                raise
    return found


def feeds(session: Session, model: onnx.ModelProto, rng: Rng) -> dict[str, Any] | None:
    """Inputs of the types that a session declares, of any shape that it may take, random or at their ends."""
    made, free = {}, dict[Any, int]()
    any_rank = {value.name for value in model.graph.input if not value.type.tensor_type.HasField("shape")}
    defaults = [value for value in session.get_overridable_initializers() if rng.random() < 0.5]
    for value in (*session.get_inputs(), *defaults):
        if value.type not in hostile_models.TYPES:
            return None
        shape = []
        for dim in [None] * int(rng.integers(5)) if value.name in any_rank else value.shape:
            size = int(pick([1, 2, 3, 2, 1, 5, 0], rng))
            known = isinstance(dim, int) and dim >= 0
            shape.append(dim if known else free.setdefault(dim, size) if dim and rng.random() < 0.7 else size)
        if np.prod([float(size) for size in shape]) > MOST_ELEMENTS:
            return None
        made[value.name] = _numbers(np.dtype(hostile_models.TYPES[value.type]), shape, rng)
    return made


def _numbers(dtype: np.dtype[Any], shape: list[int], rng: Rng) -> np.ndarray[Any, Any]:
    if dtype.kind == "f":
        return np.asarray(rng.normal(0, 10.0 ** rng.integers(-3, 9), shape)).astype(dtype)
    limits = np.iinfo(dtype)
    kind = int(rng.integers(4))
    if kind == 0:
        return np.full(shape, pick([limits.min, limits.max], rng), dtype)
    if kind == 1:
        return np.asarray(rng.choice([limits.min, limits.max], shape)).astype(dtype)
    return np.asarray(rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True))


def run(sessions: dict[str, Session], model: onnx.ModelProto, rng: Rng, *, proven: bool) -> str:
    """One set of inputs, in all sessions and in the interpreter."""
    inputs = feeds(next(iter(sessions.values())), model, rng)
    if inputs is None:
        return "inputs not made"
    exact: dict[str, Any] | Exception
    interpreter = Interpreter(model)
    try:
        exact = interpreter.run(inputs)
    except (FloatError, NotKnownError, NotRunnableError) as error:
        exact = error
    if proven and interpreter.departures:
        raise BrokenPromiseError(f"proven, and leaves its type: {interpreter.departures[:3]}")
    if interpreter.departures:
        return "leaves its type"  # as was found; not run, because divisions that are not defined end the process
    if isinstance(exact, NotRunnableError) and not proven:
        return "not run"  # nor is it known what it would divide by
    outputs = {}
    for name, session in sessions.items():
        try:
            outputs[name] = session.run(None, inputs)
        except Exception as error:
            if not hostile_models.is_refusal(error):
                raise
    if not outputs:
        return "not to be run"
    if isinstance(exact, (FloatError, NotKnownError)):
        raise BrokenPromiseError(f"called integer-only, and is not known to compute in integers: {exact}") from exact
    if not proven:
        return "ran"
    if isinstance(exact, Exception):
        raise BrokenPromiseError(f"proven, and runs where the interpreter does not: {exact}") from exact
    wanted = [exact[value.name] for value in model.graph.output]
    for name, found in outputs.items():
        for one, other in zip(found, wanted, strict=True):
            if str(one.dtype) != other.dtype or not np.array_equal(one.astype(object), other.array):
                raise BrokenPromiseError(f"proven, and {name} do not give the exact integers")
    return "equal"


def compare_with_base(sessions: dict[str, Session], base: onnx.ModelProto, rng: Rng, folder: Path) -> None:
    """The outputs of a file whose hash is that of the certificate, against those of the model that was certified."""
    path = folder / "case.certified.onnx"
    path.write_bytes(base.SerializeToString())
    before = loaded(path, rng)
    inputs = feeds(before["bodies"], base, rng)
    assert inputs is not None
    for name, session in sessions.items():
        try:
            wanted = before[name].run(None, inputs)
            found = session.run(None, inputs)
        except Exception as error:
            if not hostile_models.is_refusal(error):
                raise
            continue
        for one, other in zip(found, wanted, strict=True):
            if not np.array_equal(one, other):
                raise BrokenPromiseError(f"the hash is that of the certificate, the integers of {name} are not")
