"""The questions: :class:`UsageQuery` for the ten aggregation routes, :class:`EventsQuery` for the events.

A query is validated, frozen and hashable. It is the same thing in the analyst's hands, on the wire
(``to_params`` / ``from_params``) and in the engine, so an answer means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Self

from usagekit.errors import QueryError
from usagekit.values import (
    EVENT_DATE_FORMS,
    bool_text,
    check_event_days,
    check_range,
    check_timezone,
    compact_date,
    one_of,
    parse_bool,
    parse_date,
    today_in,
)
from usagekit.vocabulary import (
    BIN_SIZES,
    EVENTS_PATH,
    FILTER_KEYS,
    FORMATS,
    MAX_BINS,
    METRICS,
    OPTIONS,
    ROUTES,
    Route,
)

Params = list[tuple[str, str]]
Filters = tuple[tuple[str, tuple[str, ...]], ...]


_DAYS_PER_BIN = {"hour": 1 / 24, "day": 1, "week": 7, "month": 28}


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageQuery:
    """One question to an aggregation route.

    Parameters
    ----------
    by : tail of the route, a key of :data:`usagekit.vocabulary.ROUTES`; empty for the whole lab.
    start, end : first and last local date of the range, both included.
    metric, bin_size : names of the API.
    timezone : IANA name of the zone of the dates and bins.
    automated : True for automated sessions only, False for manual ones only, None for both.
    filters : pairs of a filter key (without ``filter_on.``) and the values allowed for it.
    display_all, combine_phone_os, group_by_device_id, include_user_notes : as in the API; a switch
        that the route does not use is set back to False, so that equal questions are equal.

    Raises
    ------
    QueryError : a value is unknown or the range is impossible; ``.parameter`` names it.
    """

    by: str = ""
    start: date
    end: date
    metric: str = "total_time"
    bin_size: str = "month"
    timezone: str = "UTC"
    automated: bool | None = None
    filters: Filters = ()
    display_all: bool = False
    combine_phone_os: bool = False
    group_by_device_id: bool = False
    include_user_notes: bool = False

    def __post_init__(self) -> None:
        one_of("by", self.by, ROUTES)
        one_of("metric", self.metric, METRICS)
        one_of("bin_size", self.bin_size, BIN_SIZES)
        check_timezone(self.timezone)
        check_range(self.start, self.end)
        days = (self.end - self.start).days + 1
        if days / _DAYS_PER_BIN[self.bin_size] > MAX_BINS:
            raise QueryError(
                f"{days} days in bins of one {self.bin_size} are more than {MAX_BINS:,} bins: "
                "ask for a shorter range or a larger bin_size",
                parameter="bin_size",
            )
        object.__setattr__(self, "filters", _normal_filters(self.filters))
        for option in ("combine_phone_os", "group_by_device_id", "include_user_notes"):
            if option not in self.route.options:
                object.__setattr__(self, option, False)

    @property
    def route(self) -> Route:
        return ROUTES[self.by]

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns that identify a row within a bin, in order."""
        if self.group_by_device_id:
            return tuple("device_id" if c == "device_address" else c for c in self.route.columns)
        return self.route.columns

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the answer, in order."""
        notes = ("notes",) if self.include_user_notes else ()
        return ("datetime", *self.group_columns, *notes, self.metric, "unit")

    def filter_values(self, key: str) -> tuple[str, ...] | None:
        """Values allowed for a filter key, or None when the key is not filtered."""
        return dict(self.filters).get(key)

    def to_params(self) -> Params:
        """The query as HTTP parameters, in the order of the API's document; defaults are left out."""
        params = [
            ("start_date", compact_date(self.start)),
            ("end_date", compact_date(self.end)),
            ("metric", self.metric),
            ("timezone", self.timezone),
            ("bin_size", self.bin_size),
        ]
        if self.automated is not None:
            params.append(("automated", bool_text(self.automated)))
        params += [(option, "true") for option in OPTIONS if getattr(self, option)]
        params += [(f"filter_on.{key}", value) for key, values in self.filters for value in values]
        return params

    @classmethod
    def from_params(
        cls,
        by: str,
        params: Iterable[tuple[str, str]],
        *,
        today: Callable[[str], date] | None = None,
    ) -> Self:
        """Read the query of route ``by`` from HTTP parameters, without ``format`` (:func:`split_format`).

        ``today`` gives the current date in a zone, for a missing ``end_date``.
        """
        values: dict[str, str] = {}
        filters: dict[str, list[str]] = {}
        for name, value in params:
            if name.startswith("filter_on."):
                key = name.removeprefix("filter_on.")
                one_of("filter_on", key, FILTER_KEYS, name=name)
                filters.setdefault(key, []).append(value)
                continue
            one_of("parameter", name, _PARAMETERS, name=name)
            if name in values:
                raise QueryError(f"{name} is given more than once", parameter=name)
            values[name] = value
        if "start_date" not in values:
            raise QueryError("start_date is required, as YYYYMMDD", parameter="start_date")
        zone = check_timezone(values.get("timezone", "UTC")).key
        end = values.get("end_date")
        return cls(
            by=by,
            start=parse_date(values["start_date"], parameter="start_date"),
            end=(today or today_in)(zone) if end is None else parse_date(end, parameter="end_date"),
            metric=values.get("metric", "total_time"),
            bin_size=values.get("bin_size", "month"),
            timezone=zone,
            automated=parse_bool("automated", values["automated"]) if "automated" in values else None,
            filters=tuple((key, tuple(v)) for key, v in filters.items()),
            **{o: parse_bool(o, values[o]) for o in OPTIONS if o in values},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsQuery:
    """A list of single sessions that start between two UTC dates, both included.

    ``devices`` are device addresses, or None for all. A range of any length is a valid question;
    one request may span at most 120 days, which ``to_params`` checks and ``chunks`` respects.
    """

    start: date
    end: date
    devices: tuple[str, ...] | None = None

    path = EVENTS_PATH

    def __post_init__(self) -> None:
        check_range(self.start, self.end)
        if self.devices is not None:
            if not self.devices:
                raise QueryError("devices is an empty list: leave it out for all", parameter="devices")
            object.__setattr__(self, "devices", tuple(sorted(set(self.devices))))

    def to_params(self) -> dict[str, Any]:
        """The JSON body of the request. Raises QueryError beyond 120 days."""
        check_event_days(self.start, self.end)
        body: dict[str, Any] = {"start_date": compact_date(self.start), "end_date": compact_date(self.end)}
        if self.devices is not None:
            body["devices"] = list(self.devices)
        return body

    @classmethod
    def from_params(cls, body: Mapping[str, Any], *, today: Callable[[str], date] | None = None) -> Self:
        """Read the query from a JSON body without ``format`` (:func:`split_format`)."""
        for name in body:
            one_of("key", name, ("start_date", "end_date", "devices"), name=str(name))
        if "start_date" not in body:
            raise QueryError("start_date is required, as YYYYMMDD", parameter="start_date")
        start = parse_date(body["start_date"], parameter="start_date", forms=EVENT_DATE_FORMS)
        end = (
            parse_date(body["end_date"], parameter="end_date", forms=EVENT_DATE_FORMS)
            if "end_date" in body
            else (today or today_in)("UTC")
        )
        devices = body.get("devices")
        if "devices" in body and not (isinstance(devices, list) and all(isinstance(d, str) for d in devices)):
            raise QueryError("devices must be a list of device addresses", parameter="devices")
        query = cls(start=start, end=end, devices=None if devices is None else tuple(devices))
        check_event_days(start, end)
        return query

    def chunks(self, days: int) -> Iterator[EventsQuery]:
        """Cut the range into consecutive pieces of at most ``days`` dates."""
        start = self.start
        while start <= self.end:
            end = min(start + timedelta(days=days - 1), self.end)
            yield replace(self, start=start, end=end)
            start = end + timedelta(days=1)


_PARAMETERS = ("start_date", "end_date", "metric", "bin_size", "timezone", "automated", *OPTIONS)


def split_format(params: Iterable[tuple[str, Any]]) -> tuple[str, list[tuple[str, Any]]]:
    """Take ``format`` (json by default) out of the parameters: it changes the dress, not the answer."""
    pairs = list(params)
    formats = [value for name, value in pairs if name == "format"]
    if len(formats) > 1:
        raise QueryError("format is given more than once", parameter="format")
    chosen = formats[0] if formats else "json"
    one_of("format", chosen, FORMATS)
    return chosen, [(name, value) for name, value in pairs if name != "format"]


def _normal_filters(filters: Filters) -> Filters:
    merged: dict[str, set[str]] = {}
    for key, values in filters:
        one_of("filter_on", key, FILTER_KEYS, name=f"filter_on.{key}")
        if not isinstance(values, tuple) or not all(isinstance(v, str) for v in values):
            raise QueryError(f"filter_on.{key} needs a tuple of strings", parameter=f"filter_on.{key}")
        merged.setdefault(key, set()).update(values)
    return tuple((key, tuple(sorted(merged[key]))) for key in sorted(merged) if merged[key])
