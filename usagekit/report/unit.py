"""One report to make, where it goes, and what may become of it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from usagekit.figures.escape import shown_name
from usagekit.period import parse_month
from usagekit.report.template import Scalar, Template

LAB_DIRECTORY: Final = "lab"
"""Directory of the lab's own report below its month."""

_STANDARD_TEMPLATES = ("team_month", "lab_month")
_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LOOKS_HASHED = re.compile(r"(^|-)[0-9a-f]{8}$")
# Device names that Windows keeps for itself: a synchronised or zipped folder must open there too.
_RESERVED = frozenset(
    {LAB_DIRECTORY, "con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One report: a template for one team and month, from one snapshot, into one directory.

    ``team`` is None for a report on the whole lab. ``options`` are parameters of the template beyond team,
    month and snapshot. Paths are made absolute.
    """

    template: Template
    team: str | None
    month: str
    snapshot: Path
    directory: Path
    options: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "snapshot", self.snapshot.absolute())
        object.__setattr__(self, "directory", self.directory.absolute())

    def __str__(self) -> str:
        return f"{'the lab' if self.team is None else shown_name(self.team)}, {self.month}"

    @property
    def month_name(self) -> str:
        """The month as the page writes it: ``March 2023``."""
        return f"{parse_month(self.month).start:%B %Y}"

    @property
    def parameters(self) -> dict[str, Scalar]:
        """Everything the template is given."""
        team = {} if self.team is None else {"team": self.team}
        return {**team, "month": self.month, "snapshot": str(self.snapshot), **self.options}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report that was made and published; ``manifest`` is the content of its manifest.json."""

    unit: Unit
    manifest: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A report that needs no work: the published one was made from the same things."""

    unit: Unit
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A report that could not be made; one that was published before stays as it was.

    ``cell_index`` counts from 0 in the notebook kept at ``notebook_path``; None when no cell is to blame.
    """

    unit: Unit
    cell_index: int | None
    error_name: str
    error: str
    notebook_path: Path | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        where = "" if self.cell_index is None else f"cell {self.cell_index + 1}: "
        return f"{self.unit}: {where}{self.error_name}: {self.error}"


Outcome = Rendered | Skipped | Failure


def team_slug(team: str) -> str:
    """A directory name for a team: readable ASCII of at most 60 characters, different for different teams.

    A name that is a plain lower-case slug stays as it is; every other one gets 8 hex digits of the SHA-256 of
    its exact characters, so that names equal but for case, accents or Unicode form stay apart.

    >>> team_slug("payments"), team_slug("R&D / Café"), team_slug("チーム")
    ('payments', 'r-d-cafe-5a6fa5be', 'team-ed4584cb')
    """
    plain = len(team) <= 50 and _PLAIN.fullmatch(team) is not None
    if plain and team not in _RESERVED and not _LOOKS_HASHED.search(team):
        return team
    ascii_only = unicodedata.normalize("NFKD", team).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:50].strip("-")
    return f"{words or 'team'}-{hashlib.sha256(team.encode(errors='surrogatepass')).hexdigest()[:8]}"


def report_directory(reports: Path, month: str, *, team: str | None, template: str = "team_month") -> Path:
    """Where a report is published: ``<reports>/<month>/<team slug>``, or ``…/lab`` for the whole lab.

    Other templates than the standard two get ``<team slug>.<template slug>`` beside them.
    """
    name = LAB_DIRECTORY if team is None else team_slug(team)
    suffix = "" if template in _STANDARD_TEMPLATES else f".{team_slug(template)}"
    return reports.absolute() / month / f"{name}{suffix}"
