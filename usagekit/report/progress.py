"""How far a batch is: a live view where somebody looks, plain lines where nobody does, JSON lines for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from usagekit.report.lines import write_line
from usagekit.report.unit import Failure, Outcome, Rendered, Skipped, Unit

LogStyle = Literal["auto", "text", "json"]


class Watcher(Protocol):
    """Is told what a batch does."""

    def begun(self, unit: Unit) -> None:
        """A report is being made."""

    def done(self, outcome: Outcome) -> None:
        """It is made, unchanged or failed."""


@contextmanager
def watching(total: int, *, log: LogStyle = "auto") -> Iterator[Watcher]:
    """Tell standard error how a batch of ``total`` reports goes, in the style that fits who reads it."""
    console = Console(stderr=True, highlight=False)
    if log == "json":
        yield _JsonLines()
    elif log == "auto" and console.is_terminal:
        view = _View(total, console)
        with Live(view, console=console, refresh_per_second=4, transient=True):
            yield view
    else:
        yield _Lines(total)


class _Lines:
    """A line a report."""

    def __init__(self, total: int) -> None:
        self._total, self._count = total, 0

    def begun(self, unit: Unit) -> None:
        """Said when it is done."""

    def done(self, outcome: Outcome) -> None:
        self._count += 1
        if not isinstance(outcome, Skipped):
            sys.stderr.write(f"{self._count}/{self._total} {describe(outcome)}\n")
            sys.stderr.flush()


class _JsonLines:
    """A JSON object a line, with the time in UTC."""

    def begun(self, unit: Unit) -> None:
        self._write("begun", unit, {})

    def done(self, outcome: Outcome) -> None:
        more: dict[str, Any] = {}
        if isinstance(outcome, Rendered):
            more = {"seconds": round(outcome.seconds, 3)}
        elif isinstance(outcome, Failure):
            more = {"cell": outcome.cell_index, "error_name": outcome.error_name, "error": outcome.error}
        self._write(type(outcome).__name__.lower(), outcome.unit, more)

    def _write(self, event: str, unit: Unit, more: dict[str, Any]) -> None:
        about = {"template": unit.template.name, "team": unit.team, "month": unit.month}
        write_line(event, **about, **more)


class _View:
    """Bar, rate and remaining time, and a line for each report at work."""

    def __init__(self, total: int, console: Console) -> None:
        columns = (
            TextColumn("Rendering"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=total, rate="")
        self._console = console
        self._at_work: dict[str, float] = {}
        self._started, self._made = time.monotonic(), 0

    def begun(self, unit: Unit) -> None:
        self._at_work[str(unit)] = time.monotonic()

    def done(self, outcome: Outcome) -> None:
        self._at_work.pop(str(outcome.unit), None)
        self._made += isinstance(outcome, Rendered)
        rate = 60 * self._made / max(time.monotonic() - self._started, 0.001)
        self._progress.update(self._task, advance=1, rate=f"{rate:.0f} a minute" if self._made else "")
        if isinstance(outcome, Failure):
            self._console.print(Text(describe(outcome)))

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        lines = [Text(f"  {now - since:5.1f} s  {unit}") for unit, since in list(self._at_work.items())]
        return Group(self._progress, *lines)


def describe(outcome: Outcome) -> str:
    """What became of a report, in one line."""
    match outcome:
        case Rendered():
            return f"{outcome.unit} ({outcome.seconds:.1f} s)"
        case Failure():
            return f"failed: {outcome}"
        case Skipped():
            return f"{outcome.unit}: unchanged"
