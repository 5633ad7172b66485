"""How a run tells what it does: lines for people, or a JSON object a line for programs; both on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from usagekit.report.lines import write_line

Fact = str | int | Mapping[str, int] | Sequence[str]


class Tell(Protocol):
    """Is told of each step of a run."""

    def __call__(self, event: str, month: str, **facts: Fact) -> None: ...


def tell_text(event: str, month: str, **facts: Fact) -> None:
    """A line for the step, and one for each thing that is not as it should be or that is worth a note."""
    below = [facts.pop(name, ()) for name in ("causes", "notes")]
    counts = facts.pop("counts", {})
    shown = {**facts, **(counts if isinstance(counts, Mapping) else {})}
    words = ", ".join(f"{value} {name}" for name, value in shown.items() if value)
    sys.stderr.write(f"{' '.join(filter(None, (month, event)))}{': ' if words else ''}{words}\n")
    for lines in below:
        for line in lines if isinstance(lines, Sequence) else ():
            sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


def tell_json(event: str, month: str, **facts: Fact) -> None:
    """One JSON object with the time in UTC."""
    write_line(event, month=month, **facts)
