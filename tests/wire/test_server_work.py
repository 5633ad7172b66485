"""How the server works: answers in pieces, cached answers, few computations at a time, none for ever."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.clock import within
from tests.conftest import session
from tests.faults.fire import AUTH, GOOD, MARCH, Fire, on_fire, request
from tests.strategies import tables
from tests.wire.conftest import hostile_lab
from usagekit.api.answers import ROWS_PER_PIECE, usage_pieces
from usagekit.api.cache import AnswerCache
from usagekit.api.limits import Limits
from usagekit.api.work import BusyError, Work
from usagekit.engine import local
from usagekit.engine.store import write_store

LONG = "/v1/usage/team?start_date=19900101&end_date=20230331&bin_size=day&display_all=true"


class Engine:
    """Counts the calls of the engine; may be held up, or give another frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.go = threading.Event()
        self.go.set()
        self.frame: pl.DataFrame | None = None
        self._usage = local.usage
        monkeypatch.setattr("usagekit.api.server.local.usage", self)

    def __call__(self, *asked: Any) -> pl.DataFrame:
        self.calls += 1
        assert self.go.wait(120)
        return self._usage(*asked) if self.frame is None else self.frame


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def ask(fire: Fire, target: str, **headers: str) -> httpx.Response:
    return httpx.get(fire.base_url + target, headers=AUTH | headers, timeout=30)


def eventually(true: Any, seconds: float = 30) -> bool:
    """Whether a condition becomes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


@pytest.mark.parametrize("height", [0, 1, ROWS_PER_PIECE, ROWS_PER_PIECE + 1, 3 * ROWS_PER_PIECE])
def test_pieces_are_one_document(height: int) -> None:
    """However many pieces, JSON and CSV are those of the whole frame, whatever the names hold."""
    names = ["a,b", 'q"', "x\r\ny", "", None, "チーム"]
    rows = [{"team": names[n % 6], "n": n, "x": n / 7} for n in range(height)]
    frame = pl.DataFrame(rows, schema={"team": pl.String, "n": pl.Int64, "x": pl.Float64})
    assert json.loads(b"".join(usage_pieces(frame, "json"))) == {"report": rows}
    assert b"".join(usage_pieces(frame, "csv")) == frame.write_csv().encode()


@pytest.mark.fault(64)
@pytest.mark.parametrize("dress", ["json", "csv"])
def test_a_long_answer_streams_and_is_equal(tmp_path: Path, dress: str) -> None:
    """An answer that is streamed has the same bytes as one that is made whole."""
    with on_fire(tmp_path, whole_bytes=1000) as small, on_fire(tmp_path, whole_bytes=100_000_000) as large:
        streamed, whole = (ask(fire, f"{LONG}&format={dress}") for fire in (small, large))
        assert eventually(lambda: small.app.state.work.rows_held == 0)
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert streamed.content == whole.content


@pytest.mark.fault(66)
def test_a_client_that_goes_away_stops_the_stream(tmp_path: Path, engine: Engine, monkeypatch: Any) -> None:
    """When the client hangs up, no more rows are written and the rows are let go."""
    engine.frame = pl.DataFrame({"team": ["x" * 100] * 2_000_000})
    pieces = 0

    def counted(frame: pl.DataFrame, dress: str) -> Any:
        nonlocal pieces
        for piece in usage_pieces(frame, dress):
            pieces += 1
            yield piece

    monkeypatch.setattr("usagekit.api.server.usage_pieces", counted)
    with on_fire(tmp_path) as fire:
        with fire.connect() as connection:
            connection.sendall(request(GOOD))
            assert eventually(lambda: fire.app.state.work.rows_held == 2_000_000)
            connection.recv(1000)
        assert eventually(lambda: fire.app.state.work.rows_held == 0)
    assert 0 < pieces < 200 < 2_000_000 / ROWS_PER_PIECE


@pytest.mark.fault(66)
def test_too_many_rows_in_flight_are_a_503(tmp_path: Path, engine: Engine) -> None:
    """While one answer holds all the rows that may be held, another large one is told when to come again."""
    engine.frame = pl.DataFrame({"team": ["x" * 100] * 300_000})
    with on_fire(tmp_path, rows_held=400_000) as fire, fire.connect() as connection:
        connection.sendall(request(GOOD))
        assert eventually(lambda: fire.app.state.work.rows_held == 300_000)
        refused = ask(fire, f"/v1/usage?{MARCH}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        connection.close()
        assert eventually(lambda: fire.app.state.work.rows_held == 0)
        assert ask(fire, f"/v1/usage?{MARCH}").status_code == 200


@pytest.mark.fault(67)
def test_a_repeated_question_is_answered_from_the_cache(tmp_path: Path, engine: Engine) -> None:
    """The same question in the same format reaches the engine once, however its parameters are ordered."""
    with on_fire(tmp_path) as fire:
        first = ask(fire, GOOD)
        assert ask(fire, GOOD).content == first.content
        assert ask(fire, f"/v1/usage/team?metric=session_count&format=json&{MARCH}").content == first.content
        assert engine.calls == 1
        assert ask(fire, f"{GOOD}&format=csv").text.startswith("datetime,")
        assert ask(fire, f"{GOOD}&timezone=Asia/Tokyo").status_code == 200
        assert engine.calls == 3


@pytest.mark.fault(67)
def test_an_import_makes_cached_answers_old(tmp_path: Path, engine: Engine) -> None:
    """After an import the engine is asked again, and a client's own copy is no longer good."""
    lab = hostile_lab()
    with on_fire(tmp_path) as fire:
        first = ask(fire, GOOD)
        tag = first.headers["etag"]
        same = ask(fire, GOOD, **{"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"], engine.calls) == (304, b"", tag, 1)
        lab.sessions.append(session(999, "2023-03-20 10:00", "2023-03-20 11:00", team="new"))
        write_store(fire.store, tables(lab))
        newer = ask(fire, GOOD, **{"If-None-Match": tag})
        assert (newer.status_code, engine.calls) == (200, 2)
        assert "new" in {row["team"] for row in newer.json()["report"]} - {
            r["team"] for r in first.json()["report"]
        }


def test_cache_keeps_what_was_used_last() -> None:
    """The cache never exceeds its size, drops what was not used longest, and keeps no giant."""
    cache = AnswerCache(100_000)
    for number in range(10):
        cache.put(f"{number}", bytes(20_000))
        assert cache.size <= 100_000
        assert cache.get("0") is not None
    assert [number for number in range(10) if cache.get(f"{number}")] == [0, 7, 8, 9]
    cache.put("giant", bytes(90_000))
    assert cache.get("giant") is None
    assert cache.tag("v", "q", "json") != AnswerCache(1).tag("v", "q", "json")


@pytest.mark.fault(66)
def test_computations_queue_and_then_are_refused(tmp_path: Path, engine: Engine) -> None:
    """Two compute, two wait, the next is told to come again at once; those who waited are answered."""
    engine.go.clear()
    zones = ("UTC", "Asia/Tokyo", "US/Pacific", "Europe/Paris")
    with on_fire(tmp_path, running=2, waiting=2) as fire, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(ask, fire, f"{GOOD}&timezone={zone}") for zone in zones]
        assert eventually(lambda: fire.app.state.work._places._value == 0)

        def refused_after() -> float:
            start = time.monotonic()
            refused = ask(fire, f"{GOOD}&timezone=Asia/Kolkata")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "waiting" in refused.json()["detail"]
            return time.monotonic() - start

        within(2, refused_after)
        assert eventually(lambda: engine.calls == 2)
        engine.go.set()
        assert [w.result().status_code for w in waiting] == [200] * 4


@pytest.mark.fault(66)
def test_a_long_computation_is_a_503_in_time(tmp_path: Path, engine: Engine) -> None:
    """An answer that takes too long is a 503 with Retry-After; the next question is served once it is over."""

    def refused_after() -> float:
        engine.go.clear()
        with on_fire(tmp_path, answer_seconds=0.3, running=1, waiting=0) as fire:
            start = time.monotonic()
            late = ask(fire, GOOD)
            seconds = time.monotonic() - start
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
            assert "0.3 seconds" in late.json()["detail"]
            assert ask(fire, GOOD).headers["retry-after"] == "1"  # the thread is still at it
            engine.go.set()
            assert eventually(lambda: ask(fire, GOOD).status_code == 200)
        assert seconds >= 0.3
        return seconds

    within(3, refused_after)


@pytest.mark.fault(66)
def test_questions_of_clients_gone_are_dropped(tmp_path: Path, engine: Engine) -> None:
    """A question whose client hangs up while it waits never reaches the engine."""
    engine.go.clear()
    with on_fire(tmp_path, running=1, waiting=5) as fire:
        connections = [fire.connect() for _ in range(4)]
        for connection, zone in zip(
            connections, ("UTC", "Asia/Tokyo", "US/Pacific", "Europe/Paris"), strict=True
        ):
            connection.sendall(request(f"{GOOD}&timezone={zone}"))
            assert eventually(lambda: engine.calls == 1)
        assert eventually(lambda: fire.app.state.work._places._value == 2)
        for connection in connections:
            connection.close()
        assert eventually(lambda: fire.app.state.work._places._value == 5)
        engine.go.set()
        assert eventually(lambda: fire.app.state.work._places._value == 6)
        assert engine.calls == 1


def test_index_files_gone_under_a_reader(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader whose version was replaced twice while it read starts again on the newest."""
    real = engine._usage

    def pulled_away(*asked: Any) -> pl.DataFrame:
        if engine.calls == 1:
            raise FileNotFoundError("index file of an old version")
        return real(*asked)

    engine._usage = pulled_away
    with on_fire(tmp_path) as fire:
        assert ask(fire, GOOD).status_code == 200
    assert engine.calls == 2


def test_rows_held_are_released_with_the_answer() -> None:
    """Rows are counted until the answer that holds them is closed or forgotten; the first is always admitted."""
    work = Work(Limits(rows_held=10))
    held = work.hold(iter([b"x"]), 100)
    with pytest.raises(BusyError):
        work.hold(iter([]), 1)
    assert list(held) == [b"x"]
    held.close()
    held.close()
    assert work.rows_held == 0
    work.hold(iter([]), 5)
    assert work.rows_held == 0
