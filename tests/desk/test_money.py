"""What a month costs and what the next may bring, on hand-made and on random labs."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usagekit.analysis import money
from usagekit.analysis.forecast import forecast
from usagekit.analysis.money import showback
from usagekit.analysis.wording import NARROW, NBSP
from usagekit.errors import QueryError, SchemaError
from usagekit.period import BusinessHours

NAMES = ["NA", "R&D / Café", "チーム", "<script>", '#read("x")', "unused", "no team", "x" * 10_000]


def teams(*hours: float) -> pd.DataFrame:
    return pd.DataFrame({"team": NAMES[: len(hours)], "total_time_hours": hours})


def costs(table: pd.DataFrame) -> list[str]:
    return [str(cost) for cost in table["cost"]]


def test_used_bills_what_is_used() -> None:
    """Two devices of 745 h at 1000: a team pays for its share of all device time, the rest is one line."""
    table = showback(teams(149.0, 298.0), price="1000", roster_size=2, elapsed_hours=745)
    assert costs(table) == ["100.00", "200.00", "700.00"]
    assert table["kind"].tolist() == ["team", "team", "unused"]
    assert table["team"].isna().tolist() == [False, False, True]
    assert table["total_time_hours"].tolist() == [149, 298, 1043]
    assert table["share"].tolist() == pytest.approx([0.1, 0.2, 0.7])


def test_all_in_bills_everything() -> None:
    """The whole price goes over the hours used; no line is unused."""
    table = showback(
        teams(149.0, 298.0), price=Decimal("1000.01"), roster_size=2, elapsed_hours=745, mode="all-in"
    )
    assert costs(table) == ["333.34", "666.67"]


def test_cents_go_to_the_largest_remainders() -> None:
    """Of three equal teams the first gets the odd cent; with unequal remainders the largest does."""
    even = showback(teams(1, 1, 1), price=1, roster_size=1, elapsed_hours=3, mode="all-in")
    assert costs(even) == ["0.34", "0.33", "0.33"]
    odd = showback(teams(10, 26, 64), price="0.05", roster_size=1, elapsed_hours=100, mode="all-in")
    assert costs(odd) == ["0.01", "0.01", "0.03"]


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8),
    st.integers(0, 10**9),
    st.integers(1, 500),
    st.sampled_from(["used", "all-in"]),
)
def test_costs_add_up_to_the_cent(hours: list[float], cents: int, roster: int, mode: money.Mode) -> None:
    """Whatever the hours, the costs are whole cents, add up to the price and are a cent at most from exact."""
    price = Decimal(cents).scaleb(-2)
    table = showback(teams(*hours), price=price, roster_size=roster, elapsed_hours=745, mode=mode)
    assert sum(table["cost"]) == price
    assert table["team"].dropna().tolist() == NAMES[: len(hours)]
    assert table["share"].sum() == pytest.approx(1)
    for share, cost in zip(table["share"], table["cost"], strict=True):
        assert cost >= 0
        assert abs(float(cost) - share * cents / 100) <= 0.01 + 1e-6 * cents


@pytest.mark.parametrize("mode", money.MODES)
def test_a_month_without_usage_is_unused(mode: money.Mode) -> None:
    """Without any hours the price is not lost: all of it is unused."""
    for frame in (teams(0, 0), teams()):
        table = showback(frame, price=7, roster_size=3, elapsed_hours=720, mode=mode)
        assert table["kind"].iloc[-1] == "unused"
        assert table["cost"].iloc[-1] == sum(table["cost"]) == 7


def test_more_hours_than_devices_leave_nothing_unused() -> None:
    """Sessions that overlap on a device never make the unused line negative."""
    table = showback(teams(300, 100), price=8, roster_size=1, elapsed_hours=200)
    assert costs(table) == ["6.00", "2.00", "0.00"]


def test_rows_of_no_team_are_billed_as_rows() -> None:
    """The rows of a team table keep their kind; a rest below zero costs nothing."""
    frame = teams(100, 50).assign(kind=["team", "no team"])
    frame.loc[2] = [None, -10.0, "unattributed"]
    table = showback(frame, price=30, roster_size=1, elapsed_hours=300)
    assert table["kind"].tolist() == ["team", "no team", "unattributed", "unused"]
    assert costs(table) == ["10.00", "5.00", "0.00", "15.00"]


@pytest.mark.parametrize("price", ["-1", "1.005", "NaN", "Infinity", "many", ""])
def test_a_price_is_an_amount(price: str) -> None:
    """What is no amount in cents is refused by name."""
    with pytest.raises(QueryError) as caught:
        showback(teams(1), price=price, roster_size=1, elapsed_hours=1)
    assert caught.value.parameter == "price"


def test_hours_that_cannot_be_billed() -> None:
    """Missing or negative hours of a team, a missing column, no roster or an unknown mode is an error."""
    for hours in (float("nan"), -1.0):
        with pytest.raises(SchemaError, match="cannot be billed"):
            showback(teams(hours), price=1, roster_size=1, elapsed_hours=1)
    with pytest.raises(SchemaError) as caught:
        showback(teams(1)[["team"]], price=1, roster_size=1, elapsed_hours=1)
    assert caught.value.missing == ("total_time_hours",)
    with pytest.raises(QueryError, match="roster"):
        showback(teams(1), price=1, roster_size=0, elapsed_hours=1)
    with pytest.raises(QueryError, match="mode"):
        showback(teams(1), price=1, roster_size=1, elapsed_hours=1, mode="some")  # type: ignore[arg-type]


def months(**hours: float) -> pd.DataFrame:
    stamps = pd.to_datetime([f"{name[1:].replace('_', '-')}-01" for name in hours])
    return pd.DataFrame({"datetime": stamps, "total_time_hours": list(hours.values())})


def test_forecast_by_business_days() -> None:
    """Rates of 10, 12 and 11 h per business day: the median times the 20 days of April, and their band."""
    usage = months(m2022_12=9.0, m2023_01=220.0, m2023_02=240.0, m2023_03=253.0)
    found = forecast(usage, month="2023-03", business=BusinessHours())
    assert found is not None
    assert (found.month, found.hours, found.low, found.high) == ("2023-04", 220, 200, 240)
    told = found.basis.replace(NBSP, " ").replace(NARROW, " ")
    assert told == "11.0 h per business day, the median of January 2023 to March 2023, × 20 business days"
    holidays = BusinessHours(holidays=(date(2023, 4, 7), date(2023, 4, 10)))
    fewer = forecast(usage, month="2023-03", business=holidays)
    assert fewer is not None
    assert fewer.hours == pytest.approx(198)


def test_forecast_needs_four_months() -> None:
    """Three months of data, a missing month among the last three, or a change of eras: no forecast."""
    business = BusinessHours()
    three = months(m2023_01=220.0, m2023_02=240.0, m2023_03=253.0)
    assert forecast(three, month="2023-03", business=business) is None
    gap = months(m2022_11=9.0, m2022_12=9.0, m2023_01=220.0, m2023_02=float("nan"), m2023_03=253.0)
    assert forecast(gap, month="2023-03", business=business) is None
    legacy = months(m2022_07=9.0, m2022_08=9.0, m2022_09=220.0, m2022_10=200.0, m2022_11=253.0)
    assert forecast(legacy, month="2022-11", business=business) is None
    assert forecast(None, month="2023-03", business=business) is None


def test_a_month_of_nothing_is_a_rate_of_zero() -> None:
    """A month without usage counts as zero hours, not as a month that is missing."""
    usage = months(m2022_12=90.0, m2023_01=220.0, m2023_03=230.0)
    found = forecast(usage, month="2023-03", business=BusinessHours())
    assert found is not None
    assert (found.low, found.hours, found.high) == (0, 200, 200)


def test_a_lab_that_never_opens_has_no_rate() -> None:
    """Without business days there is nothing to count by."""
    usage = months(m2022_12=9.0, m2023_01=220.0, m2023_02=240.0, m2023_03=253.0)
    assert forecast(usage, month="2023-03", business=BusinessHours(weekdays=())) is None
