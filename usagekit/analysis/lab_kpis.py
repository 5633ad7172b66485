"""The figures of a whole lab beside those of :func:`usagekit.analysis.kpis`: devices used and utilisation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat

import pandas as pd

from usagekit.analysis.changes import small_bases
from usagekit.analysis.history import Values, comparable_history, has_year
from usagekit.analysis.kpis import NOT_KNOWN, Kpi, compared, make_kpi
from usagekit.analysis.months import hours_in_days, hours_in_month
from usagekit.analysis.wording import count_text
from usagekit.period import Period, trailing_months


def lab_kpis(
    usage: pd.DataFrame | None,
    business: Mapping[str, float | None],
    *,
    month: str,
    timezone: str,
    devices: int | None,
    partial: tuple[Period, Period] | None = None,
) -> tuple[Kpi, Kpi, Kpi]:
    """Devices used, calendar utilisation and business utilisation of a month.

    Parameters
    ----------
    usage
        as :func:`usagekit.analysis.kpis` takes it, with ``device_count``.
    business
        business utilisation (0 to 1) by month (``YYYY-MM``), of
        :func:`usagekit.analysis.capacity.utilisation`; months that are not there are missing.
    month, timezone
        the month ``YYYY-MM`` and the IANA zone in which it has its hours.
    devices
        devices of the lab's roster, also those without usage; None if it could not be fetched.
    partial
        as for :func:`usagekit.analysis.kpis`: of a running month ``usage`` and ``business`` hold the days that are
        over and as many of the month before.

    Notes
    -----
    calendar utilisation = device hours / (devices * elapsed hours of the month, or of its days that compare). The API knows today's roster
    only, so earlier months are shares of it too. Without a roster it is a share of the devices used in each
    month, and its label says so.

    Raises
    ------
    SchemaError : the frame has no ``datetime`` or several rows for one month.

    >>> usage = pd.DataFrame({"datetime": [pd.Timestamp("2026-10-01")], "total_time_hours": [1490.0],
    ...                       "device_count": [8]})
    >>> found = lab_kpis(usage, {"2026-10": 0.5}, month="2026-10", timezone="Europe/Berlin", devices=10)
    >>> [k.text for k in found]
    ['8', '20%', '50%']
    """
    hours, sessions, used = (
        compared(comparable_history(usage, column, month=month), partial)
        for column in ("total_time_hours", "session_count", "device_count")
    )
    small = small_bases(hours, sessions)
    year = has_year(month, partial)
    names = trailing_months(month)
    elapsed = [hours_in_month(name, timezone) for name in names]
    if partial:
        elapsed[-2:] = (hours_in_days(days, timezone) for days in partial)
    owned: Values = used if devices is None else list(repeat(float(devices), len(names)))
    calendar = [
        h / (d * time) if h is not None and d else None
        for h, d, time in zip(hours, owned, elapsed, strict=True)
    ]
    shares = [
        share if h is not None else None for h, share in zip(hours, map(business.get, names), strict=True)
    ]
    of = "of used devices" if devices is None else f"of {count_text(devices)} devices"
    base = "no device was used" if used[-1] == 0 and devices is None else NOT_KNOWN
    return (
        make_kpi(
            ("devices", "Devices used", ""), used, small=small, year=year, note="" if devices is None else of
        ),
        make_kpi(("calendar", "Calendar utilisation", "share"), calendar, year=year, reason=base, note=of),
        make_kpi(("business", "Business utilisation", "share"), shares, year=year, note=of),
    )
