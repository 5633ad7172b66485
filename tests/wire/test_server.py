"""The server on a real port: routes, parameters, formats, errors and the document's own curl lines."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests import oracle
from tests.conftest import session
from tests.strategies import tables
from tests.wire.conftest import TOKEN, Served, hostile_lab
from usagekit.api.answers import usage_pieces
from usagekit.api.server import create_app, serving
from usagekit.engine.store import write_store
from usagekit.errors import SettingsError
from usagekit.vocabulary import EVENT_CSV_HEADER, EVENTS_PATH, METRICS, ROUTES

AUTH = {"Authorization": f"Bearer {TOKEN}"}
MARCH = "start_date=20230301&end_date=20230331"
DOCUMENT_LINES = (
    'curl -X GET -H "Authorization: Bearer <your_api_token>" "https://api-dev.headspin.io/v1/usage?start_date=20230301&end_date=20230331&metric=total_time&timezone=US/Pacific&bin_size=day&display_all=false"',
    'curl -X GET -H "Authorization: Bearer <your_api_token>" "https://api-dev.headspin.io/v1/usage/team?start_date=20230301&end_date=20230331&metric=total_time&timezone=US/Pacific&bin_size=day"',
    'curl -X GET -H "Authorization: Bearer <your_api_token>" "https://api-dev.headspin.io/v1/usage/team/device?start_date=20230301&end_date=20230331&metric=total_time&timezone=US/Pacific&bin_size=month&display_all=false&filter_on.team_name=team_1_to_include&filter_on.team_name=team2%20to%20include&filter_on.device_address=device_id@hostname"',
    """curl -X GET -H "Authorization: Bearer <your_api_token>" https://api-dev.headspin.io/v0/usage/events -d '{"start_date": "20200601", "end_date": "20200701"}'""",
)


def get(served: Served, target: str, **options: object) -> httpx.Response:
    return httpx.request("GET", served.base_url + target, **({"headers": AUTH, "timeout": 30} | options))


def is_error(answer: httpx.Response, status: int, word: str) -> bool:
    told = answer.json()
    named = word in told["detail"] and "Traceback" not in answer.text
    return (
        named
        and answer.status_code == told["status_code"] == status
        and set(told) == {"status", "status_code", "detail"}
    )


@pytest.mark.parametrize("by", ROUTES)
@pytest.mark.parametrize(
    "more",
    [
        "",
        "&bin_size=day&metric=avg_session_length&display_all=true&include_user_notes=true",
        "&bin_size=hour&automated=false&timezone=US/Pacific&group_by_device_id=true&combine_phone_os=true",
    ],
)
def test_routes_answer_as_the_oracle(served: Served, by: str, more: str) -> None:
    """Each aggregation route gives the oracle's rows, keys in the same order."""
    params = [tuple(pair.split("=")) for pair in (MARCH + more).split("&")]
    answer = get(served, f"{ROUTES[by].path}?{MARCH}{more}")
    expected = oracle.usage(served.lab, by, params)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["report"]
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, right in zip(rows, expected, strict=True):
        assert row == {
            k: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for k, v in right.items()
        }
    assert rows


@pytest.mark.parametrize("metric", METRICS)
def test_csv_has_the_columns_and_cells_of_json(served: Served, metric: str) -> None:
    """CSV carries what JSON carries: same columns, same text, numbers that read back exactly."""
    target = (
        f"/v1/usage/user/team?{MARCH}&bin_size=day&metric={metric}&display_all=true&include_user_notes=true"
    )
    rows = get(served, target).json()["report"]
    answer = get(served, target + "&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    table = pl.read_csv(io.BytesIO(answer.content), infer_schema=False)
    assert table.columns == list(rows[0])
    for found, row in zip(table.to_dicts(), rows, strict=True):
        for name, value in row.items():
            cell = found[name]
            assert (json.loads(cell) if isinstance(value, (int, float)) else cell) == value


def test_numbers_stay_numbers() -> None:
    """Extreme floats and whole floats are valid JSON that reads back exactly; counts are written as integers."""
    values = [1e16, 5e-324, 1.0, 1.7976931348623157e308, 0.1 + 0.2, None, 123456789.0]
    frame = pl.DataFrame({"x": values, "n": pl.Series(range(len(values)), dtype=pl.UInt32)})
    body = b"".join(usage_pieces(frame, "json"))
    assert json.loads(body) == {"report": [{"x": x, "n": n} for n, x in enumerate(values)]}
    assert re.findall(rb'"n":([^}]*)', body) == [str(n).encode() for n in range(len(values))]
    cells = list(csv.reader(b"".join(usage_pieces(frame, "csv")).decode().splitlines()))[1:]
    assert [float(x) if x else None for x, _ in cells] == values


def test_null_and_empty_differ_in_csv() -> None:
    """A null is an empty field and an empty string is two quotes."""
    frame = pl.DataFrame({"team": ["", None], "user_count": [1, 2]})
    assert b"".join(usage_pieces(frame, "csv")) == b'team,user_count\n"",1\n,2\n'


def test_events_rows(served: Served) -> None:
    """Manual rows carry user and email, automated rows team instead; values and order are the oracle's."""
    body = {"start_date": "20230301", "end_date": "2023/03/31"}
    rows = get(served, EVENTS_PATH, json=body).json()["report"]
    expected = oracle.events(served.lab, body)
    assert [list(row.items()) for row in rows] == [list(row.items()) for row in expected]
    assert {tuple(r)[:2] for r in rows} == {("user", "email"), ("team", "device_id")}
    assert sum("10:30:00" in str(r["end_time"]) for r in rows) == 2  # truly equal rows both stay


def test_events_csv(served: Served) -> None:
    """The CSV header is the document's; automated rows have their team and N/A for the email."""
    body = {"start_date": "20230301", "end_date": "20230331", "format": "csv"}
    text = get(served, EVENTS_PATH, json=body).text
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == EVENT_CSV_HEADER
    listed = get(served, EVENTS_PATH, json=body | {"format": "json"}).json()["report"]
    for cells, row in zip(rows, listed, strict=True):
        person = [row["team"], "N/A"] if "team" in row else [row["user"], row["email"]]
        others = [row[k] for k in ("device_id", "hostname", "start_time", "end_time", "duration", "date")]
        assert cells == ["" if v is None else str(v) for v in [*person, *others]]


@pytest.mark.parametrize(
    ("target", "status", "word"),
    [
        (f"/v1/usage?{MARCH}&colour=red", 400, "colour"),
        ("/v1/usage?start_date=20230230", 400, "start_date"),
        (f"/v1/usage?{MARCH}&timezone=Mars/Base", 400, "timezone"),
        (f"/v1/usage?{MARCH}&metric=weight", 400, "metric"),
        (f"/v1/usage?{MARCH}&bin_size=dya", 400, "day"),
        (f"/v1/usage?{MARCH}&format=xml", 400, "format"),
        (f"/v1/usage?{MARCH}&filter_on.color=x", 400, "filter_on"),
        (f"/v1/usage?{MARCH}&metric=total_time&metric=total_time", 400, "metric"),
        (f"/v1/usage/team?{MARCH}&filter_on.team_name=%FF", 400, "UTF-8"),
        (f"/v1/usage?{MARCH}&timezone=%ED%A0%80", 400, "UTF-8"),
        ("/v1/usage", 400, "start_date"),
        (f"{EVENTS_PATH}?start_date=20230301", 400, "start_date"),
        (f"/v1/usage/?{MARCH}", 404, "route"),
        ("/v1/usage/planet", 404, "route"),
    ],
)
def test_bad_questions(served: Served, target: str, status: int, word: str) -> None:
    """Whatever is unknown or wrong is an error in JSON that names it, never a 500."""
    answer = get(served, target)
    assert is_error(answer, status, word), answer.text


@pytest.mark.promise(11)
def test_too_long_a_question(served: Served) -> None:
    """A query string beyond 64 KiB is a 414 in JSON, not a parser's complaint."""
    connection = HTTPConnection(served.base_url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v1/usage?x=" + "x" * 65536, headers=AUTH)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status_code"]) == (414, 414)
    connection.close()


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "start_date"),
        (b"{}", 400, "start_date"),
        (b'{"start_date":"20230101","end_date":"20230502"}', 400, "121 days"),
        (b'{"start_date":"20230301","start_date":"20230301"}', 400, "start_date"),
        (b'{"start_date":"20230301","devices":[NaN]}', 400, "NaN"),
        (b'{"start_date":"20230301","devices":["\\ud800"]}', 400, "UTF-8"),
        (b'{"start_date":"20230301","devices":"x@y"}', 400, "devices"),
        (b'{"start_date":"20230301","format":["csv"]}', 400, "format"),
        (b'{"start_date":20230301}', 400, "start_date"),
        (b'{"colour":1}', 400, "colour"),
        (b"[]", 400, "object"),
        (b"null", 400, "object"),
        (b"{'a'}", 400, "JSON"),
        (b'"\xff"', 400, "UTF-8"),
        (b"[" * 200_000, 400, "deep"),
        (b"1" * 5000, 400, "JSON"),
        (b" " * (1024 * 1024 + 1), 413, "1024 KiB"),
    ],
)
def test_bad_bodies(served: Served, body: bytes, status: int, word: str) -> None:
    """A body that is not exactly a question is refused with its fault, whatever it holds."""
    answer = get(served, EVENTS_PATH, content=body)
    assert is_error(answer, status, word), answer.text


@pytest.mark.promise(12)
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        "Bearer é",
        "Bearer " + "x" * 100_000,
    ],
)
@pytest.mark.parametrize("target", [f"/v1/usage?{MARCH}", "/v1/usage?colour=red", EVENTS_PATH, "/nowhere"])
def test_without_the_token(served: Served, target: str, header: str) -> None:
    """Without the right token every route is a 401 before anything else of the request is looked at."""
    answer = get(served, target, headers={"Authorization": header.encode()})
    assert is_error(answer, 401, "token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.promise(12)
def test_two_tokens_are_none(served: Served) -> None:
    """A request with two Authorization headers is refused even if one of them is right."""
    twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    assert get(served, f"/v1/usage?{MARCH}", headers=twice).status_code == 401


@pytest.mark.promise(12)
def test_only_get(served: Served) -> None:
    """Another method is a 405 in JSON that says what is allowed."""
    answer = httpx.post(f"{served.base_url}/v1/usage?{MARCH}", headers=AUTH)
    assert is_error(answer, 405, "GET")
    assert "GET" in answer.headers["allow"]


@pytest.mark.promise(12)
def test_failure_shows_no_traceback(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault inside is a 500 in JSON that tells nothing of the machine."""

    def broken(*_: object) -> None:
        raise RuntimeError("secret path /srv/x")

    monkeypatch.setattr("usagekit.api.server.local.usage", broken)
    with serving(create_app(small_store, token=TOKEN)) as base_url:
        answer = httpx.get(f"{base_url}/v1/usage?{MARCH}", headers=AUTH)
    assert is_error(answer, 500, "log")
    assert "secret" not in answer.text


@pytest.mark.promise(12)
def test_needs_a_token(small_store: Path) -> None:
    """A server without a token does not start."""
    with pytest.raises(SettingsError, match="token"):
        create_app(small_store, token=" ")


def test_new_sessions_are_seen(tmp_path: Path) -> None:
    """A store that changes under a running server is answered from anew."""
    lab = hostile_lab()
    write_store(tmp_path, tables(lab))
    with serving(create_app(tmp_path, token=TOKEN)) as base_url:
        target = f"{base_url}/v1/usage?{MARCH}&metric=session_count"
        before = httpx.get(target, headers=AUTH).json()["report"][0]["session_count"]
        lab.sessions.append(session(999, "2023-03-20 10:00", "2023-03-20 11:00"))
        write_store(tmp_path, tables(lab))
        assert httpx.get(target, headers=AUTH).json()["report"][0]["session_count"] == before + 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", DOCUMENT_LINES)
def test_document_lines(served: Served, line: str) -> None:
    """The document's curl lines work verbatim, but for host and token; its unknown teams match nothing."""
    line = line.replace("https://api-dev.headspin.io", served.base_url).replace("<your_api_token>", TOKEN)
    done = subprocess.run(
        [*shlex.split(line), "-sS", "-w", "\n%{http_code}"], capture_output=True, check=True, timeout=60
    )
    body, status = done.stdout.rsplit(b"\n", 1)
    assert status == b"200", body
    rows = json.loads(body)["report"]
    assert bool(rows) == ("team_1_to_include" not in line and "20200601" not in line)


def test_document_lines_are_the_documents() -> None:
    """The curl lines tested here are those of the API's document, where it is at hand."""
    document = Path(__file__).parents[3] / "shared" / "usage-api.txt"
    if not document.exists():
        pytest.skip("no folder shared/ with the document beside this checkout")
    assert re.findall(r"^(curl .*)$", document.read_text(), re.MULTILINE) == list(DOCUMENT_LINES)
