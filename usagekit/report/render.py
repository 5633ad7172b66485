"""One report: run its notebook, judge it, export it, publish it. Only home of papermill."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

from usagekit.engine.files import publish_bytes
from usagekit.export.exporters import export_html, export_pdf
from usagekit.report.judge import Broken, as_failure, current_cell, judge
from usagekit.report.kernels import PROVISIONER, LeanClient
from usagekit.report.limits import Limits, kernel_environment
from usagekit.report.publish import (
    FAILED_NOTEBOOK,
    batch_at_work,
    check_pages,
    made_otherwise,
    publish,
    recipe,
    work_directory,
)
from usagekit.report.tables import csv_files
from usagekit.report.unit import Failure, Rendered, Unit

_ENGINE = "usagekit"
_LONGEST_NAME = 200
_exporting = threading.Lock()  # caught warnings are those of the process, so threads export one by one
_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # what nbclient logs as errors is in the Failure, said once


def render_unit(
    unit: Unit, *, limits: Limits | None = None, cold: bool = False, batch: str | None = None
) -> Rendered | Failure:
    """Make one report and publish it; whatever goes wrong is returned as a :class:`Failure`.

    The kernel is forked from one that has imported everything, where that is possible and unless ``cold``.
    The caller sees to it that the template fits (:func:`usagekit.report.template.validate`). Nothing is written
    once the ``batch`` has ended (:func:`usagekit.report.publish.batch_at_work`).
    """
    notebooks: list[NotebookNode] = []  # the last one tried, for the failure's sake
    try:
        with work_directory(unit.directory) as work:
            attempt = partial(_Run, work, unit.snapshot, limits or Limits(), not cold)
            return _render(unit, attempt, notebooks, batch)
    except Exception as error:  # noqa: BLE001 - one report's failure is data: it never stops the others
        failure = as_failure(error, unit)
    if not batch_at_work(unit, batch):
        return failure
    try:
        for notebook in notebooks[-1:]:
            path = unit.directory / FAILED_NOTEBOOK
            publish_bytes(path, _notebook_bytes(notebook), private=True)
            return replace(failure, notebook_path=path)
    except OSError:  # a full disk may be the very reason of the failure, which must still be told
        _log.warning("the notebook of the failed report on %s could not be kept", unit)
    return failure


def _render(
    unit: Unit, attempt: Callable[[], _Run], notebooks: list[NotebookNode], batch: str | None
) -> Rendered:
    began, started = time.monotonic(), datetime.now(UTC)
    made_from = recipe(unit)
    run = _run(unit, attempt())
    if run.notebook is not None and current_cell(run.notebook) is None:
        run = _run(unit, attempt())  # the kernel did not come up; what it lacked may be there now
    notebook = run.notebook
    if notebook is None:
        raise run.error or Broken("NotRun", "papermill did not run the notebook")
    notebooks.append(notebook)
    facts = judge(notebook, unit, stopped_by=run.stopped_by())
    if changed := made_otherwise(recipe(unit), made_from):
        raise Broken("ChangedMeanwhile", f"another {', '.join(changed)} than when it began: render it again")
    with _exporting, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        html = export_html(notebook, name=unit.template.name)
        pdf = export_pdf(notebook, name=unit.template.name)
    check_pages(unit, html, pdf)
    manifest = made_from | {
        "snapshot": str(unit.snapshot),
        "as_of": facts.get("as_of"),
        "started_utc": started.isoformat(timespec="seconds"),
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "warnings": sorted({str(w.message) for w in caught if issubclass(w.category, UserWarning)}),
        "facts": facts,
    }
    pages = {"report.ipynb": _notebook_bytes(notebook), "report.html": html.encode(), "report.pdf": pdf}
    files = pages | csv_files(notebook)
    whole = publish(unit, run.directory, manifest, files=files, batch=batch)
    return Rendered(unit, whole, time.monotonic() - began)


@dataclass
class _Run:
    """One attempt to run a notebook in ``directory``, and what came of it."""

    directory: Path
    snapshot: Path
    limits: Limits
    warm: bool
    manager: Any = None
    notebook: NotebookNode | None = None
    error: Exception | None = None
    printed: dict[int, int] = field(default_factory=dict)
    shown: int = 0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limits.report_seconds

    def seconds_left(self, _cell: NotebookNode) -> float:
        """Time for the next cell (s), more than 0, which would mean for ever."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Broken("Timeout", f"the report took longer than {self.limits.report_seconds} s")
        return min(self.limits.cell_seconds, left)

    def cut(self, cell_index: int, text: str) -> str:
        """As much of what a cell prints as there is room for."""
        room = max(0, self.limits.printed_characters - self.printed.get(cell_index, 0))
        self.printed[cell_index] = self.printed.get(cell_index, 0) + len(text)
        return text if len(text) <= room else f"{text[:room]}\n… cut here: this cell printed too much\n"

    def stopped_by(self) -> Broken | None:
        """Why the run ended before its time."""
        index = current_cell(self.notebook) if self.notebook else None
        if self.shown > self.limits.report_characters:
            return Broken(
                "TooMuchOutput", f"more than {self.limits.report_characters:,} characters of output"
            )
        if self.error is None:
            return None
        if index is None:
            return Broken("KernelNotStarted", f"tried twice: {self.error}")
        if isinstance(self.error, DeadKernelError):
            code = self.manager.provisioner.exit_code
            how = (
                f"by signal {-code} (killed, out of memory or crashed)"
                if (code or 0) < 0
                else f"with code {code}"
            )
            return Broken("KernelDied", f"the kernel ended {how}", index)
        if isinstance(self.error, CellTimeoutError):
            late = time.monotonic() >= self.deadline
            what, limit = (
                ("report", self.limits.report_seconds) if late else ("cell", self.limits.cell_seconds)
            )
            return Broken("Timeout", f"the {what} took longer than {limit} s", index)
        name = self.error.error_name if isinstance(self.error, Broken) else type(self.error).__name__
        return Broken(name, str(self.error), index)


def _run(unit: Unit, run: _Run) -> _Run:
    try:
        papermill.execute_notebook(
            nbformat.reads(unit.template.source, as_version=4),  # type: ignore[no-untyped-call] # not its path: papermill fills in {braces}
            None,
            parameters=unit.parameters,
            engine_name=_ENGINE,
            kernel_name="python3",  # an author's own kernel name means nothing on another machine
            progress_bar=False,
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
            run=run,
        )
    except Exception as error:  # noqa: BLE001 - kept, and judged together with the notebook
        run.error = error
    if run.notebook is not None:  # papermill put the whole template there
        run.notebook.metadata.papermill["input_path"] = f"{unit.template.name}.ipynb"
    return run


class _Engine(NBClientEngine):  # type: ignore[misc] # papermill has no types
    """Runs a notebook in a kernel with a directory and an environment of its own, and keeps what came of it."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: NotebookExecutionManager, kernel_name: str, *, run: _Run, **_unused: Any
    ) -> None:
        run.notebook = nb_man.nb
        # A profile of its own: the user's start-up files and history are no part of a report.
        environment = kernel_environment() | {"IPYTHONDIR": str(run.directory / ".ipython")}
        client = _Client(
            nb_man,
            run=run,
            kernel_name=kernel_name,
            startup_timeout=run.limits.start_seconds,
            timeout_func=run.seconds_left,
            shutdown_kernel="immediate",
            log=_log,
        )
        client.execute(env=environment, cwd=str(run.directory))
        for index, cell in enumerate(nb_man.nb.cells):
            if cell.metadata.papermill.get("exception"):
                # Ends papermill here: it would insert notes about the error and so renumber the cells.
                raise Broken("CellFailed", "the cell failed without an error of its own", index)


class _Client(PapermillNotebookClient):  # type: ignore[misc] # papermill has no types
    """Has its kernel from our provisioner and drops output beyond the limits before it fills the memory."""

    def __init__(self, *args: Any, run: _Run, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run = run

    def create_kernel_manager(self) -> Any:
        self._run.manager = manager = super().create_kernel_manager()
        manager.client_factory = LeanClient
        options = {
            "warm": self._run.warm,
            "memory_bytes": self._run.limits.memory_bytes,
            "private": True,
            "snapshot": str(self._run.snapshot),
        }
        manager.kernel_spec.metadata["kernel_provisioner"] = {
            "provisioner_name": PROVISIONER,
            "config": options,
        }
        return manager

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> Any:
        run, content = self._run, msg["content"]
        if msg["msg_type"] == "stream":
            if run.printed.get(cell_index, 0) > run.limits.printed_characters:
                return None
            content["text"] = run.cut(cell_index, content["text"])
        elif msg["msg_type"] == "error":
            # What went wrong is always told; the way there as far as there is room.
            content["ename"] = content["ename"][:_LONGEST_NAME]
            content["evalue"] = run.cut(cell_index, content["evalue"])
            content["traceback"] = [run.cut(cell_index, "\n".join(content["traceback"]))]
        else:
            run.shown += sum(len(str(value)) for value in content.get("data", {}).values())
            if run.shown > run.limits.report_characters:
                return None
        return super().output(outs, msg, display_id, cell_index)


papermill_engines.register(_ENGINE, _Engine)


def _notebook_bytes(notebook: NotebookNode) -> bytes:
    return str(nbformat.writes(notebook)).encode()  # type: ignore[no-untyped-call]
