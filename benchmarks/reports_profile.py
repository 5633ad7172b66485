"""Where the time of a team's report goes, step by step, in the process that makes it and in its kernel."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat

from benchmarks.reports_ways import MONTH, Lab

_STEPS = {
    "render_unit": "whole report",
    "judge": "judge the notebook",
    "export_html": "HTML",
    "export_pdf": "PDF",
    "check_pages": "read back",
    "check_facts": "read back",
    "csv_files": "CSV files",
    "_notebook_bytes": "write the notebook",
    "write_synced": "write and fsync",
    "sync_directory": "write and fsync",
}


def measure(lab: Lab) -> dict[str, dict[str, float]]:
    """Milliseconds a report of every step and of every cell: the median and the least of the teams."""
    from usagekit.report import publish, readback, render
    from usagekit.report.template import load_template
    from usagekit.report.unit import Failure, Unit, report_directory

    spent: dict[str, list[float]] = defaultdict(list)
    this: dict[str, float] = defaultdict(float)
    template, reports = load_template("team_month"), lab.folder / "profiled"
    units = [
        Unit(template, team, MONTH, lab.snapshot, report_directory(reports, MONTH, team=team))
        for team in lab.teams
    ]
    render.render_unit(units[0])  # starts the process that forks kernels
    with _watched(render, this), _watched(publish, this), _watched(readback, this):
        for unit in units:
            this.clear()
            outcome = render.render_unit(unit)
            if isinstance(outcome, Failure):
                raise AssertionError(f"{outcome}")
            for step, seconds in (this | _in_kernel(unit.directory)).items():
                spent[step].append(seconds * 1000)
    return {
        step: {"median": statistics.median(values), "least": min(values)} for step, values in spent.items()
    }


def _watched(module: Any, this: dict[str, float]) -> Any:
    """The module with those of the steps that it calls timed, while it lasts."""

    def timed(function: Callable[..., Any], step: str) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                this[step] += time.perf_counter() - began

        return run

    called = {name: step for name, step in _STEPS.items() if hasattr(module, name)}
    if not module.__name__.endswith("readback"):
        called.pop("check_pages")  # it only calls that of readback: nothing is timed twice
    replaced: Any = {name: timed(getattr(module, name), step) for name, step in called.items()}
    return patch.multiple(module, **replaced)


def _in_kernel(report: Path) -> dict[str, float]:
    """Seconds until the first cell, of each cell that shows something, and after the last cell."""
    notebook: Any = nbformat.read(report / "report.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    about = [cell.metadata.papermill for cell in notebook.cells]
    first, last = _instant(about[0].start_time), _instant(about[-1].end_time)
    found = {
        "kernel: from the fork to the first cell": first - _instant(notebook.metadata.papermill.start_time),
        "kernel: shut down": _instant(notebook.metadata.papermill.end_time) - last,
        "all cells": last - first,
    }
    for cell, times in zip(notebook.cells, about, strict=True):
        if cell.cell_type == "code" and cell.source.strip():
            line = cell.source.strip().splitlines()[-1 if "open_snapshot" in cell.source else 0]
            step = f"cell: {line.split('(')[0][:40]}"
            found[step] = found.get(step, 0.0) + (times.duration or 0.0)
    return found


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
