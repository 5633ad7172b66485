"""Fixtures that all floors share: a small lab made by hand, and the Hypothesis profiles."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.oracle import Lab, Row

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("dev", deadline=None, suppress_health_check=_QUIET)
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def session(number: int, start: str, end: str | None, **values: object) -> Row:
    """A session of Ana in team NA on phone 00123@lab-1, but for ``values``; times are ISO, in UTC."""
    return {
        "session_id": f"s{number}",
        "start_time": datetime.fromisoformat(start).replace(tzinfo=UTC),
        "end_time": None if end is None else datetime.fromisoformat(end).replace(tzinfo=UTC),
        "device_id": "00123",
        "hostname": "lab-1",
        "user": "Ana (old name)",
        "email": "ana@example.com",
        "team": "NA",
        "automated": False,
    } | values


@pytest.fixture
def small_lab() -> Lab:
    """Six sessions of March 2023 with one oddity each; docs/semantics.md says what they mean."""
    return Lab(
        sessions=[
            session(1, "2023-03-01 23:30", "2023-03-02 00:30"),  # over midnight
            session(2, "2023-03-02 10:00", "2023-03-02 10:00", team="チーム"),  # zero length
            session(3, "2023-03-02 12:00", "2023-03-02 12:15:00.5", email="bo@example.com", user=None),
            session(4, "2023-03-02 13:00", None, device_id="a@b"),  # never ended
            session(
                5, "2023-03-02 14:00:00.5", "2023-03-02 13:59", hostname="lab-2"
            ),  # ended before it began
            session(6, "2023-03-02 15:00", "2023-03-02 16:00", automated=True, hostname="lab-2"),
        ],
        devices=[
            {
                "device_id": "00123",
                "hostname": "lab-1",
                "model": "Pixel 8",
                "os": "Android",
                "form_factor": "phone",
            },
            {
                "device_id": "spare",
                "hostname": "lab-1",
                "model": "iPad",
                "os": "iOS",
                "form_factor": "tablet",
            },
        ],
        hosts=[{"hostname": "lab-1", "country": "DE"}, {"hostname": "lab-3", "country": "JP"}],
        users=[{"email": "ana@example.com", "user": "Ana", "notes": "on leave"}],
        memberships=[
            {"email": "ana@example.com", "team": "チーム"},
            {"email": "ana@example.com", "team": "NA"},
            {"email": "member@example.com", "team": "NA"},
        ],
        teams=[{"team": "NA"}, {"team": "spare"}],
    )


@pytest.fixture
def small_store(small_lab: Lab, tmp_path: Path) -> Path:
    """The directory of a store that holds the small lab."""
    from tests.strategies import tables
    from usagekit.engine.store import write_store

    write_store(tmp_path / "store", tables(small_lab))
    return tmp_path / "store"
