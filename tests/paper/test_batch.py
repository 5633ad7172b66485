"""A month of reports in worker processes: names, failures, locks, and what need not be done again."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paper.processes import MARK, processes_of
from tests.paper.templates import write_snapshot, write_template
from usagekit.engine.files import locked
from usagekit.errors import QueryError, RenderError, StoreLocked
from usagekit.report import workers
from usagekit.report.batch import (
    Failure,
    Limits,
    Skipped,
    Unit,
    plan_month,
    read_failures,
    render_month,
    summarise,
    team_slug,
)
from usagekit.report.limits import kernel_environment
from usagekit.report.starting import Nursery
from usagekit.report.unit import report_directory
from usagekit.report.workers import Lost, work

WINDOWS = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}
AWKWARD = [
    "NA",
    "na",
    "Na",
    "R&D / Café",
    "チーム",
    "../x",
    "x",
    "{b}",
    "con.txt",
    "con",
    "lab",
    ".",
    "",
    " ",
]
AWKWARD += [
    "a" * 10_000,
    "é",
    "e\u0301",
    "<script>",
    "#read('x')",
    "x.",
    "x-",
    "📱",
    "\u202ex",
    "a\x00b",
    "\ud800",
]
AWKWARD += ["team", "payments", "payments-1a2b3c4d", "deadbeef", team_slug("NA"), team_slug("チーム")]

Plan = Callable[..., Sequence[Unit]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Plans the reports of some teams from the notebook of a trait."""

    def plan_trait(trait: str, teams: Sequence[str]) -> Sequence[Unit]:
        template = write_template(tmp_path / "notebooks", trait)
        snapshot = write_snapshot(tmp_path / "snapshot")
        return plan_month(
            "2023-03", teams, snapshot=snapshot, reports=tmp_path / "reports", template=template
        )

    return plan_trait


def check_slug(team: str) -> str:
    """A slug is a safe file name everywhere; returns it."""
    slug = team_slug(team)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= 60
    assert slug not in WINDOWS | {"lab"}
    return slug


@pytest.mark.promise(6)
def test_awkward_names_get_distinct_safe_slugs() -> None:
    """Names that differ only in case, form, length or signs get different directories that are safe anywhere."""
    slugs = [check_slug(team) for team in AWKWARD]
    assert len(set(slugs)) == len(AWKWARD)
    assert team_slug("payments") == "payments"
    assert team_slug("R&D / Café").startswith("r-d-cafe-")


@pytest.mark.promise(6)
@settings(max_examples=500)
@given(st.lists(st.text(max_size=80) | st.sampled_from(AWKWARD), min_size=1, max_size=8, unique=True))
def test_any_names_get_distinct_safe_slugs(teams: list[str]) -> None:
    """Any different names, and their case and Unicode twins, get different safe slugs."""
    twins = {f(t) for t in teams for f in (str, str.upper, str.lower)}
    twins |= {unicodedata.normalize(form, t) for t in teams for form in ("NFC", "NFD")}  # type: ignore[arg-type]
    assert len({check_slug(team) for team in twins}) == len(twins)


def test_reports_of_other_templates_stand_beside(tmp_path: Path) -> None:
    """The lab and other templates get directories that no team can have."""
    of = report_directory
    found = {
        of(tmp_path, "2023-03", team=None).name,
        of(tmp_path, "2023-03", team="lab").name,
        of(tmp_path, "2023-03", team="x", template="mine").name,
        of(tmp_path, "2023-03", team="x.mine").name,
        of(tmp_path, "2023-03", team="x").name,
    }
    assert len(found) == 5
    assert {"lab", "x", "x.mine"} <= found


def test_one_failure_stops_nobody(plan: Plan, tmp_path: Path) -> None:
    """Of three teams one fails: two reports appear, the failure is on record, the next run makes only that one."""
    units = plan("fails_for_b", ["A", "B", "C"])
    first = summarise(render_month(units, jobs=2))
    assert [o.unit.team for o in first.rendered] == ["A", "C"]
    (failure,) = first.failed
    assert (failure.unit.team, failure.cell_index, failure.error) == ("B", 2, "no rows for B")
    assert str(first).splitlines() == [
        "2 rendered, 0 unchanged, 1 failed",
        "B, 2023-03: cell 3: ValueError: no rows for B",
    ]
    month = tmp_path / "reports" / "2023-03"
    assert [f["team"] for f in read_failures(month).values()] == ["B"]
    second = summarise(render_month(units[:2], jobs=2))
    assert [type(o) for o in (*second.skipped, *second.failed)] == [Skipped, Failure]
    forced = summarise(render_month(units[:1], force=True))
    assert [o.unit.team for o in forced.rendered] == ["A"]
    assert [f["team"] for f in read_failures(month).values()] == ["B"], "a run of others mends nothing"


def test_dead_worker_costs_its_own_report_only(plan: Plan, tmp_path: Path) -> None:
    """A worker that is killed from inside loses its report; the others are made, and no work directory stays."""
    units = plan("kills_worker_of_b", ["A", "B", "C"])
    summary = summarise(render_month(units, jobs=1))
    assert [o.unit.team for o in summary.rendered] == ["A", "C"]
    assert [(o.unit.team, o.error_name) for o in summary.failed] == [("B", "WorkerLost")]
    assert "signal 9" in summary.failed[0].error
    assert {p.name for p in (tmp_path / "reports" / "2023-03").iterdir()} == {
        units[0].directory.name,
        units[2].directory.name,
    }


def _misbehave(item: str) -> str:
    if item == "exits":
        os._exit(7)
    if item == "hangs":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(60)
    return item.upper()


@pytest.mark.parametrize("nursery", [None, Nursery(kernel_environment())])
def test_worker_that_hangs_is_killed_at_the_deadline(nursery: Nursery | None) -> None:
    """Workers that hang or exit lose their item with a reason; every other item gets its result."""
    items = ["a", "exits", "hangs", "b", "c"]
    began = time.monotonic()
    found = dict(work(_misbehave, items, jobs=2, seconds=20, nursery=nursery))
    assert time.monotonic() - began < 90
    assert {k: v for k, v in found.items() if len(k) == 1} == {"a": "A", "b": "B", "c": "C"}
    assert found["exits"] == Lost("its process ended with code 7")
    assert found["hangs"] == Lost("took longer than 20 s")


class _SlowToLoad:
    """A function whose process needs longer to load it than an item may take."""

    def __call__(self, item: str) -> str:
        return item

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _load_slowly, ()


def _load_slowly() -> _SlowToLoad:
    time.sleep(3)
    return _SlowToLoad()


def test_time_is_counted_from_when_a_worker_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process and its imports is not held against an item; one that never begins is lost all the same."""
    assert list(work(_SlowToLoad(), ["a"], jobs=1, seconds=2.0)) == [("a", "a")]
    monkeypatch.setattr(workers, "_BEGIN_SECONDS", 1.0)
    assert list(work(_SlowToLoad(), ["a"], jobs=1, seconds=60)) == [("a", Lost("did not begin within 1 s"))]


def test_second_batch_is_refused_by_name(plan: Plan, tmp_path: Path) -> None:
    """While one batch holds the reports, a second one is told who holds them and starts nothing."""
    units = plan("good", ["A"])
    with (
        locked(tmp_path / "reports" / ".lock", what="reports"),
        pytest.raises(StoreLocked, match=f"pid {os.getpid()} since"),
    ):
        next(iter(render_month(units)))
    assert not (tmp_path / "reports" / "2023-03").exists()


def test_the_loser_waits_for_the_name_of_the_winner(tmp_path: Path) -> None:
    """Whoever comes while the holder of a lock has yet to write its name learns it all the same."""
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.7, lambda: file.write("pid 7 since then") and file.flush())
        timer.start()
        with (
            pytest.raises(StoreLocked, match="in use by pid 7 since then"),
            locked(tmp_path / ".lock", what="it", patience=0.2),
        ):
            pass
        timer.join()


def test_batch_that_is_stopped_ends_its_workers(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the iterator in the middle ends every process, frees the lock and leaves no work directory."""
    monkeypatch.setenv(MARK, str(tmp_path.resolve()))
    units = plan("sleeps_for_b", ["A", "B"])
    batch = render_month(units, jobs=2)
    assert next(batch).unit.team == "A"
    assert len(processes_of(tmp_path)) >= 5, "two workers, what forks both, and what forks their kernels"
    batch.close()
    _until(lambda: processes_of(tmp_path) == {}, seconds=1)
    month = tmp_path / "reports" / "2023-03"
    assert {p.name for p in month.iterdir()} == {units[0].directory.name}
    with locked(tmp_path / "reports" / ".lock", what="reports"):
        _until(lambda: not any(_kernels_in(month)), seconds=15)


def test_everything_is_checked_before_anything_runs(plan: Plan, tmp_path: Path) -> None:
    """Wrong months, names, snapshots and directories are refused before a process is started."""
    reports = tmp_path / "reports"
    units = plan("good", ["A", "B"])
    template, snapshot = units[0].template, units[0].snapshot

    def planned(month: str = "2023-03", **changes: object) -> list[Unit]:
        given = {"snapshot": snapshot, "reports": reports, "template": template} | changes
        return plan_month(month, ["A"], **given)  # type: ignore[arg-type]

    with pytest.raises(QueryError, match="2023-3"):
        planned("2023-3")
    with pytest.raises(RenderError, match="no parameter 'topp'"):
        planned(options={"topp": 3})
    with pytest.raises(RenderError, match="no snapshot at"):
        planned(snapshot=tmp_path / "nowhere")
    with pytest.raises(RenderError, match="would both be written"):
        plan_month("2023-03", ["A", "A"], snapshot=snapshot, reports=reports, template=template)
    with pytest.raises(RenderError, match=r"is not in .*2023-03"):
        render_month([replace(units[0], directory=tmp_path / "elsewhere" / "a")])
    with pytest.raises(RenderError, match="is not in"):
        render_month([units[0], *planned("2023-04")])
    with pytest.raises(RenderError, match="would both be written"):
        render_month([units[0], units[0]])
    assert list(render_month([])) == []
    assert not reports.exists()


def test_killed_batch_leaves_nothing_behind(plan: Plan, tmp_path: Path) -> None:
    """A batch killed in the middle frees its lock and takes its kernels along; the next one cleans up and finishes."""
    units = plan("sleeps", ["A"])
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom usagekit.report.batch import plan_month, render_month\n"
        "if __name__ == '__main__':\n"
        "    base = Path(sys.argv[1])\n"
        "    units = plan_month('2023-03', ['A'], snapshot=base / 'snapshot', reports=base / 'reports',\n"
        "                       template=base / 'notebooks' / 'sleeps.ipynb')\n"
        "    list(render_month(units, jobs=1))\n"
    )
    batch = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    month = tmp_path / "reports" / "2023-03"
    try:
        _until(lambda: any(_kernels_in(month)), seconds=60)
    finally:
        batch.kill()
        batch.wait()
    _until(lambda: not any(_kernels_in(month)), seconds=15)
    assert [p for p in month.iterdir() if p.name.endswith(".work")], "the killed batch could not clean up"
    (outcome,) = render_month(units, limits=Limits(cell_seconds=1))
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "Timeout"
    assert {p.name for p in month.iterdir()} == {units[0].directory.name}


def _kernels_in(month: Path) -> Iterator[int]:
    """Process ids whose working directory is below ``month``: the kernels at work there."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            directory = (process / "cwd").readlink()
        except OSError:  # ended meanwhile, or not ours
            continue
        if directory.is_relative_to(month):
            yield int(process.name)


def _until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
