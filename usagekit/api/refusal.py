"""What an answer other than 200 means: its typed error, and whether asking again may help."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from usagekit.api.retry import Failed, retry_after_seconds
from usagekit.api.unpack import detail_of, printable
from usagekit.errors import ApiStatusError, AuthError, RateLimitError, ServerError
from usagekit.vocabulary import EVENTS_PATH


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status, headers (found under any case) and decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer, and whether asking again may help."""

    text: str
    again: bool


def is_about_trust(error: BaseException) -> bool:
    """Whether a connection failed because the other side cannot prove who it is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def refusal(reply: Reply, path: str, *, host: str, secret: str) -> Failed:
    """The failure that a reply other than 200 stands for; tells what the server says, without ``secret``."""
    status = reply.status
    message = f"{status} {detail_of(reply.body, secret=secret)}".strip()
    wait = retry_after_seconds(reply.headers.get("Retry-After"), server_date=reply.headers.get("Date"))
    if status == 401:
        message = f"{host} refuses the token: set HEADSPIN_API_TOKEN to one that is valid ({message})"
        return Failed(AuthError(message, method="GET", path=path, status=status))
    if status == 403:
        message = f"{host} does not let this token ask that{_BODY if path == EVENTS_PATH else ''} ({message})"
        return Failed(AuthError(message, method="GET", path=path, status=status))
    if status == 429:
        limit = RateLimitError(message + _until(wait), method="GET", path=path, retry_after_seconds=wait)
        return Failed(limit, again=True, wait_seconds=wait)
    if status >= 500:
        fault = ServerError(message + _until(wait), method="GET", path=path, status=status)
        return Failed(fault, again=True, wait_seconds=wait)
    if 300 <= status < 400:
        other = _host_of(reply.headers.get("Location", "")) or "another place"
        other = printable(other.encode(errors="replace"), secret=secret, length=80)
        message = f"{status}, a redirect to {other}, which is not followed: check base_url"
    elif status == 404:
        message = f"{host} has no such route: check base_url ({message})"
    return Failed(ApiStatusError(message, method="GET", path=path, status=status))


_BODY = ", or something on the way refuses a GET with a body, as some CDNs do"


def _until(wait: float | None) -> str:
    """When the server wants to be asked again; nothing where it does not say or says never."""
    if not wait or wait > timedelta(days=366).total_seconds():
        return ""
    # Up to the next whole second: whoever waits for this clock is not early.
    moment = (datetime.now(UTC) + timedelta(seconds=wait + 1)).replace(microsecond=0)
    return f"; ask again after {moment:%Y-%m-%d %H:%M:%S} UTC"


def _host_of(location: str) -> str | None:
    try:
        return urlsplit(location).hostname
    except ValueError:
        return None
