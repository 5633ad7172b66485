"""The floor: ``python -m benchmarks.reports_floor FOLDER TEAM…`` runs the template's cells one after another.

No kernel, no papermill, no isolation, nothing checked or read back: the cells' own work in this process, then HTML
and PDF. It says when everything is imported, begins when its standard input ends, and prints the CPU seconds.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.reports_ways import MONTH, TEMPLATE, Lab
from usagekit.report.unit import report_directory


def main() -> None:
    """Make the reports of some teams in ``FOLDER/floor``."""
    from usagekit.export.exporters import export_html, export_pdf
    from usagekit.report import rehearsal

    lab, teams = Lab(Path(sys.argv[1]), ()), sys.argv[2:]
    rehearsal.prepare()
    _say("imported")
    sys.stdin.read()
    began = time.process_time()
    for team in teams:
        home = lab.folder / "floor" / report_directory(lab.folder, MONTH, team=team).name
        home.mkdir(parents=True, exist_ok=True)
        notebook = executed({"team": team, "month": MONTH, "snapshot": str(lab.snapshot)})
        (home / "report.ipynb").write_text(json.dumps(notebook), "utf-8")
        (home / "report.html").write_text(export_html(notebook, name=TEMPLATE.stem), "utf-8")
        (home / "report.pdf").write_bytes(export_pdf(notebook, name=TEMPLATE.stem))
    _say(str(time.process_time() - began))


def executed(parameters: dict[str, str]) -> Any:
    """The template with the outputs of its cells."""
    notebook: Any = nbformat.reads(TEMPLATE.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            last = _run_cell(cell.source, names)
            if "parameters" in cell.metadata.get("tags", ()):
                names |= parameters
            if last is not None:
                bundle = last._repr_mimebundle_()
                cell.outputs = [nbformat.v4.new_output("display_data", data=bundle)]  # type: ignore[no-untyped-call]
    return notebook


def _run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line when that is an expression."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def _say(word: str) -> None:
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


if __name__ == "__main__":
    main()
