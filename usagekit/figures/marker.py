"""The last word of every template: the report is complete, and these are its facts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from usagekit.figures.base import TYPST_MIME, shown_count
from usagekit.figures.escape import shown_name
from usagekit.figures.parts import LabFacts
from usagekit.period import month_name

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


def complete(
    lab: LabFacts,
    *,
    template: str,
    team: str | None,
    month: str,
    total_hours: float | None,
    **more: Any,
) -> Completion:
    """Mark a report as complete; the last cell of a template.

    Parameters
    ----------
    lab
        the lab that the numbers came from.
    template
        name of the template, such as ``team_month``.
    team, month
        what the report is about, ``team`` None for the whole lab; ``month`` as ``YYYY-MM``.
    total_hours
        its device hours (h); None when missing. They head the row of the index page, and are held against the
        snapshot before the report is published.
    more
        further facts as plain values: ``mail`` (:func:`usagekit.reading.telling.mail_facts`), ``shown`` (numbers as
        printed, by name), ``paper`` (``a4`` or ``us-letter``).
    """
    return Completion(
        {
            "template": template,
            "team": team,
            "month": month,
            "title": f"{shown_name(lab.name if team is None else team)} – {month_name(month)}",
            "lab": lab.name,
            "timezone": lab.timezone,
            "as_of": lab.as_of.isoformat(),
            "total_hours": total_hours,
            "snapshot_sha256": getattr(lab.source, "sha256", None),
            "usagekit_version": version("usagekit"),
            "figure_count": shown_count(),
            **more,
        }
    )
