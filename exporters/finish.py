"""From a main graph to a file: functions of the domain, `--flat`, metadata, checks, saving."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ivit_onnx.files import utf8_path
from ivit_onnx.opset import DOMAIN, FLAT_FUNCTIONS, function_protos, version_of

__all__ = ["IR_VERSION", "MAX_PROTO_BYTES", "InlineComposites", "finish", "flatten", "save"]

IR_VERSION = 10
#: A protobuf message ends at 2 GiB; weights beyond this go to a second file.
MAX_PROTO_BYTES = 2**31 - 2**24


def finish(graph: ir.Graph, metadata: Mapping[str, str], *, flat: bool, producer_version: str) -> ir.Model:
    """The complete model: `graph`, the functions that it reaches, metadata.

    Ensures: onnx.checker accepts it; no function is unused; with `flat`, the main graph has no operator of the domain
    but FLAT_FUNCTIONS; it imports no later version of the domain than it needs; equal arguments give equal bytes.
    """
    functions = [ir.serde.deserialize_function(proto) for proto in function_protos()]
    model = ir.Model(
        graph,
        ir_version=IR_VERSION,
        producer_name="ivit-onnx",
        producer_version=producer_version,
        functions=functions,
        metadata_props=dict(metadata),
        doc_string=graph.doc_string,
    )
    if flat:
        flatten(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    _import_version(model)
    common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(model)
    return model


def _import_version(model: ir.Model) -> None:
    """Makes the model import the first version of the domain that has its operators; the metadata says so."""
    version = version_of([*(node.op_type for node in _of_domain(model)), *(name for _, name, _ in model.functions)])
    for imports in (model.graph.opset_imports, *(function.opset_imports for function in model.functions.values())):
        if DOMAIN in imports:
            imports[DOMAIN] = version
    if "ivit.opset" in model.metadata_props:
        model.metadata_props["ivit.opset"] = str(version)


def flatten(model: ir.Model) -> None:
    """`InlineComposites`, in place."""
    InlineComposites()(model)


class InlineComposites(ir.passes.InPlacePass):
    """Replaces the operators of the domain, all but FLAT_FUNCTIONS, by the bodies that the model has for them.

    Requires: the model has a body for each operator of the domain that its graph calls.
    Ensures: its graph has no operator of the domain but FLAT_FUNCTIONS.
    """

    def requires(self, model: ir.Model) -> None:
        for node in _of_domain(model):
            if node.op_identifier() not in model.functions:
                raise ir.passes.PreconditionError(f"{node.name}: the model has no function {node.op_type}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        kept = {(DOMAIN, name) for name in FLAT_FUNCTIONS}
        result = common.InlinePass(criteria=lambda function: function.identifier()[:2] not in kept)(model)
        return ir.passes.PassResult(model, result.modified)

    def ensures(self, model: ir.Model) -> None:
        for node in _of_domain(model):
            if node.op_type not in FLAT_FUNCTIONS:
                raise ir.passes.PostconditionError(f"{node.name}: {node.op_type} is left")


def _of_domain(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.domain == DOMAIN]


def save(model: ir.Model, path: Path, *, max_proto_bytes: int = MAX_PROTO_BYTES) -> None:
    """Write the model, with its weights in `path`.data when one protobuf message cannot hold them.

    Raises:
        onnx.checker.ValidationError: the model is not valid ONNX; a defect of the exporter.
    """
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if weights > max_proto_bytes:
        ir.save(model, path, external_data=path.name + ".data")
    else:
        proto = ir.to_proto(model)
        path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(utf8_path(path), full_check=True)
