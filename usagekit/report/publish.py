"""From made to published: prove that the pages say what they must, put them in place, remember how they came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from usagekit.engine.files import sha256, sync_directory, write_synced
from usagekit.errors import RenderError
from usagekit.report.crash import step
from usagekit.report.unit import Unit
from usagekit.report.workplace import FAILED_NOTEBOOK, LOCK_FILE, batch_at_work, sweep, work_directory

__all__ = [
    "FAILED_NOTEBOOK",
    "LOCK_FILE",
    "MANIFEST",
    "batch_at_work",
    "check_pages",
    "damaged_files",
    "made_otherwise",
    "publish",
    "read_manifest",
    "recipe",
    "recipe_key",
    "sweep",
    "up_to_date",
    "work_directory",
]

MANIFEST: Final = "manifest.json"


def recipe(unit: Unit) -> dict[str, Any]:
    """What decides a report's content; equal recipes need no second rendering."""
    source = unit.snapshot / MANIFEST if unit.snapshot.is_dir() else unit.snapshot
    return {
        "template": unit.template.name,
        "template_sha256": unit.template.sha256,
        "parameters": unit.parameters | {"snapshot": unit.snapshot.name},
        "snapshot_sha256": sha256(source) if source.is_file() else None,
        "usagekit_version": _version(),
    }


def recipe_key(made_from: Mapping[str, Any]) -> str:
    """A recipe as one hash: the key of a unit in the ledger."""
    text = json.dumps(made_from, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a published report, or None where there is none that can be read."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(manifest, dict) and all(isinstance(manifest.get(k), dict) for k in ("facts", "files"))
    return manifest if whole else None


def up_to_date(unit: Unit) -> dict[str, Any] | None:
    """The manifest of the published report if it has the same recipe and its files are still whole."""
    manifest, wanted = read_manifest(unit.directory), recipe(unit)
    # A snapshot that cannot be told from another one is never taken for unchanged.
    if manifest is None or wanted["snapshot_sha256"] is None:
        return None
    same = not made_otherwise(manifest, wanted)
    return manifest if same and not damaged_files(unit.directory, manifest) else None


def made_otherwise(manifest: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What of a recipe differs in the manifest of a report: the names of its entries."""
    return [key for key, value in wanted.items() if key not in manifest or manifest[key] != value]


def damaged_files(directory: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of published files that are missing or differ from what the manifest says."""
    return [
        name
        for name, about in manifest["files"].items()
        if not (path := directory / name).is_file() or sha256(path) != about["sha256"]
    ]


def check_pages(unit: Unit, html: str, pdf: bytes) -> None:
    """What :func:`usagekit.report.readback.check_pages` does."""
    from usagekit.report import readback  # heavy: who only looks at what is published does not need it

    readback.check_pages(unit, html, pdf)


def publish(
    unit: Unit,
    work: Path,
    manifest: Mapping[str, Any],
    *,
    files: Mapping[str, bytes],
    batch: str | None = None,
) -> dict[str, Any]:
    """Put the files of a report in place, each whole, the manifest last; returns the whole manifest.

    Everything is on the disk before the first rename, so a full disk costs the new report and never the old
    one. Nothing is published once the ``batch`` has ended (:func:`batch_at_work`). Files that the manifest does not describe (:func:`damaged_files`) come from a power cut between two
    renames. Files that the last revision had and this one has not go when the new manifest is in place.

    Raises
    ------
    RenderError : the pages do not say what the notebook found, a file's name leads elsewhere, or the batch has ended.
    OSError : the disk is full or cannot be written.
    """
    from usagekit.report import readback

    if wrong := [name for name in files if not _is_plain(name)]:
        raise RenderError(f"a report cannot have a file called {wrong[0]!r}")
    readback.check_facts(files, manifest["facts"])
    step("publish:checked")
    about = {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
    whole = {**manifest, "files": about}
    text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False)
    contents = {**files, MANIFEST: text.encode()}
    for name, content in contents.items():
        write_synced(work / name, content)
        step(f"publish:wrote-{name}")
    if not batch_at_work(unit, batch):
        raise RenderError("the batch that ordered it has ended: nothing was published")
    unit.directory.mkdir(exist_ok=True)
    step("publish:made-directory")
    before = (read_manifest(unit.directory) or {"files": {}})["files"]
    for name in contents:
        (work / name).replace(unit.directory / name)
        step(f"publish:renamed-{name}")
    sync_directory(unit.directory)
    step("publish:synced-report")
    sync_directory(unit.directory.parent)
    step("publish:synced-month")
    for name in [*filter(_is_plain, before.keys() - files.keys()), FAILED_NOTEBOOK]:
        (unit.directory / name).unlink(missing_ok=True)
    step("publish:removed-old-files")
    return whole


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file of a report: nothing hidden, no path, none of our own."""
    reserved = name in (MANIFEST, FAILED_NOTEBOOK)
    return bool(name) and Path(name).name == name and not name.startswith(".") and not reserved


@cache
def _version() -> str:
    return version("usagekit")
