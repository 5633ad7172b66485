"""How an API reads what its document leaves open: small questions about one busy day, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from usagekit.errors import ApiStatusError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import EVENT_KEYS, EVENTS_PATH, MAX_EVENT_DAYS

if TYPE_CHECKING:
    from usagekit.api.client import Client

Level = Literal["fine", "note", "fault"]

_ZONE: Final = "Asia/Kolkata"
"""Of an offset that nobody takes for UTC, and without summer time."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out: what is so, and what usagekit does about it. A fault means it cannot be used."""

    topic: str
    says: str
    does: str = ""
    level: Level = "fine"

    def __str__(self) -> str:
        mark = {"fine": "ok  ", "note": "note", "fault": "FAIL"}[self.level]
        return f"{mark}  {self.topic}: {self.says}." + (f"\n      {self.does}." if self.does else "")


def columns(client: Client, day: date, by: str) -> Finding:
    """Whether a route's columns have names that usagekit reads."""
    query = UsageQuery(by=by, start=day - _DAY, end=day + _DAY)
    return _spelt(f"columns of {query.route.path}", client.as_asked(query), query.columns)


def event_columns(client: Client, day: date) -> Finding:
    """Whether the columns of the events have names that usagekit reads."""
    rows = client.as_asked(EventsQuery(start=day - _DAY, end=day + _DAY))
    return _spelt(f"columns of {EVENTS_PATH}", rows, EVENT_KEYS, others=("user", "email", "team"))


def _spelt(
    topic: str, rows: list[dict[str, object]], wanted: tuple[str, ...], *, others: tuple[str, ...] = ()
) -> Finding:
    from usagekit.api.spellings import find_columns

    if not rows:
        return Finding(topic, "no row to look at", level="note")
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = find_columns(names, [*others, *wanted])
    missing = [name for name in wanted if name not in found]
    if missing:
        seen = ", ".join(repr(name[:40]) for name in names)
        does = "Questions to this route are refused; tell the makers of usagekit these names"
        return Finding(topic, f"{', '.join(missing)} not found among {seen}", does, "note")
    other = [f"{source[:40]!r} for {name}" for name, source in found.items() if source != name]
    unknown = [repr(name[:40]) for name in names if name not in found.values()]
    if not (other or unknown):
        return Finding(topic, "named as usagekit names them")
    says = "; ".join(
        [
            *(["other names: " + ", ".join(other)] if other else []),
            *(["unknown: " + ", ".join(unknown)] if unknown else []),
        ]
    )
    return Finding(topic, says, "usagekit reads the other names and keeps unknown columns", "note")


def hour_labels(client: Client, day: date) -> Finding:
    """Whether labels of hours carry their offset."""
    from usagekit.api.spellings import find_columns

    query = UsageQuery(start=day, end=day + _DAY, bin_size="hour", timezone=_ZONE)
    rows = client.as_asked(query)
    label = str(rows[0][find_columns(rows[0], ["datetime"])["datetime"]])[:40] if rows else ""
    try:
        offset = datetime.fromisoformat(label).tzinfo
    except ValueError:
        return Finding("labels of hours", f"{label!r} is not a time", "Hour bins are refused", "note")
    if offset:
        return Finding("labels of hours", f"{label} carries its offset", "Every hour is told apart")
    does = (
        "They are read in the zone of the question; in the night when clocks go back an hour comes twice, and "
        "such an answer is refused: ask in UTC for it"
    )
    return Finding("labels of hours", f"{label} carries no offset", does, "note")


def end_of_usage(client: Client, day: date) -> Finding:
    """Whether end_date is part of the range."""
    from usagekit.api.frames import usage_frame

    query = UsageQuery(start=day - _DAY, end=day, bin_size="day")
    frame = usage_frame(client.as_asked(query), query)
    included = (frame["datetime"].dt.date == day).any()
    says = f"end_date is {'included' if included else 'the first day after it'}"
    if included != client.end_excluded:
        does = (
            "usagekit asks for it as it is"
            if included
            else "usagekit asks for one day more, as it is told to"
        )
        return Finding("end of a range", says, does)
    wrong = "lack their last day" if not client.end_excluded else "hold a day too many"
    setting = "included" if included else "excluded"
    does = f'Until end_date = "{setting}" stands in usagekit.toml all numbers {wrong}'
    return Finding("end of a range", says, does, "note")


def end_of_events(client: Client, day: date) -> Finding:
    """Whether end_date is part of a range of events."""
    from usagekit.api.frames import events_frame

    frame = events_frame(client.as_asked(EventsQuery(start=day - _DAY, end=day)))
    included = (frame["date"].dt.date == day).any()
    does = "usagekit asks for a day more on both sides and cuts, so either way is right"
    return Finding("end of a range of events", f"end_date is {'included' if included else 'left out'}", does)


def week_start(client: Client, day: date) -> Finding:
    """The day on which the API's weeks begin."""
    from usagekit.api.frames import usage_frame

    query = UsageQuery(start=day - 27 * _DAY, end=day, bin_size="week")
    labels = usage_frame(client.as_asked(query), query)["datetime"]
    starts = sorted({f"{label:%A}" for label in labels if label.date() != query.start})
    if not starts:
        return Finding("first day of a week", "too few weeks with usage to tell", level="note")
    if starts == ["Monday"]:
        return Finding("first day of a week", "Monday")
    does = "Weeks of total_time are built from days; other metrics by week are refused"
    return Finding("first day of a week", " or ".join(starts), does, "note")


def longest_events(client: Client, day: date) -> Finding:
    """How long a range of events may be."""
    from usagekit.api.frames import events_frame

    row = events_frame(client.as_asked(EventsQuery(start=day - _DAY, end=day + _DAY))).iloc[0]
    query = EventsQuery(start=day - MAX_EVENT_DAYS * _DAY, end=day, devices=(row["device_address"],))
    try:
        client.as_asked(query)
        says = f"an end {MAX_EVENT_DAYS} days after the start is taken"
    except ApiStatusError as error:
        if error.status != 400:
            raise
        client.as_asked(replace(query, start=query.start + _DAY))
        says = f"an end {MAX_EVENT_DAYS} days after the start is refused, {MAX_EVENT_DAYS - 1} days are taken"
    return Finding("longest range of events", says, f"usagekit asks for {MAX_EVENT_DAYS - 1} days at most")


def event_times(client: Client, day: date) -> Finding:
    """The zone of the times of events."""
    from usagekit.api.event_clock import best_shift
    from usagekit.api.frames import events_frame, usage_frame

    query = UsageQuery(start=day, end=day + _DAY, bin_size="hour")
    hours = usage_frame(client.as_asked(query), query)
    events = events_frame(client.events(EventsQuery(start=day - 2 * _DAY, end=day + 2 * _DAY)))
    shift = best_shift(events, hours, day)
    if shift is None:
        does = (
            "They are read as UTC, as the document's era of dates suggests; hours by route are not concerned"
        )
        return Finding("times of events", "the events do not add up to the hours of their day", does, "note")
    if not shift:
        return Finding("times of events", "UTC: the events add up to the hours of their day")
    sign = "+" if shift > timedelta() else "-"
    says = f"UTC{sign}{abs(shift) // timedelta(hours=1):02}:{abs(shift) % timedelta(hours=1) // timedelta(minutes=1):02}"
    does = "usagekit reads them as UTC: single events show that much off; all other numbers are not concerned"
    return Finding("times of events", f"{says}, not UTC", does, "note")
