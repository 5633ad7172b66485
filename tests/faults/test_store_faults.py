"""Faults 60 to 62: kills, power cuts, flipped bits, full disks and second writers, on real files and processes."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import session
from tests.engine.killing import KINDS, check, content, fork, make_case
from tests.engine.plain_store import HOURS, answers, copied, put_dimension, put_events, total_hours
from tests.faults.flips import FlippedStore
from tests.faults.full_disk import fill, small_disk
from tests.faults.power_loss import Recorder
from tests.faults.races import race
from usagekit.cli import app
from usagekit.engine.importer import import_files
from usagekit.engine.manifest import Manifest
from usagekit.engine.store import open_store
from usagekit.engine.verify import verify_store
from usagekit.errors import StoreError


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a disk in memory: what is tested is what is written, not how fast."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        yield Path(folder).resolve()


# 60: power cuts


@pytest.mark.fault(60)
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_power_cut_after_any_step(kind: str, memory: Path) -> None:
    """Whatever unsynced steps are lost, the store is the old or the new one; what an import has done lasts."""
    case = make_case(kind, memory)
    store = memory / "recorded"
    copied(case.store, store) if case.store.exists() else store.mkdir()
    recorder = Recorder(store)
    with recorder.recording():
        import_files(case.files, store)
    assert len(recorder.steps) > recorder.begun + 40
    dice = random.Random(60)
    outcomes = Counter[bool]()
    for count in range(recorder.begun, len(recorder.steps) + 1):
        for chance in (None, dice) if count % 3 == 0 else (dice,):
            state = memory / f"cut-{count}-{chance is None}"
            recorder.rebuild(count, state, chance)
            outcomes[check(case, state)] += 1
            shutil.rmtree(state)
    assert min(outcomes[True], outcomes[False]) > 10
    recorder.rebuild(len(recorder.steps), memory / "end")
    assert content(memory / "end") == case.new


@pytest.mark.fault(60)
def test_power_cut_would_show_a_missing_sync(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard on the test above: an import that does not sync its folders loses what it has said is done."""
    case = make_case("changes", memory)
    copied(case.store, memory / "recorded")
    monkeypatch.setattr("usagekit.engine.commit.sync_directory", lambda path: None)
    recorder = Recorder(memory / "recorded")
    with recorder.recording():
        import_files(case.files, memory / "recorded")
    recorder.rebuild(len(recorder.steps), memory / "end")
    with pytest.raises((AssertionError, StoreError)):
        assert content(memory / "end") == case.new


# 61: flipped bits


@pytest.mark.promise(14)
@pytest.mark.fault(61)
@pytest.mark.slow
def test_flipped_bit_is_never_a_silent_number(memory: Path) -> None:
    """Of more than 500 flips over all files, each is refused, reported, mended, or without effect."""
    flipped = FlippedStore(memory)
    outcomes = Counter(flipped.check(flip) for flip in flipped.every_class(101))
    assert outcomes.total() >= 500
    assert min(outcomes[kind] for kind in ("refused", "reported", "mended")) > 20
    assert outcomes["without effect"] < outcomes.total() / 20


@pytest.mark.promise(14)
@pytest.mark.fault(61)
def test_verify_names_the_damage_and_the_remedy(memory: Path) -> None:
    """`usagekit verify` ends with 0 for a whole store, and with 1, file and remedy for a damaged one."""
    flipped = FlippedStore(memory)
    command = ["verify", "--store", str(flipped.path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    for file in ("events/month=2023-03/events.parquet", "hosts.parquet"):
        content_, _ = flipped.files[file]
        (flipped.path / file).write_bytes(content_[:40] + bytes([content_[40] ^ 1]) + content_[41:])
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert str(flipped.path / file) in result.stderr
        assert "restore it from a backup, or remove it and import its sessions again" in result.stderr
    (flipped.path / "hosts.parquet").unlink()
    assert "hosts.parquet: is gone" in CliRunner().invoke(app, command).stderr


@pytest.mark.fault(61)
def test_rotten_file_of_others_is_reported(foreign_store: Path) -> None:
    """A file without seal whose bytes changed under an old time is told by the hash in the index."""
    path = foreign_store / "events/month=2023-03/events.parquet"
    wanted = answers(open_store(foreign_store))
    modified = path.stat().st_mtime_ns
    changed = bytearray(path.read_bytes())
    changed[60] ^= 4
    path.write_bytes(changed)
    os.utime(path, ns=(modified, modified))
    assert [damage.file for damage in verify_store(foreign_store)] == [path]
    assert answers(open_store(foreign_store)) == wanted


@pytest.mark.fault(61)
def test_file_that_others_wrote_anew_is_no_damage(foreign_store: Path, memory: Path) -> None:
    """pyarrow may read one of our files and write it back: the seal goes, and nothing complains."""
    import pyarrow.parquet as pq

    import_files([put_events(memory, HOURS)], memory / "ours")
    path = memory / "ours/events/month=2023-03/events.parquet"
    wanted = total_hours(open_store(memory / "ours"))
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(1), path)
    assert total_hours(open_store(memory / "ours")) == wanted - 1
    assert verify_store(memory / "ours") == []


@pytest.fixture
def foreign_store(memory: Path) -> Path:
    """Three sessions of 1, 2 and 4 hours, written by pyarrow and indexed."""
    put_events(memory / "lab", HOURS)
    put_dimension(memory / "lab", "hosts", [("lab-1", "DE")])
    open_store(memory / "lab")
    return memory / "lab"


# 61: full disks


def refusal(do: Callable[[], object]) -> str:
    """The message of the StoreError with which something fails, empty when it does not."""
    try:
        do()
    except StoreError as error:
        return str(error)
    return ""


@pytest.mark.fault(61)
@pytest.mark.slow
def test_import_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    """With 0, 1, 2 ... pages of 4 KiB left an import is done or names what it cannot write; the store stays whole."""
    case = make_case("changes", tmp_path)
    failed = 0
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("this machine does not let us mount a small disk")
        for pages in range(200):
            store = copied(case.store, disk / "store")
            filler = fill(disk, leave=pages)
            told = refusal(lambda: import_files(case.files, store))  # noqa: B023 - called at once
            done = told == ""
            assert done or (str(store) in told and "No space left" in told)
            failed += not done
            assert content(store) == (case.new if done else case.old)
            filler.unlink()
            assert verify_store(store) == []
            assert check(case, store) is done
            shutil.rmtree(store)
            if done and pages > failed + 20:  # some more, on which the index does not fit
                break
    assert failed > 3


@pytest.mark.fault(61)
@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [True, False], ids=["room in /tmp", "no room anywhere"])
def test_indexing_on_a_disk_that_fills_up(
    foreign_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    """A store whose index does not fit is answered from one in /tmp, else the error names it; nothing is harmed."""
    wanted = total_hours(open_store(foreign_store))
    found: list[float] = []
    shutil.rmtree(foreign_store / "index")
    (tmp_path / "tmp").mkdir()
    failed = private = 0
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("this machine does not let us mount a small disk")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp" if elsewhere else disk))
        for pages in range(60):
            store = copied(foreign_store, disk / f"store{pages}")
            filler = fill(disk, leave=pages)
            told = refusal(lambda: found.append(total_hours(open_store(store))))  # noqa: B023 - called at once
            assert told == "" or (str(disk) in told and not elsewhere)
            failed += told != ""
            in_store = Manifest.load(store / "index" / "manifest.json") is not None
            private += not in_store
            filler.unlink()
            found.append(total_hours(open_store(store)))
            assert verify_store(store) == []
            shutil.rmtree(store)
            if in_store:
                break
    assert in_store
    assert set(found) == {wanted}
    assert private > 3
    assert (failed > 3) is not elsewhere


# 62: several writers, and readers beside them


@pytest.mark.fault(62)
@pytest.mark.slow
def test_twenty_writers_race(tmp_path: Path) -> None:
    """Of 20 imports that start together one wins; each of the others names its process within a second."""
    for attempt in range(3):  # a machine that is busy with other things may have slept through the second
        losers, pids = race(tmp_path / str(attempt))
        if max(seconds for _, seconds in losers) < 1:
            break
    named = {message.partition("pid ")[2].partition(" ")[0] for message, _ in losers}
    assert len(named) == 1
    assert named <= {str(pid) for pid in pids}
    assert max(seconds for _, seconds in losers) < 1
    assert total_hours(open_store(tmp_path / str(attempt) / "store")) == 7


def _grow(files: list[Path], store: Path, news: tuple[Semaphore, ...]) -> None:
    for file in [*files, None]:
        for read in news:
            assert read.acquire(timeout=60)
        if file:
            import_files([file], store)


@pytest.mark.fault(62)
@pytest.mark.slow
def test_readers_during_imports(memory: Path) -> None:
    """While eight imports add an hour each, every reader sees a whole number of them, and never fewer again."""
    store = memory / "store"
    files = [
        put_events(memory / str(n), [session(n, f"2023-03-0{n} 08:00", f"2023-03-0{n} 09:00")])
        for n in range(1, 9)
    ]
    import_files(files[:1], store)
    news = (fork.Semaphore(0), fork.Semaphore(0))  # a reader's: it has seen what it had not seen before
    writer = fork.Process(target=_grow, args=(files[1:], store, news))
    seen: list[list[float]] = [[], []]

    def read(mine: list[float], new: Semaphore) -> None:
        opened = open_store(store)
        while writer.is_alive():
            opened = opened.refresh()
            hours = total_hours(opened)
            if hours not in mine:
                new.release()
            mine.append(hours)

    writer.start()
    with ThreadPoolExecutor(2) as readers:
        for reading in [readers.submit(read, *each) for each in zip(seen, news, strict=True)]:
            reading.result(120)
    writer.join(60)
    assert writer.exitcode == 0
    for mine in seen:
        assert mine == sorted(mine)
        assert set(mine) == set(range(1, 9))
    assert total_hours(open_store(store)) == 8
