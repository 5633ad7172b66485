"""Every one-liner of the analyst's page, on the sample, over HTTP, from a store and from a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

import matplotlib as mpl
import pandas as pd
import pytest

import usagekit as uk
from usagekit.lab import Lab

mpl.use("agg")

ASKED: dict[str, Callable[[Lab], pd.DataFrame]] = {
    "usage by day": lambda lab: (
        lab.usage("2023-03", by="team", metric=["total_time", "session_count"], bin="day").df
    ),
    "13 months by model": lambda lab: lab.usage("last 13 months", by="devicemodel").df,
    "hours of a team": lambda lab: lab.usage("2023-03", bin="hour", team="Payments").df,
    "half a year of events": lambda lab: lab.events("2022-10", "2023-03"),
    "events": lambda lab: lab.events("2023-03"),
    "teams": lambda lab: pd.DataFrame({"team": lab.teams.names}),
    "devices": lambda lab: pd.DataFrame({"device": lab.devices.names}),
    "idle": lambda lab: lab.devices.idle("2023-03"),
    "compare": lambda lab: lab.usage("2023-03", by="team").compare("previous", "year").df,
    "compare several": lambda lab: lab.usage("2023-03", metric=["total_time", "user_count"]).compare().df,
    "wide": lambda lab: lab.usage("last 13 months", by="devicemodel").wide(),
    "explain": lambda lab: lab.explain("2023-03").df,
    "explain a team": lambda lab: lab.explain("2023-03", team="Payments").df,
    "check": lambda lab: lab.check("2023-03").df,
    "quality": lambda lab: lab.quality("2023-03").df,
}
NOT_IN_A_SNAPSHOT = {"usage by day", "hours of a team", "half a year of events"}


@pytest.fixture(scope="module")
def answers(local: Lab) -> dict[str, pd.DataFrame]:
    return {name: ask(local) for name, ask in ASKED.items()}


@pytest.mark.parametrize("name", ASKED)
def test_http_equals_store(name: str, remote: Lab, answers: dict[str, pd.DataFrame]) -> None:
    """Each line gives the same frame over HTTP as from the store, and one that is not empty."""
    assert len(answers[name])
    pd.testing.assert_frame_equal(ASKED[name](remote), answers[name], check_exact=True)


@pytest.mark.parametrize("name", sorted(set(ASKED) - NOT_IN_A_SNAPSHOT))
def test_snapshot_equals_store(name: str, frozen: Lab, answers: dict[str, pd.DataFrame]) -> None:
    """A snapshot gives the same frame for each line that it can answer."""
    pd.testing.assert_frame_equal(ASKED[name](frozen), answers[name], check_exact=True)


@pytest.mark.parametrize("name", ["usage by day", "half a year of events"])
def test_snapshot_refuses_what_it_does_not_hold(name: str, frozen: Lab) -> None:
    """What a snapshot does not hold is an error, never an empty frame."""
    with pytest.raises(uk.QueryError, match="hold"):
        ASKED[name](frozen)


def test_the_demo_answers_everything() -> None:
    """Each line works on uk.demo(), without any set-up."""
    lab = uk.demo()
    for name, ask in ASKED.items():
        assert len(ask(lab)), name


def test_pictures_and_facts(remote: Lab, local: Lab) -> None:
    """An answer can be drawn, asked for again by hand, and says when it was true."""
    from matplotlib import pyplot

    for lab in (remote, local):
        answer = lab.usage("2023-03", by="team", metric=["total_time", "session_count"])
        assert answer.request == answer.requests[0]
        assert answer.request.startswith(
            "/v1/usage/team?start_date=20230301&end_date=20230331&metric=total_time"
        )
        assert (
            [line.startswith("curl ") for line in answer.curl().splitlines()].count(True)
            == len(answer.requests)
            == 2
        )
        assert "canary" not in answer.curl()
        assert answer.as_of.tzinfo == UTC
    assert local.usage("last 13 months", by="devicemodel").plot().figure
    ax = pyplot.figure().subplots()
    assert local.usage("2023-03", bin="day", team="Payments").plot(ax=ax) is ax
    assert local.usage("2023-03", bin="hour", team="Payments").heatmap().figure
    pyplot.close("all")


def test_the_demo_opens_twice() -> None:
    """uk.demo is a function after its first use as well: no module takes its name."""
    assert uk.demo().teams.names == uk.demo().teams.names
    assert not hasattr(uk.demo, "__path__")
    assert uk.open_snapshot("demo").month == uk.demo().month
