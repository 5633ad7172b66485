"""The project's own files agree with each other, and the front door is small and quick."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import usagekit

ROOT = Path(__file__).parents[2]


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_environment_equals_pyproject() -> None:
    """environment.yml lists exactly the requirements of pyproject.toml, with the same bounds.

    What only a cluster needs is listed as well, behind a #.
    """
    text = (ROOT / "environment.yml").read_text("utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = {entry for entry in listed if isinstance(entry, str)} - {"pip"}
    wanted = {*project()["dependencies"], f"python{project()['requires-python']}"}
    extras = dict(project()["optional-dependencies"])
    cluster = {*extras.pop("cluster"), *extras.pop("spark")}
    for extra in extras.values():
        wanted |= set(extra)
    assert conda | set(pip) - {"-e ."} == wanted
    assert set(re.findall(r"^ +# - (.+)$", text, re.MULTILINE)) == cluster


def test_constraints_pin_every_requirement() -> None:
    """Every requirement has one exact version in constraints.txt, and no line holds an address or a path."""
    pins = [p for p in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not p.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+!]*", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    extras = project()["optional-dependencies"].values()
    for requirement in [*project()["dependencies"], *(r for extra in extras for r in extra)]:
        name = re.split(r"[\[>=<]", requirement)[0].lower()
        assert re.sub(r"[-_.]+", "-", name) in pinned, f"{name} has no pin"


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


def test_help_is_quick() -> None:
    """``usagekit --help`` takes less than 0.3 s."""
    assert _seconds(str(Path(sys.executable).parent / "usagekit"), "--help") < 0.3


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
