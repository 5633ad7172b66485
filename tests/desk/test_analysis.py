"""What the analysis says about hand-made months."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usagekit.analysis.changes import NO_COMPARISON
from usagekit.analysis.finding import change_split, finding
from usagekit.analysis.kpis import kpis
from usagekit.analysis.months import business_days_in, hours_in_month, weekday_hours
from usagekit.analysis.shape import daily_hours, top_rows, weekday_hour_profile
from usagekit.analysis.wording import NARROW, NBSP, hours_text, minutes_text, percent_text
from usagekit.errors import QueryError, SchemaError
from usagekit.period import BusinessHours, shift_month

MONTH = "2023-03"


def usage_frame(hours: dict[str, float], **columns: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"datetime": pd.to_datetime([f"{m}-01" for m in hours]).astype("datetime64[us]"), "team": "Payments"}
    )
    frame["total_time_hours"] = list(hours.values())
    return frame.assign(**columns)


def two_months(hours=(310.0, 402.5), sessions=(470, 610), users=(31, 37)) -> pd.DataFrame:
    return usage_frame(
        dict(zip(("2023-02", MONTH), hours, strict=True)),
        session_count=list(sessions),
        user_count=list(users),
    )


def hour_bins(start: str, end: str, zone: str, hours: float = 1.0) -> pd.DataFrame:
    stamps = pd.date_range(start, end, freq="h", tz="UTC", inclusive="left").tz_convert(zone)
    return pd.DataFrame({"datetime": stamps, "team": "Payments", "total_time_hours": hours})


def by_key(figures):
    return {k.key: k for k in figures}


def words(text: str) -> str:
    return text.replace(NBSP, " ").replace(NARROW, " ")


def test_mean_session_is_time_over_sessions():
    """The mean session comes from hours and sessions, never from the API's means; a deviation is noted."""
    usage = two_months(sessions=(470, 600)).assign(avg_session_minutes=[39.6, 55.0])
    mean = by_key(kpis(usage, None, month=MONTH))["mean_session"]
    assert mean.value == pytest.approx(402.5 * 60 / 600)
    assert words(mean.note) == "the API's own mean: 55 min"


def test_an_agreeing_mean_is_not_noted():
    """Within 1 % of the API's own mean nothing is said."""
    usage = two_months().assign(avg_session_minutes=[39.6, 39.7])
    assert by_key(kpis(usage, None, month=MONTH))["mean_session"].note == ""


def test_value_zero_and_missing_are_three_states():
    """A month without a row is zero; a column that was not fetched is missing with a reason; neither is the other."""
    usage = usage_frame({"2023-02": 12.0}, session_count=[20])
    figures = by_key(kpis(usage, usage.iloc[:0], month=MONTH))
    assert (figures["hours"].value, figures["hours"].text, figures["hours"].change) == (
        0,
        f"0{NBSP}h",
        "−100%",
    )
    assert (figures["users"].value, figures["users"].text, figures["users"].change) == (None, "–", "")
    assert figures["users"].reason
    assert (figures["mean_session"].value, figures["mean_session"].reason) == (None, "no sessions")
    assert figures["automation"].reason == "no sessions"


def test_a_month_not_fetched_is_missing():
    """NaN in a row and a frame that is None are missing values, not zeros."""
    usage = two_months(hours=(310.0, float("nan")))
    assert by_key(kpis(usage, None, month=MONTH))["hours"].value is None
    assert {k.value for k in kpis(None, None, month=MONTH)} == {None}


def test_sessions_without_users_do_not_mean_zero_users():
    """Where sessions carry no user the number of users is unknown."""
    assert by_key(kpis(two_months(users=(31, 0)), None, month=MONTH))["users"].value is None


@pytest.mark.parametrize(
    ("hours", "sessions", "change"),
    [
        ((310.0, 402.5), (470, 610), "+30%"),
        ((402.5, 310.0), (610, 470), "−23%"),
        ((310.0, 310.5), (470, 470), "+0.2%"),
        ((310.0, 310.1), (470, 470), "almost unchanged"),
        ((310.0, 310.0), (470, 470), "unchanged"),
        ((0.0, 402.5), (0, 610), "new"),
        ((4.9, 20.0), (30, 30), "+15.1 h"),
        ((50.0, 20.0), (9, 30), "−30.0 h"),
    ],
)
def test_change_follows_its_base(hours, sessions, change):
    """Relative where the base carries it, absolute on a small base, "new" after zero."""
    figures = by_key(kpis(two_months(hours, sessions), None, month=MONTH))
    assert words(figures["hours"].change) == change


def test_share_changes_in_points():
    """The automation share moves in percentage points."""
    automated = usage_frame({"2023-02": 62.0, MONTH: 120.75})
    share = by_key(kpis(two_months(), automated, month=MONTH))["automation"]
    assert (share.value, share.change) == (pytest.approx(0.3), "+10 pp")


def test_nothing_is_compared_across_the_eras():
    """Months before September 2022 count differently: no change, and gaps in the history."""
    usage = usage_frame({"2022-08": 100.0, "2022-09": 400.0}, session_count=[90, 600], user_count=[1, 30])
    hours = by_key(kpis(usage, None, month="2022-09"))["hours"]
    assert hours.change == NO_COMPARISON
    assert hours.history[:-1] == (None,) * 12
    legacy = by_key(kpis(usage, None, month="2022-08"))["hours"]
    assert (legacy.previous, legacy.change) == (0, "new")
    assert kpis(usage, None, month="2022-09", era_start=date(2022, 8, 1))[0].previous == 100


def test_more_than_one_team_is_an_error():
    """Rows of two teams are refused: distinct counts cannot be added up."""
    usage = pd.concat([two_months(), two_months()])
    with pytest.raises(SchemaError, match="one team"):
        kpis(usage, None, month=MONTH)


def test_hours_per_business_day_leave_out_holidays():
    """A holiday shortens the month that the hours are spread over."""
    hours = BusinessHours(holidays=(date(2023, 3, 1), date(2023, 3, 5)))
    assert business_days_in(MONTH, hours) == 22
    note = by_key(kpis(two_months(), None, month=MONTH, business=hours))["hours"].note
    assert words(note) == "18.3 h per business day (+18%)"


@given(st.lists(st.floats(0.1, 1e5), min_size=6, max_size=6))
def test_change_split_adds_up(values):
    """The three effects add up to the change of hours, whatever the numbers."""
    hours, users, sessions = values[:2], values[2:4], values[4:]
    effects = change_split(hours, users, sessions)
    assert sum(effects.values()) == pytest.approx(hours[1] - hours[0], abs=1e-6 * max(hours))


def test_change_split_needs_every_number():
    """With a zero or a missing value there is no split."""
    assert change_split([0.0, 5.0], [1, 1], [1, 1]) == {}
    assert change_split([3.0, 5.0], [None, 1], [1, 1]) == {}


def found(usage: pd.DataFrame | None) -> str:
    return words(finding(kpis(usage, None, month=MONTH), month=MONTH))


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        ((0, 0), "No usage in March 2023."),
        ((96.04, 0), "No usage in March 2023. February 2023 had 96.0 h."),
        ((0, 402.4), "402 h of device time in March 2023, unusual after none in February 2023."),
        ((310, 402.6), "Hours +30% against February 2023 (310 h to 403 h), mostly more sessions per user."),
        ((310, 320), "Steady: 320 h (+3% against February 2023)."),
        ((20, 29), "29.0 h (+45% against February 2023)."),
    ],
)
def test_finding_of_two_months(hours, sentence):
    """With little history, a change counts from 25 % and 10 h on."""
    sessions = (400 * (hours[0] > 0), 560 * (hours[1] > 0))
    assert found(two_months(hours, sessions, users=(31, 33))) == sentence


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (310, "Steady: 310 h, within its usual range (256–344 h), unchanged against February 2023."),
        (225 + 35, "Steady: 260 h, within its usual range (256–344 h), −16% against February 2023."),
        (
            500,
            "Hours +61% against February 2023 (500 h, above its usual range of 256–344 h), mostly more users.",
        ),
        (
            155,
            "Hours −50% against February 2023 (155 h, below its usual range of 256–344 h), mostly fewer users.",
        ),
    ],
)
def test_finding_knows_the_usual_range(last, sentence):
    """With six months of history the usual range decides: median and spread of the months before."""
    months = ["2022-09", "2022-10", "2022-11", "2022-12", "2023-01", "2023-02", MONTH]
    hours = [280.0, 290.0, 300.0, 310.0, 300.0, 310.0, last]
    usage = usage_frame(
        dict(zip(months, hours, strict=True)),
        session_count=[2 * h for h in hours],
        user_count=[h / 10 for h in hours],
    )
    assert found(usage) == sentence


def test_finding_without_numbers():
    """Without the hours the sentence says so; without comparable months it does not compare."""
    assert found(None).startswith("The device hours of March 2023 are not available")
    usage = usage_frame({"2022-09": 40.0}, session_count=[90], user_count=[3])
    told = finding(kpis(usage, None, month="2022-09"), month="2022-09")
    assert words(told) == "40.0 h of device time in September 2022; there is no comparable month before."


def test_daily_hours_follow_the_local_date():
    """An hour at 23:00 UTC belongs to the next day in Berlin; the sum stays; a missing day is NaN, not 0."""
    hourly = pd.DataFrame(
        {
            "datetime": pd.to_datetime(["2023-02-28T22:00Z", "2023-02-28T23:00Z", "2023-03-05T12:00Z"]),
            "total_time_hours": [1.0, 2.0, 4.0],
        }
    )
    daily = daily_hours(hourly, month=MONTH, timezone="Europe/Berlin").set_index("date")
    assert daily.loc["2023-03-01", "total_time_hours"] == 2
    assert daily.loc["2023-03-28", "previous_hours"] == 1
    assert daily["total_time_hours"].sum() == 6
    assert daily["previous_hours"].isna().sum() == 3
    assert bool(daily.loc["2023-03-05", "weekend"]) is True


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("month", ["2023-03", "2023-04", "2023-10", "2026-11"])
def test_one_busy_device_is_one_everywhere(zone, month):
    """A device that is always busy gives exactly 1 in every cell, also where the clock changes."""
    first, last = (pd.Timestamp(f"{shift_month(month, by)}-15", tz="UTC") for by in (-1, 1))
    # Quarters of an hour, so that bins fit zones with half-hour offsets and changes.
    stamps = pd.date_range(first, last, freq="15min", inclusive="left")
    hourly = pd.DataFrame({"datetime": stamps.tz_convert(zone), "total_time_hours": 0.25})
    profile = weekday_hour_profile(hourly, month=month, timezone=zone)
    assert profile.shape == (7, 24)
    assert profile.to_numpy() == pytest.approx(1)


def test_skipped_hours_shrink_the_month():
    """Hours of a month are elapsed hours: 743 and 745 around changes of the clock, 744.5 in Lord Howe."""
    assert hours_in_month("2023-03", "Europe/Berlin") == 743
    assert hours_in_month("2023-10", "Europe/Berlin") == 745
    assert hours_in_month("2023-04", "Australia/Lord_Howe") == 720.5
    cells = weekday_hours("2023-10", "Europe/Berlin")
    assert (cells.loc[6, 2], cells.loc[6, 3], cells.to_numpy().sum()) == (6, 5, 745)


def test_profile_leaves_out_other_months():
    """Hours of the month before do not count into the profile."""
    hourly = hour_bins("2023-02-01", "2023-02-28", "UTC")
    assert weekday_hour_profile(hourly, month=MONTH, timezone="UTC").to_numpy().sum() == 0


def test_top_rows_add_up_and_keep_names():
    """The rest is one row, so that hours and shares add up; a device called NA stays; ties go by name."""
    usage = pd.DataFrame({"device_model": ["b", "a", "NA", "idle"], "total_time_hours": [2.0, 2.0, 6.0, 0.0]})
    top = top_rows(usage, "device_model", top=2)
    assert top["device_model"].tolist() == ["NA", "a", ""]
    assert top["rank"].tolist() == [1, 2, 0]
    assert top["groups"].tolist() == [1, 1, 1]
    assert top["total_time_hours"].sum() == 10
    assert top["share"].sum() == pytest.approx(1)


def test_frames_without_rows_or_columns():
    """A frame without rows gives zeros and empty tables; one without its columns names them."""
    empty = pd.DataFrame({"datetime": [], "device_model": [], "total_time_hours": []})
    assert daily_hours(empty, month=MONTH, timezone="UTC")["total_time_hours"].sum() == 0
    assert weekday_hour_profile(empty, month=MONTH, timezone="UTC").to_numpy().max() == 0
    assert len(top_rows(empty, "device_model")) == 0
    with pytest.raises(SchemaError) as caught:
        daily_hours(pd.DataFrame({"datetime": []}), month=MONTH, timezone="UTC")
    assert caught.value.missing == ("total_time_hours",)


def test_months_are_strict():
    """Only YYYY-MM is a month."""
    for wrong in ("2023-3", "2023-13", "March", "2023-03-01"):
        with pytest.raises(QueryError):
            shift_month(wrong, 1)


def test_numbers_never_round_something_to_nothing():
    """Rounding keeps the difference between nothing, something and all."""
    assert [percent_text(v) for v in (0, 1e-9, 0.9999, 1)] == ["0%", "<1%", ">99%", "100%"]
    assert words(hours_text(1234.4)) == "1 234 h"
    assert [words(hours_text(v)) for v in (0, 0.01, 99.94, 99.95)] == ["0 h", "<0.1 h", "99.9 h", "100 h"]
    assert [words(minutes_text(v)) for v in (0, 9.4, 59.4, 59.6, 119.9)] == [
        "0 min",
        "9.4 min",
        "59 min",
        "1 h 00",
        "2 h 00",
    ]
