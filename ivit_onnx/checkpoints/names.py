"""Names of architectures that stand beside tensors: known ones are used, those of unsupported networks refused."""

from __future__ import annotations

import importlib.util

from ivit_onnx.architectures import KNOWN, known_architecture, unsupported_feature
from ivit_onnx.checkpoints.facts import FIELDS, Facts
from ivit_onnx.errors import CheckpointError

__all__ = ["settle_name"]

#: timm's modules whose networks are read by their shapes.
_MODULES = ("vision_transformer", "deit", "swin_transformer")


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
    feature = unsupported_feature(base) or _other_class(base)
    if feature is not None and "blocks" not in facts:
        raise CheckpointError(f"{title} is a {name} ({origin}), which is not supported yet: {feature}")
    return facts.without("name"), [f"{origin} names {name}, which is not known here; going by the shapes"]


def _other_class(name: str) -> str | None:
    """What timm makes of this name, if timm is installed and it is none of the networks that are read."""
    if importlib.util.find_spec("timm") is None:
        return None
    from timm.models import is_model, model_entrypoint

    if not is_model(name):
        return None
    module = model_entrypoint(name).__module__.rpartition(".")[2]
    if module in _MODULES:
        return None
    return f"a network of timm's {module}"
