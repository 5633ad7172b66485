"""The key figures of a month as a table of numbers, for whoever computes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from usagekit.analysis.kpis import Kpi
from usagekit.period import trailing_months


def key_figures(figures: Sequence[Kpi], *, month: str) -> pd.DataFrame:
    """A row a key figure: numbers as numbers, each in its ``unit``, None where missing.

    Parameters
    ----------
    figures
        of :func:`usagekit.analysis.kpis.kpis` and :func:`usagekit.analysis.lab_kpis.lab_kpis`.
    month
        the month reported, ``YYYY-MM``.

    Returns
    -------
    ``key``, ``label``, ``unit`` (``h``, ``min``, ``share`` from 0 to 1, or ``count``), ``value``, ``previous`` (the month
    before) and ``year_ago``, ``change`` and ``year_change`` (differences to these), ``change_share`` and
    ``year_change_share`` (the same as a share of them, only where the report tells a change in percent), ``reason``
    why there is no value, ``note``, and a column a month, such as ``2023-03``.

    >>> from usagekit.analysis.kpis import make_kpi
    >>> hours = make_kpi(("hours", "Device hours", "h"), [*[None] * 11, 310.0, 402.5])
    >>> table = key_figures([hours], month="2023-03")
    >>> table[["key", "value", "previous", "change", "year_ago", "2023-02"]].values.tolist()
    [['hours', 402.5, 310.0, 92.5, None, 310.0]]
    """
    rows = []
    for k in figures:
        history = [_plain(value, k.unit) for value in k.history]
        now, before = history[-1], history[-2]
        ago = history[-13] if len(history) >= 13 and k.year_change[:3] not in ("", "n/a") else None
        row: dict[str, Any] = {"key": k.key, "label": k.label, "unit": k.unit or "count"}
        row |= {"value": now, "previous": before, "year_ago": ago}
        for name, base, told in (("change", before, k.change), ("year_change", ago, k.year_change)):
            row[name] = None if now is None or base is None else now - base
            row[f"{name}_share"] = None if k.unit == "share" else relative_change(now, base, told)
        row |= {"reason": k.reason, "note": k.note}
        rows.append(row | dict(zip(trailing_months(month, count=len(history)), history, strict=True)))
    return pd.DataFrame(rows, dtype=object)


def relative_change(value: float | None, base: float | None, told: str) -> float | None:
    """(value - base) / base, where the report tells the change in percent and not, after little, in hours.

    >>> relative_change(5.0, 4.0, "+25%"), relative_change(0.4, 0.2, "+20 pp"), relative_change(9.0, 1.0, "+8.0 h")
    (0.25, None, None)
    """
    percent = told.endswith("%") or told in ("unchanged", "almost unchanged")
    return (value - base) / base if percent and value is not None and base else None


def _plain(value: float | None, unit: str) -> float | None:
    return int(value) if value is not None and not unit else value
