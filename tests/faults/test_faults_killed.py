"""Batches that are killed, stopped, doubled or find leftovers: nothing is lost, torn or done twice. Real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.clock import within
from tests.paper.killing import (
    MONTH,
    batch_process,
    check_resumed,
    die_at,
    finish,
    finished,
    kill_at_random,
    prepare,
    published,
    race,
    resume,
    steps_passed,
)
from tests.paper.processes import cells_begun, children_of, processes_in, processes_of, until
from usagekit.engine.files import locked
from usagekit.errors import StoreLocked
from usagekit.report.batch import Rendered, Skipped, only_failed, read_failures, render_month, summarise
from usagekit.report.ledger import LEDGER_FILE, open_ledger, read_entries
from usagekit.report.publish import publish, recipe, work_directory
from usagekit.report.render import render_unit

TEAMS = ["A", "fails", "チーム"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a real report."""
    (unit,) = prepare(tmp_path_factory.mktemp("made"), "good", ["A"])
    assert isinstance(render_unit(unit), Rendered)
    return {name: content for name, content in published(unit.directory).items() if name != "manifest.json"}


def all_made(base: Path, files: dict[str, bytes]) -> tuple[Path, dict[str, bytes]]:
    """A folder with the reports of all teams, and what is finished there."""
    reports = base / "reports"
    reports.mkdir(parents=True)
    (reports / "mended").touch()
    resume(base, TEAMS, files)
    return reports, finished(reports)


@pytest.mark.fault(44)
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_at_every_durable_step(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Killed at any step, first or second time, a batch leaves whole reports; the next makes the others, once."""
    steps = steps_passed(tmp_path / "traced", TEAMS, files)
    assert len(steps) >= 25
    for place in ("batch:", "ledger:", "work:", "publish:"):
        assert any(step.startswith(place) for step in steps)
    again = [f"{s}@2" for s in steps if s.startswith(("publish:renamed", "ledger:render"))]
    for number, step in enumerate([*steps, *again]):
        base = tmp_path / str(number)
        die_at(step, base, TEAMS, files)
        reports = base / "reports"
        before = finished(reports)
        at_work = [e for e in read_entries(reports, MONTH).values() if e.state == "rendering"]
        assert len(at_work) <= 1
        (reports / "mended").touch()
        kinds = resume(base, TEAMS, files)
        check_resumed(reports, before, kinds, TEAMS)
        assert sum(kind == "Rendered" for kind in kinds.values()) <= len(TEAMS) - len(before)
        assert read_failures(reports / MONTH) == {}
        shutil.rmtree(base)


@pytest.mark.fault(44)
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_at_random_moments(tmp_path: Path) -> None:
    """Batches with real kernels, killed at ten random moments, go on from there and leave no process behind."""
    dice, kills = random.Random(44), 0
    while kills < 10:
        kills += kill_at_random(tmp_path / "killed", dice, teams=["A", "B", "C", "D"])[0]


@pytest.mark.fault(43)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("trait", ["sleeps", "computes_in_c"])
def test_polite_end(tmp_path: Path, trait: str) -> None:
    """After SIGTERM a batch whose kernels listen to nobody ends within ten seconds, takes them along, and says so."""
    bases: list[Path] = []

    def ended_after() -> float:
        bases.append(base := tmp_path / str(len(bases)))
        with batch_process(base, trait, ["A", "B", "C"]) as process:
            until(lambda: len(cells_begun(base)) == 2, seconds=120)
            started = processes_of(base)
            (nursery,) = children_of(process.pid)
            assert len(workers := children_of(nursery)) == 2
            assert len(zygotes := children_of(*workers)) == 2
            assert len(kernels := children_of(*zygotes)) == 2
            assert set(kernels) == set(processes_in(base))
            assert {process.pid, nursery, *workers, *zygotes, *kernels} <= set(started)
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGTERM)
            assert process.wait(timeout=60) == 1
            seconds = time.monotonic() - began
            until(lambda: not processes_of(base), seconds=5)
        entries = read_entries(base / "reports", MONTH)
        assert sorted(e.state for e in entries.values()) == ["planned", "rendering", "rendering"]
        return seconds

    within(10, ended_after)
    assert set(finish(bases[-1], "good", ["A", "B", "C"]).values()) == {"Rendered"}


@pytest.mark.fault(43)
def test_reports_at_work_may_end(tmp_path: Path) -> None:
    """After SIGTERM a report that is nearly done is still finished and set down; no new one is begun."""
    with batch_process(tmp_path, "b_waits_for_word", ["B", "C"], jobs=1, grace_seconds=120) as process:
        until(lambda: bool(cells_begun(tmp_path)), seconds=120)
        process.send_signal(signal.SIGTERM)
        (tmp_path / "go").touch()
        told, _ = process.communicate(timeout=120)
    assert [json.loads(line)["kind"] for line in told.splitlines()] == ["Rendered"]
    assert sorted(e.state for e in read_entries(tmp_path / "reports", MONTH).values()) == [
        "planned",
        "rendered",
    ]


@pytest.mark.fault(45)
def test_two_batches_at_once(tmp_path: Path) -> None:
    """While a batch is at work others are told its pid and start at once; when it is killed the lock is free."""
    (unit,) = prepare(tmp_path, "sleeps", ["A"])
    with batch_process(tmp_path, "sleeps", ["A"]) as process:
        until(lambda: bool(processes_in(tmp_path)), seconds=60)
        told = rf"pid {process.pid} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"

        def refused_after() -> float:
            began = time.monotonic()
            with pytest.raises(StoreLocked, match=told):
                list(render_month([unit]))
            return time.monotonic() - began

        within(1, refused_after)
    assert finish(tmp_path, "good", ["A"]) == {"A": "Rendered"}


@pytest.mark.fault(45)
def test_batches_that_start_together(tmp_path: Path) -> None:
    """Of batches that start at the same moment one wins; the others name its pid within a second."""
    bases = (tmp_path / str(number) for number in count())

    def slowest() -> float:
        losers = race(next(bases), 8)
        assert len(losers) == 7
        return max(seconds for _, seconds in losers)

    within(1, slowest)


@pytest.mark.fault(45)
def test_readers_see_no_half_file(tmp_path: Path, files: dict[str, bytes]) -> None:
    """While a report is published over and over, every file that a reader opens is whole, old or new."""
    (unit,) = prepare(tmp_path, "good", ["A"])
    sizes = {name: {len(content), len(content) + 1} for name, content in files.items()}
    done = threading.Event()

    def publish_often() -> None:
        for turn in range(60):
            own = {name: content + b"\n" * (turn % 2) for name, content in files.items()}
            with work_directory(unit.directory) as work:
                publish(unit, work, recipe(unit) | {"facts": {}}, files=own)
        done.set()

    thread = threading.Thread(target=publish_often)
    thread.start()
    reads = 0
    while not done.is_set() or reads < 1000:
        for name, content in files.items():
            if (path := unit.directory / name).exists():
                seen = path.read_bytes()
                assert len(seen) in sizes[name]
                assert seen.startswith(content)
                reads += 1
    thread.join()
    assert json.loads((unit.directory / "manifest.json").read_text())["files"].keys() == files.keys()


@pytest.mark.fault(46)
def test_leftovers_are_no_reports(tmp_path: Path, files: dict[str, bytes]) -> None:
    """What an older version or a crash left is not taken for a report, and is gone after the next run."""
    units = prepare(tmp_path, "good", TEAMS)
    reports, month = tmp_path / "reports", units[0].directory.parent
    units[0].directory.mkdir(parents=True)
    (units[0].directory / "report.pdf").write_bytes(b"half")
    (units[0].directory / ".report.failed.ipynb.77.tmp").touch()
    (month / f".{units[0].directory.name}.abc.work").mkdir()
    (month / "run.json").write_text('{"failures": {"x": {}}}')
    (reports / "mended").touch()
    (reports / ".lock").write_text("pid 1 since long ago")
    check_resumed(reports, {}, resume(tmp_path, TEAMS, files), TEAMS)


@pytest.mark.fault(46)
def test_good_reports_without_a_ledger_are_kept(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Where the ledger is missing, whole reports made from the same things are taken over; a damaged one is not."""
    reports, before = all_made(tmp_path, files)
    for path in reports.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    (unit, *_) = prepare(tmp_path, "good", TEAMS)
    (unit.directory / "report.html").write_bytes(b"<p>of somebody else")
    assert resume(tmp_path, TEAMS, files) == dict(zip(TEAMS, ["Rendered", "Skipped", "Skipped"], strict=True))
    assert {n: c for n, c in finished(reports).items() if n != unit.directory.name} == {
        n: c for n, c in before.items() if n != unit.directory.name
    }


@pytest.mark.fault(46)
def test_kernel_that_outlived_its_worker(tmp_path: Path) -> None:
    """A process that still works in a dead batch's directory is ended before the next batch begins."""
    (unit,) = prepare(tmp_path, "good", ["A"])
    left = unit.directory.parent / ".a.left.work"
    left.mkdir(parents=True)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"cd '{left}' && exec sleep 99"], {}, setsid=True)
    try:
        until(lambda: processes_in(left) == [pid], seconds=10)
        assert summarise(render_month([unit], jobs=1)).rendered
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    finally:
        if processes_in(left):
            os.kill(pid, signal.SIGKILL)
    assert not left.exists()


@pytest.mark.fault(47)
def test_run_that_fires_twice(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A run that is started again finds everything done, whatever the clock says of the files."""
    reports, before = all_made(tmp_path, files)
    assert set(resume(tmp_path, TEAMS, files).values()) == {"Skipped"}
    for unit in prepare(tmp_path, "good", TEAMS):
        for path in unit.directory.iterdir():
            os.utime(path, (4e9, 4e9))  # the clock was wrong, or has been set back
    assert set(resume(tmp_path, TEAMS, files).values()) == {"Skipped"}
    assert finished(reports) == before


def test_two_hundred_unchanged_reports_take_no_time(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A second run over 200 unchanged reports takes less than two seconds of a quiet processor."""
    teams = [f"Team {number}" for number in range(200)]
    resume(tmp_path, teams, {name: content[:2000] for name, content in files.items()})
    units = prepare(tmp_path, "good", teams)

    def worked() -> float:
        began = time.process_time()
        assert all(isinstance(outcome, Skipped) for outcome in render_month(units))
        return time.process_time() - began

    within(2, worked)


def test_only_the_failed_ones(tmp_path: Path, files: dict[str, bytes]) -> None:
    """The failed units of a month can be picked out; once mended there is none."""
    assert resume(tmp_path, TEAMS, files)["fails"] == "Failure"
    units = prepare(tmp_path, "good", TEAMS)
    assert [unit.team for unit in only_failed(units)] == ["fails"]
    (tmp_path / "reports" / "mended").touch()
    resume(tmp_path, TEAMS, files)
    assert only_failed(units) == []


def test_files_of_any_plain_name(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Tables may have any plain name; those that a later revision lacks are removed, other people's files are not."""
    (unit,) = prepare(tmp_path, "good", ["A"])

    def publish_with(*names: str) -> Iterator[str]:
        with work_directory(unit.directory) as work:
            publish(unit, work, recipe(unit) | {"facts": {}}, files=files | dict.fromkeys(names, b"1"))
        return (path.name for path in unit.directory.glob("*.*") if path.name not in files)

    assert set(publish_with("Top devices.csv", "表.csv")) == {"Top devices.csv", "表.csv", "manifest.json"}
    (unit.directory / "my notes.txt").touch()
    assert set(publish_with("表.csv")) == {"表.csv", "manifest.json", "my notes.txt"}
    for name in ("../x.csv", "a/b.csv", ".hidden", "", "manifest.json", ".."):
        with pytest.raises(Exception, match="cannot have a file called"):
            publish_with(name)


def test_lock_is_freed_with_the_ledger(tmp_path: Path, files: dict[str, bytes]) -> None:
    """When a batch has ended, lock and ledger are free, and no log of the ledger is left."""
    resume(tmp_path, TEAMS, files)
    reports = tmp_path / "reports"
    with locked(reports / ".lock", what="reports"), open_ledger(reports) as ledger:
        assert len(ledger.entries(MONTH)) == 3
    assert not list(reports.glob(f"{LEDGER_FILE}-*"))
