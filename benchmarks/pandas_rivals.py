"""Two ways to answer with pandas."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.question import COLUMNS, ZONE, day_edges, files, months

if TYPE_CHECKING:
    import pandas as pd

_READ = ["team", "device_id", "hostname", "email", "start_time", "end_time"]


def plain_pandas(store: Path, first: date, last: date) -> pd.DataFrame:
    """Read the strings, repeat a session for each day that it touches, group, aggregate."""
    import pandas as pd

    low, high = (pd.Timestamp(day, tz=ZONE) for day in (first, last + timedelta(days=1)))
    events = pd.read_parquet(store / "events", columns=_READ, filters=months(first, last))
    events = events.dropna(subset=["team", "start_time", "end_time"])
    start, end = events["start_time"], events["end_time"]
    events = events[(start <= end) & (start < high) & ((end > low) | (start >= low))]
    start = events["start_time"].where(events["start_time"] > low, low).dt.tz_convert(ZONE)
    stop = events["end_time"].where(events["end_time"] < high, high).dt.tz_convert(ZONE) - pd.Timedelta(
        1, "us"
    )
    first_day = start.dt.tz_localize(None).dt.normalize()
    last_day = stop.where(stop > start, start).dt.tz_localize(None).dt.normalize()
    events["day"] = first_day
    events["device"] = events["device_id"] + "@" + events["hostname"]
    pieces = events.reset_index(drop=True)
    pieces = pieces.loc[pieces.index.repeat((last_day - first_day).dt.days + 1)]
    pieces["day"] += pd.to_timedelta(pieces.groupby(level=0).cumcount(), unit="D")
    day_start = pieces["day"].dt.tz_localize(ZONE)
    day_end = (pieces["day"] + pd.Timedelta(1, "D")).dt.tz_localize(ZONE)
    pieces["inside"] = pieces["end_time"].clip(upper=day_end) - pieces["start_time"].clip(lower=day_start)
    minutes = (pieces["end_time"] - pieces["start_time"]).dt.total_seconds() / 60
    pieces["length"] = minutes.where(pieces["start_time"] >= day_start)
    found = pieces.groupby(["day", "team"]).agg(
        inside=("inside", "sum"),
        avg_session_length=("length", "mean"),
        session_count=("start_time", "size"),
        device_count=("device", "nunique"),
        user_count=("email", "nunique"),
    )
    found = found.reset_index()
    found["datetime"] = found["day"].dt.strftime("%Y-%m-%d")
    found["total_time"] = found["inside"].dt.total_seconds() / 3600
    return found.assign(team_count=1)[list(COLUMNS)]


def vectorised_pandas(store: Path, first: date, last: date) -> pd.DataFrame:
    """Strings to codes while reading, integer edges, only sessions over midnight repeated, one key to group by."""
    import numpy as np
    import pandas as pd
    import pyarrow.dataset as ds

    edges, labels = day_edges(first, last)
    low, high = edges[0], edges[-1]
    names = _READ[:4]
    table = ds.dataset(
        [str(p) for p in files(store, first, last)],
        format=ds.ParquetFileFormat(dictionary_columns=names),
    ).to_table(columns=_READ, filter=ds.field("team").is_valid())
    codes, count, known = {}, {}, {}
    for name in names:
        column = table[name].unify_dictionaries().combine_chunks()
        codes[name] = column.indices.fill_null(-1).to_numpy().astype(np.int64)
        known[name] = column.dictionary.to_pylist()
        count[name] = len(known[name])
    start, end = (table[c].cast("int64").to_numpy() for c in ("start_time", "end_time"))
    del table
    belongs = (start <= end) & (start < high) & ((end > low) | (start >= low))
    start, end = start[belongs], end[belongs]
    team, device_id, host, email = (codes[name][belongs] for name in names)
    device = device_id * count["hostname"] + host
    begin = np.searchsorted(edges, np.maximum(start, low), side="right") - 1
    final = np.searchsorted(edges, np.maximum(np.minimum(end, high) - 1, np.maximum(start, low)), "right") - 1
    repeats = final - begin
    over = np.flatnonzero(repeats)
    again = np.repeat(over, repeats[over])
    nth = np.arange(len(again)) - np.repeat(np.cumsum(repeats[over]) - repeats[over], repeats[over]) + 1
    row = np.concatenate([np.arange(len(start)), again])
    day = np.concatenate([begin, begin[again] + nth])
    inside = np.minimum(end[row], edges[day + 1]) - np.maximum(start[row], edges[day])
    starts = start[row] >= edges[day]
    pieces = pd.DataFrame(
        {
            "key": day * count["team"] + team[row],
            "inside": inside,
            "starts": starts,
            "length": np.where(starts, end[row] - start[row], 0),
        }
    )
    sums = pieces.groupby("key").agg(
        inside=("inside", "sum"), starts=("starts", "sum"), length=("length", "sum"), n=("key", "size")
    )
    distinct = {}
    for name, code in (("device_count", device), ("user_count", email)):
        members = int(code.max(initial=0)) + 1
        used = pd.unique((pieces["key"].to_numpy() * members + code[row])[code[row] >= 0]) // members
        distinct[name] = pd.Series(used).value_counts().reindex(sums.index, fill_value=0)
    teams = np.array(known["team"], dtype=object)
    return pd.DataFrame(
        {
            "datetime": np.array(labels, dtype=object)[sums.index // count["team"]],
            "team": teams[sums.index % count["team"]],
            "total_time": sums["inside"].to_numpy() / 3.6e9,
            "avg_session_length": (sums["length"] / sums["starts"].replace(0, np.nan)).to_numpy() / 6e7,
            "session_count": sums["n"].to_numpy(),
            "device_count": distinct["device_count"].to_numpy(),
            "user_count": distinct["user_count"].to_numpy(),
            "team_count": 1,
        }
    )
