"""An answer of a lab: the frame, and how it came about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from usagekit.figures.escape import printable
from usagekit.period import Period
from usagekit.query import UsageQuery

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_ROWS: Final = 20


@dataclass(frozen=True)
class Usage:
    """An answer: the frame ``df``, the queries that it took and when the numbers were true."""

    df: pd.DataFrame
    queries: tuple[UsageQuery, ...]
    as_of: datetime
    base_url: str

    @property
    def request(self) -> str:
        """Path and parameters of the (first) request, as the API's document writes them."""
        query = self.queries[0]
        return f"{query.route.path}?{urlencode(query.to_params(), quote_via=quote, safe='/@')}"

    def curl(self) -> str:
        """The curl commands that give the same numbers; the token is left to the shell's environment."""
        from usagekit.api.client import curl

        return "\n".join(curl(query, self.base_url) for query in self.queries)

    def __repr__(self) -> str:
        return repr(self.df)

    def _repr_html_(self) -> str:
        frame: Any = self.df
        return str(frame._repr_html_())


@dataclass(frozen=True)
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
        lines = [
            f"  {kind:<18}{sessions:>8}{hours:>12}{share:>6}" for kind, sessions, hours, share in self._told()
        ]
        return "\n".join([self._head(), *lines])

    def _repr_html_(self) -> str:
        counts = _html_table(("kind", "sessions", "time in doubt", "share"), self._told())
        columns = ["kind", "severity", "device_address", "who", "start_time", "detail"]
        shown = self.df[columns].head(_SHOWN_ROWS).astype({"start_time": "str"}).fillna("–")
        more = len(self.df) - len(shown)
        rest = f"<p>{more} more findings are in <code>.df</code>.</p>" if more else ""
        rows = _html_table(tuple(columns), shown.itertuples(index=False)) if len(shown) else ""
        return f"<p>{escape(self._head())}</p>{counts if rows else ''}{rows}{rest}"

    def _head(self) -> str:
        from usagekit.analysis.wording import count_text

        return f"Quality of {self.period}: {count_text(self.sessions)} sessions, {count_text(len(self.df))} findings"

    def _told(self) -> list[tuple[str, str, str, str]]:
        """The kinds that were found, as people read them."""
        from usagekit.analysis.wording import count_text, hours_text, percent_text

        counts = self.counts[self.counts["kind"].isin(self.df["kind"])].fillna({"sessions": -1, "share": -1})
        cells = (counts[name] for name in ("kind", "sessions", "affected_hours", "share"))
        return [
            (
                kind,
                count_text(sessions) if sessions >= 0 else "n/a",
                hours_text(hours),
                percent_text(share) if share >= 0 else "n/a",
            )
            for kind, sessions, hours, share in zip(*cells, strict=True)
        ]


def _html_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A plain table; every cell is text, of its own direction, and nothing in it is markup."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td><bdi>{escape(printable(cell))}</bdi></td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
