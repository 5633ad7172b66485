"""Soak the server: many clients while imports run, and schemathesis against its own description.

    python -m tests.soak.server [--clients 50] [--requests 1000] [--cases 20000] [--write]

Both run against a real server in a process of its own. Prints what was counted; fails where the product does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

from tests.conftest import session
from tests.oracle import Lab
from tests.soak.lines import report
from tests.strategies import tables
from tests.wire.conftest import TOKEN, hostile_lab
from usagekit.engine import local
from usagekit.engine.store import Store, write_store
from usagekit.errors import StoreLocked
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS, ROUTES

SERVE = """
import sys, uvicorn
from usagekit.api.limits import Limits
from usagekit.api.server import create_app, serving
limits = Limits(rows=int(sys.argv[3]))
with serving(create_app(sys.argv[1], token=sys.argv[2], limits=limits)) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
AUTH = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,ignored_auth"
)
"""All but positive_data_acceptance: a schema cannot say that a range must not end before it starts."""


@contextmanager
def server_process(store: Path, *, rows: int = 5_000_000) -> Iterator[str]:
    """A server of the store in another process; gives its base URL."""
    command = [sys.executable, "-c", SERVE, str(store), TOKEN, str(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(30)


@dataclass
class Tally:
    """What the clients saw: how often which version, wrong answers, and seconds per request."""

    versions: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98] * 1000 if len(self.seconds) > 1 else 0.0


def two_labs() -> list[Lab]:
    """A lab before and after an import that changes two months and a name in every answer."""
    old = hostile_lab()
    new = hostile_lab()
    new.sessions.extend(
        session(5000 + n, f"2023-{month}-{n + 1:02} 08:00", f"2023-{month}-{n + 1:02} 09:{n:02}", team=team)
        for month in ("03", "04")
        for n, team in enumerate(("NA", "new team", "チーム"))
    )
    new.users[:] = [{"email": "p1@example.com", "user": "Ana Neu", "notes": None}]
    return [old, new]


def questions() -> list[str]:
    """Targets that reach both months, on every route and metric."""
    common = "start_date=20230301&end_date=20230430&include_user_notes=true"
    return [
        f"{route.path}?{common}&metric={metric}&bin_size={size}"
        for route in ROUTES.values()
        for metric, size in zip(METRICS, ("day", "week", "month") * 2, strict=True)
    ]


def expected_rows(store: Store) -> dict[str, list[dict[str, object]]]:
    """The serial answer to every question, by target."""
    by_path = {route.path: by for by, route in ROUTES.items()}
    answers = {}
    for target in questions():
        path, _, query = target.partition("?")
        params = [(name, value) for name, value in (p.split("=") for p in query.split("&"))]
        answers[target] = local.usage(store, UsageQuery.from_params(by_path[path], params)).to_dicts()
    return answers


def hammer(
    base_url: str, expected: list[dict[str, list[dict[str, object]]]], *, client: int, requests: int
) -> Tally:
    """Ask one question after the other on one connection; every answer must be one version's, whole."""
    tally = Tally()
    connection = HTTPConnection(base_url.removeprefix("http://"), timeout=120)
    targets = questions()
    for number in range(requests):
        target = targets[(number * 7 + client * 13) % len(targets)]
        start = perf_counter()
        connection.request("GET", target, headers=AUTH)
        answer = connection.getresponse()
        body = answer.read()
        tally.seconds.append(perf_counter() - start)
        rows = json.loads(body).get("report") if answer.status == 200 else None
        found = [version for version, answers in enumerate(expected) if answers[target] == rows]
        if found:
            tally.versions[found[0]] += 1
        else:
            tally.wrong.append(f"{answer.status} {target}: {body[:200]!r}")
    connection.close()
    return tally


@dataclass
class Imports:
    """How many have ended."""

    count: int = 0


def import_again_and_again(store: Path, labs: list[Lab], stop: Event, done: Imports) -> None:
    """Write one lab after the other over the store until told to stop."""
    for number in count(1):
        # A reader that makes the index anew holds the lock for a moment.
        while True:
            try:
                write_store(store, tables(labs[number % 2]))
                break
            except StoreLocked:
                stop.wait(0.01)
        done.count = number
        if stop.wait(0.05):
            return


def storm(store: Path, *, clients: int, requests: int) -> tuple[Tally, int]:
    """Clients against a server while imports run: what they saw, and the number of imports.

    There are ``requests`` of each client, and more until two imports have run and both versions were answered.
    """
    labs = two_labs()
    expected = [expected_rows(write_store(store, tables(lab))) for lab in labs]
    assert all(expected[0][target] != expected[1][target] for target in expected[0])
    stop, total = Event(), Tally()
    done = Imports()
    with server_process(store) as base_url:
        importer = Thread(target=import_again_and_again, args=(store, labs, stop, done))
        importer.start()
        try:
            with ThreadPoolExecutor(clients) as pool:
                ask = partial(hammer, base_url, expected, requests=requests)
                while not _enough(total, done):
                    for tally in pool.map(lambda c: ask(client=c), range(clients)):
                        total.versions += tally.versions
                        total.wrong += tally.wrong
                        total.seconds += tally.seconds
        finally:
            stop.set()
            importer.join()
    return total, done.count


def _enough(seen: Tally, imports: Imports) -> bool:
    """Whether the clients have met what they are there for, or something wrong, or never will."""
    met = set(seen.versions) == {0, 1} and imports.count >= 2
    return bool(seen.seconds) and (met or bool(seen.wrong) or sum(seen.seconds) > 1000)


def schemathesis(
    store: Path, *, examples: int, seconds: int, phases: str = "coverage,fuzzing"
) -> tuple[int, str]:
    """Run schemathesis against the served description; gives the number of cases and its failures, if any."""
    with server_process(store, rows=20_000) as base_url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{base_url}/openapi.json"),
                *("--header", f"Authorization: Bearer {TOKEN}", "--checks", CHECKS, "--phases", phases),
                *("--mode", "all", "--max-examples", str(examples), "--max-time", str(seconds)),
                *("--continue-on-failure", "--no-color"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=store.parent,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
    counted = re.search(r"^ +([0-9]+) generated", done.stdout, re.MULTILINE)
    return int(counted[1]) if counted else 0, "" if done.returncode == 0 else done.stdout + done.stderr


def storm_counts(store: Path, clients: int, requests: int) -> dict[str, object]:
    """The counts of a storm; a wrong answer is an error that shows the first few."""
    tally, imports = storm(store, clients=clients, requests=requests)
    assert not tally.wrong, "\n".join(map(str, tally.wrong[:5]))
    return {
        "clients": clients,
        "answers": len(tally.seconds),
        "by version": dict(tally.versions),
        "imports": imports,
        "p99 (ms)": round(tally.p99_ms),
    }


def schemathesis_counts(store: Path, cases: int) -> dict[str, object]:
    """Cases of schemathesis without a failure, round after round until there are enough."""
    done = 0
    while done < cases:
        phases = "fuzzing" if done else "coverage,fuzzing"  # the cases of coverage are always the same
        more, failures = schemathesis(store, examples=1000, seconds=300, phases=phases)
        assert more, "schemathesis made no case"
        assert not failures, failures
        done += more
    return {"cases": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=1000, help="of each client")
    parser.add_argument("--cases", type=int, default=20_000, help="of schemathesis, at least")
    parser.add_argument("--write", action="store_true", help="add the lines to docs/soak-server.jsonl")
    asked = parser.parse_args()
    file = "soak-server.jsonl" if asked.write else None
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        report("clients while imports run", partial(storm_counts, store, asked.clients, asked.requests), file)
        report("schemathesis", partial(schemathesis_counts, store, asked.cases), file)


if __name__ == "__main__":
    main()
