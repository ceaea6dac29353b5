"""PyTorch's export quantisation (PT2E) for x86 processors, compiled by Inductor to oneDNN's int8 kernels.

Source: PyTorch's tutorial "PyTorch 2 Export Quantization with X86 Backend through Inductor". Linear layers and the
convolution are in int8 with zero points of activations from calibration; attention stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ivit_onnx.bench.job import Job, Run, Start
from ivit_onnx.bench.network import calibration_images, load_network
from ivit_onnx.bench.runtimes.pytorch import warmed_up

if TYPE_CHECKING:
    import torch

__all__ = ["quantise", "start"]


def quantise(network: torch.nn.Module, batches: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network in int8, calibrated on these batches of images, as a function that compiles for each shape it meets.

    The first batch has two images or more: PyTorch takes a batch of one for a constant.
    """
    import torch
    import torch._inductor.config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    torch._inductor.config.freezing = True  # type: ignore[attr-defined]
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        shapes = ({0: torch.export.Dim("batch")},)
        exported = torch.export.export(network, (batches[0],), dynamic_shapes=shapes)
        prepared = prepare_pt2e(exported.module(), quantizer)
        for batch in batches:
            prepared(batch)
        converted: torch.nn.Module = convert_pt2e(prepared)
    computed = torch.compile(converted, dynamic=False)

    def run(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # Inductor folds weights only then
            found: torch.Tensor = computed(images)
        return found

    return run


def start(job: Job) -> Start:
    """Quantised and compiled at each start: PyTorch reads its files of exported programs by unpickling."""
    import timm
    import torch
    import torchao.quantization.pt2e

    del timm, torchao  # imported here so that the clock does not time it
    torch.set_num_threads(job.threads)

    def begin() -> Run:
        calibration = torch.from_numpy(calibration_images(job.arch))
        return warmed_up(quantise(load_network(job.arch, job.path), [calibration]), torch.from_numpy(job.floats()))

    return begin
