"""Three ways to the same reports: what people do today, usagekit, and the floor below which nobody gets.

Each makes HTML and PDF of every team that it is given; :func:`shown` tells what a notebook shows, to compare them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usagekit.export.document import FIGURE_MIME, TYPST_MIME
from usagekit.report.unit import report_directory

MONTH = "2023-03"
TEMPLATE = Path(__file__).parents[1] / "notebooks" / "team_month.ipynb"
_BIN = Path(sys.executable).parent
_PRINTER = Path(sys.prefix, "weasyprint")
_WEASYPRINT = "weasyprint==70.0"
_PR_SET_CHILD_SUBREAPER = 36
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# nbconvert starts the browser that playwright downloads, and nothing else; this hands it the installed one.
_BROWSER = f"""
from playwright.async_api import BrowserType
_launch = BrowserType.launch
async def launch(self, **options):
    return await _launch(self, executable_path={_CHROMIUM!r}, **options)
BrowserType.launch = launch
"""


@dataclass
class Cost:
    """Seconds of all processors together, in all processes, and seconds on the clock."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def _counted() -> Iterator[Cost]:
    """What the processes cost that are started meanwhile, and those that they leave behind."""
    ctypes.CDLL(None).prctl(
        _PR_SET_CHILD_SUBREAPER, 1
    )  # what is left behind is ours to bury, and so to count
    cost, began, before = Cost(), time.perf_counter(), _cpu(resource.RUSAGE_CHILDREN)
    yield cost
    cost.wall = time.perf_counter() - began
    deadline = time.monotonic() + 10
    with suppress(ChildProcessError):  # none is left
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
    cost.cpu = _cpu(resource.RUSAGE_CHILDREN) - before


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Lab:
    """A sample lab on the disk, its snapshot of :data:`MONTH`, and where its reports go."""

    folder: Path
    teams: tuple[str, ...]

    @property
    def snapshot(self) -> Path:
        """The snapshot that all three read."""
        return self.folder / "snapshots" / MONTH

    def environment(self) -> dict[str, str]:
        """What usagekit's commands need to know."""
        folders = {name: str(self.folder / name) for name in ("snapshots", "reports")}
        return os.environ | {f"USAGEKIT_{name.upper()}": path for name, path in folders.items()}

    def usagekit(self, *words: str) -> None:
        """Run a command of usagekit in this lab."""
        _run(_BIN / "usagekit", *words, cwd=self.folder, env=self.environment())


def make_lab(folder: Path, teams: int) -> Lab:
    """Make the sample lab of so many teams and fetch the month, unless both are there."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(folder, ())
    if not lab.snapshot.exists():
        lab.usagekit("sample", "--store", "store", "--teams", str(teams))
        lab.usagekit("fetch", "--month", MONTH, "--store", "store")
    return Lab(folder, tuple(json.loads((lab.snapshot / "manifest.json").read_text())["teams"]))


def today(lab: Lab, teams: Sequence[str], *, jobs: int, browser: bool = False) -> Cost:
    """Cost of papermill, ``nbconvert --to html`` and WeasyPrint (or ``--to webpdf``), one command after another."""
    with _counted() as cost, ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda team: _by_commands(lab, team, browser=browser), teams))
    return cost


def _by_commands(lab: Lab, team: str, *, browser: bool) -> None:
    home = lab.folder / "today" / report_directory(lab.folder, MONTH, team=team).name
    home.mkdir(parents=True, exist_ok=True)
    notebook, page = home / "report.ipynb", home / "report.html"
    given = [
        word
        for name, value in (("team", team), ("month", MONTH), ("snapshot", str(lab.snapshot)))
        for word in ("-r", name, value)
    ]
    _run(_BIN / "papermill", "-k", "python3", "--no-progress-bar", str(TEMPLATE), str(notebook), *given)
    _run(_BIN / "jupyter", "nbconvert", "--to", "html", "--no-input", str(notebook))
    if browser:
        more = ["--no-input", "--WebPDFExporter.disable_sandbox=True"]
        patched = os.environ | {"PYTHONPATH": str(lab.folder)}
        _run(_BIN / "jupyter", "nbconvert", "--to", "webpdf", *more, str(notebook), env=patched)
    else:
        _run(_PRINTER / "bin" / "weasyprint", "--quiet", str(page), str(home / "report.pdf"))
    if (home / "report.pdf").read_bytes()[:5] != b"%PDF-":
        raise AssertionError(f"no PDF in {home}")


def ours(lab: Lab, teams: Sequence[str], *, jobs: int) -> Cost:
    """Cost of ``usagekit render``, its start and its end included."""
    asked = [word for team in teams for word in ("--team", team)]
    with _counted() as cost:
        lab.usagekit(
            *("render", "--month", MONTH, "--template", "team_month", "--force", "--jobs", str(jobs), *asked)
        )
    return cost


def floor(lab: Lab, teams: Sequence[str], *, jobs: int) -> Cost:
    """Cost of the template's cells in processes that have imported everything, and of the export."""
    command = [sys.executable, "-m", "benchmarks.reports_floor", str(lab.folder)]
    environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, *teams[number::jobs]], stdin=pipe, stdout=pipe, env=environment)
        for number in range(jobs)
    ]
    for process in processes:
        process.stdout.readline()  # type: ignore[union-attr]  # it has imported everything
    began = time.perf_counter()
    for process in processes:
        process.stdin.close()  # type: ignore[union-attr]  # the sign to begin
    cpu = [float(process.stdout.readline()) for process in processes]  # type: ignore[union-attr]
    cost = Cost(sum(cpu), time.perf_counter() - began)
    for process in processes:
        process.wait()
    return cost


def shown(notebook: Path) -> list[tuple[str, str]]:
    """Kind of every figure of a notebook, and the hash of its content, its HTML and its Typst with their SVG."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    bundles = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return [(b[FIGURE_MIME]["kind"], _hash(b)) for b in bundles if FIGURE_MIME in b]


def _hash(bundle: dict[str, Any]) -> str:
    parts = {mime: bundle[mime] for mime in (FIGURE_MIME, "text/html", TYPST_MIME)}
    joined = {m: "".join(part) if isinstance(part, list) else part for m, part in parts.items()}
    return hashlib.sha256(json.dumps(joined, sort_keys=True).encode()).hexdigest()


def same_everywhere(lab: Lab, teams: Sequence[str]) -> dict[str, int]:
    """Figures by kind, of all teams, when all three ways have made equal ones.

    Raises
    ------
    AssertionError : a figure is missing, or differs in a byte.
    """
    kinds: dict[str, int] = {}
    for team in teams:
        name = report_directory(lab.folder, MONTH, team=team).name
        places = (lab.folder / "reports" / MONTH, lab.folder / "today", lab.folder / "floor")
        first, *others = (shown(place / name / "report.ipynb") for place in places)
        if not first or any(other != first for other in others):
            raise AssertionError(f"the figures of {team!r} differ: {lab.folder}")
        for kind, _ in first:
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def prepare_printers(lab: Lab) -> bool:
    """Install WeasyPrint in an environment of its own; whether there is a browser for ``--to webpdf`` too."""
    if not (_PRINTER / "bin" / "weasyprint").exists():
        venv.create(_PRINTER, with_pip=True)
        _run(_PRINTER / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", _WEASYPRINT)
    (lab.folder / "sitecustomize.py").write_text(_BROWSER)
    return _CHROMIUM is not None


def _run(program: Path, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([program, *words], check=False, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program.name} {' '.join(words)[:200]}:\n{done.stderr[-2000:]}")
