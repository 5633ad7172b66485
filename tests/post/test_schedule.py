"""The schedule: one instant a month whatever the clocks do, and timers that the real tools accept."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import EVERY_ZONE
from usagekit.delivery.schedule import Schedule
from usagekit.delivery.timers import Place, crontab, github, systemd
from usagekit.errors import SettingsError
from usagekit.period import shift_month
from usagekit.settings import Settings

INSTANTS = st.integers(631152000, 4102444800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TIMES = st.times().map(lambda at: at.replace(microsecond=0))
ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.fault(47)
@given(st.sampled_from(EVERY_ZONE), st.integers(1, 28), TIMES, INSTANTS)
@example(
    "Europe/Berlin", 25, time(2, 30), datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
)  # the second 2:30 of that day
@example("Australia/Lord_Howe", 5, time(2, 15), datetime(2026, 10, 4, 15, 20, tzinfo=UTC))
def test_each_instant_is_after_one_month_and_before_the_next(
    zone: str, day: int, at: time, now: datetime
) -> None:
    """At any instant exactly one month is the last due: instants are in order, a month apart, and at the local time."""
    schedule = Schedule(zone, day, at)
    last, following = schedule.last_due(now), schedule.next_due(now)
    assert schedule.due_at(last) <= now < schedule.due_at(following)
    assert following == shift_month(last, 1)
    local = schedule.due_at(last).astimezone(ZoneInfo(zone))
    wall = local.replace(tzinfo=None)
    wanted = datetime.combine(wall.date().replace(day=day), at)
    skipped = (
        wanted.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    )
    assert wall in (wanted, skipped)


@pytest.mark.fault(47)
def test_the_clock_may_change_at_the_very_hour() -> None:
    """A time that does not exist that day is due an hour later, one that comes twice is due once, at first."""
    spring, autumn = Schedule("Europe/Berlin", 28, time(2, 30)), Schedule("Europe/Berlin", 25, time(2, 30))
    assert spring.due_at("2027-02") == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)  # 3:30 on the wall
    assert autumn.due_at("2026-09") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert autumn.last_due(datetime(2026, 10, 25, 1, 29, tzinfo=UTC)) == "2026-09"  # 2:29 for the second time


def settings(**changes: Any) -> Settings:
    return Settings(timezone="Asia/Kolkata", **changes)


def place(folder: Path, name: str = "R&D 100% $HOME") -> Place:
    """A folder of an awkward name, with a program in it that can be run."""
    (folder / name).mkdir(parents=True)
    program = folder / name / "usagekit"
    program.write_text("#!/bin/sh\necho ran in $PWD with $*\n")
    program.chmod(0o755)
    return Place(program, folder / name, getpass.getuser())


def test_cron_runs_the_command_every_hour(tmp_path: Path) -> None:
    """The line has one minute and stars, and its command, as cron hands it to the shell, runs in the right folder."""
    here = place(tmp_path)
    *comments, line = crontab(settings(schedule={"at": "06:10"}), here).splitlines()
    assert all(comment.startswith("#") for comment in comments)
    minute, *stars, command = line.split(" ", 5)
    assert (minute, stars) == ("40", ["*"] * 4)  # 06:10 in Kolkata is 00:40 in UTC
    assert "%" not in command.replace(r"\%", "")  # cron ends the command there
    shell = command.replace(r"\%", "%")
    done = subprocess.run(["/bin/sh", "-c", shell], env={"HOME": "/nowhere"}, cwd="/", check=False)
    assert done.returncode == 0
    log = here.folder / "usagekit.log"
    assert log.read_text() == f"ran in {here.folder} with run --due --log json\n"
    assert log.stat().st_mode & 0o077 == 0


def test_cron_is_told_what_secrets_it_lacks(tmp_path: Path) -> None:
    """Only what the settings do not name yet: first the token, then the password of a login; at last nothing."""
    here = place(tmp_path)
    files: dict[str, object] = {"token_file": "/etc/usagekit/token"}
    login: dict[str, object] = {"username": "usage"}
    assert "name token_file (mode" in crontab(settings(), here)
    assert "name password_file below [mail] (mode" in crontab(settings(**files, mail=login), here)
    login["password_file"] = "/etc/usagekit/smtp-password"
    assert "Cron passes" not in crontab(settings(**files, mail=login), here)


@pytest.mark.skipif(not shutil.which("crontab"), reason="no cron on this machine")
def test_crontab_takes_the_line(tmp_path: Path) -> None:
    """The real crontab accepts the file (-T only checks it)."""
    (tmp_path / "tab").write_text(crontab(settings(), place(tmp_path)))
    done = subprocess.run(["crontab", "-T", tmp_path / "tab"], capture_output=True, check=False)
    if b"invalid option" in done.stderr:
        pytest.skip("this crontab cannot check a file without installing it")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not ANALYZE, reason="no systemd on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """The real systemd finds nothing wrong, fires in the lab's zone and every hour, and calls the service well hardened."""
    archive = {"host": "imap.example.com", "username": "archive"}
    mail = {"username": "usage", "host": "smtp.example.com", "archive": archive}
    for name, text in systemd(settings(reports=tmp_path / "elsewhere", mail=mail), place(tmp_path)).items():
        (tmp_path / name).write_text(text)
    units = [tmp_path / "usagekit.service", tmp_path / "usagekit.timer"]
    done = subprocess.run([ANALYZE, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    service, timer = (unit.read_text() for unit in units)
    assert f'"{tmp_path}/elsewhere"' in service
    assert (
        service.count("LoadCredential=")
        == service.count("PASSWORD_FILE=%d") + service.count("TOKEN_FILE=%d")
        == 3
    )
    calendars = [line.partition("=")[2] for line in timer.splitlines() if line.startswith("OnCalendar=")]
    assert "Persistent=true" in timer
    done = subprocess.run(
        [ANALYZE, "calendar", "--base-time=2026-03-15 00:00:00 UTC", *calendars],
        capture_output=True, text=True, check=True, env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    fires = [line.partition(": ")[2] for line in done.stdout.splitlines() if "Next elapse" in line]
    assert fires == ["Thu 2026-04-02 00:30:00 UTC", "Sun 2026-03-15 01:00:00 UTC"]
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", units[0]], capture_output=True, text=True, check=False
    )
    exposure = float(done.stdout.rpartition("usagekit.service: ")[2].split()[0])
    assert exposure < 3


def test_github_runs_it_on_a_runner_that_remembers() -> None:
    """The workflow is YAML, runs hourly, alone, on a runner of one's own, with secrets by name and two known actions."""
    flow = yaml.safe_load(github(settings(mail={"username": "usage", "host": "smtp.example.com"})))
    assert flow[True]["schedule"] == [{"cron": "30 * * * *"}]  # YAML 1.1 reads the key "on" as true
    assert flow["permissions"] == {"contents": "read"}
    assert flow["concurrency"]["cancel-in-progress"] is False
    (job,) = flow["jobs"].values()
    assert "self-hosted" in job["runs-on"]
    secrets = {name: value for name, value in job["env"].items() if "secrets." in value}
    assert secrets == {
        name: f"${{{{ secrets.{name} }}}}" for name in ("HEADSPIN_API_TOKEN", "USAGEKIT_SMTP_PASSWORD")
    }
    used = {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step}
    assert used == {"actions/checkout", "actions/setup-python"}
    assert shlex.split(job["steps"][-1]["run"]) == ["usagekit", "run", "--due", "--log", "json"]


@pytest.mark.parametrize("name", ["two\nlines", 'quo"te', "the lab's", "back\\slash"])
def test_paths_that_no_timer_can_hold_are_refused(name: str) -> None:
    """A folder whose name would break out of a line or of quotes is refused, not escaped by guesswork."""
    with pytest.raises(SettingsError, match="without quotes"):
        Place(Path("/usr/bin/usagekit"), Path("/srv") / name, "usage")


@pytest.mark.fault(47)
@given(st.sampled_from(EVERY_ZONE), st.integers(0, 59), st.data())
def test_an_hourly_timer_finds_each_month_within_an_hour(zone: str, minute: int, data: st.DataObject) -> None:
    """Fires of a timer in UTC see each month of two years first within 60 minutes of its instant, some hours missed."""
    schedule = Schedule(zone, data.draw(st.integers(1, 28)), data.draw(TIMES))
    missed = data.draw(st.frozensets(st.integers(0, 24 * 40), max_size=3))
    now = schedule.due_at("2025-12").replace(minute=minute, second=0)
    known = {schedule.last_due(now)}
    for hour in range(24 * 40):
        fire = now + timedelta(hours=hour)
        if hour in missed:
            continue
        for month in schedule.months_due(fire, since=min(known), done=known):
            late = fire - schedule.due_at(month)
            skipped = sum(hour - 3 <= m < hour for m in missed)
            assert timedelta(0) <= late <= timedelta(hours=1 + skipped)
            known.add(month)
