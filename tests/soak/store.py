"""Soak: kills, power cuts, flipped bits and races of the event store, by the hundreds and thousands.

``python -m tests.soak.store [--kills 500] [--cuts 1000] [--flips 10000] [--races 100] [--seed N] [--write]``;
``--write`` adds the lines to docs/soak-store.jsonl.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.engine.killing import KINDS, check, kill_at_random, make_case
from tests.engine.plain_store import copied
from tests.faults.flips import FlippedStore
from tests.faults.power_loss import Recorder
from tests.faults.races import race
from tests.soak.lines import report
from usagekit.engine.importer import import_files

Counts = dict[str, object]


def kill(count: int, dice: random.Random, folder: Path) -> Counts:
    """Kill imports at random moments; each leaves the old store or the new one."""
    cases = [make_case(kind, folder / f"kill-{kind}") for kind in KINDS]
    killed = new = runs = 0
    while killed < count:
        store = folder / "killed"
        died, is_new = kill_at_random(cases[runs % len(cases)], store, dice)
        killed, new, runs = killed + died, new + (died and is_new), runs + 1
        shutil.rmtree(store)
    return {"imports": runs, "killed": killed, "left new": new, "left old": killed - new}


def cut(count: int, dice: random.Random, folder: Path) -> Counts:
    """Build what a disk may hold after power cuts at random steps of an import."""
    recorded = []
    for kind in KINDS:
        case = make_case(kind, folder / f"cut-{kind}")
        store = case.folder / "recorded"
        copied(case.store, store) if case.store.exists() else store.mkdir()
        recorder = Recorder(store)
        with recorder.recording():
            import_files(case.files, store)
        recorded.append((case, recorder))
    outcomes = Counter[str]()
    for number in range(count):
        case, recorder = recorded[number % len(recorded)]
        state = folder / "state"
        recorder.rebuild(dice.randint(recorder.begun, len(recorder.steps)), state, dice)
        outcomes["left new" if check(case, state) else "left old"] += 1
        shutil.rmtree(state)
    return {"states": count, **outcomes}


def flip(count: int, dice: random.Random, folder: Path) -> Counts:
    """Flip single bits anywhere in a store's files; no answer changes in silence."""
    (folder / "flips").mkdir()
    flipped = FlippedStore(folder / "flips")
    outcomes = Counter(flipped.check(flipped.anywhere(dice)) for _ in range(count))
    return {"flips": count, **outcomes}


def races(count: int, folder: Path) -> Counts:
    """Let 20 imports start together, again and again; the others name the one that wins."""
    slowest = 0.0
    for number in range(count):
        place = folder / f"race-{number}"
        losers, pids = race(place)
        named = {message.partition("pid ")[2].partition(" ")[0] for message, _ in losers}
        assert len(named) == 1
        assert named <= {str(pid) for pid in pids}
        slowest = max(slowest, *(seconds for _, seconds in losers))
        shutil.rmtree(place)
    return {"races": count, "writers": 20, "winners each": 1, "slowest loser (s)": round(slowest, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("kills", 500), ("cuts", 1000), ("flips", 10_000), ("races", 100), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    file = "soak-store.jsonl" if options.write else None
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name).resolve()
        for what, run in (
            ("imports killed", partial(kill, options.kills, dice, folder)),
            ("power cuts simulated", partial(cut, options.cuts, dice, folder)),
            ("bits flipped", partial(flip, options.flips, dice, folder)),
            ("writers racing", partial(races, options.races, folder)),
        ):
            report(what, run, file)


if __name__ == "__main__":
    main()
