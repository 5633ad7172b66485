"""Where a report is made: a directory of its own, one maker at a time, and what killed makers leave behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from usagekit.engine.files import read_holder
from usagekit.errors import RenderError
from usagekit.report.crash import step
from usagekit.report.unit import Unit

FAILED_NOTEBOOK: Final = "report.failed.ipynb"
LOCK_FILE: Final = ".lock"
"""In the directory of all months: whoever changes reports holds it, and its name stands there."""

_WORK = ".work"
_MAKING = ".making"
_FREE_SECONDS = 10.0
"""How long a maker waits for another one of the same report; one that was killed has let go at once."""


@contextmanager
def work_directory(final: Path) -> Iterator[Path]:
    """A private directory beside the final one, on the same disk, gone in the end; one maker at a time has one.

    A cluster that takes a worker for dead gives its report to another one, and both would publish it.

    Raises
    ------
    RenderError : somebody else is making this report, or its directory is a symbolic link.
    """
    if final.is_symlink():
        raise RenderError(f"{final} is a symbolic link: reports are only written to real directories")
    final.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(final.parent / f".{final.name}{_MAKING}"):
        path = Path(mkdtemp(prefix=f".{final.name}.", suffix=_WORK, dir=final.parent))
        step("work:made")
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            step("work:removed")


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Hold a lock file that is there only while it is held."""
    deadline = time.monotonic() + _FREE_SECONDS
    while (descriptor := _claim(path)) is None:
        if time.monotonic() > deadline:
            raise RenderError("another process is making this very report")
        time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _claim(path: Path) -> int | None:
    """The descriptor of a lock file that is ours now; None while it is somebody else's."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):  # or its holder has just removed it
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def batch_at_work(unit: Unit, batch: str | None) -> bool:
    """Whether the batch that ordered a report, known by what stands in the lock file, still holds the lock.

    A task on an executor cannot be stopped: it may end when another batch is at work already.
    """
    return not batch or read_holder(unit.directory.parent.parent / LOCK_FILE) == batch


def sweep(month_directory: Path) -> None:
    """Remove what killed workers and batches left, kernels included; only under the batch's lock."""
    work = [path for path in month_directory.glob(f".*{_WORK}") if not path.is_symlink()]
    if work:
        _end_those_in(work)
    for path in work:
        shutil.rmtree(path, ignore_errors=True)  # a dying kernel may still write; the next sweep gets it
    for path in month_directory.glob(f"*/.{FAILED_NOTEBOOK}.*.tmp"):
        path.unlink(missing_ok=True)
    for path in month_directory.glob(f".*{_MAKING}"):
        with suppress(OSError):  # a link
            if (descriptor := _claim(path)) is not None:
                path.unlink(missing_ok=True)
                os.close(descriptor)
    (month_directory / "run.json").unlink(missing_ok=True)  # what 0.1 kept instead of the ledger


def _end_those_in(directories: Iterable[Path]) -> None:
    """Kill the kernels that outlived the process that started them (Linux; elsewhere they end by themselves).

    They are known by where they work. A person who looks around there has a terminal, and is left alone.
    """
    real = tuple(path.resolve() for path in directories)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # ended meanwhile, or not ours
            there = (process / "cwd").readlink()
            terminal = int((process / "stat").read_text().rpartition(")")[2].split()[4])
            if terminal == 0 and any(there.is_relative_to(path) for path in real):
                os.kill(int(process.name), signal.SIGKILL)
