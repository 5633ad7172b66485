"""A snapshot: all that one month's reports need, frozen in Parquet; :mod:`usagekit.fetch` makes them.

The manifest lists every part with its query, rows and SHA-256; it is replaced in one step, so a snapshot
is the old or the new one, never a mixture. Reports read only this: no network, no token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usagekit.engine.files import sha256
from usagekit.errors import QueryError, StoreError
from usagekit.period import BusinessHours, Period, parse_month
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import ROUTES

if TYPE_CHECKING:
    import pandas as pd


FORMAT = 1
MANIFEST = "manifest.json"

_COLUMN_OF_FILTER = {
    "team_name": "team",
    "user_email": "email",
    "device_address": "device_address",
    "hostname": "hostname",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One saved answer: its file, what was asked, and what proves that it is still that answer."""

    file: str
    sha256: str
    rows: int
    query: UsageQuery | EventsQuery


class SnapshotSource:
    """Answers from a snapshot: the questions it holds, and narrower ones that follow from them exactly."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / MANIFEST
        try:
            raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise StoreError(
                f"no snapshot at {directory}: make one with usagekit fetch --month YYYY-MM"
            ) from None
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from None
        if raw.get("format") != FORMAT:
            raise StoreError(f"{path} has format {raw.get('format')}, not {FORMAT}: fetch the month again")
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.period: Period = parse_month(raw["month"])
        self.lab_name: str = raw["lab"]
        self.timezone: str = raw["timezone"]
        self.business_hours = _hours(raw["business_hours"])
        self.teams: list[str] = raw["teams"]
        self.name = f"{raw['source']}, snapshot of {raw['month']}"
        self.as_of = datetime.fromisoformat(raw["as_of"])
        self.parts = [Part(**{**p, "query": _from_json(p["query"])}) for p in raw["parts"]]

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        """Answer from the part that was asked for this, or from one that holds it.

        Raises
        ------
        QueryError : the snapshot does not hold the answer.
        """
        for part in self.parts:
            if isinstance(part.query, UsageQuery) and (columns := _narrower(query, part.query)) is not None:
                frame = read_part(self.directory, part)
                day = (
                    frame["datetime"].dt.tz_localize(None) if query.bin_size == "hour" else frame["datetime"]
                )
                low, high = _first_label(query), datetime.combine(query.end + timedelta(days=1), time())
                keep = (day >= low) & (day < high)
                for column, values in columns.items():
                    keep &= frame[column].isin(values)
                return frame[keep].reset_index(drop=True)
        raise QueryError(
            f"the snapshot of {self.period} does not hold {query.metric} of {query.route.path} by {query.bin_size} "
            f"from {query.start} to {query.end}: it holds what reports need; for more use connect() or open_store()"
        )

    def events(self, query: EventsQuery) -> pd.DataFrame:
        """Answer from the saved events. Raises QueryError outside the month and the one before."""
        for part in self.parts:
            held = part.query
            if isinstance(held, EventsQuery) and held.start <= query.start and query.end <= held.end:
                frame = read_part(self.directory, part)
                keep = frame["date"].between(
                    datetime.combine(query.start, time()), datetime.combine(query.end, time())
                )
                if query.devices is not None:
                    keep &= frame["device_address"].isin(query.devices)
                return frame[keep].reset_index(drop=True)
        raise QueryError(f"the snapshot of {self.period} holds no events from {query.start} to {query.end}")


def read_part(directory: Path, part: Part) -> pd.DataFrame:
    import pandas as pd

    path = directory / part.file
    if not path.exists() or sha256(path) != part.sha256:
        raise StoreError(f"{path} is missing or not what was fetched: fetch the month again")
    return pd.read_parquet(path)


def _narrower(query: UsageQuery, held: UsageQuery) -> Mapping[str, tuple[str, ...]] | None:
    """How ``query`` follows from the answer to ``held``: values to keep by column, or None if it does not.

    It does when both ask the same but for dates that cut no bin, and for filters on group columns.
    """
    same = replace(query, start=held.start, end=held.end, filters=held.filters) == held
    if not same or not (_keeps_bins(query, held) and set(held.filters) <= set(query.filters)):
        return None
    columns = {}
    for key, values in set(query.filters) - set(held.filters):
        if _COLUMN_OF_FILTER[key] not in query.group_columns:
            return None
        columns[_COLUMN_OF_FILTER[key]] = values
    return columns


def _keeps_bins(query: UsageQuery, held: UsageQuery) -> bool:
    """Whether the dates of ``query`` lie within those of ``held`` and cut no bin that it has whole."""
    if query.start < held.start or query.end > held.end:
        return False
    after, held_after = query.end + timedelta(days=1), held.end + timedelta(days=1)
    return all(
        day == own or query.bin_size in ("hour", "day") or _starts_bin(day, query.bin_size)
        for day, own in ((query.start, held.start), (after, held_after))
    )


def _starts_bin(day: date, bin_size: str) -> bool:
    return day.day == 1 if bin_size == "month" else day.weekday() == 0


def _first_label(query: UsageQuery) -> datetime:
    """The label of the bin that holds the query's start."""
    day = query.start
    if query.bin_size == "week":
        day -= timedelta(days=day.weekday())
    elif query.bin_size == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time())


def _from_json(raw: dict[str, Any]) -> UsageQuery | EventsQuery:
    if "events" in raw:
        return EventsQuery.from_params(raw["events"])
    if raw["by"] not in ROUTES:
        raise StoreError(f"the snapshot names the unknown route {raw['by']!r}")
    return UsageQuery.from_params(raw["by"], [(name, value) for name, value in raw["params"]])


def _hours(raw: dict[str, Any]) -> BusinessHours:
    return BusinessHours(
        time.fromisoformat(raw["start"]),
        time.fromisoformat(raw["end"]),
        tuple(raw["weekdays"]),
        tuple(map(date.fromisoformat, raw["holidays"])),
    )
