"""The project's own files agree with each other, and the front door is small and quick."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import usagekit

ROOT = Path(__file__).parents[2]


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


CONDA_NAMES = {"css-inline": "css_inline", "jupyter-client": "jupyter_client"}
"""What conda-forge calls otherwise than PyPI; to conda ``-`` and ``_`` are not alike."""


def test_environment_equals_pyproject() -> None:
    """environment.yml lists exactly the requirements of pyproject.toml, with the same bounds and by conda's names.

    What only a cluster needs is listed as well, behind a #.
    """
    text = (ROOT / "environment.yml").read_text("utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = {entry for entry in listed if isinstance(entry, str)} - {"pip"}
    wanted = {*project()["dependencies"], f"python{project()['requires-python']}"}
    extras = dict(project()["optional-dependencies"])
    cluster = {r for name in ("cluster", "dask", "spark") for r in extras.pop(name)}
    for extra in extras.values():
        wanted |= set(extra)
    by_pip = set(pip) - {"-e ."}
    assert by_pip <= wanted
    assert conda == {
        CONDA_NAMES.get(name, name) + bounds
        for name, bounds in (re.fullmatch(r"([\w-]+)(.*)", r).groups() for r in wanted - by_pip)
    }
    assert set(re.findall(r"^ +# - (.+)$", text, re.MULTILINE)) == cluster


@pytest.mark.promise(15)
def test_constraints_pin_every_requirement() -> None:
    """Every requirement has one exact version in constraints.txt, and no line holds an address or a path."""
    pins = [p for p in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not p.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+!]*", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    extras = project()["optional-dependencies"].values()
    for requirement in [*project()["dependencies"], *(r for extra in extras for r in extra)]:
        name = re.split(r"[\[>=<]", requirement)[0].lower()
        assert re.sub(r"[-_.]+", "-", name) in pinned, f"{name} has no pin"


def test_pins_take_every_python_that_we_take() -> None:
    """No pinned version asks for a newer Python than pyproject.toml: Debian 12 has 3.11.2, and pip would find nothing."""
    least = project()["requires-python"].removeprefix(">=") + ".0"
    pins = dict(
        p.split("==") for p in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in p
    )
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    installed = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
    looked_at = {name: d for name, d in installed.items() if pins.get(name) == d.version}
    assert len(looked_at) > 100
    for name, distribution in looked_at.items():
        wanted = distribution.metadata.get("Requires-Python") or ""
        assert SpecifierSet(wanted).contains(least), f"{name} {distribution.version} needs Python {wanted}"


def test_public_names() -> None:
    """The front door offers at most 20 names, in order, and each can be had."""
    assert usagekit.__all__ == sorted(usagekit.__all__)
    assert len(usagekit.__all__) <= 20
    for name in usagekit.__all__:
        assert getattr(usagekit, name) is not None
    assert usagekit.__version__ == project()["version"]
    with pytest.raises(AttributeError, match="no_such_name"):
        usagekit.no_such_name  # noqa: B018


def _seconds(*command: str) -> float:
    """Processor time of a command in its quickest of six runs: what it costs, not what else the machine does."""
    times = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_import_is_quick() -> None:
    """Importing the package costs less than 0.15 s over bare Python."""
    bare = _seconds(sys.executable, "-c", "pass")
    assert _seconds(sys.executable, "-c", "import usagekit") - bare < 0.15


def test_help_is_quick(tmp_path: Path) -> None:
    """``usagekit --help`` (0.2 s) takes hardly longer than that of a program which does nothing."""
    nothing = tmp_path / "nothing.py"
    nothing.write_text(
        "import typer\napp = typer.Typer()\napp.command('a')(lambda: None)\napp.command('b')(lambda: None)\napp()\n"
    )
    ours = _seconds(str(Path(sys.executable).parent / "usagekit"), "--help")
    assert ours < 1.5 * _seconds(sys.executable, str(nothing), "--help")


def test_front_door_is_lazy() -> None:
    """Importing the package loads neither pandas nor any of the heavy libraries."""
    code = "import sys, usagekit; print(sorted(sys.modules.keys() & {'pandas','numpy','polars','httpx','matplotlib','pydantic'}))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        == "[]"
    )


def test_make_lists_its_verbs() -> None:
    """``make help`` names every verb with a word of explanation."""
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for verb in ("demo", "test", "lint", "types", "unit", "notebooks"):
        assert re.search(rf"make {verb} +\S", shown)
