"""Flipping single bits of a store's files, and whether an answer could silently change."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.conftest import session
from tests.engine.plain_store import put_dimension, put_events
from usagekit.engine import local
from usagekit.engine.importer import import_files
from usagekit.engine.store import Store, open_store
from usagekit.engine.verify import verify_store
from usagekit.errors import StoreError
from usagekit.query import EventsQuery, UsageQuery


@dataclass(frozen=True)
class Flip:
    """One bit of one file; ``touched`` if the file's time shows that somebody wrote it."""

    file: str
    offset: int
    bit: int
    touched: bool

    @property
    def is_public(self) -> bool:
        return not self.file.startswith("index/")


class FlippedStore:
    """A store of two months and two tables, made by imports, whose files are damaged and restored."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store"
        rows = [
            session(n, f"2023-03-{n:02} 08:00", f"2023-03-{n:02} 09:30", team=f"team {n % 3}")
            for n in range(1, 9)
        ]
        rows.append(session(9, "2023-04-01 08:00:00.5", "2023-04-01 09:00", team="チーム", user=None))
        incoming = [
            put_events(folder, rows),
            put_dimension(folder, "hosts", [("lab-1", "DE")]),
            put_dimension(folder, "devices", [("00123", "lab-1", "Pixel 8", "Android", "phone")]),
        ]
        import_files(incoming, self.path)
        self.wanted = _answers(open_store(self.path))
        files = sorted(p for p in self.path.rglob("*") if p.is_file() and p.name != ".lock")
        self.files = {
            p.relative_to(self.path).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in files
        }

    def every_class(self, stride: int) -> Iterator[Flip]:
        """Every ``stride``-th byte of every file, and all of the last 120: seal, end of the footer, its length."""
        for file, (content, _) in self.files.items():
            size = len(content)
            for offset in sorted({*range(0, size, stride), *range(max(0, size - 120), size, 4)}):
                yield Flip(file, offset, offset % 8, touched=bool(offset // stride % 2))

    def anywhere(self, dice: random.Random) -> Flip:
        """A bit drawn evenly from all bytes of the store."""
        files = list(self.files)
        (file,) = dice.choices(files, weights=[len(self.files[f][0]) for f in files])
        return Flip(file, dice.randrange(len(self.files[file][0])), dice.randrange(8), dice.random() < 0.5)

    def check(self, flip: Flip) -> str:
        """Damage, look, restore; gives what came of it and fails where a number changed in silence."""
        content, modified = self.files[flip.file]
        damaged = bytearray(content)
        damaged[flip.offset] ^= 1 << flip.bit
        path = self.path / flip.file
        path.write_bytes(damaged)
        if not flip.touched:
            os.utime(path, ns=(modified, modified))
        try:
            return self._look(flip, path)
        finally:
            self._restore()

    def _look(self, flip: Flip, path: Path) -> str:
        told = [damage.file for damage in verify_store(self.path)]
        assert told in ([], [path]), flip
        found = self._found()
        if isinstance(found, str):
            assert flip.is_public, flip
            assert flip.touched, flip
            assert str(path) in found, flip
            assert told == [path], flip
            return "refused"
        assert found == self.wanted, flip
        if flip.is_public:
            # The index is whole. Who wrote over the file may, by one bit, have taken its seal: the rest is as it was.
            assert told or flip.touched, flip
            return "reported" if told else "without effect"
        # A manifest may have other spaces; all else is told, and mended by opening.
        assert told or path.name == "manifest.json", flip
        assert verify_store(self.path) == [], flip
        return "mended" if told else "without effect"

    def _found(self) -> list[Any] | str:
        """The answers, or why there are none."""
        try:
            return _answers(open_store(self.path))
        except StoreError as error:
            return str(error)

    def _restore(self) -> None:
        for path in [p for p in self.path.rglob("*") if p.is_file() and p.name != ".lock"]:
            if path.relative_to(self.path).as_posix() not in self.files:
                path.unlink()
        for file, (content, modified) in self.files.items():
            path = self.path / file
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
            os.utime(path, ns=(modified, modified))


def _answers(store: Store) -> list[Any]:
    """All sessions, the time by team, model and day, and the countries."""
    first, last = date(2023, 3, 1), date(2023, 4, 30)
    query = UsageQuery(by="team/devicemodel", start=first, end=last, bin_size="day")
    return [
        local.events(store, EventsQuery(start=first, end=last)).rows(),
        local.usage(store, query).rows(),
        store.dimension("hosts").rows(),
    ]
