"""Right sizes, sold-out time, movable runs, twins, sites and fading devices, against counting tick by tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings

from tests.desk.ticking import (
    BEGIN,
    MONTH,
    TICK_MINUTES,
    TICKS,
    ZONE,
    Session,
    World,
    moment,
    timed_sessions,
    worlds,
)
from usagekit.analysis.capacity import MIN_POOL, handoffs, right_size
from usagekit.analysis.contention import Movable, movable_automation, sold_out_hours
from usagekit.analysis.fading import fading_devices
from usagekit.analysis.months import month_bounds
from usagekit.analysis.sites import by_site
from usagekit.analysis.twins import surplus_twins
from usagekit.errors import SchemaError
from usagekit.figures.bars import right_size_chart

ALL_OPEN = [True] * TICKS
PIXEL = {"1@a": "Pixel 8", "2@a": "Pixel 8"}


def some_worlds(test: Callable[..., None]) -> Callable[..., None]:
    return settings(max_examples=50)(given(worlds())(test))


def clipped(world: World) -> pd.DataFrame:
    return timed_sessions(world.events, month=MONTH, timezone=ZONE)


def sizes(world: World) -> pd.DataFrame:
    return right_size(clipped(world), world.fleet, spells=world.spells, handoff_seconds=60 * TICK_MINUTES)


def taken(world: World) -> list[Session]:
    """The sessions that take time."""
    return [s for s in world.sessions if s.last > s.first]


def user(session: Session) -> tuple[object, ...]:
    """Who a session is of; people come before teams, and nobody in particular before both."""
    name = session.email if session.team is None else session.team
    return () if name is None else (session.team is not None, name)


def takeovers(world: World) -> list[Session]:
    """Sessions that begin at most a tick after another user set the device free."""
    found = []
    ordered = sorted(taken(world), key=lambda s: (s.first, s.last, user(s)))
    for place, session in enumerate(ordered):
        earlier = [s for s in ordered[:place] if s.device == session.device]
        if earlier:
            before = max(earlier, key=lambda s: s.last)  # of equal ones the first
            pause = session.first - before.last
            if pause in (0, 1) and user(before) != user(session) and user(before) and user(session):
                found.append(session)
    return found


@some_worlds
def test_right_sizes_are_those_of_counting(world: World):
    """Owned, used, hours, peak, levels and sold-out time of each model are what its ticks say."""
    table = sizes(world)
    found = {
        row["device_model"]: row for row in table.to_dict("records") if isinstance(row["device_model"], str)
    }
    assert set(found) == set(world.pools())
    ticks = world.open_ticks
    for model, devices in world.pools().items():
        row = found[model]
        counts = [len(world.busy(t, devices=devices)) for t in ticks]
        own = [s for s in taken(world) if s.device in devices]
        assert (row["owned"], row["used"]) == (len(devices), len({s.device for s in own}))
        assert row["total_time_hours"] == pytest.approx(
            sum(s.last - s.first for s in own) * TICK_MINUTES / 60
        )
        assert row["peak"] == max(len(world.busy(t, devices=devices)) for t in range(TICKS))
        sold_out = sum(c == len(devices) for c in counts)
        pooled = len(devices) >= MIN_POOL
        if pooled:
            assert row["sold_out_minutes"] == sold_out * TICK_MINUTES
        else:
            assert pd.Series(row)[["sold_out_minutes", "sold_out_share"]].isna().all()
        if ticks:
            assert not pooled or row["sold_out_share"] == pytest.approx(sold_out / len(ticks))
            for percent in (95, 99):
                enough = (k for k in range(7) if 100 * sum(c <= k for c in counts) >= percent * len(ticks))
                assert row[f"needed_{percent}"] == next(enough)
            assert row["spare"] == row["owned"] - row["needed_99"]
        else:
            assert pd.Series(row)[["needed_95", "needed_99", "spare", "sold_out_share"]].isna().all()


@some_worlds
def test_devices_of_no_known_model_are_counted_but_in_no_pool(world: World):
    """They are one last row with devices and hours only, also those that the fleet does not list."""
    table = sizes(world)
    nameless = {d for d, m in world.models.items() if m is None}
    used = {s.device for s in taken(world) if world.models.get(s.device) is None}
    assert table["device_model"].isna().sum() == bool(nameless | used)
    if nameless | used:
        last = table.iloc[-1]
        assert (last["owned"], last["used"]) == (len(nameless | used), len(used))
        assert last[["peak", "needed_95", "needed_99", "sold_out_minutes", "handoffs", "spare"]].isna().all()
    hours = sum(s.last - s.first for s in taken(world)) * TICK_MINUTES / 60
    assert table["total_time_hours"].sum() == pytest.approx(hours)


@some_worlds
def test_hand_offs_are_those_of_looking_at_every_pair(world: World):
    """A session takes over when the last to hold the device was somebody else, a tick ago at most."""
    sessions = clipped(world)
    mask = handoffs(sessions, seconds=60 * TICK_MINUTES)
    found = Counter(zip(sessions["device_address"][mask], sessions["start"][mask], strict=True))
    assert found == Counter((s.device, pd.Timestamp(moment(s.first))) for s in takeovers(world))
    by_model = Counter(world.models.get(s.device) for s in takeovers(world))
    table = sizes(world).dropna(subset=["device_model"])
    assert dict(zip(table["device_model"], table["handoffs"], strict=True)) == {
        model: by_model[model] for model in world.pools()
    }


def test_a_hand_off_is_another_user_within_two_minutes():
    """Ana, then Bo 120 s later, then Bo again, then a team's run at once, then Ana 121 s after it: two hand-offs."""
    rows = [
        ("ana@x", None, "08:00:00", "09:00:00"),
        ("bo@x", None, "09:02:00", "10:00:00"),  # another user after 120 s
        ("bo@x", None, "10:00:30", "11:00:00"),  # the same user
        (None, "bo@x", "11:00:00", "12:00:00"),  # a team is nobody's email
        ("ana@x", None, "12:02:01", "13:00:00"),  # 121 s
        (None, None, "13:00:10", "14:00:00"),  # unknown
        ("ana@x", None, "14:00:10", "15:00:00"),  # after unknown
        ("bo@x", None, "14:30:00", "16:00:00"),  # while it was still held
        ("ana@x", None, "15:00:05", "15:30:00"),  # still held by Bo
    ]
    times = {
        c: [pd.Timestamp(f"2026-10-05 {row[n]}", tz="UTC") for row in rows]
        for n, c in ((2, "start"), (3, "end"))
    }
    sessions = pd.DataFrame(
        {"device_address": "1@a", "email": [r[0] for r in rows], "team": [r[1] for r in rows]}
    )
    sessions = sessions.assign(automated=sessions["team"].notna(), **times).astype(
        {"email": "str", "team": "str"}
    )
    found = handoffs(sessions.iloc[::-1], seconds=120)[::-1]
    assert [rows[n][2] for n in found.nonzero()[0]] == ["09:02:00", "11:00:00"]


def test_a_fleet_without_sessions_needs_nothing():
    """In an empty month every device is spare and nothing is sold out."""
    world = World([], PIXEL | {"3@a": None}, ALL_OPEN)
    table = sizes(world)
    assert table["device_model"].tolist()[:1] == ["Pixel 8"]
    assert table.loc[0, ["owned", "used", "peak", "needed_99", "spare", "handoffs"]].tolist() == [
        2,
        0,
        0,
        0,
        2,
        0,
    ]
    assert table.loc[0, ["total_time_hours", "sold_out_minutes", "sold_out_share"]].tolist() == [0, 0, 0]
    assert movable_automation(clipped(world), world.fleet, spells=world.spells) == Movable(0, 0, 0, None)


def test_one_device_is_never_called_sold_out():
    """A single device has no sold-out minutes: not in its model, not in the week, not in what could move, not in words."""
    world = World([Session("1@a", 0, 10, "ana@x")], {"1@a": "Pixel 8"}, ALL_OPEN)
    assert sizes(world)[["sold_out_minutes", "sold_out_share"]].isna().all(axis=None)
    assert movable_automation(clipped(world), world.fleet, spells=world.spells) == Movable(0, 0, 0, None)
    assert "sold out for" not in right_size_chart(sizes(world)).alt
    cells = sold_out_hours(clipped(world), world.fleet, spells=None, month=MONTH, timezone=ZONE)
    assert cells.sum().sum() == 0


def test_names_stay_as_they_are():
    """Models called NA, with markup, of 10,000 characters or alike but for their case stay apart."""
    names = [
        "NA",
        "null",
        "",
        '<script>alert(1)</script>#read("x")',
        "チーム 🧪",
        "pixel 8",
        "Pixel 8",
        "x" * 10_000,
    ]
    models = {f"{n}@a": name for n, name in enumerate(names)}
    world = World([Session(d, n, n + 1, "ana@x") for n, d in enumerate(models)], models, ALL_OPEN)
    assert sorted(sizes(world)["device_model"]) == sorted(names)
    assert (sizes(world)["peak"] == 1).all()


@cache
def clock_hours() -> Counter[tuple[int, int]]:
    """Minutes of the month in each weekday and hour of the local clock."""
    first, last = month_bounds(MONTH, ZONE)
    stamps = (stamp.to_pydatetime() for stamp in pd.date_range(first, last, freq="min", inclusive="left"))
    local = (stamp.astimezone(ZoneInfo(ZONE)) for stamp in stamps)
    return Counter((stamp.weekday(), stamp.hour) for stamp in local)


@some_worlds
def test_sold_out_hours_are_those_of_every_minute(world: World):
    """A cell holds the minutes in which any model of two or more devices was sold out, per hour of the month."""
    minutes: Counter[tuple[int, int]] = Counter()
    for tick in world.open_ticks:
        if any(len(d) >= 2 and world.busy(tick, devices=d) == d for d in world.pools().values()):
            stamps = pd.date_range(moment(tick), periods=TICK_MINUTES, freq="min")
            minutes.update((s.weekday(), s.hour) for s in stamps.tz_convert(ZONE))
    found = sold_out_hours(clipped(world), world.fleet, spells=world.spells, month=MONTH, timezone=ZONE)
    assert found.shape == (7, 24)
    for (day, hour), elapsed in clock_hours().items():
        assert found.loc[day, hour] == pytest.approx(60 * minutes[day, hour] / elapsed)


def test_sold_out_hours_reach_over_all_of_the_month_without_spells():
    """Without spells nights count too: two devices held for all of October are 60 minutes in every hour."""
    fleet = World([], PIXEL, ALL_OPEN).fleet
    first, last = month_bounds(MONTH, ZONE)
    sessions = pd.DataFrame({"device_address": ["1@a", "2@a"], "start": first, "end": last})
    found = sold_out_hours(sessions, fleet, spells=None, month=MONTH, timezone=ZONE)
    assert found.to_numpy() == pytest.approx(60)


@some_worlds
def test_movable_automation_is_what_its_ticks_say(world: World):
    """Automated device time in nearly sold-out business ticks moves; what is then still sold out remains."""
    hours = before = after = 0
    for tick in world.open_ticks:
        for devices in world.pools().values():
            if len(devices) < MIN_POOL:
                continue
            busy, runs = (world.busy(tick, devices=devices, by=by) for by in ("anyone", "automation"))
            before += busy == devices
            left = busy
            if 10 * len(busy) >= 9 * len(devices):
                hours += len(runs)
                left = world.busy(tick, devices=devices, by="hand")
            after += left == devices
    found = movable_automation(clipped(world), world.fleet, spells=world.spells)
    assert found.hours == pytest.approx(hours * TICK_MINUTES / 60)
    assert (found.sold_out_minutes, found.remaining_minutes) == (before * TICK_MINUTES, after * TICK_MINUTES)
    assert found.saved_share == (pytest.approx(1 - after / before) if before else None)
    assert found.sold_out_minutes == sizes(world)["sold_out_minutes"].sum()


def test_moving_runs_frees_sold_out_minutes():
    """Ten phones, nine by hand for four ticks, the tenth automated for three of them and by hand for the last.

    The automation could move out of all three ticks in which it runs; one sold-out tick of four remains.
    A second automated run on another day meets a pool that is not busy and stays.
    """
    phones = [f"{n}@a" for n in range(10)]
    by_hand = [Session(d, 0, 4, "ana@x") for d in phones[:9]]
    runs = [Session(phones[9], 0, 3, None, "QA"), Session(phones[0], 20, 30, None, "QA")]
    world = World(
        [*by_hand, *runs, Session(phones[9], 3, 4, "bo@x")], dict.fromkeys(phones, "Pixel 8"), ALL_OPEN
    )
    found = movable_automation(clipped(world), world.fleet, spells=world.spells)
    minutes = TICK_MINUTES
    assert found == Movable(pytest.approx(3 * minutes / 60), 4 * minutes, minutes, 0.75)
    wider = movable_automation(clipped(world), world.fleet, spells=world.spells, min_owned=11)
    assert wider == Movable(0, 0, 0, None)
    alone = movable_automation(clipped(world), world.fleet, spells=world.spells, busy_share=0.1)
    assert alone.hours == pytest.approx(13 * minutes / 60)


@some_worlds
def test_twins_are_never_busy_at_once_and_no_pair_is_left_over(world: World):
    """Pairs share model and host, are both used, never at one time; no two other devices are such a pair."""
    table = surplus_twins(world.events, world.fleet, start=BEGIN, end=moment(TICKS))
    held = {d: {t for t in range(TICKS) if d in world.busy(t)} for d in world.models}

    def fit(one: str, other: str) -> bool:
        alike = world.models[one] == world.models[other] is not None
        same_host = one.split("@")[1] == other.split("@")[1]
        return alike and same_host and bool(held[one] and held[other]) and not held[one] & held[other]

    assert all(fit(one, other) for one, other in zip(table["first"], table["second"], strict=True))
    paired = [*table["first"], *table["second"]]
    assert len(set(paired)) == len(paired)
    rest = set(world.models) - set(paired)
    assert not any(fit(one, other) for one in rest for other in rest if one != other)
    for side in ("first", "second"):
        hours = [len(held[d]) * TICK_MINUTES / 60 for d in table[side]]
        assert table[f"{side}_hours"].tolist() == pytest.approx(hours)
    assert (table["first_hours"] >= table["second_hours"]).all()
    assert [world.models[d] for d in table["first"]] == table["device_model"].tolist()


def test_twins_are_judged_between_two_instants():
    """What was busy at once outside of them says nothing; a device unused inside them has no twin."""
    sessions = [Session("1@a", 0, 10), Session("2@a", 8, 12), Session("2@a", 20, 22)]
    world = World(sessions, PIXEL, ALL_OPEN)
    assert len(surplus_twins(world.events, world.fleet, start=moment(0), end=moment(TICKS))) == 0
    assert len(surplus_twins(world.events, world.fleet, start=moment(10), end=moment(TICKS))) == 0
    found = surplus_twins(world.events, world.fleet, start=moment(9), end=moment(10))
    assert len(found) == 0
    later = World([Session("1@a", 0, 10), Session("2@a", 10, 12)], PIXEL, ALL_OPEN)
    found = surplus_twins(later.events, later.fleet, start=moment(0), end=moment(TICKS))
    assert found[["first", "second"]].values.tolist() == [["1@a", "2@a"]]


def test_a_device_has_one_twin():
    """Of four devices the two least used ones are busy at once: each has a twin of its own among the others."""
    held = {"1@a": (0, 1), "2@a": (0, 2), "3@a": (10, 13), "4@a": (20, 24)}
    sessions = [Session(device, *ticks) for device, ticks in held.items()]
    world = World(sessions, dict.fromkeys(held, "Pixel 8"), ALL_OPEN)
    found = surplus_twins(world.events, world.fleet, start=moment(0), end=moment(TICKS))
    assert found[["first", "second"]].values.tolist() == [["3@a", "1@a"], ["4@a", "2@a"]]


@some_worlds
def test_sites_add_up(world: World):
    """Countries and hosts own every device once, and their hours and business time are all of them."""
    for column in ("country", "hostname"):
        table = by_site(clipped(world), world.fleet, column=column, spells=world.spells)
        devices = set(world.models) | {s.device for s in taken(world)}
        assert table["owned"].sum() == len(devices)
        assert table["used"].sum() == len({s.device for s in taken(world)})
        hours = sum(s.last - s.first for s in taken(world)) * TICK_MINUTES / 60
        assert table["total_time_hours"].sum() == pytest.approx(hours)
        if world.open_ticks:
            used = sum(s.at(t) for s in taken(world) for t in world.open_ticks)
            available = table["owned"] * len(world.open_ticks)
            assert (table["business_utilisation"] * available).sum() == pytest.approx(used)
        else:
            assert table["business_utilisation"].isna().all()
    hosts = by_site(clipped(world), world.fleet, column="hostname", spells=world.spells)
    assert set(hosts["hostname"]) == {d.split("@")[1] for d in devices}


def test_a_missing_column_is_named():
    """A fleet without models, or sessions without users, cannot be sized and say why."""
    world = World([], PIXEL, ALL_OPEN)
    with pytest.raises(SchemaError, match="device_model"):
        right_size(clipped(world), world.fleet.drop(columns="device_model"), spells=world.spells)
    with pytest.raises(SchemaError, match="email"):
        right_size(clipped(world).drop(columns="email"), world.fleet, spells=world.spells)


def roster(**hours: list[float | None]) -> pd.DataFrame:
    months = pd.to_datetime(["2026-07-01", "2026-08-01", "2026-09-01", "2026-10-01"]).as_unit("us")
    frames = [
        pd.DataFrame({"datetime": months, "device_address": d, "total_time_hours": h})
        for d, h in hours.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_devices_fade_or_just_fell_idle():
    """Idle devices were used the month before (5 h, or three months running); fading ones keep 25 % of usual."""
    table = fading_devices(
        roster(
            idle_at_once=[0, 0, 5, 0],
            used_little_but_always=[0.1, 0.1, 0.1, 0],
            used_little=[0, 0.1, 4.9, 0],
            idle_for_two_months=[90, 90, 0, 0],
            fading=[20, 40, 30, 7.5],
            less=[20, 40, 30, 7.6],
            always_little=[4, 4.9, 6, 0.1],
            missing=[20, 20, 20, None],
        ),
        month=MONTH,
    )
    assert table[["device_address", "state"]].values.tolist() == [
        ["fading", "fading"],
        ["idle_at_once", "idle"],
        ["used_little_but_always", "idle"],
    ]
    assert table[["usual_hours", "before_hours", "hours"]].iloc[0].tolist() == [30, 30, 7.5]
    assert table["idle_since"].tolist() == [pd.NaT, pd.Timestamp("2026-10-01"), pd.Timestamp("2026-10-01")]


def test_a_roster_of_nothing_has_no_fading_devices():
    """Without rows of these months nothing fades, and the columns are there."""
    table = fading_devices(roster(x=[1.0, 1, 1, 1]), month="2020-10")
    assert table.empty
    assert "idle_since" in table
