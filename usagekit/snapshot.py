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

from usagekit.errors import NotFetchedError, QueryError, StoreError
from usagekit.period import BusinessHours, Period, parse_month
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import ROUTES

if TYPE_CHECKING:
    import pandas as pd


FORMAT = 2
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


@dataclass(frozen=True, slots=True)
class Table:
    """A saved table that answers no query of the API: its file, and what proves that it is still whole."""

    file: str
    sha256: str
    rows: int


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
        self.tables = {name: Table(**about) for name, about in raw["tables"].items()}
        self.notes: dict[str, str] = raw["notes"]
        days = [Period(date.fromisoformat(a), date.fromisoformat(b)) for a, b in raw["partial"] or ()]
        self.partial = (days[0], days[1]) if days else None
        self.restated: dict[str, Any] | None = raw["restated"]
        self.missing = [(_from_json(m["query"]), str(m["reason"])) for m in raw["missing"]]
        self.fleet_requests: int = raw["requests"]["fleet"]
        self._read: dict[str, pd.DataFrame] = {}

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        """Answer from the part that was asked for this, or from one that holds it.

        A running month ends with its last whole day.

        Raises
        ------
        NotFetchedError : the API refused the answer when the month was fetched.
        QueryError : the snapshot does not hold the answer.
        """
        if self.partial:
            query = replace(query, end=min(query.end, max(query.start, self.partial[1].end)))
        for part in self.parts:
            if isinstance(part.query, UsageQuery) and (columns := _narrower(query, part.query)) is not None:
                frame = self._frame(part)
                day = (
                    frame["datetime"].dt.tz_localize(None) if query.bin_size == "hour" else frame["datetime"]
                )
                low, high = _first_label(query), datetime.combine(query.end + timedelta(days=1), time())
                keep = (day >= low) & (day < high)
                for column, values in columns.items():
                    keep &= frame[column].isin(values)
                return frame[keep].reset_index(drop=True)
        for held, reason in self.missing:
            if isinstance(held, UsageQuery) and _narrower(query, held) is not None:
                raise NotFetchedError(f"not in the snapshot of {self.period}: {reason}")
        raise QueryError(
            f"the snapshot of {self.period} does not hold {query.metric} of {query.route.path} by {query.bin_size} "
            f"from {query.start} to {query.end}: it holds what reports need; for more use connect() or open_store()"
        )

    def events(self, query: EventsQuery) -> pd.DataFrame:
        """Answer from the saved events. Raises QueryError outside the month and the two before."""
        for part in self.parts:
            held = part.query
            if isinstance(held, EventsQuery) and held.start <= query.start and query.end <= held.end:
                frame = self._frame(part)
                keep = frame["date"].between(
                    datetime.combine(query.start, time()), datetime.combine(query.end, time())
                )
                if query.devices is not None:
                    keep &= frame["device_address"].isin(query.devices)
                return frame[keep].reset_index(drop=True)
        for held, reason in self.missing:
            if isinstance(held, EventsQuery):
                raise NotFetchedError(f"not in the snapshot of {self.period}: {reason}")
        raise QueryError(f"the snapshot of {self.period} holds no events from {query.start} to {query.end}")

    def table(self, name: str) -> pd.DataFrame | None:
        """The saved table ``fleet`` or ``people``; None where it could not be made."""
        return self._frame(self.tables[name]).copy() if name in self.tables else None

    def _frame(self, part: Part | Table) -> pd.DataFrame:
        """The whole part, read and proved once; never changed, and never handed out itself."""
        if part.file not in self._read:
            held = _held.get(part.sha256)
            self._read[part.file] = read_part(self.directory, part) if held is None else held
        return self._read[part.file]


_held: dict[str, pd.DataFrame] = {}
"""Parts that this process has read ahead, by their SHA-256."""


def read_ahead(directory: Path) -> None:
    """Read and prove what all reports on a snapshot share, for this process and those that are forked from it.

    Raises
    ------
    StoreError : there is no snapshot, or a part is damaged.
    """
    source = SnapshotSource(directory)
    of_all = [part for part in source.parts if not getattr(part.query, "filters", ())]
    parts: list[Part | Table] = [*of_all, *source.tables.values()]
    for part in parts:
        if part.sha256 not in _held:
            _held[part.sha256] = read_part(directory, part)


def read_part(directory: Path, part: Part | Table) -> pd.DataFrame:
    """The frame of a part whose bytes are those that were fetched; it starts no threads, which a fork would lose."""
    import pyarrow as pa
    from pyarrow import parquet

    path = directory / part.file
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != part.sha256:
        raise StoreError(f"{path} is missing or not what was fetched: fetch the month again")
    table = parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    frame: pd.DataFrame = table.to_pandas(use_threads=False)
    return frame


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
