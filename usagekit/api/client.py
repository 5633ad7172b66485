"""Talking to the Usage API over HTTP: the only home of httpx.

The token travels in one header to one origin and appears nowhere else; an answer is whole, checked and
typed, or an error of :mod:`usagekit.errors` says what happened.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from importlib.metadata import version
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import httpx

from usagekit.api.address import curl, query_string
from usagekit.api.cells import day_of
from usagekit.api.refusal import Fault, Reply, is_about_trust, refusal
from usagekit.api.retry import REQUEST_THREAD, Failed, Patience, try_patiently, within
from usagekit.api.spellings import find_columns, require
from usagekit.api.unpack import CutError, Unpacker, UnreadableError, rows_of
from usagekit.errors import ApiConnectionError, ApiError, QueryError, SchemaError, SettingsError
from usagekit.origin import checked_url
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import FIRST_DATE, LAST_DATE
from usagekit.vocabulary import DEFAULT_BASE_URL, MAX_EVENT_DAYS

__all__ = ["Client", "curl"]

MAX_ANSWER_BYTES: Final = 256 * 1024**2
_MAX_ERROR_BYTES: Final = 64 * 1024
_OWN_DAYS: Final = MAX_EVENT_DAYS - 2
_ONE_DAY: Final = timedelta(days=1)
_CONNECT_SECONDS: Final = 10.0
_FAULTS: Final = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.TimeoutException, "no answer in time"),
    (httpx.RemoteProtocolError, "the answer is cut or is not HTTP"),
)


for _name in ("httpx", "httpcore.connection", "httpcore.http11"):
    # They log whole URLs with the names in them, and headers; whoever else uses httpx keeps that.
    logging.getLogger(_name).addFilter(lambda record: record.threadName != REQUEST_THREAD)


class Client:
    """A connection to the Usage API; use it in a ``with`` statement or close it.

    Parameters
    ----------
    base_url
        Scheme and host of the API, with a path before ``/v1`` if there is one.
    token
        The API token. It is sent to the origin of ``base_url`` only, in the Authorization header only.
    allow_http
        Also speak unencrypted HTTP to other machines than this one.
    patience
        How long to wait and how often to try again.
    end_excluded
        The API takes ``end_date`` as the first day after the range; ``usagekit doctor`` finds out.

    Raises
    ------
    SettingsError
        The URL or the token cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_BASE_URL,
        token: str,
        allow_http: bool = False,
        patience: Patience | None = None,
        end_excluded: bool = False,
    ) -> None:
        self._token = token
        self.base_url = ""
        del token  # a traceback that shows local variables shows none of the token
        if not self._token or not all("!" <= c <= "~" for c in self._token):
            raise SettingsError("the API token is empty or holds characters that no token has")
        self.base_url = checked_url(base_url, allow_http=allow_http)
        url = httpx.URL(self.base_url)
        self.host = url.host
        self.place = url.netloc.decode("ascii")
        """Host and, where it is not the usual one, port: the place as errors name it."""
        self.headers: Mapping[str, str] = {}
        """Headers of the last answer, found under any case."""
        self._patience = patience or Patience()
        self.end_excluded = end_excluded
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": f"usagekit/{version('usagekit')}",
            },
            follow_redirects=False,
            trust_env=False,  # a proxy or .netrc of the environment would get the token
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client(base_url={self.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        """Fetch the rows of an aggregation query.

        Raises
        ------
        ApiError
            The API could not be asked or refused; its subclasses say how.
        SchemaError
            The answer is not a list of rows.
        """
        if self.end_excluded and query.end < LAST_DATE:
            query = replace(query, end=query.end + _ONE_DAY)
        return self.as_asked(query)

    def events(self, query: EventsQuery) -> list[dict[str, Any]]:
        """Fetch the sessions of a range of any length, in several requests where needed. Errors as in ``usage``.

        Whether the API takes its last date as included is unknown. So each request asks for one day more
        on both sides and keeps the rows whose ``date`` is its own: nothing is lost and nothing comes twice,
        and equal rows stay as many as they are.
        """
        rows: list[dict[str, Any]] = []
        for own in query.chunks(_OWN_DAYS):
            wider = replace(
                own,
                start=max(own.start, FIRST_DATE + _ONE_DAY) - _ONE_DAY,
                end=min(own.end, LAST_DATE - _ONE_DAY) + _ONE_DAY,
            )
            for row in self.as_asked(wider):
                day = _start_day(row)
                if not wider.start - _ONE_DAY <= day <= wider.end + _ONE_DAY:
                    raise SchemaError(
                        f"the API answered another question: asked for {wider.start} to {wider.end}, it gave {day}"
                    )
                if own.start <= day <= own.end:
                    rows.append(row)
        return rows

    def as_asked(self, query: UsageQuery | EventsQuery) -> list[dict[str, Any]]:
        """Fetch what one request for exactly this range brings, however the API reads its end."""
        if isinstance(query, UsageQuery):
            return self._fetch(query.route.path, target=query_string(query))
        content = json.dumps(query.to_params()).encode()
        return self._fetch(query.path, target=query.path, content=content)

    def fingerprint(self, salt: bytes) -> str:
        """Tell tokens apart without telling them: the beginning of a salted SHA-256."""
        return hashlib.sha256(salt + self._token.encode()).hexdigest()[:16]

    def _fetch(self, path: str, *, target: str, content: bytes | None = None) -> list[dict[str, Any]]:
        return try_patiently(lambda seconds: self._try_once(path, target, content, seconds), self._patience)

    def _try_once(
        self, path: str, target: str, content: bytes | None, seconds: float
    ) -> list[dict[str, Any]]:
        where = {"method": "GET", "path": path}
        try:
            reply = within(seconds, lambda: self._exchange(target, content, seconds))
            if isinstance(reply, Fault):
                raise Failed(ApiConnectionError(f"{self.place}: {reply.text}", **where), again=reply.again)
            self.headers = reply.headers
            if reply.status != 200:
                raise refusal(reply, path, host=self.place, secret=self._token)
            return rows_of(reply.body, secret=self._token)
        except TimeoutError:
            fault = f"{self.place}: no whole answer within {seconds:.3g} s"
            raise Failed(ApiConnectionError(fault, **where), again=True) from None
        except CutError as error:
            raise Failed(
                ApiConnectionError(f"the answer is not whole: {error}", **where), again=True
            ) from None
        except UnreadableError as error:
            raise Failed(ApiError(f"the answer cannot be read: {error}", **where)) from None

    def _exchange(self, target: str, content: bytes | None, seconds: float) -> Reply | Fault:
        """Send the request and take the answer, or say in words why there is none.

        Errors of httpx stop here: they hold the request with its URL and token.
        """
        headers = {} if content is None else {"Content-Type": "application/json"}
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        end = monotonic() + seconds
        url = self.base_url + target
        try:
            with self._http.stream("GET", url, content=content, headers=headers, timeout=timeout) as answer:
                if answer.status_code == 200:
                    return Reply(200, answer.headers, _read(answer, limit=MAX_ANSWER_BYTES, end=end))
                try:
                    body = _read(answer, limit=_MAX_ERROR_BYTES, end=end)
                except (CutError, UnreadableError, TimeoutError, httpx.HTTPError):
                    body = b""  # the status of a refusal counts, even where its text cannot be had
                return Reply(answer.status_code, answer.headers, body)
        except httpx.InvalidURL:
            raise QueryError("the filters are too long for one request", parameter="filter_on") from None
        except httpx.ConnectError as error:
            # In the system's own words: refused, no such host, a bad certificate.
            return Fault(f"cannot connect: {error}", again=not is_about_trust(error))
        except httpx.HTTPError as error:
            text = next((text for kind, text in _FAULTS if isinstance(error, kind)), "the connection broke")
            return Fault(text, again=True)
        except (CutError, UnreadableError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the variables of its frames hold the token
            return Fault(f"the exchange failed with {type(error).__name__}", again=False)


def _start_day(row: Mapping[str, Any]) -> date:
    found = {"date": "date"} if "date" in row else find_columns(row, ["date"])
    require(found, ["date"], where="a row of the events")
    return day_of(row[found["date"]])


def _read(answer: httpx.Response, *, limit: int, end: float) -> bytes:
    unpacker = Unpacker(answer.headers.get("Content-Encoding", ""), limit=limit)
    told = answer.headers.get("Content-Length", "")
    if told.isdecimal() and len(told) > len(str(limit)):
        raise UnreadableError(f"it is larger than {limit // 1024**2} MiB; ask for a shorter range")
    for piece in answer.iter_raw():
        if monotonic() > end:
            raise TimeoutError
        unpacker.feed(piece)
    return unpacker.finish()
