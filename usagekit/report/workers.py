"""Worker processes that may die: whatever happens to one costs the item in its hands and nothing else."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from usagekit.report.stopping import Stop

Item = TypeVar("Item")
Result = TypeVar("Result")

_SPAWN = get_context("spawn")  # threads of the caller (Jupyter's, Polars') do not survive a fork


_BEGIN_SECONDS = 120.0
"""How long a worker may take until it begins."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a worker says when it has its item in its hands."""


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
) -> Generator[tuple[Item, Result | Lost], None, None]:
    """Apply ``function`` to each item in one of ``jobs`` processes; pairs come in order of completion.

    A worker that takes more than ``seconds`` for an item, counted from when it begins, is killed; an item whose worker died is tried once more.
    ``begun`` is called when an item is handed out. After ``stop`` none is, and when its time is over the items at
    work are given up without a result. Closing the iterator ends all workers, and all that they have started.
    """
    waiting = deque(_Task(item) for item in items)
    workers: list[_Worker[Item, Result]] = []
    try:
        while any(w.task for w in workers) or (waiting and not _asked(stop)):
            busy = _hand_out(waiting, workers, function, jobs=0 if _asked(stop) else jobs, begun=begun)
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


@dataclass(frozen=True, slots=True)
class _Task(Generic[Item]):
    item: Item
    tries_left: int = 1


def _hand_out(
    waiting: deque[_Task[Item]],
    workers: list[_Worker[Item, Result]],
    function: Callable[[Item], Result],
    *,
    jobs: int,
    begun: Callable[[Item], None] | None,
) -> list[_Worker[Item, Result]]:
    """Give work to idle and new workers, ``jobs`` in all; returns those that have some."""
    while waiting and sum(w.task is not None for w in workers) < jobs:
        worker = next((w for w in workers if w.task is None), None)
        if worker is None:
            worker = _Worker(function)
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


def _wait(pipes: list[Connection], seconds: float, stop: Stop | None) -> list[Any]:
    """Pipes with a result, or whose worker has died; none when the time is over or the end is asked for."""
    if stop is None:
        return list(connection.wait(pipes, timeout=max(0.0, seconds)))
    ready = connection.wait([*pipes, stop.fileno()], timeout=max(0.0, min(seconds, stop.seconds_left)))
    if stop.fileno() in ready:
        stop.heard()
    return list(ready)


class _Worker(Generic[Item, Result]):
    """One process that takes an item, gives its result, and takes the next."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.task: _Task[Item] | None = None
        self.deadline = 0.0
        self._begun = False
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(function, theirs), daemon=True)
        self._process.start()
        theirs.close()

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
            if isinstance(result, _Begun):
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

    def _take(self) -> Result | Lost | _Begun:
        try:
            result: Result | _Begun = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            self.stop()
            how = (
                f"by signal {-code} (killed, or out of memory)" if code and code < 0 else f"with code {code}"
            )
            return Lost(f"its process ended {how}")
        return result

    def stop(self) -> None:
        self.pipe.close()
        if self._process.is_alive() and self._process.pid:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGSTOP)  # so that it starts nothing more meanwhile
            kill_children(self._process.pid)
        self._process.kill()
        self._process.join()
        self._process.close()


def kill_children(pid: int) -> None:
    """Kill all that a process has started, and what that has started (Linux; elsewhere kernels notice by themselves).

    A kernel is in a session of its own, so no signal to a group reaches it, and one that computes in C notices
    nothing.
    """
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):  # ended meanwhile
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(
                int(stat.parent.name)
            )
    waiting = [pid]
    while waiting:
        found = children.get(waiting.pop(), [])
        waiting += found
        for child in found:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)


def _serve(function: Callable[[Item], Result], pipe: Connection) -> None:
    # Both may come to the whole group; they are for the parent, which then ends its workers. A handler, unlike
    # SIG_IGN, is not handed on to the programs that a worker starts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError):
        _serve_one(function, pipe)
        gc.freeze()  # what the first item has loaded stays, and need not be looked through again
        while True:
            _serve_one(function, pipe)
            _give_back()


def _serve_one(function: Callable[[Item], Result], pipe: Connection) -> None:
    item = pipe.recv()
    pipe.send(_Begun())
    pipe.send(function(item))


def _give_back() -> None:
    """Free what an item has left behind: else it waits for a collector that rarely comes, and memory grows meanwhile."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # malloc_trim is of the GNU C library
        ctypes.CDLL(None).malloc_trim(0)


def _follow_parent() -> None:
    """End with the parent even in the middle of an item: the next batch may begin at once."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        kill_children(os.getpid())
        os._exit(1)
