"""The processes of a test: which work in its folder, which it has started, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.paper.templates import BEGAN

MARK = "LC_USAGEKIT_TEST"
"""A variable for the folder of a test. A kernel sees every ``LC_*`` and so does what forks it: all that is started has it."""


def processes_in(folder: Path) -> list[int]:
    """Processes that work somewhere below a folder: the kernels of its reports."""
    found = []
    for process in _all():
        try:
            there, state = (process / "cwd").readlink(), (process / "stat").read_text().rpartition(")")[2]
        except OSError:  # ended meanwhile, or not ours
            continue
        if there.is_relative_to(folder.resolve()) and state.split()[0] != "Z":
            found.append(int(process.name))
    return found


def processes_of(base: Path) -> dict[int, str]:
    """Command lines of all processes that were started with a test's mark, wherever they work.

    Of a batch that is the batch itself, what forks its workers (which works in ``/``), these, what forks their
    kernels, the kernels, and the programs of these; but not the tracker that Python keeps for who has spawned a worker.
    """
    mark, found = f"\0{MARK}={base.resolve()}\0".encode(), {}
    for process in _all():
        try:
            if mark in b"\0" + (process / "environ").read_bytes():  # empty when it has ended
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                if b"resource_tracker" not in command:
                    found[int(process.name)] = command.decode(errors="replace")
        except OSError:  # ended meanwhile, or not ours
            continue
    return found


def children_of(*parents: int) -> list[int]:
    """Processes that these have started, or forked, and that have not ended."""
    found = []
    for process in _all():
        try:
            state, parent, *_ = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(parent) in parents and state != "Z":
            found.append(int(process.name))
    return found


def _all() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def until(condition: Callable[[], bool], *, seconds: float) -> float:
    """Wait for something to happen; gives how long it took (s)."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


def cells_begun(base: Path) -> dict[str, list[float]]:
    """When cells that tell it began, by team (monotonic, s: one clock for all processes), each attempt once."""
    told: dict[str, list[float]] = {}
    if (base / BEGAN).exists():
        for line in (base / BEGAN).read_text("utf-8").splitlines():
            at, team = line.split(" ", 1)
            told.setdefault(team, []).append(float(at))
    return told
