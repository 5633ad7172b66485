"""The token, over every fault of retrieval: in no error, traceback, log, file or command."""

from __future__ import annotations

import base64
import gzip
import io
import logging
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from tests.faults.scripted import Reply, rows, scripted
from tests.wire.conftest import RawServer, http
from usagekit.api.address import curl
from usagekit.api.client import Client
from usagekit.api.kept import Kept
from usagekit.api.retry import Patience
from usagekit.errors import UsageKitError
from usagekit.openers import connect
from usagekit.query import EventsQuery, UsageQuery
from usagekit.sources import ApiSource

CANARY = "canary-5ec2e7-token"
FORMS = (CANARY, base64.b64encode(CANARY.encode()).decode()[:-4], CANARY.encode().hex())
PATIENCE = Patience(
    tries=2, request_seconds=0.5, total_seconds=2, first_wait_seconds=0.01, longest_wait_seconds=0.02
)
QUERIES = (
    UsageQuery(by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), filters=(("team_name", ("NA",)),)),
    EventsQuery(start=date(2023, 3, 1), end=date(2023, 3, 31)),
)
ECHO = f'{{"detail": "you sent Authorization: Bearer {CANARY}"}}'.encode()
PACKED = gzip.compress(b'{"report": []}')


def silence(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.settimeout(2)
        while connection.recv(100):
            pass


ANSWERS = {
    **{f"status {s}": http(ECHO, status=f"{s} Status") for s in (400, 401, 403, 404, 418, 500, 503)},
    "wait": http(ECHO, "Retry-After: 99999", status="429 Slow"),
    "wait a little": http(ECHO, "Retry-After: 0", status="429 Slow"),
    "redirect": http(b"", f"Location: https://{CANARY}.example/{CANARY}?t={CANARY}", status="302 Found"),
    "echo as page": http(b"<html>" + ECHO),
    "echo as rows": http(b'{"report": [{"total_time": "' + CANARY.encode() + b'"}]}'),
    "echo as JSON": http(b'{"report": "' + CANARY.encode()),
    "header that breaks": b"HTTP/1.1 200 OK\r\nBad Header " + CANARY.encode() + b"\r\n\r\n",
    "no HTTP": CANARY.encode() * 10,
    "nothing": b"",
    "cut": http(b"{", length=99),
    "cut gzip": http(PACKED[:-5], "Content-Encoding: gzip"),
    "brotli": http(b"x", f"Content-Encoding: br{CANARY}"),
    "deep": http(b'{"report": ' + b"[" * 100_000),
    "silence": silence,
}


def told(error: BaseException) -> str:
    """All that a log, a notebook or a crash report could show of an error, local variables of our code included."""
    shown = io.StringIO()
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in report.stack:
        if "/usagekit/" not in frame.filename or "/tests/" in frame.filename:
            frame.locals = None  # the test itself holds the token
    report.print(file=shown)
    chain = [error, error.__cause__, error.__context__]
    return shown.getvalue() + "".join(f"{e!r} {e} {vars(e)} {e.args}" for e in chain if e is not None)


def clean(text: str) -> None:
    for form in FORMS:
        assert form not in text


@pytest.mark.promise(1)
@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("query", QUERIES, ids=["usage", "events"])
def test_no_fault_tells_the_token(
    raw_server: Callable[..., RawServer],
    name: str,
    query: UsageQuery | EventsQuery,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever goes wrong, error, traceback with local variables, logs at DEBUG, output and files are clean."""
    caplog.set_level(logging.DEBUG)
    raw = raw_server(ANSWERS[name])
    with Client(base_url=raw.base_url, token=CANARY, patience=PATIENCE) as client:
        source = ApiSource(client, Kept(tmp_path, client.base_url, client.fingerprint))
        with warnings.catch_warnings(record=True) as warned, pytest.raises(UsageKitError) as caught:
            source.usage(query) if isinstance(query, UsageQuery) else source.events(query)
        told_by_all = (
            told(caught.value) + repr(client) + source.name + "".join(str(w.message) for w in warned)
        )
    if name != "echo as rows":  # a row's own text is the answer, not the token
        clean(told_by_all)
    clean("".join(f"{r.getMessage()} {vars(r)}" for r in caplog.records))
    clean("".join(capfd.readouterr()))
    for file in tmp_path.iterdir():
        clean(file.read_bytes().decode(errors="replace"))


@pytest.mark.promise(1)
def test_a_failure_of_the_library_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an error that nobody foresaw, deep in the HTTP library, arrives without the frames that hold the token."""
    with (
        scripted(lambda _: rows()) as server,
        Client(base_url=server.base_url, token=CANARY, patience=PATIENCE) as client,
    ):

        def broken(*_: object, **__: object) -> None:
            raise ValueError(CANARY)

        monkeypatch.setattr(client._http, "stream", broken)
        with pytest.raises(UsageKitError, match="failed with ValueError") as caught:
            client.usage(QUERIES[0])  # type: ignore[arg-type]
    clean(told(caught.value))


@pytest.mark.promise(1)
@pytest.mark.parametrize("bad", [f"{CANARY} with a space", f"{CANARY}\n", f"{CANARY}é"])
def test_a_refused_token_is_not_told(bad: str) -> None:
    """A token that cannot be sent is refused without showing it, in local variables neither."""
    with pytest.raises(UsageKitError) as caught:
        Client(token=bad)
    clean(told(caught.value))


@pytest.mark.promise(1)
def test_curl_and_files_of_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What connect() keeps, and the command that a result offers, hold no token."""
    monkeypatch.setenv("USAGEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    row = {"datetime": "2023-03-01", "team": "NA", "total_time": 1.0, "unit": "hour"}
    with scripted(lambda _: rows(row)) as server:
        lab = connect(server.base_url, token=CANARY)
        answer = lab.usage("2023-03", by="team")
        lab.usage("2023-03", by="team")
        assert len(server.asked) == 1  # the second time it was kept
    clean(answer.curl() + answer.request + repr(answer) + repr(lab) + curl(QUERIES[1]))
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 2
    for path in kept:
        raw = path.read_bytes()
        clean(raw.decode(errors="replace"))
        if path.suffix == ".gz":
            clean(gzip.decompress(raw).decode())
    assert CANARY not in "".join(os.environ.values())


@pytest.mark.promise(1)
def test_a_server_that_fails_is_refused_at_the_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the whole desk, a refused token is an error without it."""
    monkeypatch.setenv("USAGEKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("HEADSPIN_API_TOKEN", CANARY)
    monkeypatch.chdir(tmp_path)
    with scripted(lambda _: Reply(ECHO, 401)) as server, pytest.raises(UsageKitError) as caught:
        connect(server.base_url).source.usage(QUERIES[0])  # type: ignore[arg-type]
    clean(told(caught.value))
