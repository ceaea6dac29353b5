"""`ivit-bench`: time, memory and start of exported models, beside other runtimes, per operator and per kernel.

Every measurement runs in a worker process of its own, pinned to its processors; this process only starts rounds and
counts. The result is one JSON object; tables, plots and documentation are made from it.
"""

from __future__ import annotations

__all__: list[str] = []
