"""The teams and people of the sample lab."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from usagekit.engine.sample.dice import MONTH_OF_PERIOD, MONTHS, Dice, Floats, Ints
from usagekit.engine.tables import DIMENSION_SCHEMAS

_STEADY: Final = (1.0,) * MONTHS
_GROWING: Final = tuple(0.45 + 0.09 * m for m in range(MONTHS))
_SHRINKING: Final = tuple(1.55 - 0.08 * m for m in range(MONTHS))
_SEASONAL: Final = (1.2, 0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.7, 0.9, 1.2, 1.6, 1.75, 1.3, 0.9, 0.8)
_JUMPING: Final = (*(1.0,) * (MONTHS - 1), 1.15)
_ENDING: Final = (*(1.0,) * (MONTHS - 4), 0.8, 0.5, 0.25, 0.0)


@dataclass(frozen=True, slots=True)
class Team:
    """The character of a team.

    ``manual`` and ``automated`` are sessions per person and month, ``trend`` one factor for each month, ``suite``
    the usual length of its automated sessions (s), ``night`` when its automation begins (h after local midnight).
    ``sites`` and ``forms`` say where and on what it works: weights by site and by form factor.
    """

    name: str
    people: int
    manual: int
    automated: int
    sites: Mapping[str, float]
    trend: tuple[float, ...] = _STEADY
    suite: int = 480
    night: float = 22.0
    forms: Mapping[str, float] | None = None

    @property
    def manual_sessions(self) -> float:
        """Manual sessions of the whole team in all months together."""
        return self.people * self.manual * sum(self.trend)

    @property
    def automated_sessions(self) -> float:
        """Automated sessions of the whole team in all months together."""
        return self.people * self.automated * sum(self.trend)


_US: Final = {"us-sf": 1.0, "us-ny": 0.5}
_EU: Final = {"de-be": 1.0, "gb-ld": 0.6}
_TV: Final = {"tv": 12.0, "phone": 0.15, "tablet": 0.3, "other": 1.0}

_TEAMS: Final = (
    Team("Payments", 16, 50, 90, _US | {"de-be": 0.5}, trend=_JUMPING),
    Team("NA", 10, 45, 60, {"us-ny": 1.0, "us-sf": 0.5}, suite=390, night=23.0),
    Team("R&D / Café", 8, 55, 20, {"de-be": 1.0}, suite=720, night=23.5),
    Team("チーム", 11, 40, 80, {"jp-tk": 1.0, "in-bl": 0.1}, suite=300),
    Team("Default", 5, 30, 20, _US | _EU, trend=_ENDING),
    Team("Streaming", 14, 45, 90, _US | _EU, trend=_SEASONAL, suite=600, forms={"tv": 3.0, "tablet": 1.5}),
    Team("Checkout", 12, 45, 60, {"gb-ld": 1.0, "in-bl": 0.6}, trend=_SHRINKING, suite=330, night=22.5),
    Team("Mobile Core", 6, 0, 250, _US | _EU | {"in-bl": 0.5}, suite=540, night=22.25),
    Team("Accessibility", 3, 60, 0, {"gb-ld": 1.0, "us-sf": 0.3}, forms={"tablet": 2.0}),
    Team("Growth", 13, 40, 60, {"in-bl": 1.0, "us-sf": 0.4}, trend=_GROWING, suite=420, night=24.5),
    Team("Search", 10, 45, 50, _EU | {"us-sf": 0.3}, suite=450, night=25.0),
    Team("TV Apps", 9, 35, 120, _US | {"gb-ld": 0.4}, suite=660, night=23.0, forms=_TV),
)

_NAMES: Final = {
    "us": (
        "Emily Jacob Olivia Marcus Hannah Tyler Sofía Noah Grace Ethan Maya Lucas",
        "Carter Nguyen O'Brien García Kim Johnson Rivera Thompson Patel Walker Brooks Rossi",
    ),
    "de": (
        "Lena Jonas Zoë Felix Mia Jürgen Anna Lukas Greta Paul Inés Till",
        "Müller Schäfer Weiß Krüger Vogel Hofmann Becker Lange Özdemir Kowalski Winter Brandt",
    ),
    "gb": (
        "Amelia Oliver Isla Harry Freya Callum Niamh Rhys Ruby Owen Poppy Adil",
        "Hughes Walsh Fletcher Ahmed Bennett MacLeod Shaw Okafor Price Campbell Hussain Doyle",
    ),
    "in": (
        "Aarav Priya Rohan Ananya Vikram Kavya Arjun Divya Nikhil Meera Sanjay Isha",
        "Sharma Iyer Reddy Gupta Nair Banerjee Rao Menon Desai Kulkarni Bose Singh",
    ),
    "jp": (
        "Ken Yui Haruto Sakura Ren Aoi Daiki Mio Kaito Rin Sho Hana",
        "Sato Suzuki Takahashi Tanaka Watanabe Ito Yamamoto Nakamura Kobayashi Kato Yoshida Yamada",
    ),
}
_KANJI: Final = {"Ken Sato": "佐藤 健", "Yui Ito": "伊藤 結衣"}
_NOTES: Final = (
    "QA lead",
    "Contractor, until 2023-06",
    'Owns the "smoke" suite',
    "Part time: Tue, Wed",
    "Accessibility reviewer; screen readers",
    "On call for nightly runs\nAsk before changing the schedule",
)
_RENAMED: Final = 3
_UNSEEN_HOMES: Final = ("us", "de", "gb", "in", "jp")


@dataclass(frozen=True, slots=True)
class People:
    """The people as tables and, for drawing sessions, as numbers.

    ``rosters`` holds, for each team, the rows of ``users`` that are its members, and ``presence`` how active each of
    them is in each period (periods x members; 0 before joining and after leaving). The first two always stay. The
    person in row ``renamed`` bore ``former_name`` before.
    """

    users: pl.DataFrame
    memberships: pl.DataFrame
    rosters: tuple[Ints, ...]
    presence: tuple[Floats, ...]
    renamed: int
    former_name: str


def sample_teams(count: int) -> tuple[Team, ...]:
    """The first ``count`` teams; beyond the twelve characters they repeat as ``Payments 2`` and so on."""
    rounds = -(-count // len(_TEAMS))
    named = [
        replace(team, name=f"{team.name} {k + 1}" if k else team.name)
        for k in range(rounds)
        for team in _TEAMS
    ]
    return tuple(named[:count])


def draw_people(teams: tuple[Team, ...], dice: Dice, *, growth: float) -> People:
    """People for the teams: ``growth`` times as many as the teams have by themselves."""
    homes: list[str] = []
    own: list[range] = []
    for team in teams:
        first, size = len(homes), max(3, round(team.people * growth))
        sites = list(team.sites)
        chosen = dice.pick(np.array([team.sites[s] for s in sites]), count=size)
        homes += [sites[c][:2] for c in chosen]
        own.append(range(first, first + size))
    seen = len(homes)
    homes += _UNSEEN_HOMES
    users = _users(homes, dice)
    emails = users["email"].to_list()

    rosters, presence, memberships = [], [], []
    for number in range(len(teams)):
        guests = dice.whole(0, seen - 1, count=len(own[number]) // 6)
        members = np.array([*own[number], *sorted(set(guests.tolist()) - set(own[number]))], dtype=np.int64)
        rosters.append(members)
        presence.append(_presence(len(members), len(own[number]), dice=dice, turnover=number == 0))
        memberships += [(emails[m], teams[number].name) for m in members.tolist()]
    # Three of those who never used anything are in a team all the same.
    memberships += [(emails[seen + k], teams[k % len(teams)].name) for k in range(3)]

    return People(
        users=users,
        memberships=pl.DataFrame(memberships, schema=DIMENSION_SCHEMAS["memberships"], orient="row"),
        rosters=tuple(rosters),
        presence=tuple(presence),
        renamed=_RENAMED,
        former_name=f"{users['user'][_RENAMED].split(' ')[0]} Lindqvist",
    )


def _users(homes: list[str], dice: Dice) -> pl.DataFrame:
    """One row for each person; the last is a namesake of the first."""
    met = dict.fromkeys(_NAMES, 0)
    taken: dict[str, int] = {}
    rows: list[tuple[str, str, str | None]] = []
    noted = dice.unit(len(homes))
    for number, home in enumerate(homes):
        firsts, lasts = (text.split() for text in _NAMES[home])
        k = met[home]
        met[home] += 1
        name = f"{firsts[k % 12]} {lasts[(5 * k + k // 12) % 12]}"
        if number == len(homes) - 1:
            name = rows[0][1]
        mailbox = _ascii(name)
        taken[mailbox] = taken.get(mailbox, 0) + 1
        again = taken[mailbox]
        email = f"{mailbox}{again if again > 1 else ''}@example.com"
        note = _NOTES[int(noted[number] * 1000) % len(_NOTES)] if noted[number] < 0.15 else None
        rows.append((email, _KANJI.get(name, name), note))
    return pl.DataFrame(rows, schema=DIMENSION_SCHEMAS["users"], orient="row")


def _ascii(name: str) -> str:
    for letter, plain in (
        ("ä", "ae"),
        ("ö", "oe"),
        ("Ö", "Oe"),
        ("ü", "ue"),
        ("ß", "ss"),
        (" ", "."),
        ("'", ""),
    ):
        name = name.replace(letter, plain)
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()


def _presence(members: int, own: int, *, dice: Dice, turnover: bool) -> Floats:
    """Activity by period and member: some join late, some leave early, all have their better months."""
    joined = np.where(dice.unit(members) < 0.2, dice.whole(1, MONTHS - 1, count=members), 0)
    left = np.where(dice.unit(members) < 0.12, dice.whole(4, MONTHS - 1, count=members), MONTHS)
    joined[:2], left[:2] = 0, MONTHS
    if own <= 3:
        joined[:own], left[:own] = 0, MONTHS
    if turnover:  # the last month shows one who is new and one who is gone
        joined[own - 2 : own], left[own - 2 : own] = (MONTHS - 1, 0), (MONTHS, MONTHS - 1)
    left = np.where(left <= joined, MONTHS, left)
    activity = dice.spread(0.5, count=members) * np.where(np.arange(members) < own, 1.0, 0.35)
    mood = dice.spread(0.35, count=MONTHS * members).reshape(MONTHS, members)
    months = np.arange(MONTHS)[:, None]
    present: Floats = activity * mood * ((months >= joined) & (months < left))
    return present[MONTH_OF_PERIOD]
