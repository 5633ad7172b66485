"""Talking to the Usage API over HTTP: the only home of httpx.

The token travels in one header to one origin and appears nowhere else; an answer is whole, checked and
typed, or an error of :mod:`usagekit.errors` says what happened.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from importlib.metadata import version
from ipaddress import ip_address
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import httpx

from usagekit.api.cells import day_of
from usagekit.api.refusal import Reply, refusal
from usagekit.api.retry import Failed, Patience, try_patiently, within
from usagekit.api.spellings import find_columns, require
from usagekit.api.unpack import CutError, Unpacker, UnreadableError, rows_of
from usagekit.errors import ApiConnectionError, ApiError, QueryError, SettingsError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import FIRST_DATE, LAST_DATE
from usagekit.vocabulary import DEFAULT_BASE_URL, MAX_EVENT_DAYS

MAX_ANSWER_BYTES: Final = 256 * 1024**2
_MAX_ERROR_BYTES: Final = 64 * 1024
_OWN_DAYS: Final = MAX_EVENT_DAYS - 2
_ONE_DAY: Final = timedelta(days=1)
_TIMEOUT: Final = httpx.Timeout(connect=10, read=60, write=30, pool=30)
_FAULTS: Final = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.TimeoutException, "no answer in time"),
    (httpx.RemoteProtocolError, "the answer is cut or is not HTTP"),
)


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
    ) -> None:
        self.base_url = _checked_url(base_url, allow_http=allow_http)
        if not token or not all("!" <= c <= "~" for c in token):
            raise SettingsError("the API token is empty or holds characters that no token has")
        self._token = token
        self._patience = patience or Patience()
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": f"usagekit/{version('usagekit')}",
            },
            timeout=_TIMEOUT,
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
        return self._fetch(query.route.path, target=query.route.path + _query_string(query))

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
            content = json.dumps(wider.to_params()).encode()
            answer = self._fetch(query.path, target=query.path, content=content)
            rows += [row for row in answer if own.start <= _start_day(row) <= own.end]
        return rows

    def _fetch(self, path: str, *, target: str, content: bytes | None = None) -> list[dict[str, Any]]:
        return try_patiently(lambda seconds: self._try_once(path, target, content, seconds), self._patience)

    def _try_once(
        self, path: str, target: str, content: bytes | None, seconds: float
    ) -> list[dict[str, Any]]:
        where = {"method": "GET", "path": path}
        try:
            reply = within(seconds, lambda: self._exchange(target, content, monotonic() + seconds))
            if isinstance(reply, str):
                raise Failed(ApiConnectionError(reply, **where), again=True)
            if reply.status != 200:
                raise refusal(reply, path, secret=self._token)
            return rows_of(reply.body, secret=self._token)
        except TimeoutError:
            fault = f"no whole answer within {seconds:.3g} s"
            raise Failed(ApiConnectionError(fault, **where), again=True) from None
        except CutError as error:
            raise Failed(
                ApiConnectionError(f"the answer is not whole: {error}", **where), again=True
            ) from None
        except UnreadableError as error:
            raise Failed(ApiError(f"the answer cannot be read: {error}", **where)) from None

    def _exchange(self, target: str, content: bytes | None, end: float) -> Reply | str:
        """Send the request and take the answer, or say in words why there is none.

        Errors of httpx stop here: they hold the request with its URL and token.
        """
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            with self._http.stream("GET", self.base_url + target, content=content, headers=headers) as answer:
                if answer.status_code == 200:
                    return Reply(200, answer.headers, _read(answer, limit=MAX_ANSWER_BYTES, end=end))
                try:
                    body = _read(answer, limit=_MAX_ERROR_BYTES, end=end)
                except (CutError, UnreadableError, TimeoutError, httpx.HTTPError):
                    body = b""  # the status of a refusal counts, even where its text cannot be had
                return Reply(answer.status_code, answer.headers, body)
        except httpx.InvalidURL:
            raise QueryError("the filters are too long for one request", parameter="filter_on") from None
        except httpx.HTTPError as error:
            if isinstance(error, httpx.ConnectError):
                # In the system's own words: refused, no such host, a bad certificate.
                return f"cannot connect: {error}"
            return next((text for kind, text in _FAULTS if isinstance(error, kind)), "the connection broke")


def curl(query: UsageQuery | EventsQuery, base_url: str = DEFAULT_BASE_URL) -> str:
    """The same question as a curl command, which takes the token from ``$HEADSPIN_API_TOKEN``."""
    command = 'curl -X GET -H "Authorization: Bearer $HEADSPIN_API_TOKEN" '
    base_url = base_url.rstrip("/")
    if isinstance(query, UsageQuery):
        return command + shlex.quote(base_url + query.route.path + _query_string(query))
    body = shlex.quote(json.dumps(query.to_params(), ensure_ascii=False))
    return f"{command}{shlex.quote(base_url + query.path)} -d {body}"


def _start_day(row: Mapping[str, Any]) -> date:
    found = {"date": "date"} if "date" in row else find_columns(row, ["date"])
    require(found, ["date"], where="a row of the events")
    return day_of(row[found["date"]])


def _query_string(query: UsageQuery) -> str:
    # %20 and not +, as in the API's document; the slash of a zone stays readable.
    return "?" + urlencode(query.to_params(), quote_via=quote, safe="/")


def _read(answer: httpx.Response, *, limit: int, end: float) -> bytes:
    unpacker = Unpacker(answer.headers.get("Content-Encoding", ""), limit=limit)
    for piece in answer.iter_raw():
        if monotonic() > end:
            raise TimeoutError
        unpacker.feed(piece)
    return unpacker.finish()


def _checked_url(base_url: str, *, allow_http: bool) -> str:
    try:
        url = httpx.URL(base_url)  # read by the one who will send to it: no second opinion on the host
    except (httpx.InvalidURL, TypeError):
        raise SettingsError("base_url is not a URL") from None
    if not url.host or url.scheme not in ("http", "https"):
        raise SettingsError("base_url is not an http or https URL")
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("base_url must be scheme, host and path only: no user, query or fragment")
    if url.scheme == "http" and not allow_http and not _is_loopback(url.host):
        raise SettingsError(f"base_url would send the token unencrypted to {url.host}: use https")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
