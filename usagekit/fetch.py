"""Fetching a month: the questions that its reports need, asked once for all teams and saved as a snapshot."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usagekit.analysis.months import partial_days, utc_days
from usagekit.engine.files import publish_bytes, publish_text
from usagekit.errors import ApiStatusError, StoreError
from usagekit.fleet import ask_fleet
from usagekit.period import Period, month_of, parse_month
from usagekit.query import EventsQuery, UsageQuery
from usagekit.snapshot import FORMAT, MANIFEST, Part, SnapshotSource, Table, read_part

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.lab import Lab


def month_queries(
    month: str, timezone: str, *, partial: tuple[Period, Period] | None = None
) -> list[UsageQuery | EventsQuery]:
    """Plan the questions that a month's reports need of the whole lab: 27, for all teams at once.

    Of a running month, ``partial`` has the days of the month before that compare, and its own: they end with its last
    whole day, and the others take 12 more.

    Month bins reach from the same month a year before (13 bins), hour bins cover the month and the one
    before, single events the month and two before.
    """
    this = parse_month(month)
    end = partial[1].end if partial else this.end
    year = UsageQuery(start=month_of(this.start, shift=-12).start, end=end, timezone=timezone)
    two = replace(year, start=month_of(this.start, shift=-1).start, bin_size="hour")
    one = replace(year, start=this.start)
    counts = ("session_count", "user_count", "device_count", "avg_session_length")
    team = replace(year, by="team")
    roster = replace(year, by="device", display_all=True)
    days = utc_days(Period(month_of(this.start, shift=-2).start, end), timezone)
    planned: list[UsageQuery | EventsQuery] = [
        *(replace(year, automated=which) for which in (None, True, False)),
        *(replace(year, metric=metric) for metric in counts),
        team,
        replace(team, automated=True),
        *(replace(team, metric=metric) for metric in counts),
        replace(one, by="team", display_all=True),
        roster,
        replace(roster, metric="session_count"),
        *(replace(year, by=by) for by in ("devicemodel", "country", "host", "user")),
        *(replace(two, automated=which) for which in (None, True, False)),
        replace(two, by="team"),
        *(replace(year, by=by) for by in ("team/device", "team/devicemodel")),
        EventsQuery(start=days.start, end=days.end),
    ]
    if partial:
        before = partial[0]
        compares = [q for q in planned if isinstance(q, UsageQuery) and q.by in ("", "team")]
        same = [replace(q, start=before.start, end=before.end) for q in compares if q.start == year.start]
        planned += same
    return planned


def team_query(total: UsageQuery, team: str) -> UsageQuery:
    """Plan the one question that needs a request a team: its users over the time of ``total``."""
    return replace(total, by="user", filters=(("team_name", (team,)),))


def fetch_snapshot(
    lab: Lab,
    month: str,
    directory: Path,
    *,
    notes: Mapping[str, str] | None = None,
    on_part: Callable[[int, int], None] = lambda _done, _of: None,
) -> Path:
    """Ask a lab all that the reports of ``month`` need and save it in ``directory``.

    Beside the answers: the fleet (which model a device is), the people of each team, the ``notes`` on devices,
    and whether the month before has changed since its own snapshot was made (a folder of the month's name
    beside this one). ``on_part`` is told how many of how many answers are there.

    An answer that the API refuses for good is noted and missing, and the reports say so. Without the
    total, the list of teams or a connection there is no snapshot.

    Returns the manifest's path. When anything fails nothing of ``directory`` has changed but for files that no
    manifest names.

    Raises
    ------
    ApiError : the API cannot be reached, or refuses what no report can do without.
    """
    partial = partial_days(month, lab.as_of, lab.timezone)
    queries = month_queries(month, lab.timezone, partial=partial)
    total = next(q for q in queries if isinstance(q, UsageQuery))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds addresses
    asking = _Asking(lab, directory, lambda done: on_part(done, len(queries)))
    for query in tuple(queries):
        asking.save(query, needed=query in _needed(queries))
    roster = next(q for q in queries if isinstance(q, UsageQuery) and q.by == "team" and q.display_all)
    teams = sorted(asking.frame(roster)["team"].unique())
    of_team = {team: team_query(total, team) for team in teams}
    queries += of_team.values()
    for query in of_team.values():
        asking.save(query)
    devices = next(q for q in queries if isinstance(q, UsageQuery) and q.by == "device")
    before = _month_before(month, directory)
    tables = {"people": _people(asking, of_team)}
    if asking.has(devices):
        known = before.table("fleet") if before else None
        addresses = sorted(asking.frame(devices)["device_address"].unique())
        plain = replace(devices, display_all=False)
        tables["fleet"], asking.requests_for_fleet = ask_fleet(lab.source, plain, addresses, known=known)
    saved = {name: asdict(_publish(table, name, directory)) for name, table in tables.items()}
    old = {p.name for p in directory.glob("*.parquet")}
    old -= {p.file for p in asking.parts} | {table["file"] for table in saved.values()}
    manifest = {
        "format": FORMAT,
        "month": month,
        "lab": lab.name,
        "timezone": lab.timezone,
        "business_hours": asdict(lab.business_hours),
        "source": lab.source.name,
        "as_of": min(asking.times).isoformat(),
        "teams": teams,
        "partial": [(str(days.start), str(days.end)) for days in partial or ()],
        "requests": {"fleet": asking.requests_for_fleet},
        "restated": _restated(asking, queries, before),
        "notes": dict(notes or {}),
        "missing": [{"query": _to_json(q), "reason": reason} for q, reason in asking.missing.items()],
        "tables": saved,
        "parts": [{**asdict(p), "query": _to_json(p.query)} for p in asking.parts],
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, default=str)
    publish_text(directory / MANIFEST, text, private=True)
    for name in old:
        (directory / name).unlink(missing_ok=True)
    return directory / MANIFEST


class _Asking:
    """Puts the questions, saves the answers, and remembers which were refused."""

    def __init__(self, lab: Lab, directory: Path, told: Callable[[int], None]) -> None:
        self._lab, self._directory, self._told = lab, directory, told
        self.parts: list[Part] = []
        self.times: list[datetime] = []
        self.missing: dict[UsageQuery | EventsQuery, str] = {}
        self.requests_for_fleet = 0

    def save(self, query: UsageQuery | EventsQuery, *, needed: bool = False) -> None:
        source = self._lab.source
        try:
            frame = source.usage(query) if isinstance(query, UsageQuery) else source.events(query)
        except ApiStatusError as error:
            # A refused token or a rate limit concerns all questions; the rest may be this one's alone.
            if needed or error.concerns_all:
                raise
            self.missing[query] = str(error)
        else:
            self.times.append(source.as_of)  # read afterwards: an answer that was kept is older than now
            what = (query.by or "lab").replace("/", "-") if isinstance(query, UsageQuery) else "events"
            file = _publish(frame, what, self._directory)
            self.parts.append(Part(file.file, file.sha256, file.rows, query))
        self._told(len(self.parts) + len(self.missing))

    def has(self, query: UsageQuery) -> bool:
        return any(p.query == query for p in self.parts)

    def frame(self, query: UsageQuery | EventsQuery) -> pd.DataFrame:
        return read_part(self._directory, next(p for p in self.parts if p.query == query))


def _needed(queries: Sequence[UsageQuery | EventsQuery]) -> set[UsageQuery | EventsQuery]:
    """The questions without which there can be no report: the hours of the lab and of its teams, and which these are."""
    hours = (
        q for q in queries if isinstance(q, UsageQuery) and q.metric == "total_time" and q.automated is None
    )
    return {q for q in hours if q.by in ("", "team") and q.bin_size == "month"}


def _people(asking: _Asking, of_team: Mapping[str, UsageQuery]) -> pd.DataFrame:
    """Who used devices for which team: a row a team and email, over all 13 months."""
    import pandas as pd

    found = [
        pd.DataFrame({"team": team, "email": sorted(asking.frame(query)["email"].dropna().unique())})
        for team, query in of_team.items()
        if asking.has(query)
    ]
    frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame({"team": [], "email": []})
    return frame.astype("str")


def _month_before(month: str, directory: Path) -> SnapshotSource | None:
    """The snapshot of the month before, if there is one beside this month's."""
    before = month_of(parse_month(month).start, shift=-1).month or ""
    try:
        return SnapshotSource(directory.parent / before) if directory.name == month else None
    except StoreError:
        return None


def _restated(
    asking: _Asking, queries: Sequence[UsageQuery | EventsQuery], before: SnapshotSource | None
) -> dict[str, Any] | None:
    """What the month before was in its own snapshot, made when it was over, and what it is now (h), also by team."""
    if before is None or before.partial:
        return None
    month = str(before.period)
    pairs = []
    for by in ("", "team"):
        then, now = (
            next(q for q in planned if isinstance(q, UsageQuery) and q.by == by)
            for planned in (month_queries(month, before.timezone), queries)
        )
        frames = before.usage(then), asking.frame(now)
        pairs.append([f[f["datetime"] == str(before.period.start)] for f in frames])
    (was, now_is), teams = pairs[0], [dict(f.groupby("team")["total_time_hours"].sum()) for f in pairs[1]]
    return {
        "month": month,
        "before_hours": float(was["total_time_hours"].sum()),
        "after_hours": float(now_is["total_time_hours"].sum()),
        "teams": {
            name: [float(hours.get(name, 0.0)) for hours in teams] for name in sorted({*teams[0], *teams[1]})
        },
        "as_of": before.as_of.isoformat(),
    }


def _publish(frame: pd.DataFrame, what: str, directory: Path) -> Table:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    file = f"{what}.{digest[:16]}.parquet"
    publish_bytes(directory / file, content, private=True)
    return Table(file, digest, len(frame))


def _to_json(query: UsageQuery | EventsQuery) -> dict[str, Any]:
    if isinstance(query, UsageQuery):
        return {"by": query.by, "params": query.to_params()}
    return {"events": query.to_params()}
