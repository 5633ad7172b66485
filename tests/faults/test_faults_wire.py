"""Bodies that break off, drip, swell or are dressed oddly: whole or an error, in time and in little memory."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from math import inf
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import within
from tests.faults.proxy import proxying
from tests.faults.scripted import Reply, rows, scripted
from tests.wire.conftest import TOKEN, RawServer, http
from usagekit.api import retry
from usagekit.api.client import Client
from usagekit.api.retry import Patience, retry_after_seconds
from usagekit.errors import (
    ApiConnectionError,
    ApiError,
    AuthError,
    RateLimitError,
    SchemaError,
    ServerError,
    UsageKitError,
)
from usagekit.query import EventsQuery, UsageQuery

Start = Callable[..., RawServer]
ONCE = Patience(tries=1, request_seconds=5, total_seconds=5)
QUERY = UsageQuery(by="team", start=date(2023, 3, 1), end=date(2023, 3, 31))
ROW = {"datetime": "2023-03-01", "team": "チーム 🙂", "total_time": 1.5, "unit": "hour"}
GOOD = json.dumps({"report": [ROW]}, ensure_ascii=False).encode()
ZIPPED = gzip.compress(GOOD, mtime=0)


def chunked(body: bytes, size: int = 40) -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
FORMS = {
    "plain": http(GOOD),
    "gzip": http(ZIPPED, "Content-Encoding: gzip"),
    "chunked": CHUNKS + b"\r\n" + chunked(GOOD),
    "chunked gzip": CHUNKS + b"Content-Encoding: gzip\r\n\r\n" + chunked(ZIPPED),
    "until the close": b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,
    "gzip until the close": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + ZIPPED,
}


def ask(base_url: str, patience: Patience = ONCE) -> list[dict[str, object]]:
    with Client(base_url=base_url, token=TOKEN, patience=patience) as client:
        return client.usage(QUERY)


@pytest.mark.fault(8, 9, 11)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("form", FORMS)
def test_cut_at_every_byte(raw_server: Start, form: str, reset: bool) -> None:
    """An answer cut at any byte, by a close or a reset, is an error or equal to the whole: never a part."""
    answer = FORMS[form]
    whole = 0
    with (
        proxying(raw_server(answer).base_url) as proxy,
        Client(base_url=proxy.base_url, token=TOKEN, patience=ONCE) as client,
    ):
        proxy.reset = reset
        for proxy.cut_after in range(len(answer) + 1):
            try:
                assert client.usage(QUERY) == [ROW]
                whole += 1
            except ApiConnectionError:
                assert proxy.cut_after < len(answer) or reset
    assert whole >= (0 if reset else 1)
    assert whole <= 3  # the whole, and perhaps without the line ends after it


@pytest.mark.fault(8)
def test_a_cut_answer_is_asked_for_again(raw_server: Start) -> None:
    """After answers that were reset in the middle the whole one counts."""
    cuts = iter([150, 151, None])

    with proxying(raw_server(FORMS["gzip"]).base_url) as proxy:
        real = proxy._pass

        def worse(client: socket.socket, server: socket.socket) -> None:
            proxy.cut_after = next(cuts)
            proxy.reset = proxy.cut_after is not None
            real(client, server)

        proxy._pass = worse  # type: ignore[method-assign]
        assert ask(proxy.base_url, Patience(first_wait_seconds=0.01)) == [ROW]
        assert proxy.connections == 3


def test_slices_and_latency_do_no_harm(raw_server: Start) -> None:
    """The same rows come whether the answer comes at once, late, or in pieces of a byte."""
    for form, answer in FORMS.items():
        with proxying(raw_server(answer).base_url) as proxy:
            proxy.slice_bytes, proxy.latency = 1, 0.0005
            assert ask(proxy.base_url) == [ROW], form


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("body", "encoding", "word"),
    [
        (gzip.compress(ZIPPED), "gzip", "compressed once more"),
        (gzip.compress(ZIPPED), "gzip, gzip", "not asked for"),
        (ZIPPED, "identity", "compressed once more"),
        (b"\x8b\x02\x80", "br", "not asked for"),
        (zlib.compress(GOOD), "deflate", "not asked for"),
        (ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "gzip", "damaged"),
        (ZIPPED[:-4] + bytes(4), "gzip", "damaged"),
        (ZIPPED + gzip.compress(b" ")[:-3], "gzip", "too early"),
    ],
)
def test_odd_dresses(raw_server: Start, body: bytes, encoding: str, word: str) -> None:
    """Gzip twice, unasked codings, a wrong checksum or length, a second member cut: each is named."""
    with pytest.raises(ApiError, match=word):
        ask(raw_server(http(body, f"Content-Encoding: {encoding}")).base_url)


@pytest.mark.fault(11)
@pytest.mark.parametrize("pieces", [1, 2, 7, len(GOOD)])
def test_gzip_members(raw_server: Start, pieces: int) -> None:
    """A gzip body of any number of members is read whole."""
    size = -(-len(GOOD) // pieces)
    body = b"".join(gzip.compress(GOOD[i : i + size]) for i in range(0, len(GOOD), size))
    assert ask(raw_server(http(body, "Content-Encoding: gzip")).base_url) == [ROW]


@pytest.mark.fault(10)
def test_csv_is_never_an_answer() -> None:
    """The client asks for JSON only, for a CSV cut at a line cannot be told from a whole one, and refuses CSV."""
    with scripted(lambda asked: Reply(b"User/Team,Email\nAna,ana@example.com\n")) as server:
        with (
            Client(base_url=server.base_url, token=TOKEN) as client,
            pytest.raises(SchemaError, match="JSON"),
        ):
            client.events(EventsQuery(start=date(2023, 3, 1), end=date(2023, 3, 2)))
        assert "format" not in server.asked[0].body


@pytest.mark.promise(11)
@pytest.mark.fault(14)
@pytest.mark.parametrize("where", ["head", "body", "chunk", "between"])
def test_drips_end_at_the_deadline(raw_server: Start, where: str) -> None:
    """However slowly an answer drips, the question ends within half a second of its total patience."""
    heads = {
        "head": b"HTTP/1.1 200 OK\r\nX: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        "chunk": CHUNKS + b"\r\nfff\r\n",
        "between": b"",
    }

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(heads[where])
            for _ in range(60):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" if where == "between" else b"x")
                sleep(0.05)

    patience = Patience(tries=5, request_seconds=1, total_seconds=1, longest_wait_seconds=0.1)

    def given_up_after() -> float:
        begun = monotonic()
        with pytest.raises(ApiConnectionError, match="no whole answer"):
            ask(raw_server(drip).base_url, patience)
        seconds = monotonic() - begun
        assert seconds >= 0.8
        return seconds

    within(1.5, given_up_after)


@pytest.mark.fault(14)
def test_bandwidth_meets_the_deadline(raw_server: Start) -> None:
    """A line of 30 bytes a second is given up at the deadline, and is enough when there is time."""
    with proxying(raw_server(FORMS["gzip"]).base_url) as proxy:
        proxy.slice_bytes, proxy.bytes_per_second = 3, 30.0

        def given_up_after() -> float:
            begun = monotonic()
            with pytest.raises(ApiConnectionError, match=r"within 0\.6 s"):
                ask(proxy.base_url, Patience(tries=1, request_seconds=0.6))
            return monotonic() - begun

        within(1.1, given_up_after)
        proxy.bytes_per_second = 3000.0
        assert ask(proxy.base_url) == [ROW]


@pytest.mark.fault(6, 14)
def test_retries_end_at_the_deadline() -> None:
    """Failures without end stop within the total patience, well before the next wait would pass it."""
    patience = Patience(tries=1000, total_seconds=1.2, first_wait_seconds=0.05, longest_wait_seconds=0.1)

    def given_up_after() -> float:
        begun = monotonic()
        with scripted(lambda _: Reply(status=502)) as server, pytest.raises(ServerError, match="tried"):
            ask(server.base_url, patience)
        seconds = monotonic() - begun
        assert seconds >= 0.7
        return seconds if len(server.asked) > 5 else inf  # the machine was away for most of it

    within(1.7, given_up_after)


def test_a_wait_that_took_too_long_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over after a wait the error before it is told, not that there was no time."""
    clock = iter((0.0, 0.0, 0.5, 1.5))  # the beginning, the first try, the wait that it may, the second try
    monkeypatch.setattr(retry, "monotonic", lambda: next(clock))
    allowed = []

    def fails(seconds: float) -> None:
        allowed.append(seconds)
        raise retry.Failed(ApiConnectionError("reset", method="GET", path="/v1/usage"), again=True)

    patience = Patience(total_seconds=1.0, first_wait_seconds=0.01, longest_wait_seconds=0.02)
    with pytest.raises(ApiConnectionError, match=r"reset$"):
        retry.try_patiently(fails, patience)
    assert allowed == [1.0]


BOMB = """
import resource, sys
from datetime import date
from usagekit.api.client import Client
from usagekit.errors import ApiError
from usagekit.query import UsageQuery
client = Client(base_url=sys.argv[1], token="canary")
query = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 1))
client.usage(query)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    client.usage(query)
except ApiError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.promise(11)
@pytest.mark.fault(15)
@pytest.mark.parametrize("kind", ["zeros", "rows", "told size", "head", "members"])
def test_bombs(raw_server: Start, kind: str) -> None:
    """300 MB in 0.3 MB of gzip, 10 GB announced, or a head or members without end: refused in 64 MB at most."""
    packer = zlib.compressobj(wbits=31)
    row = b"{}," * 2**18 if kind == "rows" else bytes(2**20)
    swollen = (
        packer.compress(b'{"report": [') + b"".join(packer.compress(row) for _ in range(300)) + packer.flush()
    )

    def pour(connection: socket.socket) -> None:
        with suppress(OSError):
            if kind == "head":
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"X-More: and more\r\n" * 1000)
            elif kind == "members":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
                while True:
                    connection.sendall(gzip.compress(b"") * 200)
            elif kind == "told size":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n{")
                sleep(5)
            else:
                connection.sendall(http(swollen, "Content-Encoding: gzip"))

    raw = raw_server(http(GOOD), pour)
    patience = 5 if kind == "members" else 60  # only that one is waited for
    seconds = (
        "from usagekit.api.retry import Patience\n"
        f"client._patience = Patience(tries=1, request_seconds={patience})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", BOMB.replace("query = ", seconds + "query = ", 1), raw.base_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    grown, _, error = done.stdout.partition(" ")
    assert int(grown) < 64 * 1024, done.stdout
    words = {"told size": "larger than", "head": "not HTTP", "members": "within 5 s"}
    assert words.get(kind, "swells") in error


def test_honest_answers_may_swell(raw_server: Start) -> None:
    """Two hundred thousand rows of zeros, 15 MB in 0.1, are no bomb."""
    many = [ROW | {"total_time": 0.0}] * 200_000
    body = gzip.compress(json.dumps({"report": many}).encode())
    assert len(ask(raw_server(http(body, "Content-Encoding: gzip")).base_url)) == 200_000


@pytest.mark.fault(1, 2, 3)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "{host} refuses the token: set HEADSPIN_API_TOKEN"),
        (403, "does not let this token ask that, or something on the way refuses a GET with a body"),
        (404, "/v0/usage/events: {host} has no such route: check base_url"),
    ],
)
def test_refusals_say_what_to_do(status: int, words: str) -> None:
    """A refusal is final, and names the variable, both causes, or host and path."""
    with scripted(lambda _: Reply(b"<html>blocked</html>", status)) as server:
        with Client(base_url=server.base_url, token=TOKEN) as client, pytest.raises(ApiError) as caught:
            client.events(EventsQuery(start=date(2023, 3, 1), end=date(2023, 3, 2)))
        assert len(server.asked) == 1
    assert words.format(host=server.base_url.removeprefix("http://")) in str(caught.value)
    assert isinstance(caught.value, AuthError) == (status != 404)
    assert TOKEN not in str(caught.value)


def dated(seconds: float, skew: float = 0.0) -> dict[str, str]:
    server_now = datetime.now(UTC) + timedelta(seconds=skew)
    return {
        "Date": format_datetime(server_now, usegmt=True),
        "Retry-After": format_datetime(server_now + timedelta(seconds=seconds), usegmt=True),
    }


@pytest.mark.fault(4, 5)
@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        (lambda: {"Retry-After": "1"}, 1.0, 2.5),
        (lambda: dated(1), 1.0, 3.5),
        (lambda: dated(1, skew=7200), 1.0, 3.5),
        (lambda: dated(1, skew=-7200), 1.0, 3.5),
        *(
            (lambda value=value: {"Retry-After": value}, 0.0, 0.8)
            for value in ("nan", "inf", "1e35", "", "-5", "soon", "1.5", "Mon, 01 Jan 0000 00:00:00 GMT")
        ),
        (lambda: dated(-3600), 0.0, 0.8),
    ],
)
def test_retry_after_is_never_early(headers: Callable[[], dict[str, str]], least: float, most: float) -> None:
    """Seconds and dates are waited for in full whatever the clocks say; nonsense and the past are our own wait."""

    def waited() -> float:
        answers = iter([Reply(b"{}", 429, headers()), rows(ROW)])
        with scripted(lambda _: next(answers)) as server:
            assert ask(server.base_url, Patience(first_wait_seconds=0.01, longest_wait_seconds=0.1)) == [ROW]
        seconds = server.asked[1].at - server.asked[0].at
        assert seconds >= least
        return seconds

    within(most, waited)


@pytest.mark.fault(4)
@pytest.mark.parametrize("value", ["86400", "9999999999", "1" * 400])
def test_waits_beyond_patience_are_told(value: str) -> None:
    """A wait beyond the total patience is not begun; the error says when to ask again, where that is a time."""
    with (
        scripted(lambda _: Reply(b"{}", 429, {"Retry-After": value})) as server,
        pytest.raises(RateLimitError) as caught,
    ):
        ask(server.base_url)
    assert len(server.asked) == 1
    assert ("ask again after 20" in str(caught.value)) == (value == "86400")
    assert caught.value.retry_after_seconds == min(float(value), 1e9)


@pytest.mark.fault(5)
@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{1,9} [+A-Z0-9-]{1,9}")
)
def test_any_retry_after(value: str) -> None:
    """No header makes the client stumble: it gives seconds from 0 to a thousand million, or nothing."""
    seconds = retry_after_seconds(value, server_date=value)
    assert seconds is None or 0 <= seconds <= 1e9


@pytest.mark.fault(6)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_then_good(status: int) -> None:
    """A server that fails four times and then answers has answered; the waits between grow and differ."""
    answers = iter([Reply(status=status)] * 4 + [rows(ROW)])
    with scripted(lambda _: next(answers)) as server:
        assert ask(server.base_url, Patience(first_wait_seconds=0.05, longest_wait_seconds=0.4)) == [ROW]
    times = [asked.at for asked in server.asked]
    waits = [after - before for before, after in pairwise(times)]
    assert len(waits) == 4
    assert len({round(wait, 3) for wait in waits}) > 1


@pytest.mark.fault(7)
def test_failures_for_ever() -> None:
    """After five tries the question fails with the status and the number of tries."""
    patience = Patience(first_wait_seconds=0.01, longest_wait_seconds=0.02)
    with (
        scripted(lambda _: Reply(status=500)) as server,
        pytest.raises(ServerError, match=r"tried 5 times") as caught,
    ):
        ask(server.base_url, patience)
    assert caught.value.status == 500
    assert len(server.asked) == 5


PAGE = b"<!doctype html><title>Log in</title>" + b"x" * 10_000


@pytest.mark.fault(12)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_web_pages(kind: str) -> None:
    """A web page with status 200 is told by its first 80 characters, once."""
    with (
        scripted(lambda _: Reply(PAGE, headers={"Content-Type": kind})) as server,
        pytest.raises(ApiError) as caught,
    ):
        ask(server.base_url)
    assert "web page: '<!doctype html><title>Log in</title>x" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert len(server.asked) == 1


DEEP = b'{"report": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        b"[]",
        b'"report"',
        b'{"report": null}',
        b'{"report": {"a": 1}}',
        b'{"report": [null]}',
        b'{"report": [], "report": []}',
        b'{"report": [{"team": "a", "team": "b"}]}',
        b'{"report": [{"total_time": -Infinity}]}',
        b'{"report": [{"total_time": ' + b"9" * 5000 + b"}]}",
        b'{"report": [{"team": "\\udc00"}]}',
        b'{"report": [{"\\ud83d": 1}]}',
        b"\xff\xfe{\x00}\x00",
        DEEP,
        b'{"report": []} {"report": []}',
        b"{'report': []}",
        b'{"report": [],}',
    ],
)
def test_json_that_is_no_answer(body: bytes) -> None:
    """JSON without a list of rows, with a name twice, with half a character or too deep, is a SchemaError."""
    with scripted(lambda _: Reply(body)) as server, pytest.raises(SchemaError, match="answer"):
        ask(server.base_url)
    assert len(server.asked) == 1


@pytest.mark.fault(13)
def test_json_with_a_byte_order_mark() -> None:
    """A byte order mark before a whole answer does no harm."""
    with scripted(lambda _: Reply(b"\xef\xbb\xbf" + GOOD)) as server:
        assert ask(server.base_url) == [ROW]


@pytest.mark.fault(13)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    """Whatever bytes come as a body, rows or an error of usagekit come out."""
    from usagekit.api.unpack import CutError, UnreadableError, rows_of

    for text in (body, b'{"report": [' + body + b"]}"):
        with suppress(CutError, UnreadableError, UsageKitError):
            assert isinstance(rows_of(text, secret=TOKEN), list)
