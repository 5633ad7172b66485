"""A made-up device lab, the same for the same seed on every machine: for demos, tests and first steps.

Fifteen months (2022-01 to 2023-03, UTC) of a lab with twelve teams in five countries, across the change of 2022-09-01
after which a session carries both its user and its team. It has what a real lab has: people who come and go, nightly
automation, devices nobody uses and a model of which there are too few, one device that moves, sessions stuck until a
timeout and a few broken rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

from usagekit.engine.sample.dice import Dice
from usagekit.engine.sample.fleet import Fleet, draw_fleet
from usagekit.engine.sample.people import People, Team, draw_people, sample_teams
from usagekit.engine.sample.sessions import draw_sessions
from usagekit.engine.tables import DIMENSION_SCHEMAS, TIMESTAMP, Tables
from usagekit.errors import SettingsError
from usagekit.vocabulary import CURRENT_ERA_START

_RENAMED_ON: Final = datetime(2022, 11, 1, tzinfo=UTC)
"""Before it the events of one person show a former name; ``users`` has the present one."""


def build_sample(*, seed: int = 7, teams: int = 12, sessions: int | None = None) -> Tables:
    """Build the sample lab.

    Parameters
    ----------
    seed
        Another seed gives a lab of the same kind with other chances.
    teams
        Number of teams; people (ten a team) and devices (thirteen a team, at least 24) follow.
    sessions
        About how many sessions, by default some 17,000 a team. Fewer thin the lab out; more bring people
        and devices in proportion.

    Returns
    -------
    The tables of an event store; times in whole seconds, events sorted by ``start_time``.

    Raises
    ------
    SettingsError : ``seed`` is negative, or ``teams`` or ``sessions`` is below 1.
    """
    for name, value, least in (("seed", seed, 0), ("teams", teams, 1), ("sessions", sessions, 1)):
        if value is not None and value < least:
            raise SettingsError(f"{name}={value} of the sample lab must be at least {least}")
    dice = Dice(seed)
    cast = sample_teams(teams)
    usual = sum(team.manual_sessions + team.automated_sessions for team in cast)
    factor = 1.0 if sessions is None else sessions / usual
    people = draw_people(cast, dice, growth=max(1.0, factor))
    fleet = draw_fleet(dice, size=max(1.0, factor) * teams / 12)
    drawn = draw_sessions(cast, people, fleet, dice=dice, factor=factor)
    return Tables(
        events=_events(_double_booked(drawn), cast, people=people, fleet=fleet),
        devices=fleet.devices,
        hosts=fleet.hosts,
        users=people.users,
        memberships=people.memberships,
        teams=pl.DataFrame({"team": [team.name for team in cast]}, schema=DIMENSION_SCHEMAS["teams"]),
    )


def _double_booked(drawn: pl.DataFrame) -> pl.DataFrame:
    """Add a few sessions that begin while another one still holds the device."""
    long = drawn.filter(~pl.col("automated"), pl.col("seconds") > 1800)
    copies = long[_spaced(6, len(long))].with_columns(
        start=pl.col("start") + 600, seconds=pl.lit(900, pl.Int64)
    )
    return pl.concat([drawn, copies]).sort("start", "device", maintain_order=True)


def _events(drawn: pl.DataFrame, teams: tuple[Team, ...], *, people: People, fleet: Fleet) -> pl.DataFrame:
    """The sessions as the store keeps them: names for numbers, the rule of each era, ten broken ends."""
    broken = _spaced(10, len(drawn))
    row, start = pl.int_range(pl.len()), pl.col("start")
    end = (
        pl.when(row.is_in(broken[::2]))
        .then(None)
        .when(row.is_in(broken[1::2]))
        .then(start - 60)
        .otherwise(start + pl.col("seconds"))
    )
    current = pl.from_epoch(start).dt.date() >= CURRENT_ERA_START
    person, device = drawn["person"], drawn["device"]
    names = pl.Series([team.name for team in teams], dtype=pl.String)
    user = (
        pl.when((pl.col("person") == people.renamed) & (start < int(_RENAMED_ON.timestamp())))
        .then(pl.lit(people.former_name))
        .otherwise(people.users["user"].gather(person))
    )
    has_person, has_team = current | ~pl.col("automated"), current | pl.col("automated")
    return drawn.select(
        session_id=pl.format("s{}", row.cast(pl.String).str.zfill(7)),
        start_time=(start * 1_000_000).cast(TIMESTAMP),
        end_time=(end * 1_000_000).cast(TIMESTAMP),
        device_id=fleet.devices["device_id"].gather(device),
        hostname=fleet.devices["hostname"].gather(device),
        user=pl.when(has_person).then(user),
        email=pl.when(has_person).then(people.users["email"].gather(person)),
        team=pl.when(has_team).then(names.gather(drawn["team"])),
        automated=pl.col("automated"),
    )


def _spaced(count: int, length: int) -> list[int]:
    """Up to ``count`` different rows of a table, evenly spaced; the last is near its end."""
    return sorted({int(0.97 * length * (k + 1) / count) for k in range(count)}) if length else []
