"""The server under fire: raw sockets, crowds, rebinding, tokens, and schemathesis."""

from __future__ import annotations

import inspect
import json
import statistics
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.clock import within
from tests.faults.fire import AUTH, GOOD, MARCH, Fire, on_fire, read_all, refusal, request, statuses
from tests.soak.server import schemathesis, storm
from tests.wire.conftest import TOKEN
from usagekit.api.server import create_app, serve, serving
from usagekit.vocabulary import EVENTS_PATH

header_text = st.binary(max_size=200).map(lambda b: b.translate(None, b"\r\n\0"))


@pytest.fixture(scope="module")
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    with on_fire(tmp_path_factory.mktemp("fire"), rows=200_000) as served:
        yield served


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    """A server whose patience is short."""
    folder = tmp_path_factory.mktemp("hurried")
    with on_fire(folder, request_seconds=2, stall_seconds=2, connections=60) as served:
        yield served


def check_healthy(fire: Fire) -> None:
    """A client that behaves is answered within two seconds."""

    def answered_after() -> float:
        start = time.monotonic()
        assert httpx.get(fire.base_url + GOOD, headers=AUTH, timeout=30).status_code == 200
        return time.monotonic() - start

    within(2, answered_after)


@pytest.mark.promise(12)
@pytest.mark.fault(63)
@pytest.mark.slow
def test_schemathesis_finds_nothing(fire: Fire) -> None:
    """Generated requests, right and wrong: no 5xx, no wrong one accepted, every answer as described."""
    cases, failures = schemathesis(fire.store, examples=60, seconds=25, phases="fuzzing")
    assert not failures, failures[-4000:]
    assert cases >= 50  # that it ran at all: how many there are in this time is for the machine to say


@pytest.mark.fault(63)
@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("metric=total_time%00", 400, "metric"),
        ("timezone=%00", 400, "timezone"),
        ("timezone=../../etc/passwd", 400, "timezone"),
        ("end_date=", 400, "end_date"),
        ("end_date=%D9%A2%D9%A0%D9%A2%D9%A3%D9%A0%D9%A3%D9%A0%D9%A1", 400, "end_date"),
        ("automated=1", 400, "automated"),
        ("display_all=", 400, "display_all"),
        ("filter_on.=x", 400, "filter_on"),
        ("filter_on.team=x", 400, "filter_on"),
        ("Metric=total_time", 400, "Metric"),
        ("format=json&format=csv", 400, "format"),
        ("filter_on.team_name=%C0%AF", 400, "UTF-8"),
        ("filter_on.team_name=" + "x" * 100_000, 414, "64 KiB"),
        ("filter_on.team_name=" + "x" * 1_000_000, 431, "128 KiB"),
        ("&".join(f"filter_on.team_name={n}" for n in range(2000)), 200, "report"),
    ],
)
def test_each_bad_parameter_is_named(fire: Fire, query: str, status: int, word: str) -> None:
    """Each wrong value, key, repetition or size is refused by name and never ignored; many values are no fault."""
    answer = fire.tell(request(f"/v1/usage/team?{MARCH}&{query}", more="Connection: close\r\n"))
    assert statuses(answer) == [status]
    assert status == 200 or word in refusal(answer)["detail"]


@pytest.mark.promise(11)
@pytest.mark.fault(64)
def test_too_large_an_answer_is_refused_at_once(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hour bins over 50 years, and bins x members beyond the limit, are refused by name in under 50 ms (p99)."""
    monkeypatch.setattr("usagekit.api.server.local.usage", None)  # no work may begin
    years = "/v1/usage/team?start_date=19730101&end_date=20230101&bin_size=hour&timezone=US/Pacific"
    rows = "/v1/usage/team/device?start_date=20150101&end_date=20230101&bin_size=hour&display_all=true"
    for target, word in ((years, "100,000 bins"), (rows, "limit of 200,000")):
        worked, waited = refusals(fire, target, word)
        assert statistics.quantiles(worked, n=100)[98] < 0.05
        assert min(waited) < 0.05


def refusals(fire: Fire, target: str, word: str) -> tuple[list[float], list[float]]:
    """How long each of 100 refusals takes (s): of the processor, for server and client, and on the clock.

    Other processes of the machine are in the second only, and they are not the server's fault.
    """
    worked, waited = [], []
    with httpx.Client(base_url=fire.base_url, headers=AUTH) as client:
        for _ in range(100):
            start, began = time.process_time(), time.perf_counter()
            answer = client.get(target)
            worked.append(time.process_time() - start)
            waited.append(time.perf_counter() - began)
            assert answer.status_code == 400
            assert word in answer.json()["detail"]
    return worked, waited


@pytest.mark.promise(11)
@pytest.mark.fault(64)
def test_events_of_too_many_sessions_are_refused(tmp_path: Path) -> None:
    """A range whose months hold more sessions than the limit is a 400 that names it."""
    with on_fire(tmp_path, rows=20) as fire:
        body = {"start_date": "20230301"}
        answer = httpx.request(
            "GET", fire.base_url + EVENTS_PATH, json=body | {"end_date": "20230302"}, headers=AUTH
        )
        assert (answer.status_code, "limit of 20" in answer.json()["detail"]) == (400, True)
        few = httpx.request(
            "GET",
            fire.base_url + EVENTS_PATH,
            json={"start_date": "20230401", "end_date": "20230402"},
            headers=AUTH,
        )
        assert few.json() == {"report": []}


@pytest.mark.promise(12)
@pytest.mark.fault(65)
@settings(max_examples=150)
@given(header_text)
@example(b"Bearer " + TOKEN.encode()[:-1])
@example(b"Bearer " + TOKEN.encode() + "é".encode())
@example(b"Bearer " + "✓".encode() * 1000)
@example(b"Bearer  " + b"\xff" * 100_000)
def test_no_other_token(fire: Fire, value: bytes) -> None:
    """Whatever the Authorization header holds, only the token opens; bytes of any kind are a 401 in JSON."""
    raw = f"GET {GOOD} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: ".encode() + value
    answer = fire.tell(raw + b"\r\n\r\n")
    if statuses(answer) == [400]:  # control characters are no header
        assert "HTTP" in refusal(answer)["detail"]
    else:
        assert refusal(answer)["status_code"] == 401


@pytest.mark.promise(12)
@pytest.mark.fault(66)
@settings(max_examples=150)
@given(header_text)
@example(b"evil.example.com")
@example(b"localhost.evil.example.com")
@example(b"localhost:80@evil.example.com")
@example(b"127.0.0.1.nip.io:8642")
@example(b"localhost:8642:1")
@example(b"")
def test_no_other_host(fire: Fire, value: bytes) -> None:
    """A page that points its own name at this machine gets nothing, not even the open description."""
    name, _, port = (
        value.strip().lower().rpartition(b":") if b":" in value else (value.strip().lower(), b"", b"")
    )
    assume(name.strip(b"[].") not in (b"localhost", b"127.0.0.1", b"::1") or port.strip(b"0123456789"))
    for target in (GOOD, "/openapi.json"):
        raw = (
            f"GET {target} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nHost: ".encode() + value + b"\r\n\r\n"
        )
        told = refusal(fire.tell(raw))
        assert told["status_code"] == 400
        assert "Host" in told["detail"] or "HTTP" in told["detail"]


@pytest.mark.parametrize(
    "host", ["usage.example.com", "Usage.Example.com.:443", "[::1]:8642", "LOCALHOST", "127.0.0.1:1"]
)
def test_allowed_hosts(fire: Fire, host: str) -> None:
    """Names of this machine and those that were allowed are served, with any port and in any case; /openapi.json too."""
    app = create_app(fire.store, token=TOKEN, allowed_hosts=["usage.example.com"])
    with serving(app) as base_url:
        for target in (GOOD, "/openapi.json"):
            assert httpx.get(base_url + target, headers=AUTH | {"Host": host}).status_code == 200
            assert httpx.get(base_url + target, headers=AUTH | {"Host": f"{host}.x.com"}).status_code == 400


@pytest.mark.promise(12)
def test_serves_this_machine_only_unless_told_otherwise() -> None:
    """The server listens on the loopback address by default."""
    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"


@pytest.mark.promise(12)
@pytest.mark.fault(66)
@settings(max_examples=80)
@given(st.from_regex(r"[A-Z!#$%&'*+.^_`|~-]{1,20}", fullmatch=True))
@example("OPTIONS")
@example("TRACE")
@example("DELETE")
def test_no_other_method_and_no_cors(fire: Fire, method: str) -> None:
    """Other methods are a 405 in JSON, and no page of another origin is ever allowed to read an answer."""
    more = "Origin: https://evil.example.com\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n"
    answer = fire.tell(request(GOOD, method=method, more=more))
    assert b"access-control" not in answer.lower()
    assert b"traceback" not in answer.lower()
    if method not in ("GET", "HEAD"):
        assert refusal(answer)["status_code"] == 405


@pytest.mark.fault(66)
@settings(max_examples=150)
@given(st.binary(min_size=1, max_size=500))
def test_what_is_no_http_is_refused(hurried: Fire, noise: bytes) -> None:
    """Any bytes at all get a JSON refusal or a closed connection, and the server goes on."""
    answer = hurried.tell(noise + b"\r\n\r\n")
    assert answer == b"" or refusal(answer)["status_code"] in (400, 401, 404, 408, 431, 501, 505)


SMUGGLED = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.promise(12)
@pytest.mark.fault(66)
@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n" + SMUGGLED),
        ("Content-Length: 0\r\nContent-Length: 50\r\n", SMUGGLED),
        ("Content-Length: 0, 50\r\n", SMUGGLED),
        ("Content-Length: +5\r\n", SMUGGLED),
        ("Content-Length: 0x5\r\n", SMUGGLED),
        ("Content-Length: -1\r\n", SMUGGLED),
        ("Transfer-Encoding: xchunked\r\n", SMUGGLED),
        ("Transfer-Encoding: chunked, identity\r\n", SMUGGLED),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", SMUGGLED),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + SMUGGLED),
        ("X: y\r\n Transfer-Encoding: chunked\r\nHost: localhost\r\n", SMUGGLED),
        ("Host: localhost\r\n", SMUGGLED),
    ],
)
def test_smuggled_requests_are_not_answered(fire: Fire, more: str, body: str) -> None:
    """A request whose length can be read in two ways is refused, and what follows it is never a request."""
    told = refusal(fire.tell(request(GOOD, more=more, body=body)))
    assert told["status_code"] in (400, 501)


@pytest.mark.promise(11)
@pytest.mark.fault(66)
def test_oversized_heads(fire: Fire) -> None:
    """Too many headers, or too long ones, are a 431 in JSON that names the limit."""
    many = refusal(fire.tell(request(GOOD, more="".join(f"X-{n}: y\r\n" for n in range(300)))))
    long = refusal(fire.tell(request(GOOD, more=f"X: {'y' * 140_000}\r\n")))
    endless = refusal(fire.tell(b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000_000))
    assert [told["status_code"] for told in (many, long, endless)] == [431, 431, 431]
    assert "100 headers" in many["detail"]
    assert "128 KiB" in long["detail"]


@pytest.mark.promise(11)
@pytest.mark.fault(66)
def test_a_huge_body_is_refused_by_its_length(fire: Fire) -> None:
    """A body announced as huge is a 413 before a byte of it is sent."""
    answer = fire.tell(request(EVENTS_PATH, more="Content-Length: 99999999999\r\nExpect: 100-continue\r\n"))
    assert refusal(answer)["status_code"] == 413


@pytest.mark.fault(66)
def test_pipelined_requests_are_answered_in_order(fire: Fire) -> None:
    """Twenty requests sent at once get twenty answers, in their order."""
    targets = [GOOD, "/nowhere", f"/v1/usage?{MARCH}&colour=red", "/openapi.json"] * 5
    raw = b"".join(request(target) for target in targets)
    answer = fire.tell(raw + request(GOOD, more="Connection: close\r\n"))
    assert statuses(answer) == [200, 404, 400, 200] * 5 + [200]


@pytest.mark.promise(11)
@pytest.mark.fault(66)
@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/us", request(EVENTS_PATH, more="Content-Length: 50\r\n", body='{"st')]
)
def test_half_open_connections_end(hurried: Fire, sent: bytes) -> None:
    """A client that stops in the middle of its request gets a 408 and is closed in time."""

    def ended_after() -> float:
        start = time.monotonic()
        assert refusal(hurried.tell(sent))["status_code"] == 408
        seconds = time.monotonic() - start
        assert seconds > 1.9
        return seconds

    within(5, ended_after)


@pytest.mark.promise(11)
@pytest.mark.fault(66)
@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nX: ",
        request(EVENTS_PATH, more="Content-Length: 5000\r\n"),
        request(GOOD, more="Content-Length: 5000\r\n"),
    ],
)
def test_dripping_requests_end(hurried: Fire, start: bytes) -> None:
    """A request that comes byte by byte is closed in time, however regularly they come."""

    def ended_after() -> float:
        begun = time.monotonic()
        with hurried.connect() as connection:
            connection.sendall(start)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
                while time.monotonic() - begun < 20:
                    connection.sendall(b"x")
                    time.sleep(0.05)
        return time.monotonic() - begun

    within(5, ended_after)


@pytest.mark.promise(11)
@pytest.mark.fault(66)
def test_a_crowd_of_silent_sockets(fire: Fire) -> None:
    """500 open sockets that say nothing do not keep a healthy client from its answer."""
    crowd = [fire.connect() for _ in range(500)]
    try:
        for _ in range(20):
            check_healthy(fire)
    finally:
        for connection in crowd:
            connection.close()


@pytest.mark.fault(66)
def test_the_longest_silent_connection_makes_room(hurried: Fire) -> None:
    """Beyond the limit of connections the one that has been silent longest is closed, not the newest."""
    first = hurried.connect()
    rest = [hurried.connect() for _ in range(65)]
    assert read_all(first) == b""
    check_healthy(hurried)
    for connection in (first, *rest):
        connection.close()


@pytest.mark.promise(11)
@pytest.mark.fault(66)
def test_a_client_that_does_not_read_is_dropped(hurried: Fire) -> None:
    """A client that takes nothing of a long answer is cut off; others are served meanwhile."""
    long = "/v1/usage/team?start_date=19900101&end_date=20230331&bin_size=day&display_all=true"
    with hurried.connect() as connection:
        connection.sendall(request(long))
        deadline = time.monotonic() + 60
        while hurried.app.state.work.rows_held == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert hurried.app.state.work.rows_held > 0
        check_healthy(hurried)
        while hurried.app.state.work.rows_held and time.monotonic() < deadline:
            time.sleep(0.05)
        assert hurried.app.state.work.rows_held == 0
        assert not read_all(connection).endswith(b"0\r\n\r\n")  # visibly cut: no last chunk


@pytest.mark.fault(67)
def test_crowd_while_imports_run(tmp_path: Path) -> None:
    """Ten clients at once get the serial answers of the old or the new store, never a mixture, while imports run."""
    tally, imports = storm(tmp_path / "store", clients=10, requests=20)
    assert tally.wrong == []
    assert sum(tally.versions.values()) >= 200
    assert set(tally.versions) == {0, 1}
    assert imports >= 2


@pytest.mark.fault(66)
def test_what_follows_an_error(fire: Fire) -> None:
    """After a refused head nothing on the same connection is served, after an ordinary error the next request is."""
    connection = HTTPConnection("127.0.0.1", fire.port, timeout=10)
    for target, status in (("/nowhere", 404), (GOOD, 200), (f"{GOOD}&x=1", 400), (GOOD, 200)):
        connection.request("GET", target, headers=AUTH)
        answer = connection.getresponse()
        assert answer.status == status
        assert isinstance(json.loads(answer.read()), dict)
    connection.close()
    assert statuses(fire.tell(b"NOT HTTP\r\n\r\n" + request(GOOD))) == [400]
