"""Is a published report still what was published, and does it still say what its snapshot says?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

from usagekit.analysis.trust import BADGES
from usagekit.analysis.wording import hours_text
from usagekit.engine.files import sha256
from usagekit.errors import RenderError, UsageKitError
from usagekit.report.history import PRUNED
from usagekit.report.judge import Broken, judge
from usagekit.report.ledger import read_entries
from usagekit.report.publish import FAILED_NOTEBOOK, MANIFEST, check_pages, read_manifest
from usagekit.report.readback import check_facts
from usagekit.report.template import Template, load_template
from usagekit.report.unit import Unit
from usagekit.snapshot import Part, SnapshotSource, Table

_PAGES = frozenset({"report.ipynb", "report.html", "report.pdf"})
_NOWHERE = Path("/nonexistent")


def verify_report(directory: Path) -> list[str]:
    """What is wrong with a published report, a line each; nothing if it is good.

    Checked are the SHA-256 of every file that its manifest names, the manifest itself against the ledger and
    the notebook, files that nobody published, every part of its snapshot where that is still there, the device hours
    against the snapshot, and that page, PDF and notebook name the team and the month. The hours of the month are added
    up again from the snapshot in every way there is: each that fails is named. What may have changed since for good
    reasons says :func:`changed_since`.

    Raises
    ------
    StoreError : the ledger beside the report is damaged or of a newer usagekit.
    """
    directory = directory.absolute()
    manifest = read_manifest(directory)
    if manifest is None or not _is_complete(manifest):
        return [f"{MANIFEST}: missing or damaged, so nothing proves the files of {directory}"]
    pruned, files = PRUNED in manifest, manifest["files"]
    if pruned:  # what is left of it is still what was published
        files = {name: about for name, about in files.items() if (directory / name).is_file()}
    found = [*_manifest_faults(directory, manifest), *_file_faults(directory, files)]
    snapshot = Path(manifest["snapshot"])
    stale = list(_snapshot_faults(snapshot, manifest["snapshot_sha256"]))
    if not found and not pruned:  # what is damaged or gone says nothing
        found += _content_faults(directory, manifest, _NOWHERE if stale else snapshot)
    return [*found, *stale]


def changed_since(directory: Path) -> list[str]:
    """What has changed since a report was made and makes it no worse, a line each: its template, its snapshot.

    Nothing for a folder without a report.
    """
    manifest = read_manifest(directory)
    if manifest is None or not _is_complete(manifest):
        return []
    notes = []
    if PRUNED in manifest:
        notes.append(f"files: removed by usagekit prune, {manifest[PRUNED]}; only the manifest was checked")
    try:
        if load_template(manifest["template"]).sha256 != manifest["template_sha256"]:
            notes.append(f"template {manifest['template']}: changed since this report was made")
    except RenderError:
        notes.append(f"template {manifest['template']}: no longer there, or kept elsewhere")
    if not (Path(manifest["snapshot"]) / MANIFEST).is_file():
        notes.append(
            f"snapshot {manifest['snapshot']}: no longer there, so checksums only were checked: no hours, no sums"
        )
    return notes


def _is_complete(manifest: Mapping[str, Any]) -> bool:
    texts = [manifest.get(key) for key in ("template", "template_sha256", "snapshot")]
    digests = [a.get("sha256") if isinstance(a, dict) else None for a in manifest["files"].values()]
    known = isinstance(manifest.get("parameters"), dict) and "snapshot_sha256" in manifest
    return known and all(isinstance(text, str) for text in [*texts, *digests])


def _manifest_faults(directory: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The manifest has the bytes that the ledger knows, or at least those that we would write."""
    content = (directory / MANIFEST).read_bytes()
    entry = read_entries(directory.parent.parent, directory.parent.name).get(directory.name)
    known = entry.manifest_sha256 if entry else None
    published = {key: value for key, value in manifest.items() if key != PRUNED}
    if known not in (None, hashlib.sha256(_written(published)).hexdigest()) or content != _written(manifest):
        yield f"{MANIFEST}: not the bytes that were published"
    if missing := _PAGES - manifest["files"].keys():
        yield f"{MANIFEST}: names no {' and no '.join(sorted(missing))}"


def _written(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode(errors="surrogatepass")


def _file_faults(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, about in sorted(files.items()):
        path = directory / name
        if path.name != name or path.is_symlink():
            yield f"{name}: leads elsewhere"
        elif not path.is_file():
            yield f"{name}: missing"
        elif sha256(path) != about["sha256"]:
            yield f"{name}: not the bytes that were published"
    known = {
        *files,
        MANIFEST,
        FAILED_NOTEBOOK,
    }  # the last is that of a later attempt, which left this report alone
    yield from (
        f"{path.name}: nobody published it" for path in sorted(directory.iterdir()) if path.name not in known
    )


def _snapshot_faults(snapshot: Path, digest: str | None) -> Iterator[str]:
    """The snapshot, if it is still there, is the one that was read, and each of its parts is whole."""
    if digest is None or not (snapshot / MANIFEST).is_file():
        return
    if sha256(snapshot / MANIFEST) != digest:
        yield f"snapshot {snapshot}: not the one that the report was made from; was the month fetched again?"
        return
    try:
        source = SnapshotSource(snapshot)
    except (UsageKitError, KeyError, TypeError):
        return  # not one of ours: a template of one's own may read other things
    parts: list[Part | Table] = [*source.parts, *source.tables.values()]
    for part in parts:
        path = snapshot / part.file
        if not path.is_file() or sha256(path) != part.sha256:
            yield f"snapshot {snapshot}: {part.file} is missing or not what was fetched"


def _content_faults(directory: Path, manifest: Mapping[str, Any], snapshot: Path) -> Iterator[str]:
    """Page, PDF, notebook and manifest tell of one team and month, with the hours of the snapshot and sound sums."""
    facts, asked = manifest["facts"], manifest["parameters"]
    template = Template(manifest["template"], _NOWHERE, "", manifest["template_sha256"], {})
    unit = Unit(template, asked.get("team"), str(asked.get("month")), snapshot, directory)
    files = {name: (directory / name).read_bytes() for name in _PAGES}
    notebook = nbformat.reads(files["report.ipynb"].decode(), as_version=4)  # type: ignore[no-untyped-call]
    try:
        if judge(notebook, unit) != facts:
            yield f"{MANIFEST}: its facts are not those of the notebook"
            return
        check_pages(unit, files["report.html"].decode(), files["report.pdf"])
        check_facts(files, facts)
    except Broken as error:
        yield f"report.ipynb: {error}"
    except UsageKitError as error:
        yield str(error)
    given = {**notebook.metadata.get("papermill", {}).get("parameters", {})}
    given["snapshot"] = Path(str(given.get("snapshot"))).name
    if given != asked:
        yield f"{MANIFEST}: its parameters are not those of the notebook"
    yield from _sum_faults(unit, facts)


def _sum_faults(unit: Unit, facts: Mapping[str, Any]) -> Iterator[str]:
    """The identities of the month, worked out anew from its snapshot, and what the report says of them."""
    mail = facts.get("mail")
    trust = mail.get("trust", {}) if isinstance(mail, dict) else {}
    said = trust.get("badge")
    if said == "red":
        yield f"the sums of the report: {trust.get('text')}"
    if not (unit.snapshot / MANIFEST).is_file():
        return
    try:
        found = _recomputed(unit.snapshot, sha256(unit.snapshot / MANIFEST), unit.month, unit.team)
    except (KeyError, TypeError):
        return  # as above: not a snapshot of ours
    except UsageKitError as error:
        yield f"the sums of the report: cannot be worked out again: {error}"
        return
    badge, failed = found
    yield from (f"the sums of the report: {text}" for text in failed)
    if said is not None and badge is not None and badge != said:
        yield f"the sums of the report: it says {said}, its snapshot says {badge}"


@lru_cache(maxsize=16)
def _recomputed(
    snapshot: Path, _digest: str, month: str, team: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """Badge of a month's sums, None where the snapshot is no month of a lab, and each sum that fails, in words.

    What a snapshot of some digest says never changes; that it still has its bytes was checked before.
    """
    from usagekit.figures.badges import trust_words  # heavy: pandas
    from usagekit.openers import open_snapshot
    from usagekit.reading import read_month

    try:
        lab = open_snapshot(snapshot)
    except (UsageKitError, KeyError, TypeError):
        return None, ()
    rows = read_month(lab, month, team=team).reconciliation
    badge, _ = trust_words(rows)
    failed = (
        f"{row['part']} add up to {hours_text(row['sum_hours'])}, and the total is {hours_text(row['total_hours'])}"
        for row in rows.to_dict("records")
        if row["badge"] == "red"
    )
    return badge if badge in BADGES else "amber", tuple(failed)
