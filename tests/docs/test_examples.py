"""The documentation is true: its examples run, and every public name is in it."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import matplotlib as mpl
import pytest

import usagekit as uk
from usagekit.answer import Quality, Usage
from usagekit.explanation import Explanation
from usagekit.lab import Lab
from usagekit.members import Devices, Members
from usagekit.trust import Trust

mpl.use("agg")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


_NEEDS_MORE = {"scaling.md": "needs a cluster: tests/cluster runs the same expression"}
"""Pages whose examples an ordinary installation cannot run, and why."""


def blocks(page: Path) -> list[str]:
    """The Python examples of a page, each with its lines where they are in the page."""
    text = page.read_text("utf-8")
    return ["\n" * text[: found.start(1)].count("\n") + found[1] for found in _BLOCK.finditer(text)]


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What an example finds: the sample lab, whichever way it is opened, in an empty folder."""
    from matplotlib import pyplot

    lab, frozen = uk.demo(), uk.open_snapshot("demo")
    monkeypatch.chdir(tmp_path)
    for name in ("connect", "open_store", "demo"):
        monkeypatch.setattr(uk, name, lambda *_args, **_options: lab)
    monkeypatch.setattr(uk, "open_snapshot", lambda _path: frozen)
    monkeypatch.setattr(pyplot, "show", lambda: None)
    return {"uk": uk, "lab": lab, "mine": pyplot.figure().subplots()}  # axes of the reader


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p) and p.name not in _NEEDS_MORE], ids=lambda p: p.name
)
def test_examples_run(page: Path, namespace: dict[str, object]) -> None:
    """Every Python example of a page runs, one after the other, against the sample lab."""
    from matplotlib import pyplot

    for source in blocks(page):
        exec(compile(source, str(page), "exec"), namespace)
    pyplot.close("all")


def exemplary() -> list[str]:
    """Every module of the package with an example in a docstring."""
    files = sorted((ROOT / "usagekit").rglob("*.py"))
    found = [path for path in files if ">>> " in path.read_text("utf-8")]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in found
    ]


@pytest.mark.parametrize("name", exemplary())
def test_docstrings_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in a docstring, of whichever module, gives what it says."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name))
    assert (result.failed, result.attempted > 0) == (0, True)


def public_names() -> list[str]:
    """All names that an analyst may type after ``uk.``, a lab, its members and its answers."""
    kinds = (Lab, Usage, Members, Devices, Quality, Explanation, Trust)
    own = {name for kind in kinds for name in (*vars(kind), *getattr(kind, "__annotations__", ()))}
    return sorted({*uk.__all__, *(name for name in own if not name.startswith("_"))})


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_documented(name: str) -> None:
    """Each public name stands in a page as code."""
    code = "\n".join(
        part
        for page in PAGES
        for part in re.findall(r"```.*?```|`[^`\n]+`", page.read_text("utf-8"), re.DOTALL)
    )
    assert re.search(rf"\b{name}\b", code), f"{name} is in no page of docs/ and not in README.md"


@pytest.mark.parametrize("kind", [Lab, Usage, Members, Devices, Quality, Explanation, Trust])
def test_every_public_method_has_a_docstring(kind: type) -> None:
    """Each public method says what it does."""
    for name, member in vars(kind).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert member.__doc__, f"{kind.__name__}.{name}"
