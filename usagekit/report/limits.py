"""How much time and room one report may take, and what its kernel may see."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

_JUPYTER = (
    "PATH",
    "DATA_DIR",
    "CONFIG_DIR",
    "CONFIG_PATH",
    "RUNTIME_DIR",
    "PLATFORM_DIRS",
    "PREFER_ENV_PATH",
)
_PYTHON = ("PATH", "HOME", "TZPATH", "UTF8", "HASHSEED", "NOUSERSITE", "DONTWRITEBYTECODE", "PYCACHEPREFIX")
KERNEL_VARIABLES: Final = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "USAGEKIT_CACHE"}
    | {"VIRTUAL_ENV", "CONDA_PREFIX", "MPLCONFIGDIR", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    | {f"JUPYTER_{name}" for name in _JUPYTER}
    | {f"PYTHON{name}" for name in _PYTHON}
)
"""All that a report's kernel sees of the environment, beside ``LC_*``. One by one: JUPYTER_TOKEN is a secret too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one report.

    Times are in seconds: until its kernel answers, for one cell, for all cells. Exporting may take another
    ``export_seconds``; then its process is killed. ``printed_characters`` of one cell are kept, the rest is
    cut with a mark; a report whose figures and tables exceed ``report_characters`` fails. A kernel that asks for
    more than ``memory_bytes`` of memory of its own gets a MemoryError or dies (on Linux).
    """

    start_seconds: int = 60
    cell_seconds: int = 300
    report_seconds: int = 900
    export_seconds: int = 120
    printed_characters: int = 1_000_000
    report_characters: int = 50_000_000
    memory_bytes: int = 4 * 1024**3

    @property
    def worker_seconds(self) -> int:
        """When the process that makes the report is killed: two attempts to start it, the cells, the export."""
        return 2 * self.start_seconds + self.report_seconds + self.export_seconds


def kernel_environment() -> dict[str, str]:
    """The environment of a report's kernel: an allow-list, so that no token or password can reach a notebook."""
    return {k: v for k, v in os.environ.items() if k in KERNEL_VARIABLES or k.startswith("LC_")}
