"""A large random lab as integer codes, its store written by pyarrow alone, and its answers by numpy and pandas.

Nothing here uses usagekit. Groups are codes from the dice to the sums; names only enter the finished rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.engine.plain_store import DIMENSIONS, put_dimension

Codes = npt.NDArray[np.int64]
Name = str | None

SESSIONS = 300_000
MICRO = 1_000_000
START, ERA, END = (
    int(pd.Timestamp(t, tz="UTC").timestamp()) * MICRO for t in ("2022-07-01", "2022-09-01", "2022-11-15")
)

HOSTS = ["lab-1.example.com", "lab-2.example.com", "NA", "ホスト", "unlisted-1", "unlisted-2"]
COUNTRY: list[Name] = ["DE", "NA", "日本", "DE", None, None]
TEAMS = [
    "NA",
    "null",
    "R&D / Café",
    "チーム",
    "🧪",
    "<script>",
    '#read("x")',
    "00123",
    "a, b",
    "sessions only",
]
IDLE_TEAMS = ["None", "zzz"]
FORMS = [
    ("Pixel 8", "Android", "phone"),
    ("iPhone 15", "iOS", "phone"),
    ("iPad", "iOS", "tablet"),
    ("Galaxy Tab", "Android", "tablet"),
    ("Roku", "other", "tv"),
    ("Feature", "other", "phone"),
]


@dataclass
class BigLab:
    """Sessions as arrays of microseconds and codes (-1: none), and lists of names by code."""

    start: Codes
    end: Codes
    has_end: npt.NDArray[np.bool_]
    device: Codes
    person: Codes
    team: Codes
    automated: npt.NDArray[np.bool_]
    device_id: list[str] = field(default_factory=list)
    device_host: list[int] = field(default_factory=list)
    device_form: list[int | None] = field(default_factory=list)  # None: not in devices.parquet
    emails: list[str] = field(default_factory=list)
    own_name: list[Name] = field(default_factory=list)
    listed_name: dict[int, str] = field(default_factory=dict)
    notes: dict[int, Name] = field(default_factory=dict)
    member_of: dict[int, list[str]] = field(default_factory=dict)

    def address(self, code: int) -> str:
        return f"{self.device_id[code]}@{HOSTS[self.device_host[code]]}"

    def model(self, code: int, *, combine: bool) -> Name:
        form = self.device_form[code]
        if form is None:
            return None
        model, system, factor = FORMS[form]
        phone = {"Android": "AndroidPhone", "iOS": "iPhone"}.get(system, model)
        return phone if combine and factor == "phone" else model

    def name(self, person: int) -> Name:
        return self.listed_name.get(person, self.own_name[person])


def make_lab(seed: int) -> BigLab:
    """Throw the dice: two eras, devices on two hosts, hosts and devices that no table knows, odd ends."""
    dice = np.random.default_rng(seed)
    ids = [f"{n:05}" for n in range(60)] + [f"a@{n}" for n in range(30)]
    pairs = [(device, n % 6) for n, device in enumerate(ids)] + [
        (device, 1) for device in ids[::9] if device != ids[1]
    ]
    pairs = list(dict.fromkeys(pairs))
    people = 120
    start = dice.integers(START // MICRO, END // MICRO, SESSIONS) * MICRO
    # September is in whole seconds, the other months have fractions.
    september = (start >= ERA) & (start < ERA + 30 * 86400 * MICRO)
    start = np.where(september, start, start + dice.integers(0, MICRO, SESSIONS))
    length = (dice.exponential(2400, SESSIONS)).astype(np.int64) * MICRO
    length = np.where(september, length, length + dice.integers(0, MICRO, SESSIONS))
    kind = dice.integers(0, 1000, SESSIONS)
    length = np.where(kind < 10, 0, length)
    length = np.where((kind >= 10) & (kind < 15), -length, length)
    length = np.where((kind >= 15) & (kind < 18), length + 5 * 86400 * MICRO, length)
    # Some start, or start and end, on a whole hour, which is now and then the edge of a bin.
    hour = 3600 * MICRO
    start = np.where((kind >= 15) & (kind < 100), start // hour * hour, start)
    length = np.where((kind >= 40) & (kind < 100), (length // hour + 1) * hour, length)
    automated = dice.random(SESSIONS) < 0.4
    person = dice.integers(0, people, SESSIONS)
    team = dice.integers(0, len(TEAMS), SESSIONS)
    legacy = start < ERA
    lab = BigLab(
        start=start,
        end=start + length,
        has_end=kind != 999,
        device=dice.integers(0, len(pairs), SESSIONS),
        person=np.where(legacy & automated, -1, person),
        team=np.where(legacy & ~automated, -1, team),
        automated=automated,
        device_id=[device for device, _ in pairs],
        device_host=[host for _, host in pairs],
        device_form=[None if n % 11 == 5 else n % len(FORMS) for n in range(len(pairs))],
        emails=[f"p{n}@example.com" for n in range(people - 2)] + ["NA", "null"],
        own_name=[None if n % 17 == 3 else f"Own {n % 50}" for n in range(people)],
    )
    lab.listed_name = {n: f"Name {n % 40}" for n in range(0, people, 2)}
    lab.notes = {n: None if n % 4 else f"note, {n}\n" for n in lab.listed_name}
    lab.member_of = {n: sorted({TEAMS[n % 9], TEAMS[n * 7 % 9]}) for n in range(0, people, 3)}
    return lab


def write_lab(lab: BigLab, store: Path) -> None:
    """Write the store: a file a month, in no order, one month in two files."""

    def taken(names: list[Name], codes: Codes) -> pa.Array:
        return pa.array(names, pa.string()).take(pa.array(codes, mask=codes < 0))

    host = np.array(lab.device_host)[lab.device]
    time = pa.timestamp("us", "UTC")
    table = pa.table(
        {
            "session_id": pa.array([f"{n:x}" for n in range(SESSIONS)]),
            "start_time": pa.array(lab.start, time),
            "end_time": pa.array(lab.end, time, mask=~lab.has_end),
            "device_id": taken([*lab.device_id], lab.device),
            "hostname": taken([*HOSTS], host),
            "user": taken(lab.own_name, lab.person),
            "email": taken([*lab.emails], lab.person),
            "team": taken([*TEAMS], lab.team),
            "automated": pa.array(lab.automated),
        }
    )
    month = pd.Series(pd.to_datetime(lab.start, unit="us", utc=True)).dt.strftime("%Y-%m").to_numpy()
    for name in sorted(set(month)):
        rows = np.flatnonzero(month == name)
        folder = store / "events" / f"month={name}"
        folder.mkdir(parents=True)
        for part, some in enumerate(np.array_split(rows, 2 if name == "2022-10" else 1)):
            pq.write_table(table.take(some), folder / f"part-{part}.parquet")
    devices = [
        (lab.device_id[n], HOSTS[lab.device_host[n]], *FORMS[form])
        for n, form in enumerate(lab.device_form)
        if form is not None
    ]
    members = [(lab.emails[n], team) for n, teams in lab.member_of.items() for team in teams]
    put_dimension(store, "devices", [*devices, ("spare", HOSTS[0], "Fold", "Android", "phone")])
    put_dimension(
        store, "hosts", [*((h, c) for h, c in zip(HOSTS, COUNTRY, strict=True) if c), ("idle", "FR")]
    )
    put_dimension(
        store, "users", [(lab.emails[n], name, lab.notes[n]) for n, name in lab.listed_name.items()]
    )
    put_dimension(store, "memberships", members)
    put_dimension(store, "teams", [(team,) for team in [*TEAMS[:-1], *IDLE_TEAMS]])
    assert set(DIMENSIONS) == {p.stem for p in store.glob("*.parquet")}


def cut(
    lab: BigLab, first: str, last: str, *, zone: str, by: str, keep: npt.NDArray[np.bool_]
) -> tuple[pd.DataFrame, list[str]]:
    """Cut the sessions that ``keep`` marks at the local days or months (``by``) from first to last.

    Returns a row for each session and bin that it belongs to, and the labels of the bins.
    """
    range_start = pd.Timestamp(first, tz=zone)
    range_end = (pd.Timestamp(last) + pd.Timedelta(days=1)).tz_localize(zone)
    if by == "day":
        firsts = pd.date_range(first, last, tz=zone)
    else:
        firsts = pd.date_range(pd.Timestamp(first).replace(day=1), last, freq="MS", tz=zone)
    labels = [f"{day:%Y-%m-%d}" for day in firsts]
    edges = [max(day, range_start) for day in firsts] + [range_end]
    bounds = np.array([round(edge.timestamp()) for edge in edges], np.int64) * MICRO
    low, high = bounds[0], bounds[-1]
    zero = lab.start == lab.end
    inside = np.where(
        zero, (lab.start >= low) & (lab.start < high), np.minimum(lab.end, high) > np.maximum(lab.start, low)
    )
    rows = np.flatnonzero(inside & (lab.end >= lab.start) & lab.has_end & keep)
    start, end = lab.start[rows], lab.end[rows]
    bin_first = np.searchsorted(bounds, np.maximum(start, low), side="right") - 1
    bin_last = np.searchsorted(bounds, np.minimum(end, high), side="left") - 1
    count = np.maximum(bin_last - bin_first, 0) + 1
    source = np.repeat(np.arange(len(rows)), count)
    nth = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    bin_of = bin_first[source] + nth
    starts = (start[source] >= bounds[bin_of]) & (start[source] < bounds[bin_of + 1])
    frame = pd.DataFrame(
        {
            "bin": bin_of,
            "session": rows[source],
            "inside": np.minimum(end[source], bounds[bin_of + 1]) - np.maximum(start[source], bounds[bin_of]),
            "starts": starts.astype(np.int64),
            "whole": np.where(starts, (end - start)[source], 0),
        }
    )
    return frame, labels


def aggregate(
    lab: BigLab, pieces: pd.DataFrame, keys: dict[str, list[Any]], *, ids: bool
) -> dict[tuple[Any, ...], Any]:
    """All six metrics by bin and key: ``keys`` maps session column to the key of each of its codes."""
    frame = pieces.copy()
    for number, (column, values) in enumerate(keys.items()):
        # A code for every different key; -1 where the session has none.
        known = list(dict.fromkeys(v for v in values if v is not None))
        code_of = {value: n for n, value in enumerate(known)}
        table = np.array([code_of.get(v, -1) if v is not None else -1 for v in values] + [-1])
        frame[f"key{number}"] = table[getattr(lab, column)[frame["session"]]]
        frame = frame[frame[f"key{number}"] >= 0]
        keys[column] = known
    session = frame["session"].to_numpy()
    names = {n: i for i, n in enumerate(dict.fromkeys(lab.device_id))}
    device_ids = np.array([names[d] for d in lab.device_id])
    device = lab.device[session]
    frame["device"] = device_ids[device] if ids else device
    frame["person"], frame["team"] = lab.person[session], lab.team[session]
    by = ["bin", *(f"key{n}" for n in range(len(keys)))]
    sums = frame.groupby(by)[["inside", "starts", "whole"]].sum()
    sums["sessions"] = frame.groupby(by).size()
    for column in ("device", "person", "team"):
        distinct = frame.loc[frame[column] >= 0, [*by, column]].drop_duplicates().groupby(by).size()
        sums[column] = distinct.reindex(sums.index, fill_value=0)
    found = {}
    for index, row in zip(sums.index.tolist(), sums.to_dict("records"), strict=True):
        place, *codes = index if isinstance(index, tuple) else (index,)
        key = tuple(known[code] for known, code in zip(keys.values(), codes, strict=True))
        found[(place, *key)] = {
            "total_time": row["inside"] / 3_600_000_000,
            "avg_session_length": row["whole"] / (row["starts"] * 60_000_000) if row["starts"] else None,
            "session_count": row["sessions"],
            "device_count": row["device"],
            "user_count": row["person"],
            "team_count": row["team"],
        }
    return found
