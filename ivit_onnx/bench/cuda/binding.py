"""A session whose inputs and outputs stay at fixed places on the GPU, as CUDA graphs need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["BoundSession", "cuda_providers"]

Array = np.ndarray[Any, Any]

#: numpy's names of ONNX Runtime's element types, where they differ by more than "tensor(..)".
_TYPES = {"float": "float32", "double": "float64"}


def cuda_providers(*, graphs: bool) -> list[tuple[str, dict[str, str]]]:
    """The CUDA provider alone, with float32 in full precision, and with CUDA graphs if wanted."""
    return [("CUDAExecutionProvider", {"use_tf32": "0", "enable_cuda_graph": "1" if graphs else "0"})]


class BoundSession:
    """`session` with inputs and outputs bound to memory of `device`; free dimensions of outputs are `batch`.

    With `wait` false, a run may return before the device has finished. The first run of a session with CUDA graphs
    records the graph, later ones by the same thread replay it.
    """

    def __init__(
        self, session: Any, inputs: Mapping[str, Array], batch: int, *, wait: bool = True, device: str = "cuda"
    ) -> None:
        import onnxruntime

        self._session = session
        self._binding = session.io_binding()
        self._inputs = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a, device, 0) for name, a in inputs.items()}
        self._outputs = {}
        for output in session.get_outputs():
            shape = [size if isinstance(size, int) else batch for size in output.shape]
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, element_type(output.type), device, 0)
            self._outputs[output.name] = value
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = onnxruntime.RunOptions()
        if not wait:
            self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self) -> None:
        """One batch, of the inputs as they are on the device."""
        self._session.run_with_iobinding(self._binding, self._options)

    def update(self, inputs: Mapping[str, Array]) -> None:
        """Copy other inputs of the same shapes to where the old ones are."""
        for name, array in inputs.items():
            self._inputs[name].update_inplace(array)

    def outputs(self) -> dict[str, Array]:
        """Copies of the outputs of the last run, which must have been waited for."""
        return {name: value.numpy() for name, value in self._outputs.items()}


def element_type(name: str) -> type[Any]:
    """The numpy type of ONNX Runtime's "tensor(int8)"."""
    element = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype(_TYPES.get(element, element)).type
