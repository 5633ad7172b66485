"""How a batch starts its workers: forked from a nursery that has imported everything, or spawned one by one."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_preparation_data
from typing import Any, Protocol

from usagekit.report import forker
from usagekit.report.forker import CannotForkError, Forker
from usagekit.report.serving import Calling, hung_up, kill_family, serve

_SPAWN = get_context("spawn")  # threads of the caller (Jupyter's, Polars') do not survive a fork
_FORK_SECONDS = 3.0
_END_SECONDS = 5.0


class Process(Protocol):
    """A worker process as a batch sees it: the pipe for items and results, and its end."""

    pipe: Connection

    def how_it_ended(self) -> str:
        """In words, when its pipe has closed."""

    def end(self) -> None:
        """Kill it and all that it has started."""


class Spawned:
    """A worker that begins with nothing, as multiprocessing starts it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=serve, args=(function, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def how_it_ended(self) -> str:
        """By signal or with a code."""
        self._process.join(_END_SECONDS)
        return _in_words(self._process.exitcode)

    def end(self) -> None:
        """Kill it and all that it has started."""
        self.pipe.close()
        if self._process.is_alive() and self._process.pid:
            kill_family(self._process.pid)
        self._process.join()
        self._process.close()


class Forked:
    """A worker that a nursery has forked; it lives as long as it wants to and its pipe is open, whoever ends."""

    def __init__(self, pipe: Connection, pid: int, status: socket.socket) -> None:
        self.pipe = pipe
        self._pid = pid
        self._status = status

    def how_it_ended(self) -> str:
        """By signal or with a code, if the nursery is there to tell."""
        told = forker.told(self._status, _END_SECONDS) or {}
        return _in_words(told["exit"]) if "exit" in told else "and nobody knows how"

    def end(self) -> None:
        """Kill it and all that it has started."""
        if not hung_up(
            self.pipe, 0
        ):  # nobody else holds the other end: while it is open, the number is its own
            kill_family(self._pid)
            hung_up(self.pipe, _END_SECONDS)
        self.pipe.close()
        self._status.close()


class Nursery:
    """The process of :mod:`usagekit.report.nursery`, for one batch.

    ``environment`` is that of the kernels. What all reports on ``snapshot`` share is worked out once for all workers.
    """

    def __init__(self, environment: Mapping[str, str], *, snapshot: str = "") -> None:
        self._environment = environment
        self._snapshot = snapshot
        self._forker: Forker | None = None
        self._usable = False
        self._preparation: dict[str, Any] = {}

    def start(self) -> Forker | None:
        """Start it and do not wait for it; gives what becomes readable when it is ready, None where it cannot be."""
        # Refuses a main module without a guard, which would start batches for ever.
        found = get_preparation_data("worker")
        self._preparation = found | {"authkey": bytes(found["authkey"])}
        if sys.platform == "linux":
            with suppress(OSError):
                self._forker = forker.start("usagekit.report.nursery", self._environment, self._snapshot)
        self._usable = self._forker is not None
        return self._forker

    def worker(self, function: Callable[[Any], Any]) -> Forked | None:
        """Fork a worker; None if that is impossible, now and from now on."""
        if self._forker is None or not self._usable:
            return None
        ours, theirs = _SPAWN.Pipe()
        try:
            with theirs:
                forked = self._forker.fork({}, [theirs.fileno()], patience=_FORK_SECONDS)
        except (CannotForkError, OSError):  # the zygote of a worker that is spawned will say why
            ours.close()
            self._usable = False  # but those that it has forked go on, and end with it
            return None
        worker = Forked(ours, *forked)
        try:
            ours.send(Calling(self._preparation, dict(os.environ), self._environment))
            ours.send(function)
        except OSError:  # it has died: seen when it is given something to do
            pass
        except BaseException:  # the function cannot be sent
            worker.end()
            raise
        return worker

    def close(self) -> None:
        """End it, and whatever of it is left."""
        if self._forker is not None:
            if self._forker.alive():
                kill_family(self._forker.process.pid)
            self._forker.close()


def start_worker(function: Callable[[Any], Any], nursery: Nursery | None) -> Process:
    """Start a worker that applies ``function`` to items: from the nursery, or where that is impossible by itself."""
    return (nursery.worker(function) if nursery else None) or Spawned(function)


def _in_words(code: int | None) -> str:
    return f"by signal {-code} (killed, or out of memory)" if code and code < 0 else f"with code {code}"
