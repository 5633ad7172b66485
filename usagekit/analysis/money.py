"""What each team's share of the lab costs, to the cent."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import isfinite
from typing import Final, Literal

import pandas as pd

from usagekit.errors import QueryError, SchemaError
from usagekit.values import one_of

Mode = Literal["used", "all-in"]
MODES: Final = ("used", "all-in")


def showback(
    teams_hours: pd.DataFrame,
    *,
    price: Decimal | int | str,
    roster_size: int,
    elapsed_hours: float,
    mode: Mode = "used",
) -> pd.DataFrame:
    """Split the price of a month over teams; the costs add up to the price exactly.

    Parameters
    ----------
    teams_hours
        one row a team: ``team``, ``total_time_hours`` (h) and, if there, ``kind``, as
        :func:`usagekit.analysis.team_table.team_table` has them. Rows are neither merged nor left out.
    price
        of the whole lab for the month, at most two decimals.
    roster_size
        devices of the lab, also those without usage.
    elapsed_hours
        elapsed time (h) of the month.
    mode
        ``used`` bills each team the device time it used and the rest as unused; ``all-in`` spreads the whole price
        over the hours used.

    Returns
    -------
    The rows in their order, and last what nobody used, if that is billed: ``team`` (missing in that row), ``kind``
    (``team`` unless given; ``unused`` in that row), ``total_time_hours`` (h), ``share`` of the price (0 to 1) and
    ``cost`` (Decimal, to the cent).

    Notes
    -----
    used: cost = price * hours / (devices * elapsed hours), and unused = price * the rest. More hours than devices
    * elapsed hours (sessions that overlap on a device) leave nothing unused, and cost as all-in:
    price * hours / sum of hours. Without any hours the whole price is unused. Cents that rounding down
    leaves go one each to the largest remainders (Hamilton's method), the earlier row first.

    Raises
    ------
    SchemaError : a column is missing, or hours are missing or negative.
    QueryError : the price is negative or no amount in cents, or there is nothing to spread it over.

    >>> hours = pd.DataFrame({"team": ["a", "b"], "total_time_hours": [100.0, 50.0]})
    >>> showback(hours, price="100", roster_size=1, elapsed_hours=300)["cost"].map(str).to_list()
    ['33.33', '16.67', '50.00']
    """
    one_of("mode", mode, MODES)
    missing = [c for c in ("team", "total_time_hours") if c not in teams_hours]
    if missing:
        raise SchemaError(f"the frame lacks {', '.join(missing)}", missing=missing)
    table = teams_hours[["team", "total_time_hours"]].reset_index(drop=True)
    table.insert(1, "kind", "team" if "kind" not in teams_hours else teams_hours["kind"].to_list())
    table["total_time_hours"] = table["total_time_hours"].astype(float)
    # A rest is negative where teams add up to more than the total; it costs nothing.
    billed = table["total_time_hours"].where(table["kind"] == "team", table["total_time_hours"].clip(lower=0))
    if not all(isfinite(h) and h >= 0 for h in billed):
        raise SchemaError("hours of a team are missing or negative: they cannot be billed")
    hours = [Fraction(h) for h in billed]
    used = sum(hours, Fraction(0))
    capacity = _capacity(roster_size, elapsed_hours) if mode == "used" else used
    unused = max(capacity - used, Fraction(0))
    if mode == "used" or not used:
        hours.append(unused)
        row = {"team": None, "kind": "unused", "total_time_hours": float(unused)}
        table = pd.concat([table, pd.DataFrame([row]).astype({"team": "str"})], ignore_index=True)
    if not any(hours):  # nobody used what cannot be measured: the price stays in the last row
        hours[-1] = Fraction(1)
    whole = sum(hours)
    table["share"] = [float(h / whole) for h in hours]
    table["cost"] = pd.Series(_split(_cents(price), hours), dtype="object")
    return table


def _split(cents: int, weights: list[Fraction]) -> list[Decimal]:
    whole = sum(weights)
    exact = [cents * weight / whole for weight in weights]
    parts = [int(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda n: parts[n] - exact[n])
    for place in order[: cents - sum(parts)]:
        parts[place] += 1
    return [Decimal(part).scaleb(-2) for part in parts]


def _capacity(roster_size: int, elapsed_hours: float) -> Fraction:
    if roster_size < 1 or not (isfinite(elapsed_hours) and elapsed_hours > 0):
        raise QueryError("mode 'used' needs a roster of devices and a month's hours", parameter="roster_size")
    return roster_size * Fraction(elapsed_hours)


def _cents(price: Decimal | int | str) -> int:
    try:
        cents = Decimal(str(price)).scaleb(2)
    except InvalidOperation:
        cents = Decimal("NaN")
    if not cents.is_finite() or cents < 0 or cents != cents.to_integral_value():
        raise QueryError(
            f"{str(price)[:40]!r} is not a price: 0 or more, at most two decimals", parameter="price"
        )
    return int(cents)
