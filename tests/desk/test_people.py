"""Who is new, who comes regularly and on how few the hours rest, on hand-made months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import prod
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usagekit.analysis.concentration import concentration, effective_number
from usagekit.analysis.people import Regulars, hours_by_person, is_person, user_flow, weeks_to_regular
from usagekit.errors import QueryError, SchemaError
from usagekit.lab import Lab
from usagekit.period import shift_month, trailing_months

MONTH = "2023-03"
NASTY = ["NA", "R&D / Café", "チーム", "🦊", "<script>", '#read("x")', "null", "a" * 10_000]


def users_of(months: dict[str | None, list[str]], hours: float = 1.0) -> pd.DataFrame:
    """One row for each email and month in which it was active."""
    rows = [(f"{m}-01", f"name in {m}", email, hours) for email, active in months.items() for m in active]
    frame = pd.DataFrame(rows, columns=["datetime", "user", "email", "total_time_hours"])
    return frame.astype({"datetime": "datetime64[us]", "email": "str", "total_time_hours": "float64"})


def events_of(starts: dict[str | None, list[str]], hours: float = 1.0) -> pd.DataFrame:
    """Sessions of emails that start at times of the clock in Berlin."""
    local = ZoneInfo("Europe/Berlin")
    begun = [
        (e, datetime.fromisoformat(t).replace(tzinfo=local)) for e, times in starts.items() for t in times
    ]
    rows = [(email, t.astimezone(UTC), t.astimezone(UTC) + timedelta(hours=hours)) for email, t in begun]
    frame = pd.DataFrame(rows, columns=["email", "start_time", "end_time"])
    return frame.astype(
        {"email": "str", "start_time": "datetime64[us, UTC]", "end_time": "datetime64[us, UTC]"}
    )


def regulars(users: pd.DataFrame, events: pd.DataFrame) -> Regulars | None:
    return weeks_to_regular(users, events, month=MONTH, timezone="Europe/Berlin")


def test_flow_tells_who_came_and_who_left():
    """New, returning and revived make up the active users; lapsed were there in both months before."""
    flow = user_flow(
        users_of(
            {
                "new@x": ["2023-03"],
                "long-ago@x": ["2022-02", "2023-03"],  # 13 months before: not looked at
                "year-ago@x": ["2022-03", "2023-03"],
                "paused@x": ["2023-01", "2023-03"],
                "stayed@x": ["2023-02", "2023-03"],
                "lapsed@x": ["2023-01", "2023-02"],
                "once@x": ["2023-02"],
                "gone@x": ["2022-12", "2023-01"],
            }
        ),
        month=MONTH,
    )
    assert (flow.active, flow.new, flow.returning, flow.revived, flow.lapsed) == (5, 2, 1, 2, 1)
    assert dict(flow.emails) == {
        "active": ("long-ago@x", "new@x", "paused@x", "stayed@x", "year-ago@x"),
        "new": ("long-ago@x", "new@x"),
        "returning": ("stayed@x",),
        "revived": ("paused@x", "year-ago@x"),
        "lapsed": ("lapsed@x",),
    }
    assert flow.known_months == 4


def test_active_users_are_those_of_the_lab(local: Lab) -> None:
    """The flow of a lab has as many active users as its own count of users."""
    users = local.usage(("2022-03", "2023-03"), by="user").df
    told = local.usage("2023-03", metric="user_count").df["user_count"][0]
    flow = user_flow(users, month=MONTH)
    assert flow.active == told > 10
    assert flow.known_months == 12
    assert hours_by_person(users, month=MONTH).index.tolist() == list(flow.emails["active"])


def test_emails_are_not_on_show():
    """Printing the flow, the regulars or a concentration shows counts, and nobody's email."""
    users = users_of({"ana@secret": ["2022-12", "2023-03"]})
    hours = hours_by_person(users, month=MONTH)
    shown = f"{user_flow(users, month=MONTH)} {regulars(users, events_of({}))} {concentration(hours)}"
    assert "secret" not in shown
    assert concentration(hours).top_name == "ana@secret"


def test_a_new_name_is_no_new_person():
    """Somebody renamed keeps their email and returns; somebody else of the same name is another person."""
    users = users_of({"ana@x": ["2023-02", "2023-03"], "other@x": ["2023-03"]}).assign(
        user=["Ana", "Anna", "Anna"]
    )
    flow = user_flow(users, month=MONTH)
    assert (flow.active, flow.returning, flow.new) == (2, 1, 1)


def test_no_email_is_nobody():
    """Usage without an email is counted in hours of its own and is no person, wherever it occurs."""
    users = users_of(
        {"N/A": ["2023-02", "2023-03"], None: ["2023-03"], "": ["2023-03"], "ana@x": ["2023-03"]}, 2.5
    )
    flow = user_flow(users, month=MONTH)
    assert (flow.active, flow.new, flow.unnamed_hours, flow.known_months) == (1, 1, 7.5, 0)
    assert hours_by_person(users, month=MONTH).to_dict() == {"ana@x": 2.5}


def test_nasty_emails_stay_apart():
    """Whatever an email looks like, it is one person and comes back unchanged."""
    assert is_person(pd.Series(NASTY)).all()
    flow = user_flow(users_of({name: [MONTH] for name in NASTY}), month=MONTH)
    assert flow.emails["new"] == tuple(sorted(NASTY))


def test_zero_rows_of_known_users_are_no_use():
    """A row with zero is no activity; a session of no length is, where sessions are counted."""
    users = users_of({"ana@x": ["2023-03"], "bo@x": ["2023-03"]}, hours=0.0)
    assert user_flow(users, month=MONTH).active == 0
    assert user_flow(users.assign(session_count=[1, 0]), month=MONTH).emails["active"] == ("ana@x",)


def test_not_fetched_is_not_nobody():
    """Without the frame there is no flow; with an empty one there are zero users."""
    assert user_flow(None, month=MONTH) is None
    assert user_flow(users_of({}), month=MONTH).active == 0
    assert weeks_to_regular(None, events_of({}), month=MONTH, timezone="UTC") is None
    assert weeks_to_regular(users_of({}), None, month=MONTH, timezone="UTC") is None
    with pytest.raises(SchemaError, match="email"):
        user_flow(users_of({}).drop(columns="email"), month=MONTH)
    with pytest.raises(QueryError, match="month"):
        user_flow(users_of({}), month="March")


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.integers(0, 14).map(lambda back: shift_month(MONTH, -back)))
    )
)
def test_flow_matches_the_rule(months):
    """For any history every user is where the definitions put them."""
    flow = user_flow(users_of(months), month=MONTH)
    window = trailing_months(MONTH)
    expected = {"new": 0, "returning": 0, "revived": 0, "lapsed": 0}
    for active in months.values():
        now, before, two, earlier = (m in active for m in (MONTH, "2023-02", "2023-01", "2022-12"))
        seen = any(m in active for m in window[:-2])
        expected["lapsed"] += two and before and not now
        expected["returning"] += now and before
        expected["revived"] += now and not before and seen
        expected["new"] += now and not before and not seen
        assert seen >= (two or earlier)
    assert {name: getattr(flow, name) for name in expected} == expected
    assert flow.active == flow.new + flow.returning + flow.revived


def test_weeks_are_counted_to_the_first_pair():
    """From the week of the first session to the first of two weeks in a row; who has no such pair is not yet there."""
    users = users_of(
        {
            "old@x": ["2022-12", "2023-03"],
            **{f"{n}@x": ["2023-03"] for n in ("once", "slow", "late", "robot")},
            "early@x": ["2023-01", "2023-02"],
        }
    )
    events = events_of(
        {
            "old@x": ["2023-03-06 09:00", "2023-03-13 09:00"],
            "once@x": ["2023-03-06 09:00", "2023-03-08 09:00"],
            "slow@x": ["2023-03-05 09:00", "2023-03-15 09:00", "2023-03-20 09:00"],  # Sunday, then 2 weeks on
            "late@x": ["2023-03-08 09:00", "2023-03-22 09:00"],
            "early@x": ["2023-01-31 09:00", "2023-02-07 09:00", "2023-02-14 09:00"],
        }
    )
    assert regulars(users, events) == Regulars(
        starters=5, regular=2, not_yet=2, unseen=1, median_weeks=1.0
    )  # early after 0 weeks, slow after 2


def test_weeks_begin_on_local_mondays():
    """Sunday 23:30 and Monday 0:30 in Berlin are two weeks, although both are Sunday in UTC."""
    users = users_of({"old@x": ["2022-12"], "new@x": ["2023-03"]})
    events = events_of({"new@x": ["2023-03-12 22:30", "2023-03-13 00:30"]}, hours=0.25)
    assert regulars(users, events).regular == 1
    assert weeks_to_regular(users, events, month=MONTH, timezone="UTC").regular == 0


def test_a_session_over_midnight_uses_both_weeks():
    """Use is time: a session into Monday is use of two weeks, one that ends at Monday 0:00 is not."""
    users = users_of({"old@x": ["2022-12"], "new@x": ["2023-03"]})
    for start, hours, regular in (("2023-03-12 23:00", 1.5, 1), ("2023-03-12 23:00", 1.0, 0)):
        assert regulars(users, events_of({"new@x": [start]}, hours)).regular == regular
    # No length at Monday 0:00 is use of the week that begins.
    at_midnight = events_of({"new@x": ["2023-03-13 00:00"]}, hours=0)
    before = events_of({"new@x": ["2023-03-12 09:00"]})
    assert regulars(users, pd.concat([at_midnight, before])).median_weeks == 0


def test_use_after_the_month_is_not_looked_at():
    """A session that reaches into the next month says nothing about its weeks."""
    # April 2023 begins on a Saturday; the first week after it on Monday the 3rd.
    users = users_of({"old@x": ["2022-12"], "new@x": ["2023-03"]})
    events = events_of({"new@x": ["2023-03-31 20:00"]}, hours=80)
    assert regulars(users, events) == Regulars(1, 0, 1, 0, None)
    for early, late in (("2023-03-22", "2023-04-01"), ("2023-03-28", "2023-04-05")):
        assert regulars(users, events_of({"new@x": [early, late]})).regular == 0


def test_starters_need_months_before():
    """Where the first of the three months is the first with users, nobody can be called new."""
    recent = {"a@x": ["2023-01"], "b@x": ["2023-03"]}
    events = events_of({"b@x": ["2023-03-06 09:00", "2023-03-13 09:00"]})
    assert regulars(users_of(recent), events) is None
    assert regulars(users_of(recent | {"c@x": ["2022-12"]}), events).starters == 2
    assert regulars(users_of(recent | {"N/A": ["2022-12"]}), events) is None


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 88), max_size=8)))
def test_weeks_match_the_rule(days):
    """For any days of use the outcome is that of the rule, user by user."""
    first = datetime(2023, 1, 2, 12, tzinfo=UTC)  # a Monday; day n is in week n // 7
    events = events_of(
        {e: [f"{first + timedelta(days=d):%Y-%m-%d %H:%M}" for d in sorted(ds)] for e, ds in days.items()}
    )
    users = users_of({"old@x": ["2022-12"]} | {email: ["2023-01"] for email in days})
    waits, unseen = [], 0
    for used in days.values():
        weeks = {d // 7 for d in used}
        pairs = [w - min(weeks) for w in weeks if w + 1 in weeks]
        waits += [min(pairs, default=None)] if weeks else []
        unseen += not weeks
    known = sorted(w for w in waits if w is not None)
    found = regulars(users, events)
    assert (found.starters, found.regular, found.unseen) == (len(days), len(known), unseen)
    assert found.not_yet == len(waits) - len(known)
    assert found.median_weeks == (pd.Series(known).median() if known else None)


@given(st.integers(1, 200), st.floats(1e-3, 1e6))
def test_equal_members_count_fully(members, hours):
    """n members with the same hours are n effective members, also beside idle ones."""
    assert effective_number(pd.Series([hours] * members + [0.0])) == pytest.approx(members)


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=20))
def test_effective_number_is_between_one_and_all(hours):
    """It is the product of p ** -p over all members, at least 1 and at most their number, at any scale."""
    found = effective_number(pd.Series(hours))
    total = sum(hours)
    assert found == pytest.approx(prod((h / total) ** (-h / total) for h in hours))
    assert 1 - 1e-9 <= found <= len(hours) + 1e-9
    assert effective_number(pd.Series(hours) * 60) == pytest.approx(found)


def test_concentration_by_hand():
    """Half the hours on one of three: 2 ** 1.5 effective members; equals are named in order, values of one added."""
    few = concentration(pd.Series([1.0, 1.0, 1.0, 1.0, 0.0], index=["c", "b", "a", "c", "idle"]))
    assert (few.members, few.effective, few.top_name, few.top_share) == (3, pytest.approx(2**1.5), "c", 0.5)
    alike = pd.Series(1.0, index=[f"{n:02}" for n in reversed(range(40))])
    assert concentration(alike).top_name == "00"


def test_concentration_without_time():
    """Without time there is no top member; hours without a name belong to no member."""
    none = concentration(pd.Series([0.0], index=["a"]))
    assert (none.members, none.effective, none.top_name, none.top_share) == (0, 0, None, None)
    named = concentration(pd.Series([5.0, 1.0], index=[None, "NA"]))
    assert (named.members, named.top_name, named.top_share) == (1, "NA", 1)
    assert effective_number(pd.Series([], dtype="float64")) == 0
