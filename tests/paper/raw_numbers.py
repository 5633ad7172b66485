"""The numbers of a month's reports from the raw sessions of a store, in whole seconds and plain Python.

Nothing of the package is used here: files are read with pyarrow, instants are seconds of UTC, local time is zoneinfo's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq

CHANGE_OF_ERA = "2022-09"
HOUR = 3600


class Session(NamedTuple):
    """A session that counts; instants in seconds since 1970, names as the store has them."""

    start: int
    end: int
    device: str
    host: str
    model: str | None
    country: str | None
    email: str | None
    team: str | None
    automated: bool


class Piece(NamedTuple):
    """What of a session lies in a month."""

    session: Session
    start: int
    end: int


Scope = Callable[[Session], bool]
Key = Callable[[Session], str | None]
Span = tuple[int, int]


def everything(_: Session) -> bool:
    return True


def of_team(team: str | None) -> Scope:
    return everything if team is None else lambda session: session.team == team


def shift(month: str, by: int) -> str:
    months = int(month[:4]) * 12 + int(month[5:]) - 1 + by
    return f"{months // 12}-{months % 12 + 1:02d}"


def days(month: str) -> list[date]:
    first, last = date.fromisoformat(f"{month}-01"), date.fromisoformat(f"{shift(month, 1)}-01")
    return [first + timedelta(days=n) for n in range((last - first).days)]


def workdays(month: str) -> int:
    return sum(day.weekday() < 5 for day in days(month))


class Raw:
    """A store as seen from one month in one zone, business hours Monday to Friday from 8 to 18."""

    def __init__(self, store: Path, month: str, zone: str = "Europe/Berlin") -> None:
        self.month, self.zone = month, ZoneInfo(zone)
        self.months = [shift(month, by) for by in range(-12, 1)]
        self.before, self.year = self.months[-2], self.months[0]
        self.borders = [self.midnight(m) for m in (*self.months, shift(month, 1))]
        devices = _rows(store / "devices.parquet")
        countries = {row["hostname"]: row["country"] for row in _rows(store / "hosts.parquet")}
        self.models = {_address(row): row["model"] for row in devices}
        self.places = {_address(row): (row["hostname"], countries[row["hostname"]]) for row in devices}
        self.teams = sorted(row["team"] for row in _rows(store / "teams.parquet"))
        self.sessions = read_sessions(store)
        self.pieces: dict[str, list[Piece]] = {m: [] for m in self.months}
        for session in self.sessions:
            for at in range(len(self.months)):
                if piece := cut(session, self.borders[at], self.borders[at + 1]):
                    self.pieces[self.months[at]].append(piece)

    def midnight(self, month: str) -> int:
        return int(datetime(int(month[:4]), int(month[5:]), 1, tzinfo=self.zone).timestamp())

    # Months

    def comparable(self, month: str) -> bool:
        return (month >= CHANGE_OF_ERA) == (self.month >= CHANGE_OF_ERA)

    def seconds(self, month: str, scope: Scope = everything) -> int:
        return sum(p.end - p.start for p in self.pieces[month] if scope(p.session))

    def hours_by(self, month: str, key: Key, scope: Scope = everything) -> dict[str, float]:
        """Hours of each group; a group with a session is there even if it took no time."""
        found: Counter[str] = Counter()
        for piece in self.pieces[month]:
            name = key(piece.session)
            if name is not None and scope(piece.session):
                found[name] += piece.end - piece.start
        return {name: seconds / HOUR for name, seconds in found.items()}

    def history(self, scope: Scope = everything) -> dict[str, list[float | None]]:
        """The figures of 13 months, oldest first; None in the other era."""
        figures: dict[str, list[float | None]] = {}
        for month in self.months:
            own = [p for p in self.pieces[month] if scope(p.session)]
            seconds = sum(p.end - p.start for p in own)
            runs = sum(p.end - p.start for p in own if p.session.automated)
            row: dict[str, float | None] = {
                "hours": seconds / HOUR,
                "users": len({p.session.email for p in own} - {None}),
                "sessions": len(own),
                "devices": len({p.session.device for p in own}),
                "mean_session": seconds / 60 / len(own) if own else None,
                "automation": runs / seconds if seconds else None,
            }
            for name, value in row.items():
                figures.setdefault(name, []).append(value if self.comparable(month) else None)
        return figures

    def mean_hours(self, scope: Scope = everything) -> float:
        """Sessions of the month times the mean whole length of those that start in it, put right at its ends.

        A session from before counts with its part in the month instead of the mean, and what others have after the
        month is taken off.
        """
        first, last = self.borders[-2:]
        own = [p for p in self.pieces[self.month] if scope(p.session)]
        lengths = [p.session.end - p.session.start for p in own if p.session.start >= first]
        mean = sum(lengths) / len(lengths)
        before = sum(p.end - p.start - mean for p in own if p.session.start < first)
        after = sum(p.session.end - last for p in own if p.session.start >= first and p.session.end > last)
        return (len(own) * mean + before - after) / HOUR

    # The clock

    def clock(self, month: str) -> list[tuple[int, datetime]]:
        """Each hour of a month: its first second, and what the local clock shows then."""
        first, last = self.midnight(month), self.midnight(shift(month, 1))
        return [
            (at, datetime.fromtimestamp(at, UTC).astimezone(self.zone)) for at in range(first, last, HOUR)
        ]

    def seconds_by_hour(self, month: str, spans: Iterable[Span]) -> list[int]:
        first, last = self.midnight(month), self.midnight(shift(month, 1))
        found = [0] * ((last - first) // HOUR)
        for start, end in spans:
            at = start
            while at < end:
                place = (at - first) // HOUR
                until = min(end, first + (place + 1) * HOUR)
                found[place] += until - at
                at = until
        return found

    def by_hour(self, month: str, scope: Scope = everything) -> list[int]:
        return self.seconds_by_hour(month, ((p.start, p.end) for p in self.pieces[month] if scope(p.session)))

    def daily(self, month: str, scope: Scope = everything) -> dict[date, float]:
        found = dict.fromkeys(days(month), 0)
        for (_, clock), seconds in zip(self.clock(month), self.by_hour(month, scope), strict=True):
            found[clock.date()] += seconds
        return {day: seconds / HOUR for day, seconds in found.items()}

    def week(self, seconds: list[int]) -> dict[tuple[int, int], float]:
        """Mean over the occurrences of a weekday and hour, of seconds by hour of the month, in hours."""
        sums: Counter[tuple[int, int]] = Counter()
        times: Counter[tuple[int, int]] = Counter()
        for (_, clock), spent in zip(self.clock(self.month), seconds, strict=True):
            cell = (clock.weekday(), clock.hour)
            sums[cell] += spent
            times[cell] += 1
        return {cell: sums[cell] / HOUR / times[cell] for cell in times}

    def business(self, month: str) -> list[Span]:
        """The hours in which the lab is open."""
        return [(at, at + HOUR) for at, c in self.clock(month) if c.weekday() < 5 and 8 <= c.hour < 18]

    @cached_property
    def open_seconds(self) -> int:
        return HOUR * len(self.business(self.month))

    def business_share(self, month: str) -> float:
        spans, used = self.business(month), 0
        opens = {start for start, _ in spans}
        for (at, _), seconds in zip(self.clock(month), self.by_hour(month), strict=True):
            used += seconds if at in opens else 0
        return used / (len(self.models) * HOUR * len(spans))


@cache
def read_sessions(store: Path) -> tuple[Session, ...]:
    """All sessions that have an end that is not before their start, by start; model and country by the tables."""
    models = {_address(row): row["model"] for row in _rows(store / "devices.parquet")}
    countries = {row["hostname"]: row["country"] for row in _rows(store / "hosts.parquet")}
    found = []
    for file in sorted(store.glob("events/month=*/events.parquet")):
        table = pq.read_table(file, partitioning=None)
        names = ("device_id", "hostname", "email", "team", "automated")
        times = (table[side].cast("int64").to_pylist() for side in ("start_time", "end_time"))
        rows = zip(*times, *(table[name].to_pylist() for name in names), strict=True)
        for start, end, device_id, host, *whose in rows:
            if end is None or end < start:
                continue
            assert start % 1_000_000 == end % 1_000_000 == 0
            device = f"{device_id}@{host}"
            seconds = start // 1_000_000, end // 1_000_000
            found.append(Session(*seconds, device, host, models.get(device), countries.get(host), *whose))
    return tuple(sorted(found, key=lambda session: session.start))


def cut(session: Session, first: int, last: int) -> Piece | None:
    """The part between two instants; a session of no length belongs where it starts."""
    if session.start >= last or (session.end <= first and session.start < first):
        return None
    return Piece(session, max(session.start, first), min(session.end, last))


def usual_range(history: list[float | None]) -> tuple[float, float] | None:
    six = [h for h in history[-7:-1] if h is not None]
    if len(six) < 6:
        return None
    middle = median(six)
    spread = 3 * 1.4826 * median([abs(h - middle) for h in six])
    return (max(0.0, middle - spread), middle + spread) if spread else None


def log_mean(a: float, b: float) -> float:
    return a if a == b else (a - b) / log(a / b)


def effective(hours: Iterable[float]) -> float:
    used = [h for h in hours if h > 0]
    return exp(-sum(h / sum(used) * log(h / sum(used)) for h in used)) if used else 0.0


def overlap(spans: list[Span], start: int, end: int) -> int:
    """How much of a span lies in others, which are sorted and apart."""
    found, place = 0, max(0, bisect_right(spans, (start, start)) - 1)
    while place < len(spans) and spans[place][0] < end:
        found += max(0, min(end, spans[place][1]) - max(start, spans[place][0]))
        place += 1
    return found


def union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def steps(sets: Iterable[list[Span]]) -> list[tuple[int, int, int]]:
    """How many of several sets of spans run at once: start, end, number, from change to change."""
    change: Counter[int] = Counter()
    for spans in sets:
        for start, end in spans:
            change[start] += 1
            change[end] -= 1
    found, running = [], 0
    for at, until in pairwise(sorted(change)):
        running += change[at]
        found.append((at, until, running))
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    return pq.read_table(file, partitioning=None).to_pylist()


def _address(row: dict[str, Any]) -> str:
    return f"{row['device_id']}@{row['hostname']}"
