"""Checks the kernel variant that IVIT_CPU names in a process of its own: `python variant_check.py VARIANT`."""

from __future__ import annotations

import sys
from itertools import chain

import numpy as np

from cases import odd_cases, random_cases
from graphs import single_operator_model
from ivit_onnx.bench.machine import cpu_variant
from scale_cases import attention_scale_cases
from sessions import assert_equal, expected, run, session


def main(variant: str) -> None:
    rng = np.random.default_rng(2024)
    for index, case in enumerate(chain(odd_cases(rng), random_cases(rng, 10), attention_scale_cases(rng))):
        model = single_operator_model(case, constants=index % 3 != 0, functions=False)
        shapes = {name: array.shape for name, array in case.inputs.items()}
        try:
            assert_equal(run(session(model, threads=1 + index % 2), case), expected(case))
        except AssertionError as error:
            raise AssertionError(f"{variant}: {case.operator} {case.attributes} {shapes}") from error
    assert cpu_variant() == variant


if __name__ == "__main__":
    main(sys.argv[1])
