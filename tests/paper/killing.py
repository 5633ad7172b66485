"""Batches in processes of their own, to be ended in any way, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.paper.processes import MARK, processes_of, until
from tests.paper.templates import write_snapshot, write_template
from usagekit.errors import StoreLocked
from usagekit.report import crash, making, stopping
from usagekit.report.batch import plan_month, render_month
from usagekit.report.ledger import read_entries
from usagekit.report.limits import Limits
from usagekit.report.publish import damaged_files, publish, read_manifest, recipe, work_directory
from usagekit.report.render import render_unit
from usagekit.report.stopping import GRACE_SECONDS
from usagekit.report.unit import Failure, Rendered, Unit

fork = get_context("forkserver")
fork.set_forkserver_preload([__name__])

MONTH = "2023-03"
Content = dict[str, dict[str, bytes]]


def prepare(base: Path, trait: str, teams: Sequence[str]) -> list[Unit]:
    """Units of a trait's notebook for some teams, below ``base``."""
    template = base / "notebooks" / f"{trait}.ipynb"
    if not template.exists():  # a new one would be another one: its cells get random names
        write_template(base / "notebooks", trait)
        write_snapshot(base / "snapshot")
    snapshot = base / "snapshot"
    return plan_month(MONTH, teams, snapshot=snapshot, reports=base / "reports", template=template)


@contextmanager
def batch_process(
    base: Path, trait: str, teams: Sequence[str], *, jobs: int = 2, grace_seconds: float = GRACE_SECONDS
) -> Iterator[subprocess.Popen[str]]:
    """Run a batch with real workers and kernels in a process group of its own, all of which is gone in the end.

    ``grace_seconds`` is how long reports at work may go on after SIGTERM.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(base), trait, str(jobs), str(grace_seconds), *teams],
        env=os.environ | {MARK: str(base.resolve())},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with process:
            try:
                yield process
            finally:
                kill_group(process.pid)
    finally:
        until(lambda: not processes_of(base), seconds=30)


def finish(base: Path, trait: str, teams: Sequence[str], *, jobs: int = 2) -> dict[str, str]:
    """Run a batch to its end in a process; gives the kind of each team's outcome."""
    with batch_process(base, trait, teams, jobs=jobs) as process:
        told, _ = process.communicate(timeout=240)
    return {line["team"]: line["kind"] for line in map(json.loads, told.splitlines())}


def kill_group(pid: int) -> None:
    """Kill a batch and its workers with one signal, as the machine's end would."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def finished(reports: Path) -> Content:
    """The files of the reports that the ledger calls rendered; each must be whole and as its manifest says."""
    found: Content = {}
    for name, entry in read_entries(reports, MONTH).items():
        if entry.state == "rendered":
            found[name] = published(reports / MONTH / name)
    return found


def published(directory: Path) -> dict[str, bytes]:
    """The files of a report by its manifest, which they must match."""
    manifest = read_manifest(directory)
    assert manifest is not None, f"{directory} has no manifest"
    assert damaged_files(directory, manifest) == []
    return {name: (directory / name).read_bytes() for name in (*manifest["files"], "manifest.json")}


def check_resumed(reports: Path, before: Content, kinds: dict[str, str], teams: Sequence[str]) -> None:
    """After a kill and a second run all reports are there, those finished before untouched, and nothing else."""
    after = finished(reports)
    assert len(after) == len(kinds) == len(teams)
    assert set(kinds.values()) <= {"Rendered", "Skipped"}
    assert {name: after[name] for name in before} == before
    assert sum(kind == "Skipped" for kind in kinds.values()) >= len(before)
    assert {p.name for p in (reports / MONTH).iterdir()} == set(after), "something was left behind"
    assert all({p.name for p in (reports / MONTH / n).iterdir()} == set(files) for n, files in after.items())


class Inline(Executor):
    """Makes each report at once, in the process of the batch."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **options))
        return future


def steps_passed(base: Path, teams: Sequence[str], files: dict[str, bytes]) -> list[str]:
    """The steps that a batch passes, in order, each once."""
    child = fork.Process(target=_batch_of_copies, args=(base, teams, files, "", str(base / "steps")))
    child.start()
    child.join(200)
    assert child.exitcode == 0
    return list(dict.fromkeys((base / "steps").read_text().split("\n")[:-1]))


def die_at(step: str, base: Path, teams: Sequence[str], files: dict[str, bytes]) -> None:
    """Run a batch that publishes copies of a report, and dies by SIGKILL at a step."""
    child = fork.Process(target=_batch_of_copies, args=(base, teams, files, step, None))
    child.start()
    child.join(200)
    assert child.exitcode == -signal.SIGKILL, f"it did not die at {step}"


def resume(base: Path, teams: Sequence[str], files: dict[str, bytes]) -> dict[str, str]:
    """The second run after :func:`die_at`, in this process."""
    kinds = {}
    own = making._render
    making._render = _copier(files)
    try:
        for outcome in render_month(prepare(base, "good", teams), executor=Inline(), jobs=1):
            kinds[outcome.unit.team or ""] = type(outcome).__name__
    finally:
        making._render = own
    return kinds


def _batch_of_copies(
    base: Path, teams: Sequence[str], files: dict[str, bytes], step: str, steps_to: str | None
) -> None:
    os.setsid()
    crash._name, _, crash._turn = step.partition("@")
    crash._list, crash._on = steps_to, True
    resume(base, teams, files)


def _copier(files: dict[str, bytes]) -> Callable[..., Rendered | Failure]:
    """Publishes the files of a report made before: the steps that last are the same, the kernel is spared."""

    def make(_limits: Limits, _cold: bool, unit: Unit, **_options: object) -> Rendered | Failure:
        manifest = recipe(unit) | {"facts": {"team": unit.team}}
        with work_directory(unit.directory) as work:
            if unit.team == "fails" and not (unit.directory.parent.parent / "mended").exists():
                return Failure(unit, None, "Broken", "on purpose")
            own = files | {f"{name}.csv": b"1\n" for name in ("a", "b")}
            return Rendered(unit, publish(unit, work, manifest, files=own), 0.0)

    return make


def race(base: Path, batches: int) -> list[tuple[str, float]]:
    """Start batches at the same moment; gives what the losers were told and after how long (s).

    Fails unless exactly one wins, which keeps the lock until all others have given up.
    """
    prepare(base, "good", ["A"])
    start, told, results = fork.Barrier(batches), fork.Event(), fork.SimpleQueue()
    children = [fork.Process(target=_racer, args=(base, start, told, results)) for _ in range(batches)]
    for child in children:
        child.start()
    losers = [results.get() for _ in range(batches - 1)]
    assert ("", 0.0) not in losers
    told.set()
    assert results.get() == ("", 0.0)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * batches
    named = {message.partition("pid ")[2].partition(" ")[0] for message, _ in losers}
    assert len(named) == 1
    assert named <= {str(child.pid) for child in children}
    return losers


def _racer(base: Path, start: Any, told: Any, results: Any) -> None:
    units = prepare(base, "good", ["A"])

    def make(_limits: Limits, _cold: bool, unit: Unit, **_options: object) -> Failure:
        told.wait(60)
        return Failure(unit, None, "Broken", "on purpose")

    making._render = make
    start.wait(60)
    began = time.monotonic()
    try:
        list(render_month(units, executor=Inline()))
        results.put(("", 0.0))
    except StoreLocked as error:
        results.put((str(error), time.monotonic() - began))


def kill_at_random(base: Path, dice: random.Random, *, teams: Sequence[str]) -> tuple[int, int]:
    """Start a batch with real kernels again and again, kill each at a random moment, check what is left.

    Gives how often it was killed and how many reports were made twice, of those at work when it was killed.
    """
    reports, kills, redone, longest = base / "reports", 0, 0, 7.0
    prepare(base, "good", teams)
    before: Content = {}
    while len(before) < len(teams):
        with batch_process(base, "good", teams) as process:
            try:
                process.wait(dice.uniform(0.2, longest))
            except subprocess.TimeoutExpired:
                kills += 1
        now = finished(reports)
        if len(now) == len(before):
            longest *= 1.1  # on a busy machine a batch needs more time to get anywhere
        assert {name: now[name] for name in before} == before
        at_work = [e for e in read_entries(reports, MONTH).values() if e.state == "rendering"]
        assert len(at_work) <= 2
        redone += len(at_work)
        before = now
    check_resumed(reports, before, finish(base, "good", teams), teams)
    shutil.rmtree(base)
    return kills, redone


def main() -> None:
    base, trait, jobs, grace, *teams = sys.argv[1:]
    stopping.GRACE_SECONDS = float(grace)  # type: ignore[misc]
    for outcome in render_month(prepare(Path(base), trait, teams), jobs=int(jobs)):
        error = outcome.error if isinstance(outcome, Failure) else None
        told = {"team": outcome.unit.team, "kind": type(outcome).__name__, "error": error}
        print(json.dumps(told), flush=True)


__all__ = ["render_unit"]  # preloaded for the children

if __name__ == "__main__":
    main()
