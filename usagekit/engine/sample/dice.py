"""What the parts of the sample lab share: its calendar and its dice."""

from __future__ import annotations

import math
from datetime import date
from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FIRST_DAY: Final = date(2022, 1, 1)
AFTER_LAST_DAY: Final = date(2023, 4, 1)
MONTHS: Final = 15
DAYS: Final = (AFTER_LAST_DAY - FIRST_DAY).days

_PERIOD_STARTS: Final = (
    *(date(2022 + m // 12, m % 12 + 1, 1) for m in range(MONTHS)),
    date(2023, 3, 14),
    date(2023, 3, 16),
)
PERIODS: Final = len(_PERIOD_STARTS)
"""Months, the last of them in three pieces: one device leaves its host on 2023-03-14 and is on another from the 16th."""

PERIOD_OF_DAY: Final[Ints] = (
    np.searchsorted(
        np.array([(d - FIRST_DAY).days for d in _PERIOD_STARTS], dtype=np.int64),
        np.arange(DAYS),
        side="right",
    )
    - 1
)
MONTH_OF_PERIOD: Final[Ints] = np.minimum(np.arange(PERIODS), MONTHS - 1)
MONTH_OF_DAY: Final[Ints] = MONTH_OF_PERIOD[PERIOD_OF_DAY]

_STEPS: Final = 1 << 14


class Dice:
    """Seeded chance that falls alike on every machine and NumPy version.

    Only ``Generator.random`` is drawn from, 53 bits of PCG64 at a time: NumPy's distributions may change between
    versions, and logarithms and powers differ between processors in the last bit.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))

    def unit(self, count: int) -> Floats:
        """Floats from 0 to below 1."""
        return self._random.random(count)

    def whole(self, low: int, high: int, *, count: int) -> Ints:
        """Integers from ``low`` to ``high``, both included."""
        return low + (self.unit(count) * (high - low + 1)).astype(np.int64)

    def spread(self, sigma: float, *, count: int) -> Floats:
        """Lognormal factors with median 1, at most 4 ``sigma`` away from it."""
        return _lognormal(sigma)[(self.unit(count) * _STEPS).astype(np.int64)]

    def pick(self, weights: Floats, rows: Ints | None = None, *, count: int = 0) -> Ints:
        """Indices drawn by weight: one for each entry of ``rows`` from that row of a matrix of weights.

        With a plain vector of weights, ``count`` indices. A weight of 0 is never drawn.
        """
        matrix = np.atleast_2d(weights)
        rows = np.zeros(count, dtype=np.int64) if rows is None else rows
        shares = np.cumsum(matrix, axis=1)
        shares /= shares[:, -1:]
        # All rows on one line, row r from r to r + 1; the factor keeps rounding from stepping into the next row.
        line = (shares + np.arange(len(matrix))[:, None]).ravel()
        points = rows + self.unit(len(rows)) * (1 - 2**-40)
        found: Ints = np.searchsorted(line, points, side="right") - rows * matrix.shape[1]
        return found


@cache
def _lognormal(sigma: float) -> Floats:
    """Quantiles, rounded to what every processor agrees on."""
    normal = NormalDist()
    return np.array([round(math.exp(sigma * normal.inv_cdf((i + 0.5) / _STEPS)), 9) for i in range(_STEPS)])
