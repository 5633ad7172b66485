"""An answer of a lab: the frame, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from usagekit.period import Period
from usagekit.query import UsageQuery
from usagekit.question import asked_text
from usagekit.vocabulary import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from usagekit.figures.panels import Table
    from usagekit.lab import Lab


@dataclass(frozen=True, eq=False)
class Usage:
    """An answer: a plain pandas frame, and what belongs to it.

    ``df`` is the frame, ``queries`` what was asked (one a metric), ``as_of`` when the numbers were true (UTC),
    ``notes`` what one must know to read them.
    """

    df: pd.DataFrame
    queries: tuple[UsageQuery, ...]
    as_of: datetime
    lab: Lab = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def request(self) -> str:
        """Path and parameters of the first request, as the API's document writes them."""
        return self.requests[0]

    @property
    def requests(self) -> tuple[str, ...]:
        """Path and parameters of every request, one a metric."""
        return tuple(
            f"{q.route.path}?{urlencode(q.to_params(), quote_via=quote, safe='/@')}" for q in self.queries
        )

    def curl(self) -> str:
        """The curl commands that give the same numbers; the token is left to the shell's environment."""
        from usagekit.api.client import curl

        return "\n".join(curl(query, self.lab.base_url) for query in self.queries)

    def wide(self) -> pd.DataFrame:
        """Turn the rows into a table: a row a bin, a column a member.

        Returns
        -------
        ``datetime`` is the index, with every bin of the question that has begun. One metric by one group has the
        members as columns, headed such as ``total_time_hours by team``; no group has the metrics; all
        else has both as levels. No session is 0, for a mean it is NaN. Users are their emails.
        """
        from usagekit.analysis.wide import to_wide

        query = self.queries[0]
        groups = [
            c for c in query.group_columns if c != "teams" and not (c == "user" and "email" in query.columns)
        ]
        return to_wide(self.df, query, groups=groups, metrics=self._metrics(), now=self._now())

    def compare(self, *bases: str) -> Usage:
        """Put the bins before beside these ones, and what has changed.

        Parameters
        ----------
        *bases : "previous" (the bin before; for hours the day before), "year" (the same bin a year earlier:
            twelve months, or 52 weeks so that weekdays meet), or both. "previous" by default.

        Returns
        -------
        The answer with ``<column>_previous``, ``<column>_change`` and ``<column>_change_share`` for every metric;
        for "year" ``<column>_year_before``, ``<column>_year_change``, ``<column>_year_change_share``. The share is
        NaN after zero and after less than 10 sessions or 5 h, and all three where a bin before 2022-09 does
        not compare; ``notes`` says so. A member that has gone is there with 0.

        Raises
        ------
        QueryError : a base is unknown, or a snapshot does not hold it.
        ApiError : the API did not answer.
        """
        from usagekit.comparison import compare

        return compare(self, bases or ("previous",))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the chart that suits the shape of the answer, as matplotlib axes; ``ax`` draws into yours."""
        from usagekit.figures.plots import plot

        return plot(self.df, self.queries[0], **self._drawn(), ax=ax)

    def heatmap(self, ax: Axes | None = None) -> Axes:
        """Draw the answer as a table of colours: hours as a week, days as a calendar, members over time."""
        from usagekit.figures.plots import heatmap

        return heatmap(self.df, self.queries[0], **self._drawn(), ax=ax)

    def to_csv(self, path: str | Path, *, raw: bool = False) -> Path:
        """Save the frame as CSV (UTF-8, comma, header) and return the path.

        A text that a spreadsheet would run as a formula (it begins with ``= + - @``, a tab or a line break) gets a
        ``'`` before it; numbers stay numbers. ``raw`` leaves texts as they are, for programs.
        """
        from usagekit.analysis.wide import without_formulas
        from usagekit.engine.files import publish_text

        frame = self.df if raw else without_formulas(self.df)
        publish_text(Path(path), frame.to_csv(index=False, lineterminator="\r\n"))
        return Path(path)

    def __len__(self) -> int:
        return len(self.df)

    def __repr__(self) -> str:
        from usagekit.figures.panels import frame_table, plain

        title, caption = self._told()
        return plain(title, caption=caption, tables=[frame_table(self.df)], notes=self.notes)

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import frame_table, panel

        title, caption = self._told()
        return panel(title, caption=caption, tables=[frame_table(self.df)], notes=self.notes)

    def _told(self) -> tuple[str, str]:
        rows = f"{len(self.df)} row{'' if len(self.df) == 1 else 's'}"
        as_of = f"as of {self.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return asked_text(self.queries), ", ".join((self.queries[0].timezone, as_of, rows))

    def _metrics(self) -> list[str]:
        return [METRICS[q.metric].column for q in self.queries]

    def _drawn(self) -> dict[str, Any]:
        return {
            "metrics": [q.metric for q in self.queries],
            "timezone": self.lab.timezone,
            "as_of": self.as_of,
            "today": self.lab.today,
        }

    def _now(self) -> datetime:
        """When what is asked about had happened: the numbers' own time, for a frozen month its end."""
        from zoneinfo import ZoneInfo

        from usagekit.engine.bins import day_start

        after = day_start(self.lab.today, ZoneInfo(self.lab.timezone)) + 86_400
        return min(self.as_of, datetime.fromtimestamp(after, UTC))


@dataclass(frozen=True, eq=False)
class Quality:
    """What is wrong with the ``sessions`` sessions that start in a period (UTC dates).

    ``df`` has one row a finding, with the columns of :func:`usagekit.analysis.quality.find_broken`.
    """

    df: pd.DataFrame
    sessions: int
    period: Period
    as_of: datetime

    @property
    def counts(self) -> pd.DataFrame:
        """A row a kind, 0 where all is well: see :func:`usagekit.analysis.quality.count_findings`."""
        from usagekit.analysis.quality import count_findings

        return count_findings(self.df, sessions=self.sessions)

    def __repr__(self) -> str:
        from usagekit.figures.panels import plain

        return plain(self._head(), tables=[self._told()])

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import frame_table, panel

        columns = ["kind", "severity", "device_address", "who", "start_time", "detail"]
        return panel(self._head(), tables=[self._told(), frame_table(self.df[columns], what="findings")])

    def _head(self) -> str:
        from usagekit.analysis.wording import count_text

        return f"Quality of {self.period}: {count_text(self.sessions)} sessions, {count_text(len(self.df))} findings"

    def _told(self) -> Table:
        """The kinds that were found, as people read them."""
        from usagekit.analysis.wording import count_text, hours_text, percent_text
        from usagekit.figures.panels import Table

        counts = self.counts[self.counts["kind"].isin(self.df["kind"])].fillna({"sessions": -1, "share": -1})
        cells = (counts[name] for name in ("kind", "sessions", "affected_hours", "share"))
        rows = tuple(
            (
                kind,
                count_text(sessions) if sessions >= 0 else "n/a",
                hours_text(hours),
                percent_text(share) if share >= 0 else "n/a",
            )
            for kind, sessions, hours, share in zip(*cells, strict=True)
        )
        columns = ("kind", "sessions", "time in doubt", "share")
        return Table(columns, rows, numbers=frozenset(columns[1:]), of=len(rows))
