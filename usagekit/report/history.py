"""What there is of every report of every month, from manifests and ledger; reading it changes nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from usagekit.engine.files import sha256
from usagekit.errors import QueryError
from usagekit.figures.escape import shown_name
from usagekit.period import parse_month, shift_month
from usagekit.report.ledger import Entry, read_entries
from usagekit.report.publish import MANIFEST, read_manifest
from usagekit.report.unit import LAB_DIRECTORY

__all__ = ["PRUNED", "STATES", "Line", "Report", "State", "known_months", "read_history", "read_month"]

State = Literal["rendered", "stale", "failed", "removed", "missing"]
"""``stale``: its numbers were fetched again since; ``removed``: :mod:`usagekit.report.prune` took its files away."""

STATES: Final[tuple[State, ...]] = get_args(State)

PRUNED: Final = "pruned_utc"
"""In a manifest: when the report's files were removed to save space."""

_UNREADABLE = f"Unreadable: {MANIFEST} is missing or damaged: render this report again"


@dataclass(frozen=True, slots=True)
class Report:
    """One report as it stands; a failed one may still have the ``files`` of an older good one.

    ``name`` is that of its directory; ``template`` is empty for the standard ones; ``team`` is None for the whole
    lab; ``hours`` (h) is None where unknown; ``files`` are those on the disk; the times are ISO, empty if unknown.
    """

    month: str
    name: str
    template: str
    team: str | None
    state: State
    error: str = ""
    hours: float | None = None
    files: frozenset[str] = frozenset()
    facts: Mapping[str, Any] | None = None
    started_utc: str = ""
    finished_utc: str = ""
    tried_utc: str = ""

    @property
    def past(self) -> list[tuple[str, float | None]]:
        """The months up to its own with their hours (h), as the report itself tells them; none where it does not."""
        mail = (self.facts or {}).get("mail")
        if not isinstance(mail, dict) or not isinstance(mail.get("history"), list):
            return []
        history = mail["history"]
        months = [shift_month(self.month, 1 - len(history) + at) for at in range(len(history))]
        told = list(zip(months, map(_hours, history), strict=True))
        # Beside a running month the one before has as many days only.
        return told[:-2] + told[-1:] if mail.get("partial") else told

    @property
    def team_name(self) -> str:
        """What it is about, as a page shows it."""
        return "The whole lab" if self.team is None else shown_name(self.team)


@dataclass(frozen=True, slots=True)
class Line:
    """A team's reports of all months; those under names it ``formerly`` had stand here too.

    A month has two reports if the team was renamed in the middle of it.
    """

    team: str | None
    template: str
    formerly: tuple[str, ...]
    months: Mapping[str, Sequence[Report]]

    @property
    def name(self) -> str:
        """The team's name as a page shows it."""
        return "The whole lab" if self.team is None else shown_name(self.team)

    def hours(self, month: str) -> float | None:
        """Its hours (h) in a month; None where one of its reports does not tell them, or there is none.

        Both names of a team that was renamed in the middle of a month count: their sessions are different ones.
        """
        known = [report.hours for report in self.months.get(month, ())]
        return sum(h for h in known if h is not None) if known and None not in known else None

    def known_hours(self, months: Sequence[str]) -> list[float | None]:
        """Its hours (h) in each of some months: where there is no report of one, as a later report tells them."""
        told: dict[str, float | None] = {}
        for month in sorted(self.months):  # the newest has the last word
            for report in self.months[month]:
                told |= dict(report.past)
        return [self.hours(m) if self.months.get(m) else told.get(m) for m in months]

    def before(self, report: Report) -> Report | None:
        """The report of the calendar month before: of the same name, or else the only one there is."""
        found = self.months.get(shift_month(report.month, -1), ())
        same = [other for other in found if other.team == report.team]
        return same[0] if same else found[0] if len(found) == 1 else None


def known_months(reports: Path) -> list[str]:
    """The months that have reports, failed ones included, newest first."""
    found = []
    for path in reports.glob("[0-9]*/"):
        try:
            parse_month(path.name)
        except QueryError:
            continue
        if any(path.glob("[!.]*/")) or read_entries(reports, path.name):
            found.append(path.name)
    return sorted(found, reverse=True)


def read_month(reports: Path, month: str, *, snapshots: Path | None = None) -> list[Report]:
    """Every report of a month that was made or tried, by the names of their directories.

    Parameters
    ----------
    reports : directory of all months.
    month : ``YYYY-MM``.
    snapshots : directory of the months' snapshots; without it nothing is found ``stale``.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``.
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    parse_month(month)
    directory = reports.absolute() / month
    source = snapshots / month / MANIFEST if snapshots else None
    now = sha256(source) if source and source.is_file() else None
    entries = read_entries(reports, month)
    on_disk = {path.name: path for path in directory.glob("[!.]*/")}
    return [
        _report(month, name, entries.get(name), directory=on_disk.get(name), snapshot_sha256=now)
        for name in sorted(entries.keys() | on_disk.keys())
    ]


def read_history(
    reports: Path, *, snapshots: Path | None = None, renamed: Mapping[str, str] | None = None
) -> list[Line]:
    """All reports of all months: the lab's line first, then the teams' by name.

    ``renamed`` maps old names of teams to their newest; ``snapshots`` and errors are as for :func:`read_month`.
    """
    names = renamed or {}
    lines: dict[tuple[str | None, str], dict[str, list[Report]]] = defaultdict(lambda: defaultdict(list))
    for month in known_months(reports):
        for report in read_month(reports, month, snapshots=snapshots):
            team = None if report.team is None else names.get(report.team, report.team)
            lines[team, report.template][month].append(report)
    found = [
        Line(team, template, _formerly(team, months), dict(months))
        for (team, template), months in lines.items()
    ]
    return sorted(
        found, key=lambda line: (line.team is not None, line.name.casefold(), line.team or "", line.template)
    )


def _formerly(team: str | None, months: Mapping[str, Sequence[Report]]) -> tuple[str, ...]:
    """Other names in a line, newest first."""
    names = dict.fromkeys(report.team for month in sorted(months, reverse=True) for report in months[month])
    return tuple(name for name in names if name is not None and name != team)


def _report(
    month: str, name: str, entry: Entry | None, *, directory: Path | None, snapshot_sha256: str | None
) -> Report:
    manifest = read_manifest(directory) if directory else None
    files = frozenset(path.name for path in directory.iterdir()) if directory else frozenset()
    about = manifest or {}
    parameters = about.get("parameters")
    team = parameters.get("team") if isinstance(parameters, dict) else None
    if manifest is None and name != LAB_DIRECTORY:
        team = name
    template = str(about.get("template", "")) or (entry.template if entry else "")
    state, error = _state(manifest, entry, files=files, snapshot_sha256=snapshot_sha256)
    return Report(
        month,
        name,
        template
        if "." in name
        else "",  # how the directories of other templates are told from the standard two
        entry.team if entry else None if team is None else str(team),
        state,
        error,
        _hours(about.get("facts", {}).get("total_hours")),
        files,
        about.get("facts"),
        str(about.get("started_utc", "")),
        str(about.get("finished_utc", "")),
        entry.at_utc if entry else "",
    )


def _state(
    manifest: Mapping[str, Any] | None,
    entry: Entry | None,
    *,
    files: frozenset[str],
    snapshot_sha256: str | None,
) -> tuple[State, str]:
    if entry and entry.is_open_failure:
        where = "" if entry.cell_index is None else f"cell {entry.cell_index + 1}: "
        return "failed", f"{where}{entry.error_name}: {entry.error}"
    if manifest is None:
        # A directory without a manifest must not vanish; a report that nobody has got to yet has no directory.
        return ("failed", _UNREADABLE) if files or entry is None else ("missing", "")
    if PRUNED in manifest:
        return "removed", ""
    if lost := sorted(manifest["files"].keys() - files):
        return "failed", f"Incomplete: {lost[0]} is missing: render this report again"
    made_from = manifest.get("snapshot_sha256")
    is_old = snapshot_sha256 is not None and made_from is not None and made_from != snapshot_sha256
    return ("stale" if is_old else "rendered"), ""


def _hours(value: object) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type] # a number by now
