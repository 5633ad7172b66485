"""The client against the real server and against servers that lie, break off or hesitate."""

from __future__ import annotations

import gzip
import json
import shlex
import socket
import subprocess
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic, sleep

import pytest

import usagekit
from tests import oracle
from tests.wire.conftest import HOSTILE, TOKEN, RawServer, Served, http
from usagekit.api.client import Client, curl
from usagekit.api.retry import Patience, retry_after_seconds
from usagekit.errors import (
    ApiConnectionError,
    ApiError,
    ApiStatusError,
    AuthError,
    QueryError,
    RateLimitError,
    SchemaError,
    ServerError,
    SettingsError,
)
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import FIRST_DATE, LAST_DATE, parse_date
from usagekit.vocabulary import ROUTES

HASTY = Patience(
    tries=3, request_seconds=5, total_seconds=20, first_wait_seconds=0.01, longest_wait_seconds=0.05
)
QUERY = UsageQuery(
    by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), filters=(("team_name", ("canary-team",)),)
)
GOOD = b'{"report": [{"datetime": "2023-03-01", "team": "NA", "total_time": 1.5, "unit": "hour"}]}'
RawStart = Callable[..., RawServer]


def client_of(server: RawServer | Served, patience: Patience = HASTY) -> Client:
    return Client(base_url=server.base_url, token=TOKEN, patience=patience)


def ask(raw: RawServer, patience: Patience = HASTY) -> list[dict[str, object]]:
    with client_of(raw, patience) as client:
        return client.usage(QUERY)


def fails(raw: RawServer, kind: type[Exception], *, tries: int) -> Exception:
    """The error of a question, which tells neither token nor query and is of exactly this type."""
    with pytest.raises(kind) as caught:
        ask(raw)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert TOKEN not in told
    assert "canary-team" not in told
    assert caught.type is kind
    assert len(raw.requests) == tries
    return caught.value


@pytest.mark.parametrize("by", ROUTES)
def test_rows_of_each_route(served: Served, by: str) -> None:
    """The client brings the rows that the oracle computes, hostile names whole."""
    query = UsageQuery(by=by, start=date(2023, 3, 1), end=date(2023, 3, 31), bin_size="day")
    with client_of(served) as client:
        rows = client.usage(query)
    for row, right in zip(rows, oracle.usage(served.lab, by, query.to_params()), strict=True):
        assert row == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in right.items()}


@pytest.mark.parametrize("team", HOSTILE)
def test_filters_travel_whole(served: Served, team: str) -> None:
    """A filter on any team name finds exactly that team."""
    query = UsageQuery(
        by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), filters=(("team_name", (team,)),)
    )
    with client_of(served) as client:
        assert [row["team"] for row in client.usage(query)] == [team]


@pytest.mark.promise(2)
def test_request_is_what_the_document_says(raw_server: RawStart) -> None:
    """One GET with the query escaped by %20, the token in the Authorization header and nowhere else."""
    raw = raw_server(http(GOOD))
    ask(raw)
    head = raw.requests[0].decode()
    assert head.startswith(
        "GET /v1/usage/team?start_date=20230301&end_date=20230331&metric=total_time&timezone=UTC"
    )
    assert f"authorization: bearer {TOKEN}\r\n" in head.lower()
    assert head.count(TOKEN) == 1
    assert "accept-encoding: gzip\r\n" in head.lower()


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize(
    ("start", "end"),
    [(date(2023, 1, 1), date(2023, 12, 31)), (FIRST_DATE, date(1970, 1, 3)), (date(2199, 12, 30), LAST_DATE)],
)
def test_long_ranges_under_both_readings(
    monkeypatch: pytest.MonkeyPatch, inclusive: bool, start: date, end: date
) -> None:
    """Whether the API takes its last date as included or not, each session comes once and twins stay two."""
    margin = timedelta(days=2) if start > FIRST_DATE and end < LAST_DATE else timedelta()
    count = (end - start + 2 * margin).days + 1
    every = [start - margin + timedelta(days=number) for number in range(count)]
    lab = [{"date": f"{day:%Y%m%d}", "device_id": "00123"} for day in every for _ in range(2)]

    def answer(_: Client, path: str, *, target: str, content: bytes) -> list[dict[str, str]]:
        body = json.loads(content)
        first, last = body["start_date"], body["end_date"]
        assert (parse_date(last, parameter="end") - parse_date(first, parameter="start")).days <= 119
        # No day after the last of all can be asked for: there an exclusive end would have no way to include it.
        stop = f"{last}~" if inclusive or last == f"{LAST_DATE:%Y%m%d}" else last
        return [row for row in lab if first <= row["date"] < stop]

    monkeypatch.setattr(Client, "_fetch", answer)
    with Client(token=TOKEN) as client:
        rows = client.events(EventsQuery(start=start, end=end))
    wanted = [row for row in lab if f"{start:%Y%m%d}" <= row["date"] <= f"{end:%Y%m%d}"]
    assert rows == wanted
    assert len(rows) == 2 * ((end - start).days + 1)


def test_events_over_the_wire(served: Served) -> None:
    """Ten years of sessions come in many requests as if it were one."""
    with client_of(served) as client:
        rows = client.events(EventsQuery(start=date(2018, 1, 1), end=date(2027, 12, 31)))
    assert rows == oracle.events(served.lab, {"start_date": "20180101", "end_date": "20271231"})


def test_events_need_their_date(raw_server: RawStart) -> None:
    """A session without a readable date could be lost or doubled, so it is an error."""
    for row in ({"user": "x"}, {"date": "soon"}):
        raw = raw_server(http(json.dumps({"report": [row]}).encode()))
        with client_of(raw) as client, pytest.raises(SchemaError, match="date"):
            client.events(EventsQuery(start=date(2023, 3, 1), end=date(2023, 3, 2)))


@pytest.mark.parametrize(
    "answer",
    [
        http(gzip.compress(GOOD), "Content-Encoding: gzip"),
        http(gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]), "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
        b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,
    ],
)
def test_whole_bodies(raw_server: RawStart, answer: bytes) -> None:
    """A whole body is read however it travels: gzip, in several members, chunked, or up to the close."""
    assert ask(raw_server(answer)) == json.loads(GOOD)["report"]


ZIPPED = gzip.compress(GOOD)
CUT_BODIES = {
    "length too long": http(GOOD, length=len(GOOD) + 1),
    "length too short": http(GOOD, length=len(GOOD) - 1),
    "gzip without trailer": http(ZIPPED[:-8], "Content-Encoding: gzip"),
    "gzip with half a trailer": http(ZIPPED[:-1], "Content-Encoding: gzip"),
    "gzip with a wrong checksum": http(ZIPPED[:-8] + bytes(8), "Content-Encoding: gzip"),
    "no gzip at all": http(GOOD, "Content-Encoding: gzip"),
    "rubbish after gzip": http(ZIPPED + b"x", "Content-Encoding: gzip"),
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(GOOD), GOOD),
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing": b"",
    "cut before the close": b"HTTP/1.1 200 OK\r\n\r\n" + GOOD[:-2],
    "empty": http(b""),
}


@pytest.mark.parametrize("name", CUT_BODIES)
def test_cut_bodies(raw_server: RawStart, name: str) -> None:
    """A body that is not whole is never an answer: it is asked for again, then an error."""
    fails(raw_server(CUT_BODIES[name]), ApiConnectionError, tries=3)


def test_cut_then_whole(raw_server: RawStart) -> None:
    """A question whose first answer broke off is answered by the second."""
    raw = raw_server(CUT_BODIES["length too long"], http(GOOD))
    assert ask(raw) == json.loads(GOOD)["report"]
    assert len(raw.requests) == 2


@pytest.mark.parametrize(
    ("body", "kind", "word"),
    [
        (b"[]", SchemaError, "report"),
        (b'{"rows": []}', SchemaError, "report"),
        (b'{"report": {}}', SchemaError, "report"),
        (b'{"report": [1]}', SchemaError, "row 0"),
        (b'{"report": [{"total_time": Infinity}]}', SchemaError, "JSON"),
        (b'{"report": [{"team": "\\ud800"}]}', SchemaError, "UTF-8"),
        (b'{"report": [{"team": "\xff"}]}', SchemaError, "UTF-8"),
        (b"hello", SchemaError, "JSON"),
        (b"{" + b'"a":{' * 100_000 + b"}" * 100_000, SchemaError, "JSON"),
        (b"<html>Please\x00 log in" + b"!" * 500, ApiError, "<html>Please log in!!!"),
    ],
)
def test_answers_that_are_none(raw_server: RawStart, body: bytes, kind: type[Exception], word: str) -> None:
    """A whole body that holds no rows is an error that says what it is; asking again would not help."""
    error = fails(raw_server(http(body)), kind, tries=1)
    assert word in str(error)
    assert len(str(error)) < 200


@pytest.mark.promise(11)
def test_too_large_an_answer(raw_server: RawStart, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small gzip body that swells beyond the cap is refused before it fills the memory."""
    monkeypatch.setattr("usagekit.api.client.MAX_ANSWER_BYTES", 1024**2)
    bomb = http(gzip.compress(b" " * 50 * 1024**2), "Content-Encoding: gzip")
    assert "larger than 1 MiB" in str(fails(raw_server(bomb), ApiError, tries=1))


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        ("400 Bad Request", ApiStatusError, 1),
        ("401 Unauthorized", AuthError, 1),
        ("403 Forbidden", AuthError, 1),
        ("204 No Content", ApiStatusError, 1),
        ("429 Too Many Requests", RateLimitError, 3),
        ("500 Internal Server Error", ServerError, 3),
        ("503 Service Unavailable", ServerError, 3),
    ],
)
def test_refusals(raw_server: RawStart, status: str, kind: type[Exception], tries: int) -> None:
    """Each status is its error; what the server echoes of token and query is not told."""
    echo = {"detail": f"bad metric in /v1/usage/team?filter_on.team_name=canary-team with Bearer {TOKEN}"}
    body = b"" if status.startswith("204") else json.dumps(echo).encode()
    error = fails(raw_server(http(body, status=status)), kind, tries=tries)
    assert ("bad metric" in str(error)) == bool(body)
    assert vars(error).get("status") == int(status[:3])


def test_refusal_whose_text_breaks_off(raw_server: RawStart) -> None:
    """The status of a refusal counts even where the text after it never comes."""
    fails(raw_server(http(b"no", status="401 Unauthorized", length=99)), AuthError, tries=1)


@pytest.mark.promise(2)
def test_redirects_are_not_followed(raw_server: RawStart) -> None:
    """A redirect is an error that names the other host; the token does not travel there."""
    other = raw_server(http(GOOD))
    location = f"Location: {other.base_url}/v1/usage?token={TOKEN}"
    error = fails(raw_server(http(b"", location, status="302 Found")), ApiStatusError, tries=1)
    assert "redirect to 127.0.0.1" in str(error)
    assert other.requests == []


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_retry_after_is_honoured(raw_server: RawStart, status: str) -> None:
    """What the server asks to wait is waited for in full, then the question is answered."""
    raw = raw_server(http(b"{}", "Retry-After: 1", status=status), http(GOOD))
    assert ask(raw) == json.loads(GOOD)["report"]
    assert 1.0 <= raw.times[1] - raw.times[0] < 3


def test_too_long_a_wait_is_told(raw_server: RawStart) -> None:
    """A wait beyond the total patience is not begun; the error says how long it would be."""
    error = fails(raw_server(http(b"{}", "Retry-After: 3600", status="429 Slow")), RateLimitError, tries=1)
    assert isinstance(error, RateLimitError)
    assert error.retry_after_seconds == 3600


def test_retry_after_dates() -> None:
    """A date is measured by the server's own clock and never comes out early; nonsense says nothing."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    then = format_datetime(now + timedelta(seconds=30), usegmt=True)
    assert retry_after_seconds(then, server_date=format_datetime(now, usegmt=True)) == 31
    assert retry_after_seconds(then, server_date=format_datetime(now + timedelta(days=1), usegmt=True)) == 0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 29 <= (retry_after_seconds(soon) or 0) <= 31
    assert [retry_after_seconds(t) for t in (None, "", "soon", "-1", "1e9")] == [None] * 5


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
)
def test_dripping_answers_meet_a_deadline(raw_server: RawStart, head: bytes) -> None:
    """A server that sends a byte now and then, in head or body, does not hold a question forever."""

    def drip(connection: socket.socket) -> None:
        try:
            connection.sendall(head)
            for _ in range(100):
                connection.sendall(b"x")
                sleep(0.05)
        except OSError:
            return  # the client has hung up, as it should

    begun = monotonic()
    with pytest.raises(ApiConnectionError, match=r"within 0\.4 s"):
        ask(raw_server(drip), Patience(tries=1, request_seconds=0.4))
    assert monotonic() - begun < 4


def test_nobody_there() -> None:
    """A closed port is a connection error that tells neither token nor query."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    fails(RawServer(base_url), ApiConnectionError, tries=0)


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.example.com",
        "ftp://127.0.0.1",
        "http://user:canary@127.0.0.1",
        "https://api.example.com/?token=canary",
        "http://127.0.0.1\\@evil.example",
        "http://[::1",
        "api.example.com",
        "",
    ],
)
def test_base_urls_that_are_refused(base_url: str) -> None:
    """Only https, or http on this machine, may carry the token."""
    with pytest.raises(SettingsError, match="base_url") as caught:
        Client(base_url=base_url, token=TOKEN)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["http://localhost:8642", "http://[::1]:8642/", "https://lab.example.com/api/"]
)
def test_base_urls_that_are_taken(base_url: str) -> None:
    """Loopback and https are taken, and so is http elsewhere when it is asked for."""
    assert repr(Client(base_url=base_url, token=TOKEN)) == f"Client(base_url={base_url.rstrip('/')!r})"
    Client(base_url="http://lab.example.com", token=TOKEN, allow_http=True).close()


@pytest.mark.parametrize("token", ["", "canary token", "canary\r\nX: y", "canary-é"])
def test_tokens_that_are_refused(token: str) -> None:
    """A token that no header can carry is refused and not told."""
    with pytest.raises(SettingsError, match="token") as caught:
        Client(token=token)
    assert "canary" not in str(caught.value)


@pytest.mark.promise(2)
def test_proxies_of_the_environment_are_ignored(
    raw_server: RawStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment does not get the token."""
    proxy, raw = raw_server(http(b"{}")), raw_server(http(GOOD))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.base_url)
    assert ask(raw)
    assert proxy.requests == []


def test_too_many_filters_are_a_query_error(served: Served) -> None:
    """A question that no URL can hold is told as such before anything is sent."""
    query = UsageQuery(
        start=date(2023, 3, 1), end=date(2023, 3, 1), filters=(("team_name", ("x" * 70_000,)),)
    )
    with client_of(served) as client, pytest.raises(QueryError, match="too long"):
        client.usage(query)


@pytest.mark.parametrize(
    "query",
    [
        UsageQuery(
            by="team",
            start=date(2023, 3, 1),
            end=date(2023, 3, 31),
            filters=(("team_name", HOSTILE),),
            timezone="US/Pacific",
        ),
        EventsQuery(
            start=date(2023, 3, 1), end=date(2023, 3, 31), devices=("00123@lab-1", "it's $(x) `y`@h")
        ),
    ],
)
def test_curl_asks_the_same(served: Served, query: UsageQuery | EventsQuery) -> None:
    """The curl command, run by a shell, brings the rows that the client brings, and holds no token."""
    command = curl(query, served.base_url)
    assert TOKEN not in command
    assert "Bearer $HEADSPIN_API_TOKEN" in shlex.split(command)[4]
    done = subprocess.run(
        ["sh", "-c", command + " -sS"],
        capture_output=True,
        check=True,
        timeout=60,
        env={"HEADSPIN_API_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"},
    )
    with client_of(served) as client:
        rows = client.usage(query) if isinstance(query, UsageQuery) else client.events(query)
    assert json.loads(done.stdout)["report"] == rows != []


def test_only_home_of_httpx() -> None:
    """The client alone imports httpx, and what reads the address for it: two readings of a host could differ."""
    home = Path(usagekit.__file__).parent
    assert sorted(
        p.name for p in home.rglob("*.py") if "import httpx" in p.read_text() or "from httpx" in p.read_text()
    ) == ["client.py", "origin.py"]
