"""Hypothesis strategies: small nasty labs, and raw parameters of questions that hit their sessions.

A *scene* is a zone and an instant worth looking at; sessions and questions gather around that instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
from hypothesis import strategies as st

from tests.oracle import FILTERS, GROUP_COLUMNS, SWITCHES, Lab, Row
from tests.oracle_bins import DAY
from usagekit.engine.store import Store, open_store, write_store
from usagekit.engine.tables import DIMENSION_SCHEMAS, EVENTS_SCHEMA, Tables
from usagekit.vocabulary import BIN_SIZES, METRICS

T = TypeVar("T")
Era = Literal["mixed", "legacy", "current"]

ERA_START = datetime(2022, 9, 1, tzinfo=UTC)
MINUTE, MICROSECOND = timedelta(minutes=1), timedelta(microseconds=1)

EVERY_ZONE = tuple(sorted(available_timezones() - {"localtime", "posixrules", "Factory"}))

ODD_ZONES = (
    "Asia/Kathmandu",  # +05:45, +05:30 before 1986
    "Australia/Eucla",  # +08:45
    "Pacific/Chatham",  # +12:45 / +13:45
    "Australia/Lord_Howe",  # changes by half an hour
    "America/St_Johns",  # changed at 00:01
    "Antarctica/Casey",  # changed at 00:01, by three hours
    "Antarctica/Troll",  # changes by two hours
    "America/Sao_Paulo",  # midnight did not exist
    "America/Havana",  # midnight does not exist, and comes twice
    "Africa/Casablanca",
    "Africa/Monrovia",  # -00:44:30 before 1972
)

SKIPPED_DATES = (
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Fakaofo", date(2011, 12, 30)),
    ("Pacific/Kiritimati", date(1994, 12, 31)),
    ("Pacific/Kanton", date(1994, 12, 31)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
)
"""Dates that a zone never had."""

NAMES = (
    "NA",
    "null",
    "None",
    "",
    " ",
    "00123",
    "123",
    "R&D / Café",
    "Cafe\u0301",
    "Café",
    "チーム",
    "🧪",
    "payments",
    "Payments",
    "a, b",
    '"q"\r\n',
    "<script>",
    '#read("x")',
    "=1+1",
    "../x",
    "\u202egnp",
    "\uffff",
    "\U00010000",
    "long " * 2_000,
)
DEVICE_IDS = ("00123", "123", "a@b", "@", "NA", "", "é", "e\u0301", "x y", "1e3")
HOSTNAMES = ("lab-1.example.com", "Lab-1.example.com", "lab-2.example.com", "NA", "", "ホスト")  # never an @
EMAILS = ("a@example.com", "A@example.com", "null", "NA", "", "o'neil+1@example.com", "søren@example.com")
MODELS = ("Pixel 8", "iPhone", "AndroidPhone", "iPad", "NA", "")
COUNTRIES = ("DE", "NA", "", "日本")

texts = st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@dataclass(frozen=True)
class Scene:
    """Where and when to look."""

    zone: str
    near: datetime

    @property
    def today(self) -> date:
        return self.near.astimezone(ZoneInfo(self.zone)).date()


@dataclass(frozen=True)
class Question:
    """A route's tail and raw HTTP parameters; ``today`` is what a missing end_date means."""

    by: str
    params: list[tuple[str, str]]
    today: date


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Instants from 1970 to 2037 at which a zone's offset changes; one that is undone within days may be missing."""
    clock = ZoneInfo(zone)
    weeks = [datetime(1970, 1, 1, tzinfo=UTC) + n * timedelta(days=7) for n in range(3548)]
    found = []
    for before, after in pairwise(weeks):
        low, high = before, after
        while high - low > timedelta(seconds=1):
            if low.astimezone(clock).utcoffset() == high.astimezone(clock).utcoffset():
                break
            middle = low + (high - low) // 2
            if low.astimezone(clock).utcoffset() == middle.astimezone(clock).utcoffset():
                low = middle
            else:
                high = middle
        else:
            found.append(high.replace(microsecond=0))
    return tuple(found)


@st.composite
def scenes(draw: st.DrawFn, *, zones: tuple[str, ...] = EVERY_ZONE) -> Scene:
    """A zone and an instant from 1970 to 2037, most often a change of the zone's offset; some skip a date."""
    if zones == EVERY_ZONE and not draw(st.integers(0, 5)):
        zone, skipped = draw(st.sampled_from(SKIPPED_DATES))
        near = next(c for c in changes(zone) if abs(c.date() - skipped) <= DAY)
        return Scene(zone, near)
    zone = draw(st.sampled_from(zones) | st.sampled_from([z for z in ODD_ZONES if z in zones] or zones))
    ordinary = datetime(draw(st.integers(1970, 2037)), draw(st.integers(1, 12)), 1, tzinfo=UTC)
    places = [st.just(ordinary), st.just(ERA_START)]
    if changes(zone):
        places += [st.sampled_from(changes(zone))] * 4
    return Scene(zone, draw(st.one_of(places)))


def _lengths() -> st.SearchStrategy[timedelta | None]:
    return st.one_of(
        st.integers(0, 200).map(lambda n: n * 15 * MINUTE),
        st.integers(0, 7_200_000_000).map(lambda n: n * MICROSECOND),
        st.sampled_from([None, timedelta(0), timedelta(0), MICROSECOND, -MICROSECOND, -DAY, DAY]),
        st.integers(1, 2000).map(lambda n: n * DAY + 7 * MICROSECOND),
    )


def _offsets() -> st.SearchStrategy[timedelta]:
    """How far from the scene's instant a session starts."""
    return st.one_of(
        st.integers(-96, 96).map(lambda n: n * 30 * MINUTE),
        st.tuples(st.integers(-3, 3), st.integers(-3, 0)).map(lambda n: timedelta(days=n[0], hours=n[1])),
        st.integers(-3600, 3600).map(lambda n: timedelta(seconds=n)),
        st.integers(-(10**12), 10**12).map(lambda n: n * MICROSECOND),
        st.integers(-400, 40).map(lambda n: n * DAY),
    )


def _some(values: list[T]) -> st.SearchStrategy[list[T]]:
    """Each of the values or not, by the toss of a coin."""
    tosses = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    return tosses.map(lambda kept: [value for value, keep in zip(values, kept, strict=True) if keep])


@st.composite
def labs(draw: st.DrawFn, near: datetime, *, era: Era = "mixed", max_sessions: int = 25) -> Lab:
    """A lab with sessions around an instant.

    Era ``mixed`` allows anything: nulls everywhere, unlisted devices and users. ``legacy`` sessions have a
    user or a team and are over when the current era starts; ``current`` ones have both and start in it. In
    those two every device and host is listed, with model and country.
    """
    known = era != "mixed"
    device_ids = draw(st.lists(st.sampled_from(DEVICE_IDS), min_size=1, max_size=3, unique=True))
    hostnames = draw(st.lists(st.sampled_from(HOSTNAMES), min_size=1, max_size=3, unique=True))
    emails = draw(st.lists(st.sampled_from(EMAILS), min_size=1, max_size=4, unique=True))
    teams = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    starts = draw(st.lists(_offsets().map(lambda o: near + o), min_size=1, max_size=6))
    if known:
        starts = [s for s in starts if (s >= ERA_START) == (era == "current")] or [near]
    some_team, some_name, some_email = st.sampled_from(teams), st.none() | texts, st.sampled_from(emails)

    def session(number: int) -> Row:
        start = draw(st.sampled_from(starts))
        length = draw(_lengths())
        end = None if length is None else start + length
        if era == "legacy" and end is not None:
            end = min(end, ERA_START)
        has_user = draw(st.booleans()) if era == "legacy" else True
        has_team = not has_user if era == "legacy" else True
        if not known:
            has_user, has_team = draw(
                st.sampled_from([(True, True), (True, False), (False, True), (False, False)])
            )
        return {
            "session_id": f"s{number}",
            "start_time": start,
            "end_time": end,
            "device_id": draw(st.sampled_from(device_ids)),
            "hostname": draw(st.sampled_from(hostnames)),
            "user": draw(some_name) if has_user or not known else None,
            "email": draw(some_email) if has_user else None,
            "team": draw(some_team) if has_team else None,
            "automated": draw(st.booleans()),
        }

    addresses = [(d, h) for d in device_ids for h in hostnames]
    listed = addresses if known else draw(_some(addresses))
    extra = draw(_some([(device_ids[0], "lab-9.example.com")]))
    models = st.sampled_from(MODELS) if known else st.none() | st.sampled_from(MODELS)
    countries = st.sampled_from(COUNTRIES) if known else st.none() | st.sampled_from(COUNTRIES)
    known_hosts = hostnames if known else draw(_some([*hostnames, "idle"]))
    people = draw(_some([*emails, "idle@example.com"]))
    pairs = [(e, t) for e in [*emails, "member@example.com"] for t in [*teams, "idle team"]]
    sessions = [session(n) for n in range(draw(st.integers(0, max_sessions)))]
    twins = draw(st.just([]) | st.lists(st.sampled_from(sessions), max_size=3)) if sessions else []
    return Lab(
        sessions=sessions
        + [s | {"session_id": f"twin {n} of {s['session_id']}"} for n, s in enumerate(twins)],
        devices=[
            {
                "device_id": device_id,
                "hostname": hostname,
                "model": draw(models),
                "os": draw(st.sampled_from(["Android", "iOS", "other"])),
                "form_factor": draw(st.sampled_from(["phone", "tablet", "tv", "other"])),
            }
            for device_id, hostname in listed + extra
        ],
        hosts=[{"hostname": h, "country": draw(countries)} for h in known_hosts],
        users=[{"email": e, "user": draw(some_name), "notes": draw(some_name)} for e in people],
        memberships=[{"email": e, "team": t} for e, t in draw(_some(pairs))],
        teams=[{"team": t} for t in draw(_some([*teams, "spare team"]))],
    )


_LONGEST = {"hour": 3, "day": 20, "week": 60, "month": 400}


@st.composite
def ranges(draw: st.DrawFn, scene: Scene, *, max_days: int) -> tuple[date, date]:
    """A first and a last local date around the scene, both included; every other one holds the scene."""
    earliest = date(1970, 1, 1)
    if draw(st.booleans()):
        first = max(earliest, scene.today - draw(st.integers(0, min(max_days, 3))) * DAY)
        return first, max(first, scene.today + draw(st.integers(0, min(max_days, 3))) * DAY)
    first = max(earliest, scene.today + draw(st.integers(-min(max_days, 60), 2)) * DAY)
    return first, first + draw(st.integers(0, max_days)) * DAY


@st.composite
def questions(draw: st.DrawFn, scene: Scene, lab: Lab) -> Question:
    """Any valid question to an aggregation route, its parameters in any order."""
    # Only days show whether a skipped date is right, so they are asked for more often where there is one.
    by_day = ("day",) * 4 if scene.zone in dict(SKIPPED_DATES) else ()
    bin_size = draw(st.sampled_from(BIN_SIZES + by_day))
    longest = 40 if bin_size == "hour" and not draw(st.integers(0, 19)) else _LONGEST[bin_size]
    first, last = draw(ranges(scene, max_days=longest))
    params = [("start_date", f"{first:%Y%m%d}"), ("metric", draw(st.sampled_from(list(METRICS))))]
    if draw(st.integers(0, 9)):
        params.append(("end_date", f"{last:%Y%m%d}"))
    if bin_size != "month" or draw(st.booleans()):
        params.append(("bin_size", bin_size))
    if scene.zone != "UTC" or draw(st.booleans()):
        params.append(("timezone", scene.zone))
    bools = st.sampled_from(["true", "false", "True", "TRUE"])
    params += [(switch, draw(bools)) for switch in SWITCHES if draw(st.booleans())]
    if not draw(st.integers(0, 3)):
        params.append(("automated", draw(st.sampled_from(["true", "false", "False"]))))
    for key in draw(st.just([]) | st.lists(st.sampled_from(FILTERS), max_size=2, unique=True)):
        values = st.sampled_from([*filter_values(lab, key), "no@where"])
        params += [(f"filter_on.{key}", v) for v in draw(st.lists(values, min_size=1, max_size=5))]
    by = draw(st.sampled_from(list(GROUP_COLUMNS)))
    return Question(by, draw(st.permutations(params)), last)


@st.composite
def event_bodies(draw: st.DrawFn, scene: Scene, lab: Lab) -> dict[str, Any]:
    """Any valid JSON body of /v0/usage/events with both dates."""
    first, last = draw(ranges(scene, max_days=120))
    form = draw(st.sampled_from(["%Y%m%d", "%Y/%m/%d"]))
    body: dict[str, Any] = {"start_date": first.strftime(form), "end_date": last.strftime(form)}
    if draw(st.booleans()):
        values = st.sampled_from([*filter_values(lab, "device_address"), "no@where"])
        body["devices"] = draw(st.lists(values, min_size=1, max_size=5))
    return body


def filter_values(lab: Lab, key: str) -> list[str]:
    """All values in a lab that a filter key could name, sorted."""
    rows = lab.sessions + lab.devices + lab.hosts + lab.users + lab.memberships + lab.teams
    if key == "device_address":
        return sorted({f"{r['device_id']}@{r['hostname']}" for r in rows if "device_id" in r})
    column = {"team_name": "team", "user_email": "email", "hostname": "hostname"}[key]
    return sorted({r[column] for r in rows if r.get(column) is not None})


def tables(lab: Lab) -> Tables:
    """A lab as the tables of a store."""
    dimensions = {
        name: pl.DataFrame(getattr(lab, name), schema=schema, orient="row")
        for name, schema in DIMENSION_SCHEMAS.items()
    }
    return Tables(events=pl.DataFrame(lab.sessions, schema=EVENTS_SCHEMA, orient="row"), **dimensions)


@contextmanager
def stored(lab: Lab) -> Iterator[Store]:
    """A lab written to a store of its own, opened."""
    memory = Path("/dev/shm")  # thousands of stores need no disk
    with TemporaryDirectory(prefix="usagekit-", dir=memory if memory.is_dir() else None) as path:
        write_store(path, tables(lab))
        yield open_store(path)
