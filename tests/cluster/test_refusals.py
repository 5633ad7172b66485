"""A backend that is missing or not exact is refused with words that help; needs none of them installed."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from usagekit.engine import cluster
from usagekit.engine.cluster import Cluster
from usagekit.engine.store import open_store as open_event_store
from usagekit.errors import SettingsError, StoreError
from usagekit.openers import open_store
from usagekit.query import UsageQuery


def test_unknown_backend(small_store: Path) -> None:
    """A misspelt backend is named, with the one that was meant."""
    with pytest.raises(SettingsError, match="'pysprak'; did you mean 'pyspark'"):
        open_store(small_store, backend="pysprak")


def test_connection_that_does_not_count_exactly() -> None:
    """A connection to a backend outside the tests is refused: ClickHouse would count distinct things roughly."""
    with pytest.raises(
        SettingsError, match="'clickhouse' is not known to count exactly: use duckdb or pyspark"
    ):
        Cluster(SimpleNamespace(name="clickhouse"))


def test_no_connection_at_all() -> None:
    """Something that is no Ibis connection is refused by the name of its type."""
    with pytest.raises(SettingsError, match="'object' is not known"):
        Cluster(object())


def test_index_outside_the_store(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster cannot see the index of a read-only store, which lives in this machine's temporary folder."""
    monkeypatch.setattr("usagekit.engine.store._read_only", lambda path: True)
    shutil.rmtree(small_store / "index")
    there = Cluster(SimpleNamespace(name="duckdb"), root="s3a://lab/store")
    query = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 31))
    with pytest.raises(StoreError, match="is not in it: who may write there"):
        there.usage(open_event_store(small_store), query)


@pytest.mark.parametrize(("backend", "extra"), [("duckdb", "cluster"), ("pyspark", "spark")])
def test_extra_not_installed(backend: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its libraries a backend says what to install."""
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=rf"pip install 'usagekit\[{extra}\]'"):
        Cluster(backend)


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_no_java(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java, Spark's absence of it is said before anything starts."""
    monkeypatch.setattr(cluster, "find_spec", lambda name: object())
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home:
        monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(SettingsError, match="Spark needs Java"):
        Cluster("pyspark")
