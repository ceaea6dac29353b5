"""One file for each runtime that has settings of its own: how the file it loads is made, and how it is run.

Recipes take networks and images, so that a benchmark of accuracy measures what is timed here. Imported, as the runtimes
are, in worker processes only.
"""

from __future__ import annotations

__all__: list[str] = []
