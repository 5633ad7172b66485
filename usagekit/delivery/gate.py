"""The gate: whether the mail of a report may go out, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from usagekit.analysis.months import month_bounds
from usagekit.delivery.facts import Facts, read_facts
from usagekit.errors import MailError

_CLOCK_SLIP = timedelta(hours=1)
_AGAIN = "fetch and render the month again"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``send`` the report, send the short ``note`` of a month without usage, or ``hold`` it and tell the owners.

    ``reason`` is empty but for ``hold``.
    """

    action: Literal["send", "note", "hold"]
    reason: str = ""


def gate(
    manifest: Mapping[str, Any] | None,
    failure: str = "",
    *,
    damaged: Sequence[str] = (),
    now: datetime,
    max_age: timedelta,
) -> Verdict:
    """Judge one report.

    Parameters
    ----------
    manifest
        its manifest; None where nothing whole is published.
    failure
        why the last attempt to make it failed, if it did: what lies there is then older than it seems.
    damaged
        its files that are missing or differ from the manifest.
    now
        the present, with a zone.
    max_age
        numbers fetched longer ago are stale.

    Returns
    -------
    ``hold`` for a failed, missing or damaged report and for one whose numbers are partial, stale, missing,
    contradictory or do not reconcile; ``note`` where a complete month truly had no usage; else ``send``.
    """
    if failure:
        return Verdict("hold", f"the report could not be made: {failure}")
    if manifest is None:
        return Verdict("hold", "no report was published: render it")
    if damaged:
        return Verdict(
            "hold", f"files differ from what was published: {', '.join(damaged)}; render the report again"
        )
    try:
        facts = read_facts(manifest)
        reason = next(_why_not(facts, now, max_age), "")
    except MailError as error:
        return Verdict("hold", str(error))
    if reason:
        return Verdict("hold", reason)
    return Verdict("note" if facts.usage == "zero" else "send")


def _why_not(facts: Facts, now: datetime, max_age: timedelta) -> Iterator[str]:
    try:
        _, end = month_bounds(facts.month, facts.timezone)
    except (ValueError, KeyError, OSError) as error:  # no month, no zone
        yield f"the report's month or time zone is malformed: {error}"
        return
    if facts.partial or facts.as_of < end:
        at = f"{facts.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        yield f"the numbers are partial: the month had not ended when they were fetched ({at}); {_AGAIN}"
    if facts.as_of > now + _CLOCK_SLIP:
        yield f"the numbers are from the future ({facts.as_of:%Y-%m-%d}): check this machine's clock"
    if now - facts.as_of > max_age:
        age = f"fetched on {facts.as_of:%Y-%m-%d}, they may be {max_age.days} days old (mail.max_age_days)"
        yield f"the numbers are stale: {age}; {_AGAIN}"
    if facts.badge == "red":
        yield f"the numbers do not reconcile: {facts.trust}"
    hours = facts.total_hours
    if facts.usage == "missing" or hours is None:
        yield f"the device hours are missing: their request failed; {_AGAIN}"
    elif (facts.usage == "zero") != (hours == 0):
        yield f"the report contradicts itself: usage is {facts.usage!r} at {hours:g} h"
    if facts.usage == "value" and not facts.kpis:
        yield "the report carries no key figures"
