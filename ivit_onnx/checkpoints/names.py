"""Names of architectures that stand beside tensors: known ones are used, those of unsupported networks refused."""

from __future__ import annotations

from ivit_onnx.architectures import KNOWN, known_architecture, unsupported_feature
from ivit_onnx.checkpoints.facts import FIELDS, Facts
from ivit_onnx.errors import CheckpointError

__all__ = ["settle_name"]


def settle_name(facts: Facts, title: str) -> tuple[Facts, list[str]]:
    """The facts with a name that is known, or without one, and a note about a name that says nothing.

    Raises CheckpointError when the user gave a name that is not known, or the name is that of a network that is not
    supported.
    """
    if "name" not in facts:
        return facts, []
    name, origin = facts.value("name"), facts.found["name"].origin
    if origin == FIELDS["name"][1]:
        known_architecture(name)
        return facts, []
    base = name.partition(".")[0]
    if base in KNOWN:
        return facts, []
    feature = unsupported_feature(base)
    if feature is not None and "blocks" not in facts:
        raise CheckpointError(f"{title} is a {name} ({origin}), which is not supported yet: {feature}")
    return facts.without("name"), [f"{origin} names {name}, which is not known here; going by the shapes"]
