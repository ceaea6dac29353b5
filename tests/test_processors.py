"""How many processors a container leaves to the process: the same in Python and in the native library."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import ivit_onnx
import ivit_onnx.runtime
from cases import random_case
from graphs import single_operator_model
from ivit_onnx.processors import processor_quota, processors

V2 = "0::/a/b\n"
V1 = "5:memory:/other\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/system\n"
CGROUP = "sys/fs/cgroup"

#: What a machine has in its files, and the quota.
MACHINES: dict[str, tuple[dict[str, str], int | None]] = {
    "nothing": ({}, None),
    "no quota": ({"proc/self/cgroup": V2, f"{CGROUP}/a/b/cpu.max": "max 100000\n"}, None),
    "v2": ({"proc/self/cgroup": V2, f"{CGROUP}/a/b/cpu.max": "300000 100000\n"}, 3),
    "v2 above": ({"proc/self/cgroup": V2, f"{CGROUP}/a/cpu.max": "200000 100000", f"{CGROUP}/a/b/cpu.max": "max 1"}, 2),
    "v2 tightest": (
        {"proc/self/cgroup": V2, f"{CGROUP}/a/cpu.max": "200000 100000", f"{CGROUP}/a/b/cpu.max": "700000 100000"},
        2,
    ),
    "v2 in a namespace": ({"proc/self/cgroup": "0::/\n", f"{CGROUP}/cpu.max": "400000 100000\n"}, 4),
    "v2 outside": ({"proc/self/cgroup": "0::/../../b\n", f"{CGROUP}/cpu.max": "400000 100000\n"}, 4),
    "v2 beside v1": ({"proc/self/cgroup": V2, f"{CGROUP}/unified/a/b/cpu.max": "600000 100000\n"}, 6),
    "a part is left out": ({"proc/self/cgroup": V2, f"{CGROUP}/a/b/cpu.max": "250000 100000\n"}, 2),
    "less than one": ({"proc/self/cgroup": V2, f"{CGROUP}/a/b/cpu.max": "10000 100000\n"}, 1),
    "v1": (
        {
            "proc/self/cgroup": V1,
            f"{CGROUP}/cpu/docker/abc/cpu.cfs_quota_us": "500000\n",
            f"{CGROUP}/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
        },
        5,
    ),
    "v1 in a container": (
        {
            "proc/self/cgroup": V1,
            f"{CGROUP}/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            f"{CGROUP}/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
        },
        4,
    ),
    "v1 no quota": (
        {
            "proc/self/cgroup": V1,
            f"{CGROUP}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{CGROUP}/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "v1 of other controllers": (
        {
            "proc/self/cgroup": "5:cpuset:/a\n4:cpuacct:/a\n",
            f"{CGROUP}/cpu/a/cpu.cfs_quota_us": "100000\n",
            f"{CGROUP}/cpu/a/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "no sense": ({"proc/self/cgroup": "x\n0:y\n0::\n\n" + V2, f"{CGROUP}/a/b/cpu.max": "many few\n"}, None),
    "no period": ({"proc/self/cgroup": V2, f"{CGROUP}/a/b/cpu.max": "100000 0\n"}, None),
}


def native_quota(root: Path) -> int:
    ask = ctypes.CDLL(ivit_onnx.library_path()).ivit_processor_quota
    ask.restype, ask.argtypes = ctypes.c_int64, [ctypes.c_char_p]
    return int(ask(str(root).encode()))


@pytest.mark.parametrize("name", MACHINES)
def test_quota(name: str, tmp_path: Path) -> None:
    files, quota = MACHINES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert processor_quota(tmp_path) == quota
    assert native_quota(tmp_path) == (quota or 0)
    allowed = len(os.sched_getaffinity(0))
    assert processors(tmp_path) == min(allowed, quota or allowed)


def test_this_machine() -> None:
    """Both look at the same files of a real system."""
    assert native_quota(Path("/")) == (processor_quota() or 0)
    assert 1 <= processors() <= len(os.sched_getaffinity(0))


def test_the_affinity_mask_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert processors() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("provider", ["cpu", "ivit-cpu"])
def test_sessions_start_no_more_threads(provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(random_case("IntLayerNorm", np.random.default_rng(0)), constants=True), path)

    def threads(given: int, **options: Any) -> int:
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = given
        ivit_onnx.create_session(path, provider=provider, session_options=session_options, **options)
        return int(session_options.intra_op_num_threads)

    monkeypatch.setattr(ivit_onnx.runtime, "processors", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert threads(0) == 3
    assert threads(2) == 2
    assert threads(0, threads=5) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert threads(0) == 0  # ONNX Runtime's own choice
