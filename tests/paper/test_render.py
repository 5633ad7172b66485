"""One report in a real kernel: what counts as success, what is published, what a notebook may see."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from datetime import date
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from tests.paper.templates import MARKER, unit_of, write_snapshot, write_template
from usagekit.engine.files import sha256
from usagekit.errors import RenderError
from usagekit.export.exporters import export_html, export_pdf
from usagekit.report.limits import Limits
from usagekit.report.publish import (
    check_pages,
    damaged_files,
    publish,
    read_manifest,
    up_to_date,
    work_directory,
)
from usagekit.report.render import render_unit
from usagekit.report.template import load_template, template_directories, validate
from usagekit.report.unit import Failure, Rendered


def stream_text(notebook: Path) -> str:
    """Everything that the cells of a notebook printed."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(o.text for c in cells for o in c.get("outputs", []) if o.output_type == "stream")


def test_good_report_is_published_whole(tmp_path: Path) -> None:
    """A good template gives a notebook, a page, a PDF and a manifest that describes them, and nothing else."""
    unit = unit_of(tmp_path, "good", 'R&D / "Café" {b}\\n')
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered), outcome
    names = {"report.ipynb", "report.html", "report.pdf"}
    assert {p.name for p in unit.directory.iterdir()} == names | {"manifest.json"}
    manifest = read_manifest(unit.directory)
    assert manifest == outcome.manifest
    assert set(manifest["files"]) == names
    assert all(about["bytes"] > 1000 for about in manifest["files"].values())
    assert manifest["template_sha256"] == sha256(unit.template.path)
    assert manifest["snapshot_sha256"] == sha256(unit.snapshot / "manifest.json")
    assert manifest["facts"]["team"] == unit.team == manifest["parameters"]["team"]
    assert manifest["as_of"] == "2023-04-01T06:00:00+00:00"
    assert manifest["started_utc"] <= manifest["finished_utc"]
    assert [p.name for p in unit.directory.parent.iterdir()] == [unit.directory.name], (
        "no work directory left"
    )
    assert str(tmp_path) not in (unit.directory / "report.html").read_text()


@pytest.mark.fault(35)
@pytest.mark.fault(36)
@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("trait", "cell_index", "error_name", "words"),
    [
        ("cell_error", 3, "ZeroDivisionError", "division by zero"),
        ("exits", 2, "SystemExit", "0"),
        ("kills_kernel", 2, "KernelDied", "killed"),
        ("sleeps", 2, "Timeout", "the cell took longer than 2 s"),
        ("unmarked", None, "Incomplete", "completion marker"),
        ("wrong_team", None, "WrongReport", "'Somebody else'"),
        ("wrong_month", None, "WrongReport", "'2023-02'"),
        ("shows_too_much", None, "TooMuchOutput", "100,000"),
    ],
)
def test_unfinished_notebook_is_a_failure(
    tmp_path: Path, trait: str, cell_index: int | None, error_name: str, words: str
) -> None:
    """Whatever keeps a notebook from its end is told with its cell, and only the failed notebook is kept."""
    unit = unit_of(tmp_path, trait)
    outcome = render_unit(unit, limits=Limits(cell_seconds=2, report_characters=100_000))
    assert isinstance(outcome, Failure)
    assert (outcome.cell_index, outcome.error_name) == (cell_index, error_name)
    assert words in outcome.error
    assert "\n" not in str(outcome)
    assert [p.name for p in unit.directory.iterdir()] == ["report.failed.ipynb"]
    assert outcome.notebook_path == unit.directory / "report.failed.ipynb"
    kept = nbformat.read(outcome.notebook_path, as_version=4)
    if cell_index is not None:
        assert (
            kept.cells[cell_index].source
            == nbformat.read(unit.template.path, as_version=4).cells[cell_index - 1].source
        )
    assert [p.name for p in unit.directory.parent.iterdir()] == [unit.directory.name]


def test_good_report_survives_a_failed_one(tmp_path: Path) -> None:
    """A failure leaves the published report as it was, and the next success removes the failed notebook."""
    good = unit_of(tmp_path, "good")
    assert isinstance(render_unit(good), Rendered)
    before = {p.name: p.read_bytes() for p in good.directory.iterdir()}
    assert isinstance(render_unit(unit_of(tmp_path, "kills_kernel")), Failure)
    after = {p.name: p.read_bytes() for p in good.directory.iterdir()}
    assert after.pop("report.failed.ipynb")
    assert after == before
    assert isinstance(render_unit(good), Rendered)
    assert set(before) == {p.name for p in good.directory.iterdir()}


@pytest.mark.promise(1)
def test_kernel_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that prints its environment finds neither our secrets nor anybody else's, in no file."""
    secrets = ("HEADSPIN_API_TOKEN", "USAGEKIT_SMTP_PASSWORD", "JUPYTER_TOKEN", "PYTHONKEYRING", "AWS_SECRET")
    for name in secrets:
        monkeypatch.setenv(name, f"canary-{name}")
    monkeypatch.setenv("USAGEKIT_CACHE", "/var/cache/seen")
    unit = unit_of(tmp_path, "shows_environment")
    assert isinstance(render_unit(unit), Rendered)
    printed = stream_text(unit.directory / "report.ipynb")
    assert "USAGEKIT_CACHE /var/cache/seen" in printed
    assert "PATH " in printed
    assert not any(b"canary" in path.read_bytes() for path in unit.directory.iterdir())


def test_kernel_works_in_a_directory_of_its_own(tmp_path: Path) -> None:
    """A kernel starts in a private directory beside the report, which is gone when it is done."""
    unit = unit_of(tmp_path, "shows_directory")
    here = Path.cwd()
    assert isinstance(render_unit(unit), Rendered)
    directory = Path(stream_text(unit.directory / "report.ipynb").strip())
    assert directory.parent == unit.directory.parent
    assert directory != unit.directory
    assert not directory.exists()
    assert Path.cwd() == here


@pytest.mark.promise(11)
@pytest.mark.fault(39)
def test_flood_is_cut_with_a_mark(tmp_path: Path) -> None:
    """A cell that prints without end keeps its beginning and a mark at the cut; the report is still made."""
    unit = unit_of(tmp_path, "floods")
    assert isinstance(render_unit(unit, limits=Limits(printed_characters=50_000)), Rendered)
    printed = stream_text(unit.directory / "report.ipynb")
    assert printed.endswith("… cut here: this cell printed too much\n")
    assert printed.count("x") > 49_000
    assert len(printed) < 50_100


def test_flood_by_an_error_is_cut_with_a_mark(tmp_path: Path) -> None:
    """The message and the traceback of an exception are cut as what is printed is, and the failure is told."""
    outcome = render_unit(unit_of(tmp_path, "floods_by_an_error"), limits=Limits(printed_characters=50_000))
    assert isinstance(outcome, Failure)
    assert (outcome.error_name, outcome.cell_index) == ("ValueError", 2)
    assert outcome.error.startswith("xxx")
    assert outcome.notebook_path
    kept = outcome.notebook_path.read_text()
    assert 50_000 < len(kept) < 60_000
    assert "cut here: this cell printed too much" in kept


def test_many_short_cells_meet_the_deadline_of_the_report(tmp_path: Path) -> None:
    """A report whose every cell is quick ends all the same when its own time is over."""
    outcome = render_unit(unit_of(tmp_path, "takes_its_time"), limits=Limits(report_seconds=3))
    assert isinstance(outcome, Failure), outcome
    assert (outcome.error_name, outcome.error) == ("Timeout", "the report took longer than 3 s")
    assert outcome.cell_index in range(8)


@pytest.mark.fault(38)
def test_kernel_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that dies at once is tried twice, then the failure says that no kernel started."""
    tries = tmp_path / "tries"
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    argv = ["/bin/sh", "-c", f"echo once >> {tries}; exit 3", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Broken", "language": "python"}
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    outcome = render_unit(unit_of(tmp_path, "good"), limits=Limits(start_seconds=5))
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "KernelNotStarted"
    assert tries.read_text() == "once\nonce\n"


@pytest.mark.parametrize("what", ["HTML", "PDF"])
def test_page_about_somebody_else_is_refused(tmp_path: Path, what: str) -> None:
    """A page or a PDF about another team or month, or that does not show them, is found by reading it back."""
    unit = unit_of(tmp_path, "good", "Büro  7")
    facts = {"team": unit.team, "month": unit.month, "title": f"{unit.team} – March 2023"}

    def pages(**changes: str) -> tuple[str, bytes]:
        output = v4.new_output("display_data", {"application/vnd.usagekit.report+json": facts | changes})
        notebook = v4.new_notebook(cells=[v4.new_code_cell("", outputs=[output])])
        return export_html(notebook, name="report"), export_pdf(notebook, name="report")

    right = pages()
    check_pages(unit, *right)
    is_about = {"HTML": "the HTML is about the ", "PDF": "the PDF is about 'usage report"}[what]
    for changes, words in (
        ({"team": "Other", "title": "Other – March 2023"}, is_about),
        ({"team": "Büro  7b", "title": "Büro  7b – March 2023"}, is_about),
        ({"team": "Büro 7"}, is_about),
        ({"team": "", "title": "The lab – March 2023"}, is_about),
        ({"month": "2023-02", "title": f"{unit.team} – February 2023"}, is_about),
    ):
        wrong = pages(**changes)
        mixed = (wrong[0], right[1]) if what == "HTML" else (right[0], wrong[1])
        with pytest.raises(RenderError, match=words):
            check_pages(unit, *mixed)


@pytest.mark.parametrize("what", ["team", "month"])
def test_page_that_does_not_show_what_it_is_about_is_refused(tmp_path: Path, what: str) -> None:
    """The right names in a page's properties alone are not enough: who reads it must see them."""
    unit = unit_of(tmp_path, "good")
    assert isinstance(render_unit(unit), Rendered)
    html, pdf = (unit.directory / "report.html").read_text(), (unit.directory / "report.pdf").read_bytes()
    name = {"team": "Payments", "month": "March 2023"}[what]
    head, body = html.split("<title>", 1)
    with pytest.raises(RenderError, match=f"the HTML does not name the {what} in its title"):
        check_pages(unit, f"{head}<title>{body.replace(name, 'Nobody')}", pdf)


def test_full_disk_costs_only_the_new_report(tmp_path: Path) -> None:
    """When the disk takes no more bytes, whichever file that hits, the published report stays as it was."""
    unit = unit_of(tmp_path, "good")
    files = {"report.ipynb": b"n" * 900, "report.html": b"h" * 2000, "report.pdf": b"p" * 3000}

    def publish_now(mark: bytes) -> None:
        with work_directory(unit.directory) as work:
            publish(
                unit, work, {"facts": {"long": "x" * 4000}}, files={n: c + mark for n, c in files.items()}
            )

    publish_now(b"old")
    before = {p.name: p.read_bytes() for p in unit.directory.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 500, 1000, 2500, 3500):  # refuses the notebook, …, the manifest
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                publish_now(b"new")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert {p.name: p.read_bytes() for p in unit.directory.iterdir()} == before
    publish_now(b"new")
    assert {p.name: p.read_bytes() for p in unit.directory.iterdir()} != before


def test_directory_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    """A report whose directory cannot be made is a failure that says why, not a crash."""
    unit = unit_of(tmp_path, "good")
    (tmp_path / "reports").write_text("a file where the directory should be")
    outcome = render_unit(unit)
    assert isinstance(outcome, Failure)
    assert outcome.error_name in {"FileExistsError", "NotADirectoryError"}
    assert outcome.notebook_path is None


@pytest.mark.promise(6)
def test_directory_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    """A symbolic link in place of a report's directory does not lead the report out of the folder."""
    unit = unit_of(tmp_path, "good")
    unit.directory.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    unit.directory.symlink_to(tmp_path / "elsewhere")
    outcome = render_unit(unit)
    assert isinstance(outcome, Failure)
    assert "symbolic link" in outcome.error
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_up_to_date_only_while_nothing_changed(tmp_path: Path) -> None:
    """A report counts as unchanged until its template, options, snapshot or one of its files changes."""
    unit = unit_of(tmp_path, "good")
    assert up_to_date(unit) is None
    outcome = render_unit(unit)
    assert isinstance(outcome, Rendered)
    assert up_to_date(unit) == outcome.manifest
    assert up_to_date(replace(unit, template=replace(unit.template, sha256="0" * 64))) is None
    assert up_to_date(replace(unit, options={"top": 3})) is None
    write_snapshot(unit.snapshot, "another month")
    assert up_to_date(unit) is None
    write_snapshot(unit.snapshot)
    assert up_to_date(unit) == outcome.manifest
    with (unit.directory / "report.pdf").open("ab") as file:
        file.write(b" ")
    assert damaged_files(unit.directory, outcome.manifest) == ["report.pdf"]
    assert up_to_date(unit) is None


def test_parameters_are_checked_by_name(tmp_path: Path) -> None:
    """An unknown parameter is refused with the near and the known names, a missing one by its name."""
    template = load_template(write_template(tmp_path, "good"))
    good = {"team": "NA", "month": "2023-03", "snapshot": "x"}
    validate(template, good)
    with pytest.raises(RenderError, match=r"no parameter 'taem'; did you mean 'team'.*team, month, snapshot"):
        validate(template, {"taem": "NA"})
    with pytest.raises(RenderError, match=r"month must be text.*not date"):
        validate(template, good | {"month": date(2023, 3, 1)})
    for value in (float("nan"), "\ud800"):
        with pytest.raises(RenderError, match="team="):
            validate(template, good | {"team": value})
    source = template.path.read_text().replace("snapshot = ", "snapshot: str\\nother = ")
    template.path.write_text(source)
    with pytest.raises(RenderError, match="needs a value for snapshot"):
        validate(load_template(template.path), {"team": "NA", "month": "2023-03"})


def test_template_is_found_by_name_or_path(tmp_path: Path) -> None:
    """A template is found in the directory given, or by its path; an unknown name lists the known ones."""
    path = write_template(tmp_path, "good")
    by_name = load_template("good", directory=tmp_path)
    assert by_name == load_template(path) == load_template(str(path))
    assert by_name.sha256 == sha256(path)
    assert dict(by_name.parameters) == {"team": False, "month": False, "snapshot": False}
    with pytest.raises(RenderError, match=r"no template 'goood'.*did you mean 'good'"):
        load_template("goood", directory=tmp_path)
    for content in (
        "{}",
        "[1]",
        "no json",
        '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": "%magic"}]}',
    ):
        path.write_text(content)
        with pytest.raises(RenderError, match=r"template .*good\.ipynb"):
            load_template(path)
    assert any((folder / "team_month.ipynb").is_file() for folder in template_directories())


def test_marker_of_the_tests_is_the_real_one() -> None:
    """The stand-in marker of these tests has the media type that the figures' own marker has."""
    from usagekit.figures.marker import REPORT_MIME

    assert REPORT_MIME in MARKER
