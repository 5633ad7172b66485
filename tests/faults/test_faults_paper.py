"""What can go wrong in a report itself: cells, kernels, output, pages, disks. Real kernels, real disks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.full_disk import fill, small_disk
from tests.paper.killing import (
    MONTH,
    finish,
    finished,
    prepare,
    published,
    resume,
)
from tests.paper.processes import MARK, cells_begun, processes_in, processes_of, until
from tests.paper.templates import write_template
from usagekit.errors import StoreError
from usagekit.report.batch import Failure, Rendered, Skipped, read_failures, render_month, summarise
from usagekit.report.limits import Limits
from usagekit.report.publish import publish, recipe, work_directory
from usagekit.report.render import render_unit


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a real report."""
    (unit,) = prepare(tmp_path_factory.mktemp("made"), "good", ["A"])
    assert isinstance(render_unit(unit), Rendered)
    return {name: content for name, content in published(unit.directory).items() if name != "manifest.json"}


@pytest.mark.fault(35)
def test_a_cell_that_fails(tmp_path: Path) -> None:
    """A team whose cell fails gets no page, the failure has cell and error, the other teams get their reports."""
    units = prepare(tmp_path, "fails_for_b", ["A", "B", "C"])
    summary = summarise(render_month(units, jobs=2))
    assert [o.unit.team for o in summary.rendered] == ["A", "C"]
    assert [str(o) for o in summary.failed] == ["B, 2023-03: cell 3: ValueError: no rows for B"]
    assert [p.name for p in units[1].directory.iterdir()] == ["report.failed.ipynb"]
    (failure,) = read_failures(units[1].directory.parent).values()
    assert (failure["team"], failure["cell_index"], failure["error"]) == ("B", 2, "no rows for B")


@pytest.mark.fault(36)
@pytest.mark.parametrize("trait", ["sleeps", "computes_in_c"])
def test_a_cell_that_hangs(tmp_path: Path, trait: str) -> None:
    """A cell that listens to no signal, asleep or in C, is ended at its deadline together with its process."""
    (unit,) = prepare(tmp_path, trait, ["A"])
    outcome = render_unit(unit, limits=Limits(cell_seconds=2))
    assert isinstance(outcome, Failure)
    assert (outcome.error_name, outcome.cell_index) == ("Timeout", 2)
    until(lambda: not processes_in(tmp_path), seconds=5)


@pytest.mark.fault(51)
@pytest.mark.fault(36)
def test_a_maker_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process that makes the pages stands still, it is killed at its deadline with its kernel."""
    monkeypatch.setenv(MARK, str(tmp_path.resolve()))
    units = prepare(tmp_path, "stops_worker_of_b", ["A", "B"])
    # Report A is made within the same 34 s, in a process that has yet to start and to import.
    limits = Limits(start_seconds=15, cell_seconds=2, report_seconds=3, export_seconds=1)
    batch = render_month(units, jobs=1, limits=limits)
    assert isinstance(first := next(batch), Rendered), first
    assert len(processes_of(tmp_path)) >= 2  # the worker and what forks its kernels
    summary = summarise(batch)
    assert [(o.error_name, o.error) for o in summary.failed] == [("WorkerLost", "took longer than 34 s")]
    assert [len(cells_begun(tmp_path)[team]) for team in "AB"] == [1, 1]
    until(lambda: not processes_of(tmp_path), seconds=5)


@pytest.mark.fault(51)
def test_a_maker_that_crashes_is_tried_again(tmp_path: Path) -> None:
    """When the process that makes the pages dies, its report is tried once more, and then given up."""
    units = prepare(tmp_path, "kills_worker_of_b", ["A", "B"])
    rendered, failed = list(render_month(units, jobs=1))
    assert isinstance(rendered, Rendered), rendered
    assert isinstance(failed, Failure)
    assert (failed.error_name, failed.unit.team) == ("WorkerLost", "B")
    assert "signal 9" in failed.error
    assert {team: len(begun) for team, begun in cells_begun(tmp_path).items()} == {"A": 1, "B": 2}


@pytest.mark.fault(37)
def test_a_kernel_that_is_killed(tmp_path: Path) -> None:
    """A kernel that dies is seen within five seconds and is a failure, whatever its notebook says of itself."""
    (unit,) = prepare(tmp_path, "kills_kernel", ["A"])
    outcome = render_unit(unit)
    assert time.monotonic() - cells_begun(tmp_path)["A"][0] < 5
    assert isinstance(outcome, Failure)
    assert (outcome.error_name, outcome.cell_index) == ("KernelDied", 2)


@pytest.mark.fault(37)
def test_a_kernel_out_of_memory(tmp_path: Path) -> None:
    """A kernel that the system kills for its memory is a failure that says so; no page is made."""
    group = Path("/sys/fs/cgroup/memory") / f"usagekit-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
    except OSError:
        pytest.skip("no memory group may be made here")
    try:
        (unit,) = prepare(tmp_path, "starves_in_its_group", ["A"])
        (tmp_path / "group.txt").write_text(str(group))
        outcome = render_unit(unit)
        assert isinstance(outcome, Failure)
        assert (outcome.error_name, outcome.cell_index) == ("KernelDied", 2)
        assert [p.name for p in unit.directory.iterdir()] == ["report.failed.ipynb"]
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), seconds=10)
        group.rmdir()


@pytest.mark.fault(38)
def test_a_kernel_that_never_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that never answers is tried twice, within its deadline each, and named."""
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    spec = '{"argv": ["sleep", "60", "{connection_file}"], "display_name": "Silent", "language": "python"}'
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(spec)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (unit,) = prepare(tmp_path, "good", ["A"])
    outcome = render_unit(unit, limits=Limits(start_seconds=1), cold=True)
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "KernelNotStarted"
    until(lambda: not processes_in(tmp_path), seconds=5)


@pytest.mark.promise(11)
@pytest.mark.fault(39)
def test_a_flood_of_output(tmp_path: Path) -> None:
    """A flood of text is cut with a mark, a flood of figures fails the report; neither makes huge files."""
    (floods,) = prepare(tmp_path / "text", "floods", ["A"])
    (shows,) = prepare(tmp_path / "figures", "shows_too_much", ["A"])
    limits = Limits(printed_characters=50_000, report_characters=100_000)
    assert isinstance(render_unit(floods, limits=limits), Rendered)
    assert "cut here: this cell printed too much" in (floods.directory / "report.html").read_text()
    assert sum(p.stat().st_size for p in floods.directory.iterdir()) < 1_000_000
    outcome = render_unit(shows, limits=limits)
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "TooMuchOutput"


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("trait", "error_name"), [("exits", "SystemExit"), ("unmarked", "Incomplete"), ("empty", "Incomplete")]
)
def test_an_early_end(tmp_path: Path, trait: str, error_name: str) -> None:
    """A notebook that ends early, or has nothing to say, is no report."""
    (unit,) = prepare(tmp_path, trait, ["A"])
    outcome = render_unit(unit)
    assert isinstance(outcome, Failure)
    assert outcome.error_name == error_name
    assert not (unit.directory / "report.pdf").exists()


@pytest.mark.fault(41)
@pytest.mark.slow
def test_a_disk_that_is_full_at_any_page(tmp_path: Path, files: dict[str, bytes]) -> None:
    """With room for 0, 1, 2, … more pages a run ends with an error or well; the old reports stay, and it goes on."""
    with small_disk(tmp_path / "disk", size=2 << 20) as disk:
        if disk is None:
            pytest.skip("no disk may be mounted here")
        teams = ["A", "チーム"]
        (disk / "reports").mkdir()
        (disk / "reports" / "mended").touch()
        small = files | {"report.ipynb": b"n" * 9000}
        resume(disk, teams, small)
        before = finished(disk / "reports")
        units = prepare(disk, "good", teams)
        need = sum(map(len, small.values())) // 4096 + 8
        ends = set()
        for room in range(need * 2):
            filler = fill(disk, leave=room)
            for unit in units:
                try:
                    with work_directory(unit.directory) as work:
                        publish(unit, work, recipe(unit) | {"facts": {}, "room": room}, files=small)
                    ends.add("published")
                except OSError:
                    ends.add("refused")
                    assert finished(disk / "reports").keys() == before.keys()
            with_ledger = _run_on_full_disk(disk, teams, small)
            ends.add(with_ledger)
            filler.unlink()
            for unit in units:
                published(unit.directory)
        assert ends >= {"published", "refused", "done"}
        resume(disk, teams, small)
        assert len(finished(disk / "reports")) == 2


def _run_on_full_disk(disk: Path, teams: list[str], files: dict[str, bytes]) -> str:
    try:
        return "failed" if "Failure" in resume(disk, teams, files).values() else "done"
    except (StoreError, OSError):
        return "told"


@pytest.mark.fault(42)
def test_a_disk_that_cannot_be_written(tmp_path: Path, files: dict[str, bytes]) -> None:
    """On a disk that has become read-only a run is refused with one line, and all reports are still there."""
    with small_disk(tmp_path / "disk", size=2 << 20) as disk:
        if disk is None:
            pytest.skip("no disk may be mounted here")
        resume(disk, ["A"], files)
        before = finished(disk / "reports")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        try:
            with pytest.raises(StoreError, match=r"cannot be written: .*[Rr]ead-only"):
                resume(disk, ["A"], files)
            assert read_failures(disk / "reports" / MONTH) == {}
            assert finished(disk / "reports") == before
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert resume(disk, ["A"], files) == {"A": "Skipped"}


@pytest.mark.fault(42)
@pytest.mark.timeout(900)
def test_too_many_open_files(tmp_path: Path) -> None:
    """A batch that may open hardly any file ends with failures or an error, publishes nothing, and can be repeated."""
    prepare(tmp_path, "good", ["A"])
    for limit in (12, 24):
        command = [sys.executable, "-m", "tests.paper.killing", str(tmp_path), "good", "1", "5", "A"]
        ended = subprocess.run(
            ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert ended.returncode != 0 or '"Failure"' in ended.stdout
        assert not list(tmp_path.rglob("report.pdf"))
    assert finish(tmp_path, "good", ["A"]) == {"A": "Rendered"}


@pytest.mark.fault(48)
def test_a_letter_without_a_glyph(tmp_path: Path) -> None:
    """A letter that no font has is a box in the PDF, and the manifest names it."""
    (unit,) = prepare(tmp_path, "shows_rare_letter", ["A"])
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered), outcome
    assert "U+10380 UGARITIC LETTER ALPA" in outcome.manifest["warnings"][0]


@pytest.mark.promise(11)
@pytest.mark.fault(49)
def test_broken_pictures(tmp_path: Path) -> None:
    """A picture that is none, and a drawing that holds itself, are boxes in a report that is made all the same."""
    (unit,) = prepare(tmp_path, "breaks_pictures", ["A"])
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered), outcome
    assert "Image not shown" in (unit.directory / "report.html").read_text()


@pytest.mark.promise(11)
@pytest.mark.fault(50)
def test_an_enormous_table(tmp_path: Path) -> None:
    """Of a table of 5,000 rows the report prints as many as it may and says how many it leaves out."""
    (unit,) = prepare(tmp_path, "shows_long_table", ["A"])
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered), outcome
    assert (unit.directory / "report.pdf").stat().st_size < 2_000_000
    assert outcome.seconds < 60


@pytest.mark.promise(14)
def test_a_report_that_was_changed_is_made_again(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A published file that somebody else writes is no longer trusted: the report is made again."""
    resume(tmp_path, ["A"], files)
    (unit,) = prepare(tmp_path, "good", ["A"])
    assert resume(tmp_path, ["A"], files) == {"A": "Skipped"}
    content = (unit.directory / "report.pdf").read_bytes()
    (unit.directory / "report.pdf").write_bytes(content[:-1] + b" ")
    assert resume(tmp_path, ["A"], files) == {"A": "Rendered"}


@pytest.mark.promise(10)
def test_templates_are_other_notebooks(tmp_path: Path) -> None:
    """A template that has changed makes every report anew, an equal one none."""
    (unit,) = prepare(tmp_path, "good", ["A"])
    assert isinstance(next(iter(render_month([unit]))), Rendered)
    assert isinstance(next(iter(render_month([unit]))), Skipped)
    write_template(tmp_path / "notebooks", "good")
    (changed,) = prepare(tmp_path, "good", ["A"])
    assert isinstance(next(iter(render_month([changed]))), Rendered)
