"""The doctor in front of two servers that read the document in two ways, and of servers that are no use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.scripted import Reply, scripted
from tests.faults.two_readings import other_reading
from usagekit.api.client import Client
from usagekit.api.server import create_app, serving
from usagekit.doctor import examine
from usagekit.engine.sample import build_sample
from usagekit.engine.store import write_store
from usagekit.errors import SchemaError
from usagekit.probes import Finding
from usagekit.query import EventsQuery, UsageQuery
from usagekit.sources import ApiSource
from usagekit.vocabulary import ROUTES

TOKEN = "canary-d0c7"
TODAY = date(2023, 4, 1)
MARCH = {"start": date(2023, 3, 1), "end": date(2023, 3, 31)}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("doctor") / "store"
    write_store(path, build_sample(sessions=6_000))
    with serving(create_app(path, token=TOKEN)) as url, Client(base_url=url, token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def other(right: Client) -> Iterator[str]:
    with other_reading(right) as server:
        yield server.base_url


def told(client: Client) -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine(client, today=TODAY)}


def test_our_own_server_is_well(right: Client) -> None:
    """Of a server that reads the document as usagekit does, all is fine and each unknown is settled."""
    found = told(right)
    assert {f.level for f in found.values()} == {"fine"}, [
        str(f) for f in found.values() if f.level != "fine"
    ]
    assert found["teams"].says == "the account sees 12"
    assert "2022-01" in found["data"].says
    assert "+05:30 carries its offset" in found["labels of hours"].says
    assert found["end of a range"].says == found["end of a range of events"].says == "end_date is included"
    assert found["first day of a week"].says == "Monday"
    assert found["longest range of events"].says.endswith("is taken")
    assert found["times of events"].says.startswith("UTC:")
    assert "no answer tells a limit" in found["rate limit"].says
    assert sum(f.topic.startswith("columns of") for f in found.values()) == len(ROUTES) + 1


@pytest.mark.filterwarnings("ignore:the API sends a column 'colour'")
def test_the_other_reading_is_told(other: str) -> None:
    """Of a server that reads everything the other way round, each difference is told with what is done about it."""
    with Client(base_url=other, token=TOKEN) as client:
        found = told(client)
    assert "fault" not in {f.level for f in found.values()}
    assert "ahead" in found["clock"].says
    assert "x-ratelimit-remaining: 99" in found["rate limit"].says
    assert "'Device Address' for device_address" in found["columns of /v1/usage/device"].says
    assert "country not found" in found["columns of /v1/usage/country"].says
    assert "unknown: 'colour'" in found["columns of /v1/usage"].says
    assert "carries no offset" in found["labels of hours"].says
    assert 'end_date = "excluded"' in found["end of a range"].does
    assert found["end of a range of events"].says == "end_date is left out"
    assert found["first day of a week"].says == "Sunday"
    assert "is refused, 119 days are taken" in found["longest range of events"].says
    assert found["times of events"].says == "UTC-07:00, not UTC"


@pytest.mark.fault(20, 21)
@pytest.mark.filterwarnings("ignore:the API sends a column 'colour'")
@pytest.mark.parametrize("by", ["", "team", "device", "user", "team/device"])
def test_both_readings_give_the_same_numbers(right: Client, other: str, by: str) -> None:
    """With end_date set as the doctor says, days, weeks and months of total time are the same numbers."""
    with Client(base_url=other, token=TOKEN, end_excluded=True) as client:
        for bin_size in ("day", "week", "month"):
            query = UsageQuery(by=by, bin_size=bin_size, timezone="Europe/Berlin", **MARCH)
            theirs = ApiSource(client).usage(query).drop(columns="colour", errors="ignore")
            pd.testing.assert_frame_equal(theirs, ApiSource(right).usage(query), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:the API sends a column 'colour'")
def test_weeks_of_others_are_refused(other: str) -> None:
    """A mean or a count by weeks that begin on Sunday is refused in words that name the day."""
    with Client(base_url=other, token=TOKEN, end_excluded=True) as client:
        for metric in ("session_count", "avg_session_length"):
            query = UsageQuery(bin_size="week", metric=metric, **MARCH)
            with pytest.raises(SchemaError, match=r"Sunday .*, not Monday, and .*by day or by month"):
                ApiSource(client).usage(query)


@pytest.mark.fault(20, 21)
def test_long_ranges_of_the_other_reading(right: Client, other: str) -> None:
    """Fifteen months of events, asked of an API that leaves the last date out and refuses 120 days: none lost or doubled."""
    query = EventsQuery(start=date(2022, 1, 3), end=date(2023, 3, 20))
    with Client(base_url=other, token=TOKEN) as client:
        theirs = client.events(query)
    ours = right.events(EventsQuery(start=date(2022, 1, 3), end=date(2023, 3, 21)))
    assert len(theirs) > 3_000
    # Its days are its own, seven hours late: the same sessions but for the edges of the range.
    assert len(theirs) == len([r for r in ours if "2022-01-03 07" <= r["start_time"] < "2023-03-21 07"])


def run_doctor(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("USAGEKIT", "HEADSPIN"))}
    command = [str(Path(sys.executable).parent / "usagekit"), "doctor"]
    return subprocess.run(
        command, check=False, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=120
    )


def test_command_line(right: Client, tmp_path: Path) -> None:
    """``usagekit doctor`` prints its findings; it ends with 0, or with 3 and the reason where the API is no use."""
    good = run_doctor(tmp_path, USAGEKIT_BASE_URL=right.base_url, HEADSPIN_API_TOKEN=TOKEN)
    assert good.returncode == 0, good.stdout + good.stderr
    assert re.search(r"ok    connection: 127\.0\.0\.1:\d+ takes the token", good.stdout)
    bad = run_doctor(tmp_path, USAGEKIT_BASE_URL=right.base_url, HEADSPIN_API_TOKEN="canary-wrong")
    assert bad.returncode == 3
    assert "FAIL  connection" in bad.stdout
    assert "set HEADSPIN_API_TOKEN" in bad.stdout
    assert "canary" not in bad.stdout + bad.stderr + good.stdout + good.stderr


@pytest.mark.parametrize("reply", [Reply(status=503), Reply(b"<html>"), Reply(b'{"report": null}')])
def test_servers_that_are_no_use(reply: Reply) -> None:
    """A server that fails, sends pages or no rows is a fault that ends the examination."""
    with scripted(lambda _: reply) as server, Client(base_url=server.base_url, token=TOKEN) as client:
        client._patience = type(client._patience)(tries=1)
        found = list(examine(client, today=TODAY))
    assert [f.level for f in found] == ["fault"]


def test_an_account_without_usage() -> None:
    """Without any session there is nothing to calibrate by, which is a note and no fault."""
    with (
        scripted(lambda _: Reply(b'{"report": []}')) as server,
        Client(base_url=server.base_url, token=TOKEN) as client,
    ):
        found = told(client)
    assert found["data"].level == "note"
    assert "fault" not in {f.level for f in found.values()}
