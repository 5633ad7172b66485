"""When the people of the sample lab use which device, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from usagekit.engine.sample.dice import (
    AFTER_LAST_DAY,
    DAYS,
    FIRST_DAY,
    MONTH_OF_DAY,
    MONTHS,
    PERIOD_OF_DAY,
    Dice,
    Floats,
    Ints,
)
from usagekit.engine.sample.fleet import ZONES, Fleet
from usagekit.engine.sample.people import People, Team

# How much is done by hand at each local hour, with a dip at lunch, and on each weekday from Monday.
_MORNING: Final = (0.02, 0.01, 0.01, 0.01, 0.01, 0.02, 0.08, 0.4, 1.6, 3.4, 4.2, 3.8)
_AFTERNOON: Final = (1.5, 2.7, 4.0, 3.9, 3.1, 1.9, 0.8, 0.35, 0.2, 0.12, 0.06, 0.03)
_HOURS: Final = np.array(_MORNING + _AFTERNOON)
_WEEKDAYS: Final = (1.0, 1.1, 1.12, 1.05, 0.72, 0.05, 0.03)
_NIGHTS: Final = (1.0, 1.0, 1.0, 1.0, 0.8, 0.45, 0.45)
_RELEASE_NIGHTS: Final = {date(2023, 3, 11): 2.0, date(2023, 3, 25): 2.0}
"""Automation on the nights in which the clocks go forward in the USA and in Europe."""

_HOLIDAYS: Final = {
    **{(12, day): 0.25 for day in (23, 27, 28, 29, 30)},
    (12, 24): 0.1,
    (12, 25): 0.02,
    (12, 26): 0.06,
    (12, 31): 0.08,
    (1, 1): 0.02,
    (1, 2): 0.3,
}
"""Share of a usual day's work that is done on a holiday, by month and day."""

_DATES: Final = [FIRST_DAY + timedelta(days=k) for k in range(DAYS)]
_BUSY: Final = np.array([_HOLIDAYS.get((d.month, d.day), 1.0) for d in _DATES])
_OFFICE_DAYS: Final = _BUSY * [_WEEKDAYS[d.weekday()] for d in _DATES]
_TEST_NIGHTS: Final = (0.4 + 0.6 * _BUSY) * [_RELEASE_NIGHTS.get(d, _NIGHTS[d.weekday()]) for d in _DATES]

_TIMEOUT_SECONDS: Final = 4 * 3600
_LONGEST_WAIT_SECONDS: Final = 2 * 3600
_TURNAROUND_SECONDS: Final = 20
_SHORTEST_BURST, _LONGEST_BURST = 6, 24  # automated sessions


@dataclass(frozen=True, slots=True)
class _Crew:
    """A team at work: its ``members`` (rows of ``users``) and weights.

    ``pace`` of the days, ``presence`` of the members and ``devices`` by period.
    """

    team: Team
    members: Ints
    pace: Floats
    presence: Floats
    devices: Floats


def draw_sessions(
    teams: tuple[Team, ...], people: People, fleet: Fleet, *, dice: Dice, factor: float
) -> pl.DataFrame:
    """Sessions of all teams, about ``factor`` times as many as the teams have by themselves.

    Returns
    -------
    Integer columns ``team``, ``person``, ``device`` (rows of the tables), ``start`` (s since 1970, UTC), ``seconds``
    and the Boolean ``automated``, sorted by ``start``. No two sessions of one device overlap.
    """
    parts = []
    for number, team in enumerate(teams):
        pace = (np.array(team.trend) * dice.spread(0.05, count=MONTHS))[MONTH_OF_DAY]
        crew = _Crew(team, people.rosters[number], pace, people.presence[number], fleet.weights(team))
        for part, share in (
            (_manual(crew, fleet, dice, factor=factor), False),
            (_automated(crew, dice, factor=factor), True),
        ):
            parts.append(part.with_columns(team=pl.lit(number, pl.Int64), automated=pl.lit(share)))
    drawn = pl.concat(parts)
    zone = np.array([list(ZONES).index(site) for site in fleet.sites])
    midnight = _midnights()[zone[drawn["device"].to_numpy()], drawn["day"].to_numpy()]
    return _one_at_a_time(drawn.with_columns(start=pl.Series(midnight) + pl.col("second")))


def _manual(crew: _Crew, fleet: Fleet, dice: Dice, *, factor: float) -> pl.DataFrame:
    """Work by hand: office hours, lengths of every kind around 20 minutes."""
    count = round(factor * crew.team.manual_sessions)
    day = dice.pick(crew.pace * _OFFICE_DAYS, count=count)
    period = PERIOD_OF_DAY[day]
    person = crew.members[dice.pick(crew.presence, period)]
    device = dice.pick(crew.devices, period)
    second = dice.pick(_HOURS, count=count) * 3600 + dice.whole(0, 3599, count=count)
    seconds = _whole(20 * 60 * dice.spread(0.95, count=count))
    fate = dice.unit(count)
    false_start = (fate < 0.02) | ((fate < 0.3) & (device == fleet.flaky))
    seconds = np.where(false_start, dice.whole(4, 55, count=count), seconds)
    seconds = np.where(np.isin(device, fleet.stuck) & (fate > 0.9), _TIMEOUT_SECONDS, seconds)
    seconds = np.where((fate > 0.5) & (fate < 0.5015), 0, seconds)
    return _frame(day, second, person=person, device=device, seconds=seconds)


def _automated(crew: _Crew, dice: Dice, *, factor: float) -> pl.DataFrame:
    """Nightly bursts, each on one device: runs of nearly equal length, one after the other.

    They run under the tokens of members, mostly of the first ones. One burst of ten runs by day.
    """
    runs_per_burst = (_SHORTEST_BURST + _LONGEST_BURST) / 2
    count = round(factor * crew.team.automated_sessions / runs_per_burst)
    day = dice.pick(crew.pace * _TEST_NIGHTS, count=count)
    period = PERIOD_OF_DAY[day]
    keeper = crew.members[dice.pick(crew.presence / (1 + np.arange(len(crew.members))), period)]
    device = dice.pick(crew.devices, period)
    by_day = dice.unit(count) < 0.1
    start = np.where(by_day, dice.whole(9 * 3600, 16 * 3600, count=count), round(crew.team.night * 3600))
    start += dice.whole(0, 3, count=count) * 2400 + dice.whole(0, 240, count=count)

    runs = dice.whole(_SHORTEST_BURST, _LONGEST_BURST, count=count)
    burst = np.repeat(np.arange(count), runs)
    place = np.arange(len(burst)) - (np.cumsum(runs) - runs)[burst]
    seconds = _whole(crew.team.suite * dice.spread(0.03, count=len(burst)))
    seconds = np.where(dice.unit(len(burst)) < 0.03, seconds // 12, seconds)  # broke off at once
    second = start[burst] + place * (crew.team.suite + 45)
    return _frame(day[burst], second, person=keeper[burst], device=device[burst], seconds=seconds)


def _one_at_a_time(drawn: pl.DataFrame) -> pl.DataFrame:
    """Let sessions of one device wait for each other, drop those that would wait too long or leave the calendar.

    Each session begins at its own start or when the one before has ended, whichever is later. Unrolled: the largest
    of all starts so far, each reduced by the time that sessions took before it, plus the time taken until now.
    """
    taken = (pl.col("seconds") + _TURNAROUND_SECONDS).cum_sum().over("device")
    before = taken - pl.col("seconds") - _TURNAROUND_SECONDS
    begins = (pl.col("start") - before).cum_max().over("device") + before
    first, after = _midnight(FIRST_DAY, UTC), _midnight(AFTER_LAST_DAY, UTC)
    return (
        drawn.sort("device", "start", maintain_order=True)
        .with_columns(begins=begins)
        .filter(
            pl.col("begins") - pl.col("start") <= _LONGEST_WAIT_SECONDS,
            pl.col("begins").is_between(first, after - 1),
        )
        .select("team", "person", "device", "seconds", "automated", start="begins")
        .sort("start", "device", maintain_order=True)
    )


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime.combine(day, time(), tzinfo=zone).timestamp())


def _midnights() -> Ints:
    """The instant (s since 1970, UTC) of each local midnight: zones x days."""
    return np.array([[_midnight(day, zone) for day in _DATES] for zone in map(ZoneInfo, ZONES.values())])


def _whole(seconds: Floats) -> Ints:
    return np.rint(seconds).astype(np.int64)


def _frame(day: Ints, second: Ints, *, person: Ints, device: Ints, seconds: Ints) -> pl.DataFrame:
    return pl.DataFrame(
        {"day": day, "second": second, "person": person, "device": device, "seconds": seconds}
    )
