"""The figures of the reports: each says its finding, keeps its numbers, and survives any name and any gap."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd
import pypdfium2 as pdfium
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from usagekit import figures
from usagekit.analysis.capacity import right_size
from usagekit.analysis.concurrency import business_spells, busy_steps, duration_curve, level
from usagekit.analysis.finding import change_split
from usagekit.analysis.forecast import Forecast
from usagekit.analysis.kpis import kpis
from usagekit.analysis.shape import top_rows
from usagekit.analysis.trust import Part, judged_parts
from usagekit.errors import QueryError, SchemaError
from usagekit.export.blocks import Document
from usagekit.export.blocks import Figure as Block
from usagekit.export.compiler import compile_pdf
from usagekit.export.page import page_html
from usagekit.figures import Column, base, table
from usagekit.figures.tables import MAX_ROWS
from usagekit.period import BusinessHours, parse_month, trailing_months
from usagekit.query import EventsQuery, UsageQuery

MONTH, ZONE = "2026-10", "Europe/Berlin"
NAMES = [
    'x#read("/etc/passwd")<script>alert(1)</script>',
    "R&D / Café",
    "NA",
    "チーム",
    "فريق",
    "long " * 40 + "end",
    "{{7*7}} $x$ \\ ]",
]
COLUMNS = [
    Column("Team", "text", "team"),
    Column("Hours", "bar", "hours"),
    Column("Change", "change", "change"),
    Column("13 months", "spark", "history"),
    Column("Note", "note", "note"),
]
LAB = SimpleNamespace(
    name="Lab & Co",
    timezone=ZONE,
    as_of=datetime(2026, 11, 2, 6, tzinfo=UTC),
    business_hours=BusinessHours(),
)


def teams(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "team": names,
            "hours": [100.0 / (n + 1) for n in range(len(names))],
            "change": ["+30%", *["−3 h"] * (len(names) - 1)],
            "history": [(None, 0.0, 2.0)] * len(names),
            "note": names,
        }
    )


def pdf(*shown: figures.Figure, paper: str = "a4") -> PdfReader:
    blocks = [Block(f.html, f.typst, f.alt, f.kind) for f in shown]
    document = Document(title="Report", shows_title=True, blocks=blocks, paper=paper)
    return PdfReader(io.BytesIO(compile_pdf(document)))


def copied(reader: PdfReader) -> str:
    """The text as a viewer copies it, invisible characters included: pypdf alone would leave them out."""
    reader.stream.seek(0)
    with pdfium.PdfDocument(reader.stream.read()) as document:
        pages = [page.get_textpage().get_text_range() for page in document]
    # What U+FFFE stands for in PDFium is a hyphen at the end of a line.
    return "\n".join(pages).replace("\r\n", "\n").replace("\ufffe", "-")


def words(reader: PdfReader) -> str:
    return re.sub(r"\s|\u200b", "", "".join(page.extract_text() for page in reader.pages))


def soup(figure: figures.Figure) -> BeautifulSoup:
    return BeautifulSoup(base.bare_html(figure), "html.parser")


def trust(apart: float = 0.0) -> pd.DataFrame:
    parts = [Part("teams", 100.0 * (1 + apart)), Part("users", 100.0), Part("events", None)]
    return judged_parts("current", parse_month(MONTH), total=100.0, parts=parts)


def test_table_on_the_screen():
    """One table as HTML: heads, row heads, bar, sign and word, gap and zero, a muted row, a total, a footnote."""
    frame = teams(["A", "no team"]).assign(muted=[False, True], note=["", None])
    shown = table(frame, COLUMNS, title="Teams", total={"team": "All", "hours": 150.0}, notes=["a note"])
    page = soup(shown)
    assert [th.get_text() for th in page.thead.find_all("th")] == [c.title for c in COLUMNS]
    rows = [
        [" ".join(c.get_text().split()) for c in tr.find_all(["th", "td"])] for tr in page.find_all("tr")[1:]
    ]
    assert rows == [
        ["A", "100 h", "▲ +30%", "", ""],
        ["no team", "50.0 h", "▼ −3 h", "", ""],
        ["All", "150 h", "", "", ""],
    ]
    assert [tr.get("class") for tr in page.find_all("tr")] == [None, None, ["uk-muted"], ["uk-total"]]
    assert [i["style"] for i in page.find_all("i")] == ["left:0;width:100.0%"]
    assert [float(r["height"]) for r in page.tbody.tr.find_all("rect")] == [2, 1, 25]
    assert page.select_one("p.uk-note").get_text() == "a note"


def test_table_on_paper():
    """The same table as Typst: one call of one function, with nothing but data."""
    shown = table(teams(["A"])[["team"]], [Column("Team", "text", "team")], title="Teams")
    told = json.loads(json.loads(shown.typst.removeprefix("#uk-table(json(bytes(").removesuffix(")))")))
    assert told == {
        "title": "Teams",
        "caption": "",
        "columns": [{"title": "Team", "look": "text"}],
        "rows": [{"muted": False, "cells": [{"text": "A"}]}],
        "total": [],
        "notes": [],
        "kept": True,
    }


def test_tables_scroll_in_their_own_box():
    """On a phone a table and a chart scroll alone; the box can be reached by keyboard and has a name."""
    for shown in (table(teams(["A"]), COLUMNS, title="Teams"), curve_chart()):
        box = soup(shown).select_one(".uk-scroll")
        assert box["tabindex"] == "0"
        assert box["role"] in ("group", "img")
        assert box["aria-label"]


def test_every_kind_of_value():
    """Each kind of column writes its values as readers read them; what is missing is a dash."""
    when = pd.Timestamp("2026-10-04 09:30", tz=ZONE)
    values = {
        "device": ("007@a@host", "007@a@host"),
        "count": (12345, "12\u202f345"),
        "hours": (0.02, "<0.1\u00a0h"),
        "minutes": (125.0, "2\u202fh\u202f05"),
        "percent": (0.002, "<1%"),
        "change": (-12.5, "▼ −12.5\u00a0h"),
        "percent_bar": (0.5, "50%"),
        "money": (1234.5, "1\u202f234.50"),
        "time": (when, "4\u00a0Oct\u00a02026, 09:30"),
        "badge": ("amber", "▲ amber"),
    }
    frame = pd.DataFrame(
        {kind: pd.Series([value, None], dtype=object) for kind, (value, _) in values.items()}
    )
    page = soup(table(frame, [Column(kind, kind, kind) for kind in values], title="Kinds"))
    first, second = (
        [re.sub(r"[ \n]+", " ", c.get_text()).strip() for c in tr.find_all(["th", "td"])]
        for tr in page.tbody.find_all("tr")
    )
    assert first == [text for _, text in values.values()]
    assert second == ["–"] * len(values)


def test_numbers_behind_a_table():
    """Beside the picture a table keeps its numbers: exact, by the frame's columns, missing as None, total last."""
    frame = teams(["A", "B"]).assign(hours=[1 / 3, np.nan])
    shown = table(frame, COLUMNS[:2], title="Teams & co", total={"hours": 1 / 3})
    behind = shown.content["table"]
    assert behind == {
        "name": "teams-co",
        "columns": ["team", "hours"],
        "rows": [["A", 1 / 3], ["B", None], [None, 1 / 3]],
    }
    pair = figures.side_by_side(shown, figures.side_by_side(shown, figures.missing("x")))
    assert list(base.tables(json.loads(json.dumps(pair.content)))) == [behind, behind]


def test_no_rows_no_data_and_no_column_differ():
    """Nothing to list, not fetched, and a frame that is wrong are three different things."""
    none, lost = table(teams(["A"]).iloc[:0], COLUMNS, title="Idle"), table(None, COLUMNS, title="Idle")
    assert (none.kind, none.alt, none.content["table"]["rows"]) == ("empty", "Idle: none.", [])
    assert (lost.kind, lost.alt) == ("missing", "Idle: not available (could not be fetched).")
    with pytest.raises(SchemaError, match="history, note"):
        table(teams(["A"])[["team", "hours", "change"]], COLUMNS, title="Idle")
    text = words(pdf(none, lost))
    assert "IdleNone." in text
    assert "Notavailable:couldnotbefetched." in text


def test_long_tables_repeat_their_head_and_lose_nothing():
    """A table over several pages has its head on each; beyond the limit the rest is one row, and kept as numbers."""
    shown = table(teams([f"team-{n}" for n in range(MAX_ROWS + 7)]), COLUMNS, title="Teams")
    reader = pdf(shown)
    assert len(reader.pages) >= 2
    assert all("13 months" in page.extract_text() for page in reader.pages)
    text = words(reader)
    assert f"team-{MAX_ROWS - 1}" in text
    assert f"team-{MAX_ROWS}" not in text
    assert "7more" in text
    assert len(shown.content["table"]["rows"]) == MAX_ROWS + 7


def test_rows_beyond_the_limit_add_up():
    """The row of the others has sums where they are true, nothing where they are not, and – where one is missing."""
    frame = pd.DataFrame(
        {
            "team": ["A", "B", "C", "no team"],
            "total_time_hours": [50.0, 30.0, 15.0, 5.0],
            "share": [0.5, 0.3, 0.15, 0.05],
            "cost": [Decimal("5.00"), Decimal("3.01"), Decimal("1.50"), Decimal("0.50")],
            "change_hours": [1.0, 2.0, None, 0.0],
            "user_count": [9, 8, 7, 1],
            "automation_share": [0.1, 0.2, 0.3, 0.0],
            "muted": [False, False, False, True],
        }
    )
    kinds = ("text", "bar", "percent", "money", "change", "count", "percent")
    columns = [Column(key, kind, key) for key, kind in zip(frame.columns, kinds, strict=False)]
    shown = table(frame, columns, title="Teams", limit=1)
    rows = [[c["text"] for c in row["cells"]] for row in shown.content["rows"]]
    assert [row[0] for row in rows] == ["A", "2 more", "no team"]
    assert rows[1] == ["2 more", "45.0\u00a0h", "45%", "4.51", "–", "", ""]
    assert [row["muted"] for row in shown.content["rows"]] == [False, True, True]
    assert len(shown.content["table"]["rows"]) == 4
    assert "4 rows" in shown.alt
    assert len(table(frame, columns, title="Teams", limit=3).content["rows"]) == 4


def test_what_all_hosts_end_in_is_said_once():
    """Host names lose what they share, a note has it, files keep it; a single host and addresses stay whole."""
    columns = [Column("Device", "device", "address"), Column("Host", "host", "host")]

    def show(*hosts: str) -> figures.Figure:
        return table(
            pd.DataFrame({"address": [f"1@{h}" for h in hosts], "host": hosts}), columns, title="Devices"
        )

    shown = show("a-1.example.com", "b.example.com")
    assert [c.get("detail", c["text"]) for c in shown.content["rows"][0]["cells"]] == ["@a-1", "a-1"]
    assert shown.content["notes"] == ["Hosts end in .example.com."]
    assert shown.content["table"]["rows"][1] == ["1@b.example.com", "b.example.com"]
    for whole in (
        ("a.example.com",) * 2,
        ("10.0.0.5", "10.0.1.5"),
        ("a.example.com", "example.com"),
        ("a", "b"),
    ):
        kept = show(*whole)
        assert [row["cells"][1]["text"] for row in kept.content["rows"]] == list(whole) or whole[
            1
        ] == "example.com"
        assert bool(kept.content["notes"]) == (whole[1] == "example.com")


def test_a_device_and_its_host_share_a_line_where_they_fit():
    """Across a page an address stands on one line; in half of it the host is below the device, whole."""
    frame = pd.DataFrame(
        {
            "address": ["00008110-8066FA65C1DA6B62@lab-us-sf-01.x", "R5CLM877XSW@lab-de-be-02.x"],
            "total_time_hours": [42.1, 1.0],
            "share": [0.9, 0.1],
        }
    )
    columns = [
        Column("Device", "device", "address"),
        Column("Hours", "bar", "total_time_hours"),
        Column("Share", "percent", "share"),
    ]
    shown = table(frame, columns, title="Devices")
    wide = copied(pdf(shown))
    assert "00008110-8066FA65C1DA6B62@lab-us-sf-01" in wide
    narrow = copied(pdf(figures.side_by_side(shown, shown)))
    assert "00008110-8066FA65C1DA6B62\n@lab-us-sf-01" in narrow


def test_what_is_copied_from_the_pdf_is_what_stands_there():
    """Device ids and requests have no invisible characters, whether they fit or break; headings are bookmarks."""
    device = "00008110-8066FA65C1DA6B62@lab-us-sf-1.example.com"
    endless = f"{'A1' * 120}@{'b' * 90}.example.com"
    first, last = parse_month(MONTH).start, parse_month(MONTH).end
    query = UsageQuery(
        start=first, end=last, by="device", filters=(("team_name", ("Payments",)),), timezone=ZONE
    )
    made = pdf(
        figures.suggestions([f"Check {device}: 44 of 311 sessions end within 60 s.", f"Check {endless}."]),
        figures.reproduce(SimpleNamespace(queries=(query,)), team="Payments", month=MONTH),
        figures.facts([(device, "1", endless)]),
        figures.side_by_side(figures.facts([(device, "1", "")]), figures.notes([endless])),
    )
    text = copied(made)
    assert "\u200b" not in text
    assert f"Check {device}: 44" in text
    (line,) = (line for line in text.splitlines() if line.startswith("GET "))
    asked = urlencode(query.to_params(), quote_via=quote, safe="/@")
    assert line == f"GET {query.route.path}?{asked}"
    joined = text.replace("\n", "")
    assert joined.count(endless) == 3
    assert joined.count(device) == 3
    title, below = made.outline
    assert (title.title, [e.title for e in below]) == ("Report", ["Worth doing", "How to reproduce"])


def test_any_name_stands_in_every_figure():
    """Hostile, long and foreign names are shown letter by letter, in HTML as text and in the PDF as text."""
    models = pd.DataFrame({"device_model": NAMES, "owned": 4, "used": 3, "total_time_hours": 9.0, "peak": 2})
    models = models.assign(needed_99=2, spare=2, sold_out_minutes=1.0, handoffs=0)
    top = pd.DataFrame({"device_model": NAMES, "total_time_hours": range(1, len(NAMES) + 1)})
    shown = [
        table(teams(NAMES), COLUMNS, title=NAMES[0], caption=NAMES[0], notes=NAMES),
        figures.right_size_chart(models),
        figures.ranking(top_rows(top, "device_model"), title="Models", month=MONTH),
        figures.suggestions(NAMES),
        figures.facts([(name, name, name) for name in NAMES]),
        figures.notes(NAMES),
        figures.missing(NAMES[0], NAMES[0]),
    ]
    html = page_html(Document(title="x", blocks=[Block(f.html, f.typst, f.alt) for f in shown]))
    page = BeautifulSoup(html, "html.parser")
    assert page.find("script") is None
    assert all(page.get_text().count(name) >= 8 for name in NAMES)
    text = words(pdf(*shown))
    assert "root:" not in text
    # Readers of PDFs put letters from right to left in either order.
    assert all(text.count(re.sub(r"\s", "", name)) >= 8 for name in NAMES if name != "فريق")


def test_a_name_longer_than_a_page_is_there():
    """Ten thousand characters break over pages instead of running off the first one."""
    name = 10_000 * "ж"
    text = words(pdf(table(teams([name, "B"])[["team", "hours"]], COLUMNS[:2], title="Teams")))
    assert text.count("ж") == 10_000


def test_bridge_adds_up():
    """The steps of the bridge join end to end, and a fall is hatched, signed and written as a fall."""
    split = change_split([310.0, 250.0], [31, 20], [620, 610])
    shown = figures.bridge(split, before=310.0, after=250.0, month=MONTH)
    steps = shown.content["table"]["rows"]
    assert steps[0] == ["September 2026", 310.0]
    assert sum(hours for _, hours in steps[:-1]) == pytest.approx(steps[-1][1])
    marks = [row["cells"][2]["marks"][0] for row in shown.content["rows"]]
    assert [look for _, _, look in marks] == ["past", "less", "now", "less"]
    assert marks[1][1] == marks[0][1]  # the fall starts where September ends
    assert "users −122\u00a0h" in shown.alt


def test_bridge_without_a_split():
    """Without factors the plain difference is shown; without a month to compare with, that there is none."""
    plain = figures.bridge({}, before=0.0, after=25.0, month=MONTH)
    assert [row[0] for row in plain.content["table"]["rows"]] == [
        "September 2026",
        "Difference",
        "October 2026",
    ]
    lost = figures.bridge({}, before=None, after=25.0, month=MONTH)
    assert lost.alt == "What moved the hours: not available (no comparable hours of September 2026)."
    assert figures.bridge({}, before=0.0, after=0.0, month=MONTH).kind == "empty"
    below = figures.bridge(
        {"users": -691.0, "sessions per user": 691.0}, before=300.0, after=300.0, month=MONTH
    )
    assert all(0 <= at <= 1 for r in below.content["rows"] for at in r["cells"][2]["marks"][0][:2])


@pytest.mark.parametrize(("apart", "badge"), [(0.0, "green"), (0.03, "amber"), (0.2, "red")])
def test_header_says_whether_the_numbers_add_up(apart, badge):
    """The badge is a shape, a word and a number, and the alternative text has it too."""
    shown = figures.header(LAB, team="Payments", month=MONTH, trust=trust(apart))
    sign = {"green": "●", "amber": "▲", "red": "■"}[badge]
    line = " ".join(soup(shown).select_one(".uk-trust").get_text().split())
    assert line.startswith(
        f"{sign} Numbers {'do not reconcile' if badge == 'red' else 'reconcile'}: {badge} · "
    )
    assert (f"{100 * apart:.1f}%" if apart else "within 0%") in line
    assert line.endswith("1 of 3 checks not possible")
    assert line.removeprefix(f"{sign} ") in shown.alt
    assert f"Numbers{'donot' if badge == 'red' else ''}reconcile:{badge}" in words(pdf(shown))


def test_header_of_a_lab_and_of_part_of_a_month():
    """Without a team the report is about the lab, and a running month has the title that it is given."""
    shown = figures.header(LAB, team=None, month=MONTH, title="1–14 Oct (partial)")
    assert (shown.content["team"], shown.content["month"]) == ("Lab & Co", "1–14 Oct (partial)")
    assert soup(shown).select_one(".uk-trust") is None
    assert figures.trust_words(None) == ("missing", "Numbers not checked")


def test_trust_panel_shows_every_way():
    """Each way to add up has its row; one that could not be asked is missing, not zero."""
    shown = figures.trust_panel(trust(0.2), notes=["events: 403 Forbidden"])
    rows = [
        [" ".join(c.get_text().split()) for c in tr.find_all(["th", "td"])]
        for tr in soup(shown).tbody.find_all("tr")
    ]
    assert [row[0] for row in rows] == ["Teams", "Users", "Events"]
    assert [row[-1] for row in rows] == ["■ red", "● green", "– missing"]
    assert (rows[2][1], rows[0][2], rows[0][3]) == ("–", "▲ +20.0 h", "20.0%")
    assert "The total is 100\u00a0h." in shown.content["caption"]
    behind = shown.content["table"]
    assert behind["rows"][2][behind["columns"].index("sum_hours")] is None
    assert figures.trust_panel(None).kind == "missing"


def test_tiles_compare_with_last_year():
    """A tile says the change on the year; where nothing compares it says n/a and the note why."""
    months = pd.to_datetime([f"{m}-01" for m in trailing_months(MONTH)])
    usage = pd.DataFrame({"datetime": months, "total_time_hours": np.linspace(200, 400, 13)})
    tiles = kpis(usage.assign(session_count=range(300, 313)), None, month=MONTH)
    shown = figures.tiles([*tiles, *tiles[:3]], month=MONTH)
    hours, users = shown.content["tiles"][:2]
    assert hours["year"] == {"sign": "▲", "text": "+100%"}
    assert users["year"] is None or users["year"]["text"] == "n/a"
    assert "year on year against October 2025" in shown.content["note"]
    assert words(pdf(shown)).count("+100%yearonyear") == 2


def test_eight_tiles_are_two_low_rows():
    """Eight tiles take two rows of at most 26 mm; what all of them lack is said in the note alone."""
    months = pd.to_datetime([f"{m}-01" for m in trailing_months("2023-03")])[-6:]
    usage = pd.DataFrame({"datetime": months, "total_time_hours": np.linspace(2000, 4000, 6)})
    tiles = kpis(usage.assign(session_count=range(300, 306), user_count=9), None, month="2023-03")
    shown = figures.tiles([*tiles[:4], *tiles[:4]], month="2023-03")
    assert [t["year"] for t in shown.content["tiles"]] == [None] * 8
    assert "Nothing comparable in March 2022." in shown.content["note"]
    assert "year on year" not in shown.html
    heights: list[float] = []
    page = pdf(shown).pages[0]
    page.extract_text(
        visitor_text=lambda text, cm, tm, *_: (
            heights.append(tm[5] * cm[3] + cm[5]) if "Device" in text else None
        )
    )
    assert len(heights) == 2
    assert heights[0] - heights[1] < 26 / 25.4 * 72


def test_daily_chart_marks_holidays():
    """Holidays of the month are hatched and named in the legend, those of other months are not."""
    days = pd.date_range("2026-10-01", "2026-10-31")
    daily = pd.DataFrame({"date": days, "total_time_hours": 2.0, "previous_hours": 1.0})
    daily = daily.assign(weekend=days.day_of_week >= 5)
    daily.loc[20:, "total_time_hours"] = np.nan  # still to come
    for day, told in ((date(2026, 10, 14), True), (date(2026, 11, 14), False)):
        shown = figures.daily_chart(daily, month=MONTH, business=BusinessHours(holidays=(day,)))
        labels = [t.get_text().strip() for t in soup(shown).find_all("text")]
        assert ("holiday" in labels) is told
    assert "no day without usage" in shown.content["caption"]
    assert shown.content["table"]["rows"][25] == ["2026-10-26T00:00:00", None, 1.0]
    assert figures.daily_chart(None, month=MONTH).kind == "missing"


def test_heatmap_outlines_what_was_sold_out():
    """Cells with sold-out minutes get an outline and a legend; the rest is as without."""
    profile = pd.DataFrame(np.full((7, 24), 0.5))
    scarce = pd.DataFrame(np.zeros((7, 24)))
    plain = figures.heatmap(profile, month=MONTH, timezone=ZONE, sold_out=scarce)
    assert "No model was sold out." in plain.content["caption"]
    scarce.iloc[1, 10:13] = [3.0, 12.4, 1.0]
    shown = figures.heatmap(profile, month=MONTH, timezone=ZONE, sold_out=scarce)
    assert "Sold out longest on Tuesdays from 11:00, 12\u00a0min on average." in shown.content["caption"]
    assert shown.html.count("<path") - plain.html.count("<path") == 3 + 1  # cells and swatch
    assert "some model sold out" in shown.html
    assert shown.content["table"]["rows"][24 + 11] == ["Tuesday", 11, 0.5, 12.4]


def sessions() -> pd.DataFrame:
    """Three phones in use on Monday 5 October 2026 from 8:00 (Berlin) on, one more each hour, all until 12:00."""
    starts = pd.to_datetime([f"2026-10-05 0{hour}:00" for hour in (6, 7, 8)], utc=True)
    frame = pd.DataFrame(
        {"device_address": ["1@a", "2@a", "3@a"], "start": starts, "automated": False, "team": None}
    )
    return frame.assign(end=pd.Timestamp("2026-10-05 10:00", tz="UTC"), email=["a@x", "b@x", "c@x"])


def curve_chart(**asked) -> figures.Figure:
    spells = business_spells(MONTH, ZONE, BusinessHours())
    curve = duration_curve(busy_steps(sessions()), spells)
    levels = {share: level(curve, share) for share in (0.95, 0.99)}
    return figures.duration_curve_chart(curve, owned=4, levels=levels, **asked)


def test_duration_curve_of_real_sessions():
    """The curve tells the levels, the peak and what is owned; drawn for half a page its letters keep their size."""
    shown = curve_chart()
    assert shown.content["caption"] == (
        "Enough devices: 0 in 95% and 2 in 99% of the business minutes; at most 3 were busy, 4 are owned."
    )
    assert shown.content["table"]["columns"] == ["devices", "minutes", "share"]
    whole, half = (
        float(re.search(r'viewBox="0 0 ([\d.]+)', f.html)[1]) for f in (shown, curve_chart(half=True))
    )
    assert half == pytest.approx(whole * 83 / 174, rel=0.01)
    assert ">owned 4<" in shown.html


def test_right_size_of_a_real_fleet():
    """Owned, used, needed and peak of each model; beyond twelve models the rest is counted and added up."""
    fleet = pd.DataFrame({"device_address": ["1@a", "2@a", "3@a", "4@a"], "device_model": "Pixel 8"})
    others = pd.DataFrame(
        {
            "device_address": [f"{n}@b" for n in range(14)],
            "device_model": [f"m{n:02}" for n in range(13)] + [None],
        }
    )
    models = right_size(
        sessions(), pd.concat([fleet, others]), spells=business_spells(MONTH, ZONE, BusinessHours())
    )
    shown = figures.right_size_chart(models)
    first, *_, more, unknown = shown.content["rows"]
    assert [c.get("text") for c in first["cells"]] == [
        "Pixel 8",
        None,
        "4",
        "3",
        "9.0\u00a0h",
        "3",
        "2",
        "2",
        "0\u00a0min",
        "0",
    ]
    assert first["cells"][1]["marks"] == [
        [0, 0.75, "past"],
        [0, 0.5, "now"],
        [0, 1, "outline"],
        [0.75, 0.75, "tick"],
    ]
    assert [c.get("text") for c in more["cells"]][:4] == ["2 more", None, "2", "0"]
    assert [c.get("text") for c in unknown["cells"]][:4] == ["model not known", None, "1", "0"]
    assert len(shown.content["rows"]) == 12 + 2
    assert len(shown.content["table"]["rows"]) == len(models) == 15
    assert "Pixel 8: 2 of 4 would have done in 99% of the business minutes." in shown.alt


def test_session_mix_and_forecast():
    """The mix names its largest part; the forecast draws its band, and says when there is too little to go by."""
    mix = pd.DataFrame(
        {
            "bucket": ["<1 min", "1–10 min"],
            "sessions": [1, 3],
            "share": [0.25, 0.75],
            "total_time_hours": [0.0, 0.4],
        }
    )
    assert figures.session_mix_chart(mix, month=MONTH).alt == (
        "Sessions by length in October 2026: 75% of the sessions took 1–10 min."
    )
    assert figures.session_mix_chart(mix.iloc[:0], month=MONTH).kind == "empty"
    coming = Forecast("2026-11", 388.0, 350.0, 431.0, "18.5 h per business day")
    shown = figures.forecast_chart(coming, history=[None, 300.0, 402.0], month=MONTH)
    assert (
        shown.content["caption"]
        == "November 2026: 388\u00a0h, between 350–431\u00a0h (18.5 h per business day)."
    )
    assert shown.content["table"]["rows"] == [
        ["2026-08", None, None, None],
        ["2026-09", 300.0, None, None],
        ["2026-10", 402.0, None, None],
        ["2026-11", 388.0, 350.0, 431.0],
    ]
    lost = figures.forecast_chart(None, history=[1.0], month=MONTH)
    assert "fewer than four months" in lost.alt


def test_many_checks_stand_in_two_halves():
    """More than six ways to add up are two tables in one figure, with one table behind it."""
    parts = [Part(f"way {n}", 100.0) for n in range(9)]
    rows = judged_parts("current", parse_month(MONTH), total=100.0, parts=parts)
    shown = figures.trust_panel(rows, notes=["a note"])
    assert (shown.kind, len(shown.content["rows"])) == ("trust", 9)
    assert [len(t.find_all("tr")) for t in soup(shown).find_all("tbody")] == [5, 4]
    assert [len(behind["rows"]) for behind in base.tables(shown.content)] == [9]
    text = words(pdf(shown))
    assert [text.count(w) for w in ("Donumbersaddup?", "Way8", "anote")] == [0, 1, 1]
    assert text.count("Dothenumbersaddup?") == 1


def test_the_header_names_the_holidays_of_its_month():
    """Days of this month on which the lab would be open stand with the business hours; others do not."""
    days = (date(2023, 4, 3), date(2023, 4, 6), date(2023, 4, 8), date(2023, 12, 25))
    lab = SimpleNamespace(**{**vars(LAB), "business_hours": BusinessHours(holidays=days)})

    def told(month: str) -> str:
        return dict(figures.header(lab, team="A", month=month).content["facts"])["Business hours"]

    assert told("2023-04") == "Mon-Fri 08:00-18:00, without 3 and 6 April"
    assert told("2023-12") == "Mon-Fri 08:00-18:00, without 25 December"
    assert told("2023-05") == "Mon-Fri 08:00-18:00"


def test_requests_that_differ_in_one_thing_share_a_line():
    """Metrics, automated or not, and ends of the path are gathered; everything else is a line of its own."""

    def asked(by: str = "team", **more: object) -> UsageQuery:
        return UsageQuery(by=by, start=date(2026, 10, 1), end=date(2026, 10, 31), bin_size="month", **more)

    queries = [asked(), asked(metric="session_count"), asked(automated=True), asked(automated=False)]
    queries += [asked("device"), asked("user"), asked("device", display_all=True), asked()]
    shown = figures.reproduce(SimpleNamespace(queries=tuple(queries)), team='R&D "x"', month=MONTH)
    assert shown.content["requests"] == [
        "GET /v1/usage/team?  metric = total_time, session_count",
        "GET /v1/usage/team?metric=total_time  automated = true, false",
        "GET /v1/usage/{device,user}?metric=total_time",
        "GET /v1/usage/device?metric=total_time&display_all=true",
        "each with &start_date=20261001&end_date=20261031&timezone=UTC&bin_size=month",
    ]
    alone = figures.reproduce(SimpleNamespace(queries=(queries[0],)), team=None, month=MONTH)
    assert alone.content["requests"] == [
        "GET /v1/usage/team?start_date=20261001&end_date=20261031&metric=total_time&timezone=UTC&bin_size=month"
    ]
    sessions = SimpleNamespace(queries=(EventsQuery(start=date(2026, 7, 31), end=date(2026, 10, 31)),))
    users = SimpleNamespace(queries=(asked("user"),), each="filter_on.team_name = each team")
    pair = (asked("device"), asked("devicemodel"))
    devices = SimpleNamespace(queries=pair, each="filter_on.device_address = all, 100 at once")
    whole = figures.reproduce(
        users, SimpleNamespace(queries=(queries[0],)), devices, sessions, team=None, month=MONTH
    )
    assert whole.content["requests"] == [
        *alone.content["requests"],
        'GET /v0/usage/events {"start_date": "20260731", "end_date": "20261031"}',
        (
            "GET /v1/usage/user?metric=total_time  filter_on.team_name = each team; "
            "GET /v1/usage/{device,devicemodel}?metric=total_time  filter_on.device_address = all, 100 at once; "
            "each with &start_date=20261001&end_date=20261031&timezone=UTC&bin_size=month"
        ),
    ]
    assert "--team 'R&D \"x\"'" in shown.content["command"]
    assert shown.content["requests"][3] in soup(shown).get_text()


@pytest.mark.parametrize("kind", ["team", "lab"])
def test_definitions_are_short_and_of_the_report(kind):
    """Each meaning has at most twenty words; the lab's terms are in its report alone; more can be told."""
    shown = figures.definitions(LAB, month=MONTH, kind=kind, more={NAMES[0]: NAMES[3]})
    terms = dict(shown.content["terms"])
    assert len(terms) == len(shown.content["terms"])
    assert all(len(re.findall(r"[^\s]*\w[^\s]*", text)) <= 20 for text in terms.values())
    assert ("Showback, unused" in terms) is (kind == "lab")
    assert "745 hours in Europe/Berlin" in terms["Device hours"]
    text = words(pdf(shown))
    assert all(re.sub(r"\s", "", f"{term}.{meaning}") in text for term, meaning in terms.items())
    with pytest.raises(QueryError, match="kind"):
        figures.definitions(LAB, month=MONTH, kind="fleet")


def test_facts_are_lines():
    """A fact is a row: label, value and what it means; a title stands above and in the alternative text."""
    shown = figures.facts(
        [("Peak", "21", "devices at once"), ("Hold hours", "–", "not known")], title="Capacity"
    )
    page = soup(shown)
    assert [" ".join(div.get_text(" ").split()) for div in page.find_all("div")] == [
        "Peak 21 devices at once",
        "Hold hours – not known",
    ]
    assert (page.b.get_text(), shown.alt) == ("Capacity", "Capacity: Peak 21; Hold hours –.")
    assert "Peak21devicesatonce" in words(pdf(figures.side_by_side(shown, shown, widths=(2, 1))))


def test_pair_has_its_widths():
    """The wider figure gets the greater part, on the screen and on paper."""
    left, right = (figures.facts([("a", "1", "b")]) for _ in range(2))
    pair = figures.side_by_side(left, right, widths=(3, 2))
    assert [div["style"] for div in soup(pair).select(".uk-pair > div")] == [
        "flex: 3.0 1 20em",
        "flex: 2.0 1 20em",
    ]
    assert pair.typst.startswith("#uk-pair((3.0fr, 2.0fr), [")


def test_far_more_owned_than_busy_does_not_squeeze_the_curve():
    """Where twice as many devices are owned as were ever busy, the axis ends at what was busy."""
    curve = duration_curve(busy_steps(sessions()), business_spells(MONTH, ZONE, BusinessHours()))
    shown = figures.duration_curve_chart(curve, owned=161, levels={0.99: 2})
    labels = [t.get_text().strip() for t in soup(shown).find_all("text")]
    assert "owned 161 →" in labels
    assert not {"50", "100", "150"} & set(labels) - {"100%"}


def test_pair_and_page_break():
    """Two figures stand beside each other with both alternative texts; a break starts a page, once."""
    pair = figures.side_by_side(curve_chart(half=True), figures.suggestions(["Give back 2 of 14 iPhone 13."]))
    assert len(soup(pair).select(".uk-pair > div")) == 2
    assert pair.html.count("<style>") - curve_chart().html.count("<style>") == 0
    assert "Devices busy at once" in pair.alt
    assert pair.alt.endswith("Give back 2 of 14 iPhone 13.")
    reader = pdf(pair, figures.page_break(), figures.page_break(), figures.lead("second page"))
    assert [("second page" in page.extract_text()) for page in reader.pages] == [False, True]


def test_us_letter():
    """The same figures on US Letter: nothing is wider than the page's text."""
    shown = [table(teams(NAMES), COLUMNS, title="Teams"), curve_chart(), figures.suggestions([])]
    reader = pdf(*shown, paper="us-letter")
    assert [round(float(side)) for side in reader.pages[0].mediabox[2:]] == [612, 792]
    places: list[float] = []
    for page in reader.pages:
        page.extract_text(
            visitor_text=lambda text, cm, tm, *_: (
                places.append(tm[4] * cm[0] + cm[4]) if text.strip() else None
            )
        )
    assert max(places) < 612 - 18 / 25.4 * 72
