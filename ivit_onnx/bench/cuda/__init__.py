"""`ivit-bench --device cuda`: the same comparison on an NVIDIA GPU.

Every candidate has a process of its own with its own CUDA context; the parent interleaves their rounds, as on the CPU.
What differs: how sessions start and run (`runners`, `binding`), what a clock can see of a device that works
asynchronously (`timing`), the device's own peak and memory (`device`), and the time of kernels, which CUPTI reports
(`kernels`).
"""

from __future__ import annotations

__all__: list[str] = []
