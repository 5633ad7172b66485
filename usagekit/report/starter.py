"""A template of one's own: a starter to write on, and the checks that it must pass."""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nbformat

from usagekit.errors import RenderError
from usagekit.mail_settings import IMAP_PASSWORD, SMTP_PASSWORD
from usagekit.report.template import Template, load_template
from usagekit.report.unit import Failure, Unit
from usagekit.settings import TOKEN_VARIABLE

_NETWORK: Final = frozenset(
    {
        *(
            "aiohttp",
            "ftplib",
            "http",
            "httpx",
            "imaplib",
            "paramiko",
            "poplib",
            "requests",
            "smtplib",
            "socket",
        ),
        *("socketserver", "ssl", "urllib", "urllib3", "webbrowser", "websockets", "xmlrpc"),
    }
)
_PROGRAMS: Final = frozenset(
    {
        *("builtins", "ctypes", "importlib", "multiprocessing", "pexpect", "posix", "pty", "runpy"),
        *("signal", "subprocess"),
    }
)
_OF_OS: Final = re.compile(r"system|popen|fork\w*|kill\w*|exec\w+|(posix_)?spawn\w*")
"""What of the module os starts or ends programs. The environment of a kernel holds no secret."""

_BY_NAME: Final = frozenset({"__import__", "compile", "eval", "exec", "get_ipython"})
_LEAST_SECRET: Final = 4
"""Characters from which on a value in a source is no accident."""

_OTHER_SOURCES: Final = re.compile(r"connect|open_store|demo|open|read_(?!month$)\w+")
_NEEDED: Final = ("month", "snapshot")
_GIVEN: Final = frozenset({"team", *_NEEDED})
_SECRET: Final = re.compile(r"(?i)(token|passw(or)?d|secret|api_?key|credential)")
_SECRETS: Final = (TOKEN_VARIABLE, SMTP_PASSWORD, IMAP_PASSWORD)
"""Environment variables whose values no template may hold, whatever it calls them."""

_PATH: Final = re.compile(r"\.{1,2}/|~/|/[^\s/]|file:|[A-Za-z]:\\")
_UNDESCRIBED: Final = re.compile(r"Figure \d+ of .*|Image without a description|Image")

_READ = """\
import usagekit as uk
from usagekit import figures
from usagekit.reading import telling

lab = uk.open_snapshot(snapshot)
said = uk.read_month(lab, month, team=team)
figures.header(lab, team=team, month=month, title=said.title, trust=said.reconciliation)"""
_COMPLETE = """\
uk.complete(
    lab,
    template="{name}",
    team=team,
    month=month,
    total_hours=said.kpis[0].value,
    mail=telling.mail_facts(said),
    shown=telling.shown_facts(said),
)"""
_STARTER: Final = (
    ("parameters", 'team = "Payments"\nmonth = "2023-03"\nsnapshot = "demo"'),
    ("code", _READ),
    ("code", "figures.lead(said.finding)"),
    ("code", "figures.tiles(said.kpis, month=month)"),
    ("markdown", "## When devices were used"),
    ("code", "figures.daily_chart(said.daily, month=month, business=lab.business_hours)"),
    ("markdown", "## What the numbers mean"),
    ("code", "figures.definitions(lab, month=month)"),
    ("code", "figures.notes(telling.footnotes(said))"),
    ("code", _COMPLETE),
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a template; ``cell`` counts from 1, None for the whole."""

    cell: int | None
    text: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.text}" if self.cell else self.text


def write_starter(path: Path) -> Path:
    """Write a small template that passes :func:`check_template`, to start from.

    Raises
    ------
    RenderError : the file exists already, or its name is no template's.
    """
    if path.suffix != ".ipynb" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", path.stem):
        raise RenderError(f"{path} is no name for a template: letters, digits and _, and .ipynb at the end")
    cells: list[Any] = []
    for number, (kind, source) in enumerate(_STARTER):
        text = source.replace("{name}", path.stem)
        cell = (nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell)(text)  # type: ignore[no-untyped-call]
        cell["id"] = f"cell-{number}"
        if kind == "parameters":
            cell["metadata"]["tags"] = ["parameters"]
        cells.append(cell)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            nbformat.write(notebook, file)  # type: ignore[no-untyped-call]
    except FileExistsError:
        raise RenderError(f"{path} exists already: choose another name") from None
    return path


def check_template(path: Path) -> list[Complaint]:
    """Everything that keeps a template from being rendered for every team and month.

    First its source, then real runs on the sample lab with all that ``usagekit render`` does: for a team with much
    usage and for one without any.

    Raises
    ------
    RenderError : there is no such file, it is not a notebook, or its parameters cell is not plain Python.
    """
    template = load_template(path)
    return list(_source_complaints(template)) or list(_run_complaints(template))


def _source_complaints(template: Template) -> Iterator[Complaint]:
    cells = json.loads(template.source)["cells"]
    for name in _NEEDED:
        if name not in template.parameters:
            yield Complaint(None, f"the cell tagged 'parameters' does not set {name}")
    for name, required in template.parameters.items():
        if _SECRET.search(name):
            yield Complaint(None, f"{name} is a parameter: papermill writes parameters into every report")
        if required and name not in _GIVEN:
            yield Complaint(None, f"the parameter {name} has no default, and nothing else gives it a value")
    for number, cell in enumerate(cells, 1):
        yield from (Complaint(number, text) for text in _cell_complaints(cell))


def _cell_complaints(cell: dict[str, Any]) -> Iterator[str]:
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    for variable in _SECRETS:
        secret = os.environ.get(variable, "").strip()
        if len(secret) >= _LEAST_SECRET and secret in source:
            yield f"holds the value of {variable}: a notebook is a file that people pass on"
    if cell["cell_type"] != "code":
        return
    if cell.get("outputs"):
        yield "has stored outputs: clear them, they may hold another lab's numbers"
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:  # a null character is a ValueError
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        yield f"is not plain Python: {reason}; magics do not run everywhere"
        return
    yield from _code_complaints(tree)


def _code_complaints(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from _imports(alias.name for alias in names)
            case ast.ImportFrom(module="os", names=names):
                yield from (_no_program(f"os.{n.name}") for n in names if _OF_OS.fullmatch(n.name))
            case ast.ImportFrom(module=str(module)):
                yield from _imports([module])
            case ast.Attribute(value=ast.Name("os"), attr=name) if _OF_OS.fullmatch(name):
                yield _no_program(f"os.{name}")
            case ast.Name(name) if name in _BY_NAME:
                yield _no_program(name)
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(name)) if _OTHER_SOURCES.fullmatch(name):
                yield f"calls {name}(): a report reads its snapshot and nothing else"
            case (
                ast.Assign(targets=[ast.Name(name)], value=ast.Constant(str(value)))
                | ast.AnnAssign(target=ast.Name(name), value=ast.Constant(str(value)))
                | ast.keyword(arg=str(name), value=ast.Constant(str(value)))
            ) if value and _SECRET.search(name):
                yield f"holds a secret in {name}: a notebook is a file that people pass on"
            case ast.Constant(str(value)) if _PATH.match(value):
                yield f"names the path {value!r}: a report runs in a directory of its own"


def _imports(modules: Iterable[str]) -> Iterator[str]:
    found = {module.split(".")[0] for module in modules}
    for name in sorted(found & _NETWORK):
        yield f"imports {name}: a report reads its snapshot and nothing of the network"
    yield from map(_no_program, sorted(found & _PROGRAMS))


def _no_program(name: str) -> str:
    return f"uses {name}: a report runs no program and no code but its own"


def _run_complaints(template: Template) -> Iterator[Complaint]:
    from usagekit.openers import open_snapshot
    from usagekit.sample_lab import MONTH, demo_snapshot

    snapshot = demo_snapshot()
    teams: list[str | None] = [None]
    if "team" in template.parameters:
        usage = open_snapshot(snapshot).usage(MONTH, by="team", display_all=True).df
        hours = usage.groupby("team")["total_time_hours"].sum()
        teams = [str(hours.idxmax()), str(hours.idxmin())]
    with tempfile.TemporaryDirectory(prefix="usagekit-") as folder:
        for number, team in enumerate(teams):
            unit = Unit(template, team, MONTH, snapshot, Path(folder, MONTH, str(number)))
            found = list(_complaints_of(unit))
            yield from found
            if found:
                return


def _complaints_of(unit: Unit) -> Iterator[Complaint]:
    from usagekit.report.render import render_unit  # heavy: papermill

    about = "" if unit.team is None else f" (for the team {unit.team})"
    outcome = render_unit(unit)
    if isinstance(outcome, Failure):
        yield Complaint(_own_cell(unit, outcome), f"{outcome.error_name}: {outcome.error}{about}")
        return
    yield from (Complaint(None, f"{text}{about}") for text in outcome.manifest["warnings"])
    html = (unit.directory / "report.html").read_text("utf-8")
    for text in sorted(set(re.findall(r'<img [^>]*alt="([^"]*)"', html))):
        if _UNDESCRIBED.fullmatch(text):
            yield Complaint(None, f'an image has no alternative text ("{text}"): say in words what it shows')


def _own_cell(unit: Unit, failure: Failure) -> int | None:
    """The number of a failed cell in the template, where papermill has not put a cell behind the parameters."""
    if failure.cell_index is None:
        return None
    cells = json.loads(unit.template.source)["cells"]
    tagged = [i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", ())]
    return failure.cell_index + (failure.cell_index <= tagged[0])
