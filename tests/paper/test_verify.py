"""Verify names whatever is no longer as it was published, and lets a good report be."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usagekit.report.batch import Rendered, plan_month, render_month
from usagekit.report.ledger import LEDGER_FILE
from usagekit.report.unit import LAB_DIRECTORY
from usagekit.report.verify import changed_since, verify_report
from usagekit.sample_lab import demo_snapshot

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MONTH = "2023-03"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month with the reports of a team and of the lab, from a snapshot and templates of its own."""
    folder = tmp_path_factory.mktemp("verify")
    snapshot = shutil.copytree(demo_snapshot(), folder / "snapshots" / MONTH)
    units = [
        unit
        for team, name in (("R&D / Café", "team_month"), (None, "lab_month"))
        for unit in plan_month(
            MONTH,
            [team],
            snapshot=snapshot,
            reports=folder / "reports",
            template=NOTEBOOKS / f"{name}.ipynb",
        )
    ]
    outcomes = list(render_month(units, jobs=2))
    assert [str(o) for o in outcomes if not isinstance(o, Rendered)] == []
    return folder / "reports" / MONTH


@pytest.fixture(scope="module")
def team(month: Path) -> Path:
    (found,) = (path for path in month.iterdir() if path.is_dir() and path.name != LAB_DIRECTORY)
    return found


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Another content of a file, for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def told(directory: Path, change: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """A report whose manifest was changed by somebody who writes it as we do, in a folder without our ledger."""
    ledger = directory.parents[1] / LEDGER_FILE
    away = ledger.rename(ledger.with_name("away"))
    manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
    change(manifest)
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    try:
        with changed(directory / "manifest.json", text.encode()):
            yield
    finally:
        away.rename(ledger)


def test_good_reports_pass(month: Path, team: Path) -> None:
    """Reports as they were published have no fault, and nothing has changed since."""
    for directory in (team, month / LAB_DIRECTORY):
        assert verify_report(directory) == []
        assert changed_since(directory) == []


@pytest.mark.promise(14)
@settings(max_examples=150)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_named(team: Path, data: st.DataObject) -> None:
    """Whatever bit of whatever published file is flipped, the manifest's own included, the file is named."""
    path = data.draw(st.sampled_from(sorted(p for p in team.iterdir() if p.is_file())), label="file")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1), label="place")
    content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    with changed(path, bytes(content)):
        assert any(line.startswith(f"{path.name}: ") for line in verify_report(team))
    assert verify_report(team) == []


@pytest.mark.parametrize(
    "name", ["report.pdf", "report.html", "report.ipynb", "devices.csv", "manifest.json"]
)
def test_a_missing_or_shortened_file_is_named(team: Path, name: str) -> None:
    """A file that is gone or was cut is a fault of its own."""
    path = team / name
    with changed(path, path.read_bytes()[:-1]):
        assert verify_report(team)[0].startswith(f"{name}: ")
    away = path.rename(team.parent / name)
    try:
        assert verify_report(team)[0].startswith(f"{name}: missing")
    finally:
        away.rename(path)


@pytest.mark.promise(14)
def test_what_nobody_published_is_named(team: Path) -> None:
    """A file beside the published ones, a folder and a link in place of a file are told; a later failure is not."""
    (team / "notes.txt").write_text("mine", "utf-8")
    (team / "folder").mkdir()
    (team / "report.failed.ipynb").write_text("{}", "utf-8")
    away = (team / "report.pdf").rename(team.parent / "report.pdf")
    (team / "report.pdf").symlink_to(away)
    try:
        assert verify_report(team) == [
            "report.pdf: leads elsewhere",
            "folder: nobody published it",
            "notes.txt: nobody published it",
        ]
    finally:
        away.replace(team / "report.pdf")
        for name in ("notes.txt", "report.failed.ipynb"):
            (team / name).unlink()
        (team / "folder").rmdir()
    assert verify_report(team) == []


@pytest.mark.promise(6)
def test_a_manifest_that_leads_elsewhere_opens_nothing(team: Path) -> None:
    """A file outside the report is not looked at, whatever the manifest says."""
    about = {"../../ledger.sqlite": {"bytes": 1, "sha256": "0"}}
    with told(team, lambda manifest: manifest["files"].update(about)):
        assert verify_report(team) == ["../../ledger.sqlite: leads elsewhere"]


@pytest.mark.promise(14)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["facts"].update(team="Payments"), "its facts are not those of the notebook"),
        (lambda m: m["facts"].update(total_hours=1.0), "its facts are not those of the notebook"),
        (lambda m: m["facts"]["mail"].update(finding="All well."), "its facts are not those of the notebook"),
        (lambda m: m["parameters"].update(paper="us-letter"), "its parameters are not those of the notebook"),
        (lambda m: m["parameters"].update(team="Payments"), "report.ipynb: asked for team 'Payments'"),
        (lambda m: m["files"].pop("report.pdf"), "names no report.pdf"),
        (lambda m: m.pop("snapshot_sha256"), "missing or damaged"),
        (lambda m: m.update(facts=[]), "missing or damaged"),
    ],
)
def test_a_rewritten_manifest_is_held_against_the_notebook(
    team: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    """Where no ledger knows the manifest, the notebook contradicts one that was made up."""
    with told(team, change):
        assert words in verify_report(team)[0]


def test_sums_that_do_not_add_up_are_a_fault(team: Path) -> None:
    """A report whose own badge is red is not good, however whole its files are."""
    manifest = json.loads((team / "manifest.json").read_text("utf-8"))
    notebook = json.loads((team / "report.ipynb").read_text("utf-8"))
    red = {"badge": "red", "text": "Numbers do not reconcile: red · 7.0% apart"}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            facts = output.get("data", {}).get("application/vnd.usagekit.report+json")
            if facts:
                facts["mail"]["trust"] = red
    content = json.dumps(notebook).encode()

    def redden(m: dict[str, Any]) -> None:
        m["facts"]["mail"]["trust"] = red
        m["files"]["report.ipynb"]["sha256"] = sha256(content).hexdigest()

    assert manifest["facts"]["mail"]["trust"]["badge"] != "red"
    with told(team, redden), changed(team / "report.ipynb", content):
        found = verify_report(team)
    assert found == [
        "the sums of the report: Numbers do not reconcile: red · 7.0% apart",
        "the sums of the report: it says red, its snapshot says green",
    ]


@contextmanager
def other_hours(snapshot: Path, name: str, factor: float) -> Iterator[None]:
    """A snapshot in which one answer has other hours, with checksums that fit: as if it had been fetched so."""
    manifest = json.loads((snapshot / "manifest.json").read_text("utf-8"))
    (part,) = (p for p in manifest["parts"] if p["file"].startswith(name))
    frame = pd.read_parquet(snapshot / part["file"])
    hours = [c for c in frame if c.startswith("total_time")]
    other = io.BytesIO()
    frame.assign(**{c: frame[c] * factor for c in hours}).to_parquet(other)
    part["sha256"] = sha256(other.getvalue()).hexdigest()
    text = json.dumps(manifest).encode()
    with changed(snapshot / part["file"], other.getvalue()), changed(snapshot / "manifest.json", text):
        yield


@pytest.mark.promise(14)
@pytest.mark.parametrize("mail", [True, False], ids=["mail", "no mail"])
def test_the_identities_are_worked_out_again(month: Path, team: Path, mail: bool) -> None:
    """A sum that fails in the snapshot is named, whatever badge the report has, and also where it has none."""
    notebook = json.loads((team / "report.ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            facts = output.get("data", {}).get("application/vnd.usagekit.report+json")
            if facts and not mail:
                del facts["mail"]
    content = json.dumps(notebook).encode()
    snapshot = month.parents[1] / "snapshots" / MONTH

    def adapt(m: dict[str, Any]) -> None:
        m["snapshot_sha256"] = sha256((snapshot / "manifest.json").read_bytes()).hexdigest()
        m["files"]["report.ipynb"]["sha256"] = sha256(content).hexdigest()
        if not mail:
            del m["facts"]["mail"]

    with (
        other_hours(snapshot, "team-devicemodel", 1.2),
        told(team, adapt),
        changed(team / "report.ipynb", content),
    ):
        found = verify_report(team)
    told_badge = ["the sums of the report: it says green, its snapshot says red"] if mail else []
    assert found[0].startswith("the sums of the report: models add up to ")
    assert found[1:] == told_badge


@pytest.mark.promise(14)
def test_every_part_of_the_snapshot_is_read_again(month: Path, team: Path) -> None:
    """A flipped byte in any part of the snapshot, or a part that is gone, is told with its name."""
    snapshot = month.parents[1] / "snapshots" / MONTH
    parts = sorted(snapshot.glob("*.parquet"))
    assert len(parts) >= 29
    for path in parts[:: len(parts) // 5]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        with changed(path, bytes(content)):
            (found,) = verify_report(team)
        assert path.name in found
    away = parts[0].rename(snapshot.parent / "away")
    (found,) = verify_report(team)
    away.rename(parts[0])
    assert parts[0].name in found


def test_another_snapshot_is_told(month: Path, team: Path) -> None:
    """Where the month was fetched again, the report is no longer that of its snapshot."""
    manifest = month.parents[1] / "snapshots" / MONTH / "manifest.json"
    with changed(manifest, manifest.read_bytes() + b"\n"):
        (found,) = verify_report(team)
    assert "not the one that the report was made from" in found


def test_what_may_change_is_a_note_and_no_fault(
    month: Path, team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another template, or a snapshot that was cleared away, leaves the report good and is told as a note."""
    snapshots = month.parents[1] / "snapshots"
    (tmp_path / "notebooks").mkdir()
    template = tmp_path / "notebooks" / "team_month.ipynb"
    template.write_text((NOTEBOOKS / "team_month.ipynb").read_text("utf-8") + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    away = snapshots.rename(snapshots.with_name("away"))
    try:
        assert verify_report(team) == []
        notes = changed_since(team)
    finally:
        away.rename(snapshots)
    assert notes[0] == "template team_month: changed since this report was made"
    assert "no longer there, so checksums only were checked" in notes[1]
    assert len(notes) == 2
    assert changed_since(tmp_path) == []


def test_a_folder_without_a_report_is_no_good_report(tmp_path: Path) -> None:
    """An empty folder, or one that is not there, is not taken for a sound report."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        (found,) = verify_report(folder)
        assert found.startswith("manifest.json: missing or damaged")
