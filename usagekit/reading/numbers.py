"""The numbers of what the pages tell in lines, for the files beside a report: a measure, its value and its unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from usagekit.analysis.concentration import Concentration
from usagekit.reading.lab import LabReading
from usagekit.reading.reading import Reading
from usagekit.reading.team import TeamReading
from usagekit.reading.telling import LEAST_PEOPLE

Row = tuple[str, Any, str]


def people_numbers(reading: Reading) -> pd.DataFrame:
    """Where the people of the month come from, and on how few of them its hours rest; no name, and no shares of four."""
    flow, regulars, shared = reading.flow, reading.regulars, reading.user_concentration
    counts = ("active", "new", "returning", "revived", "lapsed", "known_months")
    rows: list[Row] = [] if flow is None else [(name, getattr(flow, name), "count") for name in counts]
    if regulars is not None:
        rows += [(name, getattr(regulars, name), "count") for name in ("starters", "regular", "unseen")]
        rows.append(("weeks_to_regular", regulars.median_weeks, "weeks"))
    if shared is not None and shared.members >= LEAST_PEOPLE:
        rows += _concentrated("people", shared)
    return _table(rows)


def device_numbers(reading: Reading) -> pd.DataFrame:
    """On how few devices the hours rest; of a team also how long its scarcest model was sold out in the whole lab."""
    shared = reading.device_concentration
    rows = [] if shared is None else _concentrated("devices", shared)
    if isinstance(reading, TeamReading) and (told := reading.sold_out(reading.main_models)):
        rows.append(("sold_out", told[1], "min"))
    return _table(rows)


def people_and_devices(reading: Reading) -> pd.DataFrame:
    """Both of these."""
    return pd.concat([people_numbers(reading), device_numbers(reading)], ignore_index=True)


def session_numbers(reading: Reading) -> pd.DataFrame:
    """How long sessions last, which were held, which lengths stand out, and which broke off at once."""
    lengths, held, spikes, broken = (
        reading.lengths,
        reading.hold_summary,
        reading.spikes,
        reading.false_starts,
    )
    rows: list[Row] = []
    for row in [] if lengths is None else lengths.to_dict("records"):
        kind = row["kind"]
        rows.append((f"{kind}_sessions", int(row["sessions"]), "count"))
        rows += [(f"{kind}_p{level}", row[f"p{level}_minutes"], "min") for level in (50, 90, 99)]
        rows += [(f"{kind}_{name}", row[f"{name}_share"], "share") for name in ("under_minute", "over_8h")]
    if held is not None:
        rows += [("holds", held.sessions, "count"), ("holds_hours", held.hold_hours, "h")]
        rows += [("holds_share", held.share, "share"), ("holds_longer_than", held.hours_95, "h")]
    for place, spike in enumerate([] if spikes is None else spikes.to_dict("records"), 1):
        rows.append((f"spike_{place}_length", int(spike["seconds"]), "s"))
        rows.append((f"spike_{place}_sessions", int(spike["sessions"]), "count"))
    if spikes is not None:
        rows.append(("spikes", len(spikes), "count"))
    if broken is not None:
        rows += [("false_starts", broken.count, "count"), ("false_starts_share", broken.share, "share")]
        rows.append(("false_starts_bursts", broken.bursts, "count"))
    if isinstance(reading, TeamReading) and reading.team_sessions is not None:
        rows.append(("coverage", reading.team_sessions.coverage, "share"))
        if (own := reading.own_suspects) is not None:
            rows.append(("suspect_devices", len(own), "count"))
    return _table(rows)


def capacity_numbers(reading: LabReading) -> pd.DataFrame:
    """The busiest moment, what would have been enough, what automation takes from people, and the spread over devices."""
    peak, moved = reading.peak, reading.movable
    rows: list[Row] = []
    if peak is not None:
        rows += [("peak", peak.devices, "count"), ("peak_at", peak.at, "time")]
    rows += [(f"enough_in_{share:.0%}", devices, "count") for share, devices in reading.levels.items()]
    if moved is not None:
        rows += [("movable_automation", moved.hours, "h"), ("sold_out", moved.sold_out_minutes, "min")]
        rows += [("sold_out_without", moved.remaining_minutes, "min"), ("saved", moved.saved_share, "share")]
    return pd.concat([_table(rows), device_numbers(reading)], ignore_index=True)


def moved_numbers(reading: Reading) -> pd.DataFrame:
    """The change of the hours and its split."""
    hours = reading.kpis[0]
    both = hours.value is not None and hours.previous is not None
    change = (hours.value or 0.0) - (hours.previous or 0.0) if both else None
    return _table([("change", change, "h"), *((name, h, "h") for name, h in reading.bridge.items())])


def _concentrated(what: str, shared: Concentration) -> list[Row]:
    return [
        (what, shared.members, "count"),
        (f"{what}_effective", shared.effective, "count"),
        (f"{what}_top_share", shared.top_share, "share"),
    ]


def _table(rows: Iterable[Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["measure", "value", "unit"], dtype=object)
