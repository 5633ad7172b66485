"""How many devices are busy at once, against counting tick by tick; and business time in every zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.desk.ticking import MONTH, TICK_MINUTES, TICKS, ZONE, World, moment, timed_sessions, worlds
from tests.strategies import ODD_ZONES
from usagekit.analysis.capacity import business_hours_used, utilisation
from usagekit.analysis.concurrency import (
    Peak,
    business_minutes,
    business_spells,
    busy_steps,
    duration_curve,
    level,
    peak,
)
from usagekit.analysis.months import hours_in_month, month_bounds
from usagekit.analysis.sweep import hour_bins
from usagekit.errors import SchemaError
from usagekit.period import BusinessHours

MINUTE = timedelta(minutes=1)
EVERY_DAY = tuple(range(7))


def events(*rows: tuple[str, str | None, str | None], unit: str = "us") -> pd.DataFrame:
    """Sessions of a device from an instant to another (UTC)."""
    frame = pd.DataFrame(rows, columns=["device_address", "start_time", "end_time"])
    return frame.astype(dict.fromkeys(("start_time", "end_time"), f"datetime64[{unit}, UTC]"))


def clipped(world: World) -> pd.DataFrame:
    return timed_sessions(world.events, month=MONTH, timezone=ZONE)


@settings(max_examples=50)
@given(worlds())
def test_steps_are_the_devices_busy_at_every_tick(world: World):
    """Steps follow one another, change at each, and say how many distinct devices are busy at every tick."""
    steps = busy_steps(clipped(world))
    counts = [len(world.busy(tick)) for tick in range(TICKS)]
    assert steps["start"].tolist()[1:] == steps["end"].tolist()[:-1]
    assert all(one != other for one, other in zip(steps["busy"], steps["busy"][1:], strict=False))
    found = [
        steps.loc[(steps["start"] <= moment(tick)) & (steps["end"] > moment(tick)), "busy"].sum()
        for tick in range(TICKS)
    ]
    assert found == counts
    top = peak(steps, ZONE)
    if max(counts):
        assert top == Peak(max(counts), pd.Timestamp(moment(counts.index(max(counts)))).tz_convert(ZONE))
    else:
        assert top is None


@settings(max_examples=50)
@given(worlds(), st.sampled_from(["0.5", "0.9", "0.95", "0.99", "1"]))
def test_the_curve_and_its_levels_are_counted_in_business_ticks(world: World, share: str):
    """Minutes with at least k busy, and the smallest k that was enough, count business time only."""
    steps = busy_steps(clipped(world))
    curve = duration_curve(steps, world.spells)
    counts = [len(world.busy(tick)) for tick in world.open_ticks]
    top = max((len(world.busy(tick)) for tick in range(TICKS)), default=0)
    assert curve["devices"].tolist() == list(range(top + 1))
    at_least = [sum(c >= k for c in counts) for k in range(top + 1)]
    assert curve["minutes"].tolist() == [TICK_MINUTES * n for n in at_least]
    if counts:
        assert curve["share"].tolist() == pytest.approx([n / len(counts) for n in at_least])
        wanted = next(
            k for k in range(top + 1) if sum(c <= k for c in counts) >= Fraction(share) * len(counts)
        )
        assert level(curve, float(share)) == wanted
    else:
        assert curve["share"].isna().all()


def test_a_level_holds_at_its_exact_share():
    """99 % of the time is enough to the microsecond: exactly 1 % above k is allowed, a microsecond more is not."""
    spells = business_spells(MONTH, ZONE, BusinessHours())
    start = spells["start"][0]
    hundredth = pd.Timedelta(minutes=132)
    for more, wanted in ((pd.Timedelta(0), 0), (pd.Timedelta(microseconds=1), 1)):
        steps = pd.DataFrame({"start": [start], "end": [start + hundredth + more], "busy": [1]})
        assert level(duration_curve(steps, spells), 0.99) == wanted


def test_ends_come_before_starts():
    """Two sessions that touch keep one device busy, not two; on one device they are one."""
    held = events(
        ("1@a", "2026-10-05 08:00", "2026-10-05 09:00"),
        ("2@a", "2026-10-05 09:00", "2026-10-05 10:00"),
        ("2@a", "2026-10-05 10:00", "2026-10-05 11:00"),
    )
    steps = busy_steps(timed_sessions(held, month=MONTH, timezone=ZONE))
    assert steps.values.tolist() == [
        [pd.Timestamp("2026-10-05 08:00", tz="UTC"), pd.Timestamp("2026-10-05 11:00", tz="UTC"), 1]
    ]


def test_sessions_are_cut_at_the_local_month():
    """A session over an end of the month counts with its part; those without time in it do not count."""
    held = events(
        ("before@a", "2026-09-30 21:00", "2026-09-30 22:00"),  # ends at midnight in Berlin
        ("into@a", "2026-09-30 21:00", "2026-09-30 22:00:00.000001"),
        ("over@a", "2026-09-01", "2026-12-01"),
        ("out@a", "2026-10-31 22:59", "2026-11-02"),
        ("after@a", "2026-10-31 23:00", "2026-11-02"),
        ("empty@a", "2026-10-05", "2026-10-05"),
        ("reversed@a", "2026-10-05 01:00", "2026-10-05"),
        ("open@a", "2026-10-05", None),
        ("lost@a", None, "2026-10-05"),
    )
    found = timed_sessions(held, month=MONTH, timezone=ZONE).set_index("device_address")
    first, last = month_bounds(MONTH, ZONE)
    assert set(found.index) == {"into@a", "over@a", "out@a"}
    assert (found["start"]["over@a"], found["end"]["over@a"]) == (first, last)
    assert found["end"]["into@a"] - found["start"]["into@a"] == pd.Timedelta(microseconds=1)
    assert found["end"]["out@a"] - found["start"]["out@a"] == pd.Timedelta(minutes=1)
    assert found["start_time"]["over@a"] == pd.Timestamp("2026-09-01", tz="UTC")


def test_the_order_of_rows_does_not_matter():
    """The same sessions in another order are the same answer."""
    held = events(*((f"{n}@a", "2026-10-05 08:00", f"2026-10-05 {9 + n:02}:00") for n in range(5)))
    one, other = (timed_sessions(f, month=MONTH, timezone=ZONE) for f in (held, held.iloc[::-1]))
    pd.testing.assert_frame_equal(busy_steps(one), busy_steps(other))


def test_an_empty_month_has_no_peak():
    """Without sessions there are no steps, no peak, and a curve of no device for the whole time."""
    steps = busy_steps(timed_sessions(events(), month=MONTH, timezone=ZONE))
    curve = duration_curve(steps, business_spells(MONTH, ZONE, BusinessHours()))
    assert (len(steps), peak(steps, ZONE), level(curve, 0.99)) == (0, None, 0)
    assert curve.values.tolist() == [[0, 13_200, 1]]


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_times_of_any_resolution(unit: str):
    """Timestamps in seconds or nanoseconds count as those in microseconds do."""
    held = events(("1@a", "2026-10-05 08:00", "2026-10-05 09:00"), unit=unit)
    steps = busy_steps(timed_sessions(held, month=MONTH, timezone=ZONE))
    assert (steps["end"] - steps["start"]).tolist() == [pd.Timedelta(hours=1)]


def test_a_missing_column_is_named():
    """A frame without a column that is needed says which one."""
    with pytest.raises(SchemaError, match="end_time"):
        timed_sessions(events().drop(columns="end_time"), month=MONTH, timezone=ZONE)


@pytest.mark.parametrize(
    ("month", "zone", "hours", "night"),
    [
        ("2026-10", "Europe/Berlin", 745, 125),
        ("2026-03", "Europe/Berlin", 743, 123),
        ("2026-10", "Asia/Kolkata", 744, 124),
        ("2026-10", "Australia/Lord_Howe", 743.5, 123.5),
        ("2026-04", "Australia/Lord_Howe", 720.5, 120.5),
    ],
)
def test_a_change_of_the_clock_changes_business_time(month: str, zone: str, hours: float, night: float):
    """Business time is elapsed time: an hour that comes twice counts twice, one that is skipped not at all."""
    bins = hour_bins(month, zone)
    assert (bins["end"] - bins["start"]).sum() / pd.Timedelta(hours=1) == hours == hours_in_month(month, zone)
    nights = BusinessHours(time(1), time(5), EVERY_DAY)
    assert business_minutes(month, zone, nights) == 60 * night


def test_holidays_and_closed_days_are_no_business_time():
    """A holiday on a weekday takes its hours away, one on a weekend nothing."""
    closed = BusinessHours(holidays=(date(2026, 10, 3), date(2026, 10, 30)))
    assert business_minutes(MONTH, ZONE, closed) == 21 * 600
    spells = business_spells(MONTH, ZONE, closed)
    assert "2026-10-30" not in {f"{start:%Y-%m-%d}" for start in spells["start"]}
    every = BusinessHours(weekdays=EVERY_DAY, holidays=tuple(date(2026, 10, d) for d in range(1, 32)))
    assert len(business_spells(MONTH, ZONE, every)) == 0


@settings(max_examples=30)
@given(
    st.sampled_from([*ODD_ZONES, "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "UTC"]),
    st.tuples(st.integers(1975, 2036), st.integers(1, 12)),
    st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True).map(sorted),
    st.sets(st.integers(0, 6), min_size=1),
)
def test_business_time_is_what_the_clock_shows(
    zone: str, month: tuple[int, int], hours: list[int], days: set[int]
):
    """In any zone and month the spells are the minutes at which the clock shows a business minute."""
    name = f"{month[0]}-{month[1]:02}"
    business = BusinessHours(*(time(*divmod(m, 60)) for m in hours), weekdays=tuple(sorted(days)))
    first, last = (bound.to_pydatetime() for bound in month_bounds(name, zone))
    clock = ZoneInfo(zone)
    count = int((last - first) / MINUTE)
    shown = ((first + n * MINUTE).astimezone(clock) for n in range(count))
    expected = sum(s.weekday() in days and business.start <= s.time() < business.end for s in shown)
    spells = business_spells(name, zone, business)
    assert business_minutes(name, zone, business) == expected
    assert (spells["start"].to_numpy()[1:] > spells["end"].to_numpy()[:-1]).all()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_a_device_that_is_always_busy_is_used_all_business_hours(zone: str):
    """Ten devices busy all the time use all business hours of ten devices, also at 08:30 and in DST months."""
    business = BusinessHours(time(8, 30), time(17, 15))
    bins = hour_bins(MONTH, zone)
    hours = 10 * (bins["end"] - bins["start"]) / pd.Timedelta(hours=1)
    hourly = pd.DataFrame({"datetime": bins["start"].dt.tz_convert(zone), "total_time_hours": hours})
    used = business_hours_used(hourly, month=MONTH, timezone=zone, business=business)
    available = business_minutes(MONTH, zone, business) / 60
    assert utilisation(used, devices=10, available_hours=available) == pytest.approx(1)


def test_hours_that_are_whole_in_utc_count_by_their_overlap():
    """In India an hour bin from 08:30 to 09:30 is half a business hour when the lab opens at 09:00."""
    stamps = pd.date_range("2026-10-05 03:00", periods=3, freq="h", tz="UTC").tz_convert("Asia/Kolkata")
    hourly = pd.DataFrame({"datetime": stamps, "total_time_hours": [4.0, 2.0, 1.0]})
    business = BusinessHours(time(9), time(18))
    assert business_hours_used(hourly, month=MONTH, timezone="Asia/Kolkata", business=business) == 5


def test_hours_of_other_months_and_of_the_night_do_not_count():
    """Bins of the month before, at night and on holidays add nothing; a bin that is missing makes it unknown."""
    stamps = [
        "2026-09-30 10:00",
        "2026-10-05 07:00",
        "2026-10-05 08:00",
        "2026-10-06 08:00",
        "2026-11-02 10:00",
    ]
    hourly = pd.DataFrame({"datetime": pd.DatetimeIndex(stamps).tz_localize(ZONE), "total_time_hours": 1.0})
    closed = BusinessHours(holidays=(date(2026, 10, 6),))
    assert business_hours_used(hourly, month=MONTH, timezone=ZONE, business=closed) == 1
    hourly.loc[2, "total_time_hours"] = float("nan")
    unknown = business_hours_used(hourly, month=MONTH, timezone=ZONE, business=closed)
    assert utilisation(unknown, devices=1, available_hours=220) is None


def test_utilisation_needs_all_its_parts():
    """Without hours, devices or available time there is no utilisation; no use of something is 0."""
    assert utilisation(0.0, devices=3, available_hours=745) == 0
    assert utilisation(None, devices=3, available_hours=745) is None
    assert utilisation(5.0, devices=None, available_hours=745) is None
    assert utilisation(5.0, devices=0, available_hours=745) is None
    assert utilisation(5.0, devices=3, available_hours=0) is None


def test_the_scene_crosses_a_change_of_the_clock():
    """The worlds of these tests lie on both sides of the end of summer time."""
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert moment(0) < change < moment(TICKS)
