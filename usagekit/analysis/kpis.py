"""The five figures of a month against the months before it.

Three states are kept apart everywhere: a value, a true zero (asked, and nothing happened) and a missing
value (``None`` with a reason). A change is relative only when its base carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd

from usagekit.analysis.changes import change_text, small_bases
from usagekit.analysis.history import Values, by_month, comparable_history, has_year
from usagekit.analysis.months import business_days
from usagekit.analysis.wording import compared_texts, hours_text, minutes_text, value_text
from usagekit.period import BusinessHours, Period, parse_month, shift_month
from usagekit.vocabulary import CURRENT_ERA_START

NOT_KNOWN = "not recorded or not fetched"
MEAN_TOLERANCE = 0.01
DEFAULT_HOURS = BusinessHours()


@dataclass(frozen=True, slots=True)
class Kpi:
    """One key figure of a month.

    ``unit`` is ``h``, ``min``, ``share`` (0 to 1) or ``""`` for counts. ``history`` ends with ``value``;
    ``None`` is a missing value, and ``reason`` says why this month's is. ``change`` is written out:
    ``+30%``, ``+12 h``, ``−0.4 pp``, ``new``, ``almost unchanged``, ``unchanged`` or why there is none;
    empty when the value is missing. ``year_change`` says the same against the same month of last year.
    ``mark`` stands before the texts of a substitute (:mod:`usagekit.analysis.substitutes`), whose ``note`` says of what.
    """

    key: str
    label: str
    unit: str
    history: tuple[float | None, ...]
    change: str
    reason: str = ""
    note: str = ""
    year_change: str = ""
    mark: str = ""

    @property
    def value(self) -> float | None:
        return self.history[-1]

    @property
    def previous(self) -> float | None:
        return self.history[-2]

    @property
    def year_ago(self) -> float | None:
        return self.history[-13] if len(self.history) >= 13 else None

    @property
    def text(self) -> str:
        """The value as readers read it, – when missing."""
        return self._marked(self.value, compared_texts(self.value, self.previous, self.unit)[0])

    @property
    def previous_text(self) -> str:
        """The value of the month before, with as many decimals as ``text``."""
        return self._marked(self.previous, compared_texts(self.value, self.previous, self.unit)[1])

    @property
    def year_text(self) -> str:
        """The value of the same month of last year, – when missing."""
        ago = self.year_ago
        return "–" if ago is None else self._marked(ago, value_text(ago, self.unit))

    def _marked(self, value: float | None, text: str) -> str:
        return text if value is None else f"{self.mark}{text}"


def kpis(
    usage: pd.DataFrame | None,
    automated: pd.DataFrame | None,
    *,
    month: str,
    business: BusinessHours = DEFAULT_HOURS,
    era_start: date = CURRENT_ERA_START,
    partial: tuple[Period, Period] | None = None,
) -> tuple[Kpi, ...]:
    """Device hours, active users, sessions, mean session and automation share of a month.

    Parameters
    ----------
    usage
        one row a month of one team (or the whole lab) over the 13 months that end with ``month``: ``datetime``,
        ``total_time_hours`` (h), ``session_count``, ``user_count`` and, as a check,
        ``avg_session_minutes`` (min). A month without a row had no sessions. A column that is not
        there, or a frame that is None, could not be fetched: its figures are missing, not zero.
    automated
        the same for automated sessions; only ``total_time_hours``.
    month
        the month reported, ``YYYY-MM``.
    business
        the lab's business hours, for hours per business day.
    era_start
        months on the other side of this date are not comparable and count as missing.
    partial
        for a running month what :func:`usagekit.analysis.months.partial_days` says: the rows of the last two
        months then hold the same number of days each, and neither a year nor the whole months before compare.

    Notes
    -----
    mean session = 60 * hours / sessions (min), never a mean of means; automation share =
    automated hours / hours; change = (x - x0) / x0, in percentage points for the share. After
    x0 = 0 it is "new"; where x0 rests on fewer than 10 sessions or 5 h it is absolute. A year ago is never
    compared when that month was not recorded or lies before ``era_start``.

    Raises
    ------
    SchemaError : a frame has no ``datetime`` or several rows for one month.

    >>> usage = pd.DataFrame({"datetime": pd.to_datetime(["2023-02-01", "2023-03-01"]), "total_time_hours": [310.0, 402.5],
    ...                       "session_count": [930, 1150], "user_count": [36, 37]})
    >>> automated = usage[["datetime"]].assign(total_time_hours=[93.0, 161.0])
    >>> [(k.text.replace("\u00a0", " ").replace("\u202f", " "), k.change) for k in kpis(usage, automated, month="2023-03")]
    [('402 h', '+30%'), ('37', '+3%'), ('1 150', '+24%'), ('21 min', '+5%'), ('40%', '+10 pp')]
    """
    hours, sessions, counts = (
        comparable_history(usage, column, month=month, era_start=era_start)
        for column in ("total_time_hours", "session_count", "user_count")
    )
    by_automation = comparable_history(automated, "total_time_hours", month=month, era_start=era_start)
    hours, sessions, counts, by_automation = (
        compared(values, partial) for values in (hours, sessions, counts, by_automation)
    )
    # Sessions without any user are sessions whose users were not recorded, not sessions of nobody.
    users = [None if u == 0 and (s or h) else u for u, s, h in zip(counts, sessions, hours, strict=True)]
    means = [ratio(h, s, 60) for h, s in zip(hours, sessions, strict=True)]
    shares = [ratio(a, h) for a, h in zip(by_automation, hours, strict=True)]
    spans = partial or tuple(parse_month(shift_month(month, by)) for by in (-1, 0))
    small = small_bases(hours, sessions)
    rows = (
        ("hours", "Device hours", "h", hours, _per_business_day(hours, spans, business, small=small[0])),
        ("users", "Active users", "", users, ""),
        ("sessions", "Sessions", "", sessions, ""),
        ("mean_session", "Mean session", "min", means, _mean_note(means[-1], usage, month)),
        ("automation", "Automation share", "share", shares, ""),
    )
    idle = sessions[-1] == 0 or hours[-1] == 0
    year = has_year(month, partial, era_start=era_start)
    return tuple(
        make_kpi(
            (key, label, unit),
            values,
            small=small,
            year=year,
            reason="no sessions" if idle and unit in ("min", "share") else NOT_KNOWN,
            note=note,
        )
        for key, label, unit, values, note in rows
    )


def compared(values: Values, partial: tuple[Period, Period] | None) -> Values:
    """What compares: of a running month only its days and those of the month before, not the whole ones."""
    return values if partial is None else [*[None] * (len(values) - 2), *values[-2:]]


def make_kpi(
    name: tuple[str, str, str],
    values: Values,
    *,
    small: tuple[bool, bool] = (False, False),
    year: bool = True,
    reason: str = NOT_KNOWN,
    note: str = "",
) -> Kpi:
    """A figure from its 13 months.

    Parameters
    ----------
    name
        key, label and unit as :class:`Kpi` has them.
    values
        one a month, oldest first; None where there is none that compares.
    small
        whether the month before and the same month of last year rest on too little for a relative change.
    year
        whether last year compares at all.
    reason
        why this month has no value, if it has none.
    note
        what a reader must know beside the number.

    >>> make_kpi(("devices", "Devices used", ""), [12, *[None] * 10, 8, 10]).change
    '+25%'
    """
    key, label, unit = name
    value, before, ago = values[-1], values[-2], values[-13] if year else None
    change, year_change = (
        change_text(value, base, unit, small=little)
        for base, little in zip((before, ago), small, strict=True)
    )
    return Kpi(
        key, label, unit, tuple(values), change, "" if value is not None else reason, note, year_change
    )


def ratio(top: float | None, bottom: float | None, scale: float = 1) -> float | None:
    """The quotient times ``scale``; None where either is missing or the lower one is 0."""
    return scale * top / bottom if top is not None and bottom else None


def _per_business_day(
    hours: Values, spans: tuple[Period, ...], business: BusinessHours, *, small: bool
) -> str:
    (previous, value), (days_before, days) = hours[-2:], [business_days(span, business) for span in spans]
    if not value or not days:
        return ""
    rate = value / days
    base = previous / days_before if previous and days_before else None
    change = "" if small or not base else f" ({change_text(rate, base, 'h')})"
    return f"{hours_text(rate)} per business day{change}"


def _mean_note(mean: float | None, usage: pd.DataFrame | None, month: str) -> str:
    told = by_month(usage, "avg_session_minutes", [month])[-1]
    if mean is None or not told or abs(mean - told) <= MEAN_TOLERANCE * told:
        return ""
    return f"the API's own mean: {minutes_text(told)}"
