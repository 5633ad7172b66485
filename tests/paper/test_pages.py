"""The pages in a real browser: on any screen, in the dark, printed, and for those who cannot see or point."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbformat import v4
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from tests.chromium import browsing, in_chromium, opened
from tests.paper.notebooks import (
    as_base64,
    code,
    executed,
    figure,
    marker,
    notebook,
    png,
    printed,
    shown,
    text,
)
from tests.paper.test_export_safety import EVIL_NAMES, every_way
from usagekit.export.exporters import export_html

pytestmark = in_chromium

WIDTHS = (360, 390, 768, 1280, 1920)
NAMES = ("team_month", "lab_month", "foreign")


def foreign() -> list[Any]:
    """A notebook of somebody else, with one of each kind of output."""
    wide = pd.DataFrame({f"column_{number}": [number] for number in range(18)})
    return [
        text("# Foreign\n\nInline $x_1$ and [a link](https://example.com)\n\n| a | b |\n|--|--|\n| 1 | 2 |"),
        text("## Part\n\n## Part\n\n- [x] done\n\n```\n" + "long " * 60 + "\n```"),
        code(shown({"text/html": wide.to_html()})),
        code(printed("w" * 400), v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[])),
        code(shown({"image/png": as_base64(png(1200, 40))})),
        code(shown({"application/vnd.plotly.v1+json": {}})),
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The HTML files of our reports and of a foreign notebook."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"foreign": notebook(*foreign())} | {name: executed(name) for name in NAMES[:2]}
    for name, each in made.items():
        (folder / f"{name}.html").write_text(export_html(each, name=name), "utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def browser(pages: dict[str, Path]) -> Iterator[Browser]:
    """Chromium; after the notebooks ran, which cannot start kernels while its loop is running."""
    with browsing() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_no_barrier_is_found(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: Any
) -> None:
    """axe-core finds nothing wrong with a page: contrast, names, tables, order, places that scroll."""
    sheet = opened(
        browser,
        pages[name],
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        bypass_csp=True,  # the page itself lets no script run
    )
    found = Axe().run(sheet)
    assert len(found.response["passes"]) > 10
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", NAMES)
def test_page_fits_every_screen(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """From a phone to a wide screen nothing makes the page itself scroll sideways, and every picture has a size."""
    sheet = opened(browser, pages[name])
    for width in WIDTHS:
        sheet.set_viewport_size({"width": width, "height": 900})
        assert sheet.evaluate("document.documentElement.scrollWidth") <= width
        sizes = sheet.evaluate(
            "[...document.querySelectorAll('svg, img')].map(e => e.getBoundingClientRect().width)"
        )
        assert sizes
        assert min(sizes) > 10


def test_text_is_readable_on_wide_screens(browser: Browser, pages: dict[str, Path]) -> None:
    """On a wide screen a line of text stays short enough to be read."""
    sheet = opened(browser, pages["team_month"], viewport={"width": 1920, "height": 1000})
    assert sheet.evaluate("document.querySelector('main').getBoundingClientRect().width") <= 1000


def test_page_follows_the_dark(browser: Browser, pages: dict[str, Path]) -> None:
    """In a dark room the page is dark, and its print is light."""
    colour = "getComputedStyle(document.body).backgroundColor"
    sheet = opened(browser, pages["team_month"], color_scheme="light")
    light = sheet.evaluate(colour)
    sheet.emulate_media(color_scheme="dark")
    assert light == "rgb(255, 255, 255)"
    assert sheet.evaluate(colour) != light
    sheet.emulate_media(color_scheme="dark", media="print")
    assert sheet.evaluate(colour) == light


@pytest.mark.promise(4)
@pytest.mark.promise(3)
def test_page_is_quiet(browser: Browser, tmp_path: Path, pages: dict[str, Path]) -> None:
    """Whatever it shows, a page asks for nothing, runs nothing and has nothing to complain about."""
    evil = tmp_path / "evil.html"
    cells = [cell for name in EVIL_NAMES for cell in (*every_way(name), text(name))]
    far = '<img src="https://example.com/x.png"><style>#a {background: url(https://example.com/y)}</style><p id="a">x'
    made = notebook(*cells, code(shown({"text/html": far}), marker(lab=EVIL_NAMES[3])), title=EVIL_NAMES[2])
    evil.write_text(export_html(made, name="evil"), "utf-8")
    for path in (*pages.values(), evil):
        sheet = browser.new_context().new_page()
        heard: list[str] = []
        sheet.on("console", lambda message, heard=heard: heard.append(message.text))
        sheet.on("pageerror", lambda error, heard=heard: heard.append(str(error)))
        sheet.on("dialog", lambda dialog, heard=heard: heard.append(dialog.message))
        sheet.on("request", lambda request, heard=heard: heard.append(request.url))
        sheet.goto(path.as_uri(), wait_until="networkidle")
        assert heard == [path.as_uri()]
        assert sheet.evaluate("document.scripts.length") == 0


def test_keyboard_reaches_what_scrolls(browser: Browser, pages: dict[str, Path]) -> None:
    """A table wider than a phone can be reached and moved with the keyboard alone."""
    sheet = opened(browser, pages["foreign"], viewport={"width": 390, "height": 844})
    table = sheet.locator(".output", has_text="column_17")
    table.focus()
    sheet.keyboard.press("ArrowRight")
    sheet.wait_for_function("e => e.scrollLeft > 0", arg=table.element_handle())


def printed_pages(sheet: Page) -> list[str]:
    raw = sheet.pdf(prefer_css_page_size=True, print_background=True)
    return [" ".join(paper.extract_text().split()) for paper in PdfReader(io.BytesIO(raw)).pages]


@pytest.mark.parametrize("name", NAMES)
def test_print_keeps_the_order(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Printed from the browser, the headings come in the order of the screen, no page is empty, each has a number."""
    sheet = opened(browser, pages[name])
    headings = [" ".join(words.split()) for words in sheet.locator("h1, h2, h3").all_inner_texts()]
    papers = printed_pages(sheet)
    for number, paper in enumerate(papers, start=1):
        assert paper.startswith(f"Page {number} of {len(papers)} ")
        assert len(paper) > 60
    whole, place = " ".join(papers), 0
    for heading in headings:
        assert (place := whole.find(heading, place)) >= 0, heading


def test_print_cuts_no_chart(browser: Browser, tmp_path: Path) -> None:
    """On printed paper, a chart is whole on one page, and a heading stands with what follows it."""
    svg = (
        '<figure class="uk-chart"><figcaption>caption{0}</figcaption><svg viewBox="0 0 100 60" width="100%">'
        '<text y="8">top{0}</text><text y="58">foot{0}</text></svg></figure>'
    )
    cells = [
        cell
        for number in range(8)
        for cell in (
            text("\n\n".join(["words"] * number) + f"\n\n## Part{number}-"),
            code(figure("#none", html=svg.format(f"{number}-"))),
        )
    ]
    path = tmp_path / "charts.html"
    path.write_text(
        export_html(notebook(*cells, code(marker(paper="us-letter")), title="All"), name="charts"), "utf-8"
    )
    sheet = opened(browser, path)
    papers = printed_pages(sheet)
    assert len(papers) > 3
    for number in range(8):
        marks = [f"{mark}{number}-" for mark in ("Part", "caption", "top", "foot")]
        assert [
            mark for paper in papers if marks[0] in paper for mark in re.findall("|".join(marks), paper)
        ] == marks
    raw = sheet.pdf(prefer_css_page_size=True)
    assert round(PdfReader(io.BytesIO(raw)).pages[0].mediabox.width) == 612


@pytest.mark.parametrize("name", NAMES)
def test_print_has_every_column(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Paper cannot be moved sideways: what scrolls on the screen is printed as far as its last column."""
    sheet = opened(browser, pages[name], viewport={"width": 657, "height": 900})  # A4 without its margins
    sheet.emulate_media(media="print")
    beyond = """[...document.querySelectorAll("main *")].filter(
        e => !e.closest("svg") && (e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1
            && getComputedStyle(e).overflowX != "visible")
    ).map(e => e.outerHTML.slice(0, 200))"""
    assert sheet.evaluate(beyond) == []
