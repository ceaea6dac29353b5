"""A call of an operator, and inputs of given sizes that several operators have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawing import Array, dyadic, exponentials, integers

__all__ = ["Arguments", "Case", "linear_inputs", "residual_inputs", "with_table"]


@dataclass
class Case:
    """One call: constants and data by input name, attributes by name."""

    operator: str
    inputs: dict[str, Array]
    attributes: dict[str, int]


#: Inputs and attributes.
Arguments = tuple[dict[str, Array], dict[str, int]]


def linear_inputs(rng: np.random.Generator, prefix: str, k: int, n: int, target: int = 128) -> dict[str, Array]:
    m, e = dyadic(rng, (n,), 5000 * k**0.5 * 128 / target, False)
    return {
        f"{prefix}weight": integers(rng, (k, n), np.int8, False),
        f"{prefix}bias": rng.integers(-(2**20), 2**20, n).astype(np.int32),
        f"{prefix}multiplier": m,
        f"{prefix}shift": e,
    }


def residual_inputs(rng: np.random.Generator) -> dict[str, Array]:
    bm, be = dyadic(rng, (), 128, False, negative=False)
    rm, re = dyadic(rng, (), 128, False, negative=False)
    return {"branch_multiplier": bm, "branch_shift": be, "residual_multiplier": rm, "residual_shift": re}


def with_table(rng: np.random.Generator, case: Case, operator: str, *, extreme: bool = False) -> Case:
    """The same call of the operator with a table instead of shifts."""
    attributes = {name: value for name, value in case.attributes.items() if name not in ("x0", "n")}
    inputs = {name: array for name, array in case.inputs.items() if not name.startswith("gelu_")}
    if "frac_bits" in attributes:
        inputs["exponentials"] = exponentials(rng, extreme)
    else:
        inputs["gelu_table"] = integers(rng, (256,), np.int8, extreme)
    return Case(operator, inputs, attributes)
