"""The whole benchmark: ``python -m benchmarks.engine [--large]``, which is ``make bench`` and ``make bench-large``.

Contenders take turns, each in a fresh process on one core, so that a busy machine is busy for all of them; what
counts is medians of CPU time and their ratios. Before anything is timed all answers must be equal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import check, page
from benchmarks.rivals import RIVALS, same

SIZES = (100_000, 1_000_000, 10_000_000)
LARGE = 100_000_000
NOT_AT_LARGE = ("plain pandas", "vectorised pandas", "usagekit, one by one")
"""Pandas would need some 40 and 25 GB, and six passes would tell nothing new."""


def main() -> None:
    """Measure, check, and write docs/performance.md with its plot and docs/performance.json."""
    parser = argparse.ArgumentParser(description="The engine against its rivals.")
    parser.add_argument("--large", action="store_true", help="only 10^8 sessions: 3 GB of disk, 15 minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the stores there and use those that are there")
    asked = parser.parse_args()
    kept = page.load()  # the large size is measured apart: neither run forgets the other
    kept["large_run" if asked.large else "run"] = page.machine(0 if asked.large else asked.rounds)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="usagekit-bench-"))
    try:
        for size in (LARGE,) if asked.large else SIZES:
            kept["results"][str(size)] = measure(folder / str(size), 0 if asked.large else asked.rounds)
            if not asked.folder:
                shutil.rmtree(folder / str(size))
    finally:
        if not asked.folder:
            shutil.rmtree(folder)
    page.save(kept)
    print(page.table(kept["results"]))
    check.main()


def measure(store: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Write and index a store, see that all contenders agree, and time them.

    The run that shows that they agree warms the files and is not timed, unless ``rounds`` is 0: then it is all there is.
    """
    found = {part: probe(part, store) for part in ("sample", "index")}
    names = [name for name in RIVALS if rounds or name not in NOT_AT_LARGE]
    reference: list[Any] = []
    turns: list[dict[str, dict[str, float]]] = [{}]
    for name in names:
        answer = store.with_suffix(".answer")
        turns[0][name] = probe(name, store, str(answer))
        rows = json.loads(answer.read_text())
        if not rows or not same(rows, reference or rows):
            raise AssertionError(f"{name} and {names[0]} do not agree about {store.name} sessions")
        reference = reference or rows
    others = ["plain scan", "one month", "hour edges", "rows out"]
    if rounds:
        turns = [{name: probe(name, store) for name in [*names, *others]} for _ in range(rounds)]
    else:
        turns[0] |= {name: probe(name, store) for name in others}
    for name in turns[0]:
        found[name] = {k: statistics.median(turn[name][k] for turn in turns) for k in turns[0][name]}
        if "seconds" in found[name]:
            seconds = [turn[name]["seconds"] for turn in turns]
            found[name] |= {"seconds_low": min(seconds), "seconds_high": max(seconds)}
    return found


def probe(what: str, store: Path, *more: str) -> dict[str, float]:
    """Measure one thing in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.probe", what, str(store), *more]
    print(f"{int(store.name):>11,} {what}", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    main()
