"""The sample lab: the same on every build, and with the traits of a real lab."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from hashlib import sha256

import polars as pl
import pytest

from usagekit.engine.sample import build_sample
from usagekit.engine.tables import DIMENSION_KEYS, DIMENSION_SCHEMAS, EVENTS_SCHEMA, Tables
from usagekit.errors import SettingsError
from usagekit.vocabulary import DEVICE_OS, FORM_FACTORS

ZONES = {
    "us-sf": "America/Los_Angeles",
    "us-ny": "America/New_York",
    "de-be": "Europe/Berlin",
    "gb-ld": "Europe/London",
    "in-bl": "Asia/Kolkata",
    "jp-tk": "Asia/Tokyo",
}
ADDRESS = ["device_id", "hostname"]
MANUAL, AUTOMATED = ~pl.col("automated"), pl.col("automated")
NEW_ERA = pl.col("start_time") >= datetime(2022, 9, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def lab() -> Tables:
    started = time.perf_counter()
    tables = build_sample()
    print(f"sample lab of {len(tables.events)} sessions built in {time.perf_counter() - started:.2f} s")
    return tables


@pytest.fixture(scope="module")
def sessions(lab: Tables) -> pl.DataFrame:
    """Events with ``seconds``, month of start (UTC), start on the clock of the host and the device's model."""
    site = pl.col("hostname").str.extract(r"^lab-(\w\w-\w\w)-")
    local = [
        pl.when(site == name).then(pl.col("start_time").dt.convert_time_zone(zone).dt.replace_time_zone(None))
        for name, zone in ZONES.items()
    ]
    return lab.events.with_columns(
        seconds=(pl.col("end_time") - pl.col("start_time")).dt.total_seconds(),
        month=pl.col("start_time").dt.strftime("%Y-%m"),
        local=pl.coalesce(local),
    ).join(lab.devices, on=ADDRESS, how="left")


def checksum(tables: Tables) -> str:
    """A digest over every cell of every table, in order."""
    digest = sha256()
    for frame in (tables.events, *(tables.dimension(name) for name in DIMENSION_SCHEMAS)):
        digest.update(repr(frame.with_columns(pl.selectors.datetime().to_physical()).rows()).encode())
    return digest.hexdigest()


def hours(sessions: pl.DataFrame, team: str) -> dict[str, float]:
    """Hours of a team by month, in the current era."""
    rows = (
        sessions.filter(NEW_ERA, pl.col("team") == team).group_by("month").agg(pl.col("seconds").sum() / 3600)
    )
    return dict(rows.iter_rows())


def test_same_seed_same_bytes() -> None:
    """Two builds with equal arguments are equal to the last byte; another seed gives another lab."""
    first, second = build_sample(teams=3, sessions=3000), build_sample(teams=3, sessions=3000)
    assert checksum(first) == checksum(second)
    assert checksum(build_sample(seed=8, teams=3, sessions=3000)) != checksum(first)


def test_default_lab_is_pinned(lab: Tables) -> None:
    """The default lab is the same on every machine, so that documentation may quote its numbers."""
    # Changes only when the sample is changed on purpose.
    assert (len(lab.events), checksum(lab)[:16]) == (205382, "71e4fd6fa8324765")


def test_tables_have_the_schemas_of_the_store(lab: Tables) -> None:
    """Every table has exactly the store's columns and types, and unique keys that are never null."""
    assert lab.events.schema == EVENTS_SCHEMA
    for name, schema in DIMENSION_SCHEMAS.items():
        table = lab.dimension(name)
        assert table.schema == schema, name
        keys = table.select(DIMENSION_KEYS[name])
        assert not keys.is_duplicated().any(), name
        assert keys.null_count().sum_horizontal().item() == 0, name


def test_events_are_whole(lab: Tables) -> None:
    """Session ids are unique, devices and teams are known, times are whole seconds inside the 15 months, sorted."""
    events = lab.events
    assert events["session_id"].n_unique() == len(events)
    assert (
        events.select("session_id", *ADDRESS, "start_time", "automated").null_count().sum_horizontal().item()
        == 0
    )
    assert events.join(lab.devices, on=ADDRESS, how="anti").is_empty()
    assert lab.devices.join(lab.hosts, on="hostname", how="anti").is_empty()
    assert set(events["team"].drop_nulls()) == set(lab.teams["team"])
    assert set(events["email"].drop_nulls()) < set(lab.users["email"])
    assert events["start_time"].is_sorted()
    assert events["start_time"].min() >= datetime(2022, 1, 1, tzinfo=UTC)
    assert events["start_time"].max() < datetime(2023, 4, 1, tzinfo=UTC)
    assert events["start_time"].dt.strftime("%Y-%m").n_unique() == 15
    assert (events["start_time"].dt.microsecond() == 0).all()
    assert (events["end_time"].drop_nulls().dt.microsecond() == 0).all()


def test_eras_keep_their_rule(lab: Tables) -> None:
    """Before 2022-09-01 a session has its user (manual) or its team (automated), afterwards both."""
    has_user, has_team = pl.col("user").is_not_null(), pl.col("team").is_not_null()
    assert lab.events.filter(has_user != pl.col("email").is_not_null()).is_empty()
    old, new = lab.events.filter(~NEW_ERA), lab.events.filter(NEW_ERA)
    assert len(old) > 50_000
    assert old.filter(has_user != MANUAL).is_empty()
    assert old.filter(has_team != AUTOMATED).is_empty()
    assert new.filter(has_user & has_team).height == len(new) > 50_000


def test_size_of_the_default_lab(lab: Tables) -> None:
    """Twelve teams, about 120 people and 160 devices on 8 hosts in five countries, at most 250,000 sessions."""
    assert lab.teams.height == 12
    assert 110 <= lab.users.height <= 130
    assert 150 <= lab.devices.height <= 170
    assert lab.hosts.height == 8
    assert set(lab.hosts["country"]) == {"US", "DE", "GB", "IN", "JP"}
    assert set(lab.devices["os"]) == set(DEVICE_OS)
    assert set(lab.devices["form_factor"]) == set(FORM_FACTORS)
    assert 150_000 < lab.events.height <= 250_000


def test_awkward_names_survive(lab: Tables) -> None:
    """Teams called NA or in Japanese and a device id with leading zeros are there as plain strings, and in use."""
    assert {"NA", "R&D / Café", "チーム", "Default"} <= set(lab.teams["team"])
    assert lab.events.filter(pl.col("team") == "NA", NEW_ERA).height > 1000
    assert lab.events.filter(pl.col("device_id") == "00123").height > 100


def test_teams_have_characters(sessions: pl.DataFrame, lab: Tables) -> None:
    """One team grows, one shrinks, one peaks in winter, one ended, one only automates, one is of three people."""
    assert hours(sessions, "Growth")["2023-03"] > 1.3 * hours(sessions, "Growth")["2022-09"]
    assert hours(sessions, "Checkout")["2023-03"] < 0.7 * hours(sessions, "Checkout")["2022-09"]
    assert hours(sessions, "Streaming")["2022-11"] > 1.4 * hours(sessions, "Streaming")["2022-09"]
    assert hours(sessions, "Streaming")["2022-11"] > 1.4 * hours(sessions, "Streaming")["2023-03"]
    assert hours(sessions, "Default").keys() == {
        "2022-09",
        "2022-10",
        "2022-11",
        "2022-12",
        "2023-01",
        "2023-02",
    }
    assert sessions.filter(pl.col("team") == "Mobile Core")["automated"].all()
    people = lab.memberships.join(
        lab.events.filter(pl.col("team") == "Accessibility").select("email").unique(), on="email", how="semi"
    ).filter(pl.col("team") == "Accessibility")
    assert people.height == lab.memberships.filter(pl.col("team") == "Accessibility").height == 3


@pytest.mark.parametrize("team", ["Payments", "NA", "Search", "R&D / Café", "チーム"])
def test_hours_of_a_team_are_plausible(sessions: pl.DataFrame, lab: Tables, team: str) -> None:
    """A member accounts for 20 to 60 device hours a month, automation included."""
    members = lab.memberships.filter(pl.col("team") == team).height
    for month, value in hours(sessions, team).items():
        assert 20 * members * 0.8 < value < 60 * members, (month, value, members)


def test_people_come_and_go(sessions: pl.DataFrame, lab: Tables) -> None:
    """Some people are new in March 2023, some were last seen in February, some never, some are in several teams."""
    seen = (
        sessions.drop_nulls("email")
        .group_by("email")
        .agg(first=pl.col("month").min(), last=pl.col("month").max())
    )
    assert seen.filter(pl.col("first") == "2023-03").height >= 1
    assert seen.filter(pl.col("last") == "2023-02").height >= 1
    assert lab.users.join(seen, on="email", how="anti").height >= 3
    assert lab.memberships.join(seen, on="email", how="anti").height >= 2
    teams_per_person = sessions.filter(NEW_ERA).group_by("email").agg(pl.col("team").n_unique())
    assert teams_per_person.filter(pl.col("team") >= 2).height >= 5
    assert lab.users["notes"].drop_nulls().len() >= 5
    assert lab.users["email"].str.ends_with("@example.com").all()
    assert lab.users["user"].n_unique() < lab.users.height, "two people bear the same name"


def test_person_renamed(lab: Tables) -> None:
    """One person's events bear a former name before November 2022, and users.parquet only the present one."""
    names = lab.events.drop_nulls("email").select("email", former="user", start="start_time")
    names = names.join(lab.users, on="email").filter(pl.col("former") != pl.col("user"))
    assert names["email"].n_unique() == 1
    assert names["start"].max() < datetime(2022, 11, 1, tzinfo=UTC)


def test_only_members_use_in_a_teams_name(lab: Tables) -> None:
    """Every session with user and team is by a member of that team."""
    both = lab.events.drop_nulls(["email", "team"]).select("email", "team").unique()
    assert both.join(lab.memberships, on=["email", "team"], how="anti").is_empty()


def test_devices_idle_and_moved(sessions: pl.DataFrame, lab: Tables) -> None:
    """Some devices were never used, some not for months; one moved host in March 2023 and kept its id."""
    last = sessions.group_by(ADDRESS).agg(last=pl.col("month").max())
    assert 6 <= lab.devices.join(last, on=ADDRESS, how="anti").height <= 12
    assert (
        last.filter(pl.col("last").is_in(["2022-09", "2022-10", "2022-11", "2022-12", "2023-01"])).height >= 4
    )
    moved = lab.devices.filter(pl.col("device_id").is_duplicated())
    assert moved["hostname"].n_unique() == moved.height == 2
    days = sessions.join(moved, on=ADDRESS, how="semi").filter(pl.col("month") == "2023-03")
    before, after = (
        days.filter(pl.col("hostname") == host)["start_time"].dt.date()
        for host in days.sort("start_time")["hostname"].unique(maintain_order=True)
    )
    assert before.len() > 10 < after.len()
    assert date(2023, 3, 1) <= before.min() <= before.max() < after.min()
    assert before.max() <= date(2023, 3, 15) <= after.min()


def test_popularity_is_skewed(sessions: pl.DataFrame) -> None:
    """The busiest tenth of the devices has more than a quarter of all hours, but nobody has everything."""
    per_device = sessions.group_by(ADDRESS).agg(pl.col("seconds").sum())["seconds"].sort(descending=True)
    share = per_device.head(len(per_device) // 10).sum() / per_device.sum()
    assert 0.25 < share < 0.6


def test_manual_rhythm(sessions: pl.DataFrame) -> None:
    """Work by hand keeps office hours with a lunch dip, is less on Fridays, rare on weekends and holidays."""
    manual = sessions.filter(MANUAL)
    hour = dict(manual.group_by(pl.col("local").dt.hour()).len().iter_rows())
    assert hour[12] < 0.7 * min(hour[10], hour[14])
    assert sum(hour[h] for h in range(8, 18)) > 0.9 * manual.height
    weekday = dict(manual.group_by(pl.col("local").dt.weekday()).len().iter_rows())
    assert weekday[5] < 0.85 * weekday[4]
    assert weekday[6] + weekday[7] < 0.05 * manual.height
    day = dict(
        manual.filter(pl.col("month") == "2022-12").group_by(pl.col("local").dt.date()).len().iter_rows()
    )
    assert day.get(date(2022, 12, 26), 0) < 0.3 * day[date(2022, 12, 12)]
    assert 15 * 60 < manual["seconds"].median() < 25 * 60
    assert manual["seconds"].mean() > 1.3 * manual["seconds"].median()


def test_automation_rhythm(sessions: pl.DataFrame) -> None:
    """Automation runs mostly from 22:00 to 05:00 in short regular sessions, back to back on a device."""
    automated = sessions.filter(AUTOMATED)
    night = automated.filter((pl.col("local").dt.hour() >= 22) | (pl.col("local").dt.hour() < 5))
    assert 0.8 < night.height / automated.height < 0.98
    payments = automated.filter(pl.col("team") == "Payments")["seconds"].drop_nulls()
    assert payments.is_between(430, 530).mean() > 0.95
    gaps = automated.sort(*ADDRESS, "start_time").select(
        (pl.col("start_time") - pl.col("end_time").shift(1)).over(ADDRESS).dt.total_seconds().alias("gap")
    )
    assert gaps["gap"].is_between(0, 180).mean() > 0.7


@pytest.mark.parametrize(
    ("country", "instant"),
    [("us", "2023-03-12T10:00Z"), ("de", "2023-03-26T01:00Z"), ("", "2023-03-01T00:00Z")],
    ids=["clock change in the USA", "clock change in Europe", "month end"],
)
def test_sessions_cross_the_edges(lab: Tables, country: str, instant: str) -> None:
    """Sessions run while clocks go forward at the host and while a month ends."""
    edge = datetime.fromisoformat(instant)
    crossing = lab.events.filter(pl.col("start_time") < edge, pl.col("end_time") > edge)
    assert crossing.filter(pl.col("hostname").str.starts_with(f"lab-{country}")).height >= 1


def test_sessions_cross_local_midnight(sessions: pl.DataFrame) -> None:
    """Many sessions begin on one local day and end on the next."""
    crossing = pl.col("local").dt.date() < (pl.col("local") + pl.duration(seconds="seconds")).dt.date()
    assert sessions.filter(crossing).height > 500


def test_findings_for_data_quality(sessions: pl.DataFrame) -> None:
    """There are zero-length sessions and a handful that end before they start or never, in March 2023 too."""
    assert 20 < sessions.filter(pl.col("seconds") == 0).height < 500
    broken = sessions.filter(pl.col("seconds").is_null() | (pl.col("seconds") < 0))
    assert 3 <= broken["seconds"].null_count() < 10
    assert 3 <= (broken["seconds"] < 0).sum() < 10
    assert broken.filter(pl.col("month") == "2023-03").height >= 1


def test_stuck_and_flaky_devices(sessions: pl.DataFrame) -> None:
    """Sessions of exactly four hours are on one model only, and one device often breaks off within a minute."""
    stuck = sessions.filter(MANUAL, pl.col("seconds") == 4 * 3600)
    assert stuck.filter(pl.col("model") == "Galaxy A52").height > 100
    assert stuck.filter(pl.col("model") != "Galaxy A52").height < 10
    rate = sessions.filter(MANUAL).group_by(ADDRESS).agg(pl.len(), short=(pl.col("seconds") < 60).mean())
    rates = rate.filter(pl.col("len") > 200)["short"].sort(descending=True)
    assert rates[0] > 0.2 > 0.08 > rates[1]


def test_one_session_at_a_time(sessions: pl.DataFrame) -> None:
    """A device is used by one at a time, but for a few double bookings."""
    ordered = sessions.filter(pl.col("seconds") > 0).sort(*ADDRESS, "start_time")
    overlaps = ordered.filter(pl.col("start_time") < pl.col("end_time").shift(1).over(ADDRESS))
    assert 1 <= overlaps.height <= 10


@pytest.mark.parametrize(("teams", "wanted"), [(1, 500), (3, 2_000), (12, 20_000), (30, 60_000)])
def test_scale_down(teams: int, wanted: int) -> None:
    """Teams and sessions are as many as asked for, sessions within a tenth, and team names stay unique."""
    small = build_sample(teams=teams, sessions=wanted)
    assert small.teams["team"].n_unique() == small.teams.height == teams
    assert 0.9 * wanted <= small.events.height <= 1.1 * wanted


def test_scale_up(lab: Tables) -> None:
    """Twice the sessions come with about twice the people and devices, all with unique keys."""
    large = build_sample(sessions=2 * lab.events.height)
    assert 1.9 < large.events.height / lab.events.height < 2.1
    assert 1.8 < large.users.height / lab.users.height < 2.2
    assert 1.8 < large.devices.height / lab.devices.height < 2.2
    for name in DIMENSION_SCHEMAS:
        assert not large.dimension(name).select(DIMENSION_KEYS[name]).is_duplicated().any(), name


@pytest.mark.parametrize("wrong", [{"teams": 0}, {"sessions": 0}, {"seed": -1}])
def test_refuses_impossible_labs(wrong: dict[str, int]) -> None:
    """No teams, no sessions or a negative seed are refused by name."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        build_sample(**wrong)
