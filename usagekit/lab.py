"""The analyst's desk: a :class:`Lab` answers questions with tidy pandas frames, whatever is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from usagekit.answer import Quality, Usage
from usagekit.errors import QueryError, did_you_mean
from usagekit.period import BusinessHours, Period, PeriodLike, month_of, parse_period
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import FIRST_DATE, today_in
from usagekit.vocabulary import ROUTES

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.sources import Source

Names = str | Sequence[str]


class UsageOptions(TypedDict, total=False):
    """Keyword options of :meth:`Lab.usage`; the switches are those of the API."""

    team: Names
    user: Names
    device: Names
    host: Names
    automated: bool
    timezone: str
    display_all: bool
    combine_phone_os: bool
    group_by_device_id: bool
    include_user_notes: bool


_FILTERS = {"team": "team_name", "user": "user_email", "device": "device_address", "host": "hostname"}


class Members:
    """The members of one dimension of a lab; ``names`` lists them."""

    def __init__(self, lab: Lab, by: str, column: str) -> None:
        self._lab, self._by, self._column = lab, by, column

    @cached_property
    def names(self) -> list[str]:
        """Names of all known members, also of those without usage, in code point order."""
        frame = self._lab.usage(self._lab.month, by=self._by, display_all=True).df
        return sorted(frame[self._column].dropna().unique())

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"{len(self)} members by {self._by}: {', '.join(self.names)}"


class Lab:
    """A device lab to ask about.

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
        self.teams = Members(self, "team", "team")
        self.devices = Members(self, "device", "device_address")
        self.models = Members(self, "devicemodel", "device_model")
        self.hosts = Members(self, "host", "hostname")
        self.countries = Members(self, "country", "country")

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

    def __repr__(self) -> str:
        return f"<Lab {self.name!r}, {self.timezone}, {self.source.name}>"

    def usage(
        self,
        period: PeriodLike,
        *,
        by: str | Sequence[str] | None = None,
        metric: Names = "total_time",
        bin: str = "month",
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
        **options : filters (``team``, ``user``, ``device``, ``host``: a name or several) and switches.

        Returns
        -------
        Its ``df`` has the column ``datetime`` (start of the bin), the group columns, and one column a
        metric with its unit in the name: ``total_time_hours`` (h), ``avg_session_minutes`` (min).

        Raises
        ------
        QueryError : the question cannot be asked; names what is wrong.
        ApiError : the API did not answer.
        """
        metrics = [metric] if isinstance(metric, str) else list(dict.fromkeys(metric))
        if not metrics:
            raise QueryError("metric is empty: name at least one", parameter="metric")
        span = parse_period(period, today=self.today)
        queries = tuple(self._query(span, by, m, bin, options) for m in metrics)
        frame = self.source.usage(queries[0])
        for query in queries[1:]:
            keys = [c for c in frame.columns if c in ("datetime", *query.columns)]
            frame = frame.merge(
                self.source.usage(query), on=keys, how="outer", validate="one_to_one", sort=False
            )
        return Usage(frame, queries, self.as_of, self.base_url)

    def events(
        self, start: PeriodLike, end: PeriodLike | None = None, *, devices: Names | None = None
    ) -> pd.DataFrame:
        """List single sessions that start in a period (UTC dates), of any length.

        Parameters
        ----------
        start, end : a period, or the first and the last one.
        devices : device addresses; all by default.

        Returns
        -------
        One row a session, by start: user, email, team, automated, device_id, hostname, device_address,
        start_time, end_time (UTC), duration_seconds (s), date.
        """
        first = parse_period(start, today=self.today)
        last = parse_period(end, today=self.today) if end is not None else first
        wanted = None if devices is None else (devices,) if isinstance(devices, str) else tuple(devices)
        return self.source.events(EventsQuery(start=first.start, end=last.end, devices=wanted))

    def quality(self, period: PeriodLike) -> Quality:
        """Say what is wrong with the sessions that start in a period (UTC dates).

        The month before is read as well, for sessions that still hold a device. An unknown device is one
        without a model, told from the hours by device and by model: over the API every device with a
        session is in the roster. A snapshot answers for its own month.

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

    def _query(
        self,
        span: Period,
        by: str | Sequence[str] | None,
        metric: str,
        bin: str,
        options: UsageOptions,
    ) -> UsageQuery:
        given: dict[str, Any] = dict(options)
        known = (*UsageOptions.__annotations__,)
        for name in given:
            if name not in known:
                raise QueryError(f"unknown option {name!r}{did_you_mean(name, known)}", parameter=name)
        filters = tuple(
            (key, (value,) if isinstance(value, str) else tuple(value))
            for option, key in _FILTERS.items()
            if (value := given.pop(option, None)) is not None
        )
        return UsageQuery(
            by=_route(by),
            start=span.start,
            end=span.end,
            metric=metric,
            bin_size=bin,
            timezone=given.pop("timezone", self.timezone),
            filters=filters,
            **given,
        )


def _route(by: str | Sequence[str] | None) -> str:
    """The route's tail for what an analyst groups by, in either order."""
    parts = [] if not by else by.split("/") if isinstance(by, str) else list(by)
    for tail in ROUTES:
        if sorted(tail.split("/") if tail else []) == sorted(parts):
            return tail
    shown = "/".join(parts)
    raise QueryError(
        f"cannot group by {shown!r}{did_you_mean(shown, ROUTES) or '.'} Known: {', '.join(filter(None, ROUTES))}",
        parameter="by",
    )
