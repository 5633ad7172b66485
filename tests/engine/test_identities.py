"""The six identities of docs/semantics.md: what must hold between answers, whatever the lab."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import session
from tests.oracle import Lab
from tests.oracle_bins import DAY, date_start
from tests.strategies import ERA_START, Scene, labs, ranges, scenes, stored
from usagekit.engine import local
from usagekit.engine.store import Store
from usagekit.query import UsageQuery
from usagekit.vocabulary import BIN_SIZES, ROUTES

pytestmark = pytest.mark.slow

FEW = settings(max_examples=40)


def microseconds(store: Store, query: UsageQuery, *columns: str) -> Counter[tuple[str | None, ...]]:
    """Exact total time in microseconds by the values of ``columns``, over all rows."""
    scale = 60_000_000 if query.bin_size == "hour" else 3_600_000_000
    totals: Counter[tuple[str | None, ...]] = Counter()
    for row in local.usage(store, replace(query, metric="total_time")).iter_rows(named=True):
        totals[tuple(row[c] for c in columns)] += round(row["total_time"] * scale)
    return totals


def counts(store: Store, query: UsageQuery, *columns: str) -> dict[tuple[str | None, ...], int]:
    """The value of a count metric by the values of ``columns``, which identify a row."""
    rows = local.usage(store, query).to_dicts()
    found = {tuple(row[c] for c in columns): int(row[query.metric]) for row in rows}
    assert len(found) == len(rows)
    return found


@st.composite
def cases(draw: st.DrawFn, *, max_days: int = 40) -> tuple[Scene, Lab, UsageQuery]:
    """A lab and a question about its total time, in any zone and range."""
    scene = draw(scenes())
    start, end = draw(ranges(scene, max_days=max_days))
    by = draw(st.sampled_from(list(ROUTES)))
    query = UsageQuery(
        by=by, start=start, end=end, timezone=scene.zone, bin_size=draw(st.sampled_from(BIN_SIZES))
    )
    return scene, draw(labs(scene.near, max_sessions=12)), query


@st.composite
def era_cases(draw: st.DrawFn) -> tuple[Lab, Lab, UsageQuery]:
    """A legacy lab and a current one that meet at the change of the era, and a range of dates (UTC) around it."""
    legacy = draw(labs(ERA_START - 3 * DAY, era="legacy", max_sessions=12))
    current = draw(labs(ERA_START + 3 * DAY, era="current", max_sessions=12))
    start = ERA_START.date() - draw(st.integers(1, 500)) * DAY
    end = ERA_START.date() + draw(st.integers(0, 60)) * DAY
    return (
        legacy,
        current,
        UsageQuery(start=start, end=end, bin_size=draw(st.sampled_from(["day", "week", "month"]))),
    )


@FEW
@given(case=cases())
def test_bins_add_up_to_one_bin(case: tuple[Scene, Lab, UsageQuery]) -> None:
    """Total time over the bins is the same for every bin size, so also as in one bin, for every row's key."""
    _, lab, query = case
    with stored(lab) as store:
        sums = [
            microseconds(store, replace(query, bin_size=size), *query.group_columns) for size in BIN_SIZES
        ]
    assert all(+s == +sums[0] for s in sums)


@FEW
@given(case=cases(max_days=27), data=st.data())
def test_ranges_add_up_to_the_month_that_holds_them(
    case: tuple[Scene, Lab, UsageQuery], data: st.DataObject
) -> None:
    """Two ranges that meet make the whole: cut at any date, the parts of a month sum to its only bin."""
    _, lab, query = case
    start = query.start.replace(day=1)
    end = (start + 31 * DAY).replace(day=1) - DAY
    cut = start + data.draw(st.integers(0, (end - start).days - 1)) * DAY
    whole = replace(query, start=start, end=end, bin_size="month")
    with stored(lab) as store:
        assert len({row["datetime"] for row in local.usage(store, whole).to_dicts()}) <= 1
        parts = [replace(query, start=start, end=cut), replace(query, start=cut + DAY, end=end)]
        summed = sum((microseconds(store, part, *query.group_columns) for part in parts), Counter())
        assert summed == +microseconds(store, whole, *query.group_columns)


@FEW
@given(case=era_cases())
def test_each_dimension_sums_to_the_total_in_the_current_era(case: tuple[Lab, Lab, UsageQuery]) -> None:
    """Teams, users, devices, hosts, countries, models and pairs each sum to the whole lab's time, bin by bin."""
    _, lab, query = case
    with stored(lab) as store:
        total = microseconds(store, query, "datetime")
        for by in ROUTES:
            assert microseconds(store, replace(query, by=by), "datetime") == total, by


@FEW
@given(case=era_cases())
def test_teams_and_users_sum_to_the_total_in_the_legacy_era(case: tuple[Lab, Lab, UsageQuery]) -> None:
    """Before the change the lab's time is that of the teams plus that of the users, bin by bin."""
    lab, _, query = case
    with stored(lab) as store:
        total = microseconds(store, query, "datetime")
        parts = [microseconds(store, replace(query, by=by), "datetime") for by in ("team", "user")]
        assert +(parts[0] + parts[1]) == +total


@FEW
@given(case=era_cases())
def test_a_range_across_the_change_is_checked_in_two_parts(case: tuple[Lab, Lab, UsageQuery]) -> None:
    """Cut at 2022-09-01 UTC, each part keeps its own era's rule and the parts make the whole."""
    legacy, current, query = case
    renamed = [s | {"session_id": f"new {s['session_id']}"} for s in current.sessions]
    lab = Lab(sessions=legacy.sessions + renamed)
    before = replace(query, end=ERA_START.date() - DAY)
    after = replace(query, start=ERA_START.date())

    with stored(lab) as store:
        total, early, late = (microseconds(store, q).total() for q in (query, before, after))
        teams, users = (microseconds(store, replace(before, by=by)).total() for by in ("team", "user"))
        assert early == teams + users
        assert [microseconds(store, replace(after, by=by)).total() for by in ("team", "user")] == [late, late]
        assert total == early + late


@FEW
@given(case=cases())
def test_automated_and_manual_make_both(case: tuple[Scene, Lab, UsageQuery]) -> None:
    """Time and sessions of automation and of hands sum to those of both, in every row."""
    _, lab, query = case
    keys = ("datetime", *query.group_columns)
    kinds = [replace(query, automated=automated) for automated in (True, False)]
    with stored(lab) as store:
        times = [microseconds(store, kind, *keys) for kind in kinds]
        assert +(times[0] + times[1]) == +microseconds(store, query, *keys)
        sessions = [
            Counter(counts(store, replace(q, metric="session_count"), *keys)) for q in (*kinds, query)
        ]
        assert sessions[0] + sessions[1] == sessions[2]


@FEW
@given(case=cases())
def test_total_is_count_times_mean(case: tuple[Scene, Lab, UsageQuery]) -> None:
    """In one whole bin whose ends no session crosses, hours = sessions x mean minutes / 60, in every row."""
    scene, lab, query = case
    start = query.start.replace(day=1)
    end = (start + 31 * DAY).replace(day=1) - DAY
    low, high = date_start(scene.zone, start), date_start(scene.zone, end + DAY)
    inside = [s for s in lab.sessions if not _crosses(s["start_time"], s["end_time"], low, high)]
    whole = replace(query, start=start, end=end, bin_size="month")
    with stored(replace(lab, sessions=inside)) as store:
        answers = [
            local.usage(store, replace(whole, metric=metric)).to_dicts()
            for metric in ("total_time", "session_count", "avg_session_length")
        ]
    for total, count, mean in zip(*answers, strict=True):
        assert [total[c] for c in query.group_columns] == [count[c] for c in query.group_columns]
        product = count["session_count"] * mean["avg_session_length"] / 60
        assert total["total_time"] == pytest.approx(product, rel=1e-12, abs=0)


def _crosses(start: datetime, end: datetime | None, low: datetime, high: datetime) -> bool:
    return end is not None and (start < low < end or start < high < end)


@FEW
@given(case=cases(), metric=st.sampled_from(["session_count", "device_count", "user_count", "team_count"]))
def test_distinct_counts_lie_between_largest_and_sum(
    case: tuple[Scene, Lab, UsageQuery], metric: str
) -> None:
    """A count over all bins is at least that of any bin and at most their sum; the same holds over groups."""
    _, lab, query = case
    start = query.start.replace(day=1)
    month = replace(
        query, start=start, end=(start + 31 * DAY).replace(day=1) - DAY, bin_size="month", metric=metric
    )
    with stored(lab) as store:
        whole = counts(store, month, *query.group_columns)
        daily = counts(store, replace(month, bin_size="day"), "datetime", *query.group_columns)
        lab_wide = counts(store, replace(month, by="")).get((), 0)
    for key, count in whole.items():
        parts = [n for (_, *rest), n in daily.items() if tuple(rest) == key]
        assert max(parts) <= count <= sum(parts)
    assert max(whole.values(), default=0) <= lab_wide


def test_counts_do_not_add_up() -> None:
    """One session over midnight is one session, device, user and team, though each of two days has one."""
    lab = Lab(sessions=[session(1, "2023-03-01 23:00", "2023-03-02 01:00")])
    first, last = date(2023, 3, 1), date(2023, 3, 2)
    with stored(lab) as store:
        for metric in ("session_count", "device_count", "user_count", "team_count"):
            query = UsageQuery(start=first, end=last, metric=metric)
            assert counts(store, query, "datetime") == {("2023-03-01",): 1}
            days = {(f"{first + n * timedelta(days=1)}",): 1 for n in range(2)}
            assert counts(store, replace(query, bin_size="day"), "datetime") == days
