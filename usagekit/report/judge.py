"""Is this notebook a finished report? The notebook file itself cannot be trusted to say so.

papermill reports success after a killed kernel and after ``sys.exit(0)``. A report is done when every code cell
ran without an error AND the completion marker of its last cell names the team and the month asked for, with the
device hours that the snapshot has for them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nbformat import NotebookNode

from usagekit.errors import QueryError
from usagekit.export.document import FIGURE_MIME, REPORT_MIME, TYPST_MIME
from usagekit.figures.escape import printable
from usagekit.query import UsageQuery
from usagekit.report.unit import Failure, Unit
from usagekit.snapshot import SnapshotSource

_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_LINE = 300


class Broken(Exception):  # noqa: N818 - a state of a notebook, on its way to become a Failure
    """The notebook is no report: what a :class:`~usagekit.report.unit.Failure` says, without its unit."""

    def __init__(self, error_name: str, message: str, cell_index: int | None = None) -> None:
        super().__init__(message)
        self.error_name = error_name
        self.cell_index = cell_index


def judge(notebook: NotebookNode, unit: Unit, *, stopped_by: Broken | None = None) -> dict[str, Any]:
    """The facts of the completion marker of a finished report.

    ``stopped_by`` says why the run ended early; an error that a cell shows explains more, and goes first.

    Raises
    ------
    Broken : the first thing that is wrong.
    """
    cells = list(_code_cells(notebook))
    for index, cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                raise Broken(output.ename, output.evalue, index)
    if stopped_by is not None:
        raise stopped_by
    for index, cell in cells:
        if cell.execution_count is None:
            raise Broken("NotRun", "this cell did not run", index)
    facts = _marker(cells)
    for name, asked in (("team", unit.team), ("month", unit.month)):
        told = facts.get(name)
        if told != asked and (told or asked is not None):  # a report on the whole lab names no team
            raise Broken("WrongReport", f"asked for {name} {asked!r}, the notebook made {told!r}")
    _check_figures(cells, facts)
    _check_hours(unit, facts)
    return facts


def current_cell(notebook: NotebookNode) -> int | None:
    """Index of the cell that was started last; None when the kernel never got so far."""
    started = (
        i for i, cell in enumerate(notebook.cells) if cell.metadata.get("papermill", {}).get("start_time")
    )
    return max(started, default=None)


def as_failure(error: Exception, unit: Unit) -> Failure:
    """What an exception says about a report, in one line."""
    name = error.error_name if isinstance(error, Broken) else type(error).__name__
    line = " ".join(printable(_TERMINAL_COLOURS.sub("", str(error))).split())
    short = line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
    return Failure(unit, getattr(error, "cell_index", None), name, short)


def _code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def _marker(cells: list[tuple[int, NotebookNode]]) -> dict[str, Any]:
    bundles = [output.get("data", {}) for _, cell in cells for output in cell.outputs]
    found = [bundle[REPORT_MIME] for bundle in bundles if REPORT_MIME in bundle]
    if not found or not isinstance(found[-1], Mapping):
        raise Broken("Incomplete", "the notebook ended without its completion marker, uk.complete(…)")
    return dict(found[-1])


def _check_figures(cells: list[tuple[int, NotebookNode]], facts: Mapping[str, Any]) -> None:
    """The notebook holds the figures that its kernel counted."""
    bundles = [output.get("data", {}) for _, cell in cells for output in cell.outputs]
    shown = {hashlib.sha256(b[TYPST_MIME].encode()).digest() for b in bundles if FIGURE_MIME in b}
    if facts.get("figure_count", len(shown)) != len(shown):
        told = facts["figure_count"]
        raise Broken("WrongReport", f"the notebook says it shows {told} figures, it holds {len(shown)}")


def _check_hours(unit: Unit, facts: Mapping[str, Any]) -> None:
    """The device hours of the marker are those of the snapshot; None only where it has none either."""
    wanted = _hours(unit)
    told = facts.get("total_hours")
    if wanted is None or (told is None and wanted == 0):
        return
    if not isinstance(told, int | float) or not math.isclose(told, wanted, rel_tol=0, abs_tol=1e-6):
        raise Broken("WrongReport", f"the snapshot has {wanted:.6f} device hours, the notebook says {told}")


def _hours(unit: Unit) -> float | None:
    """Device hours of the unit's team and month by its snapshot (h); None where that is not to be had."""
    if not _is_snapshot(unit):
        return None
    source = SnapshotSource(unit.snapshot)
    if str(source.period) != unit.month:
        raise Broken("WrongReport", f"asked for month {unit.month}, the snapshot is of {source.period}")
    query = UsageQuery(start=source.period.start, end=source.period.end, timezone=source.timezone)
    if unit.team is not None:
        query = replace(query, by="team", filters=(("team_name", (unit.team,)),))
    try:
        return float(source.usage(query)["total_time_hours"].sum())
    except QueryError:  # this answer was not to be had when the snapshot was fetched
        return None


def _is_snapshot(unit: Unit) -> bool:
    """Templates of one's own may read other things than snapshots of ours."""
    try:
        manifest = json.loads((unit.snapshot / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "format" in manifest
