"""The reading of a month: every number of its report, computed once from its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from usagekit.lab import Lab
    from usagekit.reading.reading import Reading


def read_month(lab: Lab, month: str, *, team: str | None = None) -> Reading:
    """Read a month of a team or of the whole lab: all the numbers of its report.

    Raises
    ------
    QueryError : the month is not ``YYYY-MM``, nobody knows the team, or the snapshot is of another month.
    ApiError : the API cannot be reached, or refuses the total.
    """
    from usagekit.evidence import gather
    from usagekit.reading.lab import LabReading
    from usagekit.reading.team import TeamReading

    evidence = gather(lab, month, team)
    return TeamReading(evidence) if team is not None else LabReading(evidence)
