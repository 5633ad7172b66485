"""Who made a report, and from what: only what was planned counts as made, and only one maker publishes a report."""

from __future__ import annotations

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.paper.killing import MONTH, Inline, prepare, published
from usagekit.engine.files import locked, read_holder, sha256
from usagekit.errors import RenderError, StoreError, StoreLocked
from usagekit.report import making, workplace
from usagekit.report.batch import render_month
from usagekit.report.ledger import Ledger, open_ledger, read_entries
from usagekit.report.limits import Limits
from usagekit.report.month import Asked, render_reports
from usagekit.report.publish import (
    FAILED_NOTEBOOK,
    publish,
    read_manifest,
    recipe,
    recipe_key,
    work_directory,
)
from usagekit.report.render import render_unit
from usagekit.report.unit import Failure, Rendered, Skipped, Unit
from usagekit.sample_lab import demo_snapshot
from usagekit.settings import Settings

PAGES = {"report.ipynb": b"n", "report.html": b"h", "report.pdf": b"p"}


def makes(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let reports be made by somebody who sees other things than the batch does."""

    def make(_limits: Limits, _cold: bool, unit: Unit, **_options: object) -> Rendered | Failure:
        manifest: dict[str, Any] = recipe(unit) | changes | {"facts": {"team": unit.team}}
        with work_directory(unit.directory) as work:
            return Rendered(unit, publish(unit, work, manifest, files=PAGES), 0.0)

    monkeypatch.setattr(making, "_render", make)


@pytest.mark.parametrize(
    "changes", [{"snapshot_sha256": "0" * 64}, {"usagekit_version": "0.0.1"}, {"template_sha256": "0" * 64}]
)
def test_a_maker_with_another_snapshot_or_version_has_made_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    """A report from another snapshot, template or usagekit is a failure that names it, and is made again."""
    units = prepare(tmp_path, "good", ["A"])
    makes(monkeypatch, **changes)
    (outcome,) = render_month(units, executor=Inline())
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "MadeOtherwise"
    assert next(iter(changes)) in outcome.error
    assert read_entries(tmp_path / "reports", MONTH)[units[0].directory.name].is_open_failure
    makes(monkeypatch)
    (outcome,) = render_month(units, executor=Inline())
    assert isinstance(outcome, Rendered)
    (outcome,) = render_month(units, executor=Inline())
    assert isinstance(outcome, Skipped)


def test_a_ledger_that_took_another_report_for_good_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an older usagekit has set down as rendered from another snapshot is made again."""
    (unit,) = prepare(tmp_path, "good", ["A"])
    makes(monkeypatch, snapshot_sha256="0" * 64)
    list(render_month([unit], executor=Inline()))
    manifest = read_manifest(unit.directory)
    assert manifest
    with open_ledger(tmp_path / "reports") as ledger:
        _believe(ledger, unit, manifest)
    makes(monkeypatch)
    (outcome,) = render_month([unit], executor=Inline())
    assert isinstance(outcome, Rendered)


def test_a_task_that_outlives_its_batch_publishes_nothing(tmp_path: Path) -> None:
    """A batch on threads that is given up in the middle of a report leaves no page of it, not even later."""
    units = prepare(tmp_path, "slow_for_others", ["A", "B"])
    with ThreadPoolExecutor(2) as pool:
        batch = render_month(units, executor=pool)
        assert next(batch).unit.team == "A"
        batch.close()
        with locked(tmp_path / "reports" / ".lock", what="reports"):
            pool.shutdown()
    # The end of a batch kills its kernels: while it still holds the lock their reports may be told as failed.
    others = {path.name for path in units[1].directory.glob("*")}
    assert others <= {FAILED_NOTEBOOK}
    published(units[0].directory)


def test_nothing_is_published_for_a_batch_that_has_ended(tmp_path: Path) -> None:
    """A late maker finds another name in the lock file, or none, and leaves the report alone."""
    (unit,) = prepare(tmp_path, "good", ["A"])
    lock = tmp_path / "reports" / ".lock"
    with locked(lock, what="reports"):
        ours = read_holder(lock)
        with work_directory(unit.directory) as work:
            publish(unit, work, {"facts": {}}, files=PAGES, batch=ours)
    before = published(unit.directory)
    for other in ("", "pid 1 since 2023-04-01 00:00:00 UTC"):
        lock.write_text(other)
        with work_directory(unit.directory) as work, pytest.raises(RenderError, match=r"batch .* has ended"):
            publish(unit, work, {"facts": {}}, files=dict.fromkeys(PAGES, b"new"), batch=ours)
    assert published(unit.directory) == before


def test_one_maker_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that somebody is making is not made beside; one whose maker was killed is."""
    monkeypatch.setattr(workplace, "_FREE_SECONDS", 0.2)
    (unit,) = prepare(tmp_path, "good", ["A"])
    with work_directory(unit.directory):
        outcome = render_unit(unit)
        assert isinstance(outcome, Failure)
        assert "another process is making this very report" in outcome.error
        workplace.sweep(unit.directory.parent)
        assert isinstance(render_unit(unit), Failure), "a sweep leaves the living alone"
    assert list(unit.directory.parent.iterdir()) == []
    left = unit.directory.parent / f".{unit.directory.name}.making"
    left.touch()
    with work_directory(unit.directory):
        pass
    assert not left.exists()
    left.touch()
    workplace.sweep(unit.directory.parent)
    assert not left.exists()


def _believe(ledger: Ledger, unit: Unit, manifest: dict[str, Any]) -> None:
    ledger.plan([(unit, recipe_key(recipe(unit)))])
    stamps = making._stamps(unit, manifest["files"])
    digest = sha256(unit.directory / "manifest.json")
    ledger.finish(Rendered(unit, manifest, 0.0), manifest_sha256=digest, files=stamps)


def test_a_snapshot_fetched_anew_meanwhile_is_told(tmp_path: Path) -> None:
    """A month that is fetched again while its report is made publishes nothing; the next run makes it."""
    units = prepare(tmp_path, "fetches_again", ["A"])
    (outcome,) = render_month(units, jobs=1)
    assert isinstance(outcome, Failure)
    assert (outcome.error_name, read_manifest(units[0].directory)) == ("ChangedMeanwhile", None)
    assert "another snapshot_sha256" in outcome.error
    (outcome,) = render_month(units, jobs=1)
    assert isinstance(outcome, Rendered)


def test_the_index_is_written_by_whoever_holds_the_lock(tmp_path: Path) -> None:
    """Who comes second writes no index; what goes wrong with it is told, but never in place of what went wrong first."""
    reports, settings = tmp_path / "reports", Settings(timezone="Europe/Berlin")
    asked = Asked(teams=["Payments"], only_failed=True)
    with locked(reports / ".lock", what="reports"), pytest.raises(StoreLocked):
        render_reports(demo_snapshot(), reports, settings=settings, asked=asked)
    assert not (reports / "index.html").exists()
    (reports / "index.html").mkdir()
    with pytest.raises(StoreError, match=r"the index of the reports in .* cannot be written"):
        render_reports(demo_snapshot(), reports, settings=settings, asked=asked)

    def at_end() -> None:
        with pytest.raises(StoreLocked), locked(reports / ".lock", what="it"):
            pass
        called.append(1)
        raise OSError("no space left")

    called: list[int] = []
    units = prepare(tmp_path, "good", ["A"])
    (reports / "ledger.sqlite").write_text("no ledger" * 99)
    with pytest.raises(StoreError, match="ledger"):
        list(render_month(units, executor=Inline(), at_end=at_end))
    assert called == [1]


def test_warnings_of_workers_are_json_lines_too(capfd: pytest.CaptureFixture[str]) -> None:
    """What a worker warns of is one JSON object on standard error when the batch logs that way."""
    context = get_context("spawn")
    worker = context.Process(target=_warns)
    worker.start()
    worker.join(60)
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["level"]) == ("log", "WARNING")
    assert "a kernel starts cold" in line["message"]


def _warns() -> None:
    def warn(*_: object, **_options: object) -> None:
        warnings.warn("a kernel starts cold", RuntimeWarning, stacklevel=1)

    making._render = warn  # type: ignore[assignment]
    making._render_alone(Limits(), False, True, None)  # type: ignore[arg-type]
