"""The servers of the wire's tests serve the tests of faults too; the whole way is walked once for all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.offline import offline
from tests.wire.conftest import raw_server, served
from usagekit.engine.files import locked

__all__ = ["raw_server", "served", "whole_way"]


@pytest.fixture(scope="session")
def whole_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :mod:`tests.faults.whole_way`, walked by the first test of any worker that wants it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "way", shared / "way.done"
    with locked(shared / "way.lock", what="the whole way", wait=True):
        if not done.exists():
            command = offline("-m", "tests.faults.whole_way", str(folder))
            subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=280)
            done.touch()
    return folder
