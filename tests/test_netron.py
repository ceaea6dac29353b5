"""The exported graph in Netron: composites, attributes and names show, and composites open to integer operators.

Netron is served by its own package and looked at in headless Chromium. IVIT_SCREENSHOTS=docs/images also writes the
pictures of the documentation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

import browsers
from ivit_onnx.opset import OPERATORS

netron = pytest.importorskip("netron", reason="needs the netron package, of the [dev] extra")
pytest.importorskip("torch", reason="needs the [export] extra")
pytest.importorskip("sklearn", reason="needs scikit-learn")

if browsers.BROWSER is None:
    pytest.skip(f"needs a browser: one of {', '.join(browsers.BROWSERS)}", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = os.environ.get("IVIT_SCREENSHOTS")
VIEW = {"width": 1200, "height": 1000}
#: Wide enough for one column of nodes, high enough for the first block.
GRAPH_VIEW = {"width": 500, "height": 1340}
SETTLE_MS = 500
OPEN_BUTTON = "\u0192"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model."""
    sys.path.insert(0, str(ROOT / "examples"))
    import digits

    from ivit_onnx import api

    path = tmp_path_factory.mktemp("netron") / "digits.onnx"
    images = digits.load().train_images[:64]
    heads = digits.MODEL["num_heads"]
    api.export(digits.CHECKPOINT, path, calib=images, num_heads=heads, mean=digits.MEAN, std=digits.STD)
    return path


class Viewer:
    """Netron's page, in terms of what a reader does with it."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def node(self, op_type: str) -> Any:
        return self.page.locator(".node-item-type").filter(has_text=op_type).first

    def op_types(self) -> set[str]:
        """Types of the nodes in the graph on show."""
        # One by one: what asks for all at once needs window.eval, which Netron takes away.
        types = self.page.locator(".node-item-type text")
        return {str(types.nth(i).text_content()) for i in range(types.count())} - {OPEN_BUTTON}

    def select(self, op_type: str) -> str:
        """Clicks the first node of a type; the text of the side bar."""
        self.node(op_type).click()
        title = self.page.locator("#sidebar-title")
        browsers.playwright.expect(title).to_have_text("Node Properties")
        browsers.playwright.expect(self.page.locator(".sidebar-item-value-line").first).to_have_text(op_type)
        return str(self.page.locator("#sidebar-content").inner_text())

    def parameters(self) -> list[str]:
        """Names in the side bar: attributes, inputs, outputs."""
        names = self.page.locator("#sidebar-content .sidebar-item-name input")
        return [names.nth(i).input_value() for i in range(names.count())]

    def open(self, op_type: str) -> set[str]:
        """Opens the definition of the selected function; the types of the nodes in its body."""
        self.page.locator('.sidebar-item-value-expander[title="Show Definition"]').click()
        browsers.playwright.expect(self.page.locator("#sidebar-title")).to_have_text("Function Documentation")
        self.page.locator("#sidebar-closebutton").click()
        self.page.wait_for_timeout(SETTLE_MS)
        return self.op_types()

    def screenshot(self, name: str, **options: Any) -> None:
        if SCREENSHOTS:
            self.page.wait_for_timeout(SETTLE_MS)
            folder = ROOT / SCREENSHOTS
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}.png", **options)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.launched() as browser:
        yield browser


@pytest.fixture
def viewer(model: Path, browser: Any) -> Iterator[Viewer]:
    """Netron with the model open, past its notice; nothing outside this machine is asked for anything."""
    address = netron.start(str(model), address=("127.0.0.1", 0), browse=False)
    page = browser.new_page(viewport=VIEW)
    try:
        page.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
        page.route("**/view.js", common_brackets)
        page.goto(f"http://{address[0]}:{address[1]}/")
        page.get_by_role("button", name="Accept").click()
        browsers.playwright.expect(page.locator("body")).to_have_class("default")
        page.wait_for_timeout(SETTLE_MS)
        yield Viewer(page)
    finally:
        page.close()
        netron.stop(address)


def common_brackets(route: Any) -> None:
    """Netron writes shapes in CJK brackets, for which a machine may have no font: takes mathematical ones instead."""
    response = route.fetch()
    route.fulfill(response=response, body=response.text().replace(r"\u3008", r"\u27e8").replace(r"\u3009", r"\u27e9"))


def test_main_graph_is_the_list_of_composites(viewer: Viewer, model: Path) -> None:
    shown = viewer.op_types()
    assert {"IntPixelEmbed", "IntLayerNorm", "IntLinear", "IntDeferredAttention"} <= shown
    assert {"IntLinearAddNorm", "IntTokenMlpAddNorm", "IntTokenMlpAdd", "IntLinear32"} <= shown
    assert {node.op_type for node in onnx.load(model).graph.node} <= shown
    viewer.page.set_viewport_size(GRAPH_VIEW)
    viewer.screenshot("graph")


@pytest.mark.parametrize("op_type", ["IntDeferredAttention", "IntTokenMlpAddNorm", "IntLayerNorm", "IntPixelEmbed"])
def test_node_shows_attributes_and_parameter_names(viewer: Viewer, model: Path, op_type: str) -> None:
    operator = OPERATORS[op_type]
    text = viewer.select(op_type)
    names = viewer.parameters()
    assert {"type", "module", "name", "description"} <= set(names)
    assert {attribute.name for attribute in operator.attributes} <= set(names)
    assert [name for name in names if name in {tensor.name for tensor in operator.inputs}] == [
        tensor.name for tensor in operator.inputs
    ]
    node = next(node for node in onnx.load(model).graph.node if node.op_type == op_type)
    assert node.name in text
    for attribute in node.attribute:
        assert str(attribute.i) in text.split()
    if op_type == "IntDeferredAttention":
        viewer.screenshot("node")


def body_types(model: Path, name: str) -> set[str]:
    """Types of the nodes that Netron draws for a function of the file; it may draw constants inside their readers."""
    function = next(function for function in onnx.load(model).functions if function.name == name)
    return {node.op_type for node in function.node} - {"Constant"}


@pytest.mark.parametrize("op_type", ["IntDeferredAttention", "IntTokenMlpAddNorm", "IntLayerNorm", "IntPixelEmbed"])
def test_composite_opens_to_its_body(viewer: Viewer, model: Path, op_type: str) -> None:
    viewer.select(op_type)
    assert body_types(model, op_type) == viewer.open(op_type) - {"Constant"}
    if op_type == "IntDeferredAttention":
        viewer.screenshot("body")


def test_bodies_open_down_to_standard_integer_operators(viewer: Viewer, model: Path) -> None:
    for op_type in ("IntDeferredAttention", "Requantize", "ScaleRound", "FloorDivide"):
        viewer.select(op_type)
        shown = viewer.open(op_type)
    assert shown - {"Constant"} == body_types(model, "FloorDivide") == {"Mod", "Sub", "Div"}
