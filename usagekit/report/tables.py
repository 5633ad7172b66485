"""The tables behind a report's figures, as CSV files beside it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode

from usagekit.export.document import FIGURE_MIME
from usagekit.figures.base import tables
from usagekit.values import without_formula


def csv_files(notebook: NotebookNode) -> dict[str, bytes]:
    """Every table that the notebook shows, by file name: UTF-8, comma, header, lines end in CR LF.

    A text that a spreadsheet would run as a formula gets a ``'`` before it; numbers stay numbers, and a missing
    value is empty. Names that occur again get a number.
    """
    files: dict[str, bytes] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(FIGURE_MIME)
            for table in tables(figure["content"]) if figure else ():
                files[_free_name(table["name"], files)] = _csv(table).encode()
    return files


def _csv(table: Mapping[str, Any]) -> str:
    text = io.StringIO(newline="")
    lines = csv.writer(text)  # by its default as RFC 4180: comma, quotes where needed, CR LF
    lines.writerows(map(without_formula, line) for line in [table["columns"], *table["rows"]])
    return text.getvalue()


def _free_name(name: str, taken: dict[str, bytes]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "table"
    number, file = 1, f"{stem}.csv"
    while file in taken:
        number += 1
        file = f"{stem}-{number}.csv"
    return file
