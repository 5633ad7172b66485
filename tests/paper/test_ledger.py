"""The ledger: states that survive any end, in a file that says when it cannot be trusted."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from tests.paper.templates import unit_of
from usagekit.errors import StoreError
from usagekit.report.batch import read_failures
from usagekit.report.ledger import LEDGER_FILE, migrate, open_ledger, read_entries
from usagekit.report.unit import Failure, Rendered

AWKWARD = ["NA", "チーム", "<script>", '#read("x")', "R&D / Café", "a\x00b", "📱" * 2000]


def test_states_follow_each_other(tmp_path: Path) -> None:
    """A unit is planned, rendering, failed with its error, which stays until the report is made."""
    unit = unit_of(tmp_path, "good")
    month = unit.directory.parent
    with open_ledger(tmp_path / "reports") as ledger:
        ledger.plan([(unit, "k1")])
        assert [e.state for e in ledger.entries("2023-03").values()] == ["planned"]
        assert read_failures(month) == {}
        ledger.start(unit)
        assert [e.state for e in ledger.entries("2023-03").values()] == ["rendering"]
        ledger.fail(Failure(unit, 2, "KeyError", "'x'", unit.directory / "report.failed.ipynb"))
        told = read_failures(month)[unit.directory.name]
        assert (told["team"], told["cell_index"], told["error"]) == ("Payments", 2, "'x'")
        assert told["notebook"] == "report.failed.ipynb"
        ledger.plan([(unit, "k2")])
        ledger.start(unit)
        assert list(read_failures(month)) == [unit.directory.name], "not mended yet"
        ledger.finish(Rendered(unit, {}, 1.0), manifest_sha256="m", files={"a.csv": [1, 2]})
        (entry,) = ledger.entries("2023-03").values()
        assert (entry.state, entry.key, entry.files) == ("rendered", "k2", {"a.csv": [1, 2]})
        assert read_failures(month) == {}
        assert ledger.entries("2023-04") == {}


@pytest.mark.promise(9)
def test_names_of_all_kinds_stay_apart(tmp_path: Path) -> None:
    """Any name comes back from the ledger character by character, each in an entry of its own."""
    units = [unit_of(tmp_path, "good", team) for team in AWKWARD]
    with open_ledger(tmp_path / "reports") as ledger:
        ledger.plan((unit, "k") for unit in units)
    assert {e.team for e in read_entries(tmp_path / "reports", "2023-03").values()} == set(AWKWARD)


@pytest.mark.promise(13)
def test_file_is_durable_and_private(tmp_path: Path) -> None:
    """The ledger and its log are readable by their owner alone, whatever the umask, and are synced at every commit."""
    before = os.umask(0)
    try:
        with open_ledger(tmp_path) as ledger:
            ledger.plan([(unit_of(tmp_path, "good"), "k")])
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(f"{LEDGER_FILE}*")}
            assert modes == {0o600}
            (mode,) = ledger.connection.execute("PRAGMA journal_mode").fetchone()
            (sync,) = ledger.connection.execute("PRAGMA synchronous").fetchone()
            assert (mode, sync) == ("wal", 2)
    finally:
        os.umask(before)


def test_change_is_all_or_nothing(tmp_path: Path) -> None:
    """An error in the middle of a change leaves what was there before."""
    unit = unit_of(tmp_path, "good")
    with open_ledger(tmp_path / "reports") as ledger:
        ledger.plan([(unit, "k")])
        with suppress(ZeroDivisionError), ledger.change("test"):
            assert ledger.connection.execute("DELETE FROM units").rowcount == 1
            _ = 1 / 0
        assert len(ledger.entries("2023-03")) == 1


def test_other_modules_keep_tables_here(tmp_path: Path) -> None:
    """Statements of a module run once each, new ones on the next opening; fewer than the file knows are refused."""
    first, second = "CREATE TABLE mails (id TEXT)", "ALTER TABLE mails ADD state TEXT"
    with open_ledger(tmp_path) as ledger:
        migrate(ledger.connection, "mails", [first])
        migrate(ledger.connection, "mails", [first])
    with open_ledger(tmp_path) as ledger:
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            migrate(ledger.connection, "mails", [first, second, "nonsense"])
        migrate(ledger.connection, "mails", [first, second])
        ledger.connection.execute("INSERT INTO mails (id, state) VALUES ('a', 'sent')")
        with pytest.raises(StoreError, match="mails are of a newer usagekit"):
            migrate(ledger.connection, "mails", [first])


@pytest.mark.parametrize("reader", [open_ledger, lambda reports: read_entries(reports, "2023-03")])
def test_file_that_cannot_be_trusted_is_refused(tmp_path: Path, reader: object) -> None:
    """A newer, a damaged and a foreign ledger are named with what to do, and are not touched."""
    assert callable(reader)
    units = [unit_of(tmp_path, "good", f"Team {n}") for n in range(300)]
    with open_ledger(tmp_path) as ledger:
        ledger.plan((unit, "k") for unit in units)
    path = tmp_path / LEDGER_FILE
    good = path.read_bytes()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    damaged = bytearray(good)
    damaged[4096:20000] = b"\xff" * (20000 - 4096)
    cases = {path.read_bytes(): "newer usagekit", bytes(damaged): "damaged", b"no database" * 99: "damaged"}
    for content, words in cases.items():
        path.write_bytes(content)
        with pytest.raises(StoreError, match=words) as caught:
            reader(tmp_path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == content
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_ledger(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    """Reading where there is no ledger, or one that was just begun, finds nothing and makes nothing."""
    assert read_entries(tmp_path, "2023-03") == {}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / LEDGER_FILE).touch()
    assert read_failures(tmp_path / "2023-03") == {}
