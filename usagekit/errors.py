"""Every error that usagekit raises on purpose.

The tree::

    UsageKitError
    ├── SettingsError                     usagekit.toml or the environment
    ├── QueryError (also ValueError)      a question that cannot be asked; .parameter names the culprit
    │   └── NotFetchedError               a snapshot lacks the answer because the API refused it
    ├── SchemaError                       an answer or a file without the columns it must have; .missing
    ├── StoreError                        an event store or snapshot that is missing or damaged
    │   └── StoreLocked                   somebody else is writing it
    ├── ApiError                          .method .path (never the query string, never the token)
    │   ├── ApiConnectionError            no whole answer arrived
    │   └── ApiStatusError                .status
    │       ├── AuthError                 401, 403
    │       ├── RateLimitError            429; .retry_after_seconds
    │       └── ServerError               5xx
    ├── RenderError                       .template .team .month .cell_index .notebook_path
    └── MailError                         .recipients
        └── MailServerError               the mail server or the archive cannot be used
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UsageKitError(Exception):
    """Base of all errors of usagekit."""


class SettingsError(UsageKitError):
    """A setting is missing or wrong."""


class QueryError(UsageKitError, ValueError):
    """A question that the Usage API cannot be asked.

    ``parameter`` is the name of the parameter at fault, as the API spells it.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class NotFetchedError(QueryError):
    """The API refused or failed to answer this when the snapshot was fetched: the value is missing, not zero."""


class SchemaError(UsageKitError):
    """Rows or a file lack what they must have; ``missing`` lists the columns."""

    def __init__(self, message: str, *, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class StoreError(UsageKitError):
    """An event store or a snapshot is missing or damaged."""


class StoreLocked(StoreError):  # noqa: N818 - the state is the name
    """Another process is writing it."""


class ApiError(UsageKitError):
    """Talking to the Usage API failed; knows ``method`` and ``path``, never the query or the token."""

    def __init__(self, message: str, *, method: str, path: str) -> None:
        super().__init__(f"{method} {path}: {message}")
        self.method = method
        self.path = path


class ApiConnectionError(ApiError):
    """No whole answer arrived."""


class ApiStatusError(ApiError):
    """The API answered with an error status."""

    def __init__(self, message: str, *, method: str, path: str, status: int) -> None:
        super().__init__(message, method=method, path=path)
        self.status = status

    @property
    def concerns_all(self) -> bool:
        """Whether the next question will fare no better: the token is refused, or there were too many."""
        return self.status in (401, 429)


class AuthError(ApiStatusError):
    """The token was refused (401) or lacks a right (403)."""


class RateLimitError(ApiStatusError):
    """Too many requests (429); ``retry_after_seconds`` is what the server asked for, or None."""

    def __init__(
        self, message: str, *, method: str, path: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, method=method, path=path, status=429)
        self.retry_after_seconds = retry_after_seconds


class ServerError(ApiStatusError):
    """The server failed (5xx)."""


class RenderError(UsageKitError):
    """A report could not be made; says which, and where in its notebook."""

    def __init__(
        self,
        message: str,
        *,
        template: str = "",
        team: str = "",
        month: str = "",
        cell_index: int | None = None,
        notebook_path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.template = template
        self.team = team
        self.month = month
        self.cell_index = cell_index
        self.notebook_path = notebook_path


class MailError(UsageKitError):
    """A mail could not be sent; ``recipients`` lists who did not get it."""

    def __init__(self, message: str, *, recipients: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.recipients = tuple(recipients)


class MailServerError(MailError):
    """The mail server or the archive is not there, proves no identity or does not know us."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'day'?``, or nothing when no known name is near.

    >>> did_you_mean("dya", ["hour", "day"])
    "; did you mean 'day'?"
    """
    names = {k.casefold(): k for k in known}
    near = get_close_matches(name.casefold(), names, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(names[n]) for n in near)}?" if near else ""
