"""Memory of one worker over 500 reports, and how long a render takes that has nothing to do.

500 reports are the teams of the sample under many names, one batch, one worker: every fifth is a team's real report, the
others are of the starter that ``usagekit template new`` writes.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.reports_ways import MONTH, Lab, make_lab

REPORTS = 500
TEAMS = 20
MANY_TEAMS = 200
WINDOW = 100
_LOOK_SECONDS = 0.25


def measure(folder: Path) -> dict[str, Any]:
    """Both measurements, in labs below ``folder``."""
    return {
        "memory": memory(make_lab(folder / str(TEAMS), TEAMS)),
        "second": second(make_lab(folder / str(MANY_TEAMS), MANY_TEAMS)),
    }


def memory(lab: Lab, reports: int = REPORTS) -> list[dict[str, float]]:
    """Peak MB by windows of a hundred reports: of a worker, of what forks workers and kernels, and of a kernel.

    ``together`` is the proportional share (PSS) of them all: what is shared between them counts once.
    """
    from usagekit.report.batch import Failure, render_month
    from usagekit.report.starter import write_starter
    from usagekit.report.template import load_template
    from usagekit.report.unit import Unit, report_directory

    starter = lab.folder / "starter.ipynb"
    starter.unlink(missing_ok=True)
    templates = [load_template("team_month"), *[load_template(write_starter(starter))] * 4]
    rounds = range(-(-reports // len(lab.teams)))
    named = [dataclasses.replace(templates[n % len(templates)], name=f"soak_{n}") for n in rounds]
    units = [
        Unit(
            each,
            team,
            MONTH,
            lab.snapshot,
            report_directory(lab.folder / "soak", MONTH, team=team, template=each.name),
        )
        for each in named
        for team in lab.teams
    ][:reports]
    peaks: list[dict[str, float]] = []
    current: dict[str, float] = {}
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(current, done))
    watch.start()
    try:
        for number, outcome in enumerate(render_month(units, jobs=1, force=True), 1):
            if isinstance(outcome, Failure):
                raise AssertionError(f"{outcome}")
            if number % min(WINDOW, reports) == 0:
                peaks.append({"reports": number, **current})
                print(peaks[-1], file=sys.stderr, flush=True)
                current.clear()
    finally:
        done.set()
        watch.join()
    return peaks


def second(lab: Lab) -> dict[str, float]:
    """Seconds of ``usagekit render`` for all teams and the lab when nothing has changed: the median of five."""
    lab.usagekit("render", "--month", MONTH)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        lab.usagekit("render", "--month", MONTH)
        seconds.append(time.perf_counter() - began)
    return {"teams": len(lab.teams), "seconds": statistics.median(seconds), "least": min(seconds)}


def _watch(current: dict[str, float], done: threading.Event) -> None:
    """Keep the peaks of this process's worker and of what it has started."""
    while not done.wait(_LOOK_SECONDS):
        found: dict[str, float] = {"together": 0.0}
        for pid, role in _family().items():
            try:
                found[role] = max(found.get(role, 0.0), _kilobytes(pid, "status", "VmRSS:") / 1024)
                found["together"] += _kilobytes(pid, "smaps_rollup", "Pss:") / 1024
            except (OSError, StopIteration):  # it has ended
                continue
        for role, megabytes in found.items():
            current[role] = max(current.get(role, 0.0), megabytes)


def _family() -> dict[int, str]:
    """The processes below this one by generations: what forks workers, a worker, what forks kernels, a kernel."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    roles: dict[int, str] = {}
    above = [os.getpid()]
    for role in ("nursery", "worker", "forker", "kernel"):
        above = [child for pid in above for child in children.get(pid, ())]
        roles |= dict.fromkeys(above, role)
    return roles


def _kilobytes(pid: int, file: str, name: str) -> int:
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])
