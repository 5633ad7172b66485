"""Lengths, holds, spikes, false starts and the teams of sessions, on hand-made lists."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from math import inf, sqrt
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usagekit.analysis.attribution import attribute_teams, coverage, team_sessions
from usagekit.analysis.false_starts import FalseStarts, false_starts, suspect_devices, wilson_lower
from usagekit.analysis.holds import duration_spikes, hold_summary, holds
from usagekit.analysis.months import month_bounds
from usagekit.analysis.sessions import month_sessions, session_lengths, session_mix
from usagekit.errors import QueryError, SchemaError
from usagekit.lab import Lab

NASTY = ["NA", "R&D / Café", "チーム", "🦊", "<script>", '#read("x")', "null", "a" * 10_000]
COLUMNS = ["email", "team", "automated", "device_address", "start_time", "end_time"]


def session(start: str | datetime, seconds: float, **values: object) -> dict[str, object]:
    """A session of Ana by hand on one phone, but for ``values``; the start is in UTC."""
    begun = datetime.fromisoformat(start) if isinstance(start, str) else start
    begun = begun.replace(tzinfo=begun.tzinfo or UTC)
    row = {"email": "ana@x", "team": None, "automated": False, "device_address": "1@lab"}
    row |= {"start_time": begun, "end_time": begun + timedelta(seconds=seconds)}
    return row | values


def events_of(*rows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    kinds = dict.fromkeys(("email", "team", "device_address"), "str")
    kinds |= {"automated": "bool"} | dict.fromkeys(("start_time", "end_time"), "datetime64[us, UTC]")
    return frame.astype(kinds)


def of_lengths(*seconds: float, **values: object) -> pd.DataFrame:
    return events_of(*(session("2023-03-06 09:00", s, **values) for s in seconds))


def in_march(events: pd.DataFrame) -> pd.DataFrame:
    return month_sessions(events, month="2023-03", timezone="Europe/Berlin")


# Both ends of March 2023 in Berlin, and the change of its clock, in UTC.
EDGES = ["2023-02-28 23:00", "2023-03-31 22:00", "2023-03-26 01:00"]
around = st.builds(
    lambda edge, quarters, seconds, automated: session(
        datetime.fromisoformat(edge) + timedelta(minutes=15 * quarters), seconds, automated=automated
    ),
    st.sampled_from(EDGES),
    st.integers(-40, 40),
    st.sampled_from([-900, 0, 30, 900, 3600, 4 * 3600, 6 * 3600, 10 * 3600, 36 * 3600]),
    st.booleans(),
)


@given(st.lists(around, max_size=12))
def test_a_month_holds_what_overlaps_it(rows):
    """A session belongs to every month it takes time of, one of no length to that of its start, and is cut there."""
    found = in_march(events_of(*rows))
    first, last = (b.to_pydatetime() for b in month_bounds("2023-03", "Europe/Berlin"))
    expected = []
    for row in rows:
        start, end = row["start_time"], row["end_time"]
        if (start == end and first <= start < last) or max(start, first) < min(end, last):
            expected.append((max(start, first), min(end, last)))
    assert [tuple(pair) for pair in found[["start", "end"]].itertuples(index=False)] == expected


def test_the_borders_of_a_month():
    """The first instant belongs to the month, the last does not; ending at the first is not being in it."""
    first, last = (f"{b:%Y-%m-%d %H:%M}" for b in month_bounds("2023-03", "Europe/Berlin"))
    assert len(in_march(events_of(session(first, 0)))) == 1
    assert in_march(events_of(session(last, 0), session(last, 60), session("2023-02-28 22:59", 60))).empty


def test_a_month_is_what_the_lab_says(local: Lab) -> None:
    """Sessions and hours of a month cut from the list are those that the lab counts, to the microsecond."""
    told = local.usage("2023-03", metric=["session_count", "total_time"]).df
    found = in_march(local.events("2023-02", "2023-03"))
    assert len(found) == told["session_count"][0] > 100
    seconds = (found["end"] - found["start"]).dt.total_seconds().sum()
    assert seconds == pytest.approx(3600 * told["total_time_hours"][0], abs=1e-6)


def test_sessions_without_an_end_count_nowhere():
    """An open session and one that ends before it starts are in no list and no figure."""
    events = events_of(session("2023-03-06 09:00", -5), session("2023-03-06 09:00", 0, end_time=pd.NaT))
    assert in_march(events).empty
    assert false_starts(events) == FalseStarts(0, 0, None, 0)
    assert suspect_devices(events).empty
    assert duration_spikes(events).empty


def test_lengths_tell_automation_apart():
    """Percentiles are interpolated linearly, by hand and automated each for itself and for all together."""
    manual = of_lengths(*(60 * m for m in (10, 20, 30, 40, 50)))
    table = session_lengths(in_march(pd.concat([manual, of_lengths(30, 9 * 3600, automated=True)])))
    rows = table.set_index("kind")
    assert rows.loc["manual", "sessions":"p99_minutes"].tolist() == pytest.approx([5, 30, 46, 49.6])
    assert rows.loc["automated", "p50_minutes":].tolist() == pytest.approx(
        [270.25, 486.05, 534.605, 0.5, 0.5]
    )
    assert rows.loc["all", "sessions":"p50_minutes"].tolist() == [7, 30]
    assert rows.loc["manual", ["under_minute_share", "over_8h_share"]].tolist() == [0, 0]


def test_no_sessions_have_no_lengths():
    """Without sessions there are three rows with zero sessions, and nothing is invented."""
    table = session_lengths(in_march(events_of()))
    assert table["sessions"].tolist() == [0, 0, 0]
    assert table.drop(columns=["kind", "sessions"]).isna().all(axis=None)


def test_sixty_seconds_are_a_minute_and_eight_hours_are_not_over():
    """Under a minute means under 60 s, no length included; over 8 h means more than 8 h."""
    row = session_lengths(in_march(of_lengths(0, 59.999999, 60, 8 * 3600, 8 * 3600 + 1))).iloc[2]
    assert (row["under_minute_share"], row["over_8h_share"]) == (0.4, 0.2)


def test_lengths_are_cut_at_the_month():
    """A session that reaches out of the month counts there with the time inside."""
    table = session_lengths(in_march(events_of(session("2023-03-31 21:00", 10 * 3600))))
    assert table["p50_minutes"][0] == 60


def test_mix_has_five_buckets():
    """Each session is in one bucket; the borders 1, 10 and 30 min begin one, 120 min ends one."""
    seconds = [0, 59, 60, 599, 600, 1799, 1800, 7200, 7200.000001, 9000]
    table = session_mix(in_march(of_lengths(*seconds)))
    assert table["sessions"].tolist() == [2, 2, 2, 2, 2]
    assert table["share"].tolist() == [0.2] * 5
    assert table["total_time_hours"].sum() == pytest.approx(sum(seconds) / 3600)
    empty = session_mix(in_march(events_of()))
    assert (empty["sessions"].sum(), empty["share"].isna().all(), len(empty)) == (0, True, 5)


@given(st.lists(around, max_size=20))
def test_mix_adds_up(rows):
    """The buckets hold every session and every hour of the month."""
    found = in_march(events_of(*rows))
    table = session_mix(found)
    assert table["sessions"].sum() == len(found) == session_lengths(found)["sessions"][2]
    assert table["total_time_hours"].sum() == pytest.approx(
        (found["end"] - found["start"]).dt.total_seconds().sum() / 3600
    )


def test_users_of_one_team_give_it_their_sessions():
    """Only who is in exactly one team lends it to their sessions, whatever the team is called."""
    emails = [f"{n}@x" for n in range(len(NASTY))]
    users = pd.DataFrame(
        {"team": [*NASTY, *NASTY[:2], "QA", None], "email": [*emails, "0@x", "1@x", "1@x", "2@x"]}
    )
    events = events_of(
        *(session("2023-03-06 09:00", 60, email=e) for e in [*emails, "nobody@x"]),
    )
    found = attribute_teams(events, users)
    assert found["team"].iloc[:1].tolist() == ["NA"]
    assert found["team"].iloc[2:-1].tolist() == NASTY[2:]
    assert found["team"].iloc[[1, -1]].isna().all()
    assert events["team"].isna().all()


def test_a_team_is_never_guessed():
    """Automated sessions keep their own team or none, and no email is nobody's, even if a list has it."""
    users = pd.DataFrame({"team": ["QA", "QA", "QA", "QA"], "email": ["ana@x", "N/A", "", None]})
    events = events_of(
        session("2023-03-06 09:00", 60, automated=True, email=None, team="Web"),
        session("2023-03-06 09:00", 60, automated=True, team=None),
        session("2023-03-06 09:00", 60, team="Own"),
        *(session("2023-03-06 09:00", 60, email=e) for e in ("N/A", "", None)),
    )
    events.index = [0] * len(events)
    assert attribute_teams(events, users)["team"].fillna("-").tolist() == ["Web", "-", "Own", "-", "-", "-"]
    assert attribute_teams(events, None)["team"].fillna("-").tolist() == ["Web", "-", "Own", "-", "-", "-"]


def test_little_coverage_hides_the_sessions():
    """A team's sessions are shown when those by hand cover 80 to 120 % of its hours by hand, else only the share."""
    rows = [session("2023-03-06 09:00", 3600 * h, team="QA") for h in (3, 5)]
    rows += [session("2023-03-06 09:00", 3600 * 90, team="QA", automated=True)]
    rows += [session("2023-03-06 09:00", 3600 * 9), session("2023-03-06 09:00", 60, team="Web")]
    found = in_march(events_of(*rows))
    for hours, shown in ((10.0, True), (10.1, False), (6.7, True), (6.6, False)):
        result = team_sessions(found, team="QA", manual_hours=hours)
        assert result.coverage == pytest.approx(8 / hours)
        assert (result.sessions is not None and len(result.sessions) == 3) is shown
    assert team_sessions(found, team="QA", manual_hours=None).sessions is None
    assert coverage(found, team="QA", team_hours=float("nan")) is None
    assert coverage(found, team="QA", team_hours=0.0) == inf
    assert coverage(found, team="Nobody", team_hours=0.0) == 1


def test_hold_hours_are_what_lies_above_the_usual_length():
    """A session by hand over 4 h is a hold, exactly 4 h is none; its hold hours begin after the usual length."""
    events = events_of(
        session("2023-03-06 08:00", 4 * 3600, device_address="exact@lab"),
        session("2023-03-06 08:00", 4 * 3600 + 36, device_address="long@lab"),
        session("2023-03-06 08:00", 9 * 3600, device_address="robot@lab", automated=True),
        session("2023-03-06 08:00", 5 * 3600, device_address="longer@lab"),
    )
    where = {"month": "2023-03", "timezone": "UTC"}
    found = holds(events, **where, hours_95=3.0)
    assert found["device_address"].tolist() == ["longer@lab", "long@lab"]
    assert found["hold_hours"].tolist() == pytest.approx([2, 1.01])
    assert found["hours"].tolist() == pytest.approx([5, 4.01])
    assert not found["overnight"].any()
    assert "email" not in found
    summary = hold_summary(events, **where, hours_95=3.0)
    assert (summary.sessions, summary.hold_hours, summary.manual_hours) == pytest.approx((2, 3.01, 13.01))
    assert summary.share == pytest.approx(3.01 / 13.01)


def test_the_usual_length_is_the_95th_percentile_by_hand():
    """Unless it is given, the usual length comes from the month's sessions by hand, by linear interpolation."""
    rows = [session("2023-03-06 08:00", 3600)] * 20
    rows += [session("2023-03-07 08:00", 21 * 3600), session("2023-03-07 08:00", 90 * 3600, automated=True)]
    rows += [session("2023-02-07 08:00", 99 * 3600)]
    summary = hold_summary(events_of(*rows), month="2023-03", timezone="UTC")
    # Position 0.95 * 20 = 19 of 0..20: the last session of one hour.
    assert (summary.hours_95, summary.sessions, summary.hold_hours, summary.manual_hours) == (1, 1, 20, 41)


def test_no_sessions_by_hand_have_no_share():
    """Without sessions by hand there is no usual length and no share, but zero hold hours."""
    events = events_of(session("2023-03-06 08:00", 90 * 3600, automated=True))
    summary = hold_summary(events, month="2023-03", timezone="UTC")
    assert (summary.sessions, summary.hold_hours, summary.share, summary.hours_95) == (0, 0, None, None)


@pytest.mark.parametrize(
    ("start", "end", "overnight"),
    [
        ("2023-03-26 00:00", "2023-03-26 06:00", True),  # 5 h: the clock skips 2:00
        ("2023-03-26 00:00:01", "2023-03-26 06:00", False),
        ("2023-03-26 00:00", "2023-03-26 05:59:59", False),
        ("2023-10-29 00:00", "2023-10-29 06:00", True),  # 7 h
        ("2023-10-28 23:59", "2023-10-29 05:59", False),  # 7 h as well
        ("2023-10-28 12:00", "2023-10-30 12:00", True),
    ],
)
def test_nights_follow_the_local_clock(start, end, overnight):
    """A night is 0:00 to 6:00 of the local clock, also when it has five or seven hours."""
    berlin = ZoneInfo("Europe/Berlin")
    begun, over = (datetime.fromisoformat(t).replace(tzinfo=berlin).astimezone(UTC) for t in (start, end))
    events = events_of(session(begun, (over - begun).total_seconds()))
    found = holds(events, month=start[:7], timezone="Europe/Berlin", hours_95=1)
    assert found["overnight"].tolist() == [overnight]
    assert str(found["start"][0].tz) == "Europe/Berlin"


def test_a_short_night_is_a_hold():
    """Where the clock skips three hours of a night, covering it is a hold although it lasts less than 4 h."""
    # Antarctica/Casey went from 0:01 to 3:01 on 4 October 2020.
    casey = ZoneInfo("Antarctica/Casey")
    begun = datetime(2020, 10, 4, tzinfo=casey).astimezone(UTC)
    over = datetime(2020, 10, 4, 6, tzinfo=casey).astimezone(UTC)
    assert over - begun < timedelta(hours=4)
    events = events_of(session(begun, (over - begun).total_seconds()))
    assert holds(events, month="2020-10", timezone="Antarctica/Casey")["overnight"].tolist() == [True]


@pytest.mark.parametrize(
    ("zone", "begins", "ends"),
    [
        ("America/Havana", "2023-03-12 05:00", "2023-03-12 10:00"),  # from 1:00, there is no 0:00
        ("America/Havana", "2023-11-05 04:00", "2023-11-05 11:00"),  # from the first of two 0:00
        ("Pacific/Apia", "2011-12-30 10:00", "2011-12-30 16:00"),  # the 31st; there was no 30th
    ],
)
def test_nights_without_or_with_two_midnights(zone, begins, ends):
    """Where midnight is skipped or comes twice, the night starts with the date."""
    begun, over = (datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (begins, ends))
    seconds = (over - begun).total_seconds()
    rows = [
        session(begun, seconds),
        session(begun, seconds - 1),
        session(begun + timedelta(seconds=1), seconds),
    ]
    found = holds(events_of(*rows), month=begins[:7], timezone=zone, hours_95=1)
    assert found["overnight"].sum() == 1


def slow_holds(rows, month, zone, hours_95):
    """The rule itself, session by session and night by night."""
    first, last = (b.to_pydatetime() for b in month_bounds(month, zone))
    local, found = ZoneInfo(zone), []
    for row in rows:
        start, end = row["start_time"], row["end_time"]
        if row["automated"] or not max(start, first) < min(end, last):
            continue
        nights = [
            tuple(datetime.combine(date(2023, 3, d), time(h), local).astimezone(UTC) for h in (0, 6))
            for d in range(1, 32)
        ]
        overnight = any(start <= dusk and end >= dawn for dusk, dawn in nights)
        if overnight or end - start > timedelta(hours=4):
            begun = max(start + timedelta(hours=hours_95), start, first)
            held = max((min(end, last) - begun).total_seconds(), 0) / 3600
            found.append((held, overnight))
    return sorted(found)


@given(st.lists(around, max_size=12), st.sampled_from([0.0, 2.5, 8.0]))
def test_holds_match_the_rule(rows, hours_95):
    """Whatever the sessions, holds, hold hours and nights are those of the rule applied one by one."""
    found = holds(events_of(*rows), month="2023-03", timezone="Europe/Berlin", hours_95=hours_95)
    ours = sorted(zip(found["hold_hours"], found["overnight"], strict=True))
    expected = slow_holds(rows, "2023-03", "Europe/Berlin", hours_95)
    assert [o for _, o in ours] == [o for _, o in expected]
    assert [h for h, _ in ours] == pytest.approx([h for h, _ in expected])


def test_hold_hours_of_two_months_add_up():
    """A hold across the end of a month has its hours once, part in each month."""
    events = events_of(session("2023-03-31 10:00", 40 * 3600))
    parts = [
        holds(events, month=month, timezone="UTC", hours_95=6.0)["hold_hours"].sum()
        for month in ("2023-03", "2023-04")
    ]
    assert parts == [8, 26]


def test_a_timeout_is_a_spike():
    """More than 5 % of the sessions within 2 s of one length are a spike; exactly 5 %, or 3 s off, are none."""
    others = [1000 + 7 * n for n in range(94)]
    table = duration_spikes(of_lengths(*others, 600, 600, 600, 602, 598, 599))
    assert table.to_numpy().tolist() == [[600, 6, 0.06]]
    assert duration_spikes(of_lengths(*others, 500, 600, 600, 602, 598, 599)).empty
    assert duration_spikes(of_lengths(*others, 600, 600, 600, 602, 598, 597)).empty
    assert duration_spikes(of_lengths(*others, 600, 600, 600, 602, 602.000001, 599)).empty


def test_an_ordinary_length_is_no_spike():
    """Seven in 5 s are over 5 % of a hundred, and no spike beside three in the 5 s before or after; beside two they are."""
    others, spike = [2000 + 50 * n for n in range(90)], [600] * 7
    for side in (-1, 1):
        beside = [600 + side * away for away in (3, 5, 7)]
        assert duration_spikes(of_lengths(*others, *spike, *beside)).empty
        far = [600 + side * away for away in (3, 5, 8)]
        assert duration_spikes(of_lengths(*others, *spike, *far))["sessions"].tolist() == [7]
    # A common length hides no spike elsewhere.
    common, odd = [600] * 12 + [603] * 5, [900] * 8
    table = duration_spikes(of_lengths(*others[:60], *common, *odd))
    assert table[["seconds", "sessions"]].to_numpy().tolist() == [[900, 8]]


def test_two_spikes_share_no_session():
    """Each timeout is named by its most frequent length, and neighbours of it are no second spike."""
    table = duration_spikes(
        of_lengths(*[1800] * 8, *[1801] * 10, *[1802] * 7, *[60] * 9, *range(3000, 3400, 20))
    )
    assert table[["seconds", "sessions"]].to_numpy().tolist() == [[1801, 25], [60, 9]]


def test_few_sessions_have_no_spike():
    """Under 20 sessions, and with under five alike, nothing is called a spike."""
    assert duration_spikes(of_lengths(*[600] * 19)).empty
    assert duration_spikes(of_lengths(*[600] * 20))["share"].tolist() == [1]
    assert duration_spikes(of_lengths(*[600] * 4, *range(1000, 1160, 10))).empty


def test_false_starts_are_judged_whole():
    """A long session that the month cuts to seconds is no false start; one of no length is."""
    events = in_march(
        events_of(
            session("2023-03-31 21:59:30", 7200),
            session("2023-03-06 09:00", 0),
            session("2023-03-06 10:00", 59),
            session("2023-03-06 11:00", 60),
        )
    )
    assert false_starts(events) == FalseStarts(sessions=4, count=2, share=0.5, bursts=0)


@pytest.mark.parametrize(
    ("seconds", "bursts"),
    [
        ([0, 300, 600], 1),
        ([0, 300, 600.000001], 0),
        ([0, 300], 0),
        ([0, 0, 0], 1),
        ([0, 300, 600, 900, 1200, 1500], 1),  # one long burst: each shares sessions with the next
        ([0, 100, 200, 2000, 2100, 2200], 2),
        ([600, 0, 300], 1),
        ([0, 100, 200, 801, 900, 1000], 2),  # 200 to 900 is over 10 min
    ],
)
def test_bursts_are_three_starts_in_ten_minutes(seconds, bursts):
    """Three false starts of one user within 10 min, the ends included, are a burst; bursts that touch are one."""
    begin = datetime(2023, 3, 6, 9, tzinfo=UTC)
    rows = [
        session(begin + timedelta(seconds=s), 20, device_address=f"{n}@lab") for n, s in enumerate(seconds)
    ]
    assert false_starts(events_of(*rows)).bursts == bursts


def test_bursts_are_of_one_user_or_one_team():
    """Bursts are by email, automated ones by team; nobody's sessions are in none, nor is a longer session."""

    def three(**values):
        return [session("2023-03-06 09:00", 20, **values)] * 3

    mixed = [session("2023-03-06 09:00", 20, email=f"{n}@x") for n in range(3)]
    assert false_starts(events_of(*mixed)).bursts == 0
    assert false_starts(events_of(*three(email="N/A"), *three(email=None), *three(email=""))).bursts == 0
    assert false_starts(events_of(*three(email=None, automated=True))).bursts == 0
    robots = [row for name in NASTY for row in three(email=None, automated=True, team=name)]
    assert false_starts(events_of(*robots)).bursts == len(NASTY)
    # Two by hand of an email and one automated of a team of that name are not three of one.
    same = [*three(email="QA")[:2], *three(email=None, automated=True, team="QA")[:1]]
    assert false_starts(events_of(*same)).bursts == 0
    assert false_starts(events_of(*three()[:2], session("2023-03-06 09:00", 60))).bursts == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a@x", "b@x", None])), max_size=25))
def test_bursts_match_the_rule(starts):
    """Bursts are the connected groups of windows of three, found here by joining windows one by one."""
    begin = datetime(2023, 3, 6, 9, tzinfo=UTC)
    rows = [session(begin + timedelta(minutes=m), 20, email=email) for m, email in starts]
    expected = 0
    for email in ("a@x", "b@x"):
        times = sorted(m for m, who in starts if who == email)
        groups: list[set[int]] = []
        for i in range(len(times) - 2):
            if times[i + 2] - times[i] <= 10:
                window = {i, i + 1, i + 2}
                if groups and groups[-1] & window:
                    groups[-1] |= window
                else:
                    groups.append(window)
        expected += len(groups)
    assert false_starts(events_of(*rows)).bursts == expected


@pytest.mark.parametrize(("count", "total", "bound"), [(10, 20, 0.29930), (1, 1, 0.20655), (20, 20, 0.83887)])
def test_wilson_bound(count, total, bound):
    """The bound solves |p - b| = z sqrt(b (1 - b) / n), as worked out by hand."""
    lower = wilson_lower(count, total)
    assert lower == pytest.approx(bound, abs=5e-6)
    assert count / total - lower == pytest.approx(1.959963984540054 * sqrt(lower * (1 - lower) / total))


def test_suspects_exceed_twice_the_fleet():
    """A device is suspect when the bound of its rate exceeds twice the fleet's, from 20 sessions on."""

    def device(name: str, short: int, long: int) -> list[dict[str, object]]:
        rows = [session("2023-03-06 09:00", 30, device_address=name)] * short
        return rows + [session("2023-03-06 09:00", 300, device_address=name)] * long

    fine = device("fine@lab", 5, 935)
    table = suspect_devices(
        events_of(*device("bad@lab", 10, 10), *device("few@lab", 19, 0), *fine, *device("チーム", 21, 0))
    )
    assert table["device_address"].tolist() == ["チーム", "bad@lab"]
    assert table.loc[1, ["sessions", "false_starts", "rate", "fleet_rate"]].tolist() == [20, 10, 0.5, 0.055]
    assert (table["lower"] > 2 * table["fleet_rate"]).all()
    # The bound of 10 of 20 is 0.2993: at a fleet rate of 0.15 that is not twice.
    assert suspect_devices(events_of(*device("bad@lab", 10, 10), *device("fine@lab", 5, 75))).empty
    assert suspect_devices(events_of(*device("fine@lab", 0, 40))).empty


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 59, 60, 600])), max_size=120))
def test_suspects_are_never_missed(sessions):
    """Counts and rates are those of the sessions, and no device with 20 sessions and twice the rate is left out."""
    table = suspect_devices(
        events_of(*(session("2023-03-06 09:00", s, device_address=d) for d, s in sessions))
    )
    fleet = sum(s < 60 for _, s in sessions) / len(sessions) if sessions else 0
    expected = {}
    for name in "abc":
        lengths = [s for d, s in sessions if d == name]
        short = sum(s < 60 for s in lengths)
        if len(lengths) >= 20 and wilson_lower(short, len(lengths)) > 2 * fleet:
            expected[name] = (len(lengths), short)
    found = {r.device_address: (r.sessions, r.false_starts) for r in table.itertuples()}
    assert found == expected


def test_missing_columns_are_named():
    """A frame without a column that is needed is refused, and the error names it."""
    for call in (session_lengths, session_mix, duration_spikes, false_starts, suspect_devices):
        with pytest.raises(SchemaError, match="lacks"):
            call(pd.DataFrame())
    with pytest.raises(SchemaError, match="automated"):
        holds(of_lengths(60).drop(columns="automated"), month="2023-03", timezone="UTC")
    with pytest.raises(QueryError, match="month"):
        holds(of_lengths(60), month="2023-3", timezone="UTC")
