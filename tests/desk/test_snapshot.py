"""Fetching a month: few requests, all or nothing, and proof that a part is what was fetched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from usagekit.errors import ApiError, StoreError
from usagekit.fetch import fetch_snapshot, month_queries
from usagekit.lab import Lab
from usagekit.query import EventsQuery
from usagekit.snapshot import MANIFEST, SnapshotSource


def test_request_budget(snapshot_path: Path) -> None:
    """A month takes at most 27 requests and one for each team."""
    source = SnapshotSource(snapshot_path)
    assert len(month_queries("2023-03", "Europe/Berlin")) <= 27
    assert len(source.parts) <= 27 + len(source.teams)
    assert "Default" in source.teams  # a team without usage is a team


def test_manifest_says_what_was_asked(snapshot_path: Path) -> None:
    """Every part has its query, rows and SHA-256; the whole has its source and its time."""
    manifest = json.loads((snapshot_path / MANIFEST).read_text("utf-8"))
    assert manifest["month"] == "2023-03"
    assert manifest["as_of"].endswith("+00:00")
    assert manifest["source"].startswith("http://127.0.0.1:")
    for part in manifest["parts"]:
        assert part["query"]
        assert part["rows"] >= 0
        assert len(part["sha256"]) == 64
        assert (snapshot_path / part["file"]).exists()


def test_events_fit_one_request() -> None:
    """The events of the month and the two before are one legal request, a day wider on both sides."""
    for month in ("2023-01", "2023-03", "2024-03", "2023-08"):
        (events,) = (q for q in month_queries(month, "UTC") if isinstance(q, EventsQuery))
        assert (events.end - events.start).days + 2 <= 120


@pytest.mark.promise(14)
def test_a_changed_part_is_noticed(snapshot_path: Path, tmp_path: Path) -> None:
    """One flipped bit in a part is an error that names the file, not a number."""
    copy = shutil.copytree(snapshot_path, tmp_path / "copy")
    part = next(
        p for p in SnapshotSource(copy).parts if not isinstance(p.query, EventsQuery) and p.query.by == "team"
    )
    content = bytearray((copy / part.file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / part.file).write_bytes(content)
    with pytest.raises(StoreError, match=part.file):
        Lab(SnapshotSource(copy), timezone="Europe/Berlin").usage(("2022-03", "2023-03"), by="team")


def test_no_snapshot(tmp_path: Path) -> None:
    """A folder without a manifest is an error that says how to make one."""
    with pytest.raises(StoreError, match="usagekit fetch"):
        SnapshotSource(tmp_path)


def test_a_failed_fetch_leaves_the_old_snapshot(
    snapshot_path: Path, remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an answer fails, the snapshot of before is still whole and the one in use."""
    copy = shutil.copytree(snapshot_path, tmp_path / "copy")
    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    asked = remote.source.usage
    calls = iter(range(100))

    def failing(query: object) -> object:
        if next(calls) == 20:
            raise ApiError("gone", method="GET", path="/v1/usage")
        return asked(query)

    monkeypatch.setattr(remote.source, "usage", failing)
    with pytest.raises(ApiError):
        fetch_snapshot(remote, "2023-03", copy)
    assert {name: (copy / name).read_bytes() for name in before} == before


def test_fetching_again_gives_the_same_parts(snapshot_path: Path, remote: Lab, tmp_path: Path) -> None:
    """The same numbers make the same files, so that a snapshot's hash only moves when a number does."""
    fetch_snapshot(remote, "2023-03", tmp_path / "again")
    files = {p.name for p in snapshot_path.iterdir()} - {MANIFEST}
    assert {p.name for p in (tmp_path / "again").iterdir()} - {MANIFEST} == files
