"""What all commands share: the program itself and the options that several take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from usagekit.lab import Lab

app = typer.Typer(
    help="Monthly usage reports for a device lab, from its Usage API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the event store.")]
SourceOption = Annotated[
    Path | None, typer.Option("--store", help="Take the numbers from this event store, not from the API.")
]
MonthOption = Annotated[str, typer.Option(help="The month, as YYYY-MM.", show_default=False)]
JobsOption = Annotated[int | None, typer.Option(min=1, help="Reports at a time; default: the processors.")]


def open_lab(store: Path | None) -> Lab:
    """The lab of the settings: the API, or the event store that was named."""
    from usagekit.openers import connect, open_store

    return open_store(store) if store else connect()
