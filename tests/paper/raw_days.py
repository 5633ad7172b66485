"""The first days of a running month and as many of the month before, from the raw sessions."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from tests.paper.raw_numbers import HOUR, Piece, Raw, cut, of_team, overlap, shift


class Days:
    """The figures of ``count`` days of the month of ``raw`` and of the month before it, of a team or of the lab."""

    def __init__(self, raw: Raw, count: int, team: str | None = None) -> None:
        self.raw, self.scope = raw, of_team(team)
        starts = [date.fromisoformat(f"{month}-01") for month in (raw.before, raw.month)]
        self.spans = [(self._midnight(day), self._midnight(day + timedelta(days=count))) for day in starts]

    def _midnight(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=self.raw.zone).timestamp())

    def pieces(self, first: int, last: int) -> list[Piece]:
        return [p for s in self.raw.sessions if self.scope(s) and (p := cut(s, first, last))]

    def figures(self) -> dict[str, list[float]]:
        """By key of the figure what the days before and those of the month have."""
        found: dict[str, list[float]] = {}
        for month, (first, last) in zip((self.raw.before, self.raw.month), self.spans, strict=True):
            own = self.pieces(first, last)
            seconds = sum(p.end - p.start for p in own)
            opens = [span for span in self.raw.business(month) if span[1] <= last]
            owned = len(self.raw.models)
            row = {
                "hours": seconds / HOUR,
                "users": len({p.session.email for p in own} - {None}),
                "sessions": len(own),
                "mean_session": seconds / 60 / len(own),
                "automation": sum(p.end - p.start for p in own if p.session.automated) / seconds,
                "devices": len({p.session.device for p in own}),
                "calendar": seconds / (owned * (last - first)),
                "business": sum(overlap(opens, p.start, p.end) for p in own) / (owned * HOUR * len(opens)),
            }
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        return found

    def by_day(self) -> list[list[float]]:
        """Hours of each day, before and now."""
        days = []
        for month in (self.raw.before, self.raw.month):
            hours = self.raw.daily(month, self.scope)
            last = self.spans[month == self.raw.month][1]
            days.append([spent for day, spent in hours.items() if self._midnight(day) < last])
        return days

    def teams(self) -> dict[str, float]:
        """By how much the hours of each team changed."""
        names = {
            s.team
            for s in self.raw.sessions
            if s.team and s.start >= self.raw.midnight(shift(self.raw.month, -12))
        }
        change = dict.fromkeys(names, 0.0)
        for sign, (first, last) in zip((-1, 1), self.spans, strict=True):
            for piece in self.pieces(first, last):
                if piece.session.team:
                    change[piece.session.team] += sign * (piece.end - piece.start) / HOUR
        return change
