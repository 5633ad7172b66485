"""Every template of notebooks/ through papermill, export and the checks, over the teams and months that are hard."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from usagekit.analysis.wording import hours_text
from usagekit.engine.store import open_store
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.report.batch import Rendered, plan_month, render_month
from usagekit.report.starter import check_template
from usagekit.sample_lab import demo_lab, write_sample
from usagekit.sources import StoreSource

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TEMPLATES = {"team_month": {"team", "month", "snapshot"}, "lab_month": {"month", "snapshot"}}

MATRIX: dict[str, list[str | None]] = {  # None is the lab
    "2023-03": [
        None,
        "Payments",
        "Default",
        "NA",
        "R&D / Café",
        "チーム",
    ],  # a DST month: 743 hours in Berlin
    "2022-10": [None, "Payments"],  # 745 hours, second month of the current era
    "2022-02": [None, "TV Apps"],  # legacy era, hardly a month before it
}
Made = tuple[str, dict[str | None, Path], Lab]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    path = tmp_path_factory.mktemp("sample") / "store"
    write_sample(path)
    return Lab(StoreSource(open_store(path)), name="Sample device lab", timezone="Europe/Berlin")


@pytest.fixture(scope="module", params=MATRIX)
def rendered(request: pytest.FixtureRequest, sample: Lab, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The reports of one month of the matrix: month, directory by team, and the lab they tell of."""
    month, folder = request.param, tmp_path_factory.mktemp("reports")
    fetch_snapshot(sample, month, folder / "snapshot")
    units = [
        unit
        for team in MATRIX[month]
        for unit in plan_month(
            month,
            [team],
            snapshot=folder / "snapshot",
            reports=folder,
            template=NOTEBOOKS / f"{'lab' if team is None else 'team'}_month.ipynb",
        )
    ]
    outcomes = list(render_month(units, jobs=2))
    assert [str(o) for o in outcomes if not isinstance(o, Rendered)] == []
    return month, {o.unit.team: o.unit.directory for o in outcomes}, sample


def pages(directory: Path) -> list[str]:
    return [page.extract_text() for page in PdfReader(directory / "report.pdf").pages]


def test_reports_say_their_numbers(rendered: Made) -> None:
    """HTML and PDF carry the team, or the lab, and the hours that the store gives for it."""
    month, directories, lab = rendered
    for team, directory in directories.items():
        asked = lab.usage(month) if team is None else lab.usage(month, by="team", team=team, display_all=True)
        hours = asked.df["total_time_hours"].sum()
        facts = json.loads((directory / "manifest.json").read_text("utf-8"))["facts"]
        assert facts["team"] == team
        assert facts["total_hours"] == pytest.approx(hours, rel=1e-12)
        html = (directory / "report.html").read_text("utf-8")
        assert "Content-Security-Policy" in html
        assert not re.search(r"<script|src=[\"']?http|url\(http|@import", html)
        shown = hours_text(hours)
        first = "".join(pages(directory)[0].split())
        assert "".join(shown.split()) in first, f"{team}: {shown} is not on page one"
        assert "".join((team or lab.name).split()) in first


def test_reports_are_short_and_tagged(rendered: Made) -> None:
    """A team's report has at most two pages, the lab's four; with tags, language, title, bookmarks and page numbers."""
    for team, directory in rendered[1].items():
        reader = PdfReader(directory / "report.pdf")
        catalog = reader.trailer["/Root"]
        assert len(reader.pages) <= (4 if team is None else 2)
        assert catalog["/MarkInfo"]["/Marked"]
        assert catalog["/Lang"]
        assert reader.metadata is not None
        assert (team or rendered[2].name) in str(reader.metadata.title)
        assert reader.outline
        for number, text in enumerate(pages(directory), start=1):
            assert f"Page {number} of {len(reader.pages)}" in text
        assert (directory / "report.pdf").stat().st_size < 1_000_000
        assert (directory / "report.html").stat().st_size < 1_000_000


def test_hours_of_the_month(rendered: Made) -> None:
    """The report counts the month's hours on the clock of the lab's zone."""
    month, directories, _ = rendered
    hours = {"2023-03": 743, "2022-10": 745, "2022-02": 672}[month]
    for directory in directories.values():
        assert f"{hours} hours" in " ".join(" ".join(pages(directory)).split())


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_keep_the_contract(path: Path) -> None:
    """A notebook of ours has no function, no SQL, no network, no relative path and no stored output."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    source = "\n".join("".join(cell["source"]) for cell in code)
    tree = ast.parse(source)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda | ast.ClassDef)]
    imported = {n.name.split(".")[0] for i in ast.walk(tree) if isinstance(i, ast.Import) for n in i.names}
    assert not imported & {"httpx", "requests", "urllib", "socket", "sqlite3", "duckdb"}
    assert not re.search(r"(?i)\bselect\b.+\bfrom\b", source)
    assert not re.search(r"[\"']\.{0,2}/", source)
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize(("template", "parameters"), TEMPLATES.items())
def test_templates_open_without_papermill(template: str, parameters: set[str]) -> None:
    """A template's first code cell holds its parameters, with defaults that the sample answers."""
    cells = json.loads((NOTEBOOKS / f"{template}.ipynb").read_text("utf-8"))["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert first["metadata"]["tags"] == ["parameters"]
    names: dict[str, str] = {}
    exec("".join(first["source"]), names)
    assert parameters <= names.keys()
    assert names["snapshot"] == "demo"
    assert names.get("team", "Payments") in demo_lab().teams.names


@pytest.mark.parametrize("template", TEMPLATES)
def test_our_templates_pass_the_check_of_templates(template: str) -> None:
    """What is asked of everybody's templates holds for ours."""
    assert [str(complaint) for complaint in check_template(NOTEBOOKS / f"{template}.ipynb")] == []
