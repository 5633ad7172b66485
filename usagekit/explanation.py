"""Why the hours of a month are others than those of the month before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from usagekit.errors import QueryError
from usagekit.period import Period, PeriodLike, month_of, parse_period
from usagekit.vocabulary import CURRENT_ERA_START
from usagekit.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.answer import Usage
    from usagekit.lab import Lab
    from usagekit.question import UsageOptions

_PARTS = {
    "team": ("team", "team"),
    "device": ("device", "device_address"),
    "model": ("devicemodel", "device_model"),
}
_METRICS = {"hours": "total_time", "users": "user_count", "sessions": "session_count"}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the hours of a month changed: ``sentence`` says it, ``df`` holds the parts.

    ``df`` has the change by ``factor`` (users, sessions per user, time per session), by team, device and model.
    The rows of a part add up to the change of the whole: ``part``, ``rank`` (0 is the rest), ``name``,
    ``before``, ``after``, ``unit``, ``change_hours`` (h), ``groups`` (how many the row stands for).
    """

    df: pd.DataFrame
    sentence: str
    as_of: datetime
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        from usagekit.figures.panels import frame_table, plain

        return plain(self.sentence, tables=[frame_table(self._named(), rows=len(self.df))], notes=self.notes)

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import frame_table, panel

        named = self._named()
        tables = [frame_table(named[named["part"] == part]) for part in dict.fromkeys(named["part"])]
        return panel(self.sentence, tables=tables, notes=self.notes)

    def _named(self) -> pd.DataFrame:
        """The rows as people read them: the rest by its size."""
        rest = self.df["groups"].map(lambda n: f"{n} others" if n else "without a name")
        named = self.df.assign(name=self.df["name"].where(self.df["rank"] > 0, rest))
        return named[["part", "name", "before", "after", "unit", "change_hours"]]


@waiting(0)
def explain(lab: Lab, month: PeriodLike, *, team: str | None) -> Explanation:
    """See :meth:`usagekit.lab.Lab.explain`."""
    import pandas as pd

    from usagekit.analysis.finding import change_split
    from usagekit.analysis.movers import factor_rows, movers

    span = parse_period(month, today=lab.today)
    if not span.month:
        raise QueryError(f"{span} is not one whole month: give one such as 2023-03", parameter="month")
    before = month_of(span.start, shift=-1)
    both = Period(before.start, span.end)
    only: UsageOptions = {} if team is None else {"team": team}
    whole = lab.usage(both, by="team" if team is not None else None, metric=list(_METRICS.values()), **only)
    values = [_values(whole, period) for period in (before, span)]
    notes = []
    parts = []
    if before.end < CURRENT_ERA_START <= span.start:
        notes.append("No split: before 2022-09 a session had a user or a team, never both.")
    else:
        pairs = [[v[name] for v in values] for name in _METRICS]
        split = change_split(*pairs)
        if not split:
            notes.append("No split into factors: a month without usage, or without recorded users, has none.")
        parts.append(factor_rows(split, *values))
        totals = (float(values[0]["hours"] or 0), float(values[1]["hours"] or 0))
        for part, (by, column) in _PARTS.items():
            if part == "team" and team is not None:
                continue
            try:
                found = _by(lab, both, by, team)
            except QueryError:  # the question is sound, so this is a snapshot that does not hold it
                notes.append(f"By {part}: not in this snapshot; ask connect() or open_store().")
                continue
            months = [found[found["datetime"] == pd.Timestamp(p.start)] for p in (before, span)]
            parts.append(movers(months[0], months[1], column=column, part=part, totals=totals))
    frame = pd.concat([p for p in parts if len(p)] or [factor_rows({}, {}, {})], ignore_index=True)
    sentence = _sentence(team, (before, span), values, frame, comparable=bool(parts))
    return Explanation(frame, sentence, whole.as_of, tuple(notes))


def _by(lab: Lab, both: Period, by: str, team: str | None) -> pd.DataFrame:
    if team is not None:
        return lab.usage(both, by=f"team/{by}", team=team).df
    # With its members the answer is that of the fleet's roster, which a snapshot holds.
    return lab.usage(both, by=by, display_all=by == "device").df


def _values(whole: Usage, period: Period) -> dict[str, float | None]:
    import pandas as pd

    rows = whole.df[whole.df["datetime"] == pd.Timestamp(period.start)]
    columns = {"hours": "total_time_hours", "users": "user_count", "sessions": "session_count"}
    return {name: float(rows[column].sum()) if len(rows) else 0.0 for name, column in columns.items()}


def _sentence(
    team: str | None,
    months: tuple[Period, Period],
    values: list[dict[str, float | None]],
    frame: pd.DataFrame,
    *,
    comparable: bool,
) -> str:
    from usagekit.analysis.wording import hours_text, percent_text, signed
    from usagekit.figures.escape import shown_name
    from usagekit.period import month_name

    who = "The lab" if team is None else shown_name(team)
    then, now = (month_name(str(p)) for p in months)
    h0, h1 = (float(v["hours"] or 0) for v in values)
    head = f"{who} used {hours_text(h1)} in {now}"
    if not comparable:
        return f"{head}; {then} does not compare."
    change = h1 - h0
    if not change:
        return f"{head}, as in {then}."
    # A share of next to nothing says nothing.
    small = h0 < 5 or (values[0]["sessions"] or 0) < 10
    share = "" if small else f" ({signed(percent_text(abs(change) / h0), change)})"
    text = f"{head}, {signed(hours_text(abs(change)), change)}{share} against {then}"
    same_way = frame[(frame["change_hours"] * change > 0) & (frame["rank"] > 0)]
    leading = same_way.loc[
        same_way.groupby("part", sort=False)["change_hours"].transform(lambda c: c.abs().max())
        == same_way["change_hours"].abs()
    ]
    told = [
        f"{shown_name(name) if part == 'factor' else f'{part} {shown_name(name)}'} {signed(hours_text(abs(hours)), hours)}"
        for part, name, hours in leading.drop_duplicates("part")[["part", "name", "change_hours"]].itertuples(
            index=False
        )
    ]
    return f"{text}. Largest moves: {'; '.join(told)}." if told else f"{text}."
