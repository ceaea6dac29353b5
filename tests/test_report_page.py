"""The page that ivit-report writes, in a browser."""

from __future__ import annotations

import io
import itertools
import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("matplotlib", reason="the report extra is not installed")
pytest.importorskip("jinja2", reason="the report extra is not installed")
pytest.importorskip("sklearn", reason="needs scikit-learn")

from commands import installed  # noqa: E402
from ivit_onnx.api import export  # noqa: E402

SCREENSHOTS = os.environ.get("IVIT_SCREENSHOTS")
ROOT = Path(__file__).resolve().parent.parent


class Parts(HTMLParser):
    """What a page refers to, and the identifiers of its clip paths."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.clips: list[str] = []
        self.tags: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        values = dict(attrs)
        self.references += [str(values[name]) for name in ("href", "src", "xlink:href") if name in values]
        if tag == "clippath":
            self.clips.append(str(values["id"]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that the installed command wrote, of the demo's model."""
    sys.path.insert(0, str(ROOT / "examples"))
    import digits

    folder = tmp_path_factory.mktemp("page")
    options = {"num_heads": digits.MODEL["num_heads"], "mean": digits.MEAN, "std": digits.STD, "nonlinear": "table"}
    export(digits.CHECKPOINT, folder / "digits.onnx", calib=digits.load().train_images[:128], **options)
    target = folder / "report.html"
    options = ("--against", digits.CHECKPOINT, "--data", "digits", "--limit", "8", "-o", target)
    done = installed("report", folder / "digits.onnx", *options)
    assert (done.status, done.err) == (0, "")
    assert "costliest layers" in done.out
    page = target.read_text()
    assert "GELU table" in page
    assert "scores and exponentials" in page
    assert "Shift" not in done.out + page
    assert f"wrote {target}" in done.out
    return target


def test_page_stands_alone(written: Path) -> None:
    parts = Parts()
    parts.feed(written.read_text())
    assert all(reference.startswith(("#", "data:")) for reference in parts.references)
    assert not {"script", "img", "iframe"} & set(parts.tags)
    assert len(parts.clips) == len(set(parts.clips)) >= parts.tags["svg"] > 30


@pytest.fixture(scope="module")
def shown(written: Path) -> Iterator[Any]:
    """The page in a browser that may not reach anything, with what it complained about."""
    import browsers

    with browsers.launched() as browser:
        view = browser.new_page(viewport={"width": 1180, "height": 1310})
        complaints: list[str] = []
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("requestfailed", lambda request: complaints.append(request.url))
        asked: list[str] = []
        view.on("request", lambda request: asked.append(request.url))
        view.goto(written.as_uri())
        yield view, complaints, asked


def colours(view: Any, element: Any) -> int:
    """How many colours a screenshot of an element has."""
    image = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    return len(image.getcolors(image.width * image.height))


def test_page_in_a_browser(shown: Any, written: Path) -> None:
    view, complaints, asked = shown
    if SCREENSHOTS:
        Image.open(io.BytesIO(view.screenshot())).convert("RGB").save(ROOT / SCREENSHOTS / "report.png", optimize=True)
    plots = view.locator("svg")
    number = plots.count()
    assert number == written.read_text().count("<svg") > 30
    for index in range(view.locator("details").count()):
        view.locator("summary").nth(index).click()
    width = view.viewport_size["width"]
    for index in range(number):
        box = plots.nth(index).bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 80
        assert 0 <= box["x"] <= width - box["width"]
    for index in (0, 1, 2, 3, 4, number - 1):
        assert colours(view, plots.nth(index)) > 20
    curves = view.locator("svg").first.locator("path")
    assert curves.count() > 20
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_no_two_texts_overlap_the_axis_of_layers(shown: Any) -> None:
    """Names of layers below a plot: side by side, and inside the picture."""
    view, _, _ = shown
    picture = view.locator("svg").nth(1).bounding_box()
    names = view.locator("svg").nth(1).locator("text", has_text=re.compile("^blocks"))
    boxes = [names.nth(index).bounding_box() for index in range(names.count())]
    assert len(boxes) == 18
    for left, right in itertools.pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"] + 1
    assert all(box["y"] + box["height"] <= picture["y"] + picture["height"] + 1 for box in boxes)
