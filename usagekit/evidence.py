"""The evidence of a month: the answers that a report on a team or on the whole lab rests on.

Three states are kept apart: an answer with rows, a true answer without rows, and an answer that is missing
because the API refused it; that one is None, and ``missing`` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from usagekit.analysis.months import partial_days, utc_days
from usagekit.errors import ApiStatusError, NotFetchedError
from usagekit.fleet import ask_fleet
from usagekit.period import Period, month_of, parse_month
from usagekit.query import EventsQuery, UsageQuery

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.lab import Lab
    from usagekit.snapshot import SnapshotSource

_METRICS = ("session_count", "user_count", "device_count", "avg_session_length")


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions that were answered; ``each`` says over what the same ones were asked again, such as every team."""

    queries: tuple[UsageQuery | EventsQuery, ...]
    each: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Frames of one scope, a team or the whole lab (``team`` is None).

    Over the 13 months that end with ``month``, a row a month and group: ``usage`` (all metrics), ``automated``,
    ``manual``, ``devices``, ``models``, ``users``; of the lab also ``teams`` (all metrics), ``teams_automated``,
    ``countries``, ``hosts``. ``devices`` of the lab is its roster, with rows of 0. ``hourly`` has the hour bins of the
    month and the one before, ``events`` the single sessions of the whole lab in the month and the two before.
    ``fleet`` names model, host and country of each device, ``people`` the emails of each team, ``notes`` the remarks
    on devices. ``restated`` tells how the month before changed since it was fetched. Of a running month, ``partial``
    has the days of the month before that compare, and its own, with which all frames end: in ``usage``,
    ``automated``, ``manual``, ``teams`` and ``teams_automated`` the row of the month before then counts those days
    only.

    ``answers`` are the questions behind all frames, ``missing`` the reasons for those that are None.
    """

    lab: Lab
    month: str
    team: str | None
    usage: pd.DataFrame | None = None
    automated: pd.DataFrame | None = None
    manual: pd.DataFrame | None = None
    hourly: pd.DataFrame | None = None
    devices: pd.DataFrame | None = None
    models: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    teams: pd.DataFrame | None = None
    teams_automated: pd.DataFrame | None = None
    countries: pd.DataFrame | None = None
    hosts: pd.DataFrame | None = None
    events: pd.DataFrame | None = None
    fleet: pd.DataFrame | None = None
    people: pd.DataFrame | None = None
    partial: tuple[Period, Period] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    restated: dict[str, Any] | None = None
    answers: tuple[Asked, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)

    def now(self, frame: pd.DataFrame | None) -> pd.DataFrame | None:
        """The rows of the month itself."""
        return (
            None if frame is None else frame[frame["datetime"] == f"{self.month}-01"].reset_index(drop=True)
        )


def gather(lab: Lab, month: str, team: str | None = None) -> Evidence:
    """Ask for everything that a report of ``month`` needs, on one team or on the whole lab.

    A snapshot answers from its files. Over the API this is some forty requests.

    Raises
    ------
    QueryError : the month is not ``YYYY-MM``, nobody knows the team, or the snapshot is of another month.
    ApiError : the API cannot be reached, or refuses the total.
    """
    snapshot: SnapshotSource | None = lab.source if hasattr(lab.source, "notes") else None  # type: ignore[assignment]
    partial = snapshot.partial if snapshot else partial_days(month, lab.as_of, lab.timezone)
    asking = _Asking(lab, month, partial)
    frames = asking.of_team(team) if team is not None else asking.of_lab()
    frames["events"] = asking.ask("events", asking.events)
    if snapshot:
        frames["fleet"], frames["people"] = snapshot.table("fleet"), snapshot.table("people")
    else:
        frames["fleet"] = asking.ask("fleet", asking.fleet)
        frames["people"] = asking.ask("people", asking.people)
    asking.tell_tables(fleet=frames["fleet"] is not None, people=frames["people"] is not None)
    return Evidence(
        lab,
        month,
        team,
        **frames,
        partial=partial,
        notes=snapshot.notes if snapshot else {},
        restated=snapshot.restated if snapshot else None,
        answers=tuple(asking.answers),
        missing=asking.missing,
    )


class _Asking:
    """Asks a lab and remembers what could not be had."""

    def __init__(self, lab: Lab, month: str, partial: tuple[Period, Period] | None) -> None:
        self._lab = lab
        self._before = partial and partial[0]
        this = parse_month(month)
        end = partial[1].end if partial else this.end  # the day that still runs compares with nothing
        self._year = (month_of(this.start, shift=-12).start, end)
        self._both = (month_of(this.start, shift=-1).start, end)
        self._three = utc_days(Period(month_of(this.start, shift=-2).start, end), lab.timezone)
        self.answers: list[Asked] = []
        self.missing: dict[str, str] = {}

    def ask(self, name: str, question: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
        """The answer, or None with the reason in ``missing``."""
        try:
            return question()
        except (NotFetchedError, ApiStatusError) as error:
            if isinstance(error, ApiStatusError) and error.concerns_all:
                raise
            self.missing[name] = str(error)
            return None

    def of_team(self, team: str) -> dict[str, pd.DataFrame | None]:
        def year(name: str, by: str, **options: Any) -> pd.DataFrame | None:
            return self.ask(name, lambda: self._usage(self._year, by=by, team=team, **options))

        return {
            "usage": self._metrics(by="team", team=team),
            "automated": self.ask("automated", lambda: self._compared(by="team", team=team, automated=True)),
            "devices": year("devices", "team/device"),
            "models": year("models", "team/devicemodel"),
            "users": year("users", "user"),
            "hourly": self.ask("hourly", lambda: self._usage(self._both, by="team", team=team, bin="hour")),
        }

    def of_lab(self) -> dict[str, pd.DataFrame | None]:
        def year(name: str, by: str | None = None, **options: Any) -> pd.DataFrame | None:
            return self.ask(name, lambda: self._usage(self._year, by=by, **options))

        return {
            "usage": self._metrics(),
            "automated": self.ask("automated", lambda: self._compared(automated=True)),
            "manual": self.ask("manual", lambda: self._compared(automated=False)),
            "devices": year("devices", "device", display_all=True),
            "models": year("models", "devicemodel"),
            "users": year("users", "user"),
            "countries": year("countries", "country"),
            "hosts": year("hosts", "host"),
            "teams": self._metrics(by="team"),
            "teams_automated": self.ask("teams_automated", lambda: self._compared(by="team", automated=True)),
            "hourly": self.ask("hourly", lambda: self._usage(self._both, bin="hour")),
        }

    def events(self) -> pd.DataFrame:
        found = self._lab.events(self._three)
        self.answers.append(Asked((EventsQuery(start=self._three.start, end=self._three.end),)))
        return found

    def tell_tables(self, *, fleet: bool, people: bool) -> None:
        """Remember the questions behind the tables of a snapshot, which are asked device by device, team by team."""
        year = UsageQuery(start=self._year[0], end=self._year[1], timezone=self._lab.timezone)
        if people:
            self.answers.append(Asked((replace(year, by="user"),), "filter_on.team_name = each team"))
        for part, parts in (("device_address", "device"), ("hostname", "host")) if fleet else ():
            whole = {"device": "devicemodel", "host": "country"}[parts]
            asked = tuple(replace(year, by=by, bin_size="day") for by in (parts, whole))
            self.answers.append(Asked(asked, f"filter_on.{part} = all, 100 at once"))

    def fleet(self) -> pd.DataFrame:
        query = UsageQuery(start=self._year[0], end=self._year[1], timezone=self._lab.timezone)
        return ask_fleet(self._lab.source, query, self._lab.devices.names)[0]

    def people(self) -> pd.DataFrame:
        import pandas as pd

        found = []
        for team in self._lab.teams.names:
            users = self._lab.usage(self._year, by="user", team=team).df
            emails = sorted(users["email"].dropna().unique())
            found.append(pd.DataFrame({"team": team, "email": emails}, dtype="str"))
        return pd.concat(found, ignore_index=True)

    def _metrics(self, **options: Any) -> pd.DataFrame:
        """The hours, which no report can do without, and each other metric that could be had."""
        import pandas as pd

        whole = self._compared(**options)
        keys = [c for c in whole if c == "datetime" or not pd.api.types.is_numeric_dtype(whole[c])]
        for metric in _METRICS:
            name = f"teams_{metric}" if len(keys) > 1 and "team" not in options else metric
            more = self.ask(name, lambda metric=metric: self._compared(metric=metric, **options))  # type: ignore[misc]
            if more is not None:
                whole = whole.merge(more, on=keys, how="left", validate="one_to_one")
        return whole

    def _compared(self, **options: Any) -> pd.DataFrame:
        """Over 13 months; of a running month the one before counts as many days."""
        import pandas as pd

        whole = self._usage(self._year, **options)
        if self._before is None:
            return whole
        other = whole["datetime"] != pd.Timestamp(self._before.start)
        return pd.concat([whole[other], self._usage(self._before, **options)], ignore_index=True)

    def _usage(self, period: Any, **options: Any) -> pd.DataFrame:
        answer = self._lab.usage(period, **options)
        self.answers.append(Asked(answer.queries))
        return answer.df
