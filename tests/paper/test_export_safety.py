"""The exporters: nothing that a notebook holds runs, reads a file, leaves the page or breaks it."""

from __future__ import annotations

import base64
import warnings

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode, v4

from tests.paper.notebooks import (
    as_base64,
    code,
    figure,
    notebook,
    page,
    pdf,
    png,
    printed,
    shown,
    text,
    words,
)
from usagekit.export.exporters import export_html, export_pdf
from usagekit.export.foreign import sanitise
from usagekit.export.grids import read_grid

EVIL_NAMES = (
    "NA",
    "R&D / Café",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '#read("/etc/passwd")',
    '"); #panic("x")',
    "$x$ *y* _z_ `w` ]\\",
    "{{ 7*7 }} {% raw %}",
    "=HYPERLINK('x')",
)


def every_way(name: str) -> list[NotebookNode]:
    """Cells that show a name in each way that a notebook can."""
    frame = pd.DataFrame({"team": [name], "hours": [1.5]})
    return [
        code(shown({"text/html": frame.to_html()})),
        code(printed(name)),
        code(v4.new_output("error", ename="Oops", evalue=name, traceback=["TRACE"])),
        code(shown({"text/latex": name})),
    ]


@pytest.mark.promise(3)
@pytest.mark.parametrize("name", EVIL_NAMES)
def test_page_shows_names_as_text(name: str) -> None:
    """A name with markup is read as itself in every output and makes no element of its own."""
    soup = page(*every_way(name), title=name)
    assert soup.title is not None
    assert soup.title.get_text() == name
    assert soup.get_text().count(name) == 6
    assert not soup.find_all(["script", "img"])


@pytest.mark.promise(5)
@pytest.mark.parametrize("name", EVIL_NAMES)
def test_pdf_shows_names_as_text(name: str) -> None:
    """A name with Typst code is printed as itself in every output; nothing is read or run."""
    reader = pdf(*every_way(name), title=name)
    assert words(reader).count(name) == 5
    assert reader.metadata is not None
    assert reader.metadata.title == name


@pytest.mark.promise(3)
@settings(max_examples=20, deadline=None)
@given(st.text(max_size=30))
def test_any_text_can_be_exported(name: str) -> None:
    """Whatever characters a value holds, both papers come out and no script appears."""
    frame = pd.DataFrame({name: [name]})
    made = notebook(text(name), *every_way(name), code(shown({"text/html": frame.to_html()})), title=name)
    html = export_html(made, name="file")
    assert not BeautifulSoup(html.encode(), "html.parser").find_all("script")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert export_pdf(made, name="file").startswith(b"%PDF")


@pytest.mark.promise(3)
def test_markup_in_markdown_is_text() -> None:
    """HTML, Typst code and dangerous links in Markdown keep their words and lose their power."""
    source = (
        "<script>alert(1)</script>\n\n"
        '<b onclick="x()">bold</b> #read("/etc/passwd") $x$ [go](javascript:alert(2)) [ok](https://example.com)'
    )
    soup, printed_words = page(text(source)), words(pdf(text(source)))
    assert not soup.find_all("script")
    assert [a["href"] for a in soup.find_all("a")] == ["https://example.com"]
    for shown_words in (soup.get_text(), printed_words):
        assert "<script>alert(1)</script>" in shown_words
        assert '#read("/etc/passwd") $x$ go ok' in shown_words
    assert "root:" not in printed_words


@pytest.mark.promise(4)
def test_page_needs_and_runs_nothing() -> None:
    """The page forbids scripts and requests, holds its own style and images, and has a language and one title."""
    soup = page(
        text("## Part\n![far](https://example.com/x.png)"),
        code(shown({"image/png": as_base64(png()), "text/plain": "<Figure>"})),
        code(shown({"text/html": "<link href='https://example.com/x.css' rel=stylesheet><p>fine</p>"})),
        title="A report",
    )
    policy = soup.find("meta", {"http-equiv": "Content-Security-Policy"})
    assert policy is not None
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert soup.html is not None
    assert soup.html["lang"] == "en"
    assert [h.get_text() for h in soup.find_all("h1")] == ["A report"]
    assert not soup.find_all(["script", "link", "iframe", "base"])
    assert all(tag["src"].startswith("data:") for tag in soup.find_all(src=True))
    assert "https://example.com/x.png" in soup.get_text()


@pytest.mark.promise(4)
def test_style_sheets_cannot_leave_their_table() -> None:
    """Colours of a Styler's cells are kept on these cells; its other rules, and addresses in them, are dropped."""
    styled = (
        "<style>#T_1_row0_col0 {background-color: #440154; color: #f1f1f1; background: url(http://x/)}"
        " body {display: none} @import 'http://x/';</style>"
        "<table><tr><td id='T_1_row0_col0' style='position: fixed'>5</td></tr></table>"
    )
    cell = BeautifulSoup(sanitise(styled), "html.parser").td
    assert cell is not None
    assert cell["style"] == "background-color: #440154; color: #f1f1f1;"
    assert "http://x" not in sanitise(styled)
    assert "display" not in sanitise(styled)


@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4), min_size=1, max_size=5
    )
)
def test_grids_cover_every_place_once(rows: list[list[tuple[int, int]]]) -> None:
    """Whatever spans a table claims, its cells cover each place of the grid exactly once."""
    html = "".join(
        "<tr>" + "".join(f"<td colspan={x} rowspan={y}>c</td>" for x, y in row) + "</tr>" for row in rows
    )
    table = BeautifulSoup(f"<table>{html}</table>", "html.parser").table
    assert table is not None
    grid = read_grid(table)
    area = sum(cell.columns * cell.rows for row in (*grid.head, *grid.body) for cell in row)
    assert area == grid.width * len(rows)


@pytest.mark.promise(11)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png()[:-20], id="cut"),
        pytest.param(png()[:45] + b"\0\0" + png()[47:], id="damaged"),
        pytest.param(png(pixels=b"\0"), id="too few pixels"),
        pytest.param(png(60_000, 60_000, pixels=b""), id="bomb"),
        pytest.param(b"<html>", id="no image"),
    ],
)
def test_broken_image_is_stated(content: bytes) -> None:
    """A broken image becomes a note and the rest of the report is there."""
    cells = (code(shown({"image/png": as_base64(content)})), text("still here"))
    soup = page(*cells)
    assert not soup.find_all("img")
    for shown_words in (soup.get_text(), words(pdf(*cells))):
        assert "Image not shown" in shown_words
        assert "still here" in shown_words


@pytest.mark.promise(3)
def test_svg_loses_scripts_and_addresses() -> None:
    """A foreign SVG is shown without its scripts, handlers and links to elsewhere."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="x()"><script>y()</script>'
        '<image href="http://example.com/z.png" width="9" height="9"/><text y="9">SVGWORDS</text></svg>'
    )
    image = page(code(shown({"image/svg+xml": svg}))).img
    assert image is not None
    drawn = base64.b64decode(image["src"].partition(",")[2]).decode()
    assert "SVGWORDS" in drawn
    for gone in ("onload", "script", "example.com"):
        assert gone not in drawn
    assert "SVGWORDS" in words(pdf(code(shown({"image/svg+xml": svg}))))


@pytest.mark.promise(5)
@pytest.mark.parametrize("source", ["#unknown()", '#read("/etc/passwd")', '#image("/x.png", alt: "x")', "#["])
def test_figure_that_fails_does_not_take_the_report_along(source: str) -> None:
    """Code that cannot be typeset, or that wants a file, becomes a note with a warning; the rest is printed."""
    with pytest.warns(UserWarning, match="cannot be printed"):
        found = words(pdf(text("# Before"), code(figure(source)), text("After")))
    assert "This output cannot be printed" in found
    assert "Before" in found
    assert "After" in found
    assert "root:" not in found
