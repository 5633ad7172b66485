"""Fetching a month: the questions that its reports need, asked once for all teams and saved as a snapshot."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usagekit.engine.files import publish_bytes, publish_text
from usagekit.period import month_of, parse_month
from usagekit.query import EventsQuery, UsageQuery
from usagekit.snapshot import FORMAT, MANIFEST, Part, read_part

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.lab import Lab


def month_queries(month: str, timezone: str) -> list[UsageQuery | EventsQuery]:
    """Plan the questions that a month's reports need of the whole lab: 27, for all teams at once.

    Month bins reach from the same month a year before (13 bins); hour bins, events and the fleet's
    roster cover the month and the one before.
    """
    this = parse_month(month)
    year = UsageQuery(start=month_of(this.start, shift=-12).start, end=this.end, timezone=timezone)
    two = replace(year, start=month_of(this.start, shift=-1).start, bin_size="hour")
    one = replace(year, start=this.start)
    counts = ("session_count", "user_count", "device_count", "avg_session_length")
    team = replace(year, by="team")
    roster = replace(year, by="device", display_all=True)
    return [
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
        *(replace(one, by=by) for by in ("team/device", "team/devicemodel")),
        EventsQuery(start=two.start, end=two.end),
    ]


def team_query(month: str, timezone: str, team: str) -> UsageQuery:
    """Plan the one question that needs a request a team: its users over 13 months."""
    this = parse_month(month)
    return UsageQuery(
        by="user",
        start=month_of(this.start, shift=-12).start,
        end=this.end,
        timezone=timezone,
        filters=(("team_name", (team,)),),
    )


def fetch_snapshot(
    lab: Lab, month: str, directory: Path, *, on_part: Callable[[int, int], None] = lambda _done, _of: None
) -> Path:
    """Ask a lab all that the reports of ``month`` need and save it in ``directory``.

    ``on_part`` is told how many of how many answers are there. Returns the manifest's path. When anything
    fails nothing of ``directory`` has changed but for files that no manifest names.
    """
    queries = month_queries(month, lab.timezone)
    directory.mkdir(parents=True, exist_ok=True)
    parts: list[Part] = []
    times: list[datetime] = []

    def save(query: UsageQuery | EventsQuery) -> None:
        frame = _ask(lab, query)
        times.append(lab.as_of)  # read afterwards: an answer that was kept is older than now
        parts.append(_save(frame, query, directory))
        on_part(len(parts), len(queries))

    for query in tuple(queries):
        save(query)
    teams = sorted(read_part(directory, parts[_roster_position(queries)])["team"].unique())
    queries += [team_query(month, lab.timezone, team) for team in teams]
    for query in queries[len(parts) :]:
        save(query)
    old = {p.name for p in directory.glob("*.parquet")} - {p.file for p in parts}
    manifest = {
        "format": FORMAT,
        "month": month,
        "lab": lab.name,
        "timezone": lab.timezone,
        "business_hours": asdict(lab.business_hours),
        "source": lab.source.name,
        "as_of": min(times).isoformat(),
        "teams": teams,
        "parts": [{**asdict(p), "query": _to_json(p.query)} for p in parts],
    }
    publish_text(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, default=str))
    for name in old:
        (directory / name).unlink(missing_ok=True)
    return directory / MANIFEST


def _ask(lab: Lab, query: UsageQuery | EventsQuery) -> pd.DataFrame:
    return lab.source.usage(query) if isinstance(query, UsageQuery) else lab.source.events(query)


def _roster_position(queries: list[UsageQuery | EventsQuery]) -> int:
    """Where the question is that lists all teams."""
    return next(
        i for i, q in enumerate(queries) if isinstance(q, UsageQuery) and q.by == "team" and q.display_all
    )


def _save(frame: pd.DataFrame, query: UsageQuery | EventsQuery, directory: Path) -> Part:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    what = (query.by or "lab").replace("/", "-") if isinstance(query, UsageQuery) else "events"
    file = f"{what}.{digest[:16]}.parquet"
    publish_bytes(directory / file, content)
    return Part(file, digest, len(frame), query)


def _to_json(query: UsageQuery | EventsQuery) -> dict[str, Any]:
    if isinstance(query, UsageQuery):
        return {"by": query.by, "params": query.to_params()}
    return {"events": query.to_params()}
