"""How a month stands, and what is taken away from old ones."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.paper.past import FILES, MONTH, keep_snapshot, publish_report, record_failure, unit_for
from tests.paper.templates import unit_of
from usagekit.engine.files import locked
from usagekit.errors import QueryError, StoreLocked
from usagekit.report.batch import LOCK_FILE, Rendered, Skipped, render_month
from usagekit.report.history import read_history
from usagekit.report.ledger import open_ledger
from usagekit.report.prune import prune
from usagekit.report.site import write_site
from usagekit.report.status import month_status
from usagekit.report.unit import Unit, report_directory
from usagekit.report.verify import changed_since, verify_report


def test_status_counts_what_there_is_and_what_is_missing(tmp_path: Path) -> None:
    """Rendered, stale and failed reports are counted; teams of the snapshot without one, and the lab, are missed."""
    reports, snapshots = tmp_path / "reports", tmp_path / "snapshots"
    current = keep_snapshot(snapshots, MONTH, teams=["good", "old", "bad", "NA"])
    publish_report(reports, "good", snapshot_sha256=current)
    publish_report(reports, "old", snapshot_sha256="0" * 64)
    record_failure(reports, "bad")
    status = month_status(reports, MONTH, snapshots=snapshots)
    assert status.counts == {"rendered": 1, "stale": 1, "failed": 1, "removed": 0, "missing": 2}
    assert status.missing == (None, "NA")
    first, *rest = status.lines()
    assert first.startswith("2023-03: 1 rendered, 1 stale, 1 failed, 2 missing; last run ")
    assert rest == [
        "  failed   bad: cell 5: KeyError: <img src=x onerror=alert(1)>",
        "  stale    old: numbers newer than report",
        "  missing  the lab",
        "  missing  NA",
    ]
    told = json.loads(json.dumps(status.as_json(), allow_nan=False))
    assert told["missing"] == [None, "NA"]
    assert [(each["team"], each["state"]) for each in told["reports"]] == [
        ("bad", "failed"),
        ("good", "rendered"),
        ("old", "stale"),
    ]


def test_status_expects_the_teams_it_is_given(tmp_path: Path) -> None:
    """Named teams replace those of the snapshot; without either, what was planned and not made is missing."""
    reports, snapshots = tmp_path / "reports", tmp_path / "snapshots"
    publish_report(reports, None)
    publish_report(reports, "a")
    assert month_status(reports, MONTH, snapshots=snapshots).missing == ()
    assert month_status(reports, MONTH, snapshots=snapshots, teams=["a", "b"]).missing == ("b",)
    with open_ledger(reports) as ledger:
        ledger.plan([(unit_for(reports, "c"), "key")])
    assert month_status(reports, MONTH, snapshots=snapshots).missing == ("c",)
    with pytest.raises(QueryError):
        month_status(reports, "2023-3", snapshots=snapshots)


def test_status_of_a_month_without_reports(tmp_path: Path) -> None:
    """A month that nobody has touched has no reports, and looking at it leaves nothing behind."""
    status = month_status(tmp_path / "reports", MONTH, snapshots=tmp_path)
    assert status.lines() == ["2023-03: no reports"]
    assert list(tmp_path.iterdir()) == []


def test_status_tells_how_long_the_last_run_took(tmp_path: Path) -> None:
    """Reports made without a pause count as one run, those of days before do not."""
    times = [("01T05:00:00", "01T05:09:00"), ("02T05:00:00", "02T05:00:20"), ("02T05:00:50", "02T05:01:30")]
    for team, (started, finished) in zip("abc", times, strict=True):
        span = {"started_utc": f"2023-04-{started}+00:00", "finished_utc": f"2023-04-{finished}+00:00"}
        publish_report(tmp_path, team, **span)
    status = month_status(tmp_path, MONTH, snapshots=tmp_path)
    assert status.last_run_utc == datetime(2023, 4, 2, 5, 1, 30, tzinfo=UTC)
    assert status.run_seconds == 90
    assert status.lines() == ["2023-03: 3 rendered; last run 2023-04-02 05:01 UTC in 90 s"]


def test_hostile_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """What a terminal would obey in a team's name is shown instead."""
    publish_report(tmp_path, "a\x1b[2J\nb", snapshot_sha256="0" * 64)
    keep_snapshot(tmp_path / "snapshots", MONTH)
    lines = month_status(tmp_path, MONTH, snapshots=tmp_path / "snapshots", teams=["\x1b[31m"]).lines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def old_months(reports: Path) -> dict[str, Path]:
    months = ("2022-12", "2023-01", "2023-02", MONTH)
    return {month: publish_report(reports, "a", month=month, hours=7) for month in months}


def test_prune_keeps_the_newest_months_and_all_hours(tmp_path: Path) -> None:
    """Old months lose their files and keep their hours; the others, and those protected, keep everything."""
    old = old_months(tmp_path)
    would = prune(tmp_path, keep_months=2, protected=["2022-12"])
    assert sorted(path.name for path in would) == sorted(FILES)
    assert all((old["2023-01"] / name).is_file() for name in FILES), "nothing goes unless asked"
    assert prune(tmp_path, keep_months=2, protected=["2022-12"], dry_run=False) == would
    assert [path.name for path in old["2023-01"].iterdir()] == ["manifest.json"]
    assert all((old[month] / name).is_file() for name in FILES for month in old if month != "2023-01")
    assert prune(tmp_path, keep_months=2, protected=["2022-12"], dry_run=False) == [], "once is enough"
    (line,) = read_history(tmp_path)
    assert {month: (r.state, r.hours) for month, (r,) in line.months.items()} == {
        month: ("removed" if month == "2023-01" else "rendered", 7) for month in old
    }
    page = write_site(tmp_path).read_text("utf-8")
    assert "2023-01/a/report.html" not in page
    assert 'aria-label="removed"' in page
    with pytest.raises(QueryError, match="newest month stays"):
        prune(tmp_path, keep_months=0)


def test_prune_touches_only_what_usagekit_wrote(tmp_path: Path) -> None:
    """Files of others, files changed since, symbolic links and what they lead to stay as they are."""
    reports, outside = tmp_path / "reports", tmp_path / "outside"
    old = old_months(reports)
    outside.mkdir()
    ours, stays = old["2022-12"], {}
    for path in (
        outside / "kept.html",
        ours / "notes.txt",
        old["2023-01"] / "report.html",
        reports / "2022-12" / "x",
    ):
        path.write_text("mine")
        stays[path] = "mine"
    kept = publish_report(outside, "elsewhere", month="2022-11")
    (reports / "2022-11").symlink_to(kept.parent)
    (reports / "2022-12" / "elsewhere").symlink_to(kept)
    (ours / "report.pdf").unlink()
    (ours / "report.pdf").symlink_to(kept / "report.pdf")
    (reports / "2022-12" / ".elsewhere.abcdefgh.work").symlink_to(kept)
    (reports / "2022-12" / ".somebody.work").mkdir()
    removed = prune(reports, keep_months=1, dry_run=False)
    assert {path.relative_to(reports).as_posix() for path in removed} == {
        *(f"2022-12/a/report.{kind}" for kind in ("html", "ipynb")),
        *(f"2023-01/a/report.{kind}" for kind in ("pdf", "ipynb")),
        *(f"2023-02/a/report.{kind}" for kind in ("html", "pdf", "ipynb")),
    }
    assert all(path.read_text() == text for path, text in stays.items())
    assert {path.name for path in kept.iterdir()} == {*FILES, "manifest.json"}
    assert (ours / "report.pdf").is_symlink()
    assert (reports / "2022-12" / ".somebody.work").is_dir()


def test_manifest_cannot_lead_elsewhere(tmp_path: Path) -> None:
    """A manifest that names a file outside of its report removes nothing there, whatever its hash."""
    old = old_months(tmp_path)["2022-12"]
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["files"] = {"../../target": manifest["files"]["report.html"]}
    (old / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "target").write_bytes(FILES["report.html"])
    assert not [path for path in prune(tmp_path, keep_months=3, dry_run=False) if "2022-12" in path.parts]
    assert (tmp_path / "target").is_file()


def test_prune_clears_what_killed_runs_left(tmp_path: Path) -> None:
    """Left-over work directories go from every month, failed notebooks from old ones alone."""
    record_failure(tmp_path, "bad")
    left = tmp_path / MONTH / ".bad.abcd_123.work"
    left.mkdir()
    (left / "report.ipynb").write_text("half")
    notebook = report_directory(tmp_path, MONTH, team="bad") / "report.failed.ipynb"
    publish_report(tmp_path, "a")
    assert prune(tmp_path, keep_months=1, dry_run=False) == [left]
    assert not left.exists()
    assert notebook.exists()
    publish_report(tmp_path, "a", month="2023-04")
    assert notebook in prune(tmp_path, keep_months=1, dry_run=False)
    assert not notebook.exists()


def test_prune_waits_for_the_batch(tmp_path: Path) -> None:
    """While a batch is at work nothing is removed."""
    old = old_months(tmp_path)
    with locked(tmp_path / LOCK_FILE, what="it"), pytest.raises(StoreLocked):
        prune(tmp_path, keep_months=1, dry_run=False)
    assert all((directory / name).is_file() for directory in old.values() for name in FILES)
    assert prune(tmp_path / "none", keep_months=1) == []


def test_cut_prune_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prune that ends in the middle leaves no report that looks damaged, and the next one does the rest."""
    directory = old_months(tmp_path)["2022-12"]
    unlink = Path.unlink

    def full(path: Path, missing_ok: bool = False) -> None:
        if path.name == "report.pdf":
            raise OSError(5, "Input/output error", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", full)
        with pytest.raises(OSError, match="Input/output"):
            prune(tmp_path, keep_months=3, dry_run=False)
    assert not (directory / "report.html").exists()
    assert month_status(tmp_path, "2022-12", snapshots=tmp_path).counts["removed"] == 1
    prune(tmp_path, keep_months=3, dry_run=False)
    assert [path.name for path in directory.iterdir()] == ["manifest.json"]


def test_pruned_report_is_made_again_when_asked(tmp_path: Path) -> None:
    """Rendering a pruned month brings its files back, and then it is whole."""
    unit: Unit = unit_of(tmp_path, "good", "a")
    (made,) = render_month([unit], jobs=1)
    assert isinstance(made, Rendered)
    reports = tmp_path / "reports"
    publish_report(reports, "a", month="2023-04")
    assert verify_report(unit.directory) == []
    assert prune(reports, keep_months=1, dry_run=False)
    assert verify_report(unit.directory) == [], "nobody has tampered with it"
    assert any("removed by usagekit prune" in note for note in changed_since(unit.directory))
    manifest = unit.directory / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b"12.5", b"99.5"))
    assert verify_report(unit.directory) == ["manifest.json: not the bytes that were published"]
    manifest.write_bytes(content)
    (again,) = render_month([unit], jobs=1)
    assert isinstance(again, Rendered)
    assert (unit.directory / "report.pdf").is_file()
    assert month_status(reports, MONTH, snapshots=tmp_path).counts["removed"] == 0
    (unchanged,) = render_month([replace(unit)], jobs=1)
    assert isinstance(unchanged, Skipped)
