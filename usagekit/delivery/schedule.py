"""When the reports of a month are due: on a day of the next month, in the lab's own zone, compared in UTC."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from usagekit.period import month_of, parse_month, shift_month


@dataclass(frozen=True, slots=True)
class Schedule:
    """``day`` (1 to 28) and local time ``at`` of the following month, in the IANA zone ``timezone``."""

    timezone: str
    day: int = 2
    at: time = time(6)

    def due_at(self, month: str) -> datetime:
        """The instant (UTC) from which the reports of a month are due.

        A time that comes twice that day counts at first; one that the clock skips comes as much later.

        >>> berlin = Schedule("Europe/Berlin")
        >>> str(berlin.due_at("2026-02")), str(berlin.due_at("2026-03"))
        ('2026-03-02 05:00:00+00:00', '2026-04-02 04:00:00+00:00')

        Raises
        ------
        QueryError : ``month`` is not ``YYYY-MM``.
        """
        day = month_of(parse_month(month).start, shift=1).start.replace(day=self.day)
        return datetime.combine(day, self.at, ZoneInfo(self.timezone)).astimezone(UTC)

    def last_due(self, now: datetime) -> str:
        """The latest month whose reports are due at an instant.

        >>> berlin = Schedule("Europe/Berlin")
        >>> [berlin.last_due(datetime(2026, 4, 2, hour, tzinfo=UTC)) for hour in (3, 4)]
        ['2026-02', '2026-03']
        """
        today = now.astimezone(ZoneInfo(self.timezone)).date()
        last = f"{month_of(today, shift=-1).start:%Y-%m}"
        return last if self.due_at(last) <= now else shift_month(last, -1)

    def next_due(self, now: datetime) -> str:
        """The first month whose reports are not due yet."""
        return shift_month(self.last_due(now), 1)

    def months_due(self, now: datetime, *, since: str | None, done: Container[str]) -> list[str]:
        """The months to make, oldest first: those from ``since`` on that are due and not ``done``.

        Without ``since`` it is the last one alone.

        >>> Schedule("UTC").months_due(datetime(2026, 4, 9, tzinfo=UTC), since="2025-12", done={"2026-01"})
        ['2025-12', '2026-02', '2026-03']
        """
        last = self.last_due(now)
        month, found = since or last, []
        while month <= last:
            if month not in done:
                found.append(month)
            month = shift_month(month, 1)
        return found
