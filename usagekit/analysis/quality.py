"""What is wrong with a list of sessions: one row a finding. Nothing is dropped and nothing is repaired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.overlaps import overlaps, skewed_hosts
from usagekit.analysis.wording import count_text, hours_text
from usagekit.vocabulary import split_device_address

SEVERITY: Final = MappingProxyType(
    {
        "end_before_start": "error",
        "missing_end": "error",
        "duplicate": "error",
        "future": "error",
        "overlap_on_device": "warning",
        "clock_skew": "warning",
        "very_long": "warning",
        "unknown_device": "warning",
        "no_team": "warning",
        "no_owner": "warning",
        "unknown_user": "note",
        "zero_length": "note",
    }
)
"""The kinds of findings, in the order of a list, and how much each matters."""

LONGEST_SECONDS: Final = 24 * 3600

_NEEDED = (
    *("user", "email", "team", "automated", "device_address", "hostname"),
    *("start_time", "end_time", "duration_seconds", "date"),
)
_INTEGERS = ("duration_seconds", "affected_seconds", "sessions")
_TEXTS = ("kind", "severity", "device_address", "hostname", "who", "detail")
COLUMNS: Final = (*_TEXTS[:5], "start_time", "end_time", *_INTEGERS, "detail")

# kind: (what it says, whether the session's own time is in doubt)
_PLAIN = {
    "missing_end": (
        "has no end (or no start): still running, or a time was lost; it counts in no metric",
        False,
    ),
    "future": ("starts after the time of these numbers: the clock or the date of the host is wrong", True),
    "very_long": ("lasts longer than 24 h: somebody kept the device, or nobody let it go", True),
    "no_team": ("automated, and no team: it is missing from all numbers by team", True),
    "no_owner": ("by hand, with neither name nor email: it is missing from all numbers by user", True),
    "unknown_user": ("by hand, with only one of name and email", True),
    "zero_length": ("lasts less than a second: it counts as a session without time", False),
}


def counted(events: pd.DataFrame) -> pd.Series[bool]:
    """Which sessions count in the metrics: those with an end that is not before their start."""
    require(events, *_NEEDED)
    ordered = (events["end_time"] >= events["start_time"]) & (events["duration_seconds"].fillna(0) >= 0)
    return ordered.astype(bool)


def judged(events: pd.DataFrame, *, since: date) -> pd.Series[bool]:
    """Which sessions are not of a day before ``since`` (UTC)."""
    return ~(events["date"] < pd.Timestamp(since))


def find_broken(
    events: pd.DataFrame, fleet: pd.DataFrame | None = None, *, since: date, as_of: datetime
) -> pd.DataFrame:
    """List what is wrong with the sessions that start on or after ``since`` (UTC).

    Parameters
    ----------
    events
        frame of :meth:`usagekit.lab.Lab.events`; sessions before ``since`` are only looked at as partners
        of an overlap.
    fleet
        what :func:`usagekit.analysis.unknown_devices.devices_without_model` says; without it nothing is
        said of unknown devices.
    since, as_of
        first UTC date that is judged; a start after ``as_of`` is in the future.

    Returns
    -------
    One row a finding: ``kind``, ``severity`` (error, warning, note), ``device_address``, ``hostname``,
    ``who`` (email, else name, else team), ``start_time``, ``end_time`` (UTC), ``duration_seconds`` (s, as the
    list says it), ``affected_seconds`` (s, the device time in doubt: for an overlap the time counted twice),
    ``sessions`` (how many it stands for: 1 but for whole hosts and devices) and ``detail``, in words.

    Raises
    ------
    SchemaError : a column is missing.

    >>> from datetime import UTC
    >>> begin = pd.Timestamp("2023-03-01 08:00", tz="UTC")
    >>> events = pd.DataFrame({"user": "Ana", "email": "ana@x", "team": "QA", "automated": False, "device_address": "a@x",
    ...                        "hostname": "x", "start_time": begin, "end_time": [begin, begin - pd.Timedelta("1h")],
    ...                        "duration_seconds": [0, -3600], "date": pd.Timestamp("2023-03-01")})
    >>> found = find_broken(events, since=date(2023, 3, 1), as_of=datetime(2023, 4, 1, tzinfo=UTC))
    >>> found[["kind", "severity", "duration_seconds"]].values.tolist()
    [['end_before_start', 'error', -3600], ['zero_length', 'note', 0]]
    """
    events = events.reset_index(drop=True)
    good, copies = counted(events), _copies(events)
    # Without what the API may send beyond its document, whose names could be ours.
    events = events[list(_NEEDED)].assign(
        who=events["email"].fillna(events["user"]).fillna(events["team"]),
        length=events["duration_seconds"].fillna(_seconds(events["end_time"] - events["start_time"])),
    )
    own = judged(events, since=since)
    shared = overlaps(events[good & (copies == 0)])
    shared = shared[own.loc[shared.index]]
    found = [_of_session(events[own], good[own], as_of)]
    backwards = events[own & ~good & events[["start_time", "end_time"]].notna().all(axis=1)]
    worst = backwards["length"].clip(upper=_seconds(backwards["end_time"] - backwards["start_time"]))
    early = [f"ends {count_text(-s)} s before it starts; it counts in no metric" for s in worst]
    found.append(_findings(backwards, "end_before_start", affected=0, detail=early))
    again = events[own & (copies > 0)]
    known = "equal in all columns to a session listed before it: both count"
    found.append(_findings(again, "duplicate", affected=again["length"].clip(lower=0), detail=known))
    both = events.loc[shared.index]
    found.append(_findings(both, "overlap_on_device", affected=shared["seconds"], detail=shared["detail"]))
    skewed = skewed_hosts(both, shared["seconds"])
    found.append(_findings(skewed, "clock_skew", affected=skewed["affected"], detail=skewed["detail"]))
    if fleet is not None:
        found.append(_unknown_devices(events[own], fleet))
    return _in_order(pd.concat([part for part in found if len(part)] or [found[0]], ignore_index=True))


def count_findings(findings: pd.DataFrame, *, sessions: int) -> pd.DataFrame:
    """Count findings by kind: a row for every kind, with 0 where all is well.

    Returns ``kind``, ``severity``, ``sessions`` (NA where the list cannot tell), ``affected_hours`` (h) and
    ``share`` of all ``sessions`` (0 to 1, NaN where there are none). A session may be in several kinds.
    """
    by_kind = findings.groupby("kind")
    table = pd.DataFrame({"kind": list(SEVERITY), "severity": list(SEVERITY.values())})
    counts = by_kind["sessions"].agg(lambda column: column.sum(skipna=False))
    table["sessions"] = counts.astype("Int64").reindex(table["kind"], fill_value=0).array
    seconds = by_kind["affected_seconds"].sum().reindex(table["kind"], fill_value=0)
    table["affected_hours"] = seconds.to_numpy(dtype="float64") / 3600
    told = table["sessions"].to_numpy(dtype="float64", na_value=np.nan)
    table["share"] = told / sessions if sessions else np.nan
    return table


def _of_session(events: pd.DataFrame, good: pd.Series[bool], as_of: datetime) -> pd.DataFrame:
    """The findings that one session shows by itself."""
    automated, length = events["automated"], events["length"]
    nameless, mailless = events["user"].isna(), events["email"].isna()
    chosen = {
        "missing_end": events[["start_time", "end_time"]].isna().any(axis=1),
        "future": events["start_time"] > pd.Timestamp(as_of),
        "very_long": good & (length > LONGEST_SECONDS),
        "no_team": automated & events["team"].isna(),
        "no_owner": ~automated & nameless & mailless,
        "unknown_user": ~automated & (nameless != mailless),
        "zero_length": good & (length == 0),
    }
    parts = []
    for kind, mask in chosen.items():
        detail, doubtful = _PLAIN[kind]
        rows = events[mask.fillna(value=False).astype(bool)]
        affected = rows["length"].fillna(0).clip(lower=0) if doubtful else 0
        parts.append(_findings(rows, kind, affected=affected, detail=detail))
    return pd.concat(parts, ignore_index=True)


def _copies(events: pd.DataFrame) -> pd.Series[int]:
    """How many equal rows come before each one."""
    near = events[events.duplicated(["device_address", "start_time"], keep=False)]
    # A column of lists cannot be compared as it is.
    odd = {c: near[c].map(repr) for c in near.columns if near[c].dtype == object}
    near = near.assign(**odd)
    numbers = near.groupby(list(near.columns), dropna=False, sort=False).cumcount()
    return numbers.reindex(events.index, fill_value=0)


def _unknown_devices(events: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    by_device = events.groupby("device_address").agg(
        start_time=("start_time", "min"),
        end_time=("end_time", "max"),
        sessions=("device_address", "size"),
    )
    named = fleet[fleet["device_address"].notna()].join(by_device, on="device_address")
    named["sessions"] = named["sessions"].fillna(0)
    named["hostname"] = [split_device_address(address)[1] for address in named["device_address"]]
    open_ = fleet[fleet["device_address"].isna()]
    among = [
        f"{hours_text(s / 3600)} are of devices without a model, one or more among "
        f"{', '.join(names[:5])}{f' and {len(names) - 5} others' if len(names) > 5 else ''}; "
        "usage by devicemodel of one such device alone has no row"
        for s, names in zip(open_["seconds"], open_["candidates"], strict=True)
    ]
    known = "has no model: it is missing from all numbers by device model"
    parts = (
        _findings(named, "unknown_device", affected=named["seconds"].round(), detail=known),
        _findings(
            open_.assign(sessions=float("nan")),
            "unknown_device",
            affected=open_["seconds"].round(),
            detail=among,
        ),
    )
    return pd.concat(parts, ignore_index=True)


def _findings(
    rows: pd.DataFrame, kind: str, *, affected: Any, detail: str | Sequence[str] | pd.Series[str]
) -> pd.DataFrame:
    """Dress rows as findings of one kind; a column that they lack is empty, but each is one session."""
    values: dict[str, Any] = {"sessions": 1} | {c: rows[c] for c in COLUMNS if c in rows}
    values |= {"kind": kind, "severity": SEVERITY[kind], "affected_seconds": affected}
    values["detail"] = pd.Series(detail, index=rows.index, dtype="str")
    frame = pd.DataFrame(values, index=rows.index).reindex(columns=list(COLUMNS))
    types: dict[str, Any] = dict.fromkeys(_TEXTS, "str") | dict.fromkeys(_INTEGERS, "Int64")
    return frame.astype(types | dict.fromkeys(("start_time", "end_time"), "datetime64[us, UTC]"))


def _in_order(findings: pd.DataFrame) -> pd.DataFrame:
    rank = findings["kind"].map({kind: number for number, kind in enumerate(SEVERITY)})
    keys = ["rank", "start_time", "device_address", "hostname", "end_time"]
    return findings.assign(rank=rank).sort_values(keys, kind="stable", ignore_index=True)[list(COLUMNS)]


def _seconds(spans: pd.Series[pd.Timedelta]) -> pd.Series[int]:
    return (spans // pd.Timedelta(seconds=1)).astype("Int64")
