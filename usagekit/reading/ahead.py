"""What is the same in every report of a snapshot, worked out once for the processes that are forked from this one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usagekit.snapshot import SnapshotSource, read_ahead

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame | None

_lab_wide: list[str] = []
_ahead: dict[tuple[str, str, str], Frame] = {}
"""By the snapshot's SHA-256, the month and the name of the property."""


def lab_wide(compute: Callable[[Any], Frame]) -> cached_property[Frame]:
    """A cached property of a reading that is the same for every team; what was worked out ahead is taken."""

    @wraps(compute)
    def found(reading: Any) -> Frame:
        key = (getattr(reading.lab.source, "sha256", ""), reading.month, compute.__name__)
        if key not in _ahead:
            return compute(reading)
        frame = _ahead[key]
        return None if frame is None else frame.copy(deep=False)

    _lab_wide.append(compute.__name__)
    return cached_property(found)


def work_ahead(directory: Path) -> None:
    """Read a snapshot and work out what all of its reports share.

    Raises
    ------
    StoreError : there is no snapshot, or a part is damaged.
    """
    from usagekit.openers import open_snapshot
    from usagekit.reading import read_month

    read_ahead(directory)
    lab = open_snapshot(directory)
    if isinstance(lab.source, SnapshotSource):
        reading = read_month(lab, str(lab.source.period))
        found = {name: getattr(reading, name) for name in _lab_wide}
        _ahead.update({(lab.source.sha256, reading.month, name): frame for name, frame in found.items()})
