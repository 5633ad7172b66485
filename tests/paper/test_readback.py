"""What a report says is held against what was asked and found, before anybody can read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.paper.killing import prepare, published
from tests.paper.processes import cells_begun, processes_in, until
from usagekit.analysis.wording import hours_text
from usagekit.errors import RenderError, SettingsError
from usagekit.export.exporters import export_html, export_pdf
from usagekit.report.batch import Failure, Rendered, plan_month, render_month
from usagekit.report.executors import open_executor
from usagekit.report.judge import Broken, judge
from usagekit.report.ledger import read_entries
from usagekit.report.publish import publish, work_directory
from usagekit.report.readback import _Page, _Paper, check_facts
from usagekit.report.render import render_unit
from usagekit.report.unit import Unit
from usagekit.sample_lab import demo_snapshot

FIGURE = "application/vnd.usagekit.figure+json"
MARKER = "application/vnd.usagekit.report+json"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Unit, dict[str, Any]]:
    """A real report of the sample lab, and its facts with the hours as printed."""
    reports = tmp_path_factory.mktemp("reports")
    (unit,) = plan_month("2023-03", ["Payments"], snapshot=demo_snapshot(), reports=reports)
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered), outcome
    facts = dict(outcome.manifest["facts"])
    return unit, facts | {"shown": {"total_hours": hours_text(facts["total_hours"])}}


def files_of(unit: Unit) -> dict[str, bytes]:
    return {n: c for n, c in published(unit.directory).items() if n != "manifest.json"}


def test_a_right_report_passes(real: tuple[Unit, dict[str, Any]]) -> None:
    """A report of the sample lab says in page, PDF and notebook what its marker and its snapshot say."""
    unit, facts = real
    files = files_of(unit)
    check_facts(files, facts)
    assert len(_Page(files["report.html"].decode()).charts) >= 2
    notebook = nbformat.reads(files["report.ipynb"].decode(), as_version=4)
    assert judge(notebook, unit)["figure_count"] == facts["figure_count"] > 5


@pytest.mark.parametrize("kind", ["html", "pdf"])
@pytest.mark.parametrize("lost", ["hours", "figure"])
def test_a_page_that_says_something_else_is_refused(
    real: tuple[Unit, dict[str, Any]], kind: str, lost: str
) -> None:
    """A page or a PDF with other hours, or with a chart less, is found; and nothing of it is published."""
    unit, facts = real
    files = files_of(unit)
    notebook = nbformat.reads(files["report.ipynb"].decode(), as_version=4)
    if lost == "hours":
        shown = facts["shown"]["total_hours"]
        text = nbformat.writes(notebook)
        for form in (shown, shown.replace("\u00a0", "&nbsp;"), shown.replace("\u00a0", "\\\\u00a0")):
            text = text.replace(form, "7 h")
        number = shown.split("\u00a0")[0]
        wrong = nbformat.reads(re.sub(rf"(?<!\d){number}(?![\d.])", "7", text), as_version=4)
    else:
        wrong = notebook
        charts = [
            (cell, output)
            for cell in wrong.cells
            for output in cell.get("outputs", [])
            if FIGURE in output.get("data", {}) and '<figure class="uk-chart"' in output.data["text/html"]
        ]
        cell, output = charts[0]
        cell.outputs.remove(output)
    made = {"html": export_html(wrong, name="x").encode(), "pdf": export_pdf(wrong, name="x")}[kind]
    before = published(unit.directory)
    words = {"hours": "does not say", "figure": "figures|charts"}[lost]
    with (
        work_directory(unit.directory) as work,
        pytest.raises(RenderError, match=f"the {kind.upper()} .*({words})"),
    ):
        publish(unit, work, {"facts": facts}, files=files | {f"report.{kind}": made})
    assert published(unit.directory) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"total_hours": 1.0}, "the snapshot has .* device hours, the notebook says 1.0"),
        ({"total_hours": None}, "the notebook says None"),
        ({"figure_count": 3}, "says it shows 3 figures, it holds"),
        ({"team": "Growth"}, "asked for team 'Payments', the notebook made 'Growth'"),
        ({"month": "2023-02"}, "asked for month '2023-03', the notebook made '2023-02'"),
    ],
)
def test_a_notebook_that_says_something_else_is_refused(
    real: tuple[Unit, dict[str, Any]], change: dict[str, object], words: str
) -> None:
    """Hours that are not the snapshot's, a wrong number of figures, another team or month are failures."""
    unit, facts = real
    notebook = nbformat.reads(files_of(unit)["report.ipynb"].decode(), as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if MARKER in output.get("data", {}):
                output.data[MARKER] = facts | change
    with pytest.raises(Broken, match=words) as caught:
        judge(notebook, unit)
    assert caught.value.error_name == "WrongReport"


def test_reports_are_read_back_in_several_threads(real: tuple[Unit, dict[str, Any]]) -> None:
    """A pool of threads reads pages back as one thread does."""
    unit, _ = real
    pdf = files_of(unit)["report.pdf"]
    with ThreadPoolExecutor(6) as pool:
        papers = list(pool.map(_Paper, [pdf] * 24))
    assert {(p.title, *p.texts, *p.charts) for p in papers} == {
        (papers[0].title, *papers[0].texts, *papers[0].charts)
    }


def test_the_report_on_the_lab_is_about_no_team(real: tuple[Unit, dict[str, Any]]) -> None:
    """A notebook on a team is no report on the whole lab."""
    unit, _ = real
    notebook = nbformat.reads(files_of(unit)["report.ipynb"].decode(), as_version=4)
    with pytest.raises(Broken, match="asked for team None, the notebook made 'Payments'"):
        judge(notebook, replace(unit, team=None))


def test_hours_as_printed_are_the_hours(real: tuple[Unit, dict[str, Any]]) -> None:
    """A notebook that prints other hours than it has found is refused."""
    unit, facts = real
    with pytest.raises(RenderError, match="the notebook prints '1 h' for"):
        check_facts(files_of(unit), facts | {"shown": {"total_hours": "1 h"}})


def test_a_snapshot_of_another_month_is_refused(real: tuple[Unit, dict[str, Any]]) -> None:
    """A report from the snapshot of another month is a failure."""
    unit, facts = real
    notebook = nbformat.reads(files_of(unit)["report.ipynb"].decode(), as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if MARKER in output.get("data", {}):
                output.data[MARKER] = facts | {"month": "2023-02"}
    with pytest.raises(Broken, match="the snapshot is of 2023-03"):
        judge(notebook, replace(unit, month="2023-02"))


@contextmanager
def dask_cluster(base: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A real cluster on this machine: a scheduler and worker processes, each without a nanny to restart it."""
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    address_file = base / "scheduler.json"
    running = [
        subprocess.Popen([*dask, "--host", "127.0.0.1", "--scheduler-file", str(address_file)], cwd=base)
    ]
    try:
        until(lambda: address_file.exists() and address_file.stat().st_size > 0, seconds=60)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(address_file)]
        worker += ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        running += [subprocess.Popen(worker, cwd=base, start_new_session=True) for _ in range(workers)]
        address = re.search(r'"address": "tcp://([^"]+)"', address_file.read_text())
        assert address
        yield f"dask://{address[1]}", running[1:]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_batch_on_a_cluster_whose_worker_is_killed(tmp_path: Path) -> None:
    """On a real cluster of three workers, one of which is killed at its report, every report is made."""
    pytest.importorskip("distributed")
    teams = ["A", "B", "チーム", "D", "E"]
    units = prepare(tmp_path, "b_waits_for_word", teams)
    with dask_cluster(tmp_path, 3) as (address, workers), open_executor(address) as executor:
        batch = render_month(units, executor=executor)
        outcomes = [next(batch) for _ in teams[1:]]
        (victim,) = _busy(workers, tmp_path)  # with the report on B, which waits
        victim.kill()
        (tmp_path / "go").touch()
        outcomes += batch
    assert victim.wait() == -9
    assert {team: len(begun) for team, begun in cells_begun(tmp_path).items()} == dict.fromkeys(teams, 1) | {
        "B": 2
    }
    assert {o.unit.team for o in outcomes if isinstance(o, Rendered)} == set(teams), outcomes
    for unit in units:
        published(unit.directory)
    entries = read_entries(tmp_path / "reports", "2023-03").values()
    assert [entry.state for entry in entries] == ["rendered"] * len(teams)
    assert {type(o).__name__ for o in render_month(units)} == {"Skipped"}
    until(lambda: not processes_in(tmp_path), seconds=15)


def _busy(workers: list[subprocess.Popen[bytes]], base: Path) -> list[subprocess.Popen[bytes]]:
    """Workers that have a report at work: a kernel below them works in its directory."""
    found = []
    for worker in workers:
        for kernel in processes_in(base / "reports"):
            pid = kernel
            while pid > 1 and pid != worker.pid:
                try:
                    pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    break
            if pid == worker.pid:
                found.append(worker)
                break
    return found


def test_addresses_of_executors(tmp_path: Path) -> None:
    """What is no address of a cluster is refused by its form, and one where nobody answers by its name."""
    for address in ("spark://x:1", "dask:/x", "dask://", "localhost:8786"):
        with pytest.raises(SettingsError, match="not of the form"), open_executor(address):
            pass
    pytest.importorskip("distributed")
    began = time.monotonic()
    with (
        pytest.raises(SettingsError, match=r"no Dask scheduler answers at 127\.0\.0\.1:1 "),
        open_executor("dask://127.0.0.1:1"),
    ):
        pass
    assert time.monotonic() - began < 30


def test_failures_come_back_from_executors(tmp_path: Path) -> None:
    """A failed report is a failure wherever it was made, and an executor that breaks costs the report at hand."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    units = prepare(tmp_path, "fails_for_b", ["A", "B"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = {o.unit.team: o for o in render_month(units, executor=pool)}
        assert isinstance(found["A"], Rendered)
        assert isinstance(found["B"], Failure)
        assert found["B"].error_name == "ValueError"
        for process in (pool._processes or {}).values():
            os.kill(process.pid or 0, 9)
        (outcome,) = render_month(units[:1], executor=pool, force=True)
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "WorkerLost"
