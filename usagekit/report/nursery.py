"""The process that forks the workers of a batch, each together with the zygote that forks its kernels.

``python -m usagekit.report.nursery FD SNAPSHOT`` is started by :mod:`usagekit.report.starting`. It imports what makes
reports and what their kernels need, and works out what all reports on the snapshot share, so that the processes of a
batch have it in common. Its environment is that of the kernels. A worker hears its own through its pipe, when its
zygote has been forked, so neither nursery nor zygote nor kernel ever holds what only workers may see. A
worker does not end with the nursery, but when its pipe closes.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import process, spawn
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from usagekit.report import serving, warm
from usagekit.report.forker import Child, Forker
from usagekit.report.rehearsal import freeze, prepare, work_ahead
from usagekit.report.serving import Calling
from usagekit.report.zygote import Become, become_kernel, become_own, called, live_and_end, serve


def main() -> None:
    """Prepare, say so, and fork a worker for every request until the owner's socket closes."""
    from usagekit.report.making import load_maker

    control, owner = called()
    kernel = partial(become_kernel, prepare())
    load_maker()
    if sys.argv[2]:
        work_ahead(sys.argv[2])
    freeze()
    serve(control, owner, partial(_become_worker, kernel))


def _become_worker(
    kernel: Become, _request: dict[str, Any], descriptors: list[int], _nursery: int
) -> NoReturn:
    """Turn this copy of the nursery into a worker with a zygote; never returns into the nursery's loop."""

    def live() -> None:
        become_own()
        (pipe,) = descriptors
        os.closerange(3, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        os.set_inheritable(pipe, False)
        zygote = _fork_zygote(kernel, pipe)
        connection = Connection(pipe)
        with suppress(EOFError):  # nobody wants it any more
            calling: Calling = connection.recv()
            warm.adopt(calling.kernels, zygote)
            serving.serve(_called_to(calling, connection), connection)

    live_and_end(live)


def _fork_zygote(kernel: Become, pipe: int) -> Forker:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(pipe)
        ours.close()
        os.setsid()  # what kills the worker's group leaves it the time to clear up
        live_and_end(lambda: serve(theirs, worker, kernel))
    theirs.close()
    return Forker(Child(pid), ours)


def _called_to(calling: Calling, connection: Connection) -> Callable[[Any], Any]:
    """Become what a process that multiprocessing spawns is before its function runs."""
    os.environ.clear()
    os.environ.update(calling.environment)
    this: Any = process.current_process()
    this._inheriting = True  # so that a main module without its guard starts no batch of its own
    try:
        spawn.prepare(calling.preparation)
        function: Callable[[Any], Any] = connection.recv()
    finally:
        del this._inheriting
    return function


if __name__ == "__main__":
    main()
