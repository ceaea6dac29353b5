"""The exporter traces a twin's own forward: whatever is no operator is an error, and fusions change no integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from export_cases import EXACT, make_twin
from ivit_onnx.exporters import build_graph, finish
from ivit_onnx.exporters.contract import contract
from ivit_onnx.exporters.finish import InlineComposites
from ivit_onnx.exporters.fuse import NORM_FORMS, PIXEL_FORMS, FuseNorm, FusePixels
from ivit_onnx.exporters.trace import Trace, TracedTensor, trace
from torch import Tensor, nn

from ivit_onnx.errors import ExportError
from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import (
    ActivationQuantizer,
    Classifier,
    Flatten,
    LayerNorm,
    Linear,
    PatchEmbed,
    TakeTokens,
)
from ivit_onnx.quant.tensors import Lowered, QuantTensor
from networks import pixels

Array = np.ndarray[Any, Any]

FOUR = torch.ones(4)

#: What a forward may do by mistake.
MISTAKES: dict[str, Callable[[Tensor], Any]] = {
    "sum": lambda t: t + 1,
    "reflected sum": lambda t: FOUR + t,
    "in place": lambda t: t.add_(1),
    "out": lambda t: torch.add(FOUR, FOUR, out=t),
    "comparison": lambda t: t == 1,
    "condition": lambda t: 1 if t else 0,
    "membership": lambda t: 1 in t,
    "iteration": lambda t: list(t),
    "index": lambda t: t[:, :1],
    "as an index": lambda t: FOUR[t],
    "assignment": lambda t: t.__setitem__(0, 1),
    "in a list": lambda t: torch.cat([FOUR, t]),
    "function": lambda t: F.linear(t, torch.ones(2, 4)),
    "module": nn.Linear(4, 2),
    "operator": lambda t: torch.ops.aten.add(t, 1),
    "shape": lambda t: t.shape[0],
    "size": lambda t: t.size(0),
    "length": len,
    "number": float,
    "cast": lambda t: t.float(),
    "to": lambda t: t.to(torch.int32),
    "numpy": lambda t: np.asarray(t),
    "ufunc": lambda t: np.add(t, 1),
    "detached": lambda t: t.detach(),
    "values": lambda t: t.tolist(),
    "parameter": nn.Parameter,
}


def traced_tensor() -> tuple[Trace, TracedTensor]:
    graph = Trace()
    return graph, graph.input("image", "uint8", (3, 4), "An image.")


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_operator_is_an_error(name: str) -> None:
    with pytest.raises(ExportError, match=r"cannot be exported: expected only modules that are operators") as error:
        MISTAKES[name](traced_tensor()[1])
    assert "\n" not in str(error.value)


def test_what_may_be_read_of_a_traced_tensor() -> None:
    _, image = traced_tensor()
    assert (image.dtype, image.device) == (torch.uint8, torch.device("cpu"))
    assert image.long() is image
    assert repr(image) == "<uint8 image of the graph>"


def test_a_cast_of_floats_is_an_error() -> None:
    with pytest.raises(ExportError, match=r"torch\.Tensor\.long cannot be exported"):
        Trace().input("image", "float32", (3,), "").long()


def empty(*shape: int) -> Tensor:
    return torch.zeros(0, *shape)


def call(operator: str, **constants: Array) -> Lowered:
    return Lowered(operator, constants, np.float32(1))


@pytest.mark.parametrize(
    ("lowered", "values", "result", "message"),
    [
        (call("Gelu"), 1, empty(4), "expected an operator of the domain .* found 'Gelu'"),
        (call("IntLayerNorm"), 1, empty(4), "takes x, multiplier, offset, shift, found 1 tensors"),
        (call("Flatten", axis=np.ones(1)), 1, empty(4), "found 1 tensors and the constants axis"),
        (call("Flatten"), 2, empty(4), "found 2 tensors and the constants .none."),
        (call("Flatten"), 1, torch.zeros(1, 4), r"for each image, found \[1, 4\]"),
        (call("Flatten"), 1, torch.zeros(()), r"for each image, found \[\]"),
        (call("TableGELU", table=np.zeros(256, np.int8)), 1, empty(4), "expected int8, found uint8 of image"),
    ],
)
def test_calls_that_do_not_fit_their_operator(lowered: Lowered, values: int, result: Tensor, message: str) -> None:
    graph, image = traced_tensor()
    with pytest.raises(ExportError, match=message):
        graph.call("step", "", lowered, [image] * values, result)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.full((12,), 300.0), "core.padding: expected a constant of int8, found values from 300.0 to 300.0"),
        (torch.full((12,), 0.5), "core.padding: expected a constant of int8"),
        (torch.zeros(0, 12), "core.padding: expected a tensor of the graph or a constant"),
    ],
)
def test_constants_that_are_none(given: Tensor, message: str) -> None:
    graph = Trace()
    qkv = graph.input("qkv", "int8", (16, 12), "")
    names = [name for name in contract("IntTableWindowAttention").inputs if name not in ("qkv", "padding")]
    lowered = Lowered("IntTableWindowAttention", dict.fromkeys(names, np.zeros(1)), np.float32(1))
    with pytest.raises(ExportError, match=message):
        graph.call("core", "", lowered, [qkv, given], empty(16, 4))


class ToyTwin(Twin):
    """A network of no family that the exporter knows."""

    def __init__(self, change: Callable[[ToyTwin, QuantTensor], QuantTensor] | None = None) -> None:
        case = EXACT["vit"]
        template = make_twin(case)
        super().__init__(case.arch, template.preprocess, 15)
        self.change = change
        self.patch_embed = PatchEmbed(3, 8, 48, 1, 16)
        self.norm = LayerNorm(48).named("The only normalisation.")
        self.first, self.flatten = TakeTokens(2, 5), Flatten().named("Tokens side by side.", "flat")
        self.hidden = Linear(3 * 48, 20).named("A layer of its own.")
        self.head = Classifier(20, 7)
        self.name_modules()
        rng = np.random.default_rng(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) * 0.2))
        for point in self.activations().values():
            point.set_range(3.0)
        self.image.set_range()
        self.eval()

    def features(self, image: Tensor) -> QuantTensor:
        x = self.patch_embed(self.image(QuantTensor(image, torch.ones(()))))
        if self.change is not None:
            x = self.change(self, x)
        y: QuantTensor = self.hidden(self.flatten(self.first(self.norm(x))))
        return y

    @property
    def feature_activation(self) -> ActivationQuantizer:
        return self.hidden.output


def run(graph: ir.Graph, image: Array, *, flat: bool = False) -> Array:
    model = finish(graph, {}, flat=flat, producer_version="")
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return np.asarray(session.run(None, {"image": image})[0])


def test_a_family_needs_no_exporter() -> None:
    twin, image = ToyTwin(), pixels(5)
    graph, scale = build_graph(twin, "uint8")
    assert [(node.name, node.op_type) for node in graph] == [
        ("patch_embed", "IntPixelEmbed"),
        ("norm", "IntLayerNorm"),
        ("first", "Slice"),
        ("flat", "Flatten"),
        ("hidden", "IntLinear"),
        ("head", "IntLinear32"),
    ]
    assert [node.doc_string for node in graph][3] == "Tokens side by side."
    assert scale == twin.output_scale
    expected = twin(torch.from_numpy(image)).numpy()
    assert len(np.unique(expected)) > 20
    for flat in (False, True):
        found = run(build_graph(twin, "uint8")[0], image, flat=flat)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda twin, x: QuantTensor(x.value + 1, x.scale), r"torch\.Tensor\.add cannot be exported"),
        (lambda twin, x: QuantTensor(torch.zeros(1, 17, 48), x.scale), "logits: expected a result that depends on"),
        (lambda twin, x: twin.norm(x), "norm is called twice: expected a module for each call"),
    ],
)
def test_a_forward_that_is_no_graph(change: Callable[[ToyTwin, QuantTensor], QuantTensor], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        trace(ToyTwin(change), "uint8")


def test_only_integers_are_traced() -> None:
    twin = ToyTwin()
    with pytest.raises(ExportError, match=r"call eval\(\)"):
        trace(twin.train(), "uint8")
    twin.eval().set_quantized(False)
    with pytest.raises(ExportError, match=r"set_quantized\(True\)"):
        trace(twin, "uint8")
    twin.set_quantized(True)
    twin.norm.quantized = False
    with pytest.raises(ExportError, match=r"layer_norm cannot be exported"):
        trace(twin, "uint8")
    with pytest.raises(ExportError, match="uint8, int8, float32, found 'uint16'"):
        trace(twin, "uint16")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["vit", "swin, padded", "vit; ivit", "gap"])
def test_fusions_change_no_integer(name: str) -> None:
    twin = make_twin(EXACT[name])
    image = pixels(2, size=twin.arch.image_size.height)
    plain, fused = trace(twin, "uint8")[0], build_graph(twin, "uint8")[0]
    kinds = {node.op_type for node in plain}
    assert not kinds & {*NORM_FORMS.values(), *PIXEL_FORMS.values()}
    assert "QuantizeImage" in kinds
    assert len(fused) < len(plain)
    np.testing.assert_array_equal(run(fused, image), run(plain, image))


@pytest.mark.parametrize(("forms", "part"), [(NORM_FORMS, "IntLayerNorm"), (PIXEL_FORMS, "QuantizeImage")])
def test_a_fused_operator_takes_what_its_parts_take(forms: dict[str, str], part: str) -> None:
    """The constants of the neighbour, of the same types and in the same order, stand together."""
    _, *constants = contract(part).inputs.values()
    assert forms
    for name, form in forms.items():
        added = {key: dtype for key, dtype in contract(form).inputs.items() if key not in contract(name).inputs}
        assert list(added.values()) == constants
        assert [key for key in contract(form).inputs if key not in added] == list(contract(name).inputs)


def test_the_last_normalisation_stays_where_nothing_else_reads_the_stream() -> None:
    for name in ("gap", "swin"):
        graph, _ = build_graph(make_twin(EXACT[name]), "uint8")
        (norm,) = (node for node in graph if node.name == "norm")
        assert norm.op_type == "IntLayerNorm"
        stream = norm.inputs[0]
        assert stream is not None
        assert stream.producer().op_type == "IntTokenMlpAdd"
        assert len(stream.consumers()) == 1


def test_constants_are_in_the_order_of_nodes_and_none_is_unused() -> None:
    graph, _ = build_graph(make_twin(EXACT["swin, padded"]), "uint8")
    used = [value.name for node in graph for value in node.inputs if value.is_initializer()]
    assert list(graph.initializers) == used
    assert "patch_embed.pixel_offset" in used
    assert "layers.0.blocks.0.attn.core.padding" in used


def as_model(graph: ir.Graph) -> ir.Model:
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("fusion", [FusePixels, FuseNorm])
def test_fusions_require_a_traced_graph(fusion: type[FusePixels | FuseNorm]) -> None:
    model = ir.from_proto(ir.to_proto(as_model(build_graph(make_twin(EXACT["vit"]), "uint8")[0])))
    with pytest.raises(ir.passes.PreconditionError, match="patch_embed: expected a node of a traced graph"):
        fusion()(model)


@pytest.mark.parametrize("fusion", [FusePixels, FuseNorm])
def test_fusions_ensure_that_nothing_is_left(
    fusion: type[FusePixels | FuseNorm], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = trace(make_twin(EXACT["vit"]), "uint8")
    assert fusion()(as_model(graph)).modified
    assert not fusion()(as_model(graph)).modified
    monkeypatch.setattr(fusion, "_replace", lambda *_: None)
    with pytest.raises(ir.passes.PostconditionError, match="are left to be fused"):
        fusion()(as_model(trace(make_twin(EXACT["vit"]), "uint8")[0]))


def test_flattening_requires_the_functions_and_ensures_that_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = build_graph(make_twin(EXACT["vit"]), "uint8")
    with pytest.raises(ir.passes.PreconditionError, match="patch_embed: the model has no function IntPixelEmbed"):
        InlineComposites()(as_model(graph))
    model = finish(graph, {}, flat=False, producer_version="")
    assert InlineComposites()(model).modified
    assert not InlineComposites()(model).modified
    monkeypatch.setattr(InlineComposites, "call", lambda _, model: ir.passes.PassResult(model, modified=False))
    model = finish(build_graph(make_twin(EXACT["vit"]), "uint8")[0], {}, flat=False, producer_version="")
    with pytest.raises(ir.passes.PostconditionError, match="patch_embed: IntPixelEmbed is left"):
        InlineComposites()(model)
