"""The expression on DuckDB: the whole suite without a cluster and without Java."""

from __future__ import annotations

import pytest

from tests.cluster.conformance import Conformance
from usagekit.engine.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    for library in ("ibis", "duckdb"):
        pytest.importorskip(library, reason=f"no {library}: pip install 'usagekit[cluster]'")
    return Cluster("duckdb")


class TestDuckDB(Conformance):
    """The suite on DuckDB."""

    examples = 25
