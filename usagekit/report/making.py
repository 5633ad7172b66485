"""How a batch makes its reports: what is unchanged is left alone, the rest goes to workers or to an executor."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from usagekit.engine.files import read_holder
from usagekit.report.crash import armed
from usagekit.report.ledger import Entry, Ledger
from usagekit.report.limits import Limits, kernel_environment
from usagekit.report.lines import log_as_json, logs_as_json
from usagekit.report.publish import (
    LOCK_FILE,
    MANIFEST,
    damaged_files,
    made_otherwise,
    read_manifest,
    recipe,
    recipe_key,
    up_to_date,
)
from usagekit.report.starting import Nursery
from usagekit.report.stopping import Stop
from usagekit.report.unit import Failure, Outcome, Rendered, Skipped, Unit
from usagekit.report.workers import Lost, work

_LOOK_SECONDS = 0.2
"""How often a batch on an executor looks whether it shall stop."""


@dataclass(frozen=True, slots=True)
class Making:
    """What a batch was asked for: how many reports at a time, within which limits, where and how.

    ``begun`` is told of each report that somebody starts to make.
    """

    jobs: int
    limits: Limits
    executor: Executor | None = None
    force: bool = False
    cold: bool = False
    begun: Callable[[Unit], None] | None = None

    def outcomes(
        self, units: Sequence[Unit], *, ledger: Ledger, stop: Stop
    ) -> Generator[Outcome, None, None]:
        """What becomes of each unit, set down in the ledger before it is told."""
        wanted: dict[Path, Mapping[str, Any]] = {}
        todo: list[Unit] = []
        known = ledger.entries(units[0].month)
        unchanged: list[Skipped] = []
        for unit in units:
            made_from = recipe(unit)
            entry = known.get(unit.directory.name)
            manifest = None if self.force else _trusted(unit, entry, made_from)
            if manifest is not None:
                yield Skipped(unit, manifest)
                continue
            wanted[unit.directory] = made_from
            if not self.force and (manifest := up_to_date(unit)) is not None:
                unchanged.append(Skipped(unit, manifest))
            else:
                todo.append(unit)
        # Of an older version, or cut off between publishing and the ledger: good reports that it does not know.
        planned = [*(skipped.unit for skipped in unchanged), *todo]
        ledger.plan([(unit, recipe_key(wanted[unit.directory])) for unit in planned])
        for skipped in unchanged:
            yield _settled(skipped, ledger, wanted[skipped.unit.directory])
        results = (
            self._by_workers(todo, ledger, stop)
            if self.executor is None
            else self._by_executor(self.executor, todo, ledger, stop)
        )
        with closing(results):
            for unit, result in results:
                outcome = _failure(unit, result) if isinstance(result, Lost) else result
                yield _settled(outcome, ledger, wanted[unit.directory])

    def _by_workers(
        self, units: Sequence[Unit], ledger: Ledger, stop: Stop
    ) -> Generator[tuple[Unit, Rendered | Failure | Lost], None, None]:
        function = partial(_render_alone, self.limits, self.cold, logs_as_json())
        seconds = self.limits.worker_seconds
        return work(
            function,
            units,
            jobs=min(self.jobs, len(units)),
            seconds=seconds,
            begun=partial(self._begin, ledger),
            stop=stop,
            nursery=self._nursery(units),
        )

    def _nursery(self, units: Sequence[Unit]) -> Nursery | None:
        """What the workers are forked from, unless there is nothing to share; a test kills all with one signal."""
        if self.cold or len(units) < 2 or armed():
            return None
        return Nursery(kernel_environment(), snapshot=str(units[0].snapshot))

    def _by_executor(
        self, executor: Executor, units: Sequence[Unit], ledger: Ledger, stop: Stop
    ) -> Generator[tuple[Unit, Rendered | Failure | Lost], None, None]:
        # Nobody can stop a task that runs elsewhere; it looks itself whether we are still there.
        batch = read_holder(units[0].directory.parent.parent / LOCK_FILE) if units else None
        make = partial(_render, self.limits, self.cold, batch=batch)
        waiting = list(reversed(units))
        busy: dict[Future[Rendered | Failure], Unit] = {}
        try:
            while busy or (waiting and not stop.asked):
                while waiting and len(busy) < self.jobs and not stop.asked:
                    unit = waiting.pop()
                    self._begin(ledger, unit)
                    busy[_submit(executor, make, unit)] = unit
                done, _ = wait(busy, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                if stop.seconds_left == 0:
                    return
                for future in done:
                    yield busy.pop(future), _result(future)
        finally:
            for future in busy:
                future.cancel()

    def _begin(self, ledger: Ledger, unit: Unit) -> None:
        ledger.start(unit)
        if self.begun:
            self.begun(unit)


def _render_alone(limits: Limits, cold: bool, json_lines: bool, unit: Unit) -> Rendered | Failure:
    """Make a report in a process of our own, whose warnings are told as those of the batch."""
    if json_lines:
        log_as_json()
    return _render(limits, cold, unit, alone=True)


def _render(
    limits: Limits, cold: bool, unit: Unit, *, alone: bool = False, batch: str | None = None
) -> Rendered | Failure:
    """Make a report; ``alone`` in a process where nobody else imports anything meanwhile."""
    if not cold:
        from usagekit.report.warm import prepare

        prepare(kernel_environment())  # it imports while this process does
    return load_maker(alone=alone)(unit, limits=limits, cold=cold, batch=batch)


def load_maker(*, alone: bool = False) -> Callable[..., Rendered | Failure]:
    """Load what makes a report: heavy, so only workers load papermill, and only once."""
    # jsonschema would build a grammar of addresses for a second or more; notebooks have none to check.
    # papermill would load pyarrow, and with it NumPy, to read from HDFS: 40 MB.
    with _hidden("rfc3987_syntax", *(["pyarrow"] if alone else [])):
        from usagekit.report.render import render_unit
    return render_unit


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Say that there are no such modules, while others are imported that would load them and can do without."""
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type] # None says so
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def _submit(
    executor: Executor, function: Callable[[Unit], Rendered | Failure], unit: Unit
) -> Future[Rendered | Failure]:
    """Hand a unit to an executor; one that is broken or closed fails this unit, as if it had been at work."""
    try:
        return executor.submit(function, unit)
    except RuntimeError as error:
        future = Future[Rendered | Failure]()
        future.set_exception(error)
        return future


def _result(future: Future[Rendered | Failure]) -> Rendered | Failure | Lost:
    try:
        return future.result()
    except BaseException as error:  # noqa: BLE001 - of the executor: a worker that died, a cancelled future
        return Lost(f"{type(error).__name__}: {error}"[:300])


def _failure(unit: Unit, lost: Lost) -> Failure:
    return Failure(unit, None, "WorkerLost", lost.reason)


def _trusted(unit: Unit, entry: Entry | None, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a published report that the ledger vouches for.

    Files are known by size and time of their last change: published files are only ever replaced by rename, so
    any other writer changes the time. Whoever sets it back on purpose is found by verify, which reads them all.
    """
    if entry is None or entry.state != "rendered" or not entry.files or entry.key != recipe_key(made_from):
        return None
    try:
        content = (unit.directory / MANIFEST).read_bytes()
        found = _stamps(unit, entry.files)
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != entry.manifest_sha256 or found != dict(entry.files):
        return None
    manifest = read_manifest(unit.directory)
    return manifest if manifest is not None and not made_otherwise(manifest, made_from) else None


def _stamps(unit: Unit, names: Mapping[str, Any]) -> dict[str, list[int]]:
    stats = {name: (unit.directory / name).stat() for name in names}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _settled(outcome: Outcome, ledger: Ledger, wanted: Mapping[str, Any]) -> Outcome:
    """Set an outcome down in the ledger; a report counts as made only if that very report is on the disk.

    And only if it was made from what was planned: a maker elsewhere may see an old snapshot or be another usagekit.
    """
    if not isinstance(outcome, Failure):
        unit, manifest = outcome.unit, outcome.manifest
        try:
            stamps = _stamps(unit, manifest["files"])
            content = (unit.directory / MANIFEST).read_bytes()
            same = read_manifest(unit.directory) == manifest and not damaged_files(unit.directory, manifest)
        except OSError:
            same = False
        other = made_otherwise(manifest, wanted)
        if same and not other:
            ledger.finish(outcome, manifest_sha256=hashlib.sha256(content).hexdigest(), files=stamps)
            return outcome
        reason = "its files are not those that its maker published"
        if other:
            reason = f"its maker had another {', '.join(other)} than this batch"
        outcome = Failure(unit, None, "MadeOtherwise" if other else "NotPublished", reason)
    ledger.fail(outcome)
    return outcome
