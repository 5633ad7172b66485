"""Figures on the screen and on the page: nothing in a name runs, escapes or vanishes."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
import typst
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from usagekit import figures
from usagekit.analysis.kpis import kpis
from usagekit.analysis.shape import daily_hours, top_rows, weekday_hour_profile
from usagekit.figures import base
from usagekit.figures.base import FIGURE_MIME, TYPST_MIME
from usagekit.figures.escape import printable, typst_json, typst_string
from usagekit.figures.marker import REPORT_MIME
from usagekit.period import BusinessHours, trailing_months
from usagekit.query import UsageQuery

MONTH = "2023-03"
ZONE = "Europe/Berlin"
TEMPLATE = Path(__file__).parents[2] / "notebooks" / "team_month.ipynb"
HOSTILE = '#read("/etc/passwd") \\ " $x$ ] <script>alert(1)</script> R&D / Café チーム {{7*7}} 🚀 NA'
FONTS = [
    str(Path(find_spec("font_source_sans_pro").submodule_search_locations[0]) / "files"),
    find_spec("noto_cjk_sans_otc").submodule_search_locations[0],
    str(Path(mpl.get_data_path()) / "fonts" / "ttf"),
]


LAB = SimpleNamespace(
    name="Lab & Co",
    timezone=ZONE,
    business_hours=BusinessHours(),
    as_of=datetime(2023, 4, 2, 1, 15, tzinfo=UTC),
    source=None,
)


@pytest.fixture
def report(monkeypatch):
    """The MIME bundles of a report about one team, or about a team without any usage; its marker is last."""

    def show(*, used: bool = True, names: str = "", team: str = "Payments"):
        monkeypatch.setattr(base, "_shown", set())
        hours, months, devices, models = (
            frame if used else frame.iloc[:0] for frame in (_hours(), _months(), _groups(names), _groups("m"))
        )
        daily = daily_hours(hours, month=MONTH, timezone=ZONE)
        week = weekday_hour_profile(hours, month=MONTH, timezone=ZONE)
        tiles = kpis(months, months.iloc[:0], month=MONTH)
        query = UsageQuery(
            by="team", start=date(2023, 2, 1), end=date(2023, 3, 31), filters=(("team_name", (team,)),)
        )
        shown = [
            figures.header(LAB, team=team, month=MONTH),
            figures.lead("A sentence."),
            figures.tiles(tiles, month=MONTH),
            figures.daily_chart(daily, month=MONTH),
            figures.heatmap(week, month=MONTH, timezone=ZONE, business=LAB.business_hours),
            figures.ranking(top_rows(devices, "device_address"), title="Devices", month=MONTH),
            figures.ranking(top_rows(models, "device_address"), title="Models", month=MONTH),
            figures.definitions(LAB, month=MONTH),
            figures.reproduce(SimpleNamespace(queries=(query,)), team=team, month=MONTH),
        ]
        bundles = [figure._repr_mimebundle_() for figure in shown]
        total = tiles[0].value
        marker = figures.complete(LAB, template="team_month", team=team, month=MONTH, total_hours=total)
        return [*bundles, marker._repr_mimebundle_()]

    return show


def _hours():
    stamps = pd.date_range("2023-02-01", "2023-04-01", freq="h", tz=ZONE, inclusive="left")
    busy = np.random.default_rng(1).gamma(2, 0.4, len(stamps)) * (stamps.day_of_week < 5)
    return pd.DataFrame({"datetime": stamps, "total_time_hours": busy})[busy > 0]


def _months():
    stamps = pd.to_datetime([f"{m}-01" for m in trailing_months(MONTH)])
    hours = np.linspace(200, 400, 13)
    counts = {"session_count": range(300, 313), "user_count": range(20, 33)}
    return pd.DataFrame({"datetime": stamps, "total_time_hours": hours, **counts})


def _groups(names):
    addresses = [f"{names}{i:02d}@host-{i}.example.com" for i in range(14)]
    return pd.DataFrame({"device_address": addresses, "total_time_hours": range(14)})


def compile_pdf(codes: list[str]) -> PdfReader:
    head = '#set page(paper: "a4")\n#set document(title: [x])\n#set text(lang: "en", '
    head += 'font: ("Source Sans Pro", "Noto Sans CJK JP", "DejaVu Sans"))\n'
    source = "\n\n".join([head, figures.components_source(), "= Report", *codes])
    pdf = typst.compile(source.encode(), font_paths=FONTS, ignore_system_fonts=True, pdf_standards=["ua-1"])
    return PdfReader(io.BytesIO(pdf))


def squeezed(text: str) -> str:
    return re.sub(r"\s|\u200b", "", text)


def structure(reader: PdfReader) -> list[tuple[str, str]]:
    """(tag, alt text) of every element of a tagged PDF."""
    found, queue = [], [reader.trailer["/Root"]["/StructTreeRoot"]]
    while queue:
        node = queue.pop().get_object()
        if isinstance(node, list):
            queue += node
        elif isinstance(node, dict):
            found.append((str(node.get("/S", "")), str(node.get("/Alt", ""))))
            queue += [node["/K"]] if "/K" in node else []
    return found


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=100, max_size=150))
def test_typst_string_round_trips(texts):
    """Any text comes back from Typst as it was; halves of surrogate pairs, which no file holds, as U+FFFD."""
    texts += [HOSTILE, "\\", '"', "\\u{41}", "\r\n\t\x00\x7f\x85", '")#panic()', "\ud800x"]
    source = f"#metadata(({', '.join(map(typst_string, texts))},)) <x>"
    told = json.loads(typst.query(source.encode(), "<x>", field="value", one=True))
    assert told == [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_typst_json_round_trips(text):
    """Values travel to Typst as data: the JSON read there holds the same words."""
    source = f"#metadata({typst_json({'words': [text, None, 1.5]})}) <x>"
    told = json.loads(typst.query(source.encode(), "<x>", field="value", one=True))
    assert told == {"words": [printable(text), None, 1.5]}


def test_what_no_font_shows_is_visible():
    """Control characters, which PDF/UA refuses or readers do not see, are shown as U+FFFD; letters stay."""
    assert printable("a\tb\x00\x1b\ufffe\udc00") == "a b" + "\ufffd" * 4
    assert printable(HOSTILE) == HOSTILE
    strange = "".join(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0), 0xFFFF, 0x1FFFE, 0xE000, 0xAD]))
    assert compile_pdf([figures.lead(f"start{strange}end")._repr_mimebundle_()[TYPST_MIME]]).pages
    with pytest.raises(ValueError, match="JSON"):
        typst_json({"hours": float("nan")})


def test_hostile_names_are_text_on_the_page(report):
    """A hostile team and device name compile under PDF/UA-1 and come out letter by letter; nothing runs."""
    bundles = report(names=HOSTILE, team=HOSTILE)
    text = squeezed("".join(p.extract_text() for p in compile_pdf([b[TYPST_MIME] for b in bundles]).pages))
    assert text.count(squeezed(HOSTILE)) >= 11
    assert "root:" not in text


def test_hostile_names_are_text_on_the_screen(report):
    """The same names in HTML: no element of theirs, the words whole, template braces untouched."""
    html = "\n".join(b["text/html"] for b in report(names=HOSTILE, team=HOSTILE))
    page = BeautifulSoup(html, "html.parser")
    assert page.find("script") is None
    assert page.h1.get_text() == HOSTILE
    assert page.select_one(".uk-table tbody th bdi").get_text() == f"{HOSTILE}13"


def test_page_is_tagged(report):
    """Tables have header cells, charts are figures whose alt text tells the finding, the team is a heading."""
    tags = structure(compile_pdf([b[TYPST_MIME] for b in report()]))
    kinds = [tag for tag, _ in tags]
    assert kinds.count("/Table") == 2
    assert kinds.count("/TH") == 2 * 3
    assert "/H1" in kinds
    alts = [alt for tag, alt in tags if tag == "/Figure"]
    assert len(alts) == 2
    assert any("was the busiest day with" in alt for alt in alts)


def test_marker_counts_the_figures(report):
    """A report ends with its marker, which counts the figures and carries the hours as they are printed."""
    *shown, last = report(team="Café")
    kinds = [b[FIGURE_MIME]["kind"] for b in shown]
    assert kinds == [
        "header",
        "lead",
        "tiles",
        "daily-hours",
        "heatmap",
        "ranking",
        "ranking",
        "definitions",
        "reproduce",
    ]
    assert all(set(b) == {FIGURE_MIME, "text/html", TYPST_MIME} and b[FIGURE_MIME]["alt"] for b in shown)
    assert json.loads(json.dumps(last[REPORT_MIME])) == {
        "template": "team_month",
        "team": "Café",
        "month": MONTH,
        "title": "Café – March 2023",
        "lab": "Lab & Co",
        "timezone": ZONE,
        "as_of": "2023-04-02T01:15:00+00:00",
        "total_hours": 400.0,
        "figure_count": 9,
        "snapshot_sha256": None,
        "usagekit_version": version("usagekit"),
    }


def test_a_team_without_usage_gets_a_report(report):
    """Without any session every figure says so, on the screen and in a PDF that still compiles."""
    bundles = report(used=False)
    alts = [b[FIGURE_MIME]["alt"] for b in bundles[:-1]]
    assert sum("No usage in March 2023." in alt for alt in alts) == 4
    assert "Device hours 0\u00a0h (unchanged)" in alts[2]
    assert compile_pdf([b[TYPST_MIME] for b in bundles]).pages
    assert bundles[-1][REPORT_MIME]["total_hours"] == 0


def test_template_keeps_its_contract():
    """Parameters first, no functions, no SQL, no addresses or paths, no outputs, a plain Python kernel."""
    notebook = nbformat.read(TEMPLATE, 4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    assert [line.split(" = ")[0] for line in code[0].source.splitlines()] == [
        "team",
        "month",
        "snapshot",
        "paper",
    ]
    assert not any(c.outputs or c.execution_count for c in code)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code:
        assert not re.search(r"\bdef\b|\blambda\b|://|\.\./|\./|(?i:select .* from)|open\(", cell.source)


def test_charts_are_the_same_every_time(report):
    """The same numbers give the same bytes, without a date and whatever style the analyst prefers."""
    first = report()
    with mpl.style.context("dark_background"):
        second = report()
    assert first == second
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", "".join(b[TYPST_MIME] for b in first))


def test_charts_are_text_and_leave_no_trace(report, caplog):
    """Labels are real text; ids do not repeat on a page; the analyst's settings stay; no font is complained about."""
    before = dict(mpl.rcParams)
    with caplog.at_level(logging.WARNING):
        bundles = report()
    assert caplog.messages == []
    assert dict(mpl.rcParams) == before
    html = "\n".join(b["text/html"] for b in bundles)
    page = BeautifulSoup(html, "html.parser")
    assert {"Mon", "23", "weekend"} <= {t.get_text().strip() for t in page.find_all("text")}
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert "var(--ink" in html


def test_cells_that_do_not_exist_are_not_zero():
    """In the heatmap an hour that the month does not have is hatched and null, not zero."""
    profile = pd.DataFrame(np.full((7, 24), 0.5))
    profile.iat[6, 2] = np.nan
    profile.iat[0, 3] = 0
    shown = figures.heatmap(profile, month=MONTH, timezone=ZONE)
    cells = shown.content["mean_devices_busy"]
    assert (cells[6][2], cells[0][3], cells[0][0]) == (None, 0, 0.5)
    assert shown.html.count(">0.5<") == 7 * 24 - 2


def test_tiles_show_missing_values():
    """A missing figure is – with its reason and a dot in the columns; a zero is a column of height 0."""
    usage = pd.DataFrame({"datetime": pd.to_datetime(["2023-02-01"]), "total_time_hours": [40.0]})
    shown = figures.tiles(kpis(usage, None, month=MONTH), month=MONTH)
    hours, users = shown.content["tiles"][:2]
    assert (hours["number"], hours["unit"], hours["columns"][-2:]) == ("0", "h", [1, 0])
    assert (users["number"], users["columns"]) == ("–", [None] * 13)
    assert "not recorded or not fetched" in shown.html


def test_components_match():
    """Every component exists in both dresses, and each figure calls one that exists."""
    typ = set(re.findall(r"^#let uk-([\w-]+)\(d[,)]", figures.components_source(), re.MULTILINE))
    html = set(re.findall(r"{% macro (\w+)\(d\)", base.source("components.html.j2")))
    assert typ | {"pair"} == html  # a pair holds figures, which are source already
    assert len(typ) >= 13


def test_figures_cost_nothing_to_import():
    """Importing the package loads neither matplotlib nor pandas."""
    code = "import sys, usagekit.figures as f; f.components_source(); print({'matplotlib','pandas','jinja2'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="nothing"):
        _ = figures.nothing
