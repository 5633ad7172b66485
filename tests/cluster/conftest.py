"""The sample lab as a store, shared by the backends."""

from __future__ import annotations

import pytest

from tests.cluster.conformance import small_sample
from usagekit.engine.store import Store


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_sample(tmp_path_factory.mktemp("cluster") / "store")
