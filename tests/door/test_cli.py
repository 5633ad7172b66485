"""The command line as a user types it: real processes, a real server, exit codes and words."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving import serving
from tests.strategies import tables
from tests.wire.conftest import hostile_lab
from usagekit.engine.store import write_store

USAGEKIT = str(Path(sys.executable).parent / "usagekit")
CANARY = "canary-0d17"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("USAGEKIT", "HEADSPIN"))}


@dataclass(frozen=True)
class Shown:
    stdout: str
    stderr: str


def run(*args: str, folder: Path, code: int = 0, **environment: str) -> Shown:
    """Run usagekit in a folder with a clean environment and check its exit code."""
    done = subprocess.run(
        [USAGEKIT, *args], check=False, cwd=folder, env=CLEAN | environment, capture_output=True, timeout=240
    )
    shown = Shown(done.stdout.decode(), done.stderr.decode())  # text=True would change line ends in names
    assert done.returncode == code, f"exit {done.returncode}\n{shown.stdout}\n{shown.stderr}"
    assert "Traceback" not in shown.stderr
    return shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "store"
    write_store(path, tables(hostile_lab()))
    return path


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[str]:
    """``usagekit serve`` in a process of its own."""
    with serving(store, environment=CLEAN, token=CANARY) as url:
        yield url


MARCH = ("start_date=20230301", "end_date=20230331")


def test_query_over_http(server: str, tmp_path: Path) -> None:
    """A route is printed as the JSON and the CSV of the API, with every name as it is."""
    env = {"USAGEKIT_BASE_URL": server, "HEADSPIN_API_TOKEN": CANARY}
    shown = run("query", "/v1/usage/team", *MARCH, "--format", "json", folder=tmp_path, **env).stdout
    teams = [row["team"] for row in json.loads(shown)["report"]]
    assert {"NA", "null", "チーム", "<script>alert(1)</script>", ""} <= set(teams)
    shown = run("query", "/v1/usage/team", *MARCH, "--format", "csv", folder=tmp_path, **env).stdout
    rows = list(csv.DictReader(io.StringIO(shown, newline="")))
    assert [row["team"] for row in rows] == teams
    assert list(rows[0]) == ["datetime", "team", "total_time", "unit"]
    shown = run("query", "/v1/usage/team", *MARCH, folder=tmp_path, **env).stdout
    assert "チーム" in shown


def test_query_equals_over_store(server: str, store: Path, tmp_path: Path) -> None:
    """Every route prints the same from the API and from the store."""
    env = {"USAGEKIT_BASE_URL": server, "HEADSPIN_API_TOKEN": CANARY}
    for route in ("/v1/usage", "/v1/usage/user/team", "/v1/usage/team/devicemodel", "/v0/usage/events"):
        args = ("query", route, *MARCH, "--format", "json")
        over_http = run(*args, folder=tmp_path, **env).stdout
        from_store = run(*args, "--store", str(store), folder=tmp_path).stdout
        assert json.loads(over_http) == json.loads(from_store)


def test_query_curl_keeps_the_secret(tmp_path: Path) -> None:
    """``--curl`` asks nobody and leaves the token to the shell."""
    args = ("query", "/v1/usage/team", *MARCH, "filter_on.team_name=R&D / Café", "--curl")
    shown = run(*args, folder=tmp_path, HEADSPIN_API_TOKEN=CANARY).stdout
    assert shown.startswith("curl -X GET")
    assert "$HEADSPIN_API_TOKEN" in shown
    assert CANARY not in shown
    assert "R%26D%20/%20Caf%C3%A9" in shown


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("query", "/v1/usage/tem", *MARCH), "did you mean '/v1/usage/team'"),
        (("query", "/v1/usage", "start_date=2023-03-01"), "start_date='2023-03-01'"),
        (("query", "/v1/usage", *MARCH, "bin_size=dya"), "did you mean 'day'"),
        (("query", "/v1/usage", "oops"), "name=value"),
        (("query", "/v1/usage", *MARCH), "HEADSPIN_API_TOKEN"),
        (("fetch", "--month", "2023-3"), "YYYY-MM"),
        (("render", "--month", "2023-03"), "usagekit fetch"),
        (("import", "no.csv", "--store", "s"), "no.csv"),
        (("import", "usagekit.xyz", "--store", "s"), "only .csv, .json and .parquet"),
        (("query", "/v1/usage", *MARCH, "--store", "nowhere"), "no event store"),
    ],
)
def test_wrong_usage_is_exit_2(args: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """A wrong question, setting or file is exit code 2 and one line that says what to do."""
    shown = run(*args, folder=tmp_path, code=2).stderr
    assert words in shown
    assert len(shown.strip().splitlines()) == 1


def test_refused_token_is_exit_3(server: str, tmp_path: Path) -> None:
    """A refused token is exit code 3, without the token in the words."""
    env = {"USAGEKIT_BASE_URL": server, "HEADSPIN_API_TOKEN": "wrong-" + CANARY}
    shown = run("query", "/v1/usage", *MARCH, folder=tmp_path, code=3, **env).stderr
    assert "401" in shown or "token" in shown
    assert CANARY not in shown


def test_import_lists_bad_rows(tmp_path: Path) -> None:
    """Bad rows are listed with their line; the good ones are in, or with --strict none."""
    header = "User/Team,Email,Device Id,Hostname,Start time,End time,Duration,Date"
    good = "Ana,ana@example.com,00123,lab-1,2023-03-01 10:00:00,2023-03-01 10:30:00,1800,20230301"
    bad = "NA,N/A,00123,lab-1,2023-02-30 10:00:00,2023-03-01 10:30:00,1800,20230301"
    (tmp_path / "events.csv").write_text("\n".join([header, good, bad, good]) + "\n", "utf-8")
    refused = run("import", "events.csv", "--store", "strict", "--strict", folder=tmp_path, code=2)
    assert "events.csv:3: start_time cannot be read" in refused.stderr
    assert "nothing was imported" in refused.stderr
    done = run("import", "events.csv", "--store", "store", folder=tmp_path)
    assert "events.csv:3: start_time cannot be read" in done.stderr
    assert done.stdout.startswith("2 new, 0 changed, 0 known before, 1 bad")
    again = run("import", "events.csv", "--store", "store", folder=tmp_path)
    assert again.stdout.startswith("0 new, 0 changed, 2 known before, 1 bad")
    shown = run(
        "query", "/v1/usage/device", *MARCH, "--store", "store", "--format", "csv", folder=tmp_path
    ).stdout
    assert "00123@lab-1,1.0,hour" in shown


def test_sample_never_overwrites(tmp_path: Path) -> None:
    """The sample is made where nothing is, and refuses a folder that holds events."""
    assert (
        "sessions of 3 teams"
        in run("sample", "--store", "s", "--teams", "3", "--sessions", "500", folder=tmp_path).stdout
    )
    assert "already holds events" in run("sample", "--store", "s", folder=tmp_path, code=2).stderr


def test_fetch_and_render(server: str, tmp_path: Path) -> None:
    """Fetch says how many requests it took; render makes the asked-for reports, and none twice."""
    (tmp_path / "usagekit.toml").write_text(f'lab_name = "Test lab"\nbase_url = "{server}"\n', "utf-8")
    fetched = run("fetch", "--month", "2023-03", folder=tmp_path, HEADSPIN_API_TOKEN=CANARY).stdout
    assert "(27, one for each of 10 teams and " in fetched
    args = ("render", "--month", "2023-03", "--team", '#read("x")', "--team", "")
    done = run(*args, folder=tmp_path, HEADSPIN_API_TOKEN=CANARY)
    assert "2 rendered, 0 unchanged, 0 failed" in done.stderr
    assert done.stdout.strip().endswith("reports/index.html")
    assert "0 rendered, 2 unchanged" in run(*args, folder=tmp_path).stderr
    made = [p for p in (tmp_path / "reports").rglob("*") if p.is_file()]
    assert sum(p.name == "report.pdf" for p in made) == 2
    assert not [
        p for p in [*made, *(tmp_path / "snapshots").rglob("*.*")] if CANARY.encode() in p.read_bytes()
    ]
    shown = run("render", "--month", "2023-03", "--team", "チー", folder=tmp_path, code=2).stderr
    assert "did you mean 'チーム'" in shown
    shown = run("render", "--month", "2023-03", "--template", "nope", folder=tmp_path, code=2).stderr
    assert "nope" in shown
    done = run(*args, "--log", "json", folder=tmp_path)
    assert done.stdout == ""  # both go to one file where cron runs it
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in told] == ["skipped", "skipped", "summary"]
    summary = {"rendered": 0, "unchanged": 2, "failed": 0, "index": "reports/index.html"}
    assert summary.items() <= told[-1].items()
    shown = run(
        "render", "--month", "2023-03", "--team", "チー", "--log", "json", folder=tmp_path, code=2
    ).stderr
    assert json.loads(shown)["event"] == "error"
    assert "did you mean 'チーム'" in json.loads(shown)["error"]
