"""The answers of the Usage API, computed the slow and plain way from docs/semantics.md.

Nothing here is shared with usagekit, and nothing is clever: an answer is read off a list of sessions
bin by bin. The engine must agree with it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

from tests.oracle_bins import DAY, EPOCH, SECOND, bins

Row = dict[str, Any]
Key = tuple[str | None, ...]

MICROSECOND = timedelta(microseconds=1)

GROUP_COLUMNS: dict[str, tuple[str, ...]] = {
    "": (),
    "device": ("device_address",),
    "user": ("user", "email"),
    "team": ("team",),
    "host": ("hostname",),
    "country": ("country",),
    "team/device": ("team", "device_address"),
    "user/team": ("user", "email", "teams"),
    "devicemodel": ("device_model",),
    "team/devicemodel": ("team", "device_model"),
}
FILTERS = ("team_name", "user_email", "device_address", "hostname")
SWITCHES = ("display_all", "combine_phone_os", "group_by_device_id", "include_user_notes")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab as lists of dicts with the column names of the store; times are aware datetimes."""

    sessions: list[Row] = field(default_factory=list)
    devices: list[Row] = field(default_factory=list)
    hosts: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    memberships: list[Row] = field(default_factory=list)
    teams: list[Row] = field(default_factory=list)

    def name_of(self, email: str, own: str | None) -> str | None:
        """The name that users.parquet gives to an email, else the session's own."""
        return next((u["user"] for u in self.users if u["email"] == email), own)

    def notes_of(self, email: str) -> str | None:
        return next((u["notes"] for u in self.users if u["email"] == email), None)

    def teams_of(self, email: str) -> str:
        return ", ".join(sorted({m["team"] for m in self.memberships if m["email"] == email}))

    def country_of(self, hostname: str) -> str | None:
        return next((h["country"] for h in self.hosts if h["hostname"] == hostname), None)

    def model_of(self, device_id: str, hostname: str, *, combine: bool) -> str | None:
        for device in self.devices:
            if (device["device_id"], device["hostname"]) == (device_id, hostname):
                if combine and device["form_factor"] == "phone" and device["os"] == "Android":
                    return "AndroidPhone"
                if combine and device["form_factor"] == "phone" and device["os"] == "iOS":
                    return "iPhone"
                model: str | None = device["model"]
                return model
        return None


@dataclass(frozen=True, kw_only=True)
class _Question:
    """The raw parameters, read."""

    by: str
    metric: str
    bin_size: str
    zone: str
    first: date
    last: date
    automated: bool | None
    allowed: dict[str, set[str]]
    switches: set[str]

    @property
    def columns(self) -> tuple[str, ...]:
        columns = GROUP_COLUMNS[self.by]
        if "group_by_device_id" in self.switches:
            columns = tuple("device_id" if c == "device_address" else c for c in columns)
        return columns

    def allows(self, key: str, value: str | None) -> bool:
        return key not in self.allowed or value in self.allowed[key]


def usage(lab: Lab, by: str, params: Sequence[tuple[str, str]], *, today: date | None = None) -> list[Row]:
    """The rows of route ``by`` (its tail) for valid raw HTTP parameters, in the order of the wire.

    ``today`` is the local date that a missing ``end_date`` stands for.
    """
    question = _read(by, params, today)
    slots = bins(question.zone, question.bin_size, question.first, question.last)
    groups: dict[tuple[int, Key], list[Row]] = {}
    for session in lab.sessions:
        if not _counts(session, question):
            continue
        key = tuple(_group_value(lab, question, column, session) for column in question.columns)
        if any(v is None for c, v in zip(question.columns, key, strict=True) if c != "user"):
            continue
        for number, (_, start, end) in enumerate(slots):
            if _belongs(session, start, end):
                groups.setdefault((number, key), []).append(session)
    if "display_all" in question.switches:
        everyone = _members(lab, question)
        for place in product(range(len(slots)), everyone):
            groups.setdefault(place, [])
    rows = []
    for number, key in sorted(groups, key=lambda g: (g[0], [(v is not None, v or "") for v in g[1]])):
        label, start, end = slots[number]
        row: Row = {"datetime": label, **dict(zip(question.columns, key, strict=True))}
        if "include_user_notes" in question.switches and "email" in row:
            row["notes"] = lab.notes_of(row["email"])
        row[question.metric] = _value(question, groups[number, key], start, end)
        row["unit"] = _unit(question)
        rows.append(row)
    return rows


def events(lab: Lab, body: Mapping[str, Any], *, today: date | None = None) -> list[Row]:
    """The rows of /v0/usage/events for a valid JSON body; ``today`` stands for a missing ``end_date``."""
    first = _date(body["start_date"].replace("/", ""))
    last = _date(body["end_date"].replace("/", "")) if "end_date" in body else today
    assert last is not None, "a body without end_date needs today"
    start, end = datetime(first.year, first.month, first.day, tzinfo=UTC), last + DAY
    stop = datetime(end.year, end.month, end.day, tzinfo=UTC)
    chosen = [
        s
        for s in lab.sessions
        if start <= s["start_time"] < stop
        and ("devices" not in body or f"{s['device_id']}@{s['hostname']}" in body["devices"])
    ]
    chosen.sort(
        key=lambda s: (
            s["start_time"],
            s["device_id"],
            s["hostname"],
            s["end_time"] is not None,
            s["end_time"] or EPOCH,
            s["session_id"],
        )
    )
    return [_event(lab, s) for s in chosen]


def _event(lab: Lab, session: Row) -> Row:
    row: Row = {}
    if session["automated"]:
        row["team"] = session["team"]
    else:
        email = session["email"]
        row["user"] = session["user"] if email is None else lab.name_of(email, session["user"])
        row["email"] = email
    start, end = session["start_time"].astimezone(UTC), session["end_time"]
    return row | {
        "device_id": session["device_id"],
        "hostname": session["hostname"],
        "start_time": f"{start:%Y-%m-%d %H:%M:%S}",
        "end_time": None if end is None else f"{end.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "duration": None if end is None else (end - start) // SECOND,
        "date": f"{start:%Y%m%d}",
    }


def _read(by: str, params: Sequence[tuple[str, str]], today: date | None) -> _Question:
    plain = {name: value for name, value in params if not name.startswith("filter_on.")}
    allowed: dict[str, set[str]] = {}
    for name, value in params:
        if name.startswith("filter_on."):
            allowed.setdefault(name.removeprefix("filter_on."), set()).add(value)
    assert set(allowed) <= set(FILTERS), "the oracle answers valid questions only"
    last = _date(plain["end_date"]) if "end_date" in plain else today
    assert last is not None, "a question without end_date needs today"
    useful = {"display_all"}
    if "devicemodel" in by:
        useful.add("combine_phone_os")
    elif "device" in by:
        useful.add("group_by_device_id")
    elif "user" in by:
        useful.add("include_user_notes")
    return _Question(
        by=by,
        metric=plain.get("metric", "total_time"),
        bin_size=plain.get("bin_size", "month"),
        zone=plain.get("timezone", "UTC"),
        first=_date(plain["start_date"]),
        last=last,
        automated={"true": True, "false": False}[plain["automated"].lower()]
        if "automated" in plain
        else None,
        allowed=allowed,
        switches={s for s in SWITCHES if s in useful and plain.get(s, "").lower() == "true"},
    )


def _date(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


# Sessions


def _counts(session: Row, question: _Question) -> bool:
    """Whether a session is whole and passes the filters."""
    start, end = session["start_time"], session["end_time"]
    return (
        end is not None
        and start <= end
        and (question.automated is None or session["automated"] == question.automated)
        and question.allows("team_name", session["team"])
        and question.allows("user_email", session["email"])
        and question.allows("device_address", f"{session['device_id']}@{session['hostname']}")
        and question.allows("hostname", session["hostname"])
    )


def _belongs(session: Row, start: datetime, end: datetime) -> bool:
    """Whether a session overlaps a bin for more than zero time, or has zero length and starts in it."""
    if session["start_time"] == session["end_time"]:
        return bool(start <= session["start_time"] < end)
    return bool(max(session["start_time"], start) < min(session["end_time"], end))


def _group_value(lab: Lab, question: _Question, column: str, session: Row) -> str | None:
    device_id, hostname, email = session["device_id"], session["hostname"], session["email"]
    values: dict[str, str | None] = {
        "device_address": f"{device_id}@{hostname}",
        "device_id": device_id,
        "hostname": hostname,
        "country": lab.country_of(hostname),
        "device_model": lab.model_of(device_id, hostname, combine="combine_phone_os" in question.switches),
        "team": session["team"],
        "email": email,
        "user": None if email is None else lab.name_of(email, session["user"]),
        "teams": None if email is None else lab.teams_of(email),
    }
    return values[column]


def _value(question: _Question, sessions: list[Row], start: datetime, end: datetime) -> float | int | None:
    if question.metric == "total_time":
        inside: int = sum(
            (min(s["end_time"], end) - max(s["start_time"], start)) // MICROSECOND for s in sessions
        )
        return inside / (60_000_000 if question.bin_size == "hour" else 3_600_000_000)
    if question.metric == "avg_session_length":
        lengths = [
            (s["end_time"] - s["start_time"]) // MICROSECOND
            for s in sessions
            if start <= s["start_time"] < end
        ]
        return sum(lengths) / (len(lengths) * 60_000_000) if lengths else None
    if question.metric == "session_count":
        return len({s["session_id"] for s in sessions})
    if question.metric == "device_count" and "group_by_device_id" in question.switches:
        return len({s["device_id"] for s in sessions})
    if question.metric == "device_count":
        return len({f"{s['device_id']}@{s['hostname']}" for s in sessions})
    column = {"user_count": "email", "team_count": "team"}[question.metric]
    return len({s[column] for s in sessions} - {None})


def _unit(question: _Question) -> str:
    if question.metric == "total_time":
        return "minute" if question.bin_size == "hour" else "hour"
    return "minute" if question.metric == "avg_session_length" else "N/A"


# Members of a dimension, for display_all


def _members(lab: Lab, question: _Question) -> set[Key]:
    """Keys of the rows that display_all adds to every bin."""
    if question.by in ("user", "user/team"):
        people = _users(lab, question)
        if question.by == "user/team":
            return {(name, email, lab.teams_of(email)) for name, email in people}
        return set(people)
    addresses = {
        (row["device_id"], row["hostname"])
        for row in lab.devices + lab.sessions
        if question.allows("device_address", f"{row['device_id']}@{row['hostname']}")
        and question.allows("hostname", row["hostname"])
    }
    hosts = {
        row["hostname"]
        for row in lab.hosts + lab.devices + lab.sessions
        if question.allows("hostname", row["hostname"])
        and ("device_address" not in question.allowed or row["hostname"] in {host for _, host in addresses})
    }
    combine = "combine_phone_os" in question.switches
    choices: dict[str, set[str | None]] = {
        "device_address": {f"{device_id}@{hostname}" for device_id, hostname in addresses},
        "device_id": {device_id for device_id, _ in addresses},
        "hostname": hosts,
        "country": {lab.country_of(host) for host in hosts},
        "device_model": {lab.model_of(*address, combine=combine) for address in addresses},
        "team": _teams(lab, question),
    }
    return set(product(*(choices[column] - {None} for column in question.columns)))


def _teams(lab: Lab, question: _Question) -> set[str | None]:
    known = {row["team"] for row in lab.teams + lab.memberships + lab.sessions}
    if "user_email" in question.allowed:
        known &= {m["team"] for m in lab.memberships if question.allows("user_email", m["email"])}
    return {team for team in known if question.allows("team_name", team)}


def _users(lab: Lab, question: _Question) -> set[tuple[str | None, str]]:
    listed = {(u["user"], u["email"]) for u in lab.users}
    emails = {email for _, email in listed}
    own = {(s["user"], s["email"]) for s in lab.sessions if s["email"] not in emails | {None}}
    people = {(name, email) for name, email in listed | own if question.allows("user_email", email)}
    if "team_name" in question.allowed:
        fellows = {m["email"] for m in lab.memberships if question.allows("team_name", m["team"])}
        people = {(name, email) for name, email in people if email in fellows}
    return people
