"""The sample lab as every kind of Lab: over HTTP, over its store, and as a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from usagekit.api.client import Client
from usagekit.api.server import create_app, serving
from usagekit.engine.sample import build_sample
from usagekit.engine.store import open_store, write_store
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.snapshot import SnapshotSource
from usagekit.sources import ApiSource, StoreSource

ZONE = "Europe/Berlin"
TOKEN = "canary-51c0"
TODAY = date(2023, 4, 1)


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "store"
    write_store(path, build_sample(sessions=20_000))
    return path


@pytest.fixture(scope="session")
def local(sample_store: Path) -> Lab:
    return Lab(StoreSource(open_store(sample_store)), timezone=ZONE, today=TODAY, name="Test lab")


@pytest.fixture(scope="session")
def remote(sample_store: Path) -> Iterator[Lab]:
    with serving(create_app(sample_store, token=TOKEN)) as url, Client(base_url=url, token=TOKEN) as client:
        yield Lab(ApiSource(client), timezone=ZONE, today=TODAY, name="Test lab")


@pytest.fixture(scope="session")
def snapshot_path(remote: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots") / "2023-03"
    fetch_snapshot(remote, "2023-03", path)
    return path


@pytest.fixture
def frozen(snapshot_path: Path) -> Lab:
    source = SnapshotSource(snapshot_path)
    return Lab(source, timezone=source.timezone, today=TODAY, name=source.lab_name)
