"""Which model a device is, which country a host is in: told from the hours, since no route says it."""

from __future__ import annotations

import numpy as np
import pandas as pd

_CERTAIN = 1e-6
"""How far from 0 or 1 a solution may lie, and a residual (h) from nothing; hours are exact to about 1e-12."""


def infer_wholes(parts: pd.DataFrame, wholes: pd.DataFrame, *, part: str, whole: str) -> pd.DataFrame:
    """Find the whole (model, country) that each part (device, host) belongs to.

    In every bin the hours of a whole are the sum of the hours of its parts, so the unknown 0 or 1 for each pair
    solves a linear system with one equation a bin: two requests answer for as many parts as there are bins.

    Parameters
    ----------
    parts
        ``datetime``, the column ``part`` and ``total_time_hours`` (h), in many bins.
    wholes
        the same for the column ``whole``, of the same bins and of these parts alone.
    part, whole
        the two group columns.

    Returns
    -------
    ``part`` and ``whole``, a row a part that is certain. A part whose hours say too little (none, or only in
    bins where others could stand in for it) is not in it, nor is one that belongs to no known whole.

    >>> days = pd.to_datetime(["2023-03-01", "2023-03-02"])
    >>> devices = pd.DataFrame({"datetime": [*days, days[1]], "device": list("aab"), "total_time_hours": [1.0, 2, 5]})
    >>> models = pd.DataFrame({"datetime": [*days, days[1]], "model": list("xxy"), "total_time_hours": [1.0, 2, 5]})
    >>> infer_wholes(devices, models, part="device", whole="model").values.tolist()
    [['a', 'x'], ['b', 'y']]
    """
    left, right = _matrix(parts, part), _matrix(wholes, whole)
    left = left.loc[:, left.sum() > 0]
    if left.empty or right.empty:
        return pd.DataFrame({part: pd.Series(dtype="str"), whole: pd.Series(dtype="str")})
    bins = left.index.union(right.index)
    a = left.reindex(bins, fill_value=0.0).to_numpy()
    b = right.reindex(bins, fill_value=0.0).to_numpy()
    scale = np.linalg.norm(a, axis=0)
    across, sizes, directions = np.linalg.svd(a / scale, full_matrices=False)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    told = directions[:rank]
    # A part is certain only where nothing of it lies in what the equations leave open.
    open_share = np.sqrt(np.clip(1 - (told**2).sum(axis=0), 0, None))
    found = told.T @ ((across[:, :rank].T @ b) / sizes[:rank, None]) / scale[:, None]
    best = found.argmax(axis=1)
    ideal = np.zeros_like(found)
    ideal[np.arange(len(best)), best] = 1.0
    certain = (np.abs(found - ideal).max(axis=1) < _CERTAIN) & (open_share < _CERTAIN)
    rows = np.flatnonzero(certain)
    names = pd.DataFrame({part: left.columns.to_numpy(), whole: right.columns.to_numpy()[best]})
    return names.iloc[rows].reset_index(drop=True)


def _matrix(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Hours (h) with a row a bin and a column a group."""
    table: pd.DataFrame = frame.pivot_table(
        index="datetime", columns=column, values="total_time_hours", aggfunc="sum", fill_value=0.0
    )
    return table
