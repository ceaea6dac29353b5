"""The rule of each standard operator, and the versions of the operator that it was written for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ivit_onnx.proof import choices, elementwise, places, shapes, sums
from ivit_onnx.proof.value import Value

__all__ = ["RULES", "VERSIONS"]

#: A value for each output; several of them as a tuple.
RULES: dict[str, Callable[..., Value | tuple[Value, ...]]] = {
    name: rule for rules in (elementwise, choices, places, shapes, sums) for name, rule in rules.RULES.items()
}


#: Versions of operators, each the first operator set of ONNX in which the operator has this form. What an older one has
#: as an attribute, a newer one has as an input, and the other way round; a version that is newer than these was not
#: there when the rules were written.
VERSIONS: Mapping[str, frozenset[int]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), frozenset({13, 14})),
    **dict.fromkeys(("Min", "Max", "Neg", "Greater", "Less", "Gather", "Concat", "Expand", "Slice"), frozenset({13})),
    **dict.fromkeys(("Transpose", "Flatten", "Squeeze", "Unsqueeze"), frozenset({13, 21, 23, 24, 25})),
    "Split": frozenset({13, 18}),
    "Mod": frozenset({13, 28}),
    "Cast": frozenset({13, 19, 21, 23, 24, 25, 28}),
    "Equal": frozenset({13, 19}),
    "And": frozenset({7}),
    "Where": frozenset({9, 16}),
    "Constant": frozenset({13, 19, 21, 23, 24, 25}),
    "Shape": frozenset({13, 15, 19, 21, 23, 24, 25}),
    "Size": frozenset({13, 19, 21, 23, 24, 25}),
    "Range": frozenset({11, 27}),
    "Identity": frozenset({13, 14, 16, 19, 21, 23, 24, 25}),
    "Reshape": frozenset({13, 14, 19, 21, 23, 24, 25}),
    "QuantizeLinear": frozenset({13, 19, 21, 23, 24, 25, 28}),
    "ReduceSum": frozenset({13}),
    "ReduceMax": frozenset({18, 20}),
    "MatMulInteger": frozenset({10}),
}
