"""Lets allocations of the library fail: `LD_PRELOAD=failing_malloc.so python out_of_memory.py MODEL STEP`.

Creates and runs a session while the k-th allocation fails, for every STEP-th k until none is left to fail, with custom
operators and with the provider. A failure has to be an error of ONNX Runtime, or the answer has to be right all the
same, as where only the shape of an output could not be foretold; and a session that was made before has to go on giving
the right answer. Prints how many failures were errors.
"""

from __future__ import annotations

import ctypes
import sys
from itertools import count

import numpy as np
import onnxruntime

import ivit_onnx
from ivit_onnx.errors import ModelError


def main(model: str, step: int) -> None:
    shim = ctypes.CDLL(None)
    shim.fail_allocation.argtypes = [ctypes.c_long, ctypes.c_void_p]
    entry = ctypes.cast(ctypes.CDLL(ivit_onnx.library_path()).RegisterCustomOps, ctypes.c_void_p)
    image = {"image": np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)}
    for provider in ("cpu", "ivit-cpu"):
        session = ivit_onnx.create_session(model, provider=provider, threads=1)
        (wanted,) = session.run(None, image)
        errors = survived = 0
        for number in count(1, step):
            error = found = None
            shim.fail_allocation(number, entry)
            try:
                options = onnxruntime.SessionOptions()
                options.log_severity_level = 4  # the errors are wanted
                made = ivit_onnx.create_session(model, provider=provider, threads=1, session_options=options)
                (found,) = made.run(None, image)
            except Exception as caught:
                error = caught
            failed = shim.fail_allocation(0, None)
            if error is None:
                np.testing.assert_array_equal(found, wanted)
                survived += 1
                if not failed:
                    break
                continue
            assert failed, error
            errors += 1
            refused = isinstance(error, ModelError) or type(error).__module__.startswith("onnxruntime.")
            assert refused, f"{provider}, allocation {number}: {error!r}"
            assert "bad_alloc" in str(error), f"{provider}, allocation {number}: {error}"
            np.testing.assert_array_equal(session.run(None, image)[0], wanted)
        print(f"{provider}: {errors} errors, {survived - 1} failures without one", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
