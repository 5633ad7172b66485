"""On how many devices or users the hours really rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class Concentration:
    """``members`` with time, the ``effective`` number of them and the share of the largest (None without time).

    ``top_name`` may be somebody's email: it is not for pages without names, and ``repr`` leaves it out.
    """

    members: int
    effective: float
    top_name: str | None = field(repr=False)
    top_share: float | None


def effective_number(hours: pd.Series[float]) -> float:
    """The number of equal members that would be as evenly used: exp of the Shannon entropy of the hours.

    exp(-sum p ln p) with p = hours of a member / hours of all (Hill 1973, order 1). Members without time do not
    count, so it lies between 1 and their number; 0 where nobody has any. ``hours`` (h), one value a member.

    >>> effective_number(pd.Series([5.0, 5.0, 5.0, 5.0])), effective_number(pd.Series([9.0, 0.0]))
    (4.0, 1.0)
    """
    used = hours.to_numpy(dtype="float64")
    used = used[used > 0]
    if not len(used):
        return 0.0
    shares = used / used.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def concentration(hours: pd.Series[float]) -> Concentration:
    """How much the hours depend on few members.

    Parameters
    ----------
    hours
        hours (h), indexed by device address, email or name; several values of one member are added. A
        missing name is no member.

    >>> few = concentration(pd.Series({"a": 6.0, "b": 2.0, "c": 0.0}))
    >>> few.members, round(few.effective, 2), few.top_name, few.top_share
    (2, 1.75, 'a', 0.75)
    """
    sums = hours.groupby(level=0).sum()  # in the order of the names, which decides between equals
    used = sums[sums > 0]
    if used.empty:
        return Concentration(0, 0.0, None, None)
    top_share = float(used.max() / used.sum())
    return Concentration(len(used), effective_number(used), str(used.idxmax()), top_share)
