"""The analyst's desk: a :class:`Lab` answers questions with tidy pandas frames, whatever is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date, datetime
from typing import TYPE_CHECKING, Unpack

from usagekit.answer import Quality, Usage
from usagekit.members import Devices, Members
from usagekit.period import BusinessHours, Period, PeriodLike, month_of, parse_period
from usagekit.query import EventsQuery, UsageQuery
from usagekit.question import FILTERS, Names, UsageOptions, in_months, join_metrics, names_of, read_question
from usagekit.values import FIRST_DATE, today_in
from usagekit.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.explanation import Explanation
    from usagekit.sources import Source
    from usagekit.trust import Trust

_HINT = (
    'Ask: lab.usage("last month", by="team"), lab.events("last month"), lab.teams, lab.devices.idle("last month"), '
    'lab.explain("last month"), lab.check("last month")'
)


class Lab:
    """A device lab to ask about.

    Its dimensions are ``teams``, ``devices``, ``models``, ``users`` (by email), ``hosts`` and ``countries``, each a
    :class:`usagekit.members.Members`.

    Parameters
    ----------
    source : where the numbers come from.
    name, timezone, business_hours : head of every report; ``timezone`` (IANA) is also that of all
        dates and bins unless a question says otherwise.
    today : the current date, for periods such as "last month"; by default the calendar's.
    base_url : origin of the API, for the curl commands of an answer.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str = "Device lab",
        timezone: str = "UTC",
        business_hours: BusinessHours | None = None,
        today: date | None = None,
        base_url: str = "http://127.0.0.1:8642",
    ) -> None:
        self.source = source
        self.name = name
        self.timezone = timezone
        self.business_hours = business_hours or BusinessHours()
        self.base_url = base_url
        self._today = today
        self.teams = Members(self, "teams", by="team", column="team")
        self.devices = Devices(self, "devices", by="device", column="device_address")
        self.models = Members(self, "models", by="devicemodel", column="device_model")
        self.users = Members(self, "users", by="user", column="email")
        self.hosts = Members(self, "hosts", by="host", column="hostname")
        self.countries = Members(self, "countries", by="country", column="country")

    @property
    def today(self) -> date:
        """The current date in the lab's zone."""
        return self._today or today_in(self.timezone)

    @property
    def month(self) -> str:
        """The last complete month, as YYYY-MM."""
        return f"{month_of(self.today, shift=-1).start:%Y-%m}"

    @property
    def as_of(self) -> datetime:
        """When the numbers are true (UTC)."""
        return self.source.as_of

    def usage(
        self,
        period: PeriodLike,
        *,
        by: str | Sequence[str] | None = None,
        metric: Names = "total_time",
        bin: str = "month",
        refresh: bool = False,
        **options: Unpack[UsageOptions],
    ) -> Usage:
        """Ask for usage over a period.

        Parameters
        ----------
        period : "2023-03", "last month", "last 13 months", a date, or a pair of these.
        by : what rows are grouped by: device, devicemodel, user, team, host, country, or a pair such as
            "team/device" or ["team", "device"]; nothing for the whole lab.
        metric : one or more of total_time, avg_session_length, session_count, device_count, user_count,
            team_count. Each is asked for once; they are joined on the rows' keys.
        bin : hour, day, week or month.
        refresh : ask the API again even where an answer is kept.
        **options : filters (``team``, ``user``, ``device``, ``host``: a name or several), ``timezone``, and the
            switches ``automated``, ``display_all``, ``combine_phone_os``, ``group_by_device_id``, ``include_user_notes``.

        Returns
        -------
        Its ``df`` has the column ``datetime`` (start of the bin), the group columns, and one column a
        metric with its unit in the name: ``total_time_hours`` (h), ``avg_session_minutes`` (min).

        Raises
        ------
        QueryError : the question cannot be asked, or nobody has a name that it filters by; names what is wrong.
        ApiError : the API did not answer.
        """
        span = parse_period(period, today=self.today)
        asked = {"timezone": self.timezone, **options}
        queries = read_question(span, by=by, metric=metric, bin=bin, options=asked)
        members = {"team": self.teams, "user": self.users, "device": self.devices, "host": self.hosts}
        for option, key in FILTERS.items():
            if names := queries[0].filter_values(key):
                members[option].require(names, period=span)
        frames, as_of = self.ask(queries, refresh=refresh)
        return Usage(join_metrics(frames, queries), queries, as_of, self)

    def events(
        self,
        start: PeriodLike,
        end: PeriodLike | None = None,
        *,
        devices: Names | None = None,
        refresh: bool = False,
    ) -> pd.DataFrame:
        """List single sessions that start in a period (UTC dates), of any length.

        Parameters
        ----------
        start, end : a period, or the first and the last one.
        devices : device addresses; all by default.
        refresh : ask the API again even where an answer is kept.

        Returns
        -------
        One row a session, by start: user, email, team, automated, device_id, hostname, device_address,
        start_time, end_time (UTC), duration_seconds (s), date.

        Raises
        ------
        QueryError : the period cannot be read, nobody knows a device, or a snapshot does not hold it.
        ApiError : the API did not answer.
        """
        import pandas as pd

        first = parse_period(start, today=self.today)
        last = parse_period(end, today=self.today) if end is not None else first
        wanted = None if devices is None else names_of("devices", devices)
        query = EventsQuery(start=first.start, end=last.end, devices=wanted)
        if wanted:
            self.devices.require(wanted, period=Period(query.start, query.end))
        frames, _ = self.ask(list(in_months(query)), refresh=refresh)
        # An empty piece says nothing about the types of the others.
        full = [f for f in frames if len(f)] or frames[:1]
        return full[0] if len(full) == 1 else pd.concat(full, ignore_index=True)

    def explain(self, month: PeriodLike, *, team: str | None = None) -> Explanation:
        """Say why the hours of a month are others than those of the month before.

        The change is split into users, sessions per user and time per session, exactly; and by team, device
        and model, with the five that moved most and the rest.

        Raises
        ------
        QueryError : ``month`` is not one month, nobody knows the team, or a snapshot does not hold it.
        ApiError : the API did not answer.
        """
        from usagekit.explanation import explain

        return explain(self, month, team=team)

    def check(self, period: PeriodLike) -> Trust:
        """Check whether the numbers of a period add up: the trust panel.

        The total against the sums over teams, users, devices, hosts, countries and models, automated and manual
        sessions, and single events; each era of the API for itself; and what :meth:`quality` finds.

        Raises
        ------
        QueryError : the period cannot be read, or a snapshot does not hold its total.
        ApiError : the API did not answer with the total; other parts that fail are noted.
        """
        from usagekit.trust import check

        return check(self, period)

    def quality(self, period: PeriodLike) -> Quality:
        """Say what is wrong with the sessions that start in a period (UTC dates).

        The month before is read as well, for sessions that still hold a device. An unknown device is one
        without a model, told from the hours by device and by model: over the API every device with a
        session is in the roster. A snapshot answers for its own month and the one
        before.

        Raises
        ------
        QueryError : the period cannot be read, or the snapshot does not hold it.
        ApiError : the API did not answer.
        """
        from usagekit.analysis.quality import find_broken, judged
        from usagekit.analysis.unknown_devices import devices_without_model

        span = parse_period(period, today=self.today)
        before = max(month_of(span.start, shift=-1).start, FIRST_DATE)
        events = self.events((before, span.end))
        fleet = devices_without_model(
            self.usage(span, by="device", display_all=True).df,
            self.usage(span, by="devicemodel").df,
            team_devices=self.usage(span, by="team/device").df,
            team_models=self.usage(span, by="team/devicemodel").df,
        )
        as_of = self.as_of
        found = find_broken(events, fleet, since=span.start, as_of=as_of)
        return Quality(found, int(judged(events, since=span.start).sum()), span, as_of)

    def ask(
        self, queries: Sequence[UsageQuery | EventsQuery], *, refresh: bool = False
    ) -> tuple[list[pd.DataFrame], datetime]:
        """Put queries to the source as they are: their frames, and when the oldest of them was true.

        No name is checked: a filter that nobody matches gives an empty frame, as the API does.
        """
        ask, frames, times = self.source, [], [self.as_of]
        anew = getattr(ask, "refreshing", None) if refresh else None
        with anew() if anew else nullcontext(), waiting(len(queries)) as step:
            for query in queries:
                frames.append(ask.usage(query) if isinstance(query, UsageQuery) else ask.events(query))
                times.append(self.as_of)
                step()
        return frames, min(times[1:], default=times[0])

    def __repr__(self) -> str:
        return f"<Lab {self.name!r}, {self.timezone}, {self.source.name}>"

    def _repr_html_(self) -> str:
        from usagekit.figures.panels import Table, panel

        labels = ("time zone", "business hours", "numbers from", "last complete month")
        facts = (self.timezone, str(self.business_hours), self.source.name, self.month)
        table = Table(("", "lab"), tuple(zip(labels, facts, strict=True)), of=len(facts))
        return panel(self.name, tables=(table,), notes=(_HINT,))
