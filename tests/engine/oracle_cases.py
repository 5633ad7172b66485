"""Random labs and questions, and whether the engine answers them as the oracle does. For tests and soak runs."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from tests import oracle
from tests.oracle import Lab, Row
from tests.strategies import EVERY_ZONE, Question, Scene, event_bodies, labs, questions, scenes, stored
from usagekit.engine import local
from usagekit.engine.store import Store
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import METRICS

QUESTIONS = 8
"""Questions that each random lab is asked."""

ROUND = 10
"""Labs that Hypothesis makes in one go; it makes more of the same, so many rounds see more zones."""

_ROUNDS_OF_ZONES = 26

EVENT_COLUMNS = [
    "user",
    "email",
    "team",
    "automated",
    "device_id",
    "hostname",
    "start_time",
    "end_time",
    "duration",
    "date",
]


@st.composite
def asked_labs(draw: st.DrawFn, scene: st.SearchStrategy[Scene] | None = None) -> tuple[Lab, list[Question]]:
    """A lab and the questions to it, around one scene."""
    around = draw(scenes() if scene is None else scene)
    lab = draw(labs(around.near))
    asked = st.lists(questions(around, lab), min_size=QUESTIONS, max_size=QUESTIONS)
    return lab, draw(asked)


@st.composite
def listed_labs(draw: st.DrawFn) -> tuple[Lab, list[dict[str, Any]]]:
    """A lab and bodies of the events route."""
    scene = draw(scenes(zones=("UTC",)))
    lab = draw(labs(scene.near))
    return lab, draw(st.lists(event_bodies(scene, lab), min_size=1, max_size=3))


def answer(store: Store, question: Question) -> list[Row]:
    """The engine's rows for raw parameters, after a look at the columns and types of its frame."""
    query = UsageQuery.from_params(question.by, question.params, today=lambda _: question.today)
    frame = local.usage(store, query)
    assert tuple(frame.columns) == query.columns
    values = frame.schema[query.metric]
    assert values.is_integer() if METRICS[query.metric].is_count else values == pl.Float64
    assert all(t == pl.String for c, t in frame.schema.items() if c != query.metric)
    return frame.to_dicts()


def check_answers(lab: Lab, asked: list[Question]) -> int:
    """Ask a lab all its questions: same keys, values, floats and order; gives the number of questions."""
    with stored(lab) as store:
        for question in asked:
            expected = oracle.usage(lab, question.by, question.params, today=question.today)
            found = answer(store, question)
            assert found == expected
            assert [list(row) for row in found] == [list(row) for row in expected]
    return len(asked)


def ask_labs(rounds: int, first_seed: int, *, shrink: bool = True) -> tuple[int, set[str]]:
    """Ask ``rounds`` x 10 labs 8 questions each, in zones that change from round to round.

    Gives the number of questions and the zones; the first wrong answer is shrunk and raised.
    """
    asked = 0
    zones: set[str] = set()
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    for number in range(rounds):
        some = EVERY_ZONE[number % _ROUNDS_OF_ZONES :: _ROUNDS_OF_ZONES]

        @settings(max_examples=ROUND, database=None, derandomize=False, phases=phases)
        @seed(first_seed + number)
        @given(case=asked_labs(scenes() | scenes(zones=some)))
        def ask(case: tuple[Lab, list[Question]]) -> None:
            nonlocal asked
            zones.update(dict(question.params).get("timezone", "UTC") for question in case[1])
            asked += check_answers(*case)

        ask()
    return asked, zones


def listed(store: Store, body: dict[str, Any]) -> list[Row]:
    """The engine's events as the JSON rows that they become."""
    frame = local.events(store, EventsQuery.from_params(body))
    assert frame.columns == EVENT_COLUMNS
    assert frame.schema["duration"] == pl.Int64
    assert frame.schema["automated"] == pl.Boolean
    return [
        {
            c: v
            for c, v in row.items()
            if c not in (("automated", "user", "email") if row["automated"] else ("automated", "team"))
        }
        for row in frame.to_dicts()
    ]
