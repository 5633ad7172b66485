"""What is written: where, for whom, safe to open, and found out when it was changed."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.canary import found_in
from tests.faults.payloads import MARKUP, TEAMS
from tests.paper.templates import unit_of
from tests.post.reports import MONTH, NOW, Settings, publish
from usagekit.analysis.wide import without_formulas
from usagekit.delivery import preview
from usagekit.engine.files import locked, publish_text, sha256, write_synced
from usagekit.errors import MailError, RenderError, StoreError
from usagekit.report.batch import render_month
from usagekit.report.ledger import open_ledger
from usagekit.report.publish import work_directory
from usagekit.report.unit import report_directory
from usagekit.report.verify import verify_report

PRECIOUS = "do not touch"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else with something precious in it; it must stay as it is."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("precious", "precious.html", "precious.eml"):
        (folder / name).write_text(PRECIOUS)
    return folder


def untouched(folder: Path) -> bool:
    names = {"precious", "precious.html", "precious.eml"}
    return {p.name for p in folder.iterdir()} == names and all(
        p.read_text() == PRECIOUS for p in folder.iterdir()
    )


@pytest.mark.promise(6)
@given(team=st.text(max_size=60) | st.sampled_from(MARKUP), template=st.text(min_size=1, max_size=20))
def test_any_name_stays_in_its_month(team: str, template: str) -> None:
    """Whatever team and template are called, the report has one folder right below its month, with a plain name."""
    directory = report_directory(Path("/reports"), "2023-03", team=team, template=template)
    assert directory.parent == Path("/reports/2023-03")
    assert directory.resolve() == directory
    assert directory.name.isascii()
    assert directory.name.replace("-", "").replace(".", "").isalnum()
    assert not directory.name.startswith((".", "-"))
    assert len(directory.name) <= 130


@pytest.mark.promise(6)
@pytest.mark.parametrize(
    "planted", ["month", "report", "lock", "ledger", "index", "temporary", "mail", "mails of a month"]
)
def test_planted_links_are_not_followed(tmp_path: Path, elsewhere: Path, planted: str) -> None:
    """A link in the place of a folder or file of ours is refused or replaced; nothing behind it is written or removed."""
    reports = tmp_path / "reports"
    unit = unit_of(tmp_path, "good")
    places = {
        "month": reports / "2023-03", "report": unit.directory, "lock": reports / ".lock", "ledger": reports / "ledger.sqlite",
        "index": reports / "2023-03" / "index.html", "temporary": reports / ".index.html.tmp", "mail": reports / "mail",
        "mails of a month": reports / "mail" / MONTH,
    }  # fmt: skip
    link = places[planted]
    link.parent.mkdir(parents=True, exist_ok=True)
    is_folder = planted in ("month", "report", "mail", "mails of a month")
    link.symlink_to(elsewhere if is_folder else elsewhere / "precious")
    if planted == "month":
        with pytest.raises(RenderError, match="symbolic link"):
            list(render_month([unit], jobs=1))
    elif planted == "report":
        with pytest.raises(RenderError, match="symbolic link"), work_directory(unit.directory):
            pass
    elif planted == "lock":
        with pytest.raises(StoreError), locked(link, what="the reports"):
            pass
    elif planted == "ledger":
        with pytest.raises(StoreError), open_ledger(reports):
            pass
    elif planted == "index":
        publish_text(link, "new")
        assert not link.is_symlink()
    elif planted == "temporary":
        with pytest.raises(OSError, match="symbolic links"):
            write_synced(link, b"new")
    else:
        publish(reports, "NA")
        with pytest.raises(MailError, match="symbolic link"):
            preview(Settings(reports, recipients={"NA": ("ana@example.com",)}), MONTH, clock=lambda: NOW)
    assert untouched(elsewhere)


@pytest.mark.promise(6)
@pytest.mark.slow
def test_every_process_writes_below_its_folder(whole_way: Path) -> None:
    """No process of the whole way, kernels included, opens a file for writing outside its own folder."""
    spied = (whole_way / "record" / "spied.txt").read_text("utf-8").splitlines()
    written = {
        line.split("\t", 1)[1][1:-1].partition("\\t")[2]
        for line in spied
        if "\t'open" in line or '\t"open' in line
    }
    assert any("report.html" in path for path in written)
    assert any(".ipython" in path for path in written)  # kernels tell as well
    fonts = str(Path.home() / ".cache" / "matplotlib")
    outside = {
        p
        for p in written
        if Path(p).is_absolute() and not p.startswith((str(whole_way), "/dev/", "/proc/self", fonts))
    }
    assert outside == set()
    assert not any(".." in Path(p).parts for p in written)


@pytest.mark.promise(7)
@given(
    st.lists(st.text(max_size=12) | st.sampled_from(MARKUP), min_size=1, max_size=5),
    st.floats(allow_nan=False),
)
def test_no_text_becomes_a_formula(texts: list[str], number: float) -> None:
    """A text that a spreadsheet would run gets a ' before it, in cells and heads; no number changes."""
    safe = without_formulas(pd.DataFrame({texts[0]: texts, "n": [number] * len(texts)}, dtype="object"))
    assert not any(str(cell).startswith(FORMULA) for cell in [*safe.iloc[:, 0], *safe.columns])
    assert [str(cell).removeprefix("'") for cell in safe.iloc[:, 0]] == [
        text.removeprefix("'") for text in texts
    ]
    assert list(safe["n"]) == [number] * len(texts)


@pytest.mark.promise(7)
@pytest.mark.slow
def test_no_table_of_a_report_holds_a_formula(whole_way: Path) -> None:
    """In every CSV of a lab full of formulas each cell is a number or a text that no spreadsheet runs."""
    tables = sorted((whole_way / "reports").rglob("*.csv"))
    cells = [
        cell for path in tables for row in csv.reader(path.open(encoding="utf-8", newline="")) for cell in row
    ]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    for cell in cells:
        if cell.startswith(FORMULA):
            float(cell)


@pytest.mark.promise(7)
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("soffice"), reason="no LibreOffice: apt-get install libreoffice-calc")
def test_a_spreadsheet_finds_no_formula(whole_way: Path, tmp_path: Path) -> None:
    """LibreOffice opens every CSV: not one formula, and every text and number is the one of the file."""
    tables = sorted({path.read_bytes(): path for path in (whole_way / "reports").rglob("*.csv")}.values())
    copies = [tmp_path / f"{number}.csv" for number in range(len(tables))]
    for table, copy in zip(tables, copies, strict=True):
        copy.write_bytes(table.read_bytes())
    as_utf8 = "--infilter=CSV:44,34,76,1,,1033,false,false,false"
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    subprocess.run(
        ["soffice", profile, "--headless", as_utf8, "--convert-to", "fods", "--outdir", tmp_path, *copies],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    cells = 0
    for table, copy in zip(tables, copies, strict=True):
        found = opened(copy.with_suffix(".fods"))
        wanted = list(csv.reader(table.open(encoding="utf-8", newline="")))
        for row, values in enumerate(wanted):
            for column, text in enumerate(values):
                assert same_cell(found.get((row, column), ""), text), (table, row, column)
                cells += 1
    assert cells > 1_000


def opened(document: Path) -> dict[tuple[int, int], str | float]:
    """Texts and numbers of a sheet by row and column; a formula anywhere is an error."""
    office, text_p, table = (
        f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "text", "table")
    )
    found: dict[tuple[int, int], str | float] = {}
    row = 0
    for line in ElementTree.parse(document).iter(f"{table}table-row"):
        column = 0
        for cell in line.iter(f"{table}table-cell"):
            assert f"{table}formula" not in cell.attrib, ElementTree.tostring(cell)
            repeats = int(cell.get(f"{table}number-columns-repeated", "1"))
            if cell.get(f"{office}value") is not None:
                value: str | float = float(cell.get(f"{office}value", ""))
            else:
                value = "\n".join("".join(p.itertext()) for p in cell.iter(f"{text_p}p"))
            if repeats < 1_000:
                found |= {(row, column + n): value for n in range(repeats)}
            column += repeats
        row += int(line.get(f"{table}number-rows-repeated", "1"))
    return found


def same_cell(found: str | float, text: str) -> bool:
    """Whether a cell is what the file says: a number to a spreadsheet's 15 digits, or the letters but for white space."""
    if isinstance(found, float):
        return found == pytest.approx(float(text), rel=1e-14)
    # ODF writes runs of spaces and tabs as elements.
    return "".join(found.split()) == "".join(text.split())


PRIVATE = (
    "snapshots/*/*",
    "cache/answers/*",
    "reports/ledger.sqlite*",
    "reports/mail/*/*",
    "reports/*/*/report.failed.ipynb",
)
PRIVATE_FOLDERS = ("snapshots/*", "cache/answers", "reports/mail/*")


@pytest.mark.promise(13)
@pytest.mark.slow
def test_what_holds_addresses_is_private_under_any_umask(whole_way: Path) -> None:
    """Though the umask was 000: snapshots, answers, ledger, mails and failed notebooks are their owner's alone."""
    for pattern in PRIVATE:
        found = list(whole_way.glob(pattern))
        assert found, pattern
        assert {
            f"{path.name} {path.stat().st_mode & 0o777:o}" for path in found if path.stat().st_mode & 0o077
        } == set()
    for pattern in PRIVATE_FOLDERS:
        assert {path.stat().st_mode & 0o777 for path in whole_way.glob(pattern)} == {0o700}, pattern
    page = next((whole_way / "reports").glob("*/*/report.html"))
    assert page.stat().st_mode & 0o777 == 0o666  # the umask was 000, and pages are for readers


FOR_READERS = (
    r"reports/([0-9-]{7}/)?index\.html",
    r"reports/health\.json",
    r"reports/[0-9-]{7}/[^/]+/(report\.(html|pdf|ipynb)|manifest\.json|[a-z-]+\.csv)",
    r"reports/(\.lock|run\.lock)",
    r"store/.+",
)
"""What follows the umask, since it is for readers or for several users (docs/security.md, 13)."""
OURS = ("record", "home", "tmp", "spy", "in", "ca.pem", "usagekit.toml", "notes.yaml", "notebooks")
"""What the walk itself puts there."""


@pytest.mark.promise(13)
@pytest.mark.slow
def test_every_file_is_private_but_what_is_for_readers(whole_way: Path) -> None:
    """Of all files below the working folder, after a run too, only pages, their index and the store may be read by others."""
    open_ones = {
        path.relative_to(whole_way).as_posix()
        for path in whole_way.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    }
    codes = (whole_way / "record" / "exit-codes.tsv").read_text().splitlines()
    assert any(line.startswith("run\t") for line in codes)
    mine = {name for name in open_ones if name.split("/")[0] not in OURS}
    assert sorted(name for name in mine if not any(re.fullmatch(p, name) for p in FOR_READERS)) == []
    assert all(any(re.fullmatch(p, name) for name in mine) for p in FOR_READERS)


@pytest.mark.promise(13)
@pytest.mark.slow
def test_pages_for_readers_name_nobody_unless_asked(whole_way: Path) -> None:
    """No file of a team's report, in no layer of it, holds an address; the lab's does, for its settings say names = true."""
    reports = [path.parent for path in (whole_way / "reports").glob("*/*/report.html")]
    assert len(reports) == len(TEAMS) + 1
    for report in reports:
        assert bool(found_in(report.iterdir(), ["@example.com"])) == (report.name == "lab"), report.name


@pytest.mark.promise(14)
@pytest.mark.slow
def test_one_flipped_bit_is_found_out(whole_way: Path, tmp_path: Path) -> None:
    """A bit changed anywhere in a report, or in the snapshot that it was made from, is named by verify."""
    for name in ("reports", "snapshots"):
        shutil.copytree(whole_way / name, tmp_path / name)
    report = next(tmp_path.glob("reports/2023-03/na-*/report.html")).parent
    manifest, snapshot = report / "manifest.json", tmp_path / "snapshots" / "2023-03"
    text = manifest.read_text("utf-8").replace(
        json.loads(manifest.read_text("utf-8"))["snapshot"], str(snapshot)
    )
    manifest.write_text(text, "utf-8")  # the copy's snapshot is the copy
    with closing(sqlite3.connect(tmp_path / "reports" / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("UPDATE units SET manifest_sha256 = ? WHERE name = ?", (sha256(manifest), report.name))
    assert verify_report(report) == []
    for path in sorted([*report.iterdir(), *snapshot.iterdir()]):
        whole = path.read_bytes()
        for at in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert verify_report(report) != [], f"{path.name} at {at}"
        path.write_bytes(whole)
    assert verify_report(report) == []
