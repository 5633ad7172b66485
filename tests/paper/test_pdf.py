"""The PDF: whole for a screen reader, honest about where its figures come from, and well broken into pages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from nbformat import v4
from pypdf import PdfReader

from tests.paper.notebooks import code, executed, figure, marker, notebook, pdf, printed, shown, text, words
from usagekit.export.exporters import export_html, export_pdf
from usagekit.figures import page_break
from usagekit.figures.escape import typst_string

FACTS = {
    "team": "R&D / Café",
    "month": "2023-03",
    "lab": "Lab <1>",
    "as_of": "2023-04-03T08:00:00+00:00",
    "timezone": "Europe/Berlin",
    "snapshot_sha256": "0123456789abcdef" * 4,
    "usagekit_version": "1.2.3",
}
BREAK = shown(page_break()._repr_mimebundle_())
TEMPLATES = ("team_month", "lab_month")


@pytest.fixture(scope="module", params=TEMPLATES)
def report(request: pytest.FixtureRequest) -> PdfReader:
    """A report of ours as PDF."""
    return PdfReader(io.BytesIO(export_pdf(executed(request.param), name="file")))


def tree(node: Any) -> Iterator[dict[str, Any]]:
    """The elements of the structure, in reading order."""
    node = node.get_object()
    if isinstance(node, list):
        for child in node:
            yield from tree(child)
    elif isinstance(node, dict) and node.get("/Type") != "/MCR":
        if "/S" in node:
            yield node
        if "/K" in node:
            yield from tree(node["/K"])


def outline(entries: list[Any]) -> list[str]:
    nested = (outline(entry) if isinstance(entry, list) else [str(entry.title)] for entry in entries)
    return [title for titles in nested for title in titles]


def objects(reader: PdfReader) -> list[Any]:
    """Every object of the file."""
    return [reader.get_object(number) for number in range(1, int(str(reader.trailer["/Size"])))]


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def bodies(reader: PdfReader) -> list[str]:
    """The text of each page without its foot and without the title RUNNING above it."""
    found = [" ".join(sheet.extract_text().split()).partition("Page ")[0] for sheet in reader.pages]
    return [body.removeprefix("RUNNING").strip() for body in found]


def lines(count: int) -> Any:
    """As many paragraphs, which fill a page one by one."""
    return text("\n\n".join(f"line {number}" for number in range(count)))


def test_pdf_is_accessible(report: PdfReader) -> None:
    """A report is tagged PDF/UA-1 with language, title, page labels, headings, tables and described pictures."""
    root = report.trailer["/Root"].get_object()
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_object().get_data()
    assert report.metadata is not None
    assert "March 2023" in str(report.metadata.title)
    assert report.page_labels == [str(number) for number in range(1, len(report.pages) + 1)]
    found = [str(element["/S"]) for element in tree(root["/StructTreeRoot"]["/K"])]
    assert found.count("/H1") == 1
    assert {"/H2", "/Table", "/TH", "/TD", "/Figure"} <= set(found)
    assert all(e.get("/Alt") for e in tree(root["/StructTreeRoot"]["/K"]) if e["/S"] == "/Figure")


@pytest.mark.promise(5)
def test_pdf_is_inert_and_whole(report: PdfReader) -> None:
    """A report opens nothing, runs nothing, carries no file along, and has all of its fonts inside."""
    found = objects(report)
    forbidden = {"/JavaScript", "/JS", "/OpenAction", "/AA", "/EmbeddedFiles", "/AF", "/Launch", "/URI"}
    assert {key for each in found for key in keys(each)}.isdisjoint(forbidden)
    fonts = [o for o in found if isinstance(o, dict) and o.get("/Type") == "/FontDescriptor"]
    assert fonts
    assert all({"/FontFile", "/FontFile2", "/FontFile3"} & font.keys() for font in fonts)
    assert not [o for o in found if isinstance(o, dict) and o.get("/Subtype") == "/Type3"]


def test_outline_has_every_heading(report: PdfReader) -> None:
    """The bookmarks of a report are its headings; its title may stand for itself."""
    root = report.trailer["/Root"].get_object()
    levels = [str(e["/S"]) for e in tree(root["/StructTreeRoot"]["/K"]) if str(e["/S"])[1:2] == "H"]
    titles = outline(report.outline)
    assert len(levels) - len(titles) in (0, 1)
    assert levels[0] == "/H1"
    printed_words = words(report)
    places = [printed_words.find(title) for title in titles]
    assert -1 not in places


@pytest.mark.parametrize(
    ("paper", "size"), [("a4", (595, 842)), ("us-letter", (612, 792)), ("../x", (595, 842))]
)
def test_paper_follows_the_report(paper: str, size: tuple[int, int]) -> None:
    """A report names its paper, for the PDF and for a printed page; what is no paper is A4."""
    cells = (text("Hello"), code(marker(paper=paper)))
    box = pdf(*cells).pages[0].mediabox
    assert (round(box.width), round(box.height)) == size
    assert ("size: letter" in export_html(notebook(*cells), name="file")) == (paper == "us-letter")


def test_every_page_tells_its_source() -> None:
    """Each page's foot has the figures' date, their snapshot, the version and its number; the HTML's foot, too."""
    source = "Data as of 3 April 2023, 10:00 CEST · snapshot 0123456789ab · usagekit 1.2.3"
    cells = (code(printed("\n".join(map(str, range(150))))), code(marker(**FACTS)))
    reader = pdf(*cells)
    assert len(reader.pages) > 1
    for number, sheet in enumerate(reader.pages, start=1):
        line = " ".join(sheet.extract_text().split())
        assert source in line
        assert f"Page {number} of {len(reader.pages)}" in line
    assert source in export_html(notebook(*cells), name="file")


def test_metadata_names_lab_team_month_and_snapshot() -> None:
    """The file's author is the lab; its key words have team, month and the whole hash of the snapshot."""
    about = pdf(text("# Title\nHello"), code(marker(**FACTS))).metadata
    assert about is not None
    assert (about.title, about.author) == ("Title", "Lab <1>")
    for word in ("R&D / Café", "March 2023", "0123456789abcdef" * 4):
        assert word in str(about["/Keywords"])


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({}, id="none"),
        pytest.param({"snapshot_sha256": None, "usagekit_version": None, "as_of": None}, id="empty"),
        pytest.param(
            {"snapshot_sha256": "<b>", "usagekit_version": '1 "', "as_of": "soon"}, id="no such facts"
        ),
    ],
)
def test_unknown_facts_are_left_out(facts: dict[str, Any]) -> None:
    """A notebook that does not tell its source has a foot with the page's number alone, and no author."""
    cells = (text("# T"), code(marker(**facts)))
    reader = pdf(*cells)
    assert words(reader) == "T Page 1 of 1"
    assert reader.metadata is not None
    assert reader.metadata.author is None
    assert "<footer>" not in export_html(notebook(*cells), name="file")


def test_long_names_do_not_run_into_each_other() -> None:
    """Names of 10,000 characters are cut where they run along the pages, and stay whole in the metadata."""
    team, lab = "T" * 10_000, "L" * 10_000
    reader = pdf(text("Hello"), code(marker(team=team, lab=lab)), title="Short")
    assert reader.metadata is not None
    assert reader.metadata.author == lab
    assert team in str(reader.metadata["/Keywords"])
    for letter in "TL":
        assert letter * 47 + "…" in words(reader)
        assert letter * 48 not in words(reader)
    assert len(reader.pages) == 1


@pytest.mark.parametrize(("letter", "width"), [("W", 0.75), ("チ", 1.0)])
def test_long_words_stay_on_the_page(letter: str, width: float) -> None:
    """A word of 1,000 characters breaks instead of leaving the page: as title, text, error, caption and cell."""
    word = letter * 1000
    table = f"<table><caption>{word}</caption><tr><td>{word}</td></tr></table><p>{word}</p>"
    failed = code(v4.new_output("error", ename="E", evalue=word, traceback=[]), shown({"text/html": table}))
    reader = pdf(text(f"# {word}\n\n{word}"), failed)
    for sheet in reader.pages:
        ends: list[float] = []

        def measure(part: str, cm: Any, tm: Any, font: Any, size: float, ends: list[float] = ends) -> None:
            if letter in part:
                ends.append(tm[4] * cm[0] + cm[4] + part.count(letter) * width * size)

        sheet.extract_text(visitor_text=measure)
        assert max(ends) < sheet.mediabox.width - 40
    assert "".join(sheet.extract_text() for sheet in reader.pages).count(letter) >= 6000
    assert reader.metadata is not None
    assert reader.metadata.title == word
    assert [title.replace("\u200b", "") for title in outline(reader.outline)] == [word]


def test_page_breaks_end_a_page_and_make_no_empty_one() -> None:
    """What follows a break is on a new page, also after a page that is just full; two breaks are one."""
    for count in range(41, 48):
        found = bodies(pdf(lines(count), code(BREAK, BREAK), text("## After"), code(BREAK), title="RUNNING"))
        assert all(found), f"an empty page after {count} lines"
        assert found[-1] == "After"


def chart(number: int) -> Any:
    """A drawing of 60 mm with a word at its top and one at its foot."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="230" font-family="Source Sans Pro">'
        f'<text x="5" y="15">top{number}</text><text x="5" y="225">foot{number}</text></svg>'
    )
    content = '(title: "Chart", caption: "")'
    return code(figure(f'#uk-chart({content}, image(bytes({typst_string(svg)}), format: "svg", alt: "x"))'))


def test_charts_stay_whole_and_with_their_heading() -> None:
    """Wherever a chart falls, it is on one page, and the heading above it on the same."""
    for count in range(24, 46, 2):
        found = bodies(pdf(lines(count), text("## Heading"), chart(1), title="RUNNING"))
        (home,) = (body for body in found if "top1" in body)
        assert "foot1" in home
        assert "Heading" in home


def test_headings_stay_with_what_follows() -> None:
    """No heading is the last thing on a page: the text, or the table's head and first row, stand with it."""
    frame = pd.DataFrame({"device": [f"dev{number}" for number in range(12)]})
    table = code(shown({"text/html": frame.to_html(index=False)}))
    for count in range(36, 46):
        found = bodies(pdf(lines(count), text("## Heading"), table, title="RUNNING"))
        (home,) = (body for body in found if "Heading" in body)
        assert "device dev0" in home, f"alone after {count} lines"
        found = bodies(pdf(lines(count), text("## Heading\n\nWORDS below"), title="RUNNING"))
        (home,) = (body for body in found if "Heading" in body)
        assert "WORDS" in home, f"alone after {count} lines"
