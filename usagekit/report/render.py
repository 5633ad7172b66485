"""One report: run its notebook, judge it, export it, publish it. Only home of papermill."""

from __future__ import annotations

import logging
import os
import time
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

from usagekit.engine.files import publish_bytes
from usagekit.export.exporters import export_html, export_pdf
from usagekit.report.judge import Broken, as_failure, current_cell, judge
from usagekit.report.limits import Limits
from usagekit.report.publish import FAILED_NOTEBOOK, check_pages, publish, recipe, work_directory
from usagekit.report.unit import Failure, Rendered, Unit

_JUPYTER = (
    "PATH",
    "DATA_DIR",
    "CONFIG_DIR",
    "CONFIG_PATH",
    "RUNTIME_DIR",
    "PLATFORM_DIRS",
    "PREFER_ENV_PATH",
)
_PYTHON = ("PATH", "HOME", "TZPATH", "UTF8", "HASHSEED", "NOUSERSITE", "DONTWRITEBYTECODE", "PYCACHEPREFIX")
KERNEL_VARIABLES: Final = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "USAGEKIT_CACHE"}
    | {"VIRTUAL_ENV", "CONDA_PREFIX", "MPLCONFIGDIR", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    | {f"JUPYTER_{name}" for name in _JUPYTER}
    | {f"PYTHON{name}" for name in _PYTHON}
)
"""All that a kernel sees of the environment, beside ``LC_*``. One by one: JUPYTER_TOKEN is a secret too."""

_ENGINE = "usagekit"
_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # what nbclient logs as errors is in the Failure, said once


def render_unit(unit: Unit, *, limits: Limits | None = None) -> Rendered | Failure:
    """Make one report and publish it; whatever goes wrong is returned as a :class:`Failure`.

    The caller sees to it that no two processes make the same report at once, and that the template fits
    (:func:`usagekit.report.template.validate`).
    """
    notebooks: list[NotebookNode] = []  # the last one tried, for the failure's sake
    try:
        with work_directory(unit.directory) as work:
            return _render(unit, work, limits or Limits(), notebooks)
    except Exception as error:  # noqa: BLE001 - one report's failure is data: it never stops the others
        failure = as_failure(error, unit)
    try:
        for notebook in notebooks[-1:]:
            path = unit.directory / FAILED_NOTEBOOK
            publish_bytes(path, _notebook_bytes(notebook))
            return replace(failure, notebook_path=path)
    except OSError:  # a full disk may be the very reason of the failure, which must still be told
        _log.warning("the notebook of the failed report on %s could not be kept", unit)
    return failure


def kernel_environment() -> dict[str, str]:
    """The environment of a kernel: an allow-list, so that no token or password can reach a notebook."""
    return {k: v for k, v in os.environ.items() if k in KERNEL_VARIABLES or k.startswith("LC_")}


def _render(unit: Unit, work: Path, limits: Limits, notebooks: list[NotebookNode]) -> Rendered:
    began, started = time.monotonic(), datetime.now(UTC)
    made_from = recipe(unit)
    run = _run(unit, work, limits)
    if run.notebook is not None and current_cell(run.notebook) is None:
        run = _run(unit, work, limits)  # the kernel did not come up; a port may have been taken meanwhile
    notebook = run.notebook
    if notebook is None:
        raise run.error or Broken("NotRun", "papermill did not run the notebook")
    notebooks.append(notebook)
    facts = judge(notebook, unit, stopped_by=run.stopped_by())
    with warnings.catch_warnings(record=True) as caught:
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
    files = {"report.ipynb": _notebook_bytes(notebook), "report.html": html.encode(), "report.pdf": pdf}
    return Rendered(unit, publish(unit, work, manifest, files=files), time.monotonic() - began)


@dataclass
class _Run:
    """One attempt to run a notebook in ``directory``, and what came of it."""

    directory: Path
    limits: Limits
    notebook: NotebookNode | None = None
    error: Exception | None = None
    printed: dict[int, int] = field(default_factory=dict)
    shown: int = 0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limits.report_seconds

    def seconds_left(self, _cell: NotebookNode) -> int:
        """Time for the next cell (s)."""
        return max(1, round(min(self.limits.cell_seconds, self.deadline - time.monotonic())))

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
            return Broken("KernelDied", "the kernel was killed, ran out of memory or crashed", index)
        if isinstance(self.error, CellTimeoutError):
            late = time.monotonic() >= self.deadline
            what, limit = (
                ("report", self.limits.report_seconds) if late else ("cell", self.limits.cell_seconds)
            )
            return Broken("Timeout", f"the {what} took longer than {limit} s", index)
        return Broken(type(self.error).__name__, str(self.error), index)


def _run(unit: Unit, work: Path, limits: Limits) -> _Run:
    run = _Run(work, limits)
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
        with TemporaryDirectory(prefix="usagekit-") as sockets:  # in /tmp: socket paths must be short
            client = _Client(
                nb_man,
                run=run,
                sockets=sockets,
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
    """Talks to the kernel over private sockets and drops output beyond the limits before it fills the memory."""

    def __init__(self, *args: Any, run: _Run, sockets: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run = run
        self._sockets = sockets

    def create_kernel_manager(self) -> Any:
        # Sockets in a private directory: no port to clash, and nobody else on the machine can listen.
        manager = super().create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{self._sockets}/kernel"
        return manager

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> Any:
        run, content = self._run, msg["content"]
        if msg["msg_type"] == "stream":
            room = run.limits.printed_characters - run.printed.get(cell_index, 0)
            if room < 0:
                return None
            run.printed[cell_index] = run.printed.get(cell_index, 0) + len(content["text"])
            if len(content["text"]) > room:
                content["text"] = f"{content['text'][:room]}\n… cut here: this cell printed too much\n"
        else:
            run.shown += sum(len(str(value)) for value in content.get("data", {}).values())
            if run.shown > run.limits.report_characters:
                return None
        return super().output(outs, msg, display_id, cell_index)


papermill_engines.register(_ENGINE, _Engine)


def _notebook_bytes(notebook: NotebookNode) -> bytes:
    return str(nbformat.writes(notebook)).encode()  # type: ignore[no-untyped-call]
