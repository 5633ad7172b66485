"""The mail of one report: its finding, five figures, what to do, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

from usagekit.analysis.wording import MARKS, NARROW, NBSP, hours_text
from usagekit.delivery.facts import DASH, Facts, KpiRow
from usagekit.delivery.letter import MAX_WORDS, Attachment, Chart, Letter, Table, short, short_name, words
from usagekit.figures.escape import printable
from usagekit.figures.mail_chart import chart_words, mail_chart
from usagekit.period import month_name, shift_month, trailing_months
from usagekit.report.unit import LAB_DIRECTORY, team_slug

LAB_TITLE: Final = "The whole lab"
MOST_ACTIONS: Final = 3
NOT_COMPARABLE: Final = "n/a"
_MIME = {".pdf": "application/pdf", ".csv": "text/csv"}


def team_letter(facts: Facts, files: Mapping[str, bytes], *, revision: int, contact: str = "") -> Letter:
    """The mail of a report.

    Parameters
    ----------
    facts
        what the report says.
    files
        the published files; the PDF and every CSV are attached under names that say team, month and zone.
    revision
        1 for the first; later ones say that they replace the one before.
    contact
        address for questions; empty when replies reach somebody.

    Returns
    -------
    A letter of at most 120 words, in which only the actions give way, and a month without usage as a short note
    without files.
    """
    name = LAB_TITLE if facts.team is None else facts.team
    letter = Letter(
        subject=_subject(facts, revision),
        title=name,
        facts=facts_line(facts),
        finding=facts.finding,
        why=f"You are listed for {'the lab' if facts.team is None else 'this team'}.",
        contact=contact,
        caveats=_caveats(facts, revision),
    )
    if facts.usage == "zero":
        return replace(letter, finding="No usage recorded (data fetched correctly).")
    table, chart = kpi_table(facts), _chart(facts)
    whole = replace(
        letter, tables=(table,), note=_signs(table), chart=chart, attachments=attachments(facts, files)
    )
    return within_limit(whole, facts.actions)


def facts_line(facts: Facts) -> str:
    """Month, zone and age of the numbers."""
    as_of = facts.as_of.astimezone(ZoneInfo(facts.timezone))
    return f"{month_name(facts.month)}, {facts.timezone}, as of {as_of:%Y-%m-%d}"


def kpi_table(facts: Facts) -> Table:
    """The key figures with the month before, the change and the same month a year ago."""
    months = (_short_month(shift_month(facts.month, back)) for back in (0, -1, -12))
    now, before, year = months
    rows = ((k.label, k.value, k.previous, k.change, last_year(k)) for k in facts.kpis)
    return Table(("", now, before, "Change", year), tuple((row[0], *map(_tight, row[1:])) for row in rows))


def _signs(table: Table) -> str:
    """What the signs in a table of key figures mean."""
    told = (
        [f"{NOT_COMPARABLE}: no comparable data."]
        if any(NOT_COMPARABLE in row[4:] for row in table.rows)
        else []
    )
    first = {cell[:1] for row in table.rows for cell in row[1:]}
    if marks := ", ".join(f"{mark} {words}" for mark, words in MARKS.items() if mark in first):
        told.append(f"{marks}: the report says why.")
    return " ".join(told)


def last_year(figure: KpiRow) -> str:
    """The figure of a year ago; where there is none that compares (August 2022 and before) it is never a dash or a zero."""
    return NOT_COMPARABLE if figure.year == DASH else figure.year


def within_limit(letter: Letter, actions: Sequence[str]) -> Letter:
    """The letter with those of its first three actions that 120 words allow, in their order.

    Their rules, which the PDF has, give way before an action does; one that is too long, before a shorter one.
    """
    best: tuple[str, ...] = ()
    best_places: tuple[int, ...] = ()
    for form in (str, _without_rule):
        chosen: tuple[str, ...] = ()
        places: tuple[int, ...] = ()
        for place, action in enumerate(map(form, actions[:MOST_ACTIONS])):
            if words(replace(letter, actions=(*chosen, action))) <= MAX_WORDS:
                chosen, places = (*chosen, action), (*places, place)
        if (-len(places), places) < (-len(best_places), best_places):
            best, best_places = chosen, places
    return replace(letter, actions=best)


def attachments(facts: Facts, files: Mapping[str, bytes]) -> tuple[Attachment, ...]:
    """The PDF and the tables of a report, named for the folder that they will lie in."""
    stem = f"usage_{_file_word(facts.team)}_{facts.month}_{facts.timezone.replace('/', '-')}"
    found = []
    for name in sorted(files, key=lambda name: (not name.endswith(".pdf"), name)):
        base, dot, ending = name.rpartition(".")
        if mime := _MIME.get(f"{dot}{ending}"):
            found.append(
                Attachment(
                    f"{stem}.pdf" if name == "report.pdf" else f"{stem}_{base}.{ending}", files[name], mime
                )
            )
    return tuple(found)


def fitted(letter: Letter, limit: int, *, size: int, place: str = "") -> Letter | None:
    """The letter without what makes it larger than ``limit`` (bytes), saying what was left out; None if nothing is.

    ``size`` is that of the whole message. Tables go first, then the PDF; ``place`` is where readers find them.
    """
    kept, left_out = list(letter.attachments), []
    while size > limit and kept:
        file = kept.pop()
        left_out.append(file)
        size -= len(file.content) * 4 // 3  # base64, but for its line breaks
    if not left_out:
        return None
    names = ", ".join(f"{file.name} ({len(file.content) / 1e6:.1f}{NBSP}MB)" for file in reversed(left_out))
    where = f" Find it at {place}" if place else ""
    caveat = f"Left out, because the mail server takes at most {limit / 1e6:.1f}{NBSP}MB: {names}.{where}"
    smaller = replace(letter, attachments=tuple(kept), caveats=(*letter.caveats, caveat))
    return within_limit(smaller, letter.actions)


def plain(text: str) -> str:
    """Text for a subject: on one line, with the spaces and the minus of a keyboard."""
    return printable(text.translate(str.maketrans(f"{NARROW}{NBSP}\u2009−–", "   --")))


def _file_word(team: str | None) -> str:
    if team is None:
        return LAB_DIRECTORY
    # "Payments" may be "payments" here: two files of one name in a folder get numbers, directories would be one.
    lower = team.lower()
    return lower if team.isascii() and team_slug(lower) == lower else team_slug(team)


def _subject(facts: Facts, revision: int) -> str:
    name = "Whole lab" if facts.team is None else short_name(facts.team)
    again = f" (replaces revision {revision - 1})" if revision > 1 else ""
    head = f"[{plain(short(facts.lab, letters=60))}] {name} - {month_name(facts.month)}{again}"
    if facts.usage == "zero" or facts.total_hours is None:
        return f"{head}: no usage"
    hours, users = plain(hours_text(facts.total_hours)), _users(facts)
    change = facts.kpis[0].change if facts.kpis else ""
    told = (
        f" ({plain(change)})" if change[:1] in ("+", "−", "-", "n") and not change.startswith("n/a") else ""
    )
    return f"{head}: {hours}{told}{users}"


def _users(facts: Facts) -> str:
    found = [k.value for k in facts.kpis if "users" in k.label.casefold() and k.value[:1].isdigit()]
    return f", {plain(found[0])} user{'' if found[0] == '1' else 's'}" if found else ""


def _caveats(facts: Facts, revision: int) -> tuple[str, ...]:
    replaced = (
        (f"Revision {revision}: replaces the mail with revision {revision - 1}.",) if revision > 1 else ()
    )
    return replaced if facts.badge == "green" else (*replaced, facts.trust)


def _chart(facts: Facts) -> Chart | None:
    if len(facts.history) < 2 or not any(facts.history):
        return None
    first = trailing_months(facts.month, count=len(facts.history))[0]
    most = max(value for value in facts.history if value is not None)
    ends = (_short_month(first), f"device hours, at most {hours_text(most)} · {_short_month(facts.month)}")
    return Chart(mail_chart(facts.history), chart_words(facts.history, facts.month), ends)


def _without_rule(action: str) -> str:
    told, rule, rest = action.rpartition(" (rule: ")
    return f"{told}." if rule and rest.endswith(").") else action


def _short_month(month: str) -> str:
    name, year = month_name(month).split(" ")
    return f"{name[:3]}{NBSP}{year}"


def _tight(cell: str) -> str:
    # A cell is one word to the eye: spaces in it must not break a line.
    return cell.replace(" ", NBSP)
