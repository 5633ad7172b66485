"""A large store written without usagekit, answered by usagekit and by numpy and pandas: the same numbers, exactly."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.engine.big_store import (
    COUNTRY,
    HOSTS,
    IDLE_TEAMS,
    TEAMS,
    BigLab,
    aggregate,
    cut,
    make_lab,
    write_lab,
)
from usagekit.engine import local
from usagekit.engine.store import Store, open_store
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS, ROUTES

pytestmark = pytest.mark.slow

NOTHING: dict[str, Any] = dict.fromkeys(METRICS, 0) | {"avg_session_length": None}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[BigLab, Store]:
    """300,000 sessions of July to November 2022 in both eras, and usagekit's view of them."""
    lab = make_lab(20220901)
    path = tmp_path_factory.mktemp("foreign") / "store"
    write_lab(lab, path)
    return lab, open_store(path)


SCENES: dict[str, dict[str, Any]] = {
    "days around the change of era, New York": {
        "range": ("2022-08-20", "2022-09-12"),
        "zone": "America/New_York",
        "bin": "day",
    },
    "months with a 25 h day, Berlin, manual, two teams": {
        "range": ("2022-09-10", "2022-11-20"),
        "zone": "Europe/Berlin",
        "bin": "month",
        "automated": False,
        "filters": {"team_name": ("NA", "チーム", "nobody")},
    },
    "days of 23.5 h, Lord Howe, automated, one host and three devices": {
        "range": ("2022-09-28", "2022-10-04"),
        "zone": "Australia/Lord_Howe",
        "bin": "day",
        "automated": True,
        "filters": {"hostname": (HOSTS[1], HOSTS[2]), "device_address": "some"},
    },
    "all members, months, Kathmandu": {
        "range": ("2022-08-15", "2022-10-05"),
        "zone": "Asia/Kathmandu",
        "bin": "month",
        "switches": ("display_all", "combine_phone_os", "group_by_device_id", "include_user_notes"),
    },
    "notes and ids by day, St Johns, some users": {
        "range": ("2022-10-30", "2022-11-08"),
        "zone": "America/St_Johns",
        "bin": "day",
        "filters": {"user_email": ("NA", "p7@example.com", "p8@example.com")},
        "switches": ("combine_phone_os", "group_by_device_id", "include_user_notes"),
    },
}


def session_keys(lab: BigLab, by: str, switches: tuple[str, ...]) -> dict[str, list[Any]]:
    """For a route, the columns of the sessions and what each of their codes is called in a row."""
    ids = "group_by_device_id" in switches
    combine = "combine_phone_os" in switches
    devices = range(len(lab.device_id))
    persons = [(lab.name(n), email) for n, email in enumerate(lab.emails)]
    names: dict[str, tuple[str, list[Any]]] = {
        "device": ("device", [lab.device_id[n] if ids else lab.address(n) for n in devices]),
        "host": ("device", [HOSTS[host] for host in lab.device_host]),
        "country": ("device", [COUNTRY[host] for host in lab.device_host]),
        "devicemodel": ("device", [lab.model(n, combine=combine) for n in devices]),
        "team": ("team", [*TEAMS]),
        "user": ("person", [*persons]),
        "user/team": (
            "person",
            [(*person, ", ".join(lab.member_of.get(n, []))) for n, person in enumerate(persons)],
        ),
    }
    parts = [by] if by in names else by.split("/") if by else []
    return dict(names[part] for part in parts)


def members(
    lab: BigLab, by: str, keys: dict[str, list[Any]], switches: tuple[str, ...]
) -> list[tuple[Any, ...]]:
    """Every known member of a route's dimensions: those of the sessions and those that only a table names."""
    spare = {
        "device": ["spare" if "group_by_device_id" in switches else f"spare@{HOSTS[0]}"],
        "host": ["idle"],
        "country": ["FR"],
        "devicemodel": ["AndroidPhone" if "combine_phone_os" in switches else "Fold"],
        "team": IDLE_TEAMS,
    }
    parts = [by] if by in ("user", "user/team", "") else by.split("/")
    known = [
        dict.fromkeys([*(v for v in values if v is not None), *spare.get(part, [])])
        for part, values in zip(parts, keys.values(), strict=False)
    ]
    return list(product(*known))


def flat(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v for part in key for v in (part if isinstance(part, tuple) else (part,)))


def in_order(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(v is not None, "" if v is None else v) for v in row]


@pytest.mark.parametrize("by", ROUTES)
@pytest.mark.parametrize("scene", SCENES)
def test_every_route_as_brute_force(world: tuple[BigLab, Store], scene: str, by: str) -> None:
    """Rows, order, counts and floats of all six metrics are those that numpy and pandas find."""
    lab, store = world
    settings = SCENES[scene]
    switches: tuple[str, ...] = settings.get("switches", ())
    filters: dict[str, Any] = dict(settings.get("filters", {}))
    addresses = [lab.address(n) for n in range(len(lab.device_id))]
    if filters.get("device_address") == "some":
        filters["device_address"] = tuple(a for a in addresses if a.endswith(HOSTS[1]))[:3]
    keep = np.ones(len(lab.start), bool)
    if "automated" in settings:
        keep &= lab.automated == settings["automated"]
    hosts = [HOSTS[host] for host in lab.device_host]
    for key, column, names in (
        ("team_name", lab.team, TEAMS),
        ("user_email", lab.person, lab.emails),
        ("hostname", lab.device, hosts),
        ("device_address", lab.device, addresses),
    ):
        if key in filters:
            keep &= np.array([name in filters[key] for name in names] + [False])[column]
    first, last = settings["range"]
    pieces, labels = cut(lab, first, last, zone=settings["zone"], by=settings["bin"], keep=keep)
    keys = session_keys(lab, by, switches)
    used = ROUTES[by].options & set(switches)
    everyone = members(lab, by, keys, switches) if "display_all" in switches else []
    found = aggregate(lab, pieces, keys, ids="group_by_device_id" in used)
    for place in product(range(len(labels)), everyone):
        found.setdefault((place[0], *place[1]), NOTHING)
    assert len(found) > (1 if by or settings["bin"] == "day" else 0)
    rows = []
    for (number, *member), values in found.items():
        cells = flat(tuple(member))
        notes = (lab.notes.get(lab.emails.index(cells[1])),) if "include_user_notes" in used else ()
        rows.append(((number, *cells), notes, values))
    rows.sort(key=lambda row: in_order(row[0]))
    for name, metric in METRICS.items():
        query = UsageQuery(
            by=by,
            start=date.fromisoformat(first),
            end=date.fromisoformat(last),
            metric=name,
            bin_size=settings["bin"],
            timezone=settings["zone"],
            automated=settings.get("automated"),
            filters=tuple(filters.items()),
            **dict.fromkeys(switches, True),
        )
        expected = [
            (labels[number], *cells, *notes, values[name], metric.unit(query.bin_size))
            for (number, *cells), notes, values in rows
        ]
        assert local.usage(store, query).rows() == expected, name


def test_lab_has_what_it_promises(world: tuple[BigLab, Store]) -> None:
    """A guard on the test above: both eras, nulls, odd ends, devices on two hosts and unknown ones are there."""
    lab, store = world
    legacy = lab.start < 1_661_990_400_000_000
    assert legacy.any()
    assert (lab.person[legacy] < 0).any()
    assert (lab.team[legacy] < 0).any()
    assert (lab.person[~legacy] >= 0).all()
    assert (lab.end < lab.start).any()
    assert (~lab.has_end).any()
    assert len(set(lab.device_id)) < len(lab.device_id)
    assert None in lab.device_form
    assert {m.seconds for m in store.manifest.months} == {True, False}
    assert len(store.manifest.months) > 5
