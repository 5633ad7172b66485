"""Stores that may not be written, and who may look while somebody writes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import session
from tests.engine.plain_store import (
    HOURS,
    answers,
    fingerprint,
    put_events,
    total_hours,
)
from tests.oracle import Lab
from tests.strategies import tables
from usagekit.engine import commit, store
from usagekit.engine.importer import import_files
from usagekit.engine.store import open_store, write_store
from usagekit.errors import StoreError, StoreLocked


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every store looks as if it could not be written; gives the folder that stands for /tmp."""
    monkeypatch.setattr(store, "_read_only", lambda path: True)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


# Stores that may not be written


def test_read_only_store(foreign: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a store that may not be written lives in a private folder under the temporary one."""
    before = fingerprint(foreign)
    found = answers(open_store(foreign))
    assert fingerprint(foreign) == before
    (private,) = read_only.iterdir()
    assert private.stat().st_mode & 0o077 == 0
    put_events(foreign, HOURS[:1])
    assert total_hours(open_store(foreign)) == 9
    put_events(foreign, HOURS)
    monkeypatch.undo()
    assert answers(open_store(foreign)) == found


def test_read_only_stores_do_not_share_an_index(tmp_path: Path, read_only: Path) -> None:
    """Two stores whose paths look alike once the slashes are gone keep their own answers."""
    for number, folder in enumerate(("a/b-c", "a-b/c"), start=1):
        put_events(tmp_path / folder, [session(1, "2023-03-01 08:00", f"2023-03-01 {8 + number:02}:00")])
    for number, folder in enumerate(("a/b-c", "a-b/c"), start=1):
        assert total_hours(open_store(tmp_path / folder)) == number


def test_read_only_store_lends_its_own_index(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store indexed by whoever may write it is not indexed again by those who may only read."""
    wanted = answers(open_store(foreign))
    monkeypatch.setattr(store, "_read_only", lambda path: True)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert answers(open_store(foreign)) == wanted
    assert not list((tmp_path / "tmp").rglob("*.parquet"))


def test_private_folder_of_somebody_else(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes our name in /tmp is not believed, and keeps nobody from a store that can hold its index."""
    stranger = os.getuid() + 1
    (tmp_path / "tmp" / f"usagekit-{stranger}").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    assert total_hours(open_store(foreign)) == 15
    shutil.rmtree(foreign / "index")
    monkeypatch.setattr(store, "_read_only", lambda path: True)
    with pytest.raises(StoreError, match="belongs to somebody else"):
        open_store(foreign)


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Where no store can be made, an import and a rewrite say so instead of ending in a traceback."""
    (tmp_path / "file").write_text("")
    (tmp_path / "lab" / ".lock").mkdir(parents=True)
    incoming = put_events(tmp_path, HOURS)
    for place in (tmp_path / "file", tmp_path / "file" / "lab", tmp_path / "lab"):
        with pytest.raises(StoreError, match="cannot be written"):
            import_files([incoming], place)
        with pytest.raises(StoreError, match="cannot be written"):
            write_store(place, tables(Lab()))


@pytest.mark.fault(61)
def test_full_disk_changes_nothing(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full before a change is final, the old sessions stay and the next import works."""
    wanted = answers(open_store(foreign))
    incoming = put_events(tmp_path, [session(5, "2023-05-01 08:00", "2023-05-01 09:00")])
    monkeypatch.setattr(commit, "write_parquet", _no_space)
    with pytest.raises(StoreError, match="No space left"):
        import_files([incoming], foreign)
    assert answers(open_store(foreign)) == wanted
    monkeypatch.undo()
    assert import_files([incoming], foreign).added == 1
    assert total_hours(open_store(foreign)) == 16


def _no_space(table: object, path: Path) -> None:
    path.write_bytes(b"PAR1")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


# Several processes

_HOLD = """
import sys
from pathlib import Path
from usagekit.engine import commit
from usagekit.engine.importer import import_files
replace = Path.replace
def move(self, target):
    moved = replace(self, target)
    if self.parent.name == commit.STAGING and self.suffix == ".parquet":
        print("half", flush=True)  # the first file of several is in place
        sys.stdin.readline()
        Path.replace = replace
    return moved
Path.replace = move
import_files(sys.argv[2:], sys.argv[1])
"""


@pytest.fixture
def half_imported(foreign: Path, tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A store with another process in the middle of an import of 100 and 200 hours into it."""
    open_store(foreign)
    rows = [
        session(8, "2023-03-04 00:00", "2023-03-08 04:00"),
        session(9, "2023-04-04 00:00", "2023-04-12 08:00"),
    ]
    incoming = put_events(tmp_path, rows, file="in.parquet")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(foreign), str(incoming)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        yield foreign, writer
        writer.kill()


@pytest.mark.fault(62)
def test_second_writer_is_told_who_is_first(half_imported: tuple[Path, subprocess.Popen[str]]) -> None:
    """A second import or rewrite fails at once, names the first one's process and changes nothing."""
    path, writer = half_imported
    before = fingerprint(path)
    incoming = path.parent / "events/month=2023-03/in.parquet"
    for write in (
        lambda: import_files([incoming], path),
        lambda: write_store(path, tables(Lab())),
    ):
        with pytest.raises(StoreLocked, match=rf"pid {writer.pid}\b"):
            write()
    assert fingerprint(path) == before


@pytest.mark.fault(62)
def test_readers_keep_the_old_version(half_imported: tuple[Path, subprocess.Popen[str]]) -> None:
    """While an import moves its files into place, everyone sees the old sessions; then all the new ones."""
    path, writer = half_imported
    old = open_store(path)
    assert total_hours(old) == total_hours(old.refresh()) == 15
    writer.communicate("go on\n", timeout=60)
    assert writer.returncode == 0
    assert total_hours(old) == 15
    assert total_hours(old.refresh()) == 315


@pytest.mark.fault(62)
def test_read_only_reader_beside_a_writer(
    half_imported: tuple[Path, subprocess.Popen[str]], read_only: Path
) -> None:
    """Who may only read keeps the old version as well, and after a crash is told who can mend it."""
    path, writer = half_imported
    assert total_hours(open_store(path)) == 15
    writer.kill()
    writer.wait()
    assert total_hours(open_store(path)) == 15
    shutil.rmtree(path / "index")
    with pytest.raises(StoreLocked, match="cut short"):
        open_store(path)


@pytest.mark.fault(60)
def test_crashed_change_is_completed_by_the_next_reader(
    half_imported: tuple[Path, subprocess.Popen[str]],
) -> None:
    """What was final when its writer died is completed by whoever opens the store next."""
    path, writer = half_imported
    writer.kill()
    writer.wait()
    assert total_hours(open_store(path)) == 315
    assert not (path / commit.STAGING).exists()
