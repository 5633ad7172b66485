"""The pages of a month and of all months: complete, safe and readable, from what is on the disk."""

from __future__ import annotations

import hashlib
import re
import time
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.clock import within
from tests.paper.past import MONTH, keep_snapshot, publish_report, record_failure
from usagekit.errors import QueryError
from usagekit.report.history import read_history
from usagekit.report.site import write_index, write_site
from usagekit.report.unit import report_directory, team_slug


class Page(HTMLParser):
    """The rows of the index as lists of cell texts, its links, tags and the text of its facts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.in_table = True
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.in_table = self.in_table and tag != "table"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_table and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.replace("\u00a0", " ").strip("\n")


def test_index_lists_everything_failures_first(tmp_path: Path) -> None:
    """Failed teams stand on top with cell and error, then the lab, then the teams by name, with links that resolve."""
    for team in ("NA", "チーム", None, "alpha"):
        publish_report(tmp_path, team)
    record_failure(tmp_path, "<script>alert(1)</script>")
    page = Page(write_index(tmp_path, MONTH))
    assert [row[0] for row in page.rows[1:]] == [
        "<script>alert(1)</script>",
        "The whole lab",
        "alpha",
        "NA",
        "チーム",
    ]
    assert page.rows[1][1:4] == ["failed cell 5: KeyError: <img src=x onerror=alert(1)>", "–", "–"]
    assert page.rows[2][1:] == ["ok", "10.0 h", "–", "HTML · PDF", "–", "2023-04-02 07:00 CEST"]
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert len(page.links) == 2 + 4 * 2 + 1
    assert all((tmp_path / MONTH / link).exists() for link in page.links[2:])
    assert "1 of 5 reports failed" in page.text


def test_index_says_what_holds_for_the_month(tmp_path: Path) -> None:
    """The head names lab, month, zone, data time and totals; the page loads and runs nothing."""
    publish_report(tmp_path, "a", hours=1.5)
    publish_report(tmp_path, "b", hours=400)
    path = write_index(tmp_path, MONTH)
    text = Page(path).text.replace("\u00a0", " ")
    for words in ("March 2023", "Lab <1>", "Europe/Berlin", "2023-04-01 08:00 CEST", "2 (0 failed)", "402 h"):
        assert words in text
    source = path.read_text()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in source
    assert not re.search(r"https?://|@import|url\(", source)
    publish_report(tmp_path, None, hours=450)
    assert "Device hours of the lab450 h" in Page(write_index(tmp_path, MONTH)).text.replace(
        "\u00a0", " "
    ).replace("\n", "")


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        (100.0, 130.0, "+30%"),
        (400.0, 100.0, "−75%"),
        (1000.0, 1000.1, "+<1%"),
        (0.0, 3.0, "new"),
        (4.0, 3.0, "−1.0 h"),
        (7.0, 7.0, "unchanged"),
        (None, 3.0, "–"),
        (3.0, "many", "–"),
    ],
)
def test_change_against_the_month_before(tmp_path: Path, before: object, now: object, change: str) -> None:
    """The change is relative, absolute where the month before is small, and silent where either is unknown."""
    publish_report(tmp_path, "a", month="2023-02", hours=before)
    publish_report(tmp_path, "a", hours=now)
    assert Page(write_index(tmp_path, MONTH)).rows[1][3] == change


def test_a_report_alone_tells_its_change_and_its_past(tmp_path: Path) -> None:
    """Where no older month was rendered, change and trend are those that the report itself knows; a report has the word."""
    mail = {"kpis": [{"change": "+30%"}], "history": [None, 40.0, 100.0, 130.0]}
    facts = {"lab": "Lab", "timezone": "UTC", "total_hours": 130.0, "mail": mail}
    publish_report(tmp_path, "a", facts=facts)
    assert Page(write_index(tmp_path, MONTH)).rows[1][3] == "+30%"

    def trend() -> tuple[str, str]:
        (row,) = re.findall(r"<tbody>.*?</tr>", (tmp_path / "index.html").read_text("utf-8"), re.DOTALL)
        words, path = re.search(r'aria-label="([^"]*)".*? d="([^"]*)"', row).groups()
        return words.replace("\u00a0", " "), path

    words, path = trend()
    assert words == "January 2023 40.0 h to March 2023 130 h, most in March 2023 with 130 h"
    assert path == "M34 13.1h0L66 5.7L98 2"  # December 2022 is not known
    publish_report(tmp_path, "a", month="2023-02", hours=200.0)
    write_index(tmp_path, MONTH)
    assert trend()[0].endswith("most in February 2023 with 200 h")
    (tmp_path / "other").mkdir()
    running = facts | {"mail": mail | {"partial": True}}
    publish_report(tmp_path / "other", "a", facts=running)
    (line,) = read_history(tmp_path / "other")
    assert line.known_hours(["2023-01", "2023-02", "2023-03"]) == [40.0, None, 130.0]


def test_failed_team_keeps_links_to_its_older_report(tmp_path: Path) -> None:
    """A team that failed now but was good before shows both, and says which came first."""
    publish_report(tmp_path, "a")
    record_failure(tmp_path, "a", cell_index=None)
    (row,) = Page(write_index(tmp_path, MONTH)).rows[1:]
    assert row[1].startswith("failed KeyError")
    assert row[4] == "HTML · PDF · failed notebook"
    assert row[6].endswith("(before the failure)")


def test_index_of_two_hundred_teams_and_of_none(tmp_path: Path) -> None:
    """Two hundred teams fit on one small page; a month without reports says so; a wrong month is refused."""
    for number in range(200):
        publish_report(tmp_path, f"Team {number} {'🙂' * (number % 3)}")
    path = write_index(tmp_path, MONTH)
    assert len(Page(path).rows) == 201
    assert path.stat().st_size < 300_000
    assert "No report has been rendered" in write_index(tmp_path, "2024-01").read_text()
    with pytest.raises(QueryError):
        write_index(tmp_path, "../2023-03")


def test_damaged_manifest_is_shown_as_such(tmp_path: Path) -> None:
    """A report whose manifest or page is lost does not vanish; hidden work directories are not looked at."""
    (publish_report(tmp_path, "a") / "manifest.json").write_text("{")
    publish_report(tmp_path, "b").rename(tmp_path / MONTH / ".b.x.work")
    (row,) = Page(write_index(tmp_path, MONTH)).rows[1:]
    assert row[0] == "a"
    assert row[1].startswith("failed Unreadable: manifest.json is missing or damaged")
    (publish_report(tmp_path, "c") / "report.pdf").unlink()
    assert Page(write_index(tmp_path, MONTH)).rows[2][1] == (
        "failed Incomplete: report.pdf is missing: render this report again"
    )


def test_months_lead_to_each_other(tmp_path: Path) -> None:
    """A month leads to the months and reports beside it, and writing one mends the links of its neighbours."""
    for month in ("2023-01", MONTH):
        publish_report(tmp_path, "a", month=month)
        write_index(tmp_path, month)
    first, last = (Page(tmp_path / month / "index.html") for month in ("2023-01", MONTH))
    assert first.links[1:3] == ["../index.html", f"../{MONTH}/index.html"]
    assert last.links[1:3] == ["../2023-01/index.html", "../index.html"]
    assert last.links[-1] == "../2023-01/a/report.html"
    for month, page in (("2023-01", first), (MONTH, last)):
        assert all((tmp_path / month / link).exists() for link in page.links[1:])


def test_overview_has_every_team_and_month(tmp_path: Path) -> None:
    """Teams stand below the lab with each month's hours and state, newest first, and every link resolves."""
    snapshots = tmp_path / "snapshots"
    current = keep_snapshot(snapshots, MONTH)
    publish_report(tmp_path, None, hours=400, snapshot_sha256=current)
    publish_report(tmp_path, "NA", hours=100, snapshot_sha256="0" * 64)
    publish_report(tmp_path, "<b>", month="2023-02", hours=50)
    record_failure(tmp_path, "チーム")
    path = write_site(tmp_path, snapshots=snapshots)
    page = Page(path)
    assert page.rows == [
        ["Team", "Trend", "Mar2023", "Feb2023"],
        ["The whole lab", "", "●400 h", "–"],
        ["<b>", "", "–", "●50.0 h"],
        ["NA", "", "◇100 h", "–"],
        ["チーム", "", "▲failedcell 5: KeyError: <img src=x onerror=alert(1)>", "–"],
    ]
    assert "1 rendered, 1 stale, 1 failed" in page.text
    assert len(page.links) == 1 + 2 + 3
    assert all((tmp_path / link).is_file() for link in page.links[1:])
    assert "stale: numbers newer than report" in page.text
    assert Page(write_site(tmp_path)).rows[3][2] == "●100 h", (
        "without the snapshots nothing is known to be stale"
    )


def test_only_our_own_script_may_run(tmp_path: Path) -> None:
    """The policy of the page allows the one script by its hash, and nothing from elsewhere."""
    publish_report(tmp_path, "</script><script>alert(1)</script>")
    source = write_site(tmp_path).read_text("utf-8")
    (script,) = re.findall(r"(?s)<script>(.*?)</script>", source)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    ) in source
    assert not re.search(r"https?://|@import|url\(", source)


def test_renamed_team_keeps_its_history(tmp_path: Path) -> None:
    """All names of a team stand in one line that leads to the old folders; a change is told across the names."""
    renamed = {"Old": "New", "Older": "New"}
    publish_report(tmp_path, "Older", month="2023-01", hours=100)
    publish_report(tmp_path, "Old", month="2023-02", hours=200)
    publish_report(tmp_path, "New", hours=300)
    publish_report(tmp_path, "Other", hours=300)
    page = Page(write_site(tmp_path, renamed=renamed))
    assert page.rows[1] == ["Newformerly Old, Older", "", "●300 h", "●200 h", "●100 h"]
    assert page.rows[2][0] == "Other"
    assert f"2023-01/{team_slug('Older')}/report.html" in page.links
    month = Page(tmp_path / MONTH / "index.html")
    assert month.rows[1][3] == "+50%"
    assert f"../2023-02/{team_slug('Old')}/report.html" in month.links
    assert Page(tmp_path / "2023-02" / "index.html").rows[1][0] == "Old now New"


def test_renamed_in_the_middle_of_a_month(tmp_path: Path) -> None:
    """Both reports of the month stay, each with its name, and the line's hours are those of both."""
    publish_report(tmp_path, "Old", hours=10)
    publish_report(tmp_path, "New", hours=20)
    page = Page(write_site(tmp_path, renamed={"Old": "New"}))
    assert page.rows[1][2] == "●20.0 h●10.0 has Old"
    (line,) = read_history(tmp_path, renamed={"Old": "New"})
    assert line.hours(MONTH) == 30


def test_other_templates_have_their_own_line(tmp_path: Path) -> None:
    """A team's report of another template stands below its standard one, named by the template."""
    publish_report(tmp_path, "a", hours=10)
    publish_report(tmp_path, "a", hours=99, template="my page")
    assert [row[0] for row in Page(write_site(tmp_path)).rows[1:]] == ["a", "amy page"]


def test_large_site_is_small_and_quick(tmp_path: Path) -> None:
    """200 teams and 24 months take less than 1.5 MB and 2 s of work; what has not changed is not written again."""
    months = [f"{year}-{month:02d}" for year in (2022, 2023) for month in range(1, 13)]
    for month in months:
        for number in range(200):
            publish_report(tmp_path, f"Team & {number} of the lab", month=month, hours=number * 7.3)
    path = tmp_path / "index.html"

    def worked() -> float:
        for page in tmp_path.glob("**/index.html"):
            page.unlink()
        began = time.process_time()
        assert write_site(tmp_path) == path
        return time.process_time() - began

    within(2, worked)
    assert path.stat().st_size < 1_500_000
    assert len(Page(path).rows) == 201
    before = {page: page.stat().st_mtime_ns for page in tmp_path.glob("**/index.html")}
    assert len(before) == 25
    report_directory(tmp_path, months[3], team="x").mkdir()
    write_site(tmp_path)
    changed = {page.parent.name for page, at in before.items() if page.stat().st_mtime_ns != at}
    assert changed == {tmp_path.name, months[3]}


def test_site_without_reports(tmp_path: Path) -> None:
    """Before the first report the site says that there is none; folders that are no months are left alone."""
    (tmp_path / "previews" / "2023-03").mkdir(parents=True)
    (tmp_path / "2023-13" / "a").mkdir(parents=True)
    assert "No report has been rendered yet." in write_site(tmp_path).read_text()
    assert not list(tmp_path.glob("*/index.html"))
