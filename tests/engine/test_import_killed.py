"""An import that is killed at any moment leaves the old store or the new one, and can be repeated."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.engine.killing import KINDS, Case, check, content, fork, import_and_die, kill_at_random, make_case
from tests.engine.plain_store import EVENTS, copied


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """The store before, the files to import and what may be found afterwards."""
    return make_case(request.param, tmp_path)


@pytest.mark.fault(60)
@pytest.mark.slow
def test_killed_at_every_durable_step(case: Case) -> None:
    """Killed in place of its Nth sync, rename, removal or new folder, for every N, an import is all or nothing."""
    outcomes = []
    for step in range(1, 1000):
        store = case.folder / f"killed-{step}"
        if case.store.exists():
            copied(case.store, store)
        child = fork.Process(target=import_and_die, args=(step, case.files, store))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        outcomes.append(check(case, store))
    assert content(store) == case.new
    assert len(outcomes) > 20
    # Nothing of it, until all of it: what is final stays so.
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {False, True}


@pytest.mark.fault(60)
@pytest.mark.slow
def test_killed_at_any_time(case: Case) -> None:
    """Killed by somebody else at a random moment, an import is all or nothing as well."""
    dice = random.Random(20230301)
    killed = 0
    for number in range(12):
        died, _ = kill_at_random(case, case.folder / f"random-{number}", dice)
        killed += died
    assert killed > 0


def test_contents_can_differ(case: Case) -> None:
    """A guard on these tests: what they compare has every column and the new sessions."""
    rows, listed, teams, users = case.new
    assert len(rows[0]) == len(EVENTS.names)
    assert {row[0] for row in rows} >= {"s1", "s6", "s7"}
    assert (len(listed), "チーム" in teams, len(users)) == (len(rows), True, 1)
