"""Worker processes that may die: whatever happens to one costs the item in its hands and nothing else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from usagekit.report.serving import Begun
from usagekit.report.starting import Nursery, Process, start_worker
from usagekit.report.stopping import Stop

Item = TypeVar("Item")
Result = TypeVar("Result")

_BEGIN_SECONDS = 120.0
"""How long a worker may take until it begins, or the nursery until it can fork one."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An item whose worker died or was killed at the deadline; ``reason`` says so in words."""

    reason: str
    may_be_tried_again: bool = field(default=True, compare=False)


def work(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    jobs: int,
    seconds: float,
    begun: Callable[[Item], None] | None = None,
    stop: Stop | None = None,
    nursery: Nursery | None = None,
) -> Generator[tuple[Item, Result | Lost], None, None]:
    """Apply ``function`` to each item in one of ``jobs`` processes; pairs come in order of completion.

    A worker that takes more than ``seconds`` for an item, counted from when it begins, is killed; an item whose worker died is tried once more.
    ``begun`` is called when an item is handed out. After ``stop`` none is, and when its time is over the items at
    work are given up without a result. Closing the iterator ends all workers, and all that they have started.
    Workers are forked from the ``nursery``, which ends with them; without one, or when it fails, they are spawned.
    """
    waiting = deque(_Task(item) for item in items)
    workers: list[_Worker[Item, Result]] = []
    start = partial(start_worker, function, nursery)
    try:
        if nursery is not None and waiting and (preparing := nursery.start()) is not None:
            _wait([preparing], _BEGIN_SECONDS, stop)
        while any(w.task for w in workers) or (waiting and not _asked(stop)):
            busy = _hand_out(waiting, workers, start, jobs=0 if _asked(stop) else jobs, begun=begun)
            patience = min((w.deadline for w in busy), default=0) - time.monotonic()
            ready = _wait([w.pipe for w in busy], patience, stop)
            if stop is not None and stop.seconds_left == 0:
                return
            for worker in busy:
                task, result = worker.task, worker.result(ready, seconds)
                if task is None or result is None:
                    continue
                if isinstance(result, Lost):
                    workers.remove(worker)
                    if result.may_be_tried_again and task.tries_left:
                        waiting.append(_Task(task.item, task.tries_left - 1))
                        continue
                yield task.item, result
    finally:
        for worker in workers:
            worker.stop()
        if nursery is not None:
            nursery.close()


@dataclass(frozen=True, slots=True)
class _Task(Generic[Item]):
    item: Item
    tries_left: int = 1


def _hand_out(
    waiting: deque[_Task[Item]],
    workers: list[_Worker[Item, Result]],
    start: Callable[[], Process],
    *,
    jobs: int,
    begun: Callable[[Item], None] | None,
) -> list[_Worker[Item, Result]]:
    """Give work to idle and new workers, ``jobs`` in all; returns those that have some."""
    while waiting and sum(w.task is not None for w in workers) < jobs:
        worker = next((w for w in workers if w.task is None), None)
        if worker is None:
            worker = _Worker(start())
            workers.append(worker)
        task = waiting.popleft()
        if begun and task.tries_left:
            begun(task.item)
        if not worker.give(task):
            workers.remove(worker)
            waiting.appendleft(task)
    return [w for w in workers if w.task is not None]


def _asked(stop: Stop | None) -> bool:
    return stop is not None and stop.asked


def _wait(pipes: Sequence[Any], seconds: float, stop: Stop | None) -> list[Any]:
    """Pipes with a result, or whose worker has died; none when the time is over or the end is asked for."""
    if stop is None:
        return list(connection.wait(pipes, timeout=max(0.0, seconds)))
    ready = connection.wait([*pipes, stop.fileno()], timeout=max(0.0, min(seconds, stop.seconds_left)))
    if stop.fileno() in ready:
        stop.heard()
    return list(ready)


class _Worker(Generic[Item, Result]):
    """One process that takes an item, gives its result, and takes the next."""

    def __init__(self, process: Process) -> None:
        self.task: _Task[Item] | None = None
        self.deadline = 0.0
        self.pipe = process.pipe
        self.stop = process.end
        self._process = process
        self._begun = False

    def give(self, task: _Task[Item]) -> bool:
        """Hand over a task; False when the process has died while it had nothing to do."""
        try:
            self.pipe.send(task.item)
        except OSError:
            self.stop()
            return False
        # Until it says that it has begun: a new process has to be started and to import first.
        self._begun = False
        self.task, self.deadline = task, time.monotonic() + _BEGIN_SECONDS
        return True

    def result(self, ready: Collection[object], seconds: float) -> Result | Lost | None:
        """What came of the task, None while it is at work; a worker that loses its task is stopped."""
        if self.pipe in ready:
            result = self._take()
            if isinstance(result, Begun):
                self._begun, self.deadline = True, time.monotonic() + seconds
                return None
            self.task = None
            return result
        if time.monotonic() >= self.deadline:
            self.stop()
            if not self._begun:
                return Lost(f"did not begin within {_BEGIN_SECONDS:.0f} s")
            return Lost(f"took longer than {seconds:.0f} s", may_be_tried_again=False)
        return None

    def _take(self) -> Result | Lost | Begun:
        try:
            result: Result | Begun = self.pipe.recv()
        except (EOFError, OSError):
            how = self._process.how_it_ended()
            self.stop()
            return Lost(f"its process ended {how}")
        return result
