"""The trust panel: whether the numbers of a period add up, whichever way one asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from usagekit.errors import ApiError, QueryError
from usagekit.period import Period, PeriodLike, month_of, parse_period
from usagekit.values import FIRST_DATE
from usagekit.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.analysis.trust import Part
    from usagekit.answer import Quality
    from usagekit.figures.panels import Table
    from usagekit.lab import Lab

T = TypeVar("T")

_SUMS = {
    "devices": "device",
    "hosts": "host",
    "countries": "country",
    "models": "devicemodel",
    "teams": "team",
    "users": "user",
}


@dataclass(frozen=True, eq=False)
class Trust:
    """Whether the numbers add up: ``badge`` is the worst of the rows of ``df``, ``quality`` what else is wrong.

    ``df`` has a row a part of each era: ``era``, ``start``, ``end``, ``part``, ``total_hours``, ``sum_hours``,
    ``difference_hours`` (h), ``difference_share``, ``badge`` (green up to 1 %, amber up to 5 %, red above;
    missing where it could not be asked, and ``notes`` says why). ``quality`` is None where it could not be.
    """

    df: pd.DataFrame
    period: Period
    as_of: datetime
    quality: Quality | None
    notes: tuple[str, ...] = ()

    @property
    def badge(self) -> str:
        """green, amber or red."""
        from usagekit.analysis.trust import BADGES

        return BADGES[max(BADGES.index(b) for b in self.df["badge"] if b in BADGES)]

    def __repr__(self) -> str:
        from usagekit.figures.panels import frame_table, plain

        tables = [frame_table(self._told()), *self._quality()]
        return plain(f"{self._head()}: {self.badge}", tables=tables, notes=self.notes)

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import frame_table, panel

        tables = [frame_table(self._told()), *self._quality()]
        return panel(self._head(), colour=self.badge, tables=tables, notes=self.notes)

    def _head(self) -> str:
        return f"Do the numbers of {self.period} add up?"

    def _told(self) -> pd.DataFrame:
        names = ["part", "total_hours", "sum_hours", "difference_hours", "difference_share", "badge"]
        return self.df[["era", *names] if self.df["era"].nunique() > 1 else names]

    def _quality(self) -> list[Table]:
        from usagekit.figures.panels import frame_table

        counts = self.quality.counts if self.quality else None
        return [] if counts is None else [frame_table(counts[counts["sessions"].fillna(1) != 0])]


@waiting(0)
def check(lab: Lab, period: PeriodLike) -> Trust:
    """See :meth:`usagekit.lab.Lab.check`."""
    import pandas as pd

    from usagekit.analysis.trust import eras, judged_parts

    span = parse_period(period, today=lab.today)
    notes: list[str] = []
    total = lab.usage(span)
    whole = eras(span)
    frames = []
    for era, part in whole:
        hours = float((total if len(whole) == 1 else lab.usage(part)).df["total_time_hours"].sum())
        frames.append(judged_parts(era, part, total=hours, parts=_parts(lab, part, era, notes)))
    quality = _ask(lambda: lab.quality(span), "quality", notes)
    return Trust(pd.concat(frames, ignore_index=True), span, total.as_of, quality, tuple(notes))


def _parts(lab: Lab, period: Period, era: str, notes: list[str]) -> list[Part]:
    """The sums to hold against the total of an era, each None where it could not be asked."""
    from usagekit.analysis.trust import Part

    def hours(name: str, **asked: str | bool) -> float | None:
        def ask() -> float:
            # The roster of devices with its members is what a snapshot holds; the others are without.
            roster = asked.get("by") == "device"
            frame = lab.usage(period, display_all=roster, **asked).df  # type: ignore[arg-type]
            return float(frame["total_time_hours"].sum())

        return _ask(ask, name, notes)

    found = {name: hours(name, by=by) for name, by in _SUMS.items()}
    if era == "legacy":  # a session had a team or a user, so only both together are all
        found["teams + users"] = _sum(found.pop("teams"), found.pop("users"))
    ways = [hours(name, automated=which) for name, which in (("automated", True), ("manual", False))]
    found["automated + manual"] = _sum(*ways)
    found["events"] = _ask(lambda: _event_hours(lab, period), "events", notes)
    return [Part(name, value) for name, value in found.items()]


def _event_hours(lab: Lab, period: Period) -> float:
    """Time of the single sessions inside the period; those that began over a month before it are not seen."""
    from usagekit.analysis.trust import hours_inside
    from usagekit.engine.bins import day_start

    zone = ZoneInfo(lab.timezone)
    days = (period.start, period.end + timedelta(days=1))
    start, end = (datetime.fromtimestamp(day_start(day, zone), UTC) for day in days)
    first = max(month_of(start.date(), shift=-1).start, FIRST_DATE)
    if start.date() < period.start:
        first = max(month_of(period.start, shift=-1).start, FIRST_DATE)
    last = (end - timedelta(microseconds=1)).date()
    return hours_inside(lab.events((first, last)), start, end)


def _ask(ask: Callable[[], T], name: str, notes: list[str]) -> T | None:
    """The answer, or None and a note: one refused part must not hide the others."""
    try:
        return ask()
    except (ApiError, QueryError) as error:
        notes.append(f"{name}: {error}")
        return None


def _sum(*values: float | None) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None
