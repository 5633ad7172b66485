"""From made to published: prove that the pages say what they must, put them in place, remember how they came."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from usagekit.engine.files import sha256, sync_directory, sync_file
from usagekit.errors import RenderError
from usagekit.figures.escape import shown_name
from usagekit.report.unit import Unit

MANIFEST: Final = "manifest.json"
FAILED_NOTEBOOK: Final = "report.failed.ipynb"
_WORK = ".work"


def check_pages(unit: Unit, html: str, pdf: bytes) -> None:
    """Read the finished pages back: their title or first page must name the team and the month.

    Raises
    ------
    RenderError : a page does not.
    """
    for kind, text in (("HTML", _html_title(html)), ("PDF", _pdf_title(pdf))):
        page = _condensed(text)
        team = () if unit.team is None else tuple(filter(str.strip, (unit.team, shown_name(unit.team))))
        for what, forms in (("team", team), ("month", (unit.month, unit.month_name))):
            if forms and not any(_condensed(form) in page for form in forms):
                raise RenderError(f"the {kind} does not name the {what} in its title or on its first page")


def recipe(unit: Unit) -> dict[str, Any]:
    """What decides a report's content; equal recipes need no second rendering."""
    source = unit.snapshot / MANIFEST if unit.snapshot.is_dir() else unit.snapshot
    return {
        "template": unit.template.name,
        "template_sha256": unit.template.sha256,
        "parameters": unit.parameters | {"snapshot": unit.snapshot.name},
        "snapshot_sha256": sha256(source) if source.is_file() else None,
        "usagekit_version": version("usagekit"),
    }


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a published report, or None where there is none that can be read."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("facts"), dict) else None


def up_to_date(unit: Unit) -> dict[str, Any] | None:
    """The manifest of the published report if it has the same recipe and its files are still whole."""
    manifest, wanted = read_manifest(unit.directory), recipe(unit)
    # A snapshot that cannot be told from another one is never taken for unchanged.
    if manifest is None or wanted["snapshot_sha256"] is None:
        return None
    same = all(manifest.get(key) == value for key, value in wanted.items())
    return manifest if same and not damaged_files(unit.directory, manifest) else None


def damaged_files(directory: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of published files that are missing or differ from what the manifest says."""
    return [
        name
        for name, about in manifest["files"].items()
        if not (path := directory / name).is_file() or sha256(path) != about["sha256"]
    ]


@contextmanager
def work_directory(final: Path) -> Iterator[Path]:
    """A private directory beside the final one, on the same disk, gone in the end."""
    if final.is_symlink():
        raise RenderError(f"{final} is a symbolic link: reports are only written to real directories")
    final.parent.mkdir(parents=True, exist_ok=True)
    path = Path(mkdtemp(prefix=f".{final.name}.", suffix=_WORK, dir=final.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(month_directory: Path) -> None:
    """Remove the work directories of killed workers and batches; only under the batch's lock."""
    for path in month_directory.glob(f".*{_WORK}"):
        shutil.rmtree(path, ignore_errors=True)  # a dying kernel may still write; the next sweep gets it


def publish(
    unit: Unit, work: Path, manifest: Mapping[str, Any], *, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Put the files of a report in place, each whole, the manifest last; returns the whole manifest.

    Everything is on the disk before the first rename, so a full disk costs the new report and never the old
    one. Files that the manifest does not describe (:func:`damaged_files`) come from a power cut between two
    renames.
    """
    about = {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
    whole = {**manifest, "files": about}
    text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False)
    contents = {**files, MANIFEST: text.encode()}
    for name, content in contents.items():
        (work / name).write_bytes(content)
        sync_file(work / name)
    unit.directory.mkdir(exist_ok=True)
    for name in contents:
        (work / name).replace(unit.directory / name)
    sync_directory(unit.directory)
    sync_directory(unit.directory.parent)
    (unit.directory / FAILED_NOTEBOOK).unlink(missing_ok=True)
    return whole


def _condensed(text: str) -> str:
    """Text without what a typesetter may change: form, white space, line breaks, invisible characters."""
    return "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in _UNPRINTED
    )


# U+FFFD (So) stands for characters that cannot be shown; dropping both sides of it would hide a lost name.
_UNPRINTED = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})


def _html_title(html: str) -> str:
    reader = _TitleReader()
    reader.feed(html)
    reader.close()
    return " ".join(reader.found)


class _TitleReader(HTMLParser):
    """Collects the text of the title, the first-level headings and the page's header and footer."""

    _TAGS = frozenset({"title", "h1", "header", "footer"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._depth += tag in self._TAGS

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag in self._TAGS

    def handle_data(self, data: str) -> None:
        if self._depth > 0:
            self.found.append(data)


def _pdf_title(pdf: bytes) -> str:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(pdf))
    title = reader.metadata.title if reader.metadata else None
    return f"{title or ''} {reader.pages[0].extract_text()}"
