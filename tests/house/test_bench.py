"""The benchmark compares like with like, and its verdicts can be negative."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import papermill
import pytest

from benchmarks import check, page, reports_memory, reports_page, reports_profile, reports_ways
from benchmarks.probe import PARTS
from benchmarks.question import COLUMNS
from benchmarks.rivals import RIVALS, rows_of, same
from benchmarks.sessions import FIRST, LAST, write_sessions

SPANS = [
    (FIRST, LAST),
    (date(2023, 3, 11), date(2023, 3, 12)),  # the day of 23 hours
    (date(2022, 8, 31), date(2022, 9, 1)),  # the change of the era
    (LAST, LAST + timedelta(days=40)),  # behind the last session
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 2,000 sessions; its name is their number."""
    store = tmp_path_factory.mktemp("bench") / "2000"
    write_sessions(store, 2000)
    return store


@pytest.mark.parametrize(("first", "last"), SPANS, ids=str)
def test_rivals_agree(store: Path, first: date, last: date) -> None:
    """All contenders give the same rows, also where a day, an era or the sessions end."""
    answers = {name: rows_of(rival(store, first, last)) for name, rival in RIVALS.items()}
    reference = answers.pop("plain pandas")
    assert reference
    assert all(same(reference, answer) for answer in answers.values())


def test_a_wrong_answer_is_noticed(store: Path) -> None:
    """One count more, a millionth of an hour more or a row less is not the same answer."""
    rows = rows_of(RIVALS["usagekit"](store, FIRST, LAST))
    for column, change in (("device_count", 1), ("total_time", 1e-6)):
        wrong = json.loads(json.dumps(rows))
        wrong[7][COLUMNS.index(column)] += change
        assert not same(rows, wrong)
    assert not same(rows, rows[1:])
    assert same(rows, json.loads(json.dumps(rows)))


def test_sessions_come_from_the_seed(store: Path, tmp_path: Path) -> None:
    """The same seed writes the same lab, another seed another."""
    usage = RIVALS["usagekit"]
    answer = rows_of(usage(store, FIRST, LAST))
    for seed, equal in ((7, True), (8, False)):
        again = tmp_path / str(seed)
        write_sessions(again, 2000, seed=seed)
        assert same(answer, rows_of(usage(again, FIRST, LAST))) is equal


@pytest.mark.parametrize("part", ["one month", "hour edges", "rows out"])
def test_parts_measure_something(store: Path, part: str) -> None:
    """Every part gives figures, none of them zero."""
    assert all(value > 0 for value in PARTS[part](store).values())


def test_a_step_back_is_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes figures within the bounds and fails when the engine is ten times slower."""
    kept = page.load()
    monkeypatch.setattr(page, "load", lambda: kept)
    check.main()
    kept["results"]["10000000"]["usagekit"]["seconds"] *= 10
    with pytest.raises(SystemExit, match="times faster than plain pandas"):
        check.main()


def test_page_shows_every_contender() -> None:
    """docs/performance.md holds the figures of docs/performance.json."""
    text = (page.DOCS / "performance.md").read_text("utf-8")
    results = page.load()["results"]
    assert page.table(results) in text
    assert page.parts(results) in text


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> reports_ways.Lab:
    """A sample lab of two teams with its snapshot."""
    return reports_ways.make_lab(tmp_path_factory.mktemp("reports") / "2", 2)


def test_reports_are_equal_or_not_timed(lab: reports_ways.Lab) -> None:
    """usagekit and the floor show the same figures, and one that differs by a byte is found."""
    cost = reports_ways.ours(lab, lab.teams[:1], jobs=1)
    assert cost.cpu > reports_ways.floor(lab, lab.teams[:1], jobs=1).cpu > 0
    shutil.copytree(lab.folder / "floor", lab.folder / "today")  # the commands take too long here
    kinds = reports_ways.same_everywhere(lab, lab.teams[:1])
    assert sum(kinds.values()) > 10
    assert kinds["daily-hours"] == kinds["heatmap"] == 1
    (notebook,) = (lab.folder / "today").glob("*/report.ipynb")
    notebook.write_text(notebook.read_text().replace("font-size", "font-siz3", 1))
    with pytest.raises(AssertionError, match="differ"):
        reports_ways.same_everywhere(lab, lab.teams[:1])


def test_commands_of_today_make_the_figures(lab: reports_ways.Lab) -> None:
    """papermill alone makes the same figures of the template as usagekit."""
    notebook = lab.folder / "by_papermill.ipynb"
    given = {"team": lab.teams[0], "month": reports_ways.MONTH, "snapshot": str(lab.snapshot)}
    papermill.execute_notebook(
        str(reports_ways.TEMPLATE), str(notebook), parameters=given, kernel_name="python3", progress_bar=False
    )
    reports_ways.floor(lab, lab.teams[:1], jobs=1)
    (floor,) = (lab.folder / "floor").glob("*/report.ipynb")
    assert reports_ways.shown(notebook) == reports_ways.shown(floor)


def test_cpu_of_orphans_is_counted() -> None:
    """A process whose parent has ended without waiting for it is counted too."""
    burn = "import os, time\nif os.fork() == 0:\n while time.process_time() < 0.3: pass"
    with reports_ways._counted() as cost:
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert cost.cpu > 0.3


def test_memory_is_that_of_the_worker(lab: reports_ways.Lab) -> None:
    """Worker, its forking process and its kernel are found, and what they share counts once."""
    (peak,) = reports_memory.memory(lab, reports=3)
    assert peak["reports"] == 3
    assert min(peak[role] for role in ("worker", "forker", "kernel")) > 20
    assert 100 < peak["together"] < peak["worker"] + peak["forker"] + peak["kernel"]


def test_profile_adds_up(lab: reports_ways.Lab) -> None:
    """The steps of a report are within its whole time, and every figure's cell has one."""
    profile = reports_profile.measure(dataclasses.replace(lab, teams=lab.teams[:1]))
    whole = profile.pop("whole report")["least"]
    assert {"PDF", "read back", "cell: figures.heatmap"} <= set(profile)
    cells = profile.pop("all cells")["least"]
    assert (
        sum(spent["least"] for step, spent in profile.items() if not step.startswith("cell")) + cells <= whole
    )


def test_verdicts_on_reports() -> None:
    """A report that takes as long as today's misses both goals, and the section says so."""
    same = {way: [{"cpu": 1.0, "wall": 2.0}] for way in ("today", "ours")}
    turns = same | {"floor": [{"cpu": 0.25, "wall": 0.25}]}
    found = {"teams": 1, "compared": 1, "jobs": {"1": turns}, "figures": {"heatmap": 1}}
    faster, above = reports_page.ratios(found)
    assert not faster.reaches(faster.bound)
    assert (above.value, above.reaches(above.bound)) == (4.0, False)
    assert reports_page.section(found).count("MISSED") == 2


def test_page_shows_the_reports() -> None:
    """docs/performance.md holds the figures of the reports in docs/performance.json."""
    assert reports_page.section(page.load()["reports"]) in (page.DOCS / "performance.md").read_text("utf-8")
