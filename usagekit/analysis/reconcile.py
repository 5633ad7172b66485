"""The sums of a month held against its total, for a report; and what a total that has moved since says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Final

import pandas as pd

from usagekit.analysis.trust import BADGES, Part, eras, judged_parts
from usagekit.analysis.wording import hours_text, percent_text, signed
from usagekit.period import month_name, parse_month

RESTATED_SHARE: Final = 0.005
NOT_ASKED: Final = "not recorded or not fetched"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The worst of several sums: its ``badge`` (green, amber, red or missing) and its ``share`` of the total.

    ``share`` is None when no sum could be had.
    """

    badge: str
    share: float | None

    @property
    def red_share(self) -> float | None:
        """``share`` if the badge is red: then the numbers must not be trusted."""
        return self.share if self.badge == "red" else None

    @property
    def text(self) -> str:
        """The badge in words."""
        if self.share is None:
            return "Numbers could not be reconciled"
        if self.badge == "red":
            return f"Numbers do not reconcile ({share_text(self.share)})"
        # Upwards: what is 2.5 % off is not within 2 %.
        within = f"{ceil(100 * self.share)}%" if isfinite(self.share) else share_text(self.share)
        if self.badge == "amber":
            return f"Numbers differ by up to {within}"
        return f"Numbers reconcile within {within}" if self.share else "Numbers reconcile exactly"


def reconcile(
    total_hours: float,
    parts: Mapping[str, float | None],
    *,
    month: str,
    reasons: Mapping[str, str] | None = None,
    at_most_amber: Collection[str] = (),
) -> pd.DataFrame:
    """Hold the sums of a month against its total.

    Parameters
    ----------
    total_hours
        device hours (h) of the month as one number.
    parts
        the same time (h) added up otherwise, by name, such as ``teams`` or ``events``; None where it could not
        be asked. Before September 2022, when a session had a team or a user, ``teams`` and ``users``
        are one part.
    month
        ``YYYY-MM``.
    reasons
        why a part could not be asked.
    at_most_amber
        parts that may differ for good reasons, such as sessions * mean length, whose sessions start in the month.

    Returns
    -------
    What :func:`usagekit.analysis.trust.judged_parts` returns, a row a part in their order, and ``reason`` (empty for
    a part with a number).

    >>> rows = reconcile(400.0, {"teams": 400.0, "users": 390.0, "events": None}, month="2023-03")
    >>> rows[["part", "difference_hours", "badge"]].fillna(0).values.tolist()
    [['teams', 0.0, 'green'], ['users', -10.0, 'amber'], ['events', 0.0, 'missing']]
    """
    ((era, period),) = eras(parse_month(month))
    found, told = dict(parts), dict(reasons or {})
    if era == "legacy" and {"teams", "users"} <= found.keys():
        pair = [found.pop(name) for name in ("teams", "users")]
        both = [hours for hours in pair if hours is not None]
        found["teams + users"] = sum(both) if len(both) == 2 else None
        told["teams + users"] = told.get("teams") or told.get("users") or NOT_ASKED
    judged = [Part(name, hours) for name, hours in found.items()]
    rows = judged_parts(era, period, total=total_hours, parts=judged)
    rows["badge"] = rows["badge"].mask(
        rows["part"].isin(list(at_most_amber)) & (rows["badge"] == "red"), "amber"
    )
    missing = rows["badge"] == "missing"
    rows["reason"] = [told.get(name) or NOT_ASKED for name in rows["part"]]
    rows["reason"] = rows["reason"].astype("str").where(missing, "")
    return rows


def worst(rows: pd.DataFrame) -> Reconciled:
    """The worst row of :func:`reconcile`; a part that could not be asked says nothing.

    >>> worst(reconcile(400.0, {"teams": 400.0, "users": 390.0}, month="2023-03")).text
    'Numbers differ by up to 3%'
    """
    asked = rows[rows["badge"] != "missing"]
    if asked.empty:
        return Reconciled("missing", None)
    rank = asked["badge"].map({colour: place for place, colour in enumerate(BADGES)})
    worst_rows = asked[rank == rank.max()]
    return Reconciled(BADGES[int(rank.max())], float(worst_rows["difference_share"].abs().max()))


def share_text(share: float | None) -> str:
    """How far a sum is off the total, without a sign.

    >>> [share_text(s) for s in (0.0, 0.003, -0.07, None)]
    ['0%', '<1%', '7%', 'not known']
    """
    if share is None:
        return "not known"
    return percent_text(abs(share)) if isfinite(share) else "against a total of 0"


def restatement(before_hours: float, after_hours: float, *, month: str) -> str | None:
    r"""What a month says that was fetched again and has other hours (h) now; None within 0.5 %.

    >>> restatement(1204.0, 1219.0, month="2026-09").replace("\u202f", " ").replace("\u00a0", " ")
    'September 2026 restated 1 204 h → 1 219 h (+1%)'
    """
    change = after_hours - before_hours
    if abs(change) <= RESTATED_SHARE * before_hours:
        return None
    share = f" ({signed(percent_text(abs(change) / before_hours), change)})" if before_hours else ""
    return f"{month_name(month)} restated {hours_text(before_hours)} → {hours_text(after_hours)}{share}"
