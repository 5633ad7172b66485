"""What stands in for a figure whose own route was refused: other answers on the same month, and what they are worth.

Each is taken from one source for all months that it tells, so that a change compares like with like. Whatever is not
exact has a mark, which readers see before the number, and words that say of what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.history import Values, comparable_history
from usagekit.analysis.kpis import Kpi, make_kpi
from usagekit.analysis.sessions import ended, seconds_between, sessions_within
from usagekit.analysis.sweep import HOUR, bin_spans, spans, time_inside
from usagekit.analysis.wording import MARKS

Span = tuple[pd.Timestamp, pd.Timestamp]
"""Two instants (UTC)."""

Count = Callable[[pd.DataFrame, Span], float]
"""A number from the single events of some time."""


@dataclass(frozen=True, slots=True)
class Substitute:
    """Numbers for the 13 months, oldest first, None where the source has none; a mark, and words for the source."""

    values: Values
    words: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class BusiestHour:
    """The hour in which most devices were busy on average, by its start (local)."""

    devices: float
    at: pd.Timestamp


def stand_in(
    kpi: Kpi, found: Substitute, *, reason: str, small: tuple[bool, bool] = (False, False), year: bool = True
) -> Kpi:
    """The figure with the numbers of a substitute; as it was where that has none for the month either.

    ``reason`` is why the figure's own were not to be had; ``small`` and ``year`` as
    :func:`usagekit.analysis.kpis.make_kpi` takes them.

    >>> missing = make_kpi(("sessions", "Sessions", ""), [None] * 13, reason="403")
    >>> shown = stand_in(missing, Substitute([*[None] * 11, 80, 100], "from single events", "≈"), reason="403")
    >>> shown.text, shown.previous_text, shown.change, shown.note
    ('≈100', '≈80', '+25%', 'approx., from single events: 403')
    """
    if found.values[-1] is None:
        return kpi
    name = (kpi.key, kpi.label, kpi.unit)
    made = make_kpi(name, found.values, small=small, year=year, note=kpi.note)
    return marked(made, found.words, reason=reason, mark=found.mark)


def marked(kpi: Kpi, words: str, *, reason: str, mark: str = "") -> Kpi:
    """The figure with a mark before its numbers, and a note of what they are and why.

    >>> shown = marked(make_kpi(("users", "Active users", ""), [None] * 12 + [37]), "of single events", reason="403", mark="≥")
    >>> shown.text, shown.note
    ('≥37', 'at least, of single events: 403')
    """
    told = ", ".join(filter(None, [MARKS.get(mark, ""), words]))
    return replace(kpi, mark=mark, note="; ".join(filter(None, [kpi.note, f"{told}: {reason}"])))


def by_events(count: Count, events: pd.DataFrame, two: tuple[Span, Span], *, hours: Values) -> Values:
    """Numbers of the month before and of this one, each from the single events of its time (one of ``two``).

    None where ``hours`` has none that compares, as in the other era.

    >>> start = pd.date_range("2023-02-01", periods=3, freq="MS", tz="UTC")
    >>> events = pd.DataFrame({"start_time": start[:2], "end_time": start[:2]})
    >>> two = ((start[0], start[1]), (start[1], start[2]))
    >>> [by_events(event_sessions, events, two, hours=[before, 8.0])[-2:] for before in (3.0, None)]
    [[1, 1], [None, 1]]
    """
    pairs = zip(hours[-2:], two, strict=True)
    return [*[None] * 11, *(None if h is None else count(events, span) for h, span in pairs)]


def event_sessions(events: pd.DataFrame, span: Span) -> int:
    """Sessions of the lab: the events that belong to the time. Source: /v0/usage/events, for ``session_count``.

    Approximate: events are dated by their start, in whole seconds, and reach two months back.

    >>> start = pd.to_datetime(["2023-03-01 09:00", "2023-03-31 23:30"], utc=True)
    >>> events = pd.DataFrame({"start_time": start, "end_time": start + pd.Timedelta("1h")})
    >>> april = pd.Timestamp("2023-04-01", tz="UTC"), pd.Timestamp("2023-05-01", tz="UTC")
    >>> event_sessions(events, april)
    1
    """
    return len(sessions_within(events, *span))


def event_people(events: pd.DataFrame, span: Span) -> int:
    """Distinct emails of events by hand. Source: /v0/usage/events, for ``user_count``.

    A lower bound: automated rows have no email.

    >>> start = pd.to_datetime(["2023-03-01 09:00"] * 3, utc=True)
    >>> events = pd.DataFrame({"start_time": start, "end_time": start, "email": ["a@x", "a@x", None],
    ...                        "automated": [False, False, True]})
    >>> event_people(events, (start[0], start[0] + pd.Timedelta("1h")))
    1
    """
    require(events, "email", "automated")
    own = sessions_within(events, *span)
    return int(own.loc[~own["automated"].astype(bool), "email"].nunique())


def event_automated_hours(events: pd.DataFrame, span: Span, *, team: str | None = None) -> float:
    """Time (h) of automated events inside two instants. Source: /v0/usage/events, for ``automated=true``.

    Such rows have their ``team``. Not for months before September 2022: then a session had a team or a user, and
    one with a team tells nothing of automation.

    >>> start = pd.to_datetime(["2023-03-01 09:00"] * 3, utc=True)
    >>> events = pd.DataFrame({"start_time": start, "end_time": start + pd.Timedelta("2h"), "team": ["QA", "Web", None],
    ...                        "automated": [True, True, False]})
    >>> hour = (start[0], start[0] + pd.Timedelta("1h"))
    >>> event_automated_hours(events, hour), event_automated_hours(events, hour, team="QA")
    (2.0, 1.0)
    """
    require(events, "team", "automated")
    own = sessions_within(events, *span)
    chosen = own["automated"].astype(bool)
    if team is not None:
        chosen &= (own["team"] == team).to_numpy(dtype=bool)
    return float(seconds_between(own.loc[chosen, "start"], own.loc[chosen, "end"]).sum() / 3600)


def event_hours_inside(events: pd.DataFrame, spells: pd.DataFrame) -> float:
    """Time (h) of events inside the business hours. Source: /v0/usage/events, for ``total_time`` by hour.

    Exact as far as the events add up to the hours of the month, also where business hours begin within an hour.

    >>> at = pd.to_datetime(["2023-03-01 07:00", "2023-03-01 08:00", "2023-03-01 10:30", "2023-03-01 18:00"], utc=True)
    >>> events = pd.DataFrame({"start_time": at[:1], "end_time": at[2:3]})
    >>> event_hours_inside(events, pd.DataFrame({"start": at[1:2], "end": at[3:]}))
    2.5
    """
    whole = ended(events)
    given = spans(pd.DataFrame({"start": whole["start_time"], "end": whole["end_time"]}))
    return float(time_inside(given, spans(spells)).sum() / HOUR)


def used_devices(devices: pd.DataFrame, *, month: str) -> Values:
    """Devices with time in each of the 13 months. Source: /v1/usage/device, rows > 0, for ``device_count``.

    Exact, but for devices all of whose sessions have no length.

    >>> at = pd.to_datetime(["2023-02-01", "2023-03-01", "2023-03-01"])
    >>> devices = pd.DataFrame({"datetime": at, "device_address": ["1@a", "1@a", "2@a"], "total_time_hours": [0.0, 3.0, 1.0]})
    >>> used_devices(devices, month="2023-03")[-2:]
    [0.0, 2.0]
    """
    require(devices, "datetime", "device_address", "total_time_hours")
    used = devices[devices["total_time_hours"] > 0]
    counted = used.groupby("datetime")["device_address"].nunique().rename("device_count").reset_index()
    return comparable_history(counted, "device_count", month=month)


def busiest_hour(hourly: pd.DataFrame, *, month: str, timezone: str, span: Span) -> BusiestHour | None:
    """The largest hour bin of the time / its length. Source: ``total_time`` by hour, for the peak of single events.

    A lower bound of the peak, but for sessions that overlap on one device, which count twice. None without usage.

    >>> stamps = pd.DatetimeIndex(["2023-02-27 09:00", "2023-03-01 09:00", "2023-03-01 10:00"], tz="Europe/Berlin")
    >>> hourly = pd.DataFrame({"datetime": stamps, "total_time_hours": [9.0, 2.5, 4.0]})
    >>> march = pd.Timestamp("2023-02-28 23:00", tz="UTC"), pd.Timestamp("2023-03-31 22:00", tz="UTC")
    >>> busiest_hour(hourly, month="2023-03", timezone="Europe/Berlin", span=march)
    BusiestHour(devices=4.0, at=Timestamp('2023-03-01 10:00:00+0100', tz='Europe/Berlin'))
    """
    require(hourly, "datetime", "total_time_hours")
    bins = bin_spans(hourly, month, timezone)
    stamps = pd.to_datetime(hourly["datetime"], utc=True)
    inside = ((stamps >= span[0]) & (stamps < span[1])).to_numpy()
    busy = np.where(inside, hourly["total_time_hours"].to_numpy(dtype=float), 0.0)
    busy = busy * HOUR / (bins.end - bins.start)
    if not len(busy) or not np.nanmax(busy) > 0:
        return None
    top = int(np.nanargmax(busy))
    return BusiestHour(float(busy[top]), stamps.iloc[top].tz_convert(timezone))
