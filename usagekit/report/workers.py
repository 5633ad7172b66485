"""Worker processes that may die: whatever happens to one costs the item in its hands and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_SPAWN = get_context("spawn")  # threads of the caller (Jupyter's, Polars') do not survive a fork


@dataclass(frozen=True, slots=True)
class Lost:
    """An item whose worker died or was killed at the deadline; ``reason`` says so in words."""

    reason: str


def work(
    function: Callable[[Item], Result], items: Iterable[Item], *, jobs: int, seconds: float
) -> Generator[tuple[Item, Result | Lost], None, None]:
    """Apply ``function`` to each item in one of ``jobs`` processes; pairs come in order of completion.

    A worker that takes more than ``seconds`` for an item is killed. Closing the iterator ends all workers.
    """
    waiting = deque(items)
    idle: list[_Worker[Item, Result]] = []
    busy: dict[_Worker[Item, Result], tuple[Item, float]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                worker = idle.pop() if idle else _Worker(function)
                if worker.give(waiting[0]):
                    busy[worker] = waiting.popleft(), time.monotonic() + seconds
            patience = min(deadline for _, deadline in busy.values()) - time.monotonic()
            ready = connection.wait([worker.pipe for worker in busy], timeout=max(0.0, patience))
            for worker, (item, deadline) in list(busy.items()):
                if worker.pipe in ready:
                    result = worker.take()
                elif time.monotonic() >= deadline:
                    worker.stop()
                    result = Lost(f"took longer than {seconds:.0f} s")
                else:
                    continue
                del busy[worker]
                if not isinstance(result, Lost):
                    idle.append(worker)
                yield item, result
    finally:
        for worker in (*idle, *busy):
            worker.stop()


class _Worker(Generic[Item, Result]):
    """One process that takes an item, gives its result, and takes the next."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(function, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, item: Item) -> bool:
        """Hand over an item; False when the process has died while it had nothing to do."""
        try:
            self.pipe.send(item)
        except OSError:
            self.stop()
            return False
        return True

    def take(self) -> Result | Lost:
        try:
            result: Result = self.pipe.recv()
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
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(function: Callable[[Item], Result], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            pipe.send(function(pipe.recv()))


def _follow_parent() -> None:
    """End with the parent even in the middle of an item: the next batch may begin at once."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
