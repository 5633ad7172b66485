"""The page of a month: complete, safe and readable, from what is on the disk."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from usagekit.errors import QueryError
from usagekit.report.site import write_index
from usagekit.report.unit import report_directory

MONTH = "2023-03"


def publish_report(reports: Path, team: str | None, *, month: str = MONTH, hours: object = 10.0) -> Path:
    """A published report as the index sees it: its manifest."""
    directory = report_directory(reports, month, team=team)
    directory.mkdir(parents=True)
    facts = {"lab": "Lab <1>", "timezone": "Europe/Berlin", "as_of": "2023-04-01T06:00:00+00:00"}
    manifest = {
        "template": "team_month" if team is not None else "lab_month",
        "parameters": {} if team is None else {"team": team},
        "finished_utc": "2023-04-02T05:00:00+00:00",
        "facts": facts | {"total_hours": hours},
        "files": {},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def record_failure(reports: Path, team: str, *, cell_index: int | None = 4) -> None:
    """A failure on the record of the month, beside those already there."""
    path = reports / MONTH / "run.json"
    failures = json.loads(path.read_text())["failures"] if path.exists() else {}
    failures[report_directory(reports, MONTH, team=team).name] = {
        "template": "team_month",
        "team": team,
        "month": MONTH,
        "cell_index": cell_index,
        "error_name": "KeyError",
        "error": "<img src=x onerror=alert(1)>",
        "notebook": "report.failed.ipynb",
        "at_utc": "2023-04-02T05:00:00+00:00",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"failures": failures}))


class Page(HTMLParser):
    """The rows of the index as lists of cell texts, its links, tags and the text of its facts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
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

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
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
    assert page.rows[2][1:] == ["ok", "10.0 h", "–", "HTML · PDF", "2023-04-02 07:00 CEST"]
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert len(page.links) == 4 * 2 + 1
    assert all((tmp_path / MONTH / link).parent.is_dir() for link in page.links[1:])
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


def test_failed_team_keeps_links_to_its_older_report(tmp_path: Path) -> None:
    """A team that failed now but was good before shows both, and says which came first."""
    publish_report(tmp_path, "a")
    record_failure(tmp_path, "a", cell_index=None)
    (row,) = Page(write_index(tmp_path, MONTH)).rows[1:]
    assert row[1].startswith("failed KeyError")
    assert row[4] == "HTML · PDF · failed notebook"
    assert row[5].endswith("(before the failure)")


def test_index_of_two_hundred_teams_and_of_none(tmp_path: Path) -> None:
    """Two hundred teams fit on one small page; a month without reports says so; a wrong month is refused."""
    for number in range(200):
        publish_report(tmp_path, f"Team {number} {'🙂' * (number % 3)}")
    path = write_index(tmp_path, MONTH)
    assert len(Page(path).rows) == 201
    assert path.stat().st_size < 250_000
    assert "No report has been rendered" in write_index(tmp_path, "2024-01").read_text()
    with pytest.raises(QueryError):
        write_index(tmp_path, "../2023-03")


def test_damaged_manifest_is_shown_as_such(tmp_path: Path) -> None:
    """A report whose manifest cannot be read does not vanish; hidden work directories are not looked at."""
    (publish_report(tmp_path, "a") / "manifest.json").write_text("{")
    publish_report(tmp_path, "b").rename(tmp_path / MONTH / ".b.x.work")
    (row,) = Page(write_index(tmp_path, MONTH)).rows[1:]
    assert row[0] == "a"
    assert row[1].startswith("failed Unreadable: manifest.json is missing or damaged")
