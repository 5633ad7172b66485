"""The nursery of a batch: workers and kernels share its imports and nothing else, and its death costs nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from multiprocessing import connection
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.paper.killing import MONTH, batch_process, prepare
from tests.paper.processes import cells_begun, children_of, processes_of, until
from usagekit.report import starting
from usagekit.report.batch import render_month
from usagekit.report.ledger import read_entries
from usagekit.report.limits import kernel_environment
from usagekit.report.render import render_unit
from usagekit.report.serving import Begun
from usagekit.report.starting import Nursery
from usagekit.report.template import load_template
from usagekit.report.unit import Rendered, Unit, report_directory
from usagekit.report.workers import Lost, work
from usagekit.sample_lab import demo_snapshot

CANARY = "canary-of-the-nursery-5521"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def command(pid: int) -> str:
    """The command line of a process; a fork has that of its forker."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def family(batch: int) -> tuple[int, list[int], list[int], list[int]]:
    """The nursery of a batch, its workers, their zygotes and the kernels of these."""
    (nursery,) = [pid for pid in children_of(batch) if "usagekit.report.nursery" in command(pid)]
    workers = children_of(nursery)
    zygotes = children_of(*workers)
    return nursery, workers, zygotes, children_of(*zygotes)


def at_work(nursery: Nursery, function: Callable[[str], Any], *items: str, jobs: int = 1) -> list[Any]:
    """Results of workers from a nursery, in the order of the items."""
    found = dict(work(function, items, jobs=jobs, seconds=60, nursery=nursery))
    return [found[item] for item in items]


def _look(_item: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "command": command(os.getpid()),
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "path": sys.path,
        "loaded": "papermill" in sys.modules,
        "drawn": random.random(),
    }


def _look_twice(item: str) -> dict[str, Any]:
    time.sleep(0.5)  # so that each of two workers gets one
    return _look(item)


def test_worker_has_all_of_its_batch_and_has_imported_it_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, directory and path are those of the batch; modules are there, random numbers are a worker's own."""
    monkeypatch.setenv("HEADSPIN_API_TOKEN", CANARY)
    one, two = at_work(Nursery(kernel_environment()), _look_twice, "a", "b", jobs=2)
    assert one["pid"] != two["pid"]
    assert one["parent"] == two["parent"] != os.getpid()
    for seen in (one, two):
        assert "usagekit.report.nursery" in seen["command"]
        assert seen["environment"] == dict(os.environ)
        assert (seen["directory"], seen["path"]) == (str(Path.cwd()), sys.path)
        assert seen["loaded"]
    assert one["drawn"] != two["drawn"]


@pytest.mark.promise(1)
def test_only_workers_know_the_secrets_of_their_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret of the environment stands nowhere in the memory of nursery and zygote, nor where a notebook can look."""
    monkeypatch.setenv("HEADSPIN_API_TOKEN", CANARY)
    units = prepare(tmp_path, "shows_all_environments", ["A", "B"])
    with closing(render_month(units, jobs=1)) as batch:
        assert isinstance(next(batch), Rendered)
        nursery, workers, zygotes, _ = family(os.getpid())
        assert [CANARY.encode() in memory(pid) for pid in (*workers, *zygotes, nursery)] == [
            *(True, False, False)
        ]
    notebook = (units[0].directory / "report.ipynb").read_text("utf-8")
    assert notebook.count("usagekit.report.nursery") == 4, "kernel, zygote, worker and nursery were looked at"
    assert "PATH=" in notebook
    assert "HEADSPIN_API_TOKEN" not in notebook
    assert CANARY not in notebook


def memory(pid: int) -> bytes:
    """All that a process can write to."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(number, 16) for number in place.split("-"))
                file.seek(start)
                found.append(file.read(end - start))
    return b"".join(found)


def test_a_batch_starts_one_interpreter(tmp_path: Path) -> None:
    """Workers, what forks their kernels and the kernels are forked: all have the command line of the nursery."""
    with batch_process(tmp_path, "sleeps", ["A", "B"]) as process:
        until(lambda: len(cells_begun(tmp_path)) == 2, seconds=120)
        nursery, *forked = family(process.pid)
        assert [len(pids) for pids in forked] == [2, 2, 2]
        started = processes_of(tmp_path)
        assert {nursery, *(pid for pids in forked for pid in pids)} == set(started) - {process.pid}
        assert len({line for pid, line in started.items() if pid != process.pid}) == 1


@pytest.mark.slow
def test_report_is_the_same_from_a_batch_and_alone(tmp_path: Path) -> None:
    """The real template gives the same outputs and pages in a batch's workers and from a kernel that was started cold."""
    template, lab = load_template("team_month"), demo_snapshot()
    cold, *units = (
        Unit(template, team, MONTH, lab, report_directory(tmp_path / where, MONTH, team=team))
        for where, team in (("cold", "Payments"), ("batch", "Payments"), ("batch", "Growth"))
    )
    assert isinstance(render_unit(cold, cold=True), Rendered)
    assert all(isinstance(outcome, Rendered) for outcome in render_month(units, jobs=1))
    for name in ("report.html", "report.pdf"):
        assert (cold.directory / name).read_bytes() == (units[0].directory / name).read_bytes()
    outputs = [
        [cell.get("outputs") for cell in nbformat.read(unit.directory / "report.ipynb", as_version=4).cells]
        for unit in (cold, units[0])
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.fault(44)
def test_killed_nursery_costs_no_report(tmp_path: Path) -> None:
    """When the nursery is killed, workers go on with what they have and take the next; each report is made once."""
    teams = ["B", "C", "D", "E"]
    with batch_process(tmp_path, "b_waits_for_word", teams) as process:
        until(lambda: len(cells_begun(tmp_path)) >= 2, seconds=120)
        os.kill(family(process.pid)[0], signal.SIGKILL)
        (tmp_path / "go").touch()
        told, _ = process.communicate(timeout=120)
    assert sorted(json.loads(line)["team"] for line in told.splitlines()) == teams
    assert {json.loads(line)["kind"] for line in told.splitlines()} == {"Rendered"}
    assert {team: len(times) for team, times in cells_begun(tmp_path).items()} == dict.fromkeys(teams, 1)


def _kill(item: str) -> str:
    what, _, place = item.partition(" ")
    if place and not (mark := Path(place, what)).exists():
        mark.touch()
        os.kill(os.getppid() if "nursery" in what else os.getpid(), signal.SIGKILL)
    if what == "nursery-then-exits":
        time.sleep(0.5)
        os._exit(7)
    return command(os.getpid())


def test_worker_killed_at_an_item_is_replaced_from_the_nursery(tmp_path: Path) -> None:
    """An item whose worker is killed is tried again in another one, which was forked as well."""
    killed, other = at_work(Nursery(kernel_environment()), _kill, f"worker {tmp_path}", "other")
    assert "usagekit.report.nursery" in killed
    assert "usagekit.report.nursery" in other
    assert (tmp_path / "worker").exists()


def test_without_its_nursery_a_batch_spawns_its_workers(tmp_path: Path) -> None:
    """Where nobody can tell how a worker has ended it is said so; the next ones are started without a nursery."""
    lost, other = at_work(Nursery(kernel_environment()), _kill, f"nursery-then-exits {tmp_path}", "other")
    assert lost == Lost("its process ended with code 7"), "the second one was spawned, so its end is known"
    assert "spawn_main" in other


def test_nobody_knows_how_an_orphan_has_ended() -> None:
    """The end of a worker is told by its nursery; without one it is seen as soon, and nobody knows how it came."""
    nursery = Nursery(kernel_environment())
    line = nursery.start()
    try:
        assert connection.wait([line], timeout=60)
        worker = nursery.worker(_look)
        assert worker is not None
        (orphan,) = children_of(*children_of(os.getpid()))
        os.kill(family(os.getpid())[0], signal.SIGKILL)
        until(lambda: nursery.worker(_look) is None, seconds=5)
        worker.pipe.send("item")
        assert isinstance(worker.pipe.recv(), Begun)
        assert worker.pipe.recv()["pid"] == orphan
        os.kill(orphan, signal.SIGKILL)
        with pytest.raises(EOFError):
            worker.pipe.recv()
        assert worker.how_it_ended() == "and nobody knows how"
        worker.end()
    finally:
        nursery.close()


@pytest.mark.fault(44)
@pytest.mark.parametrize("killed", ["batch", "batch and nursery", "batch with stopped workers"])
def test_nobody_outlives_a_killed_batch(tmp_path: Path, killed: str) -> None:
    """When the batch is killed, alone or with its nursery, all of its processes are gone within five seconds."""
    with batch_process(tmp_path, "computes_in_c", ["A", "B", "C"]) as process:
        until(lambda: len(cells_begun(tmp_path)) == 2, seconds=120)
        nursery, workers, zygotes, kernels = family(process.pid)
        assert {nursery, *workers, *zygotes, *kernels} <= set(processes_of(tmp_path))
        for worker in workers if "stopped" in killed else ():
            os.kill(worker, signal.SIGSTOP)
        if "nursery" in killed:
            os.kill(nursery, signal.SIGKILL)
        process.kill()
        until(lambda: not processes_of(tmp_path), seconds=5)
    states = [entry.state for entry in read_entries(tmp_path / "reports", MONTH).values()]
    assert sorted(states) == ["planned", "rendering", "rendering"]


def test_second_thread_makes_workers_and_kernels_start_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the nursery has a second thread workers are spawned, with the one warning about cold kernels as ever."""
    starts_thread = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[300], daemon=True).start()"
    )
    (tmp_path / "sitecustomize.py").write_text(starts_thread)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    units = prepare(tmp_path, "good", ["A", "B"])
    assert all(isinstance(outcome, Rendered) for outcome in render_month(units, jobs=1))
    assert capfd.readouterr().err.count("start cold from now on") == 1


def test_where_nothing_is_forked_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems, and where the nursery cannot start or import, workers are spawned without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "spawn_main" in at_work(Nursery({"PYTHONHOME": "/nowhere"}), _kill, "other")[0]
        monkeypatch.setattr(starting.sys, "platform", "darwin")
        assert "spawn_main" in at_work(Nursery(kernel_environment()), _kill, "other")[0]


def _render_elsewhere(unit: Unit) -> object:
    os.environ["LC_MEASUREMENT"] = "C.UTF-8"
    return render_unit(unit)


def test_kernel_has_the_environment_that_its_worker_has_now(tmp_path: Path) -> None:
    """Where that is another than the nursery's, the kernel comes from a zygote that is started for it."""
    (unit,) = prepare(tmp_path, "shows_all_environments", ["A"])
    results = work(_render_elsewhere, [unit], jobs=1, seconds=120, nursery=Nursery(kernel_environment()))
    assert [type(result) for _, result in results] == [Rendered]
    notebook = (unit.directory / "report.ipynb").read_text("utf-8")
    assert notebook.count("LC_MEASUREMENT=C.UTF-8") == 2, "that of kernel and zygote"
    assert notebook.count("usagekit.report.zygote") == 2


def test_function_that_cannot_be_sent_leaves_no_process() -> None:
    """What cannot be pickled is told as by multiprocessing, and the worker that was forked for it is gone."""
    before = children_of(os.getpid())
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        at_work(Nursery(kernel_environment()), lambda item: item, "a")
    assert set(children_of(os.getpid())) <= set(before)
