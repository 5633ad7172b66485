"""The members of a lab's dimensions: its teams, devices, models, users, hosts and countries."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Final

from usagekit.errors import QueryError, did_you_mean
from usagekit.figures.escape import shown_name
from usagekit.period import Period, PeriodLike, month_of, parse_period

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.lab import Lab

KEPT_SECONDS: Final = 15 * 60
"""How long (s) the names of a dimension are not asked for again."""

_SHOWN: Final = 20


class Members:
    """The members of one dimension of a lab, by name; users by their email.

    A list of names to look at, to loop over, to complete with TAB (``lab.teams.Payments``,
    ``lab.teams["R&D / Café"]``, both are the name itself) and to filter by (``team=lab.teams``).
    """

    def __init__(self, lab: Lab, what: str, *, by: str, column: str) -> None:
        self._lab, self._what, self._by, self._column = lab, what, by, column
        self._one = "country" if what == "countries" else what.removesuffix("s")
        self._kept: tuple[float, list[str]] | None = None

    @property
    def names(self) -> list[str]:
        """Names of all known members, also of those without usage, in code point order.

        Asked for once in 15 minutes. A snapshot knows all teams and devices, and of the others those with
        usage in its 13 months.

        Raises
        ------
        ApiError : the API did not answer.
        """
        if self._kept is None or monotonic() - self._kept[0] > KEPT_SECONDS:
            self._kept = (monotonic(), self._ask(refresh=False))
        return list(self._kept[1])

    def require(self, names: Iterable[str], *, period: Period) -> None:
        """Check that all ``names`` are known, before a question is asked about them.

        What is not in the list is looked for once more, in a new list and in the usage of ``period``: the
        API may have forgotten a member that has left.

        Raises
        ------
        QueryError : a name is unknown; says which are near.
        """
        wanted = dict.fromkeys(names)
        if set(wanted) <= set(self.names):
            return
        self._kept = (monotonic(), self._ask(refresh=True))
        known = {*self.names, *self._used(period)}
        for name in wanted:
            if name not in known:
                raise QueryError(self._unknown(name, known), parameter=self._one)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str | int) -> str:
        names = self.names
        if isinstance(name, int):
            return names[name]
        if name not in names:
            raise QueryError(self._unknown(name, names), parameter=self._one)
        return name

    def __getattr__(self, name: str) -> str:
        # Notebooks look for dozens of underscored names on every object: none of them is worth a request.
        if name.startswith("_"):
            raise AttributeError(name)
        names = self.names
        if name not in names:
            raise AttributeError(self._unknown(name, names))
        return name

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *filter(_can_be_typed, self.names)]

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def __repr__(self) -> str:
        names = self.names
        more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{len(names)} {self._what}: {', '.join(map(shown_name, names[:_SHOWN]))}{more}"

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import Table, panel

        names = self.names
        table = Table((self._column,), tuple((shown_name(n),) for n in names[:_SHOWN]), of=len(names))
        return panel(f"{len(names)} {self._what}", caption=self._lab.name, tables=(table,))

    def _ask(self, *, refresh: bool) -> list[str]:
        lab = self._lab
        try:
            frame = lab.usage(lab.month, by=self._by, display_all=True, refresh=refresh).df
        except QueryError:  # a snapshot holds what reports need, which is not every member of everything
            frame = lab.usage("last 13 months", by=self._by).df
        return sorted(frame[self._column].dropna().unique())

    def _used(self, period: Period) -> list[str]:
        try:
            frame = self._lab.usage(period, by=self._by).df
        except QueryError:  # a snapshot again: then its list is all it knows
            return []
        return list(frame[self._column].dropna().unique())

    def _unknown(self, name: object, known: Iterable[str]) -> str:
        hint = did_you_mean(str(name), known) or "."
        return f"no {self._one} is called {str(name)[:80]!r}{hint} lab.{self._what}.names lists them all"


class Devices(Members):
    """The devices of a lab, by address; see :class:`Members`."""

    def idle(self, month: PeriodLike) -> pd.DataFrame:
        """Devices without any time in a month, the longest idle first.

        Returns
        -------
        ``device_address`` (str), ``idle_months`` (int64, months without time up to this one, at most the 13
        that are looked at), ``last_used`` (datetime64[us], the first of its last month with time; NaT if none).

        Raises
        ------
        QueryError : ``month`` is not one month, or a snapshot does not hold it.
        ApiError : the API did not answer.
        """
        from usagekit.analysis.idle import idle_devices

        span = parse_period(month, today=self._lab.today)
        if not span.month:
            raise QueryError(f"{span} is not one whole month: give one such as 2023-03", parameter="month")
        year = Period(month_of(span.start, shift=-12).start, span.end)
        frame = self._lab.usage(year, by="device", display_all=True).df
        return idle_devices(frame, month=span.month)


def _can_be_typed(name: str) -> bool:
    """Whether ``lab.teams.<name>`` is Python for this name: an identifier that Python does not change."""
    return (
        name.isidentifier()
        and not name.startswith("_")
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name
        and not hasattr(Devices, name)
    )
