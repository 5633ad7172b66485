"""The steps of a month's run, each of which may be done again at any time: fetch, render, send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from usagekit.analysis.months import month_bounds
from usagekit.delivery.lab_letter import Trouble, without_figures
from usagekit.delivery.outbox import SendSummary, nobody_listed, resolve, send_month, status_rows
from usagekit.delivery.preview import PREVIEWS, preview
from usagekit.delivery.queueing import told
from usagekit.delivery.sending import Clock
from usagekit.delivery.team_letter import LAB_TITLE
from usagekit.device_notes import read_notes
from usagekit.engine.files import sha256
from usagekit.errors import (
    ApiError,
    ApiStatusError,
    MailError,
    RateLimitError,
    ServerError,
    StoreError,
    StoreLocked,
    UsageKitError,
)
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.report.batch import Stopped, Summary
from usagekit.report.month import Asked, render_reports
from usagekit.settings import Settings
from usagekit.snapshot import Part, SnapshotSource, Table

State = Literal["done", "failed", "waiting"]

_CLOCK_SLIP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MonthResult:
    """What a run of a month came to.

    ``done``: nothing is left to do by itself. ``waiting``: the next run goes on. ``failed``: reports failed or were
    held back. ``causes`` name all that is not as it should be, ``counts`` say how many reports and mails there are of
    each kind, and ``refused_by`` is the server that could not be used, ``"API"`` or ``"mail server"``. ``notes`` are
    worth a look and wrong with nothing; ``trouble`` is what the owners must hear when it is not over within a day, or
    at once if it ``is_lasting``.
    """

    month: str
    state: State
    causes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    refused_by: str = ""
    notes: tuple[str, ...] = ()
    trouble: Trouble | None = None
    is_lasting: bool = False

    @property
    def needs_somebody(self) -> bool:
        """Whether a person must look at it; mails that are put off for now go out by themselves."""
        return bool(self.causes)


def needs_fetch(directory: Path, settings: Settings, month: str, *, now: datetime) -> bool:
    """Whether a month's snapshot is missing, damaged, of another time zone, or not of the whole month.

    One whose numbers are too old to be mailed, or from the future of a clock that was wrong, is fetched again too.
    """
    try:
        source = SnapshotSource(directory)
        files: list[Part | Table] = [*source.parts, *source.tables.values()]
        whole = all(sha256(directory / about.file) == about.sha256 for about in files)
    except (StoreError, OSError):
        return True
    _, end = month_bounds(month, settings.timezone)
    age = now - source.as_of
    old = age > timedelta(days=settings.mail.max_age_days) or age < -_CLOCK_SLIP
    return not whole or source.timezone != settings.timezone or source.as_of < end or old


def fetch_stage(settings: Settings, month: str, lab: Lab, *, refresh: bool) -> MonthResult | None:
    """Fetch a month; a result only where the API could not be used."""
    anew = getattr(lab.source, "refreshing", nullcontext) if refresh else nullcontext
    notes = read_notes(settings.device_notes) if settings.device_notes else None
    try:
        with anew():
            fetch_snapshot(lab, month, settings.snapshots / month, notes=notes)
    except ApiError as error:
        again = "the next run goes on from there"
        if isinstance(error, RateLimitError) and error.retry_after_seconds:
            again = f"{again}, not before {error.retry_after_seconds:.0f} s have passed"
        about = Trouble(month, f"the numbers cannot be fetched: {error}", kind=_kind(error))
        return MonthResult(
            month,
            "waiting",
            (f"{error}; {again}",),
            refused_by="API",
            trouble=about,
            is_lasting=_is_lasting(error),
        )
    return None


def render_stage(settings: Settings, month: str, asked: Asked) -> Summary:
    """Make what is not made yet."""
    return render_reports(settings.snapshots / month, settings.reports, settings=settings, asked=asked)


def send_stage(settings: Settings, month: str, summary: Summary, *, clock: Clock) -> MonthResult:
    """Send what has not been sent, or write its previews while mail is off, and judge the month as a whole."""
    counts = summary.counts
    causes = tuple(map(str, summary.failed))
    if not settings.mail.enabled:
        return _previewed(settings, month, causes, counts, clock=clock)
    try:
        sent = send_month(settings, month, clock=clock)
    except MailError as error:
        causes = (*causes, f"{error}; the next run goes on from there")
        return MonthResult(month, "waiting", causes, counts, refused_by="mail server")
    failed = {LAB_TITLE if f.unit.team is None else f.unit.team for f in summary.failed}
    held = [f"held: {trouble}" for trouble in sent.held if trouble.about not in failed]
    return _judged(sent, (*causes, *held), counts)


def clear_doubts(settings: Settings, *, clock: Clock) -> str:
    """Look doubtful mails up in the archive, if there are any and it is set; gives what kept it from that."""
    archive = settings.mail.archive
    # One that was being sent when a process ended is in doubt as soon as somebody looks.
    if archive is None or not any(row.state in ("unknown", "sending") for row in status_rows(settings)):
        return ""
    try:
        resolve(settings, clock=clock)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the archive: it is told, and the months go on
        return f"doubtful mails stay in doubt: {str(error) or type(error).__name__}"
    return ""


def open_months(settings: Settings) -> set[str]:
    """Months with mails that wait to be sent."""
    if not settings.mail.enabled:
        return set()
    return {row.month for row in status_rows(settings) if row.state in ("queued", "deferred")}


def failure_of(month: str, error: Exception) -> MonthResult:
    """What a month came to that an error has ended; one that only stopped goes on at the next run."""
    if isinstance(error, Stopped | StoreLocked):
        return MonthResult(month, "waiting", (str(error),))
    words = str(error) if isinstance(error, UsageKitError) else f"{type(error).__name__}: {error}"
    about = Trouble(month, f"the run failed: {words}", kind=without_figures(words))
    return MonthResult(month, "failed", (words,), trouble=about, is_lasting=True)


def _previewed(
    settings: Settings, month: str, causes: tuple[str, ...], counts: Mapping[str, int], *, clock: Clock
) -> MonthResult:
    try:
        seen = preview(settings, month, clock=clock)
    except MailError as error:
        return MonthResult(month, "failed", (*causes, f"no preview of the mails: {error}"), counts)
    notes = [
        f"mail is off, nothing was sent: look at {settings.reports / PREVIEWS / month}, then set enabled = true below [mail]"
    ]
    notes += [f"would be held: {trouble}" for trouble in seen.held]
    notes += [nobody_listed(seen.unaddressed)] if seen.unaddressed else []
    counts = {**counts, "previews": sum(path.suffix == ".eml" for path in seen.paths)}
    return MonthResult(month, "failed" if causes else "done", causes, counts, notes=tuple(notes))


def _is_lasting(error: ApiError) -> bool:
    """Whether the API has refused us, rather than being busy or down."""
    return isinstance(error, ApiStatusError) and not isinstance(error, RateLimitError | ServerError)


def _kind(error: ApiError) -> str:
    # The words tell tries and seconds.
    return f"{type(error).__name__} {getattr(error, 'status', '')}"


def _judged(sent: SendSummary, causes: tuple[str, ...], counts: Mapping[str, int]) -> MonthResult:
    states = Counter(row.state for row in sent.rows)
    waits = states["queued"] + states["deferred"]
    wrong = [str(told(row)) for row in sent.rows if row.state in ("refused", "unknown")]
    state: State = "failed" if causes else "waiting" if waits else "done"
    notes = (nobody_listed(sent.unaddressed),) if sent.unaddressed else ()
    return MonthResult(
        sent.month, state, (*causes, *wrong), {**counts, "held": len(sent.held), **states}, notes=notes
    )
