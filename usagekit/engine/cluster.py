"""The same answers from many machines: an Ibis connection that reads the index where the cluster sees it.

The expression is that of :mod:`usagekit.engine.cluster_query`; planning before and dividing and naming after
are the local engine's.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, reduce
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from usagekit.engine.bins import query_bins
from usagekit.engine.cluster_query import Table, joined, sums_of
from usagekit.engine.local import answer, no_sums
from usagekit.engine.plan import make_plan
from usagekit.engine.store import Store
from usagekit.errors import SettingsError, StoreError, did_you_mean
from usagekit.query import UsageQuery

if TYPE_CHECKING:
    from usagekit.engine.manifest import Month

EXTRAS: Final = {"duckdb": "cluster", "pyspark": "spark"}
"""Backends that the conformance tests hold equal to the local engine, and the extra that brings each."""

_MOST_SPILT: Final = "50GiB"
"""What a DuckDB of our own may put on the disk while it works on one question."""


class Cluster:
    """An engine that answers aggregation queries over the index of an event store.

    Parameters
    ----------
    backend : "duckdb" or "pyspark" for a connection of its own (Spark: the running session, else a new one),
        or an Ibis connection to either.
    root : where the machines of the cluster see the store, when not under the path that it was opened by;
        such as ``s3a://bucket/store``.

    Raises
    ------
    SettingsError : the backend is unknown, or something it needs is not installed.
    """

    def __init__(self, backend: Any, *, root: str | None = None) -> None:
        self._connection = _connect(backend) if isinstance(backend, str) else backend
        self._spill: TemporaryDirectory[str] | None = None
        """Set for a DuckDB of our own, which is closed in: it reads the folders of ``_readable`` only."""
        self._readable: tuple[str, ...] = ()
        if backend == "duckdb":
            self._spill = TemporaryDirectory(prefix="usagekit-duckdb-")
            self._close_in(())
        self.name = str(getattr(self._connection, "name", type(backend).__name__))
        if self.name not in EXTRAS:
            # ClickHouse, for one, compiles and runs, but counts distinct things approximately.
            raise SettingsError(f"backend {self.name!r} is not known to count exactly: use {_known()}")
        if self.name == "pyspark":
            # Without Arrow, Spark knows no size of the small tables and does not broadcast them.
            self._connection._session.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
        self._root = root
        self._lock = Lock()

    def usage(self, store: Store, query: UsageQuery) -> pl.DataFrame:
        """Answer an aggregation query exactly as :func:`usagekit.engine.local.usage` does."""
        bins = query_bins(query)
        plan = make_plan(store, query)
        months = [
            m for m in store.manifest.months if m.sessions and m.start < bins.end and m.end >= bins.start
        ]
        per_second = 1 if all(m.seconds for m in months) else 1_000_000
        sums = no_sums(plan)
        if len(bins) and months:
            with self._lock:
                self._confine(store, months)
                sessions = self._sessions(store, months, per_second)
                wanted = sums_of(sessions, query, plan=plan, bins=bins, per_second=per_second)
                sums = joined(self._fetched(wanted), per_second)
        return answer(sums, query, plan=plan, bins=bins, per_second=per_second)

    def _confine(self, store: Store, months: Sequence[Month]) -> None:
        """See to it that a DuckDB of our own reads the index of this store and no other file."""
        if self._spill is None:
            return
        named = {Path(self._seen(month.file, store.path)).absolute().parent for month in months}
        places = {str(path) for folder in named for path in (folder, folder.resolve())}
        # DuckDB holds both against its list: the pattern that we ask for, and the file that it finds.
        folders = tuple(sorted(places | {_pattern(place) for place in places}))
        if folders != self._readable:
            self._close_in(folders)

    def _close_in(self, folders: tuple[str, ...]) -> None:
        """Take another connection: what one may read cannot be changed any more."""
        self._connection.disconnect()
        self._connection = _duckdb(folders, spill=self._spill.name if self._spill else "")
        self._readable = folders

    def _fetched(self, wanted: Table) -> pl.DataFrame:
        """Run an expression and drop the tables and views that it was made of."""
        from ibis.expr import operations

        try:
            return pl.DataFrame(self._connection.to_pyarrow(wanted))
        finally:
            # Ibis itself would keep tables from memory until the process ends.
            for table in wanted.op().find((operations.InMemoryTable, operations.DatabaseTable)):
                self._connection.drop_view(table.name, force=True)

    def _sessions(self, store: Store, months: Sequence[Month], per_second: int) -> Table:
        """Coded sessions of some months with start and duration as Int64, ``per_second`` units a second."""
        # Files of one kind are read as one table: a plan of a few tables, however many months there are.
        # Equal files share a name in the index, and Spark reads a name once: each time is a kind of its own.
        kinds: dict[tuple[str, bool, int], list[str]] = {}
        times: Counter[str] = Counter()
        for month in months:
            kind = (_types(store.path / month.file), month.seconds, times[month.file])
            kinds.setdefault(kind, []).append(self._seen(month.file, store.path))
            times[month.file] += 1
        tables = []
        for number, ((_, seconds, _), files) in enumerate(kinds.items()):
            table = self._read(files, f"usagekit_{id(self):x}_{number}")
            scale = per_second if seconds else 1
            start, duration = table.start.cast("int64") * scale, table.duration.cast("int64") * scale
            tables.append(table.mutate(start=start, duration=duration))
        return reduce(lambda one, other: one.union(other), tables)

    def _seen(self, file: str, store: Path) -> str:
        """The address of an index file for the cluster."""
        if self._root is None:
            return str(store / file)
        if Path(file).is_absolute():
            raise StoreError(f"the index of {store} is not in it: who may write there must open it first")
        return f"{self._root.rstrip('/')}/{file}"

    def _read(self, files: list[str], view: str) -> Table:
        if self.name == "pyspark":
            if hidden := [file for file in files if Path(file).name[0] in "._"]:
                raise StoreError(
                    f"Spark would skip {hidden[0]} for its first letter: rename its month's folder"
                )
            # Ibis reads one path at a time. Hadoop takes a path for a pattern.
            plain = [_escaped(file, "\\{}[]*?", "\\{}") for file in files]
            self._connection._session.read.parquet(*plain).createOrReplaceTempView(view)
            return self._connection.table(view)
        return self._connection.read_parquet(
            [_pattern(file) for file in files], table_name=view, hive_partitioning=False
        )


def _connect(backend: str) -> Any:
    if backend not in EXTRAS:
        raise SettingsError(f"unknown backend {backend!r}{did_you_mean(backend, EXTRAS)}; known: {_known()}")
    if not (find_spec("ibis") and find_spec(backend)):
        raise SettingsError(f"backend {backend!r} needs: pip install 'usagekit[{EXTRAS[backend]}]'")
    if backend == "pyspark" and not _has_java():
        raise SettingsError("Spark needs Java 17 or newer: install one, or set JAVA_HOME")
    import ibis

    return getattr(ibis, backend).connect()


def _sql_text(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _duckdb(folders: Sequence[str], *, spill: str) -> Any:
    """A DuckDB in memory that opens files in these folders only, by no link out of them; ``spill`` is for its own."""
    import ibis

    # Nothing is downloaded at run time: what the wheel of DuckDB holds is enough.
    connection = ibis.duckdb.connect(autoinstall_known_extensions=False, autoload_known_extensions=False)
    listed = ", ".join(_sql_text(f"{folder}/") for folder in folders)
    for setting in (
        "allow_community_extensions = false",
        # Memory is limited as DuckDB does by itself, to 80% of what the machine or container has. What does not
        # fit is spilt into a private folder, not into the one that we happen to be in.
        f"temp_directory = {_sql_text(spill)}",
        f"max_temp_directory_size = '{_MOST_SPILT}'",
        f"allowed_directories = [{listed}]",
        "enable_external_access = false",
        "lock_configuration = true",  # nobody opens this again
    ):
        connection.raw_sql(f"SET {setting}")
    return connection


def _known() -> str:
    return " or ".join(EXTRAS)


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin" if home else None) is not None


@lru_cache(maxsize=4096)
def _types(path: Path) -> str:
    """The column types of an index file, which never changes once written."""
    return repr(pl.scan_parquet(path, hive_partitioning=False, glob=False).collect_schema())


def _pattern(path: str) -> str:
    """A path as DuckDB's pattern that matches only itself."""
    return _escaped(path, "[*?", "[{}]")


def _escaped(path: str, special: str, form: str) -> str:
    """A path as a pattern that matches only itself."""
    return "".join(form.format(c) if c in special else c for c in path)
