"""Outputs of other libraries: each comes out well on both papers, or says why it does not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from tests.paper.notebooks import as_base64, code, page, pdf, png, shown, text, words
from usagekit.export.blocks import Plain
from usagekit.export.foreign import read_parts, sanitise
from usagekit.export.grids import Grid
from usagekit.export.styles import read_bar, safe_style

FRAME = pd.DataFrame(
    {"team": ["NA", "R&D / Café", "チーム"], "hours": [1.5, 22.25, -3.0], "sessions": [1, 2, 3]}
)


def styled() -> str:
    """A Styler with bars, named colours, a gradient and a marked cell."""
    style = FRAME.style.bar(subset=["hours"], align="mid", color=["#d65f5f", "green"])
    style = style.background_gradient(subset=["sessions"])
    return str(style.highlight_max(subset=["hours"], props="color: darkred; font-weight: bold").to_html())


def grid_of(html: str) -> Grid:
    (grid,) = (part for part in read_parts(sanitise(html)) if isinstance(part, Grid))
    return grid


def test_styled_table_keeps_colours_and_bars() -> None:
    """Bars, colours by name or number and bold words of a pandas Styler reach both papers."""
    low, high, below = (row[2] for row in grid_of(styled()).body)
    assert low.bar[-2:] == (("#008000", low.bar[-2][1]), ("", low.bar[-1][1]))
    assert below.bar[0][0] == "#d65f5f"
    assert high.bar[-1] == ("", 100.0)
    assert (high.ink, high.bold, low.bold) == ("#8b0000", True, False)
    assert grid_of(styled()).body[2][3].fill == "#023858"
    cells = page(code(shown({"text/html": styled()}))).find_all("td")
    assert sum("linear-gradient(90deg" in str(cell.get("style")) for cell in cells) == 3
    assert all(name in words(pdf(code(shown({"text/html": styled()})))) for name in FRAME["team"])


@pytest.mark.parametrize(
    "value",
    [
        "url(http://example.com/x.png)",
        "linear-gradient(90deg, url(http://example.com/x) 30%, transparent 30%)",
        "linear-gradient(90deg, red 60%, blue 30%)",
        "linear-gradient(90deg, red 0%, blue 101%)",
        "linear-gradient(45deg, red 10%, blue 20%)",
        "expression(alert(1))",
    ],
)
def test_background_that_is_no_bar_is_dropped(value: str) -> None:
    """Of background images only bars are kept: no address, no other drawing."""
    assert safe_style(f"text-align: {value}") == ""
    for name in ("background", "background-image", "BACKGROUND"):
        assert safe_style(f"{name}: {value}; color: red") == "color: #ff0000"
        soup = BeautifulSoup(sanitise(f'<p style="{name}: {value}">x</p>'), "html.parser")
        assert soup.p is not None
        assert not soup.p.get("style")


@given(st.text(max_size=60))
def test_any_style_is_harmless(style: str) -> None:
    """Whatever a style says, what is kept has no address and no function but a bar's, and stays as it is."""
    kept = safe_style(style)
    assert "url" not in kept.lower()
    assert safe_style(kept) == kept
    assert all(colour == "" or len(colour) == 7 for colour, _ in read_bar(style))


def test_latex_is_readable_as_source() -> None:
    """Formulas keep every sign of their source, as code; prices are no formulas."""
    source = (
        "Area $\\frac{a_1}{b_2}$ and *price* $5 and $10, or \\$3.\n\n$$\n\\sum_{i=1}^n x_i * y_i * z\n$$\n\n"
        "\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}\n\n| f |\n|--|\n| $y^2$ |"
    )
    soup = page(text(source))
    formulas = ["$\\frac{a_1}{b_2}$", "$$\n\\sum_{i=1}^n x_i * y_i * z\n$$"]
    formulas += ["\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}", "$y^2$"]
    assert [tag.get_text().strip() for tag in soup.find_all("code")] == formulas
    assert [tag.get_text() for tag in soup.find_all("em")] == ["price"]
    for found in (soup.get_text(), words(pdf(text(source)))):
        assert "$5 and $10, or $3." in " ".join(found.split())
        assert all(" ".join(formula.split()) in " ".join(found.split()) for formula in formulas)


def test_latex_output_is_shown_as_source() -> None:
    """A formula that a cell displays is shown as its source and not as the name of its object."""
    cell = code(shown({"text/latex": "$\\int_0^1 x$", "text/plain": "<IPython.core.display.Math object>"}))
    for found in (page(cell).get_text(), words(pdf(cell))):
        assert "$\\int_0^1 x$" in found
        assert "object" not in found


PLOTLY = {"application/vnd.plotly.v1+json": {"data": []}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(PLOTLY, "Output not shown: application/vnd.plotly.v1+json", id="unknown"),
        pytest.param(
            {**PLOTLY, "text/html": f"<div><script>{'x' * 5000}</script><div id='p'></div></div>"},
            "Output not shown: application/vnd.plotly.v1+json",
            id="unknown with script",
        ),
        pytest.param(
            {"text/html": "<iframe src='https://example.com'></iframe>", "text/plain": "<IFrame object>"},
            "Output not shown: it would run or load something.",
            id="only a frame",
        ),
        pytest.param({"application/json": {"a": 1}, "text/plain": "<JSON object>"}, '{ "a": 1 }', id="json"),
        pytest.param({"text/html": "<p>Kept</p><video></video>"}, "Kept [video left out]", id="half"),
    ],
)
def test_output_that_cannot_be_shown_says_so(content: dict[str, Any], said: str) -> None:
    """What needs a script or a program of its own is named in a note instead of vanishing."""
    cell = code(shown(content))
    assert " ".join(page(cell).main.get_text(" ").split()).endswith(said)  # type: ignore[union-attr]
    assert said in words(pdf(cell))
    assert "object>" not in words(pdf(cell))


def test_picture_stands_in_for_a_script() -> None:
    """An interactive chart that also brings a picture is shown by its picture."""
    content = {**PLOTLY, "text/html": f"<script>{'x' * 5000}</script>", "image/png": as_base64(png())}
    assert len(page(code(shown(content))).find_all("img")) == 1


def test_lists_and_preformatted_text_keep_their_form() -> None:
    """Foreign lists keep their marks on paper, and preformatted text keeps its blanks."""
    html = "<ul><li>one</li><li>two</li></ul><ol><li>first</li><li>second</li></ol><pre>a\n    b</pre>"
    assert "• one • two 1. first 2. second" in words(pdf(code(shown({"text/html": html}))))
    assert list(read_parts(sanitise(html)))[-1] == Plain("a\n    b")


def test_empty_heads_of_a_table_are_no_heads() -> None:
    """The empty corner of a frame is not read out as a heading; every other heading stays one."""
    table = page(code(shown({"text/html": FRAME.to_html()}))).table
    assert table is not None
    assert [tag.name for tag in table.thead.tr.find_all(["th", "td"])] == ["td", "th", "th", "th"]  # type: ignore[union-attr]


def test_style_sheet_of_our_figures_stands_once() -> None:
    """Figures that bring the same style sheet share one on the page, in the page's head."""
    own = {"text/vnd.typst": "#none", "application/vnd.usagekit.figure+json": {"kind": "chart", "alt": "x"}}
    figures = [
        shown({**own, "text/html": f"<style>.uk-{sheet} {{ color: red }}</style>\n<p>{number}</p>"})
        for number, sheet in enumerate("aab")
    ]
    soup = page(code(*figures))
    assert soup.head is not None
    assert soup.main is not None
    sheets = "".join(tag.get_text() for tag in soup.head.find_all("style"))
    assert (sheets.count(".uk-a {"), sheets.count(".uk-b {")) == (1, 1)
    assert not soup.main.find_all("style")
    assert [p.get_text() for p in soup.main.find_all("p")] == ["0", "1", "2"]
