"""The site in a real browser: found, filtered and read by eye, by ear and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.chromium import browsing, in_chromium, opened
from tests.paper.past import MONTH, publish_report, record_failure
from usagekit.report.site import write_site

pytestmark = in_chromium

NAMES = (
    "NA",
    "R&D / Café",
    "チーム",
    "🙂",
    "<script>document.title='run'</script>",
    '#read("x")',
    "x" * 10_000,
)
MONTHS = (*(f"2022-{month:02d}" for month in range(1, 13)), "2023-01", "2023-02", MONTH)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen months of a lab whose teams have the worst of names; one was renamed, one failed, one came late."""
    reports = tmp_path_factory.mktemp("seen") / "reports"
    for month in MONTHS:
        publish_report(reports, None, month=month, hours=900)
        for number, name in enumerate(NAMES):
            if name != "NA" or month == MONTH:
                publish_report(reports, name, month=month, hours=10.5 * number)
        publish_report(reports, "Billing" if month < "2023" else "Payments", month=month)
    record_failure(reports, "🙂")
    return write_site(reports, renamed={"Billing": "Payments"})


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    """Chromium, once the site is there."""
    with browsing() as chromium:
        yield chromium


def rows(sheet: Page) -> list[str]:
    """The names of the rows that can be seen."""
    return sheet.locator("tbody tr:visible th > bdi").all_inner_texts()


def test_search_finds_teams_by_any_of_their_names(browser: Browser, site: Path) -> None:
    """Case, accents and order do not matter, old names count, and the number of rows is told."""
    sheet = opened(browser, site)
    everything = rows(sheet)
    assert len(everything) == len(NAMES) + 2
    for asked, found in (
        ("cafe R&D", ["R&D / Café"]),
        ("billing", ["Payments"]),
        ("チーム", ["チーム"]),
        ("qqq", []),
    ):
        sheet.get_by_label("Team", exact=True).fill(asked)
        assert rows(sheet) == found
        assert sheet.locator("output").inner_text() == f"{len(found)} of {len(everything)} rows"
    sheet.get_by_role("button", name="Show all").click()
    sheet.wait_for_function(
        "n => document.querySelectorAll('tbody tr:not([hidden])').length == n", arg=len(everything)
    )


def test_state_and_months_filter_together(browser: Browser, site: Path) -> None:
    """A state is looked for in the months that are shown; months outside the range go, with their cells."""
    sheet = opened(browser, site)
    sheet.get_by_label("State", exact=True).select_option("failed")
    assert rows(sheet) == ["🙂"]
    sheet.get_by_label("To", exact=True).select_option("2022-12")
    assert rows(sheet) == []
    sheet.get_by_label("State", exact=True).select_option("missing")
    assert rows(sheet) == ["NA"]
    sheet.get_by_label("From", exact=True).select_option("2022-11")
    assert sheet.locator("thead th:visible").all_inner_texts() == ["Team", "Trend", "Dec\n2022", "Nov\n2022"]
    assert sheet.locator("tbody tr:visible td:visible").count() == 3
    assert sheet.locator("output").inner_text().endswith("rows, 2 of 15 months")


def test_site_works_without_script(browser: Browser, site: Path) -> None:
    """Where no script runs, all rows are there and the filters, which could do nothing, are not."""
    sheet = opened(browser, site, java_script_enabled=False)
    assert sheet.locator("tbody tr").count() == len(NAMES) + 2
    assert not sheet.locator("form").is_visible()


def test_site_is_quiet(browser: Browser, site: Path) -> None:
    """The pages ask for nothing, run nothing but their own script, and have nothing to complain about."""
    for path in (site, site.parent / MONTH / "index.html"):
        sheet = browser.new_context().new_page()
        heard: list[str] = []
        sheet.on("console", lambda message, heard=heard: heard.append(message.text))
        sheet.on("pageerror", lambda error, heard=heard: heard.append(str(error)))
        sheet.on("request", lambda request, heard=heard: heard.append(request.url))
        sheet.goto(path.as_uri(), wait_until="networkidle")
        assert heard == [path.as_uri()]
        assert sheet.title().startswith("Usage reports")


def test_foreign_script_is_refused(browser: Browser, site: Path, tmp_path: Path) -> None:
    """Should a name ever get into the page as markup, the page's own policy keeps it from running."""
    path = tmp_path / "index.html"
    path.write_text(
        site.read_text("utf-8").replace("<h1>", "<script>document.title = 'run'</script><h1>"), "utf-8"
    )
    sheet = opened(browser, path)
    assert sheet.title() == "Usage reports"
    assert sheet.locator("form").is_visible(), "our own script ran"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["index.html", f"{MONTH}/index.html"])
def test_no_barrier_is_found(browser: Browser, site: Path, page: str, width: int, scheme: Any) -> None:
    """axe-core finds nothing wrong with a page, open details included, and the page itself never scrolls sideways."""
    size = {"width": width, "height": 844}
    sheet = opened(browser, site.parent / page, viewport=size, color_scheme=scheme, bypass_csp=True)
    sheet.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found = Axe().run(sheet)
    assert len(found.response["passes"]) > 10
    assert found.violations_count == 0, found.generate_report()
    assert sheet.evaluate("document.documentElement.scrollWidth") <= width


def test_keyboard_alone_reads_a_failure(browser: Browser, site: Path) -> None:
    """The first stop leads past the filters; the table can be moved, and a failure opened, without a pointer."""
    sheet = opened(browser, site, viewport={"width": 390, "height": 844})
    sheet.keyboard.press("Tab")
    assert sheet.evaluate("document.activeElement.className") == "skip"
    sheet.keyboard.press("Enter")
    table = sheet.locator("#history")
    sheet.keyboard.press("ArrowRight")
    sheet.wait_for_function("e => e.scrollLeft > 0", arg=table.element_handle())
    stops = 0
    while sheet.evaluate("document.activeElement.tagName") != "SUMMARY":
        sheet.keyboard.press("Tab")
        assert (stops := stops + 1) < 300
    assert sheet.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    sheet.keyboard.press("Enter")
    assert sheet.get_by_text("cell 5: KeyError: <img src=x onerror=alert(1)>").is_visible()


def test_team_stays_in_sight(browser: Browser, site: Path) -> None:
    """However far the months are moved, the names of teams stay at the left."""
    sheet = opened(browser, site, viewport={"width": 390, "height": 844})
    name = sheet.locator("tbody th").first
    before = name.bounding_box()
    sheet.locator("#history").evaluate("e => { e.scrollLeft = 600 }")
    assert name.bounding_box() == before


def test_paper_shows_the_newest_months_in_range(browser: Browser, site: Path) -> None:
    """Printed, twelve months fit in the width of a sheet: the newest, or the newest of those filtered."""
    sheet = opened(browser, site, viewport={"width": 1032, "height": 700})  # A4 landscape without its margins
    sheet.emulate_media(media="print")
    heads = sheet.locator("thead th:visible")
    assert heads.all_inner_texts()[2::11] == ["Mar\n2023", "Apr\n2022"]
    assert sheet.locator("table").bounding_box()["width"] <= 1032
    sheet.emulate_media(media="screen")
    sheet.get_by_label("To", exact=True).select_option("2022-03")
    sheet.emulate_media(media="print")
    assert [text[:3] for text in heads.all_inner_texts()[2:]] == ["Mar", "Feb", "Jan"]
