"""The mails about all reports: the lab managers' digest, and the owners' list of what went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from usagekit.analysis.wording import hours_text
from usagekit.delivery.facts import Facts
from usagekit.delivery.letter import Attachment, Letter, Table, short, short_name
from usagekit.delivery.team_letter import last_year, plain, team_letter, within_limit
from usagekit.figures.escape import printable
from usagekit.period import month_name

MOST_ROWS = 40
"""Rows of a mail's table; what comes after is counted and stands in the PDF or in a file of its own."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that the owners must know: what it is about, what happened, and what to do.

    ``kind`` tells it from another trouble with the same thing, where ``what`` holds figures that change by
    themselves; ``owners_only`` is of no interest to the lab managers.
    """

    about: str
    what: str
    kind: str = ""
    owners_only: bool = False

    def __str__(self) -> str:
        return f"{self.about}: {self.what}"

    @property
    def lasting(self) -> str:
        """The same text for as long as it is the same trouble."""
        return f"{self.about}: {self.kind or self.what}"


def without_figures(text: str) -> str:
    """A text without its numbers, as the ``kind`` of a trouble whose words tell times, sizes or counts.

    >>> without_figures("timed out after 31.5 s, process 4711")
    'timed out after # s, process #'
    """
    return re.sub(r"\d+([.,:-]\d+)*", "#", text)


def digest_letter(
    lab: Facts,
    teams: Sequence[Facts],
    *,
    held: Sequence[str],
    files: Mapping[str, bytes],
    revision: int,
    contact: str = "",
) -> Letter:
    """The lab's own mail with one row a team, most hours first; ``held`` names reports that did not go out.

    Beside the table of teams it has at most 120 words, as a team's mail has.
    """
    letter = team_letter(lab, files, revision=revision, contact=contact)
    ranked = sorted(teams, key=lambda facts: (-(facts.total_hours or 0), facts.team or ""))
    caveats = letter.caveats
    if len(ranked) > MOST_ROWS:
        caveats = (*caveats, f"{len(ranked) - MOST_ROWS} more teams are in the PDF.")
    if held:
        names = short(", ".join(map(short_name, held)), letters=300)
        caveats = (*caveats, f"{len(held)} report{'s' if len(held) > 1 else ''} held back: {names}.")
    if not letter.tables:  # a month without usage
        return replace(letter, caveats=caveats)
    whole = within_limit(replace(letter, caveats=caveats), lab.actions)
    rows = tuple(
        (
            short_name(f.team or ""),
            _hours(f),
            *((f.kpis[0].previous, f.kpis[0].change) if f.kpis else ("–", "–")),
            _year(f),
        )
        for f in ranked[:MOST_ROWS]
    )
    teams_table = Table(("Device hours by team", *letter.tables[0].head[1:]), rows)
    return replace(whole, tables=(*whole.tables, teams_table))


def owners_letter(
    troubles: Sequence[Trouble], *, lab: str, month: str, unaddressed: Sequence[str] = ()
) -> Letter:
    """What was held back, refused or is in doubt, and why; a list too long for the mail goes with it as a file."""
    rows = tuple((short_name(t.about), short(t.what)) for t in troubles[:MOST_ROWS])
    count = f"{len(troubles)} thing{'s' if len(troubles) > 1 else ''} to look at"
    caveats, files = list[str](), tuple[Attachment, ...]()
    if (more := len(troubles) - MOST_ROWS) > 0:
        whole = "".join(f"{printable(str(trouble))}\n" for trouble in troubles)
        files = (Attachment(f"to-look-at_{month}.txt", whole.encode(), "text/plain"),)
        caveats.append(f"{more} more: all {len(troubles)} are in {files[0].name}.")
    if unaddressed:
        names = short(", ".join(map(short_name, unaddressed)), letters=300)
        caveats.append(f"Nobody is listed below [recipients] for {names}.")
    return Letter(
        subject=f"[{plain(short(lab, letters=60))}] Usage mails of {month_name(month)}: {count}",
        title=f"{month_name(month)}: {count}",
        facts="Usage reports and their mails",
        finding="These need you. Nothing is sent twice by sending again.",
        tables=(Table(("About", "What happened"), rows, numbers=False),),
        caveats=tuple(caveats),
        attachments=files,
        why="You get this because you are listed as an owner of the usage reports.",
    )


def _hours(facts: Facts) -> str:
    return "–" if facts.total_hours is None else hours_text(facts.total_hours)


def _year(facts: Facts) -> str:
    return last_year(facts.kpis[0]) if facts.kpis else "–"
