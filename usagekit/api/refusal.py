"""What an answer other than 200 means: its typed error, and whether asking again may help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from usagekit.api.retry import Failed, retry_after_seconds
from usagekit.api.unpack import detail_of
from usagekit.errors import ApiStatusError, AuthError, RateLimitError, ServerError


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status, headers (found under any case) and decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(reply: Reply, path: str, *, secret: str) -> Failed:
    """The failure that a reply other than 200 stands for; tells what the server says, without ``secret``."""
    status = reply.status
    message = f"{status} {detail_of(reply.body, secret=secret)}".strip()
    wait = retry_after_seconds(reply.headers.get("Retry-After"), server_date=reply.headers.get("Date"))
    if status in (401, 403):
        return Failed(AuthError(message, method="GET", path=path, status=status))
    if status == 429:
        limit = RateLimitError(message, method="GET", path=path, retry_after_seconds=wait)
        return Failed(limit, again=True, wait_seconds=wait)
    if status >= 500:
        fault = ServerError(message, method="GET", path=path, status=status)
        return Failed(fault, again=True, wait_seconds=wait)
    if 300 <= status < 400:
        host = _host_of(reply.headers.get("Location", "")) or "another place"
        message = f"{status}, a redirect to {host}, which is not followed: check base_url"
    return Failed(ApiStatusError(message, method="GET", path=path, status=status))


def _host_of(location: str) -> str | None:
    try:
        return urlsplit(location).hostname
    except ValueError:
        return None
