"""The reports against what people do today and against the floor: ``python -m benchmarks.reports [--large]``.

The three ways take turns, round by round, so that a busy machine is busy for all of them; what counts are ratios of
CPU time within a round and their median. Before anything counts all three must have made equal figures.
``--large`` measures what takes longer: memory over 500 reports, and a second render of 200 teams.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import check, page, reports_memory, reports_page, reports_profile, reports_ways
from benchmarks.reports_ways import Cost, Lab, make_lab

TEAMS = 20
TODAY = 2
"""Teams that today's commands make in a round."""
JOBS = (1, 2)


def main() -> None:
    """Measure, and write the section of docs/performance.md with its part of docs/performance.json."""
    parser = argparse.ArgumentParser(description="The reports against what people do today.")
    parser.add_argument(
        "--large", action="store_true", help="memory and the second render: a quarter of an hour"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teams", type=int, default=TEAMS)
    parser.add_argument("--folder", type=Path, help="keep the labs there and use those that are there")
    asked = parser.parse_args()
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {("large_run" if asked.large else "run"): page.machine(asked.rounds)}
        if asked.large:
            found |= reports_memory.measure(Path(folder))
        else:
            lab = make_lab(Path(folder, str(asked.teams)), asked.teams)
            found |= compare(lab, asked.rounds)
            found["profile"] = reports_profile.measure(lab)
    kept = page.load()  # read late: another benchmark may have written meanwhile
    kept["reports"] = kept.get("reports", {}) | found
    reports_page.save(kept)
    print(reports_page.section(kept["reports"]))
    check.require(reports_page.ratios(kept["reports"]))


def compare(lab: Lab, rounds: int) -> dict[str, Any]:
    """Seconds a report of each way in each round, for one and for two jobs; and what they have shown.

    Each round all teams go through usagekit and the floor, and the next two through today's commands, which take twenty
    times as long and start anew for each report anyway.
    """
    browser = reports_ways.prepare_printers(lab)
    parts = [lab.teams[start : start + TODAY] for start in range(0, rounds * TODAY, TODAY)]
    for warm_up in (reports_ways.ours, reports_ways.floor):
        warm_up(lab, lab.teams[:2], jobs=1)
    found: dict[str, Any] = {"teams": len(lab.teams), "jobs": {}}
    for jobs in JOBS:
        turns: dict[str, list[dict[str, float]]] = {"today": [], "ours": [], "floor": []}
        found["jobs"][str(jobs)] = turns
        for part in parts:
            turns["floor"].append(_per_report(reports_ways.floor, lab, lab.teams, jobs))
            turns["today"].append(_per_report(reports_ways.today, lab, part, jobs))
            turns["ours"].append(_per_report(reports_ways.ours, lab, lab.teams, jobs))
    compared = [team for part in parts for team in part]
    found |= {"compared": len(compared), "figures": reports_ways.same_everywhere(lab, compared)}
    if browser:  # a taste: it takes longer, and its reports have the same figures
        found["browser"] = _per_report(partial(reports_ways.today, browser=True), lab, lab.teams[:2], 1)
    return found


def _per_report(way: Callable[..., Cost], lab: Lab, teams: Sequence[str], jobs: int) -> dict[str, float]:
    cost = way(lab, teams, jobs=jobs)
    found = {"cpu": cost.cpu / len(teams), "wall": cost.wall / len(teams)}
    name = getattr(way, "__name__", "in the browser")
    print(f"{name}, {jobs} at a time: {found['cpu']:.2f} s of CPU a report", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
