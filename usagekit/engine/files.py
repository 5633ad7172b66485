"""Durable files: written whole or not at all, and a lock that a second writer runs into."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from usagekit.errors import StoreError, StoreLocked


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_SEAL = b"usagekit-sha256:"
_SEAL_BYTES = len(_SEAL) + 32


def seal(content: bytes) -> bytes:
    """A Parquet file with the SHA-256 of its bytes in it: between data and footer, where no reader looks.

    Page checksums leave out headers and footer, and a hash kept elsewhere cannot tell damage from a rewrite.
    Here it goes with the file, and is gone when somebody else writes the file anew.
    """
    cut = _footer_start(content)
    return content[:cut] + _SEAL + hashlib.sha256(content).digest() + content[cut:]


def seal_holds(content: bytes) -> bool | None:
    """Whether the bytes of a file are those that were sealed; None for a file without a seal."""
    cut = _footer_start(content)
    start = cut - _SEAL_BYTES
    if start < 0 or content[start : start + len(_SEAL)] != _SEAL:
        return None
    digest = hashlib.sha256(memoryview(content)[:start])
    digest.update(memoryview(content)[cut:])
    return digest.digest() == content[cut - 32 : cut]


def _footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and force it to the disk; an OSError names the path."""
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a directory's entries to the disk, so that a rename in it survives a power cut."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync directories
            raise


def publish_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old or the new file, never a part."""
    publish_bytes(path, text.encode())


def publish_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old or the new file, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextmanager
def locked(
    path: Path, *, what: str, wait: bool = False, shared: bool = False, patience: float = 0
) -> Iterator[None]:
    """Hold the lock file ``path``; wait for it, or raise StoreLocked that names who holds it.

    A ``shared`` lock only keeps writers out and needs no right to write. The kernel frees a lock when its
    process ends, however it ends; ``patience`` (s) is for those who hold it but for a moment. StoreError where
    the lock file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("r" if shared else "a+")
    except OSError as error:
        raise StoreError(f"{what} cannot be {'read' if shared else 'written'}: {error}") from error
    with opened as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise StoreLocked(f"{what} is in use by {holder}: try again when it has finished")
        if shared:
            yield
            return
        file.truncate(0)
        holder = f"pid {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        with suppress(OSError):  # on a full disk the lock holds without its holder's name
            os.write(file.fileno(), holder.encode())
        try:
            yield
        finally:
            file.truncate(0)
