"""What the exporter writes is what was recorded: nodes, constants and metadata of every kind of network."""

from __future__ import annotations

import json

import pytest
from export_cases import CALIBRATED, EXACT, FULL_SIZE
from exports import RECORD, differences, digests

EXPECTED = json.loads(RECORD.read_text())["cases"]


@pytest.mark.parametrize("name", EXACT)
def test_export_is_as_recorded(name: str) -> None:
    assert differences(name, digests(EXACT[name]), EXPECTED[name]) == []


def test_every_case_is_recorded() -> None:
    assert set(EXPECTED) == {*EXACT, *CALIBRATED, *FULL_SIZE}


def test_a_difference_is_named() -> None:
    found = digests(EXACT["vit"])
    other = digests(EXACT["distilled"])
    assert differences("vit", found, other) == [
        f"vit: the {what} differ" for what in ("nodes", "constants", "metadata")
    ]
    assert differences("vit", found, other, nodes_only=True) == ["vit: the nodes differ"]
