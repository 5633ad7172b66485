"""Patience with the API: which failures are tried again, when, and for how long at most."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Thread
from time import monotonic
from typing import Final, TypeVar

import stamina

from usagekit.errors import ApiError

T = TypeVar("T")

REQUEST_THREAD: Final = "usagekit-request"
_FOREVER: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for the API; all times in seconds.

    ``request_seconds`` bounds one try from the first to the last byte, ``total_seconds`` all tries of a
    request and the waits between them. A wait that would pass the total is not begun.
    """

    tries: int = 5
    request_seconds: float = 180.0
    total_seconds: float = 600.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20.0


class Failed(Exception):  # noqa: N818 - a note between two functions, never an error that anybody sees
    """One try failed with ``error``; ``wait_seconds`` is what the server asked for before the next."""

    def __init__(self, error: ApiError, *, again: bool = False, wait_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again
        self.wait_seconds = wait_seconds


def try_patiently(action: Callable[[float], T], patience: Patience) -> T:
    """Call ``action(seconds it may take)`` until it works; raise the error of the last try.

    ``action`` raises :class:`Failed`; what the server asks to wait is waited for in full.
    """
    end = monotonic() + patience.total_seconds

    def decide(failure: Exception) -> bool | float:
        if not isinstance(failure, Failed) or not failure.again:
            return False
        asked = failure.wait_seconds or 0.0
        if monotonic() + max(asked, patience.longest_wait_seconds) >= end:
            return False
        return asked if asked > patience.first_wait_seconds else True

    attempts = stamina.retry_context(
        on=decide,
        attempts=patience.tries,
        timeout=None,
        wait_initial=patience.first_wait_seconds,
        wait_max=patience.longest_wait_seconds,
        wait_jitter=patience.first_wait_seconds,
    )
    tries = 0
    last: Failed | None = None
    try:
        for attempt in attempts:
            with attempt:
                left = end - monotonic()
                if last and left <= 0:  # the wait took longer than it was to: what failed before it stands
                    last.again = False
                    raise last
                tries = attempt.num
                try:
                    return action(min(patience.request_seconds, left))
                except Failed as failure:
                    last = failure
                    raise
    except Failed as failure:
        error = failure.error
        if tries > 1:
            error.args = (f"{error} (tried {tries} times)",)
    # Raised out here, the error carries no chain: what lies below it may show the URL with its query.
    raise error


def within(seconds: float, action: Callable[[], T]) -> T:
    """The result of ``action``, or TimeoutError after so many seconds, whatever it hangs on.

    Timeouts of sockets start anew with every byte; a sender that drips would never meet them. The thread
    that is left behind ends with its connection.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(action())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whole
            result.set_exception(error)

    Thread(target=run, daemon=True, name=REQUEST_THREAD).start()
    return result.result(timeout=max(0.0, seconds))


def retry_after_seconds(value: str | None, *, server_date: str | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, at most a thousand million, or None where it says nothing.

    A date is compared with the server's own ``Date`` where there is one, since the clocks may differ.

    >>> retry_after_seconds("7")
    7.0
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]+", value.strip()):
        return min(float(value), _FOREVER)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(server_date or "") or datetime.now(UTC)
    # Dates are whole seconds: the one more is never early.
    return min(max(0.0, (until - now).total_seconds() + 1), _FOREVER)


def http_date(text: str) -> datetime | None:
    """The instant that a date of HTTP names, or None where it names none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
