"""The expression on Spark, in one local session (``make test-spark``)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.cluster.conformance import Conformance, asked
from tests.strategies import Question
from usagekit.engine.cluster import Cluster
from usagekit.engine.store import open_store
from usagekit.errors import StoreError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for library in ("ibis", "pyspark"):
        pytest.importorskip(library, reason=f"no {library}: pip install 'usagekit[spark]'")
    if not shutil.which("java", path=os.environ.get("JAVA_HOME", "") + "/bin") and not shutil.which("java"):
        pytest.skip("no Java: Spark needs version 17 or newer; install one, or set JAVA_HOME")
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
    }
    spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    yield Cluster("pyspark")
    spark.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestSpark(Conformance):
    """The suite on Spark."""

    examples = 20

    def test_files_that_spark_hides(self, cluster: Cluster, small_store: Path) -> None:
        """A month whose index file Spark would skip in silence is refused, by name."""
        events = small_store / "events"
        (events / "month=2023-03").rename(events / "month=_old")
        params = [("start_date", "20230301"), ("end_date", "20230302")]
        with pytest.raises(StoreError, match=r"skip .*_old\."):
            asked(open_store(small_store), Question("", params, date.max), cluster)
