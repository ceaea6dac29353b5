"""The documentation against the code: generated pages are current, commands, flags, names and links exist."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ivit_onnx
from ivit_onnx.budgets import ALL_BUDGETS, EXPANSION
from ivit_onnx.opset import OPERATORS
from ivit_onnx.opset.generators import operators_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> list[tuple[str, str]]:
    """Page name and text of every fenced block in one of the languages."""
    return [
        (page.name, text)
        for page in PAGES
        for language, text in FENCE.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def shell_lines() -> list[str]:
    """Commands in the shell blocks, without prompts and comments, continued lines joined."""
    text = "\n".join(text for _, text in blocks("sh", "console", "bash")).replace("\\\n", " ")
    lines = (line.removeprefix("$ ").split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_operators_page_is_current() -> None:
    assert operators_page.main(["--check", "-o", str(ROOT / "docs" / "operators.md")]) == 0


def test_operators_page_describes_every_operator() -> None:
    """In the section of its base, each input, output and attribute in a row of its own; nothing twice."""
    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8").split("\n## Primitives\n")[0]
    headings = re.findall(r"^####? (\w+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(OPERATORS)
    for name, operator in OPERATORS.items():
        section = page.split(f"\n### {operator.base}\n")[1].split("\n### ")[0]
        assert name == operator.base or f"\n#### {name}\n" in section
        for tensor in (*operator.inputs, *operator.outputs):
            assert f"| `{tensor.name}` | {tensor.dtype} | `{tensor.shape}` |" in section, f"{name} lacks {tensor.name}"
        for attribute in operator.attributes:
            assert f"| `{attribute.name}` | " in section, f"{name} lacks {attribute.name}"
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(set(rows)), f"{operator.base} repeats a row"


def test_check_finds_an_outdated_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "operators.md"
    assert operators_page.main(["--check", "-o", str(page)]) == 1
    assert operators_page.main(["-o", str(page)]) == 0
    assert operators_page.main(["--check", "-o", str(page)]) == 0
    page.write_text(page.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    assert operators_page.main(["--check", "-o", str(page)]) == 1
    assert "out of date" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}, which has no such heading"


def test_budgets_are_those_of_the_code() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [f"| {budget.most:,} | {budget.what} |" for budget in ALL_BUDGETS]
    assert re.findall(r"^\| [\d,]+ \|.*$", page, re.MULTILINE) == rows
    assert f"{EXPANSION} times as large as it is stored" in page


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    used = {word for line in shell_lines() if line.startswith("make") for word in line.split()[1:] if "=" not in word}
    assert used
    assert used <= set(phony[1].split())


def commands() -> list[str]:
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"])


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("ivit_onnx.checkpoints.models_page", "attention heads", "attention feet"),
        ("ivit_onnx.cli.usage_page", "gelu_tanh", "relu"),
        ("ivit_onnx.bench.baselines_page", "quantize_static", "quantize_dynamic"),
    ],
)
def test_tables_of_pages_are_current(tmp_path: Path, module: str, old: str, new: str) -> None:
    tables = importlib.import_module(module).PAGE
    page = tmp_path / "page.md"
    text = (ROOT / tables.path).read_text(encoding="utf-8")
    assert old in text
    page.write_text(text, encoding="utf-8")
    assert tables.main(["--check", "-o", str(page)]) == 0
    page.write_text(text.replace(old, new), encoding="utf-8")
    assert tables.main(["--check", "-o", str(page)]) == 1
    assert tables.main(["-o", str(page)]) == 0
    assert tables.main(["--check", "-o", str(page)]) == 0
    with pytest.raises(ValueError, match="lacks the marks"):
        tables.render("nothing")


def test_commands_in_the_documentation_exist() -> None:
    used = {line.split()[0] for line in shell_lines() if line.startswith("ivit-")}
    assert used
    assert used <= set(commands())


def flags_of(name: str) -> set[str]:
    """Flags that a command's --help lists."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip(f"{name} is not installed in this environment")
    wide = os.environ | {"COLUMNS": "200"}
    text = subprocess.run([str(program), "--help"], capture_output=True, text=True, check=True, env=wide).stdout
    rows = re.findall(r"^\W*(--[a-z][\w-]*)(?:[, ]+(-[a-z])\b)?", text, re.MULTILINE)
    return {flag for row in rows for flag in row if flag}


@pytest.mark.parametrize("name", commands())
def test_flags_in_commands_exist(name: str) -> None:
    words = [line.split() for line in shell_lines()]
    used = {
        flag.split("=")[0] for first, *rest in words if first == name for flag in rest if re.match(r"--?[a-z]", flag)
    }
    assert used <= flags_of(name)


def test_usage_page_has_every_flag_and_no_other() -> None:
    """Each command's section names the flags of that command; --help apart."""
    page = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    sections = ("Export", "Run", "Verify", "Benchmark", "Evaluate", "Report", "Train")
    for name, section in zip(commands(), sections, strict=True):
        text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
        named = set(re.findall(r"`(--?[a-z][\w-]*)", text))
        known = flags_of(name) - {"--help"}
        assert known <= named, f"{section} lacks {sorted(known - named)}"
        other = named - known - (flags_of("ivit-export") if section == "Verify" else set())
        assert not other, f"{section} names {sorted(other)}, which {name} does not have"


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_snippets(page: str, text: str) -> None:
    compile(text, page, "exec")
    for name in re.findall(r"\bivit_onnx\.(\w+)", text):
        assert hasattr(ivit_onnx, name), f"{page} uses ivit_onnx.{name}"
