"""A small store written by others, for the tests of the event store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import session
from tests.engine.plain_store import HOURS, put_dimension, put_events


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Three sessions of 1, 2 and 4 hours in March 2023 and one of 8 in April, written by pyarrow."""
    put_events(tmp_path / "lab", HOURS)
    put_events(tmp_path / "lab", [session(4, "2023-04-03 08:00", "2023-04-03 16:00")], month="2023-04")
    put_dimension(tmp_path / "lab", "devices", [("00123", "lab-1", "Pixel 8", "Android", "phone")])
    put_dimension(tmp_path / "lab", "hosts", [("lab-1", "DE")])
    return tmp_path / "lab"
