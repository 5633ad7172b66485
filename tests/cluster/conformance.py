"""What every backend must do: the local engine's and the oracle's answers, from any store, leaving nothing behind."""

from __future__ import annotations

import gc
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests import oracle
from tests.conftest import session
from tests.oracle import Lab
from tests.strategies import Question, labs, questions, scenes, stored, tables
from usagekit.engine import local
from usagekit.engine.cluster import Cluster
from usagekit.engine.store import Store, open_store, write_store
from usagekit.openers import open_store as open_lab
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS, ROUTES

DAY, SPRING = date(2022, 8, 30), date(2023, 3, 25)
TEAMS = ("team_name", ("NA", "チーム", "R&D / Café", "nobody"))
VARIANTS: list[dict[str, Any]] = [
    {"start": DAY, "end": DAY + timedelta(40), "bin_size": "day", "timezone": "Europe/Berlin"},
    {"start": SPRING, "end": SPRING + timedelta(2), "bin_size": "hour", "timezone": "Europe/Berlin"},
    {"start": date(2022, 1, 1), "end": date(2023, 3, 31), "bin_size": "month", "display_all": True},
    {"start": DAY, "end": SPRING, "bin_size": "week", "timezone": "US/Pacific", "filters": (TEAMS,)},
    {
        "start": DAY,
        "end": DAY + timedelta(9),
        "bin_size": "day",
        "timezone": "Asia/Kolkata",
        "automated": False,
        "combine_phone_os": True,
        "group_by_device_id": True,
        "include_user_notes": True,
    },
]
SAMPLE = [
    UsageQuery(by=by, metric=metric, **VARIANTS[(row + column) % len(VARIANTS)])
    for row, by in enumerate(ROUTES)
    for column, metric in enumerate(METRICS)
]


@st.composite
def asked_labs(draw: st.DrawFn) -> tuple[Lab, list[Question]]:
    scene = draw(scenes())
    lab = draw(labs(scene.near))
    return lab, draw(st.lists(questions(scene, lab), min_size=2, max_size=4))


def asked(store: Store, question: Question, cluster: Cluster) -> list[dict[str, Any]]:
    query = UsageQuery.from_params(question.by, question.params, today=lambda _: question.today)
    found = cluster.usage(store, query)
    assert_frame_equal(found, local.usage(store, query), check_exact=True)
    return found.to_dicts()


class Conformance:
    """The suite; a backend's test class gives the fixture ``cluster`` and how many random labs it can afford."""

    examples = 1

    @pytest.mark.slow
    def test_every_route_and_metric(self, cluster: Cluster, sample: Store) -> None:
        """The sample lab gives the local engine's frame for every route and metric: floats, types and order."""
        for query in SAMPLE:
            assert_frame_equal(cluster.usage(sample, query), local.usage(sample, query), check_exact=True)

    @pytest.mark.slow
    def test_random_labs(self, cluster: Cluster) -> None:
        """Any question to any lab gives the oracle's rows and the local engine's frame."""

        @settings(max_examples=self.examples)
        @given(case=asked_labs())
        def check(case: tuple[Lab, list[Question]]) -> None:
            lab, all_asked = case
            with stored(lab) as store:
                for question in all_asked:
                    expected = oracle.usage(lab, question.by, question.params, today=question.today)
                    assert asked(store, question, cluster) == expected

        check()

    def test_months_of_seconds_and_microseconds_mix(self, cluster: Cluster) -> None:
        """A month in whole seconds and one with fractions, with numbers of every width, answer as one store."""
        lab = Lab(
            sessions=[
                session(1, "1970-01-01", "1970-01-01 00:00:01"),
                session(2, "2023-02-28 23:00", "2023-03-01 01:00"),
                session(3, "2023-03-01 00:00:00.000001", "2023-03-01 00:00:00.000002", team="チーム"),
                session(4, "2023-03-31 23:59:59.999999", "2101-01-01", automated=True),
            ]
        )
        with stored(lab) as store:
            assert [m.seconds for m in store.manifest.months] == [True, True, False]
            for metric in METRICS:
                params = [("start_date", "19700101"), ("end_date", "20230402"), ("metric", metric)]
                found = asked(store, Question("team", params, date.max), cluster)
                assert found == oracle.usage(lab, "team", params)

    def test_equal_files_count_each(self, cluster: Cluster, tmp_path: Path) -> None:
        """Two event files that differ in their session ids only are two sessions, though their index is one file."""
        store = write_store(tmp_path, tables(Lab(sessions=[session(1, "2023-03-01", "2023-03-01 01:00")])))
        events = tmp_path / "events" / "month=2023-03"
        other = pl.read_parquet(events / "events.parquet").with_columns(session_id=pl.lit("s2"))
        other.write_parquet(events / "more.parquet")
        store = open_store(tmp_path)
        assert len({m.file for m in store.manifest.months}) == 1
        (row,) = asked(
            store, Question("", [("start_date", "20230301"), ("end_date", "20230301")], date.max), cluster
        )
        assert row["total_time"] == 2.0

    def test_sums_beyond_what_an_int64_holds(self, cluster: Cluster) -> None:
        """1,500 sessions of 200 years and a microsecond: more microseconds than 2^63, and the mean is exact."""
        lab = Lab(sessions=[session(n, "1970-01-01", "2170-01-01 00:00:00.000001") for n in range(1500)])
        microseconds = int(timedelta(days=73_049) / timedelta(microseconds=1)) + 1
        assert 1500 * microseconds > 2**63
        query = UsageQuery(metric="avg_session_length", start=date(1970, 1, 1), end=date(1970, 1, 1))
        with stored(lab) as store:
            found = cluster.usage(store, query)
        assert found["avg_session_length"].to_list() == [microseconds / 60_000_000]

    def test_sums_beyond_what_a_float_holds_are_rounded_once(self, cluster: Cluster) -> None:
        """12,426,468,467,330,075 microseconds over two sessions give the nearest float, here and locally."""
        total = 12_426_468_467_330_075
        start = session(1, "1970-01-01", None)["start_time"]
        ends = [start + timedelta(microseconds=n) for n in (total // 2, total - total // 2)]
        lab = Lab(sessions=[session(n, "1970-01-01", None) | {"end_time": end} for n, end in enumerate(ends)])
        query = [("start_date", "19700101"), ("end_date", "19700101"), ("metric", "avg_session_length")]
        with stored(lab) as store:
            (row,) = asked(store, Question("", query, date.max), cluster)
        assert row["avg_session_length"] == total / (2 * 60_000_000)

    @pytest.mark.parametrize(
        "params",
        [
            [("start_date", "20111230"), ("end_date", "20111230"), ("timezone", "Pacific/Apia")],
            [("start_date", "20300101"), ("end_date", "20300102"), ("display_all", "true")],
        ],
        ids=["no instant", "no session"],
    )
    def test_nothing_to_read(self, cluster: Cluster, sample: Store, params: list[tuple[str, str]]) -> None:
        """A date that a zone skipped, or a range without any session, gives the local engine's frame."""
        asked(sample, Question("team", params, date.max), cluster)

    @pytest.mark.parametrize("name", ["a[b] *?{c,d}", "k=v %20 'q' é", "back\\slash", "チーム"])
    def test_any_folder_name(self, cluster: Cluster, tmp_path: Path, small_lab: Lab, name: str) -> None:
        """A store's folder may have any name: it is never taken for a pattern, a partition or SQL."""
        (tmp_path / "ab x").mkdir()
        store = write_store(tmp_path / name, tables(small_lab))
        params = [("start_date", "20230301"), ("end_date", "20230302"), ("metric", "session_count")]
        assert asked(store, Question("", params, date.max), cluster) == oracle.usage(small_lab, "", params)

    def test_only_sums_leave_the_cluster(
        self, cluster: Cluster, sample: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What comes back has one row for each row of the answer, and integers only."""
        fetched: list[pl.DataFrame] = []
        cluster.usage(sample, SAMPLE[0])  # each store may have its connection
        fetch = cluster._connection.to_pyarrow

        def watched(expression: Any) -> Any:
            table = fetch(expression)
            fetched.append(pl.DataFrame(table))
            return table

        monkeypatch.setattr(cluster._connection, "to_pyarrow", watched)
        answer = cluster.usage(sample, SAMPLE[0])
        (sums,) = fetched
        assert len(sums) == len(answer) > 1
        assert all(kind.is_integer() for kind in sums.dtypes)

    def test_nothing_stays_behind(self, cluster: Cluster, sample: Store) -> None:
        """After an answer the backend has the tables it had before."""
        gc.collect()
        before = set(cluster._connection.list_tables())
        cluster.usage(sample, SAMPLE[0])
        gc.collect()
        assert set(cluster._connection.list_tables()) <= before

    def test_the_store_may_have_another_address(
        self, cluster: Cluster, tmp_path: Path, small_lab: Lab
    ) -> None:
        """With ``root`` the backend reads the index there and nowhere else."""
        store = write_store(tmp_path / "here", tables(small_lab))
        there = Cluster(own_connection(cluster), root=f"{tmp_path}/there/")
        params = [("start_date", "20230301"), ("end_date", "20230302")]
        with pytest.raises(Exception, match="there"):
            asked(store, Question("", params, date.max), there)
        (tmp_path / "there").symlink_to("here", target_is_directory=True)
        asked(store, Question("", params, date.max), there)

    def test_lab(self, cluster: Cluster, tmp_path: Path, small_lab: Lab) -> None:
        """``open_store(path, backend=...)`` is a lab that says where it computes and answers the same."""
        write_store(tmp_path / "store", tables(small_lab))
        here = open_lab(tmp_path / "store")
        there = open_lab(tmp_path / "store", backend=own_connection(cluster))
        assert there.source.name == f"event store store on {cluster.name}"
        for by in ("", "user/team"):
            one, other = (lab.usage("2023-03", by=by, metric=list(METRICS)).df for lab in (here, there))
            assert one.equals(other)
            assert len(one)
        assert here.events("2023-03").equals(there.events("2023-03"))


def own_connection(cluster: Cluster) -> Any:
    """A connection such as a caller has: our own DuckDB opens the stores that were asked through it only."""
    import ibis

    return ibis.duckdb.connect() if cluster.name == "duckdb" else cluster._connection


def small_sample(folder: Path) -> Store:
    """The sample lab with 20,000 sessions, as a store."""
    from usagekit.engine.sample import build_sample

    write_store(folder, build_sample(sessions=20_000))
    return open_store(folder)
