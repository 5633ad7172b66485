"""What a frame must have before anything is computed from it."""

from __future__ import annotations

import pandas as pd

from usagekit.errors import SchemaError


def require(frame: pd.DataFrame, *columns: str) -> None:
    """Raise a SchemaError that names the columns that ``frame`` lacks."""
    missing = [c for c in columns if c not in frame]
    if missing:
        raise SchemaError(f"the frame lacks {', '.join(missing)}", missing=missing)
