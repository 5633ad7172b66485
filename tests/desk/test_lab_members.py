"""The members of a lab: found by looking, completed by typing, and no filter for nobody."""

from __future__ import annotations

import pytest

from usagekit import members as members_module
from usagekit.errors import QueryError
from usagekit.lab import Lab
from usagekit.query import UsageQuery


class Counting:
    """A source that counts the questions that reach it."""

    def __init__(self, lab: Lab) -> None:
        self._source, self.asked = lab.source, []

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def usage(self, query: UsageQuery) -> object:
        self.asked.append(query)
        return self._source.usage(query)


@pytest.fixture
def counted(local: Lab) -> tuple[Lab, Counting]:
    """A new desk over the same store, and the questions that it asks."""
    source = Counting(local)
    return Lab(source, timezone=local.timezone, today=local.today), source


def test_names(local: Lab) -> None:
    """Every dimension lists its members sorted, with those that nobody used."""
    assert "Default" in local.teams
    assert {"NA", "R&D / Café", "チーム"} <= set(local.teams)
    for members in (local.teams, local.devices, local.models, local.users, local.hosts, local.countries):
        assert len(members) == len(members.names) == len(set(members))
        assert members.names == sorted(members.names)
    assert all("@" in name for name in local.devices)
    assert all("@" in name for name in local.users)


def test_snapshot_knows_the_same(frozen: Lab, local: Lab) -> None:
    """Teams and devices of a snapshot are those of the lab; of the others it knows those with usage."""
    assert frozen.teams.names == local.teams.names
    assert frozen.devices.names == local.devices.names
    for kind in ("models", "users", "hosts", "countries"):
        assert set(getattr(frozen, kind)) <= set(getattr(local, kind))
        assert len(getattr(frozen, kind))


def test_completion(local: Lab) -> None:
    """TAB offers names that Python can spell after a dot, and all of them as keys; both are the name."""
    assert local.teams.Payments == local.teams["Payments"] == "Payments"
    assert "Payments" in dir(local.teams)
    assert "チーム" in dir(local.teams)
    assert "R&D / Café" not in dir(local.teams)
    assert "R&D / Café" in local.teams._ipython_key_completions_()
    assert local.teams[0] == local.teams.names[0]
    with pytest.raises(AttributeError, match="did you mean 'Payments'"):
        _ = local.teams.Payment
    with pytest.raises(QueryError, match="did you mean 'Payments'"):
        _ = local.teams["payments"]


def test_looking_at_members_costs_nothing(counted: tuple[Lab, Counting]) -> None:
    """What notebooks look for on every object asks nothing, and a list is asked for once in 15 minutes."""
    lab, source = counted
    assert not hasattr(lab.teams, "_repr_latex_")
    assert repr(lab)
    assert lab._repr_html_()
    assert not source.asked
    assert lab.teams.names == lab.teams.names
    assert len(source.asked) == 1


def test_lists_grow_old(counted: tuple[Lab, Counting], monkeypatch: pytest.MonkeyPatch) -> None:
    """After 15 minutes the names are asked for again."""
    lab, source = counted
    now = 1000.0
    monkeypatch.setattr(members_module, "monotonic", lambda: now)
    _ = lab.teams.names
    now += 899
    _ = lab.teams.names
    assert len(source.asked) == 1
    now += 2
    _ = lab.teams.names
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    ("option", "wrong", "near"),
    [
        ("team", "Paymens", "Payments"),
        ("user", "felix.kruger@example.com", "felix.krueger@example.com"),
        ("host", "lab-de-be-9.example.com", "lab-de-be-1.example.com"),
        ("device", "zzz", None),
        ("team", "", None),
    ],
)
def test_unknown_names_are_refused_before_asking(
    counted: tuple[Lab, Counting], option: str, wrong: str, near: str | None
) -> None:
    """A filter that nobody matches is an error with the nearest names, and the question is not asked."""
    lab, source = counted
    with pytest.raises(QueryError, match=f"no {option} is called") as error:
        lab.usage("2023-03", metric="user_count", **{option: ["NA", wrong] if option == "team" else wrong})
    assert ("did you mean" in str(error.value)) == (near is not None)
    assert near is None or near in str(error.value)
    assert f"lab.{option}s.names" in str(error.value)
    assert error.value.parameter == option
    assert "user_count" not in {q.metric for q in source.asked}


def test_unknown_devices_of_events(local: Lab) -> None:
    """Events of a device that nobody knows are an error, not an empty list."""
    with pytest.raises(QueryError, match="no device is called"):
        local.events("2023-03", devices="nobody@nowhere")


def test_a_member_that_left_may_be_asked_for(counted: tuple[Lab, Counting]) -> None:
    """A name that the list has lost but the period has is a good name."""
    lab, source = counted
    whole = source._source.usage

    def without_list(query: UsageQuery) -> object:
        frame = whole(query)
        return frame[frame["team"] != "NA"] if query.display_all else frame

    source.usage = without_list
    assert "NA" not in lab.teams
    assert len(lab.usage("2023-03", by="team", team="NA").df) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"team": []}, "team is an empty list"),
        ({"team": 5}, "team=5 is not a name"),
        ({"team": ["NA", None]}, "team=None is not a name"),
        ({"country": "DE"}, "cannot filter by country: group with by='country'"),
        ({"tema": "NA"}, "unknown option 'tema'; did you mean 'team'"),
        ({"display_all": "yes"}, "display_all='yes' must be True or False"),
        ({"by": "regoin"}, "cannot group by 'regoin'"),
        ({"metric": []}, "metric is an empty list"),
        ({"metric": "totel_time"}, "did you mean 'total_time'"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
    ],
)
def test_errors_say_what_to_do(local: Lab, options: dict[str, object], message: str) -> None:
    """Each mistake in a question is a QueryError that says what to write instead."""
    with pytest.raises(QueryError) as error:
        local.usage("2023-03", **options)
    assert message in str(error.value)


def test_members_may_be_a_filter(local: Lab) -> None:
    """All teams as a filter are the same as no filter by team."""
    all_teams = local.usage("2023-03", by="team", team=local.teams).df
    assert all_teams.equals(local.usage("2023-03", by="team").df)


def test_idle_devices(local: Lab) -> None:
    """An idle device has no time in the month, and its last month with time is where the streak begins."""
    idle = local.devices.idle("2023-03")
    year = local.usage("last 13 months", by="device").df
    used = set(
        year.loc[(year["datetime"] == "2023-03-01") & (year["total_time_hours"] > 0), "device_address"]
    )
    assert set(idle["device_address"]) == set(local.devices) - used
    last = year[year["total_time_hours"] > 0].groupby("device_address")["datetime"].max()
    for row in idle.itertuples():
        if row.device_address in last:
            assert row.last_used == last[row.device_address]
            months = (2023 - row.last_used.year) * 12 + 3 - row.last_used.month
            assert row.idle_months == months
        else:
            assert row.idle_months == 13
    assert idle["idle_months"].is_monotonic_decreasing
    with pytest.raises(QueryError, match="not one whole month"):
        local.devices.idle(("2023-02", "2023-03"))
