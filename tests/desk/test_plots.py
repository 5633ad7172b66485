"""The analyst's charts: the right kind for a question, every value where it belongs, every name as it is."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from xml.etree import ElementTree

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from nbclient import NotebookClient

from usagekit.analysis.shape import weekday_hour_profile
from usagekit.engine.bins import query_bins
from usagekit.errors import QueryError, SchemaError
from usagekit.figures import plots
from usagekit.figures.plots_text import drawable
from usagekit.lab import Lab
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS, ROUTES

ZONE = "Europe/Berlin"
MONTH = {"start": date(2023, 3, 1), "end": date(2023, 3, 31), "timezone": ZONE}
LATER = {"timezone": ZONE, "as_of": datetime(2023, 5, 1, tzinfo=UTC), "today": date(2023, 5, 1)}
HOSTILE = [
    "NA",
    "$x$ and $",
    "_y^2 \\alpha",
    "<b>bold</b>",
    '#read("/etc/passwd")',
    "チーム",
    "R&D / Café",
    "{{7*7}} %s",
    "العربية",
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Charts warn about nothing, and no test leaves a figure open."""
    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def draw(frame, query, *, metrics=None, heat=False, **when) -> Axes:
    chart = plots.heatmap if heat else plots.plot
    return chart(frame, query, metrics=metrics or [query.metric], **{**LATER, **when})


def days(count: int = 31, *, start: str = "2023-03-01") -> pd.DataFrame:
    stamps = pd.date_range(start, periods=count)
    return pd.DataFrame({"datetime": stamps, "total_time_hours": np.arange(1.0, count + 1)})


def by_team(names, times, *, column="total_time_hours", seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [(time, name, rng.integers(1, 50)) for time in times for name in names]
    frame = pd.DataFrame(rows, columns=["datetime", "team", column])
    return frame if column.endswith("count") else frame.astype({column: float})


def heights(axes: Axes) -> list[float]:
    """Heights of the bars, from left to right."""
    return [p.get_height() for p in sorted(axes.patches, key=lambda p: p.get_x()) if p.get_zorder() == 2]


def words(axes: Axes) -> list[str]:
    """Every text of the figure as an SVG holds it."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        axes.figure.savefig(buffer, format="svg")
    tree = ElementTree.fromstring(buffer.getvalue())
    return ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_days_are_bars_and_days_without_rows_are_zero() -> None:
    """A day is a bar of its value; a day without a row had no session and is 0."""
    frame = days()
    axes = draw(frame.drop(index=[4, 11]), UsageQuery(**MONTH, bin_size="day"))
    expected = frame["total_time_hours"].to_numpy().copy()
    expected[[4, 11]] = 0
    assert heights(axes) == expected.tolist()


def test_labels_name_unit_zone_and_period() -> None:
    """Title, axis and corner say what is shown, in which unit and zone, for when and for whom."""
    query = UsageQuery(**MONTH, bin_size="day", filters=(("team_name", ("R&D",)),), automated=True)
    axes = draw(days(), query)
    assert axes.get_title("left") == "Device hours by day, March 2023 (R&D; automated sessions)"
    assert axes.get_title("right") == ZONE
    assert axes.get_ylabel() == "Device hours (h)"


def test_weeks_that_the_range_cuts_are_hatched_and_named() -> None:
    """The first and last week reach out of March: hatched bars as wide as their days, named in the caption."""
    frame = days(5).assign(datetime=pd.date_range("2023-02-27", periods=5, freq="7D"))
    axes = draw(frame, UsageQuery(**MONTH, bin_size="week"))
    bars = sorted((p for p in axes.patches if p.get_zorder() == 2), key=lambda p: p.get_x())
    assert [bool(bar.get_hatch()) for bar in bars] == [True, False, False, False, True]
    assert bars[0].get_width() / bars[1].get_width() == pytest.approx(5 / 7)
    caption = axes.get_xlabel()
    assert "week of 27 February 2023 and week of 27 March 2023 reach beyond the period" in caption


def test_what_was_not_over_is_hatched_and_what_had_not_begun_is_missing() -> None:
    """On 20 March the bar of that day is hatched and later days have no bar, not one of zero."""
    now = datetime(2023, 3, 20, 10, 5, tzinfo=UTC)
    axes = draw(days(20), UsageQuery(**MONTH, bin_size="day"), as_of=now, today=date(2023, 3, 20))
    bars = sorted((p for p in axes.patches if p.get_zorder() == 2), key=lambda p: p.get_x())
    assert len(bars) == 20
    assert [bool(bar.get_hatch()) for bar in bars] == [False] * 19 + [True]
    assert "Mon 20 March 2023 was not over at 2023-03-20 11:05; 11 of 31 days" in axes.get_xlabel()


def test_a_month_that_runs_is_hatched() -> None:
    """One bin that was not over is hatched too, although the range cuts nothing off it."""
    frame = by_team(["a", "b"], [pd.Timestamp("2023-03-01")])
    axes = draw(frame, UsageQuery(**MONTH, by="team"), as_of=datetime(2023, 3, 9, tzinfo=UTC))
    assert all(bar.get_hatch() for bar in axes.patches)
    assert "March 2023 was not over at 2023-03-09 01:00" in axes.get_xlabel()


def test_ranking_is_sorted_and_says_how_many_more() -> None:
    """Members of one bin are bars, the largest on top, at most 20, with the hours of all others in words."""
    values = [float(v) for v in range(1, 26)]
    frame = pd.DataFrame({"datetime": pd.Timestamp("2023-03-01"), "team": [f"t{v:02.0f}" for v in values]})
    axes = draw(frame.assign(total_time_hours=values), UsageQuery(**MONTH, by="team"))
    assert ticks(axes.yaxis) == [f"t{v:02.0f}" for v in values[:-21:-1]]
    assert [bar.get_width() for bar in axes.patches] == values[:-21:-1]
    assert "And 5 more with 15.0 h together." in axes.get_xlabel().replace("\u00a0", " ")


def test_counts_of_the_others_are_not_summed() -> None:
    """Distinct counts do not add up: a ranking of sessions says how many members are left, and no sum."""
    frame = by_team([f"t{i:02}" for i in range(25)], [pd.Timestamp("2023-03-01")], column="user_count")
    axes = draw(frame, UsageQuery(**MONTH, by="team", metric="user_count"))
    assert axes.get_xlabel().splitlines()[1:] == ["And 5 more."]


def test_lines_have_gaps_where_a_mean_is_missing() -> None:
    """Where no session started a mean is missing: a gap in the line, never a zero."""
    frame = by_team(["a", "b"], pd.date_range("2023-03-01", periods=31), column="avg_session_minutes")
    frame = frame.drop(index=frame.index[(frame["team"] == "a") & (frame["datetime"].dt.day == 7)])
    query = UsageQuery(**MONTH, by="team", bin_size="day", metric="avg_session_length")
    axes = draw(frame, query)
    lines = [line for line in axes.lines if len(line.get_ydata()) == 31]
    gaps = [np.flatnonzero(np.isnan(line.get_ydata())).tolist() for line in lines]
    assert sorted(gaps) == [[], [6]]
    assert {text.get_text() for text in axes.texts} == {"a", "b"}


def test_lines_differ_without_colour() -> None:
    """Eight members have eight different pairs of dash and marker, for grey print and colour-blind eyes."""
    frame = by_team(list("abcdefgh"), pd.date_range("2023-03-01", periods=31))
    axes = draw(frame, UsageQuery(**MONTH, by="team", bin_size="day"))
    lines = [line for line in axes.lines if len(line.get_ydata()) == 31]
    assert len({(str(line._dash_pattern), line.get_marker()) for line in lines}) == 8


def test_many_members_stack_to_the_whole() -> None:
    """Hours of twelve teams are seven layers and all others, and reach exactly the sum of all."""
    frame = by_team([f"t{i}" for i in range(12)], pd.date_range("2023-03-01", periods=31))
    axes = draw(frame, UsageQuery(**MONTH, by="team", bin_size="day"))
    layers = [p for p in axes.patches if isinstance(p, StepPatch)]
    assert len(layers) == 8
    top = layers[-1].get_data().values
    assert top == pytest.approx(frame.groupby("datetime")["total_time_hours"].sum().to_numpy())
    assert "5 others" in {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("metric", [m for m in METRICS if m != "total_time"])
def test_counts_and_means_are_never_stacked(metric: str) -> None:
    """What does not add up stays lines, and every line is the answer of one member."""
    column = METRICS[metric].column
    frame = by_team([f"t{i}" for i in range(12)], pd.date_range("2023-03-01", periods=31), column=column)
    axes = draw(frame, UsageQuery(**MONTH, by="team", bin_size="day", metric=metric))
    assert not [p for p in axes.patches if isinstance(p, StepPatch)]
    drawn = {tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 31}
    assert drawn == {tuple(rows[column].astype(float)) for _, rows in frame.groupby("team")}


def test_pairs_are_a_matrix() -> None:
    """Two dimensions make a table of colours: teams down, models across, both ranked, values in their cells."""
    rows = [("a", "p", 1.0), ("b", "p", 5.0), ("b", "q", 9.0)]
    frame = pd.DataFrame(rows, columns=["team", "device_model", "total_time_hours"])
    frame.insert(0, "datetime", pd.Timestamp("2023-03-01"))
    axes = draw(frame, UsageQuery(**MONTH, by="team/devicemodel"))
    assert (ticks(axes.yaxis), ticks(axes.xaxis)) == (["b", "a"], ["q", "p"])
    assert axes.collections[0].get_array().tolist() == [[9.0, 5.0], [0.0, 1.0]]


def test_metrics_get_a_panel_each() -> None:
    """Several metrics are panels over one time axis; the first is returned, each with its own unit."""
    frame = days().assign(session_count=range(31))
    query = UsageQuery(**MONTH, bin_size="day")
    axes = draw(frame, query, metrics=["total_time", "session_count"])
    first, second = axes.figure.axes
    assert axes is first
    assert first.get_shared_x_axes().joined(first, second)
    assert [a.get_ylabel() for a in (first, second)] == ["Device hours (h)", "Sessions"]
    assert heights(second) == list(range(31))
    with pytest.raises(QueryError, match="ax holds one metric"):
        draw(frame, query, metrics=["total_time", "session_count"], ax=plt.figure().subplots())


def test_given_axes_are_drawn_into() -> None:
    """With ``ax`` nothing new is opened, and the analyst's own settings are as before."""
    with mpl.rc_context({"font.size": 17, "text.parse_math": True}):
        mine = plt.figure().subplots()
        before = dict(mpl.rcParams)
        assert draw(days(), UsageQuery(**MONTH, bin_size="day"), ax=mine) is mine
        assert dict(mpl.rcParams) == before
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "UTC"])
def test_week_heatmap_is_the_profile_of_the_reports(zone: str) -> None:
    """Weekday by hour has the numbers of the report's heatmap, also in a month with a change of the clock."""
    query = UsageQuery(start=date(2023, 4, 1), end=date(2023, 4, 30), timezone=zone, bin_size="hour")
    edges = query_bins(query).edges  # with the half hours by which Lord Howe changes its clock
    stamps = pd.to_datetime(edges[:-1], unit="s", utc=True).tz_convert(zone)
    busy = np.diff(edges) / 3600 * (np.arange(len(stamps)) % 11)
    frame = pd.DataFrame({"datetime": stamps, "total_time_hours": busy})
    axes = draw(frame, query, heat=True)
    expected = weekday_hour_profile(frame, month="2023-04", timezone=zone)
    assert axes.collections[0].get_array().filled(np.nan) == pytest.approx(expected.to_numpy(), nan_ok=True)


def test_week_heatmap_refuses_what_cannot_be_averaged() -> None:
    """Sessions of an hour cannot be averaged over weeks; the error says what can."""
    query = UsageQuery(**MONTH, bin_size="hour", metric="session_count")
    frame = pd.DataFrame({"datetime": [pd.Timestamp("2023-03-01", tz=ZONE)], "session_count": [3]})
    with pytest.raises(QueryError, match="total_time"):
        draw(frame, query, heat=True)


def test_days_become_a_calendar() -> None:
    """Each day stands in its week's column and weekday's row, with its number and value."""
    axes = draw(days(), UsageQuery(**MONTH, bin_size="day"), heat=True)
    places = {t.get_text(): t.get_position() for t in axes.texts if t.get_ha() == "left"}
    for day in range(1, 32):
        x, y = places[str(day)]
        weekday = date(2023, 3, day).weekday()
        assert (int(x), int(y)) == ((day + 1) // 7, weekday)


def test_members_by_time_are_a_heatmap() -> None:
    """Teams by day are rows of colours, in the order of their hours."""
    frame = by_team(["a", "b", "c"], pd.date_range("2023-03-01", periods=31))
    axes = draw(frame, UsageQuery(**MONTH, by="team", bin_size="day"), heat=True)
    wide = frame.pivot(index="team", columns="datetime", values="total_time_hours")
    wide = wide.loc[wide.sum(axis=1).sort_values(ascending=False).index]
    assert ticks(axes.yaxis) == wide.index.tolist()
    assert axes.collections[0].get_array().tolist() == wide.to_numpy().tolist()


@pytest.mark.parametrize("heat", [False, True])
@pytest.mark.parametrize(
    "query", [UsageQuery(**MONTH), UsageQuery(**MONTH, by="team/device", bin_size="hour")]
)
def test_no_rows_are_said_in_words(query: UsageQuery, heat: bool) -> None:
    """An answer without rows is a sentence, not a crash and not an empty drawing."""
    columns = ["datetime", *query.group_columns, "total_time_hours"]
    axes = draw(pd.DataFrame(columns=columns), query, heat=heat)
    assert "No usage in March 2023" in words(axes)
    assert plots.alt_text(axes).endswith("No usage in March 2023.")


@pytest.mark.parametrize("mine", [False, True])
def test_names_are_shown_as_they_are(mine: bool) -> None:
    """No name is mathematics, markup or code, and none lacks a glyph, in our figure or the analyst's."""
    frame = by_team(HOSTILE, [pd.Timestamp("2023-03-01")])
    ax = plt.figure().subplots() if mine else None
    shown = words(draw(frame, UsageQuery(**MONTH, by="team"), ax=ax))
    assert set(HOSTILE) <= set(shown)
    only = UsageQuery(**MONTH, bin_size="day", filters=(("team_name", ("$x$", "_y")),))
    ax = plt.figure().subplots() if mine else None
    assert any("($x$, _y)" in text for text in words(draw(days(), only, ax=ax)))


def test_names_that_fonts_cannot_draw_are_spelled_out() -> None:
    """An emoji is named, what turns the direction of text is made visible, blanks and long names stay readable."""
    assert drawable("🚀 Lab") == "⟨rocket⟩ Lab"
    assert drawable("a\u202eb\u2067") == "a\ufffdb\ufffd"
    assert drawable(" ") == "(no name)"
    assert drawable("x" * 40 + "@host") == "x" * 17 + "…" + "x" * 11 + "@host"


def test_members_whose_names_look_alike_stay_apart() -> None:
    """Two people of one name are two bars; so are names that differ only where nothing is seen."""
    people = pd.DataFrame({"user": ["Ann", "Ann", "Bo"], "email": ["ann@a", "ann@b", "bo@a"]})
    people = people.assign(datetime=pd.Timestamp("2023-03-01"), total_time_hours=[3.0, 2.0, 1.0])
    assert ticks(draw(people, UsageQuery(**MONTH, by="user")).yaxis) == ["Ann · ann@a", "Ann · ann@b", "Bo"]
    blank = by_team([" ", "\u3000"], [pd.Timestamp("2023-03-01")])
    assert sorted(ticks(draw(blank, UsageQuery(**MONTH, by="team")).yaxis)) == [
        "(no name) (1)",
        "(no name) (2)",
    ]


def test_frames_that_are_not_the_answer_are_refused() -> None:
    """A row outside the bins, a second row for one place and a missing column are errors, never left out."""
    query = UsageQuery(**MONTH, bin_size="day")
    with pytest.raises(SchemaError, match="in no day bin"):
        draw(days(40), query)
    with pytest.raises(SchemaError, match="two rows"):
        draw(pd.concat([days(), days()]), query)
    with pytest.raises(SchemaError, match="total_time_hours"):
        draw(days()[["datetime"]], query)


def test_alternative_text_says_what_is_shown() -> None:
    """The words name kind, subject, zone, the largest and smallest value with their days, and the caption."""
    axes = draw(days(), UsageQuery(**MONTH, bin_size="day"))
    said = plots.alt_text(axes).replace("\u00a0", " ")
    assert said == (
        "Bars. Device hours by day, March 2023, in Europe/Berlin. Device hours: largest 31.0 h "
        "(Fri 31 March 2023), smallest 1.0 h (Wed 1 March 2023). Shaded: weekends."
    )


def test_a_notebook_shows_the_chart_once_with_its_words() -> None:
    """A cell that ends in a chart shows one picture, described, and no text of an object; so do its name and the next chart."""
    source = """
import pandas as pd
from datetime import UTC, date, datetime
from usagekit.figures.plots import plot
from usagekit.query import UsageQuery
query = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 2), bin_size="day")
frame = pd.DataFrame({"datetime": pd.to_datetime(["2023-03-01", "2023-03-02"]), "total_time_hours": [1.0, 2.0]})
now = {"timezone": "UTC", "as_of": datetime(2023, 5, 1, tzinfo=UTC), "today": date(2023, 5, 1)}
axes = plot(frame, query, metrics=["total_time"], **now)
axes"""
    cells = [
        nbformat.v4.new_code_cell(text)
        for text in (source, "axes", 'plot(frame, query, metrics=["total_time"], **now)')
    ]
    book = NotebookClient(nbformat.v4.new_notebook(cells=cells), kernel_name="python3", timeout=60).execute()
    for cell in book.cells:
        (output,) = cell.outputs
        assert output.output_type == "display_data"
        assert output.metadata["image/png"]["alt"].startswith("Bars. Device hours by day")
        assert output.data["text/plain"].startswith("Bars. Device hours by day")


@pytest.mark.parametrize("bin_size", ["hour", "week"])
@pytest.mark.parametrize("by", ROUTES)
def test_every_question_has_a_chart(local: Lab, by: str, bin_size: str) -> None:
    """Each route of the sample lab can be drawn, by hour and by week, and the words hold the largest value of the frame."""
    end = date(2023, 3, 4 if bin_size == "hour" else 31)
    query = UsageQuery(by=by, start=date(2023, 3, 1), end=end, bin_size=bin_size, timezone=ZONE)
    frame = local.source.usage(query)
    for heat in (False, True):
        axes = draw(frame, query, heat=heat)
        assert "Device hours" in axes.get_title("left") or "Mean devices busy" in axes.get_title("left")
        assert "largest" in plots.alt_text(axes) or "busiest" in plots.alt_text(axes)
        plt.close("all")
