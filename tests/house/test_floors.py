"""The floors of ARCHITECTURE.md: imports only go downwards, and every outside library has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "usagekit"

FLOORS = [
    {
        "errors",
        "vocabulary",
        "values",
        "query",
        "period",
        "settings",
        "mail_settings",
        "mail_address",
        "secret_file",
        "hosts",
        "origin",
    },
    {"engine"},
    {"api"},
    {
        *(
            "answer",
            "sources",
            "lab",
            "openers",
            "snapshot",
            "fetch",
            "sample_lab",
            "ask",
            "doctor",
            "probes",
            "analysis",
            "figures",
        ),
        *("question", "members", "comparison", "explanation", "trust", "waiting"),
        *("fleet", "device_notes", "evidence", "reading"),
    },
    {"export"},
    {"report"},
    {"delivery"},
    {"demo"},
    {"cli"},
]

HOMES = {
    "httpx": {"api/client.py", "origin.py"},
    "stamina": {"api/retry.py"},
    "starlette": {"api/server.py", "api/answers.py", "api/body.py"},
    "uvicorn": {"api/server.py"},
    "papermill": {"report/render.py", "report/template.py"},
    "nbclient": {"report/render.py"},
    "typst": {"export/compiler.py"},
    "pydantic": {"settings.py", "mail_settings.py", "mail_address.py"},
    "pydantic_settings": {"settings.py"},
    "typer": {"cli/door.py", "cli/upkeep.py", "cli/numbers.py", "cli/post.py", "cli/reports.py"},
    "distributed": {"report/executors.py"},
    "pypdfium2": {"report/readback.py"},
    "sqlite3": {
        "delivery/outbox_table.py",
        "delivery/run_table.py",
        "report/ledger.py",
        "report/sqlite_file.py",
    },
    "tinycss2": {"export/styles.py"},
    "yaml": {"device_notes.py"},
    "smtplib": {"delivery/postman.py"},
    "imaplib": {"delivery/mailbox.py"},
    "css_inline": {"delivery/letter.py"},
    "idna": {"mail_address.py"},
    "ibis": {"engine/cluster.py", "engine/cluster_query.py"},
}

KERNELS_IMPORT = (
    "__init__",
    "lab",
    "snapshot",
    "sample_lab",
    "answer",
    "analysis",
    "figures",
    "api/frames.py",
    "sources",
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Names of the modules that a file imports when it runs, type-checking imports left out."""
    tree = ast.parse(path.read_text("utf-8"))
    checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(room: str) -> int:
    """The floor of a module or package right below usagekit."""
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"usagekit/{room} is on no floor: give it one here and in ARCHITECTURE.md")


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    """A module imports from its own floor or from one below."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return  # the front door only names what is inside, lazily
    for name in imports(path):
        if name.startswith("usagekit."):
            target = name.split(".")[1]
            if (PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").exists():
                assert floor_of(target) <= floor_of(room), f"{path.name} reaches up to usagekit.{target}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_outside_libraries_stay_at_home(path: Path) -> None:
    """A wrapped library is imported in its home module only, so that it can be replaced there."""
    here = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        home = HOMES.get(name.split(".")[0])
        assert home is None or here in home, (
            f"{here} imports {name}, whose home is {', '.join(sorted(home or []))}"
        )


def test_polars_lives_in_engine_and_server() -> None:
    """Only the engine and what serves it may import Polars: kernels must not start its threads."""
    users = {
        p.relative_to(PACKAGE).as_posix()
        for p in modules()
        if any(n.split(".")[0] == "polars" for n in imports(p))
    }
    assert all(u.startswith("engine/") or u == "api/answers.py" for u in users), users


def test_words_need_no_pandas() -> None:
    """The lowest floor imports neither pandas, numpy, Polars nor pyarrow."""
    for room in FLOORS[0]:
        heavy = {n.split(".")[0] for n in imports(PACKAGE / f"{room}.py")} & {
            "pandas",
            "numpy",
            "polars",
            "pyarrow",
        }
        assert not heavy, f"{room} imports {heavy}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_stay_small(path: Path) -> None:
    """A file of more than about 250 lines is two files."""
    assert len(path.read_text("utf-8").splitlines()) <= 260


def test_no_vague_module_names() -> None:
    """No module is called data, info, util, utils, manager, common, helpers or misc."""
    vague = {"data", "info", "util", "utils", "manager", "common", "helpers", "misc"}
    assert not vague & {part.removesuffix(".py") for p in modules() for part in p.relative_to(PACKAGE).parts}
