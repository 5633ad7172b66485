"""Answers that were given before, kept as bytes up to a total size; the least recently used go first."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import Final

_ENTRY_BYTES: Final = 512
_LARGEST_PART: Final = 4


class AnswerCache:
    """Bodies by tag, at most ``limit`` bytes of them; safe to share by threads.

    A tag stands for a version of the store, a query and a format, so an import makes old tags unreachable.
    It serves as ETag as well, and is another one in every process: an update of usagekit may answer otherwise.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._salt = secrets.token_bytes(16)
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def tag(self, version: str, query: object, format: str) -> str:
        """The tag of a question; ``query`` is told by its repr."""
        return sha256(self._salt + repr((version, query, format)).encode()).hexdigest()[:32]

    def get(self, tag: str) -> bytes | None:
        with self._lock:
            if tag in self._bodies:
                self._bodies.move_to_end(tag)
            return self._bodies.get(tag)

    def put(self, tag: str, body: bytes) -> None:
        """Keep a body, unless it alone would push out a good part of the others."""
        if len(body) > self._limit // _LARGEST_PART:
            return
        with self._lock:
            if tag in self._bodies:
                return
            self._bodies[tag] = body
            self._size += len(body) + _ENTRY_BYTES
            while self._size > self._limit:
                _, gone = self._bodies.popitem(last=False)
                self._size -= len(gone) + _ENTRY_BYTES
