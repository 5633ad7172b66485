"""Soak: batches of reports that are killed, stopped, raced, starved of disk and memory, with real kernels.

``python -m tests.soak.paper [--kills 200] [--reads 100000] [--publishers 500] [--kernels 100] [--races 100]
[--stops 50] [--seed N] [--write]``; ``--write`` adds the lines to docs/soak-paper.jsonl.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.full_disk import fill, small_disk
from tests.paper.killing import (
    MONTH,
    batch_process,
    finish,
    finished,
    fork,
    kill_at_random,
    prepare,
    published,
    race,
)
from tests.paper.processes import cells_begun, processes_of, until
from tests.soak.lines import report
from usagekit.report.ledger import read_entries
from usagekit.report.publish import publish, recipe, work_directory
from usagekit.report.render import render_unit
from usagekit.report.unit import Failure, Unit

Counts = dict[str, object]
TEAMS = ["A", "B", "チーム", "D", "E", "F"]


def kill(count: int, dice: random.Random, folder: Path) -> Counts:
    """Kill batches at random moments: nothing finished is lost or touched, at most the reports at work are redone."""
    kills = redone = batches = 0
    while kills < count:
        more, again = kill_at_random(folder / "killed", dice, teams=TEAMS)
        kills, redone, batches = kills + more, redone + again, batches + 1
    return {"kills": kills, "batches": batches, "reports": batches * len(TEAMS), "redone": redone, "lost": 0}


def _publish_for_ever(unit: Unit, files: dict[str, bytes]) -> None:
    for turn in range(10**9):
        with work_directory(unit.directory) as work:
            own = {name: content + b"\n" * (turn % 2) for name, content in files.items()}
            publish(unit, work, recipe(unit) | {"facts": {}}, files=own)


def read(reads: int, publishers: int, dice: random.Random, folder: Path) -> Counts:
    """Read files again and again while their publisher is killed and started again: each is whole, old or new."""
    (unit,) = prepare(folder / "read", "good", ["A"])
    render_unit(unit)
    files = {n: c for n, c in published(unit.directory).items() if n != "manifest.json"}
    done = kills = 0
    while done < reads or kills < publishers:
        child = fork.Process(target=_publish_for_ever, args=(unit, files))
        child.start()
        ends = time.monotonic() + dice.uniform(0.02, 0.4)
        while time.monotonic() < ends:
            for name, content in files.items():
                seen = (unit.directory / name).read_bytes()
                assert seen in (content, content + b"\n"), f"{name} is torn"
                done += 1
        child.kill()
        child.join()
        kills += 1
    return {"reads": done, "publishers killed": kills, "torn": 0}


def kernels(count: int, folder: Path) -> Counts:
    """Kill kernels by signal and by memory: each is a failure within five seconds of the cell that does it."""
    kinds = {"killed by signal": "kills_kernel"}
    group = Path("/sys/fs/cgroup/memory") / f"usagekit-soak-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
        kinds["killed for memory"] = "starves_in_its_group"
    except OSError:
        print("no memory group may be made here: kernels are killed by signal only")
    counts: Counts = {}
    slowest = 0.0
    for what, trait in kinds.items():
        base = folder / trait
        (unit,) = prepare(base, trait, ["A"])
        (base / "group.txt").write_text(str(group))
        for number in range(count):
            outcome = render_unit(unit)
            begun = cells_begun(base)["A"]
            assert len(begun) == number + 1
            slowest = max(slowest, time.monotonic() - begun[-1])
            assert isinstance(outcome, Failure), f"{what}, but taken for a report"
            assert outcome.error_name == "KernelDied", str(outcome)
        counts[what] = count
    if group.exists():
        until(lambda: not (group / "cgroup.procs").read_text(), seconds=10)
        group.rmdir()
    assert slowest <= 5
    return counts | {"taken for reports": 0, "slowest (s)": round(slowest, 1)}


def disk(folder: Path) -> Counts:
    """Publish with room for 0, 1, 2, … pages more: the old report or the new one is there, whole."""
    (unit,) = prepare(folder / "disk-made", "good", ["A"])
    render_unit(unit)
    files = {n: c for n, c in published(unit.directory).items() if n != "manifest.json"}
    counts = {"pages": 0, "refused": 0, "published": 0}
    with small_disk(folder / "disk") as place:
        if place is None:
            return {"skipped": "no disk may be mounted here"}
        (own,) = prepare(place, "good", ["A"])
        with work_directory(own.directory) as work:
            publish(own, work, recipe(own) | {"facts": {}}, files=files)
        for room in range(sum(map(len, files.values())) // 4096 + 20):
            filler = fill(place, leave=room)
            before = published(own.directory)
            try:
                with work_directory(own.directory) as work:
                    publish(own, work, recipe(own) | {"facts": {"room": room}}, files=files)
                counts["published"] += 1
            except OSError:
                counts["refused"] += 1
                assert published(own.directory) == before
            published(own.directory)
            filler.unlink()
            counts["pages"] += 1
    return {**counts, "lost": 0}


def races(count: int, folder: Path) -> Counts:
    """Let 20 batches start together, again and again."""
    slowest = 0.0
    for number in range(count):
        base = folder / f"race-{number}"
        slowest = max(slowest, *(seconds for _, seconds in race(base, 20)))
        shutil.rmtree(base)
    return {"races": count, "batches": 20, "winners each": 1, "slowest loser (s)": round(slowest, 2)}


def stop(count: int, dice: random.Random, folder: Path) -> Counts:
    """Ask batches politely to end, at random moments: they do within 10 s, leave no process, and go on afterwards."""
    slowest = 0.0
    for number in range(count):
        base = folder / f"stop-{number}"
        with batch_process(base, dice.choice(["good", "sleeps", "computes_in_c"]), TEAMS) as process:
            until((base / "reports" / ".lock").exists, seconds=60)
            time.sleep(dice.uniform(0.5, 6))
            assert process.poll() is not None or process.pid in processes_of(base)
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=15)
            slowest = max(slowest, time.monotonic() - began)
            until(lambda: not processes_of(base), seconds=5)  # noqa: B023 - at once
        before = finished(base / "reports")
        finish(base, "good", TEAMS)
        after = finished(base / "reports")
        assert {name: after[name] for name in before} == before
        assert all(
            e.state == "rendered" for e in read_entries(base / "reports", MONTH).values() if e.name in after
        )
        shutil.rmtree(base)
    assert slowest <= 10
    return {"stopped": count, "slowest end (s)": round(slowest, 1), "orphans": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = {
        "kills": 200,
        "reads": 100_000,
        "publishers": 500,
        "kernels": 100,
        "races": 100,
        "stops": 50,
        "seed": 1,
    }
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    file = "soak-paper.jsonl" if options.write else None
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for what, run in (
            ("batches killed", partial(kill, options.kills, dice, folder)),
            ("files read while published", partial(read, options.reads, options.publishers, dice, folder)),
            ("kernels killed", partial(kernels, options.kernels, folder)),
            ("disks full at every page", partial(disk, folder)),
            ("batches racing", partial(races, options.races, folder)),
            ("batches stopped", partial(stop, options.stops, dice, folder)),
        ):
            report(what, run, file)


if __name__ == "__main__":
    main()
