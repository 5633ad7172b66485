"""The benchmark compares like with like, and its verdicts can be negative."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from benchmarks import check, page
from benchmarks.probe import PARTS
from benchmarks.question import COLUMNS
from benchmarks.rivals import RIVALS, rows_of, same
from benchmarks.sessions import FIRST, LAST, write_sessions

SPANS = [
    (FIRST, LAST),
    (date(2023, 3, 11), date(2023, 3, 12)),  # the day of 23 hours
    (date(2022, 8, 31), date(2022, 9, 1)),  # the change of the era
    (LAST, LAST + timedelta(days=40)),  # behind the last session
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 2,000 sessions; its name is their number."""
    store = tmp_path_factory.mktemp("bench") / "2000"
    write_sessions(store, 2000)
    return store


@pytest.mark.parametrize(("first", "last"), SPANS, ids=str)
def test_rivals_agree(store: Path, first: date, last: date) -> None:
    """All contenders give the same rows, also where a day, an era or the sessions end."""
    answers = {name: rows_of(rival(store, first, last)) for name, rival in RIVALS.items()}
    reference = answers.pop("plain pandas")
    assert reference
    assert all(same(reference, answer) for answer in answers.values())


def test_a_wrong_answer_is_noticed(store: Path) -> None:
    """One count more, a millionth of an hour more or a row less is not the same answer."""
    rows = rows_of(RIVALS["usagekit"](store, FIRST, LAST))
    for column, change in (("device_count", 1), ("total_time", 1e-6)):
        wrong = json.loads(json.dumps(rows))
        wrong[7][COLUMNS.index(column)] += change
        assert not same(rows, wrong)
    assert not same(rows, rows[1:])
    assert same(rows, json.loads(json.dumps(rows)))


def test_sessions_come_from_the_seed(store: Path, tmp_path: Path) -> None:
    """The same seed writes the same lab, another seed another."""
    usage = RIVALS["usagekit"]
    answer = rows_of(usage(store, FIRST, LAST))
    for seed, equal in ((7, True), (8, False)):
        again = tmp_path / str(seed)
        write_sessions(again, 2000, seed=seed)
        assert same(answer, rows_of(usage(again, FIRST, LAST))) is equal


@pytest.mark.parametrize("part", ["one month", "hour edges", "rows out"])
def test_parts_measure_something(store: Path, part: str) -> None:
    """Every part gives figures, none of them zero."""
    assert all(value > 0 for value in PARTS[part](store).values())


def test_a_step_back_is_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes figures within the bounds and fails when the engine is ten times slower."""
    kept = page.load()
    monkeypatch.setattr(page, "load", lambda: kept)
    check.main()
    kept["results"]["10000000"]["usagekit"]["seconds"] *= 10
    with pytest.raises(SystemExit, match="times faster than plain pandas"):
        check.main()


def test_page_shows_every_contender() -> None:
    """docs/performance.md holds the figures of docs/performance.json."""
    text = (page.DOCS / "performance.md").read_text("utf-8")
    results = page.load()["results"]
    assert page.table(results) in text
    assert page.parts(results) in text
