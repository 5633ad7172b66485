"""The exporters: what a notebook shows reaches HTML and PDF whole, in good order."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbconvert.exporters import get_exporter
from nbformat import v4
from pypdf import PdfReader

from tests.paper.notebooks import (
    as_base64,
    code,
    figure,
    marker,
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
from usagekit.export.grids import MAX_ROWS
from usagekit.figures.escape import typst_string


def outline_levels(reader: PdfReader) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []

    def walk(entries: list[Any], level: int) -> None:
        for entry in entries:
            if isinstance(entry, list):
                walk(entry, level + 1)
            else:
                found.append((level, entry.title))

    walk(reader.outline, 1)
    return found


def test_code_and_tagged_cells_stay_hidden() -> None:
    """Code, stderr, tagged cells and tagged outputs are not shown; other outputs are."""
    cells = (
        code(printed("VISIBLE"), printed("WARNED", name="stderr")),
        code(printed("GONE"), tags=("remove_output",)),
        code(printed("GONE"), tags=("hide-cell",)),
        text("GONE", metadata={"tags": ["remove"]}),
        v4.new_raw_cell("GONE"),
    )
    for shown_words in (page(*cells).get_text(), words(pdf(*cells))):
        assert "VISIBLE" in shown_words
        for hidden in ("GONE", "WARNED", "secret_code"):
            assert hidden not in shown_words


def test_errors_stand_in_a_box_without_code() -> None:
    """An error shows its name and message, marked as an error, and no traceback, which would show code."""
    failed = code(v4.new_output("error", ename="ValueError", evalue="no <b>team</b>", traceback=["TRACE"]))
    soup = page(failed)
    assert [box.get_text() for box in soup.select(".error")] == ["ValueError: no <b>team</b>"]
    assert "TRACE" not in soup.get_text()
    assert "ValueError: no <b>team</b>" in words(pdf(failed))


def test_terminal_text_is_cleaned_and_cut() -> None:
    """Colours vanish, a progress line shows its end, and a flood of text is cut with a remark."""
    pre = page(code(printed("\x1b[31mred\x1b[0m\n10%\r100%\n" + "x" * 200_000))).pre
    assert pre is not None
    assert pre.get_text().startswith("red\n100%\nxxx")
    assert pre.get_text().endswith("more characters are not shown")
    assert len(pre.get_text()) < 101_000


def test_same_notebook_gives_the_same_bytes() -> None:
    """Two exports of one notebook are equal to the byte, and the date is that of the marker."""
    made = notebook(
        text("# A"), code(shown({"image/png": as_base64(png())})), code(marker(as_of="2023-04-03T08:00:00Z"))
    )
    first = export_pdf(made, name="file")
    assert first == export_pdf(made, name="file")
    assert export_html(made, name="file") == export_html(made, name="file")
    metadata = PdfReader(io.BytesIO(first)).metadata
    assert metadata is not None
    assert "2023-04-03T08:00:00" in str(metadata.creation_date and metadata.creation_date.isoformat())


def test_marker_gives_header_footer_and_title() -> None:
    """Lab, team and month run along every page, with the date of the figures in the report's zone."""
    facts = marker(
        title="Payments – March 2023",
        team="Payments",
        month="2023-03",
        lab="Lab <1>",
        as_of="2023-04-03T08:00:00+00:00",
        timezone="Europe/Berlin",
    )
    reader = pdf(code(printed("\n".join(map(str, range(150))))), code(facts))
    assert len(reader.pages) > 1
    for sheet in reader.pages:
        line = " ".join(sheet.extract_text().split())
        assert "Lab <1>" in line
        assert "Payments · March 2023" in line
        assert "Data as of 3 April 2023, 10:00 CEST" in line
    assert reader.metadata is not None
    assert reader.metadata.title == "Payments – March 2023"
    assert "MARKER" not in words(reader) + page(code(facts)).get_text()


def test_titles_and_heading_levels_have_no_gaps() -> None:
    """A title stands above parts of equal rank, and levels go down one at a time."""
    reader = pdf(text("## One\n\n##### Deep\n\n### Less deep\n\n## Two"), title="All")
    assert outline_levels(reader) == [(1, "All"), (2, "One"), (3, "Deep"), (3, "Less deep"), (2, "Two")]
    assert outline_levels(pdf(text("### Only\n\n###### Part"))) == [(1, "Only"), (2, "Part")]
    soup = page(text("## One\n\n##### Deep\n\n## Two"), title="All")
    assert [h.name for h in soup.find_all(["h1", "h2", "h3", "h5"])] == ["h1", "h2", "h3", "h2"]


def test_notebook_without_headings_is_called_by_its_file() -> None:
    """A foreign notebook gets its file name as title where it has no better one."""
    assert outline_levels(pdf(text("Hello"))) == [(1, "file")]
    title = page(text("Hello")).title
    assert title is not None
    assert title.get_text() == "file"


def test_long_table_repeats_its_head() -> None:
    """A table of 200 rows keeps every row and shows its head on each of its pages."""
    frame = pd.DataFrame({"device": [f"dev{i:03d}@lab.example.com" for i in range(200)], "hours": range(200)})
    reader = pdf(code(shown({"text/html": frame.to_html()})))
    assert len(reader.pages) >= 3
    assert all("device" in sheet.extract_text() for sheet in reader.pages)
    found = words(reader)
    assert all(device in found for device in frame["device"])


def test_endless_table_says_what_is_not_printed() -> None:
    """The PDF cuts a table of thousands of rows and says so; the page keeps every row."""
    many = "<table>" + "<tr><td>x</td></tr>" * (MAX_ROWS + 1234) + "</table>"
    assert "1,234 more rows are not printed." in words(pdf(code(shown({"text/html": many}))))
    assert len(page(code(shown({"text/html": many}))).find_all("tr")) == MAX_ROWS + 1234


def test_wide_table_lies_on_its_side() -> None:
    """A table too wide for an upright page gets one on its side; the text around it stays upright."""
    frame = pd.DataFrame({f"column_{i}": [i] for i in range(18)})
    reader = pdf(text("Before"), code(shown({"text/html": frame.to_html()})), text("After"))
    assert [sheet.mediabox.width > sheet.mediabox.height for sheet in reader.pages] == [False, True, False]


def test_numbers_stand_right_also_beside_gaps() -> None:
    """Columns of numbers are marked for the right edge, missing values included; ids and names are not."""
    frame = pd.DataFrame({"team": ["a", "b"], "hours": ["1,234.5", "NaN"], "id": ["007x", "8"]})
    table = page(code(shown({"text/html": frame.to_html(index=False)}))).table
    assert table is not None
    classes = [[cell.get("class", []) for cell in row.find_all(["td", "th"])] for row in table.find_all("tr")]
    assert classes == [[[], ["number"], []]] * 3


def test_writing_systems_survive_and_missing_letters_are_told() -> None:
    """Japanese, Arabic and Hebrew are printed; what no font has becomes a box, with a warning that names it."""
    with pytest.warns(UserWarning, match="U\\+1F984 UNICORN FACE"):
        found = words(pdf(text("チーム שלום Ωμέγα 🦄 1️⃣ e\u0301 end")))
    assert "チーム" in found
    assert "Ωμέγα □ 1" in found
    assert "end" in found


def test_letter_is_only_replaced_where_no_font_has_it() -> None:
    """One strange sign in the SVG text of a chart does not turn its neighbours into boxes."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="30">'
        '<text x="5" y="20" font-family="Source Sans Pro">🦄 チーム</text></svg>'
    )
    chart = figure(f'#image(bytes({typst_string(svg)}), format: "svg", alt: "x")')
    with pytest.warns(UserWarning, match="UNICORN FACE: shown"):
        assert "チーム" in words(pdf(code(chart)))


def test_images_are_held_with_alternative_text() -> None:
    """Outputs and attachments are embedded; a picture without description is called by number and title."""
    cells = (
        text("![a dot](attachment:dot.png)", attachments={"dot.png": {"image/png": as_base64(png())}}),
        code(shown({"image/png": as_base64(png())})),
        code(shown({"image/png": as_base64(png(5, 5))}, alt="Hours by day")),
    )
    images = page(*cells, title="Lab").find_all("img")
    assert [image["alt"] for image in images] == ["a dot", "Figure 1 of Lab", "Hours by day"]
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    raw = export_pdf(notebook(*cells, title="Lab"), name="file")
    assert sum(len(sheet.images) for sheet in PdfReader(io.BytesIO(raw)).pages) == 2


def test_our_figures_pass_as_they_are() -> None:
    """A figure of usagekit brings its own HTML and its own Typst code, and its header is the title."""
    header = figure('#heading(level: 1)[#"TEAM"]', html='<h1 class="uk">TEAM</h1>', kind="header")
    cells = (code(header), text("## Hours"))
    soup = page(*cells, title="Long title")
    assert [(h.name, h.get_text()) for h in soup.find_all(["h1", "h2"])] == [("h1", "TEAM"), ("h2", "Hours")]
    assert soup.select_one("h1.uk") is not None
    assert outline_levels(pdf(*cells, title="Long title")) == [(1, "TEAM"), (2, "Hours")]


def test_exporters_are_found_by_nbconvert(tmp_path: Any) -> None:
    """``jupyter nbconvert --to usagekit-html`` and ``--to usagekit-pdf`` find their exporters."""
    path = tmp_path / "march.ipynb"
    nbformat.write(notebook(text("Hello")), path)
    html, resources = get_exporter("usagekit-html")().from_filename(str(path))
    assert resources["output_extension"] == ".html"
    assert "<title>march</title>" in html
    pages, resources = get_exporter("usagekit-pdf")().from_filename(str(path))
    assert resources["output_extension"] == ".pdf"
    assert PdfReader(io.BytesIO(pages)).pages


def test_import_is_light() -> None:
    """Looking for exporters, as Jupyter does at its start, loads neither pandas nor matplotlib."""
    check = "import sys, usagekit.export.exporters as e; print([m for m in ('pandas', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
