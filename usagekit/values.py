"""Single values of a query, read strictly: dates, zones, switches and known names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from usagekit.errors import QueryError, did_you_mean
from usagekit.vocabulary import MAX_EVENT_DAYS

FIRST_DATE = date(1970, 1, 1)
LAST_DATE = date(2199, 12, 31)
DATE_FORMS = {"YYYYMMDD": r"([0-9]{4})([0-9]{2})([0-9]{2})"}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
EVENT_DATE_FORMS = {**DATE_FORMS, "YYYY/MM/DD": r"([0-9]{4})/([0-9]{2})/([0-9]{2})"}


def parse_date(text: object, *, parameter: str, forms: Mapping[str, str] = DATE_FORMS) -> date:
    """Read a date strictly: ASCII digits, a real date from 1970 to 2199.

    >>> parse_date("20230301", parameter="start_date")
    datetime.date(2023, 3, 1)
    """
    for pattern in forms.values():
        if isinstance(text, str) and (found := re.fullmatch(pattern, text)):
            try:
                day = date(*map(int, found.groups()))
            except ValueError:
                break
            if FIRST_DATE <= day <= LAST_DATE:
                return day
    shown = repr(text)[:40]
    raise QueryError(
        f"{parameter}={shown} is not a date of the form {' or '.join(forms)} "
        f"from {FIRST_DATE.year} to {LAST_DATE.year}",
        parameter=parameter,
    )


@lru_cache(maxsize=64)
def check_timezone(name: str) -> ZoneInfo:
    """The zone of an IANA name, or QueryError with the nearest names."""
    if name in _zones():
        return ZoneInfo(name)
    raise QueryError(
        f"timezone={name[:60]!r} is not an IANA time zone{did_you_mean(name[:60], _zones())}",
        parameter="timezone",
    )


def today_in(timezone: str) -> date:
    """The current date in a zone."""
    return datetime.now(UTC).astimezone(ZoneInfo(timezone)).date()


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def compact_date(day: date) -> str:
    return f"{day:%Y%m%d}"


def bool_text(value: bool) -> str:
    return "true" if value else "false"


def parse_bool(parameter: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise QueryError(f"{parameter}={text[:40]!r} must be true or false", parameter=parameter)
    return text.lower() == "true"


def one_of(parameter: str, value: object, known: Iterable[str], *, name: str | None = None) -> None:
    known = tuple(known)
    if value in known:
        return
    shown = str(value)[:60]
    raise QueryError(
        f"unknown {parameter} {shown!r}{did_you_mean(shown, known) or '.'} Known: {', '.join(k or '(none)' for k in known)}",
        parameter=name or parameter,
    )


def check_range(start: date, end: date) -> None:
    for parameter, day in (("start_date", start), ("end_date", end)):
        if isinstance(day, datetime) or not isinstance(day, date):
            raise QueryError(f"{parameter} must be a datetime.date", parameter=parameter)
        if not FIRST_DATE <= day <= LAST_DATE:
            raise QueryError(
                f"{parameter} must lie between {FIRST_DATE.year} and {LAST_DATE.year}",
                parameter=parameter,
            )
    if end < start:
        raise QueryError(f"end_date {end} is before start_date {start}", parameter="end_date")


def check_event_days(start: date, end: date) -> None:
    if (end - start).days > MAX_EVENT_DAYS:
        raise QueryError(
            f"{start} to {end} spans {(end - start).days} days; "
            f"events can be asked for at most {MAX_EVENT_DAYS}",
            parameter="end_date",
        )


def is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_formula(value: object) -> object:
    """The value with a ``'`` before it if it is a text that a spreadsheet would take for a formula.

    >>> without_formula("=1+1"), without_formula(-1), without_formula("a-b")
    ("'=1+1", -1, 'a-b')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
