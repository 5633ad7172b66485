"""What is wrong with the sessions of a lab: found wherever it is, and nowhere else."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.conftest import session
from tests.desk.conftest import TOKEN
from tests.strategies import tables
from usagekit.analysis.months import month_bounds
from usagekit.analysis.quality import COLUMNS, SEVERITY, count_findings, counted, find_broken
from usagekit.analysis.unknown_devices import devices_without_model
from usagekit.api.client import Client
from usagekit.api.server import create_app, serving
from usagekit.engine.store import open_store, write_store
from usagekit.errors import QueryError, SchemaError
from usagekit.lab import Lab
from usagekit.sources import ApiSource, StoreSource

AS_OF = datetime(2023, 3, 30, 12, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script> & #read("x") チーム 🧪'
START = datetime(2023, 3, 1, tzinfo=UTC)


def lab_of(path: Path, sessions: list[oracle.Row], *, unlisted: tuple[str, ...] = ()) -> Lab:
    """A lab of these sessions over a store; every device has a model but for the unlisted ones."""
    ids = {(s["device_id"], s["hostname"]) for s in sessions if s["device_id"] not in unlisted}
    devices = [
        {"device_id": d, "hostname": h, "model": "Pixel 8", "os": "Android", "form_factor": "phone"}
        for d, h in sorted(ids)
    ]
    made = oracle.Lab(
        sessions=sessions, devices=devices, hosts=[], users=[], memberships=[], teams=[{"team": "NA"}]
    )
    write_store(path, tables(made))
    return Lab(StoreSource(open_store(path), as_of=AS_OF), today=date(2023, 4, 1))


def every_kind() -> list[oracle.Row]:
    """One session of each kind that a single session or device can be, each on a device of its own."""
    day = "2023-03-02"
    wrong = [
        {"end": f"{day} 09:59", "device_id": "end_before_start"},
        {"end": None, "device_id": "missing_end"},
        {"device_id": "duplicate"},
        {"device_id": "duplicate"},
        {"start": "2023-03-31 10:00", "end": "2023-03-31 11:00", "device_id": "future"},
        {"device_id": "overlap_on_device"},
        {"start": f"{day} 10:20", "end": f"{day} 12:00", "device_id": "overlap_on_device"},
        {"end": "2023-03-03 10:00:01", "device_id": "very_long"},
        {"end": "2023-03-03 10:00", "device_id": "just a day"},
        {"device_id": "unknown_device", "team": "チーム"},
        {"device_id": "no_team", "team": None, "automated": True},
        {"device_id": "no_owner", "user": None, "email": None},
        {"device_id": "unknown_user", "user": None},
        {"end": f"{day} 10:00", "device_id": "zero_length"},
        {"start": f"{day} 11:00", "end": f"{day} 12:00"},  # one after the other on the usual device
        {},
    ]
    times = {"start": f"{day} 10:00", "end": f"{day} 11:00"}
    return [session(n, **(times | values)) for n, values in enumerate(wrong)]


def event_frame(rows: list[tuple[str, int, int | None]]) -> pd.DataFrame:
    """Events of (device, start, end) in seconds since March began, as the API lists them."""
    start = [START + timedelta(seconds=s) for _, s, _ in rows]
    end = [None if e is None else START + timedelta(seconds=e) for _, _, e in rows]
    text = {"user": "Ana", "email": "ana@example.com", "team": None, "hostname": "lab-1"}
    frame = pd.DataFrame({name: pd.Series([v] * len(rows), dtype="str") for name, v in text.items()})
    return frame.assign(
        automated=False,
        device_id=pd.Series([d for d, _, _ in rows], dtype="str"),
        device_address=pd.Series([f"{d}@lab-1" for d, _, _ in rows], dtype="str"),
        start_time=pd.Series(pd.to_datetime(start, utc=True)).astype("datetime64[us, UTC]"),
        end_time=pd.Series(pd.to_datetime(end, utc=True)).astype("datetime64[us, UTC]"),
        duration_seconds=pd.Series([None if e is None else e - s for _, s, e in rows], dtype="Int64"),
        date=pd.Series([pd.Timestamp(s.date()) for s in start]).astype("datetime64[us]"),
    )


def test_http_store_and_snapshot_find_the_same(remote: Lab, local: Lab, frozen: Lab) -> None:
    """Findings and counts of the sample are equal over HTTP, from the store and from a snapshot."""
    expected = local.quality("2023-03")
    assert len(expected.df)
    for lab in (remote, frozen):
        found = lab.quality("2023-03")
        pd.testing.assert_frame_equal(found.df, expected.df, check_exact=True)
        pd.testing.assert_frame_equal(found.counts, expected.counts, check_exact=True)
        assert found.sessions == expected.sessions == len(local.events("2023-03"))


def test_a_year_across_the_eras_is_equal_over_http(remote: Lab, local: Lab) -> None:
    """Both eras give equal findings over HTTP, broken rows of the sample among them."""
    expected = local.quality(("2022-02", "2023-03"))
    pd.testing.assert_frame_equal(remote.quality(("2022-02", "2023-03")).df, expected.df, check_exact=True)
    assert {"end_before_start", "missing_end", "overlap_on_device"} <= set(expected.df["kind"])


def test_every_kind_is_found_once(tmp_path: Path) -> None:
    """Each thing wrong is found once, on its own device, and nothing is found that is not wrong."""
    found = lab_of(tmp_path, every_kind(), unlisted=("unknown_device",)).quality("2023-03").df
    assert Counter(found["kind"]) == dict.fromkeys(set(SEVERITY) - {"clock_skew"}, 1)
    assert (found["device_address"] == found["kind"] + "@lab-1").all()
    assert list(found.columns) == list(COLUMNS)


def test_every_kind_is_found_over_http(tmp_path: Path) -> None:
    """The hand-made lab gives the same findings over HTTP; only what was the future then is past by now."""
    here = lab_of(tmp_path, every_kind(), unlisted=("unknown_device",)).quality("2023-03").df
    app = create_app(tmp_path, token=TOKEN)
    with serving(app) as url, Client(base_url=url, token=TOKEN) as client:
        there = Lab(ApiSource(client)).quality("2023-03").df
    past = here[here["kind"] != "future"].reset_index(drop=True)
    pd.testing.assert_frame_equal(there, past, check_exact=True)


def test_figures_of_a_finding(tmp_path: Path) -> None:
    """A finding says who, how long, how much of it is in doubt, and why in words."""
    found = lab_of(tmp_path, every_kind(), unlisted=("unknown_device",)).quality("2023-03")
    rows = found.df.set_index("kind")
    assert rows.loc["overlap_on_device", "affected_seconds"] == 40 * 60
    assert rows.loc["overlap_on_device", "duration_seconds"] == 100 * 60
    assert "2023-03-02 10:00:00 to 2023-03-02 11:00:00 UTC" in rows.loc["overlap_on_device", "detail"]
    assert rows.loc["end_before_start", ["duration_seconds", "affected_seconds"]].tolist() == [-60, 0]
    assert "60 s before" in rows.loc["end_before_start", "detail"]
    assert rows.loc["unknown_device", ["affected_seconds", "sessions"]].tolist() == [3600, 1]
    assert pd.isna(rows.loc["no_owner", "who"])
    assert rows.loc["duplicate", "who"] == "ana@example.com"
    counts = found.counts.set_index("kind")
    assert list(counts.index) == list(SEVERITY)
    assert counts.loc["very_long", "affected_hours"] == pytest.approx(24 + 1 / 3600)
    assert counts.loc["very_long", "share"] == pytest.approx(1 / 16)
    assert counts.loc["clock_skew", ["sessions", "affected_hours", "share"]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "US/Pacific"])
@pytest.mark.parametrize("month", ["2022-03", "2023-03"])
def test_what_is_left_out_is_what_is_broken(month: str, zone: str, remote: Lab, local: Lab) -> None:
    """The hours and sessions of the events that count, cut to the month, are those of the API to the second."""
    low, high = month_bounds(month, zone)
    first, last = (low - pd.Timedelta(days=40)).date(), (high + pd.Timedelta(days=1)).date()
    events = local.events(first, last)
    good = events[counted(events)]
    inside = good["end_time"].clip(upper=high) - good["start_time"].clip(lower=low)
    api = remote.usage(month, timezone=zone, metric=["total_time", "session_count"]).df
    assert (
        round(api["total_time_hours"].sum() * 3600)
        == inside.clip(lower=pd.Timedelta(0)).sum().total_seconds()
    )
    belongs = (good["start_time"] < high) & ((good["end_time"] > low) | (good["start_time"] >= low))
    assert api["session_count"].tolist() == [belongs.sum()]
    own = remote.quality(month)
    kinds = own.df["kind"].isin(["end_before_start", "missing_end"])
    assert kinds.sum() == own.sessions - counted(local.events(month)).sum()


def test_times_that_differ_by_less_than_a_second(tmp_path: Path) -> None:
    """The list is cut to whole seconds, yet a session that ends a moment too early is told from a short one."""
    sessions = [
        session(1, "2023-03-02 10:00:00.5", "2023-03-02 10:00:00.2", device_id="end_before_start"),
        session(2, "2023-03-02 10:00:00.2", "2023-03-02 10:00:00.5", device_id="zero_length"),
    ]
    lab = lab_of(tmp_path, sessions)
    found = lab.quality("2023-03").df
    assert (found["device_address"] == found["kind"] + "@lab-1").all()
    assert found["kind"].tolist() == ["end_before_start", "zero_length"]
    assert lab.usage("2023-03", metric="session_count").df["session_count"].tolist() == [1]


def test_what_the_api_might_send_beyond_its_document() -> None:
    """No start, a length without its sign and a column of lists are findings or no matter, never a crash."""
    frame = event_frame([("a", 60, 30), ("b", 0, 60), ("b", 0, 60), ("c", 0, 60)])
    frame["duration_seconds"] = frame["duration_seconds"].abs()
    frame.loc[3, "start_time"] = pd.NaT
    frame["tags"] = [["x"], ["y"], ["y"], []]
    frame = frame.assign(sessions="many", kind="x", length="long").set_index(pd.Index([0, 0, 0, 0]))
    found = find_broken(frame, since=START.date(), as_of=AS_OF)
    assert found[["kind", "device_address"]].to_numpy().tolist() == [
        ["end_before_start", "a@lab-1"],
        ["missing_end", "c@lab-1"],
        ["duplicate", "b@lab-1"],
    ]
    assert "ends 30 s before" in found["detail"][0]
    assert counted(frame).tolist() == [False, True, True, False]


def test_a_session_of_the_month_before_holds_its_device(tmp_path: Path) -> None:
    """Sessions that began before the period are partners of an overlap, and no findings themselves."""
    sessions = [
        session(0, "2023-02-27 09:00", "2023-02-27 12:00"),
        session(1, "2023-02-27 10:00", "2023-03-01 01:00"),
        session(2, "2023-03-01 00:30", "2023-03-01 02:00"),
    ]
    found = lab_of(tmp_path, sessions).quality("2023-03").df
    assert found[["kind", "affected_seconds"]].to_numpy().tolist() == [["overlap_on_device", 1800]]


def handovers(overlaps: list[int]) -> list[oracle.Row]:
    """Sessions of an hour on one device, each but the first starting so many seconds before the last one ends."""
    rows = []
    for n, seconds in enumerate([0, *overlaps]):
        start, end = START + timedelta(hours=n, seconds=-seconds), START + timedelta(hours=n + 1)
        rows.append(session(n, f"{start:%Y-%m-%d %H:%M:%S}", f"{end:%Y-%m-%d %H:%M:%S}"))
    return rows


@pytest.mark.parametrize(
    ("overlaps", "skewed"),
    [
        ([30, 31, 29, 30, 30], 1),
        ([30, 30, 30, 30, 30, 200], 1),  # one of six has another reason
        ([30, 30, 30, 30], 0),  # too few
        ([30, 90, 150, 210, 270], 0),  # too unequal
        ([600] * 5, 0),  # too long for a clock
    ],
)
def test_clock_skew_is_claimed_modestly(overlaps: list[int], skewed: int, tmp_path: Path) -> None:
    """At least five short overlaps of equal length, four fifths of a host's, hint at its clock; less does not."""
    found = lab_of(tmp_path, handovers(overlaps)).quality("2023-03").df
    kinds = Counter(found["kind"])
    assert kinds == Counter({"overlap_on_device": len(overlaps), "clock_skew": skewed})
    hints = found[found["kind"] == "clock_skew"]
    assert hints["hostname"].tolist() == ["lab-1"] * skewed
    assert hints["sessions"].tolist() == [5] * skewed


def test_short_sessions_inside_a_long_one_are_no_clock(tmp_path: Path) -> None:
    """Equal retries while another session holds the device are overlaps and nothing else."""
    retries = [session(n, f"2023-03-02 10:{n:02d}:00", f"2023-03-02 10:{n:02d}:20") for n in range(6)]
    held = session(9, "2023-03-02 09:00", "2023-03-02 12:00")
    found = lab_of(tmp_path, [held, *retries]).quality("2023-03").df
    assert Counter(found["kind"]) == {"overlap_on_device": 6}


rows_of_events = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 60),
        st.none() | st.integers(-5, 30),
    ).map(lambda row: (row[0], row[1], None if row[2] is None else row[1] + row[2])),
    max_size=12,
)


def test_the_holder_is_the_session_that_lasts_longest() -> None:
    """An overlap names the session that still holds the device, not merely the one that started before."""
    frame = event_frame([("a", 0, 3600), ("a", 60, 120), ("a", 600, 660)])
    found = find_broken(frame, since=START.date(), as_of=AS_OF)
    assert (
        found["detail"].str.contains("from 2023-03-01 00:00:00 to 2023-03-01 01:00:00 UTC").tolist()
        == [True] * 2
    )


@settings(max_examples=100, deadline=None)
@given(rows=rows_of_events)
def test_overlaps_equal_a_slow_count_of_seconds(rows: list[tuple[str, int, int | None]]) -> None:
    """Overlaps and duplicates are those found by marking the held seconds of each device one by one."""
    seen: Counter[tuple[str, int, int | None]] = Counter()
    held: dict[str, set[int]] = {"a": set(), "b": set()}
    twice: list[tuple[str, int, int, int]] = []
    for row in sorted(rows, key=lambda r: (r[1], r[1] if r[2] is None else r[2])):
        seen[row] += 1
        device, start, end = row
        if seen[row] > 1 or end is None:
            continue
        own = set(range(start, end))
        if own & held[device]:
            twice.append((device, start, end, len(own & held[device])))
        held[device] |= own
    found = find_broken(event_frame(rows), since=START.date(), as_of=AS_OF)
    overlaps = found[found["kind"] == "overlap_on_device"]
    listed = [
        (d[0], *(int((t - START).total_seconds()) for t in (start, end)), seconds)
        for d, start, end, seconds in overlaps[
            ["device_address", "start_time", "end_time", "affected_seconds"]
        ].itertuples(index=False)
    ]
    assert sorted(listed) == sorted(twice)
    kinds = Counter(found["kind"])
    assert kinds["duplicate"] == sum(n - 1 for n in seen.values())
    assert kinds["missing_end"] == sum(e is None for _, _, e in rows)
    assert kinds["end_before_start"] == sum(e is not None and e < s for _, s, e in rows)
    assert kinds["zero_length"] == sum(e == s for _, s, e in rows)


@settings(max_examples=100, deadline=None)
@given(
    hours=st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6),
    unknown=st.sets(st.integers(0, 5)),
)
def test_unknown_devices_are_proven_or_left_open(hours: list[list[int]], unknown: set[int]) -> None:
    """A named device is one without a model, none can be outside names and candidates, no time is lost."""
    team_names = ("NA", "チーム", None)  # the last column: sessions without a team
    pairs = pd.DataFrame(
        [
            (f"d{d}", team_names[t], f"m{d}", float(h))
            for d, row in enumerate(hours)
            for t, h in enumerate(row)
        ],
        columns=["device_address", "team", "device_model", "total_time_hours"],
    )
    lacking = {f"d{d}" for d in unknown if d < len(hours) and sum(hours[d])}
    modelled = pairs[~pairs["device_address"].isin(lacking)]
    with_team = pairs["team"].notna()
    told = devices_without_model(
        pairs, modelled, team_devices=pairs[with_team], team_models=modelled[modelled["team"].notna()]
    )
    named = set(told["device_address"].dropna())
    among = {name for names in told["candidates"] for name in names}
    assert named <= lacking <= named | among
    seconds = 3600 * pairs.loc[pairs["device_address"].isin(lacking), "total_time_hours"].sum()
    assert told["seconds"].sum() == pytest.approx(seconds)


def test_devices_that_cannot_be_told_apart_are_not_guessed() -> None:
    """Of two devices with equal hours and one model missing, none is accused; the candidates are listed."""
    pair = pd.DataFrame({"device_address": ["x", "y"], "team": "NA", "total_time_hours": 1.0})
    model = pd.DataFrame({"device_model": ["Pixel 8"], "team": "NA", "total_time_hours": 1.0})
    told = devices_without_model(pair, model, team_devices=pair, team_models=model)
    found = find_broken(event_frame([("x", 0, 60)]), told, since=START.date(), as_of=AS_OF)
    assert found["kind"].tolist() == ["unknown_device"]
    assert found["device_address"].isna().all()
    assert found["sessions"].isna().all()
    counts = count_findings(found, sessions=1).set_index("kind").loc["unknown_device"]
    assert pd.isna(counts["sessions"])  # not zero: nobody can tell
    assert pd.isna(counts["share"])
    assert counts["affected_hours"] == 1
    assert found["affected_seconds"].tolist() == [3600]
    assert "among x, y;" in found["detail"][0]


def test_nothing_in_a_name_runs_or_vanishes(tmp_path: Path) -> None:
    """Names stand in the page as text, whatever they hold; the frame keeps them as they are."""
    sessions = [
        session(1, "2023-03-02 10:00", None, team=HOSTILE, automated=True),
        session(2, "2023-03-02 11:00", None, email=HOSTILE, device_id=HOSTILE),
    ]
    found = lab_of(tmp_path, sessions).quality("2023-03")
    assert found.df["who"].tolist() == [HOSTILE, HOSTILE]
    page = found._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; #read(&#34;x&#34;) チーム 🧪") == 3
    assert "missing_end" in repr(found)
    assert "n/a" not in repr(found)


def test_a_long_list_is_cut_in_the_page_only(tmp_path: Path) -> None:
    """The page shows the first findings and says how many more there are."""
    sessions = [session(n, f"2023-03-02 10:{n:02d}", None) for n in range(30)]
    found = lab_of(tmp_path, sessions).quality("2023-03")
    assert len(found.df) == 30
    assert "10 more findings" in found._repr_html_()


def test_a_period_without_sessions(local: Lab) -> None:
    """Without sessions there are no findings, and shares are missing rather than zero."""
    found = local.quality("2024-01")
    assert (found.sessions, len(found.df)) == (0, 0)
    assert list(found.df.columns) == list(COLUMNS)
    assert found.counts["sessions"].eq(0).all()
    assert found.counts["share"].isna().all()
    assert "0 findings" in found._repr_html_()


def test_a_snapshot_refuses_other_months(frozen: Lab) -> None:
    """A snapshot judges its own month and the one before; what it does not hold is an error and not a clean bill."""
    assert frozen.quality("2023-02").sessions > 0
    with pytest.raises(QueryError, match="holds no"):
        frozen.quality("2023-01")


def test_missing_columns_are_named() -> None:
    """A frame without what it must have is an error that says which column."""
    with pytest.raises(SchemaError, match="end_time"):
        counted(event_frame([]).drop(columns="end_time"))
