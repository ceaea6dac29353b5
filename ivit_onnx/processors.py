"""How many processors this process may keep busy; `custom_ops/kernels/cpu/processors.cc` counts the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["processor_quota", "processors"]


def processors(root: str | os.PathLike[str] = "/") -> int:
    """Those of the affinity mask, and no more than the quota below `root`; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota(root)
    return allowed if quota is None else min(allowed, quota)


def processor_quota(root: str | os.PathLike[str] = "/") -> int | None:
    """The whole processors of the tightest quota of the process's control group and of those above it, at least 1.

    Version 2 has quotas in cpu.max, version 1 in cpu.cfs_quota_us. None without a quota. The part of a processor that
    is left over would stop one more thread for most of every period. The files are read below `root`.
    """
    quotas = [quota for folder in _groups(Path(root)) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the process's groups and of those above them, as far as a container sees them."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in ("cpu", "cpu,cpuacct") if controllers else ("", "unified"):
            inside = PurePosixPath("/" if ".." in path else path).relative_to("/") if path.startswith("/") else None
            if inside is not None:
                yield from (root / "sys/fs/cgroup" / mount / group for group in (inside, *inside.parents))


def _quota(folder: Path) -> int | None:
    """The quota that a group itself has."""
    fields = _read(folder / "cpu.max").split() or [
        *_read(folder / "cpu.cfs_quota_us").split(),
        *_read(folder / "cpu.cfs_period_us").split(),
    ]
    try:
        quota, period = map(int, fields)
    except ValueError:  # "max", or no such file
        return None
    return max(1, quota // period) if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
