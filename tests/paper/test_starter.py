"""A template of one's own: the starter passes its check, and each fault of a template is told with its cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from nbformat import v4, writes
from pypdf import PdfReader

from tests.paper.notebooks import as_base64, png
from usagekit.errors import RenderError
from usagekit.report.render import render_unit
from usagekit.report.starter import Complaint, check_template, write_starter
from usagekit.report.template import load_template
from usagekit.report.unit import Rendered, Unit
from usagekit.sample_lab import demo_snapshot

PARAMETERS = 'team = "Payments"\nmonth = "2023-03"\nsnapshot = "demo"'
READS = "import usagekit as uk\nlab = uk.open_snapshot(snapshot)\nsaid = uk.read_month(lab, month, team=team)"
SHOWS = """from usagekit import figures
figures.header(lab, team=team, month=month)"""
COMPLETES = """uk.complete(lab, template="own", team=team, month=month, total_hours=said.kpis[0].value)"""
FRAME = """import pandas as pd
frame = pd.DataFrame({"team": ["NA", "R&D / Café"], "hours": [1.5, 22.25]})
frame"""
IMAGE = 'display({"image/png": """%s"""}, metadata=%s, raw=True)'


def written(folder: Path, *cells: str, parameters: str = PARAMETERS, marker: str = COMPLETES) -> Path:
    """A template that reads, has ``cells``, and completes."""
    made = [v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    made += [v4.new_code_cell(source) for source in (READS, SHOWS, *cells, marker)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "own.ipynb"
    path.write_text(writes(v4.new_notebook(cells=made, metadata={"kernelspec": kernel})), "utf-8")
    return path


def complaints(path: Path) -> list[str]:
    return [str(complaint) for complaint in check_template(path)]


def image(**about: Any) -> str:
    metadata = {"image/png": about} if about else {}
    return IMAGE % (as_base64(png()), json.dumps(metadata))


def test_a_starter_passes_its_own_check(tmp_path: Path) -> None:
    """What template new writes is found good as it is, under its own name."""
    path = write_starter(tmp_path / "notebooks" / "my_month.ipynb")
    assert check_template(path) == []
    template = load_template(path)
    assert (template.name, set(template.parameters)) == ("my_month", {"team", "month", "snapshot"})
    assert 'template="my_month"' in "".join(json.loads(template.source)["cells"][-1]["source"])


def test_a_starter_overwrites_nothing(tmp_path: Path) -> None:
    """A file that is there stays as it is, and a name that no template can have is refused."""
    path = write_starter(tmp_path / "my_month.ipynb")
    before = path.read_bytes()
    with pytest.raises(RenderError, match="exists already"):
        write_starter(path)
    assert path.read_bytes() == before
    for name in ("my month.ipynb", "my_month.py", "1.ipynb", ".ipynb"):
        with pytest.raises(RenderError, match="no name for a template"):
            write_starter(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["my_month.ipynb"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("import requests", "cell 4: imports requests: a report reads its snapshot"),
        ("from urllib.request import urlopen", "cell 4: imports urllib"),
        ("import subprocess", "cell 4: uses subprocess: a report runs no program"),
        ("from importlib import import_module", "cell 4: uses importlib"),
        ("import socket", "cell 4: imports socket"),
        ("import os\nos.system('ls')", "cell 4: uses os.system"),
        ("from os import path, popen", "cell 4: uses os.popen"),
        ("__import__('json')", "cell 4: uses __import__"),
        ("get_ipython()", "cell 4: uses get_ipython"),
        ("lab = uk.connect()", "cell 4: calls connect()"),
        ("text = open('notes.txt').read()", "cell 4: calls open()"),
        ("import pandas as pd\nframe = pd.read_csv('x.csv')", "cell 4: calls read_csv()"),
        ("picture = '/home/me/picture.png'", "cell 4: names the path '/home/me/picture.png'"),
        ("picture = f'../{month}.png'", "cell 4: names the path '../"),
        (r"picture = 'C:\\Users\\me.png'", "cell 4: names the path 'C:"),
        ("api_token = 'abc'", "cell 4: holds a secret in api_token"),
        ("password: str = 'abc'", "cell 4: holds a secret in password"),
        ("dict(secret='abc')", "cell 4: holds a secret in secret"),
        ("%matplotlib inline", "cell 4: is not plain Python"),
        ("!ls", "cell 4: is not plain Python"),
    ],
)
def test_what_is_wrong_in_the_source_is_told_with_its_cell(tmp_path: Path, cell: str, words: str) -> None:
    """Network, other sources, paths, secrets and magics are found before anything runs."""
    (found,) = complaints(written(tmp_path, cell))
    assert found.startswith(words)


@pytest.mark.parametrize(
    "variable", ["HEADSPIN_API_TOKEN", "USAGEKIT_SMTP_PASSWORD", "USAGEKIT_IMAP_PASSWORD"]
)
def test_a_secret_is_known_by_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Whatever a template calls it: the value of a token or password is refused, and not said again."""
    monkeypatch.setenv(variable, "s3cr3t-value")
    (found,) = complaints(written(tmp_path, "harmless = 'with s3cr3t-value in it'"))
    assert found == f"cell 4: holds the value of {variable}: a notebook is a file that people pass on"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ('team = "Payments"\nmonth = "2023-03"', "does not set snapshot"),
        ('team = "Payments"\nsnapshot = "demo"', "does not set month"),
        (f'{PARAMETERS}\napi_token = ""', "api_token is a parameter: papermill writes parameters"),
        (f"{PARAMETERS}\nprice: float", "the parameter price has no default"),
    ],
)
def test_parameters_are_those_that_render_gives(tmp_path: Path, parameters: str, words: str) -> None:
    """Month and snapshot must be parameters, a secret must not, and others need a default."""
    (found,) = complaints(written(tmp_path, parameters=parameters))
    assert words in found


def test_stored_outputs_are_told(tmp_path: Path) -> None:
    """A template that was saved with outputs is not ready: they may be of another lab."""
    path = written(tmp_path)
    notebook = json.loads(path.read_text("utf-8"))
    notebook["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "42"}]
    path.write_text(json.dumps(notebook), "utf-8")
    assert [c.cell for c in check_template(path)] == [3]


@pytest.mark.parametrize(
    ("cell", "marker", "found"),
    [
        ("", "'no marker'", (None, "Incomplete: the notebook ended without its completion marker")),
        ("1 / 0", COMPLETES, (4, "ZeroDivisionError: division by zero (for the team ")),
        ("said.top_devices['share'].iloc[0]", COMPLETES, (4, "IndexError: ")),
        ("", COMPLETES.replace("said.kpis[0].value", "1.0"), (None, "WrongReport: the snapshot has ")),
    ],
    ids=["no marker", "failing cell", "failing without usage", "wrong hours"],
)
def test_what_goes_wrong_in_a_run_is_told_with_its_cell(
    tmp_path: Path, cell: str, marker: str, found: tuple[int | None, str]
) -> None:
    """The template runs, for a team with usage and for one without; the cell counts as its author counts."""
    (complaint,) = check_template(written(tmp_path, cell or "'nothing'", marker=marker))
    assert complaint.cell == found[0]
    assert complaint.text.startswith(found[1])


def test_an_image_without_a_description_is_told(tmp_path: Path) -> None:
    """Only an image that says in words what it shows passes."""
    (found,) = complaints(written(tmp_path, image()))
    assert "an image has no alternative text" in found
    assert complaints(written(tmp_path, image(alt="A black square"))) == []


def test_the_check_runs_without_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template under check sees no token and no password of whoever checks it."""
    monkeypatch.setenv("HEADSPIN_API_TOKEN", "canary-one")
    monkeypatch.setenv("USAGEKIT_SMTP_PASSWORD", "canary-two")
    looks = "import os\nassert 'PATH' in os.environ\nassert 'canary' not in str(dict(os.environ))"
    assert check_template(written(tmp_path, looks)) == []


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    """A missing file, another file, and a parameters cell with magics are errors that name the template."""
    with pytest.raises(RenderError, match="own"):
        check_template(tmp_path / "own.ipynb")
    (tmp_path / "own.ipynb").write_text("{}", "utf-8")
    with pytest.raises(RenderError, match="not a Jupyter notebook"):
        check_template(tmp_path / "own.ipynb")
    with pytest.raises(RenderError, match="must be plain Python"):
        check_template(written(tmp_path, parameters="%load_ext x"))


def test_complaints_name_their_cell() -> None:
    """A complaint about the whole has no cell."""
    assert [str(Complaint(3, "x")), str(Complaint(None, "x"))] == ["cell 3: x", "x"]


def test_foreign_outputs_come_out_on_both_papers(tmp_path: Path) -> None:
    """A frame, a styled one, Markdown with LaTeX and a picture of a template are on page and PDF."""
    styled = "frame.style.highlight_max(subset=['hours'], props='font-weight: bold')"
    prose = "from IPython.display import Markdown\nMarkdown(r'Mean of **all** teams: $\\bar{h} = 3$')"
    path = written(tmp_path, FRAME, styled, prose, image(alt="A black square"))
    assert check_template(path) == []
    folder = tmp_path / "2023-03" / "payments.own"
    outcome = render_unit(Unit(load_template(path), "Payments", "2023-03", demo_snapshot(), folder))
    assert isinstance(outcome, Rendered), outcome
    html = BeautifulSoup((folder / "report.html").read_text("utf-8"), "html.parser")
    assert len(html.find_all("table", string=None)) >= 2
    assert [img["alt"] for img in html.find_all("img")] == ["A black square"]
    reader = PdfReader(folder / "report.pdf")
    pdf = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    assert sum(len(page.images) for page in reader.pages) >= 1
    for text in (" ".join(html.get_text(" ").split()), pdf):
        assert text.count("R&D / Café") == 2
        assert "22.25" in text
        assert r"$\bar{h} = 3$" in text
        assert "all" in text
