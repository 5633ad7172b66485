"""The last word of every template: the report is complete, and these are its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from usagekit.analysis.months import month_name
from usagekit.figures.base import TYPST_MIME, shown_count
from usagekit.figures.escape import shown_name
from usagekit.figures.parts import LabFacts

REPORT_MIME: Final = "application/vnd.usagekit.report+json"


@dataclass(frozen=True, slots=True, repr=False)
class Completion:
    """The completion marker of a report; invisible on the page, checked by the batch."""

    facts: dict[str, Any]

    def __repr__(self) -> str:
        return f"Complete: {self.facts['title']}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            REPORT_MIME: self.facts,
            "text/html": "<!-- usagekit: complete -->",
            TYPST_MIME: "// usagekit: complete",
        }


def complete(lab: LabFacts, *, template: str, team: str, month: str, total_hours: float | None) -> Completion:
    """Mark a report as complete; the last cell of a template.

    Parameters
    ----------
    lab
        the lab that the numbers came from.
    template
        name of the template, such as ``team_month``.
    team, month
        what the report is about; ``month`` as ``YYYY-MM``.
    total_hours
        its device hours (h), as printed; None when missing. They head the row of the index page.
    """
    return Completion(
        {
            "template": template,
            "team": team,
            "month": month,
            "title": f"{shown_name(team)} – {month_name(month)}",
            "lab": lab.name,
            "timezone": lab.timezone,
            "as_of": lab.as_of.isoformat(),
            "total_hours": total_hours,
            "figure_count": shown_count(),
        }
    )
