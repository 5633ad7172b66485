"""Small worlds whose time goes by in ticks, and what is true of them, counted tick by tick without any sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pandas as pd
from hypothesis import strategies as st

from usagekit.analysis.sessions import month_sessions

TICKS = 48
TICK_MINUTES = 7
MONTH, ZONE = "2026-10", "Europe/Berlin"
BEGIN = datetime(2026, 10, 24, 21, tzinfo=UTC)  # the clock goes back at tick 34
DEVICES = tuple(f"{n:05}@lab-{n % 2}" for n in range(6))
MODELS = ("NA", '<script>#read("x")</script>', "チーム", None)
SESSIONS = {
    **dict.fromkeys(("device_address", "hostname", "email", "team"), "str"),
    "automated": "bool",
    **dict.fromkeys(("start_time", "end_time"), "datetime64[us, UTC]"),
}


@dataclass(frozen=True)
class Session:
    """A session from one tick up to another, by hand unless a team is given."""

    device: str
    first: int
    last: int
    email: str | None = None
    team: str | None = None

    def at(self, tick: int) -> bool:
        return self.first <= tick < self.last


@dataclass(frozen=True)
class World:
    """Sessions, the models of the devices that the fleet lists, and the ticks that are business time."""

    sessions: list[Session]
    models: dict[str, str | None]
    open: list[bool]

    @property
    def events(self) -> pd.DataFrame:
        rows = [
            (
                s.device,
                s.device.split("@")[1],
                s.email,
                s.team,
                s.team is not None,
                moment(s.first),
                moment(s.last),
            )
            for s in self.sessions
        ]
        return pd.DataFrame(rows, columns=list(SESSIONS)).astype(SESSIONS)

    @property
    def fleet(self) -> pd.DataFrame:
        rows = [(d, m, d.split("@")[1], {"lab-0": "DE"}.get(d.split("@")[1])) for d, m in self.models.items()]
        columns = ["device_address", "device_model", "hostname", "country"]
        return pd.DataFrame(rows, columns=columns).astype("str")

    @property
    def spells(self) -> pd.DataFrame:
        runs = [list(run) for is_open, run in groupby(range(TICKS), key=self.open.__getitem__) if is_open]
        rows = [(moment(run[0]), moment(run[-1] + 1)) for run in runs]
        return pd.DataFrame(rows, columns=["start", "end"]).astype("datetime64[us, UTC]")

    @property
    def open_ticks(self) -> list[int]:
        return [t for t in range(TICKS) if self.open[t]]

    def busy(self, tick: int, *, devices: set[str] | None = None, by: str = "anyone") -> set[str]:
        """The devices with a session at a tick; of ``devices`` only, by hand or by automation only."""
        kinds = {"anyone": (True, False), "hand": (False,), "automation": (True,)}[by]
        found = {s.device for s in self.sessions if s.at(tick) and (s.team is not None) in kinds}
        return found if devices is None else found & devices

    def pools(self) -> dict[str, set[str]]:
        named = {m for m in self.models.values() if m is not None}
        return {model: {d for d, m in self.models.items() if m == model} for model in named}


def timed_sessions(events: pd.DataFrame, *, month: str, timezone: str) -> pd.DataFrame:
    """The sessions of a month that take time, as the sweeps are given them."""
    found = month_sessions(events, month=month, timezone=timezone)
    return found[found["end"] > found["start"]]


def moment(tick: int) -> datetime:
    return BEGIN + tick * timedelta(minutes=TICK_MINUTES)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to 20 sessions on six devices: overlapping, touching, of no length, and ended before they start."""
    who = st.sampled_from([("ana@x", None), ("NA", None), (None, None), (None, "NA"), (None, "R&D")])
    session = st.tuples(st.sampled_from(DEVICES), st.integers(0, TICKS - 1), st.integers(-1, 12), who)
    drawn = draw(st.lists(session, max_size=20))
    sessions = [
        Session(device, first, min(first + length, TICKS), *of) for device, first, length, of in drawn
    ]
    listed = draw(st.lists(st.sampled_from(DEVICES), unique=True))
    models = {d: draw(st.sampled_from(MODELS[:3] + MODELS)) for d in listed}
    bits = draw(st.integers(0, 2**TICKS - 1) | st.just(2**TICKS - 1))
    return World(sessions, models, [bool(bits >> tick & 1) for tick in range(TICKS)])
