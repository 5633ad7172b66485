"""What a worker process does: it takes an item, gives its result, takes the next, and ends with whom it works for."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Calling:
    """What a worker from a nursery hears first, of the process that it works for; then it hears what it is to do.

    ``preparation`` is that of multiprocessing: by it path and main module are set, from which the function comes.
    ``kernels`` is the environment of the nursery and so of the worker's zygote.
    """

    preparation: dict[str, Any]
    environment: Mapping[str, str]
    kernels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Begun:
    """What a worker says when it has its item in its hands."""


def serve(function: Callable[[Item], Result], pipe: Connection) -> None:
    """Apply ``function`` to each item that comes through the pipe, until it closes."""
    # Both may come to the whole group; they are for the parent, which then ends its workers. A handler, unlike
    # SIG_IGN, is not handed on to the programs that a worker starts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_follow, args=(pipe,), daemon=True).start()
    with suppress(EOFError):
        _serve_one(function, pipe)
        gc.freeze()  # what the first item has loaded stays, and need not be looked through again
        while True:
            _serve_one(function, pipe)
            _give_back()


def _serve_one(function: Callable[[Item], Result], pipe: Connection) -> None:
    item = pipe.recv()
    pipe.send(Begun())
    pipe.send(function(item))


def _give_back() -> None:
    """Free what an item has left behind: else it waits for a collector that rarely comes, and memory grows meanwhile."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # malloc_trim is of the GNU C library
        ctypes.CDLL(None).malloc_trim(0)


def _follow(pipe: Connection) -> None:
    """End with whom we work for even in the middle of an item: the next batch may begin at once."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    else:  # forked by a nursery, whose end is none of our business
        hung_up(pipe, None)
    kill_children(os.getpid())
    os._exit(1)


def hung_up(pipe: Connection, timeout: float | None) -> bool:
    """Whether nobody holds the other end of a pipe any more, within ``timeout`` seconds."""
    poll = select.poll()
    poll.register(pipe, 0)  # a hang-up is always told, and nothing else
    return bool(poll.poll(timeout and timeout * 1000))


def kill_family(pid: int) -> None:
    """Kill a process and all that it has started."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # so that it starts nothing more meanwhile
    kill_children(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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
