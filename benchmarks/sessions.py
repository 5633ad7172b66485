"""A seeded lab of any size, written as an event store by pyarrow: 50 teams, 500 users, 2,000 devices, 36 months."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Ints = npt.NDArray[np.int64]

FIRST, LAST = date(2021, 9, 1), date(2024, 8, 31)
TEAMS, USERS, DEVICES, HOSTS, MODELS = 50, 500, 2_000, 20, 60
COUNTRIES = ["US", "GB", "IN", "JP", "KR", "AU", "BR", "DE"]

_ERA = datetime(2022, 9, 1, tzinfo=UTC).timestamp()
_MOVE = datetime(2023, 3, 10, tzinfo=UTC).timestamp()
_UTC_HOURS = np.array([-8, 0, 5.5, 9, 9, 10, -3, 1])
_ROWS_PER_GROUP = 262_144


def write_sessions(store: Path, sessions: int, *, seed: int = 7) -> None:
    """Write an event store of ``sessions`` sessions at ``store``, a month at a time, and its dimension tables.

    Lengths are log-normal around 25 minutes, most starts in office hours of the device's country; a hundredth
    starts or ends on a whole hour, 3 % of the devices change their host once, and before September 2022 a
    session has a user or a team. More sessions change neither names nor calendar.
    """
    fleet = _Fleet(seed)
    months = [(2021 + n // 12, n % 12 + 1) for n in range(8, 44)]
    growth = np.linspace(0.7, 1.3, len(months))
    counts = np.floor(growth / growth.sum() * sessions).astype(int)
    counts[-1] += sessions - counts.sum()
    first = 0
    for (year, month), count in zip(months, counts.tolist(), strict=True):
        folder = store / "events" / f"month={year}-{month:02}"
        folder.mkdir(parents=True, exist_ok=True)
        table = fleet.month(np.random.default_rng([seed, year, month]), (year, month), (first, count))
        # Without pyarrow's own schema in the file its dictionaries are plain strings to every reader.
        pq.write_table(
            table,
            folder / "events.parquet",
            compression="zstd",
            row_group_size=_ROWS_PER_GROUP,
            store_schema=False,
        )
        first += count
    fleet.write(store)


def is_whole(store: Path) -> bool:
    """Whether a store was written to its end."""
    return (store / "teams.parquet").exists()


class _Fleet:
    """Who and what there is: names by code, homes of devices and the teams of users."""

    def __init__(self, seed: int) -> None:
        dice = np.random.default_rng([seed, 0])
        self.device_ids = [f"{n:04}{dice.integers(16**8):08x}" for n in range(DEVICES)]
        self.hosts = [f"lab-{n}.{COUNTRIES[n % len(COUNTRIES)].lower()}.example.net" for n in range(HOSTS)]
        self.home = dice.integers(0, HOSTS, DEVICES)
        moves = dice.random(DEVICES) < 0.03
        self.second_home = np.where(moves, dice.integers(0, HOSTS, DEVICES), self.home)
        self.model = _skewed(dice, MODELS, count=DEVICES, slope=0.8)
        self.users = [f"User {n:03}" for n in range(USERS)]
        self.emails = [f"user{n:03}@example.com" for n in range(USERS)]
        self.teams = [f"Team {n:02}" for n in range(TEAMS)]
        self.team_of = _skewed(dice, TEAMS, count=USERS, slope=0.9)

    def write(self, store: Path) -> None:
        store.mkdir(parents=True, exist_ok=True)
        homes = np.concatenate([self.home, self.second_home])
        pairs = sorted({*zip(list(range(DEVICES)) * 2, homes.tolist(), strict=True)})
        systems = [("iOS", "phone") if n % 3 == 0 else ("Android", "phone") for n in range(MODELS)]
        tables = {
            "devices": {
                "device_id": [self.device_ids[d] for d, _ in pairs],
                "hostname": [self.hosts[h] for _, h in pairs],
                "model": [f"Model {self.model[d]}" for d, _ in pairs],
                "os": [systems[self.model[d]][0] for d, _ in pairs],
                "form_factor": [systems[self.model[d]][1] for d, _ in pairs],
            },
            "hosts": {
                "hostname": self.hosts,
                "country": [COUNTRIES[n % len(COUNTRIES)] for n in range(HOSTS)],
            },
            "users": {"email": self.emails, "user": self.users, "notes": pa.nulls(USERS, pa.string())},
            "memberships": {"email": self.emails, "team": [self.teams[t] for t in self.team_of]},
            "teams": {"team": self.teams},
        }
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), store / f"{name}.parquet")

    def month(self, dice: np.random.Generator, month: tuple[int, int], numbers: tuple[int, int]) -> pa.Table:
        """The sessions of one UTC month, by start; ``numbers`` are the first session's number and their count."""
        first, count = numbers
        device = _skewed(dice, DEVICES, count=count, slope=0.6)
        user = _skewed(dice, USERS, count=count, slope=0.8)
        team = np.where(
            dice.random(count) < 0.2, _skewed(dice, TEAMS, count=count, slope=0.9), self.team_of[user]
        )
        automated = dice.random(count) < 0.35
        start = _starts(dice, month, automated, _UTC_HOURS[self.home[device] % len(COUNTRIES)])
        seconds = np.exp(dice.normal(np.log(1500), 1.0, count)).clip(60, 8 * 3600).astype(np.int64)
        whole = dice.random(count)
        start = np.where(whole < 0.01, start // 3600 * 3600, start)
        end = start + seconds
        end = np.where((whole > 0.99) & (end // 3600 * 3600 > start), end // 3600 * 3600, end)
        order = np.argsort(start, kind="stable")
        device, user, team = device[order], user[order], team[order]
        automated, start, end = automated[order], start[order], end[order]
        legacy = start < _ERA
        host = np.where(start < _MOVE, self.home[device], self.second_home[device])
        no_user, no_team = legacy & automated, legacy & ~automated
        time = pa.timestamp("us", "UTC")
        return pa.table(
            {
                "session_id": pa.array(np.arange(first, first + count)).cast(pa.string()),
                "start_time": pa.array(start * 1_000_000, time),
                "end_time": pa.array(end * 1_000_000, time),
                "device_id": _named(self.device_ids, device),
                "hostname": _named(self.hosts, host),
                "user": _named(self.users, user, no_user),
                "email": _named(self.emails, user, no_user),
                "team": _named(self.teams, team, no_team),
                "automated": pa.array(automated),
            }
        )


def _starts(
    dice: np.random.Generator, month: tuple[int, int], automated: npt.NDArray[np.bool_], utc_hours: Ints
) -> Ints:
    """Starts in UTC seconds: five sixths of a device's days are working days, manual work peaks after noon there."""
    year, number = month
    low = int(datetime(year, number, 1, tzinfo=UTC).timestamp())
    high = int(datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp())
    days = np.arange(low // 86400, high // 86400)
    weight = np.where((days + 3) % 7 < 5, 5.0, 1.0)  # day 0 was a Thursday
    count = len(automated)
    day = dice.choice(days, count, p=weight / weight.sum())
    by_hand = dice.normal(13.5, 3.0, count).clip(0, 23.999)
    hour = np.where(automated, dice.random(count) * 24, by_hand) - utc_hours
    start = (day * 86400 + hour * 3600).astype(np.int64)
    return low + (start - low) % (high - low)  # what left the month comes in at its other end


def _skewed(dice: np.random.Generator, members: int, *, count: int, slope: float) -> Ints:
    """Codes below ``members``, the first ones most often (Zipf)."""
    weight = 1.0 / np.arange(1, members + 1) ** slope
    return dice.choice(members, count, p=weight / weight.sum())


def _named(names: list[str], codes: Ints, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=missing), pa.array(names))
