"""A look at the account: can the API be used, what does it see, and how does it read what its document leaves open.

Each finding says in plain words what is so and what usagekit does about it. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

from usagekit import probes
from usagekit.api.retry import http_date
from usagekit.errors import UsageKitError
from usagekit.period import month_of
from usagekit.probes import Finding
from usagekit.query import UsageQuery
from usagekit.vocabulary import EVENTS_PATH, ROUTES

if TYPE_CHECKING:
    from usagekit.api.client import Client

_OLDEST: Final = date(2015, 1, 1)
_DAY: Final = timedelta(days=1)


def doctor_client() -> Client:
    """A client by the settings of the current folder that does not wait long. Raises SettingsError."""
    from usagekit.api.client import Client
    from usagekit.api.retry import Patience
    from usagekit.settings import load_settings

    settings = load_settings()
    return Client(
        base_url=settings.base_url,
        token=settings.secret_token(),
        patience=Patience(tries=2, request_seconds=60, total_seconds=90, longest_wait_seconds=5),
        end_excluded=settings.end_date == "excluded",
    )


def examine(client: Client, *, today: date) -> Iterator[Finding]:
    """Ask the API some 25 small questions and yield what they tell; ends early at a fault."""
    begun = monotonic()
    try:
        client.as_asked(UsageQuery(start=today - _DAY, end=today - _DAY))
    except UsageKitError as error:
        yield Finding("connection", str(error), "Nothing can be asked until this is mended", "fault")
        return
    how = "over verified TLS" if client.base_url.startswith("https") else "unencrypted, on this machine"
    yield Finding(
        "connection", f"{client.place} takes the token and answers in {monotonic() - begun:.2f} s, {how}"
    )
    yield _clock(client)
    yield _rate_limits(client)
    asked: list[tuple[str, Callable[[Client, date], Finding]]] = [
        ("teams", lambda c, _: _members(c, today, "team")),
        ("devices", lambda c, _: _members(c, today, "device")),
    ]
    try:
        earliest, busy = _busy_day(client, today)
    except UsageKitError as error:
        yield Finding("data", str(error), "Nothing can be reported until this is mended", "fault")
        return
    if busy is None:
        yield Finding("data", f"no usage since {_OLDEST}", "What only data can tell is left open", "note")
    else:
        yield Finding("data", f"usage since {earliest}; the examples below are of {busy}")
        asked += [
            *(
                (f"columns of {r.path}", lambda c, d, by=by: probes.columns(c, d, by))
                for by, r in ROUTES.items()
            ),
            (f"columns of {EVENTS_PATH}", probes.event_columns),
            ("labels of hours", probes.hour_labels),
            ("end of a range", probes.end_of_usage),
            ("end of a range of events", probes.end_of_events),
            ("first day of a week", probes.week_start),
            ("longest range of events", probes.longest_events),
            ("times of events", probes.event_times),
        ]
    for topic, probe in asked:
        try:
            yield probe(client, busy or today)
        except UsageKitError as error:
            yield Finding(topic, f"cannot be told: {error}", level="note")


def _clock(client: Client) -> Finding:
    told = http_date(client.headers.get("Date", ""))
    if told is None:
        return Finding("clock", "the API does not say what time it is", level="note")
    skew = (datetime.now(UTC) - told).total_seconds()
    if abs(skew) < 5:
        return Finding("clock", "this machine and the API agree to within 5 s")
    does = (
        "Waits are measured by the API's clock; which day is today is told by this machine's, so set it right"
    )
    return Finding(
        "clock", f"this machine is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", does, "note"
    )


def _rate_limits(client: Client) -> Finding:
    told = {
        name: value for name, value in client.headers.items() if "ratelimit" in name.lower().replace("-", "")
    }
    if told:
        shown = ", ".join(f"{name[:40]}: {value[:40]}" for name, value in sorted(told.items()))
        return Finding("rate limit", f"the API tells {shown!a}", "usagekit asks one question at a time")
    does = "usagekit asks one question at a time, and waits as long as a 429 says"
    return Finding("rate limit", "no answer tells a limit", does)


def _busy_day(client: Client, today: date) -> tuple[str, date | None]:
    """The first month with usage, and a recent day with much of it."""
    from usagekit.api.frames import usage_frame

    months = UsageQuery(start=_OLDEST, end=today)
    frame = usage_frame(client.as_asked(months), months)
    used = frame[frame["total_time_hours"] > 0]["datetime"]
    if used.empty:
        return "", None
    month = month_of(used.iloc[-1].date())
    days = UsageQuery(start=month_of(month.start, shift=-1).start, end=min(month.end, today), bin_size="day")
    frame = usage_frame(client.as_asked(days), days)
    past = frame[frame["datetime"].dt.date < today - _DAY].reset_index(drop=True)
    busy = None if past.empty else past["datetime"][past["total_time_hours"].idxmax()].date()
    return f"{used.iloc[0]:%Y-%m}", busy


def _members(client: Client, today: date, by: str) -> Finding:
    from usagekit.api.frames import usage_frame

    month = month_of(today, shift=-1)
    query = UsageQuery(by=by, start=month.start, end=month.end, display_all=True)
    names = usage_frame(client.as_asked(query), query)[query.group_columns[0]]
    return Finding(f"{by}s", f"the account sees {names.nunique():,}")
