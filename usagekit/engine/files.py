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
from typing import BinaryIO

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


_NAME_SECONDS = 2.0
"""How long whoever finds a lock taken waits for the name of its holder; a busy machine may need that long."""


def write_synced(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file and force it to the disk; ``private``: for its owner alone. An OSError names the path."""
    try:
        with _opened(path, os.O_WRONLY | os.O_TRUNC, 0o600 if private else 0o666) as file:
            if private:
                os.fchmod(file.fileno(), 0o600)  # it may have been there
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _opened(path: Path, flags: int, mode: int) -> BinaryIO:
    """Open a file to write it, made where missing; a link that somebody put in its place is not followed."""
    return os.fdopen(
        os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, mode), "r+b" if flags & os.O_RDWR else "wb"
    )


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


def publish_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write ``text`` to ``path`` as :func:`publish_bytes` does."""
    publish_bytes(path, text.encode(), private=private)


def publish_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old or the new file, never a part.

    A ``private`` file, one that holds addresses, is for its owner alone, whatever the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, content, private=private)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def read_holder(path: Path) -> str:
    """Who holds the lock file ``path``, or the last who was killed with it; empty when nobody does."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


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
        opened = path.open("rb") if shared else _opened(path, os.O_RDWR, 0o666)
    except OSError as error:
        raise StoreError(f"{what} cannot be {'read' if shared else 'written'}: {error}") from error
    with opened as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if time.monotonic() < began + patience:
                    time.sleep(0.02)
                    continue
            # Whoever has just taken the lock has yet to write its name into it.
            if not (holder := read_holder(path)) and time.monotonic() < began + _NAME_SECONDS:
                time.sleep(0.02)
                continue
            raise StoreLocked(
                f"{what} is in use by {holder or 'another process'}: try again when it has finished"
            )
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
